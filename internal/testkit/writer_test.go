package testkit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// TestWriterClean: on a healthy cluster every acknowledged operation is found on every member (I1), while writing goes
// on and after it.
func TestWriterClean(t *testing.T) {
	c := testkit.Cluster(t, 2)
	w := testkit.NewWriter(t, c.Primary, testkit.WriterOptions{Database: testkit.Database(t, c.Primary), Table: "t"})
	const seeded = 10_001
	if err := w.Seed(t.Context(), seeded); err != nil {
		t.Fatal(err)
	}
	if r := testkit.CheckWriter(t, w, c); r.Found != seeded || r.Rows != seeded {
		t.Fatalf("after the seed: %s", r)
	}
	w.Start(t.Context())
	testkit.Eventually(t, time.Minute, "500 operations of each kind", func() bool {
		s := w.Stats()
		return min(s.Inserts, s.Updates, s.Deletes) > 500
	})
	testkit.CheckWriter(t, w, c)
	w.Stop()
	r := testkit.CheckWriter(t, w, c)
	s := w.Stats()
	if s.Refused+s.Unknown+s.Contradictions > 0 {
		t.Errorf("on a healthy server: %+v", s)
	}
	if want := seeded + s.Acknowledged(); r.Acknowledged != want || r.Found != want {
		t.Errorf("%s; want %d operations", r, want)
	}
}

// TestWriterNotices: each way in which a table can differ from what was acknowledged is noticed (I1): a checker that
// cannot fail would prove nothing.
func TestWriterNotices(t *testing.T) {
	s := testkit.Server(t)
	for _, tc := range []struct {
		name, damage string
		want         testkit.WriterReport // of the counts only
	}{
		{"row lost", "DELETE FROM %s LIMIT 1", testkit.WriterReport{Lost: 1}},
		{"all rows lost", "TRUNCATE TABLE %s", testkit.WriterReport{Lost: 100}},
		{"update lost", "UPDATE %s SET version = version - 1 LIMIT 1", testkit.WriterReport{Wrong: 1}},
		{"value damaged", "UPDATE %s SET payload = REPLACE(payload, 'é', '?') LIMIT 1", testkit.WriterReport{Wrong: 1}},
		{"value truncated", "UPDATE %s SET payload = LEFT(payload, CHAR_LENGTH(payload) - 1) LIMIT 1", testkit.WriterReport{Wrong: 1}},
		{"rows swapped", "UPDATE %[1]s a JOIN %[1]s b ON a.id = 1 AND b.id = 2 SET a.payload = b.payload", testkit.WriterReport{Wrong: 1}},
		{"foreign row", "INSERT INTO %s VALUES (1000000, 1, 'x')", testkit.WriterReport{Unexpected: 1}},
		{"id 0", "INSERT INTO %s VALUES (0, 1, 'x')", testkit.WriterReport{Unexpected: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			database := testkit.Database(t, s)
			w := testkit.NewWriter(t, s, testkit.WriterOptions{Database: database, Table: "t"})
			if err := w.Seed(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
			if r, err := w.Check(t.Context(), s.DB()); err != nil || r.Err() != nil {
				t.Fatalf("before the damage: %s, %v", r, err)
			}
			testkit.Exec(t, s, fmt.Sprintf(tc.damage, database+".t"))
			r, err := w.Check(t.Context(), s.DB())
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost != tc.want.Lost || r.Wrong != tc.want.Wrong || r.Unexpected != tc.want.Unexpected {
				t.Errorf("found %s", r)
			}
			if r.Difference() == 0 || r.Err() == nil || len(r.Examples) == 0 {
				t.Errorf("I1: the difference was not noticed: %s", r)
			}
		})
	}
}

// TestWriterNoticesResurrection: a deleted row that is back is noticed, and so is a row that goes back to an older
// version while the load runs.
func TestWriterNoticesResurrection(t *testing.T) {
	s := testkit.Server(t)
	table := testkit.Database(t, s) + ".t"
	database, name, _ := strings.Cut(table, ".")
	w := testkit.NewWriter(t, s, testkit.WriterOptions{Database: database, Table: name, Workers: 1})
	if err := w.Seed(t.Context(), 200); err != nil {
		t.Fatal(err)
	}
	testkit.Exec(t, s, "CREATE TABLE "+database+".before_it SELECT * FROM "+table)
	w.Start(t.Context())
	testkit.Eventually(t, time.Minute, "500 deletes", func() bool { return w.Stats().Deletes > 500 })
	w.Stop()
	if r, err := w.Check(t.Context(), s.DB()); err != nil || r.Err() != nil {
		t.Fatalf("before the damage: %s, %v", r, err)
	}
	testkit.Exec(t, s, "REPLACE INTO "+table+" SELECT * FROM "+database+".before_it")
	r, err := w.Check(t.Context(), s.DB())
	if err != nil {
		t.Fatal(err)
	}
	if r.Unexpected == 0 || r.Wrong == 0 || r.Err() == nil {
		t.Errorf("I1: deleted and older rows came back unnoticed: %s", r)
	}
}

// TestWriterThroughCrash: a mysqld killed under load loses nothing it acknowledged (I1); what was under way is neither
// counted nor missed.
func TestWriterThroughCrash(t *testing.T) {
	s := testkit.FreshServer(t, nil)
	w := testkit.NewWriter(t, s, testkit.WriterOptions{Database: testkit.Database(t, s), Table: "t", Workers: 8})
	w.Start(t.Context())
	for range 2 {
		from := w.Stats().Acknowledged()
		testkit.Eventually(t, time.Minute, "1000 more operations", func() bool { return w.Stats().Acknowledged() > from+1000 })
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.Stop()
	stats := w.Stats()
	if stats.Refused+stats.Unknown == 0 {
		t.Errorf("two crashes under load went unnoticed: %+v", stats)
	}
	testkit.CheckWriter(t, w, &mysqld.Cluster{Primary: s})
}
