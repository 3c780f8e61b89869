// Package site is the pipeline as an operator has it, for tests and benchmarks: the real programs as processes, a central
// database, clusters, a git repository, and SQL. A package that uses it hands its TestMain to Main.
package site

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

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// Patience is how long a step of the pipeline may take on a busy machine.
const Patience = testkit.Patience

// Site is one fleet with its central database, its repository and the tier "udb" of databases dbid%. It is worked on by
// SQL, git and the command line alone; Store is for looking. What cannot be done fails the test at once.
type Site struct {
	T         testing.TB
	Dir       string // of logs and the inventory
	Central   *mysqld.Server
	Store     *aoscdb.Store
	Clusters  []*mysqld.Cluster
	Repo      *testkit.GitRepo
	Account   []string                  // environment: the account on the instances, root unless changed before Daemon
	Hosts     map[*mysqld.Server]string // other names of this machine, for WriteInventory
	Databases []string                  // made by Fill, on every cluster

	database string // on Central
}

// New makes a site whose central database is on the shared server. Its tier alters up to ten instances at once, copies what
// has more than a hundred rows, and checks once, at once; tier may change that.
func New(t testing.TB, tier func(*aoscdb.Tier), clusters ...*mysqld.Cluster) *Site {
	t.Helper()
	server := testkit.Server(t)
	return NewOn(t, server, testkit.Database(t, server, "aoscdb"), tier, clusters...)
}

// NewOn is New with the central database on a server of the caller's.
func NewOn(t testing.TB, central *mysqld.Server, database string, tier func(*aoscdb.Tier), clusters ...*mysqld.Cluster) *Site {
	t.Helper()
	s := &Site{T: t, Dir: t.TempDir(), Central: central, database: database, Clusters: clusters, Repo: testkit.Repo(t),
		Account: []string{"AOSC_MYSQL_USER=root"}, Hosts: map[*mysqld.Server]string{}}
	s.WriteInventory()
	s.Repo.Commit(map[string]string{"README": "desired schemas"}, "first")
	s.Command("init")
	var err error
	s.Store, err = aoscdb.Open(central.DSN(database))
	s.Do(err)
	t.Cleanup(func() { s.Store.Close() })
	row := aoscdb.NewTier("udb")
	row.MaxRunning, row.MaxRunningPerHost = 10, 0 // every instance is on this machine
	row.VerifyIntervalS, row.VerifyTries = 0, 1
	row.DirectMaxRows = 100
	if tier != nil {
		tier(&row)
	}
	s.Do(s.Store.PutTier(t.Context(), row))
	return s
}

// DSN is that of the central database.
func (s *Site) DSN() string { return s.Central.DSN(s.database) }

// Do fails the test for an error.
func (s *Site) Do(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// WriteInventory writes the file an operator would.
func (s *Site) WriteInventory() {
	s.T.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "tiers:\n  udb:\n    databases: \"dbid%%\"\n    clusters:\n")
	for n, c := range s.Clusters {
		fmt.Fprintf(&b, "      - name: udb-%d\n        instances:\n", n+1)
		for m, server := range c.Servers() {
			host := server.Addr().Host
			if other := s.Hosts[server]; other != "" {
				host = other
			}
			fmt.Fprintf(&b, "          - {host: %s, port: %d, datacenter: dc%d}\n", host, server.Addr().Port, m%2)
		}
	}
	s.Do(os.WriteFile(s.inventory(), []byte(b.String()), 0o600))
}

func (s *Site) inventory() string { return filepath.Join(s.Dir, "inventory.yaml") }

// env is the configuration of every program.
func (s *Site) env() []string {
	return append(append(os.Environ(), "AOSC_AOSCDB_DSN="+s.DSN(), "AOSC_SCHEMAS_REPO="+s.Repo.Dir,
		"AOSC_INVENTORY="+s.inventory()), s.Account...)
}

// Definitions of table tabla1: what testkit's writer writes to, and what it may become, at once or by a copy.
const (
	Plain  = "CREATE TABLE tabla1 (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload varchar(100) NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
	Column = "CREATE TABLE tabla1 (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload varchar(100) NOT NULL, extra int DEFAULT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
	Copied = "CREATE TABLE tabla1 (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload text NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4"
)

// Fill makes a database on every cluster: without the table where ddl is "", else with so many rows.
func (s *Site) Fill(ddl string, rows int) string {
	s.T.Helper()
	name := "dbid" + strconv.Itoa(len(s.Databases)+1)
	s.Databases = append(s.Databases, name)
	for _, c := range s.Clusters {
		s.create(c, name, ddl, rows)
	}
	return name
}

