package osc

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// TestMain is also the gh-ost child, and the worker that is to be killed, when it is called as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case ChildCommand:
			os.Exit(ChildMain(context.Background(), os.Stdin, os.Stdout))
		case victimCommand:
			os.Exit(victimMain())
		}
	}
	// Copies mostly wait: many at a time, whatever the number of processors.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	testkit.Main(m)
}

// memory is Leftovers in memory, and in a file where it must outlive a process.
type memory struct {
	path string // "" = no file
	mu   sync.Mutex
	next uint64
	rows []Leftover
	away error // what List says instead, as when aoscdb is away
}

// open reads the file, lock included; the returned function writes it.
func (m *memory) open() (save func()) {
	m.mu.Lock()
	if m.path == "" {
		return m.mu.Unlock
	}
	m.rows = nil
	if text, err := os.ReadFile(m.path); err == nil {
		if err := json.Unmarshal(text, &m.rows); err != nil {
			panic(err)
		}
	}
	for _, l := range m.rows {
		m.next = max(m.next, l.ID)
	}
	return func() {
		defer m.mu.Unlock()
		text, err := json.Marshal(m.rows)
		if err == nil {
			err = os.WriteFile(m.path+".new", text, 0o600)
		}
		if err == nil {
			err = os.Rename(m.path+".new", m.path)
		}
		if err != nil {
			panic(err)
		}
	}
}

func (m *memory) Record(_ context.Context, rows []Leftover) error {
	defer m.open()()
	for _, l := range rows {
		m.next++
		l.ID, l.CreatedAt = m.next, time.Now()
		kept := m.rows[:0]
		for _, old := range m.rows {
			if old.Cluster != l.Cluster || old.Database != l.Database || old.Name != l.Name {
				kept = append(kept, old)
			}
		}
		m.rows = append(kept, l)
	}
	return nil
}

func (m *memory) List(_ context.Context, cluster string) ([]Leftover, error) {
	defer m.open()()
	if m.away != nil {
		return nil, m.away
	}
	var out []Leftover
	for _, l := range m.rows {
		if l.Cluster == cluster {
			out = append(out, l)
		}
	}
	return out, nil
}

func (m *memory) SetState(_ context.Context, id uint64, state string, keepUntil time.Time) error {
	defer m.open()()
	for i := range m.rows {
		if m.rows[i].ID == id {
			m.rows[i].State, m.rows[i].KeepUntil = state, keepUntil
		}
	}
	return nil
}

func (m *memory) Forget(_ context.Context, id uint64) error {
	defer m.open()()
	for i := range m.rows {
		if m.rows[i].ID == id {
			m.rows = append(m.rows[:i], m.rows[i+1:]...)
			return nil
		}
	}
	return nil
}

// bench is one database on one server with what is needed to alter its tables.
type bench struct {
	t         testing.TB
	srv       *mysqld.Server
	db        *sql.DB
	database  string
	pool      *mysql.Pool
	leftovers *memory
	runner    *Runner
	planner   *Planner
	settings  Settings
}

func newBench(t testing.TB, srv *mysqld.Server) *bench {
	t.Helper()
	pool := mysql.NewPool(srv.Credentials(), mysql.Options{MaxOpen: 4})
	t.Cleanup(func() { pool.Close() })
	b := &bench{t: t, srv: srv, database: testkit.Database(t, srv), pool: pool, leftovers: &memory{}}
	var err error
	if b.db, err = pool.DB(srv.Addr()); err != nil {
		t.Fatal(err)
	}
	b.runner = &Runner{Pool: pool, Leftovers: b.leftovers, Child: []string{os.Args[0], ChildCommand}, Token: "test"}
	b.planner = NewPlanner(pool, &schema.Materialiser{})
	b.settings = Settings{DirectMaxRows: 100, CreateMissing: true, ChunkSize: 200, Retention: time.Hour}
	return b
}

func (b *bench) target(table string) Target {
	return Target{Tier: "udb", Cluster: "c1", Addr: b.srv.Addr(), Database: b.database, Table: table}
}

