package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// patience is how long a step of the pipeline may take on a busy machine.
const patience = time.Minute

// site is one fleet with its central database, its repository and the tier "udb" of databases dbid%. The tests work on it
// by SQL, git and the command line alone.
type site struct {
	t         *testing.T
	dir       string // logs, inventory
	central   *mysqld.Server
	database  string // on central
	store     *aoscdb.Store
	clusters  []*mysqld.Cluster
	repo      *testkit.GitRepo
	account   []string // environment: the account on the instances
	hosts     map[*mysqld.Server]string
	databases []string // on every cluster
}

// newSite makes a site whose central database is on the shared server.
func newSite(t *testing.T, tier func(*aoscdb.Tier), clusters ...*mysqld.Cluster) *site {
	t.Helper()
	server := testkit.Server(t)
	return newSiteOn(t, server, testkit.Database(t, server, "aoscdb"), tier, clusters...)
}

func newSiteOn(t *testing.T, central *mysqld.Server, database string, tier func(*aoscdb.Tier), clusters ...*mysqld.Cluster) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), central: central, database: database, clusters: clusters, repo: testkit.Repo(t),
		account: []string{"AOSC_MYSQL_USER=root"}, hosts: map[*mysqld.Server]string{}}
	s.writeInventory()
	s.repo.Commit(map[string]string{"README": "desired schemas"}, "first")
	s.command("init")
	var err error
	s.store, err = aoscdb.Open(central.DSN(database))
	s.do(err)
	t.Cleanup(func() { s.store.Close() })
	row := aoscdb.NewTier("udb")
	row.MaxRunning, row.MaxRunningPerHost = 10, 0 // every instance is on this machine
	row.VerifyIntervalS, row.VerifyTries = 0, 1
	row.DirectMaxRows = 100
	if tier != nil {
		tier(&row)
	}
	s.do(s.store.PutTier(t.Context(), row))
	return s
}

func (s *site) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// writeInventory writes the file an operator would. hosts gives an instance another name for this machine.
func (s *site) writeInventory() {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "tiers:\n  udb:\n    databases: \"dbid%%\"\n    clusters:\n")
	for n, c := range s.clusters {
		fmt.Fprintf(&b, "      - name: udb-%d\n        instances:\n", n+1)
		for m, server := range c.Servers() {
			host := server.Addr().Host
			if other := s.hosts[server]; other != "" {
				host = other
			}
			fmt.Fprintf(&b, "          - {host: %s, port: %d, datacenter: dc%d}\n", host, server.Addr().Port, m%2)
		}
	}
	s.do(os.WriteFile(s.inventory(), []byte(b.String()), 0o600))
}

func (s *site) inventory() string { return filepath.Join(s.dir, "inventory.yaml") }

// env is the configuration of every program.
func (s *site) env() []string {
	return append(append(os.Environ(), "AOSC_AOSCDB_DSN="+s.central.DSN(s.database), "AOSC_SCHEMAS_REPO="+s.repo.Dir,
		"AOSC_INVENTORY="+s.inventory()), s.account...)
}

// Definitions of the table of these tests: what testkit's writer writes to, and what it becomes.
const (
	plain  = "CREATE TABLE tabla1 (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload varchar(100) NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
	column = "CREATE TABLE tabla1 (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload varchar(100) NOT NULL, extra int DEFAULT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
	copied = "CREATE TABLE tabla1 (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload text NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
)

// fill makes a database on every cluster: without the table where ddl is "", else with so many rows.
func (s *site) fill(ddl string, rows int) string {
	s.t.Helper()
	name := "dbid" + strconv.Itoa(len(s.databases)+1)
	s.databases = append(s.databases, name)
	for _, c := range s.clusters {
		s.create(c, name, ddl, rows)
	}
	return name
}

func (s *site) create(c *mysqld.Cluster, database, ddl string, rows int) {
	s.t.Helper()
	testkit.Exec(s.t, c.Primary, "CREATE DATABASE "+database)
	if ddl != "" {
		s.in(c.Primary, database, ddl)
	}
	if rows > 0 {
		s.in(c.Primary, database, fmt.Sprintf("INSERT INTO tabla1 (id, version, payload) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL "+
			"SELECT i + 1 FROM n WHERE i < %d) SELECT /*+ SET_VAR(cte_max_recursion_depth=10000000) */ i, 0, REPEAT('x', 50) FROM n", rows))
	}
}