func (s *Site) create(c *mysqld.Cluster, database, ddl string, rows int) {
	s.T.Helper()
	testkit.Exec(s.T, c.Primary, "CREATE DATABASE "+database)
	if ddl != "" {
		s.In(c.Primary, database, ddl)
	}
	if rows > 0 {
		s.In(c.Primary, database, fmt.Sprintf("INSERT INTO tabla1 (id, version, payload) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL "+
			"SELECT i + 1 FROM n WHERE i < %d) SELECT /*+ SET_VAR(cte_max_recursion_depth=10000000) */ i, 0, REPEAT('x', 50) FROM n", rows))
	}
}

// In runs statements on a server in a database, in one session of their own: a person's mysql client.
func (s *Site) In(server *mysqld.Server, database string, statements ...string) {
	s.T.Helper()
	s.Do(mysql.WithSession(s.T.Context(), server.DB(), mysql.Session{DB: database}, func(ctx context.Context, c *sql.Conn) error {
		for _, statement := range statements {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %.100s: %w", server.Addr(), statement, err)
			}
		}
		return nil
	}))
}

// SQL runs statements in aoscdb.
func (s *Site) SQL(statements ...string) {
	s.T.Helper()
	s.In(s.Central, s.database, statements...)
}

// Ask is the first column of the first row of a query to aoscdb, "" when there is none or it is NULL.
func (s *Site) Ask(query string, args ...any) string {
	s.T.Helper()
	var answer sql.NullString
	if err := s.Store.DB().QueryRowContext(s.T.Context(), query, args...).Scan(&answer); err != nil && !errors.Is(err, sql.ErrNoRows) {
		s.T.Fatalf("%s: %v", query, err)
	}
	return answer.String
}

// Commit commits a table's definition to the repository.
func (s *Site) Commit(table, ddl string) string {
	s.T.Helper()
	return s.Repo.Commit(map[string]string{"schemas/udb/" + table + ".sql": ddl + ";\n"}, table)
}

// Allow is the operator's INSERT of the original, six values and nothing else.
func (s *Site) Allow(table string) {
	s.T.Helper()
	s.SQL(fmt.Sprintf("INSERT INTO allowed_alters VALUES ('udb',%s,'istvan',NULL,10,'default')", mysql.QuoteString(table)))
}

// Current is the alter of a table, nil when there is none.
func (s *Site) Current(table string) *aoscdb.CurrentAlter {
	s.T.Helper()
	c, err := s.Store.CurrentAlter(s.T.Context(), "udb", table)
	if errors.Is(err, aoscdb.ErrNotFound) {
		return nil
	}
	s.Do(err)
	return &c
}

// Held waits until a table is on HOLD of somebody for a reason that has all these words.
func (s *Site) Held(table, by string, words ...string) aoscdb.CurrentAlter {
	s.T.Helper()
	var c *aoscdb.CurrentAlter
	holds := func() bool {
		if c = s.Current(table); c == nil || c.Status != aoscdb.AlterHold || c.HoldBy != by {
			return false
		}
		for _, word := range words {
			if !strings.Contains(c.Reason, word) {
				return false
			}
		}
		return true
	}
	if !Until(s.T, Patience, holds) {
		s.T.Fatalf("%s is not on HOLD by %s for a reason with %q: %+v", table, by, words, c)
	}
	s.T.Logf("HOLD by %s: %s", by, c.Reason)
	return *c
}

// Finished waits until a table's alter is in finished_alters for a commit, once. A HOLD is reported at once.
func (s *Site) Finished(table, commit string) aoscdb.FinishedAlter {
	s.T.Helper()
	var rows []aoscdb.FinishedAlter
	s.Eventually(2*Patience, table+" is finished", func() bool {
		if c := s.Current(table); c != nil && c.Status == aoscdb.AlterHold {
			s.T.Fatalf("%s is on HOLD by %s: %s", table, c.HoldBy, c.Reason)
		}
		all, err := s.Store.Finished(s.T.Context(), 1000)
		s.Do(err)
		rows = nil
		for _, f := range all {
			if f.Table == table && f.CommitSHA == commit {
				rows = append(rows, f)
			}
		}
		return len(rows) > 0
	})
	if len(rows) != 1 || rows[0].Outcome != aoscdb.OutcomeFinished {
		s.T.Errorf("finished_alters of %s: %+v, want one row, finished", table, rows)
	}
	return rows[0]
}

// Alter commits, allows and waits for the end.
func (s *Site) Alter(table, ddl string) aoscdb.FinishedAlter {
	s.T.Helper()
	commit := s.Commit(table, ddl)
	s.Allow(table)
	return s.Finished(table, commit)
}
