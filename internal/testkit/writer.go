package testkit

import (
	"database/sql"
	"testing"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit/writer"
)

// Writer and its parts are in a package of their own, for use outside of tests.
type (
	Writer        = writer.Writer
	WriterOptions = writer.Options
	WriterReport  = writer.Report
	WriterOutcome = writer.Outcome
)

// NewWriter makes a writer on a server's database and creates its table, with columns id, version and payload, unless
// the table exists. It is stopped with the test.
func NewWriter(t testing.TB, s *mysqld.Server, o WriterOptions) *Writer {
	t.Helper()
	if o.DB == nil {
		o.DB = func() *sql.DB { return s.DB() }
	}
	w := writer.New(o)
	if Ask(t, s, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", o.Database, o.Table) == "0" {
		Exec(t, s, w.CreateTable())
	}
	t.Cleanup(w.Stop)
	return w
}

// CheckWriter stops a writer's load for a moment, waits for the replicas, and fails the test if any member of the
// cluster differs from what was acknowledged (I1). It returns what the primary holds.
func CheckWriter(t testing.TB, w *Writer, c *mysqld.Cluster) WriterReport {
	t.Helper()
	var dbs []*sql.DB
	for _, s := range c.Servers() {
		dbs = append(dbs, s.DB())
	}
	reports, err := w.CheckAll(t.Context(), c.Sync, dbs...)
	if err != nil {
		t.Fatal(err)
	}
	for i, report := range reports {
		if err := report.Err(); err != nil {
			t.Errorf("I1: %s: %v", c.Servers()[i].Addr(), err)
		}
	}
	return reports[0]
}
