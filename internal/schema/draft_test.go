package schema_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// A committed text needs nobody's permission to be drafted, so a draft must not be felt by anybody. The parent of a foreign key would be
// locked exclusively: behind a transaction that has read it, the draft waits, and all of the application behind the draft.
func TestDraftLocksNoTable(t *testing.T) {
	srv := testkit.FreshServer(t, nil)
	testkit.Exec(t, srv, "CREATE DATABASE app", "CREATE TABLE app.users (id int PRIMARY KEY)", "INSERT INTO app.users VALUES (1)")
	env := envOf(t, srv, testkit.Database(t, srv))
	tx, err := srv.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM app.users").Scan(&n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	drafted := make(chan error, 1)
	go func() {
		text := "CREATE TABLE child (id int PRIMARY KEY, FOREIGN KEY (id) REFERENCES app.users (id))"
		_, err := (&schema.Materialiser{}).Form(ctx, srv.DB(), desired("child", text), env)
		drafted <- err
	}()
	for waits := 0; ; {
		select {
		case err := <-drafted:
			if !schema.OfText(err) || waits > 0 {
				t.Fatalf("drafted: %v; %d sessions waited for a metadata lock", err, waits)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		err := srv.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE object_schema = 'app' "+
			"AND lock_status = 'PENDING'").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		waits = max(waits, n)
	}
}

// AUTOEXTEND_SIZE is taken from the disk for each partition as soon as the table is made: up to 4 GB each, by a text that nobody has
// allowed.
func TestDraftTakesNoDisk(t *testing.T) {
	srv := testkit.FreshServer(t, nil)
	env := envOf(t, srv, testkit.Database(t, srv))
	datadir := testkit.Ask(t, srv, "SELECT @@datadir")
	size := func() (sum int64) {
		files, _ := filepath.Glob(filepath.Join(datadir, "aosc_scratch_*", "*.ibd")) // the pattern is right
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				sum += info.Size()
			}
		}
		return sum
	}
	for table, text := range map[string]string{
		"plain":     "CREATE TABLE plain (id int PRIMARY KEY) AUTOEXTEND_SIZE=64M",
		"first":     "CREATE TABLE first (id int PRIMARY KEY) AUTOEXTEND_SIZE 64M, ENGINE=InnoDB",
		"last":      "CREATE TABLE last (id int PRIMARY KEY) ENGINE=InnoDB, AUTOEXTEND_SIZE = 67108864",
		"printed":   "CREATE TABLE printed (id int PRIMARY KEY) /*!80023 AUTOEXTEND_SIZE=67108864 */ ENGINE=InnoDB",
		"partition": "CREATE TABLE `partition` (id int PRIMARY KEY) AUTOEXTEND_SIZE=64M PARTITION BY HASH (id) PARTITIONS 2",
	} {
		var largest int64
		watching, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				largest = max(largest, size())
				select {
				case <-watching:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
		form, err := (&schema.Materialiser{}).Form(t.Context(), srv.DB(), desired(table, text), env)
		close(watching)
		<-done
		if err != nil {
			t.Errorf("%s: %v", table, err)
			continue
		}
		if largest >= 64<<20 {
			t.Errorf("%s: its draft took %d MB of the disk", table, largest>>20)
		}
		// By hand the table grows as somebody chose; that is no difference.
		byHand, err := byHand(t, srv, env, table, text)
		if err != nil || byHand.Hash != form.Hash {
			t.Errorf("%s: by hand (%v)\n%s\ndrafted\n%s", table, err, byHand.Text, form.Text)
		}
	}
}

// A table of thousands of partitions takes minutes. Whoever commits one keeps nobody else's table waiting for as long.
func TestSlowDraftIsItsOwn(t *testing.T) {
	srv := testkit.FreshServer(t, nil)
	env := envOf(t, srv, testkit.Database(t, srv))
	ds := []schema.Desired{
		desired("a", "CREATE TABLE a (id int PRIMARY KEY)"),
		desired("slow", "CREATE TABLE slow (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2048"),
		desired("z", "CREATE TABLE z (id int PRIMARY KEY)"),
	}
	m := &schema.Materialiser{Limit: 5 * time.Second}
	forms, errs := m.Forms(t.Context(), srv.DB(), ds, env)
	t.Log(errs)
	if forms["a"].Hash == "" || forms["z"].Hash == "" || !schema.OfText(errs["slow"]) || len(errs) != 1 {
		t.Fatalf("judged: %v, %v", forms, errs)
	}
	began := time.Now()
	if _, err := m.Form(t.Context(), srv.DB(), ds[1], env); !schema.OfText(err) || time.Since(began) > 5*time.Second {
		t.Errorf("it is tried again at once: %v after %v", err, time.Since(began))
	}
}
