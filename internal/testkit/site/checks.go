package site

import (
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// form is what a server makes of a definition.
func (s *Site) form(table, ddl string) schema.Form {
	s.T.Helper()
	name := testkit.Database(s.T, s.Central, "form")
	s.In(s.Central, name, ddl)
	form, exists, err := schema.CurrentForm(s.T.Context(), s.Central.DB(), name, table)
	s.Do(err)
	if !exists {
		s.T.Fatalf("no table %s after %s", table, ddl)
	}
	return form
}

// MustHave fails the test unless the table has that definition in every database of every instance (I4: read from the
// server).
func (s *Site) MustHave(table, ddl string) {
	s.T.Helper()
	want := s.form(table, ddl)
	for _, c := range s.Clusters {
		s.Do(c.Sync(s.T.Context()))
		for _, server := range c.Servers() {
			for _, database := range s.Databases {
				s.mustBe(server, database, table, want)
			}
		}
	}
}

func (s *Site) mustBe(server *mysqld.Server, database, table string, want schema.Form) {
	s.T.Helper()
	got, exists, err := schema.CurrentForm(s.T.Context(), server.DB(), database, table)
	s.Do(err)
	if !exists || got.Hash != want.Hash {
		s.T.Errorf("I4: %s %s.%s is\n%s\nwant\n%s", server.Addr(), database, table, got.Text, want.Text)
	}
}

// Clean fails the test if anything is left behind (I5), on any member or in the record of leftovers, or a replica has
// executed what its primary has not (I7). Old tables are dropped in small steps, so they have their time.
func (s *Site) Clean(tables ...string) {
	s.T.Helper()
	var left []string
	gone := func() bool {
		left = nil
		for _, c := range s.Clusters {
			s.Do(c.Sync(s.T.Context()))
			for _, server := range c.Servers() {
				left = append(left, s.Others(server, tables)...)
			}
		}
		if n := s.Ask("SELECT COUNT(*) FROM leftovers"); n != "0" {
			left = append(left, n+" rows of leftovers")
		}
		return len(left) == 0
	}
	if !Until(s.T, Patience, gone) {
		s.T.Errorf("I5: left behind: %v", left)
	}
	for _, c := range s.Clusters {
		testkit.NoErrantGTIDs(s.T, c)
	}
}

// Others are the tables of a server's databases besides those named, and scratch schemas.
func (s *Site) Others(server *mysqld.Server, tables []string) []string {
	s.T.Helper()
	rows, err := server.DB().QueryContext(s.T.Context(), "SELECT table_schema, table_name FROM information_schema.tables "+
		"WHERE table_schema LIKE 'dbid%' OR table_schema LIKE 'aosc\\_scratch%'")
	s.Do(err)
	defer rows.Close()
	known := map[string]bool{}
	for _, table := range tables {
		known[table] = true
	}
	var others []string
	for rows.Next() {
		var database, table string
		s.Do(rows.Scan(&database, &table))
		if !known[table] || strings.HasPrefix(database, "aosc") {
			others = append(others, fmt.Sprintf("%s.%s on %s", database, table, server.Addr()))
		}
	}
	s.Do(rows.Err())
	return others
}

// Writer puts a load on the table of a database, on the first cluster's primary unless another is given.
func (s *Site) Writer(c *mysqld.Cluster, database string, rows int, rate float64) *testkit.Writer {
	s.T.Helper()
	w := testkit.NewWriter(s.T, c.Primary, testkit.WriterOptions{Database: database, Table: "tabla1", Workers: 2, Rate: rate})
	s.Do(w.Seed(s.T.Context(), rows))
	w.Start(s.T.Context())
	return w
}

// Lossless ends a load and holds every member against it (I1); no write may have failed because of an alter.
func (s *Site) Lossless(c *mysqld.Cluster, writers ...*testkit.Writer) {
	s.T.Helper()
	for _, w := range writers {
		w.Stop()
		r := testkit.CheckWriter(s.T, w, c)
		stats := w.Stats()
		s.T.Logf("I1: %s; longest gap %v", r, stats.LongestGap.Round(time.Millisecond))
		if n := stats.Refused + stats.Unknown; n > 0 {
			s.T.Errorf("%d writes failed, the last with: %s", n, stats.LastError)
		}
		if stats.Acknowledged() == 0 {
			s.T.Error("nothing was written: this proves nothing")
		}
	}
}