// in runs statements on a server in a database, in one session of their own: a person's mysql client.
func (s *site) in(server *mysqld.Server, database string, statements ...string) {
	s.t.Helper()
	s.do(mysql.WithSession(s.t.Context(), server.DB(), mysql.Session{DB: database}, func(ctx context.Context, c *sql.Conn) error {
		for _, statement := range statements {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %.100s: %w", server.Addr(), statement, err)
			}
		}
		return nil
	}))
}

// sql runs statements in aoscdb.
func (s *site) sql(statements ...string) {
	s.t.Helper()
	s.in(s.central, s.database, statements...)
}

// ask is the first column of the first row of a query to aoscdb, "" when there is none or it is NULL.
func (s *site) ask(query string, args ...any) string {
	s.t.Helper()
	var answer sql.NullString
	if err := s.store.DB().QueryRowContext(s.t.Context(), query, args...).Scan(&answer); err != nil && !errors.Is(err, sql.ErrNoRows) {
		s.t.Fatalf("%s: %v", query, err)
	}
	return answer.String
}

// commit commits a table's definition to the repository.
func (s *site) commit(table, ddl string) string {
	s.t.Helper()
	return s.repo.Commit(map[string]string{"schemas/udb/" + table + ".sql": ddl + ";\n"}, table)
}

// allow is the operator's INSERT of the original, six values and nothing else.
func (s *site) allow(table string) {
	s.t.Helper()
	s.sql(fmt.Sprintf("INSERT INTO allowed_alters VALUES ('udb',%s,'istvan',NULL,10,'default')", mysql.QuoteString(table)))
}

// current is the alter of a table, nil when there is none.
func (s *site) current(table string) *aoscdb.CurrentAlter {
	s.t.Helper()
	c, err := s.store.CurrentAlter(s.t.Context(), "udb", table)
	if errors.Is(err, aoscdb.ErrNotFound) {
		return nil
	}
	s.do(err)
	return &c
}

// held waits until a table is on HOLD of somebody for a reason that has all these words.
func (s *site) held(table, by string, words ...string) aoscdb.CurrentAlter {
	s.t.Helper()
	var c *aoscdb.CurrentAlter
	holds := func() bool {
		if c = s.current(table); c == nil || c.Status != aoscdb.AlterHold || c.HoldBy != by {
			return false
		}
		for _, word := range words {
			if !strings.Contains(c.Reason, word) {
				return false
			}
		}
		return true
	}
	if !until(s.t, patience, holds) {
		s.t.Fatalf("%s is not on HOLD by %s for a reason with %q: %+v", table, by, words, c)
	}
	s.t.Logf("HOLD by %s: %s", by, c.Reason)
	return *c
}

// finished waits until a table's alter is in finished_alters for a commit, once. A HOLD is reported at once.
func (s *site) finished(table, commit string) aoscdb.FinishedAlter {
	s.t.Helper()
	var rows []aoscdb.FinishedAlter
	s.eventually(2*patience, table+" is finished", func() bool {
		if c := s.current(table); c != nil && c.Status == aoscdb.AlterHold {
			s.t.Fatalf("%s is on HOLD by %s: %s", table, c.HoldBy, c.Reason)
		}
		all, err := s.store.Finished(s.t.Context(), 1000)
		s.do(err)
		rows = nil
		for _, f := range all {
			if f.Table == table && f.CommitSHA == commit {
				rows = append(rows, f)
			}
		}
		return len(rows) > 0
	})
	if len(rows) != 1 || rows[0].Outcome != aoscdb.OutcomeFinished {
		s.t.Errorf("finished_alters of %s: %+v, want one row, finished", table, rows)
	}
	return rows[0]
}

// alter commits, allows and waits for the end.
func (s *site) alter(table, ddl string) aoscdb.FinishedAlter {
	s.t.Helper()
	commit := s.commit(table, ddl)
	s.allow(table)
	return s.finished(table, commit)
}

func digits(n int64) string { return strconv.FormatInt(n, 10) }