// plan plans table towards the definition text.
func (b *bench) plan(table, text string) Plan {
	b.t.Helper()
	d := schema.Desired{Tier: "udb", Table: table, Path: "schemas/udb/" + table + ".sql", Blob: text, Text: text}
	p, err := b.planner.Plan(b.t.Context(), b.db, b.db, b.target(table), d, b.settings)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// run plans and runs, and checks that the desired form is there (I4).
func (b *bench) run(table, text string, engine Engine) Outcome {
	b.t.Helper()
	p := b.plan(table, text)
	if p.Refused != "" || p.Engine != engine {
		b.t.Fatalf("planned %s (refused: %q), want %s", p.Engine, p.Refused, engine)
	}
	o, err := b.runner.Run(b.t.Context(), p, b.settings, NewControl(), b.log())
	if err != nil {
		b.t.Fatal(err)
	}
	if form := b.form(table); form.Hash != p.Desired.Hash {
		b.t.Fatalf("I4: the table is %s", form.Text)
	}
	return o
}

func (b *bench) log() func(Progress) {
	last, began := "", time.Now()
	return func(p Progress) {
		if now := p.State + p.Detail; now != last {
			b.t.Logf("%.1fs %s %s %.2f %d/%d %s", time.Since(began).Seconds(), p.Engine, p.State, p.Fraction, p.RowsCopied, p.RowsTotal, p.Detail)
			last = now
		}
	}
}

func (b *bench) form(table string) schema.Form {
	b.t.Helper()
	form, _, err := schema.CurrentForm(b.t.Context(), b.db, b.database, table)
	if err != nil {
		b.t.Fatal(err)
	}
	return form
}

// exec runs statements in the bench's database, {db} in them is its name.
func (b *bench) exec(statements ...string) {
	b.t.Helper()
	conn, err := b.db.Conn(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(b.t.Context(), "USE "+mysql.QuoteIdent(b.database)); err != nil {
		b.t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := conn.ExecContext(b.t.Context(), s); err != nil {
			b.t.Fatalf("%s: %v", s, err)
		}
	}
}

// tables are the tables of the bench's database.
func (b *bench) tables() []string {
	b.t.Helper()
	rows, err := b.db.QueryContext(b.t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY 1", b.database)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, name)
	}
	return out
}

// untouched checks I5: the table is as it was, and nothing is beside it.
func (b *bench) untouched(table string, before schema.Form) {
	b.t.Helper()
	if now := b.form(table); now.Hash != before.Hash {
		b.t.Errorf("I5: the table was changed to %s", now.Text)
	}
	if all := b.tables(); len(all) != 1 || all[0] != table {
		b.t.Errorf("I5: tables left: %v", all)
	}
	if rows, _ := b.leftovers.List(b.t.Context(), "c1"); len(rows) != 0 {
		b.t.Errorf("I5: records left: %+v", rows)
	}
}

// fill inserts n rows of (i, 'row i') into columns (id, v).
func (b *bench) fill(table string, n int) {
	b.t.Helper()
	b.exec("SET SESSION cte_max_recursion_depth = 10000000",
		fmt.Sprintf("INSERT INTO %s (id, v) WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < %d) SELECT i, CONCAT('row ', i) FROM s",
			mysql.QuoteIdent(table), n))
}

// sum is a fingerprint of columns id and v.
func (b *bench) sum(table string) string {
	b.t.Helper()
	var n uint64
	var hash sql.NullString
	err := b.db.QueryRowContext(b.t.Context(), "SELECT COUNT(*), HEX(BIT_XOR(UNHEX(SHA2(CONCAT_WS('|', id, v), 256)))) FROM "+
		mysql.QuoteIdents(b.database, table)).Scan(&n, &hash)
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprint(n, hash.String)
}

const (
	oldT = "CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, PRIMARY KEY (id))"
	// newT needs a copy: the type of v changes.
	newT = "CREATE TABLE t (id bigint NOT NULL, v text NOT NULL, n int NOT NULL DEFAULT 7, PRIMARY KEY (id))"
)

func final(err error) bool {
	var refused *RefusedError
	var differs *VerifyError
	return errors.As(err, &refused) || errors.As(err, &differs)
}

// tableLock is the name of the lock of a table of the bench.
func (b *bench) tableLock(table string) string {
	b.t.Helper()
	name, err := b.runner.tableLock(b.t.Context(), b.database, table)
	if err != nil {
		b.t.Fatal(err)
	}
	return name
}