// form is what a server makes of a definition.
func (s *site) form(table, ddl string) schema.Form {
	s.t.Helper()
	name := testkit.Database(s.t, s.central, "form")
	s.in(s.central, name, ddl)
	form, exists, err := schema.CurrentForm(s.t.Context(), s.central.DB(), name, table)
	s.do(err)
	if !exists {
		s.t.Fatalf("no table %s after %s", table, ddl)
	}
	return form
}

// mustHave fails the test unless the table has that definition in every database of every instance (I4: read from the
// server).
func (s *site) mustHave(table, ddl string) {
	s.t.Helper()
	want := s.form(table, ddl)
	for _, c := range s.clusters {
		s.do(c.Sync(s.t.Context()))
		for _, server := range c.Servers() {
			for _, database := range s.databases {
				s.mustBe(server, database, table, want)
			}
		}
	}
}

func (s *site) mustBe(server *mysqld.Server, database, table string, want schema.Form) {
	s.t.Helper()
	got, exists, err := schema.CurrentForm(s.t.Context(), server.DB(), database, table)
	s.do(err)
	if !exists || got.Hash != want.Hash {
		s.t.Errorf("I4: %s %s.%s is\n%s\nwant\n%s", server.Addr(), database, table, got.Text, want.Text)
	}
}

// clean fails the test if anything is left behind (I5), on any member or in the record of leftovers, or a replica has
// executed what its primary has not (I7). Old tables are dropped in small steps, so they have their time.
func (s *site) clean(tables ...string) {
	s.t.Helper()
	var left []string
	gone := func() bool {
		left = nil
		for _, c := range s.clusters {
			s.do(c.Sync(s.t.Context()))
			for _, server := range c.Servers() {
				left = append(left, s.others(server, tables)...)
			}
		}
		if n := s.ask("SELECT COUNT(*) FROM leftovers"); n != "0" {
			left = append(left, n+" rows of leftovers")
		}
		return len(left) == 0
	}
	if !until(s.t, patience, gone) {
		s.t.Errorf("I5: left behind: %v", left)
	}
	for _, c := range s.clusters {
		testkit.NoErrantGTIDs(s.t, c)
	}
}

// others are the tables of a server's databases besides those named, and scratch schemas.
func (s *site) others(server *mysqld.Server, tables []string) []string {
	s.t.Helper()
	rows, err := server.DB().QueryContext(s.t.Context(), "SELECT table_schema, table_name FROM information_schema.tables "+
		"WHERE table_schema LIKE 'dbid%' OR table_schema LIKE 'aosc\\_scratch%'")
	s.do(err)
	defer rows.Close()
	known := map[string]bool{}
	for _, table := range tables {
		known[table] = true
	}
	var others []string
	for rows.Next() {
		var database, table string
		s.do(rows.Scan(&database, &table))
		if !known[table] || strings.HasPrefix(database, "aosc") {
			others = append(others, fmt.Sprintf("%s.%s on %s", database, table, server.Addr()))
		}
	}
	s.do(rows.Err())
	return others
}

// writer puts a load on the table of a database, on the first cluster's primary unless another is given.
func (s *site) writer(c *mysqld.Cluster, database string, rows int, rate float64) *testkit.Writer {
	s.t.Helper()
	w := testkit.NewWriter(s.t, c.Primary, testkit.WriterOptions{Database: database, Table: "tabla1", Workers: 2, Rate: rate})
	s.do(w.Seed(s.t.Context(), rows))
	w.Start(s.t.Context())
	return w
}

// lossless ends a load and holds every member against it (I1); no write may have failed because of an alter.
func (s *site) lossless(c *mysqld.Cluster, writers ...*testkit.Writer) {
	s.t.Helper()
	for _, w := range writers {
		w.Stop()
		r := testkit.CheckWriter(s.t, w, c)
		stats := w.Stats()
		s.t.Logf("I1: %s; longest gap %v", r, stats.LongestGap.Round(time.Millisecond))
		if n := stats.Refused + stats.Unknown; n > 0 {
			s.t.Errorf("%d writes failed, the last with: %s", n, stats.LastError)
		}
		if stats.Acknowledged() == 0 {
			s.t.Error("nothing was written: this proves nothing")
		}
	}
}
