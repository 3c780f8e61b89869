package schema_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// envOf is the environment of a new database.
func envOf(t *testing.T, srv *mysqld.Server, database string) schema.DBEnv {
	t.Helper()
	envs, err := schema.ReadDBEnvs(t.Context(), srv.DB(), []string{database, "no such database"})
	if err != nil || len(envs) != 1 {
		t.Fatalf("environments %v: %v", envs, err)
	}
	return envs[database]
}

func desired(table, text string) schema.Desired {
	return schema.Desired{Tier: "udb", Table: table, Path: "schemas/udb/" + table + ".sql", Blob: table + text, Commit: "c0ffee", Text: text}
}

func scratches(t *testing.T, srv *mysqld.Server) string {
	t.Helper()
	return testkit.Ask(t, srv, `SELECT COALESCE(GROUP_CONCAT(schema_name), '') FROM information_schema.schemata WHERE schema_name LIKE 'aosc\_scratch\_%'`)
}

// A scratch schema is not in the binary log (I7), and is gone afterwards whatever happened in it (I5).
func TestScratch(t *testing.T) {
	srv := testkit.FreshServer(t, nil)
	db := srv.DB()
	env := envOf(t, srv, testkit.Database(t, srv))
	env.Charset, env.Collation, env.SQLMode = "latin1", "latin1_bin", "ANSI_QUOTES,NO_ZERO_DATE"
	executed := func() string { return testkit.Ask(t, srv, "SELECT @@GLOBAL.gtid_executed") }
	before := executed()

	use := func(ctx context.Context, conn *sql.Conn, name string) error {
		var got string
		err := conn.QueryRowContext(ctx, "SELECT CONCAT_WS(' ', DATABASE(), @@collation_database, @@sql_mode, @@sql_log_bin, @@foreign_key_checks)").Scan(&got)
		if want := name + " latin1_bin ANSI_QUOTES,NO_ZERO_DATE 0 0"; got != want {
			t.Errorf("session is %q, want %q", got, want)
		}
		_, create := conn.ExecContext(ctx, `CREATE TABLE "t" (id int, FOREIGN KEY (id) REFERENCES nowhere (id))`)
		return errors.Join(err, create)
	}
	if err := schema.WithScratch(t.Context(), db, env, use); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	if err := schema.WithScratch(t.Context(), db, env, func(context.Context, *sql.Conn, string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	// The context ends in the middle of a query, which closes the connection.
	ctx, cancel := context.WithCancel(t.Context())
	err := schema.WithScratch(ctx, db, env, func(ctx context.Context, conn *sql.Conn, _ string) error {
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err := conn.ExecContext(ctx, "DO SLEEP(60)")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if left := scratches(t, srv); left != "" {
		t.Errorf("left behind: %s", left)
	}

	// Left by a daemon that was killed, and by one whose connection had the number we get next: both go. One in use stays.
	err = schema.WithScratch(t.Context(), db, env, func(_ context.Context, _ *sql.Conn, inUse string) error {
		mustUnlogged(t, db, "CREATE DATABASE aosc_scratch_999999", "CREATE DATABASE aosc_scratch_text")
		for n := range 20 {
			mustUnlogged(t, db, fmt.Sprintf("CREATE DATABASE IF NOT EXISTS aosc_scratch_%d", connectionID(t, db)+int64(n)+2))
		}
		if err := schema.WithScratch(t.Context(), db, env, use); err != nil {
			t.Error(err)
		}
		if left := scratches(t, srv); left != inUse+",aosc_scratch_text" && left != "aosc_scratch_text,"+inUse {
			t.Errorf("left %s, want %s and what is not ours", left, inUse)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if after := executed(); after != before {
		t.Errorf("I7: GTIDs %s became %s", before, after)
	}

	testkit.Exec(t, srv, "SET GLOBAL super_read_only = 1")
	if err := schema.WithScratch(t.Context(), db, env, use); !mysql.IsReadOnly(err) {
		t.Errorf("on a read-only server: %v", err)
	}
	testkit.Exec(t, srv, "SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0")
}

func mustUnlogged(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	err := mysql.WithSession(t.Context(), db, mysql.Session{NoBinlog: true}, func(ctx context.Context, conn *sql.Conn) error {
		for _, s := range statements {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func connectionID(t *testing.T, db *sql.DB) (id int64) {
	t.Helper()
	err := mysql.WithSession(t.Context(), db, mysql.Session{NoBinlog: true}, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// memory is a FormCache that counts.
type memory struct {
	mu         sync.Mutex
	forms      map[string]schema.Form
	gets, puts int
	broken     error
}

func (m *memory) Get(_ context.Context, blob string, env schema.DBEnv) (schema.Form, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	f, ok := m.forms[fmt.Sprint(blob, env)]
	return f, ok, m.broken
}

func (m *memory) Put(_ context.Context, blob string, env schema.DBEnv, f schema.Form) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	m.forms[fmt.Sprint(blob, env)] = f
	return m.broken
}

// One text per blob and environment is materialised once; what cannot be does not stop the others.
func TestMaterialise(t *testing.T) {
	srv := testkit.Server(t)
	env := envOf(t, srv, testkit.Database(t, srv))
	cache := &memory{forms: map[string]schema.Form{}}
	problem := errors.New("bad file")
	ds := []schema.Desired{
		desired("users", "CREATE TABLE users (id int PRIMARY KEY, name varchar(20) CHECK (name <> ''));"),
		desired("orders", "CREATE TABLE orders (id int PRIMARY KEY, user int, CONSTRAINT f FOREIGN KEY (user) REFERENCES users (id))"),
		desired("twin", "CREATE TABLE twin (id int PRIMARY KEY, user int, CONSTRAINT f FOREIGN KEY (user) REFERENCES users (id))"),
		desired("wrong", "CREATE TABLE wrong (id intt)"),
		{Tier: "udb", Table: "broken", Path: "schemas/udb/broken.sql", Problem: problem},
	}
	mat := &schema.Materialiser{Cache: cache}
	forms, errs := mat.Forms(t.Context(), srv.DB(), ds, env)
	if len(forms) != 3 || len(errs) != 2 || !errors.Is(errs["broken"], problem) {
		t.Fatalf("forms %v, errors %v", forms, errs)
	}
	var ddl *schema.DDLError
	if !errors.As(errs["wrong"], &ddl) || !mysql.IsSyntax(errs["wrong"]) || !strings.Contains(errs["wrong"].Error(), "schemas/udb/wrong.sql at commit c0ffee") {
		t.Errorf("refusal is %v", errs["wrong"])
	}
	if !strings.Contains(forms["users"].Text, "`name` varchar(20)") {
		t.Errorf("users is %s", forms["users"].Text)
	}
	if cache.puts != 3 {
		t.Errorf("%d forms cached", cache.puts)
	}

	// From memory, from the cache, and with a cache that is down. No server is needed for the first two.
	down, err := mysql.Open(mysql.Addr{Host: "127.0.0.1", Port: 1}, mysql.Credentials{User: "root"}, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	gets := cache.gets
	if f, err := mat.Form(t.Context(), down, ds[0], env); err != nil || f != forms["users"] || cache.gets != gets {
		t.Errorf("from memory: %v, the cache was asked %d times", err, cache.gets-gets)
	}
	if f, err := (&schema.Materialiser{Cache: cache}).Form(t.Context(), down, ds[0], env); err != nil || f != forms["users"] {
		t.Errorf("from the cache: %v", err)
	}
	cache.broken = errors.New("aoscdb is down")
	if f, err := (&schema.Materialiser{Cache: cache}).Form(t.Context(), srv.DB(), ds[0], env); err != nil || f != forms["users"] {
		t.Errorf("with a broken cache: %v", err)
	}
	if _, errs := (&schema.Materialiser{}).Forms(t.Context(), down, ds[:2], env); !mysql.IsConnection(errs["users"]) || !mysql.IsConnection(errs["orders"]) {
		t.Errorf("I11: without a server: %v", errs)
	}

	// Another environment is another form.
	other := env
	other.Charset, other.Collation = "latin1", "latin1_swedish_ci"
	if f, err := mat.Form(t.Context(), srv.DB(), ds[0], other); err != nil || f.Hash == forms["users"].Hash || !strings.Contains(f.Text, "latin1") {
		t.Errorf("in latin1: %v %s", err, f.Text)
	}
	if left := scratches(t, srv); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// The server's operator may have set anything: texts mean the same and print the same.
func TestSessionsAreOurs(t *testing.T) {
	srv := testkit.FreshServer(t, map[string]string{
		"sql_mode": "ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,STRICT_TRANS_TABLES,NO_ZERO_DATE", "loose_sql_generate_invisible_primary_key": "ON",
		"loose_show_gipk_in_create_table_and_information_schema": "OFF", "loose_show_create_table_verbosity": "ON", "character_set_server": "latin1", "collation_server": "latin1_bin",
	})
	testkit.Exec(t, srv, "SET GLOBAL sql_quote_show_create = 0")
	database := testkit.Database(t, srv)
	env := envOf(t, srv, database)
	d := desired("t", `CREATE TABLE "t" (a int, b varchar(9) DEFAULT 'x\', g varchar(30) AS (b || '\') STORED COMMENT 'it''s')`)
	f, err := (&schema.Materialiser{}).Form(t.Context(), srv.DB(), d, env)
	if err != nil {
		t.Fatal(err)
	}
	want := "CREATE TABLE `t` (\n  `a` int DEFAULT NULL,\n  `b` varchar(9) DEFAULT 'x\\\\',\n" +
		"  `g` varchar(30) GENERATED ALWAYS AS (concat(`b`,'\\\\')) STORED COMMENT 'it''s'\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_bin"
	if f.Text != want {
		t.Errorf("got\n%s\nwant\n%s", f.Text, want)
	}
	err = mysql.WithSession(t.Context(), srv.DB(), mysql.Session{DB: database, SQLMode: &env.SQLMode}, func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, "SET SESSION sql_generate_invisible_primary_key = 0"); err != nil {
			return err
		}
		_, err := conn.ExecContext(ctx, d.Text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if now, ok, err := schema.CurrentForm(t.Context(), srv.DB(), database, "t"); err != nil || !ok || now != f {
		t.Errorf("read from the table: %v\n%s", err, now.Text)
	}
}

// Missing tables are absent, what is no table has a form of its own, and many tables of one text are one form.
func TestCurrentForms(t *testing.T) {
	srv := testkit.Server(t)
	database := testkit.Database(t, srv)
	var refs []schema.Ref
	var statements []string
	q := mysql.QuoteIdent(database)
	for n := range 150 {
		statements = append(statements, fmt.Sprintf("CREATE TABLE %s.t%d (id int AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT=%d", q, n, n+5))
		refs = append(refs, schema.Ref{Database: database, Table: fmt.Sprintf("t%d", n)})
	}
	statements = append(statements, "CREATE VIEW "+q+".v AS SELECT 1 AS a")
	testkit.Exec(t, srv, statements...)
	refs = append(refs, schema.Ref{Database: database, Table: "v"}, schema.Ref{Database: database, Table: "missing"}, schema.Ref{Database: "missing", Table: "t0"})
	forms, err := schema.CurrentForms(t.Context(), srv.DB(), refs)
	if err != nil || len(forms) != 151 {
		t.Fatalf("%d forms: %v", len(forms), err)
	}
	view := forms[schema.Ref{Database: database, Table: "v"}]
	if !strings.Contains(view.Text, "VIEW") {
		t.Errorf("the view is %+v", view)
	}
	table := forms[refs[0]]
	if want := "CREATE TABLE `t0` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"; table.Text != want {
		t.Errorf("got %s", table.Text)
	}
	var noALTER *schema.DiffError
	if _, err := schema.Diff(view, table, "9.7.0"); !errors.As(err, &noALTER) {
		t.Errorf("from a view: %v", err)
	}
	if _, err := schema.Prove(t.Context(), srv.DB(), envOf(t, srv, database), view, table, schema.Change{}); !errors.As(err, &noALTER) {
		t.Errorf("proof from a view: %v", err)
	}

	stop := errors.New("enough")
	n := 0
	err = schema.EachCurrent(t.Context(), srv.DB(), refs, func(schema.Ref, schema.Form) error {
		if n++; n == 70 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 70 {
		t.Errorf("stopped after %d with %v", n, err)
	}
}

// The example tier is what its README says.
func TestExamples(t *testing.T) {
	srv := testkit.Server(t)
	env := envOf(t, srv, testkit.Database(t, srv))
	files, err := filepath.Glob("../../schemas/udb/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	var ds []schema.Desired
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		table, err := schema.ParseDesired(file, string(text))
		if err != nil {
			t.Error(err)
		}
		ds = append(ds, desired(table, string(text)))
	}
	if forms, errs := (&schema.Materialiser{}).Forms(t.Context(), srv.DB(), ds, env); len(errs) > 0 || len(forms) != len(files) {
		t.Errorf("%d forms, errors %v", len(forms), errs)
	}
}

// The table that a copy replaced keeps the names of CHECKs for as long as it is kept. A change that wants such a name is
// made without it, and converges.
func TestCheckNamesTaken(t *testing.T) {
	srv := testkit.Server(t)
	database := testkit.Database(t, srv)
	env := envOf(t, srv, database)
	q := mysql.QuoteIdent(database)
	testkit.Exec(t, srv, "CREATE TABLE "+q+".t (id int PRIMARY KEY, CONSTRAINT positive CHECK (id > 0))", "CREATE TABLE "+q+"._t_gho LIKE "+q+".t",
		"RENAME TABLE "+q+".t TO "+q+"._t_del, "+q+"._t_gho TO "+q+".t")
	want, err := (&schema.Materialiser{}).Form(t.Context(), srv.DB(), desired("t", "CREATE TABLE t (id int PRIMARY KEY, CONSTRAINT positive CHECK (id > 1))"), env)
	if err != nil {
		t.Fatal(err)
	}
	current, _, err := schema.CurrentForm(t.Context(), srv.DB(), database, "t")
	if err != nil {
		t.Fatal(err)
	}
	change, err := schema.Diff(current, want, env.Version)
	if err != nil {
		t.Fatal(err)
	}
	const checkDupName = 3822 // ER_CHECK_CONSTRAINT_DUP_NAME
	if _, err := srv.DB().ExecContext(t.Context(), change.Statement(database, "t")); !mysql.IsNumber(err, checkDupName) {
		t.Errorf("the name is not taken: %v", err)
	}
	testkit.Exec(t, srv, change.UnnamedChecks().Statements(database, "t", "")...)
	if now, _, err := schema.CurrentForm(t.Context(), srv.DB(), database, "t"); err != nil || now.Hash != want.Hash {
		t.Errorf("it becomes %s: %v", now.Text, err)
	}
}

// A change that does not lead to the desired form is refused with both texts; a proof that finds no server is no verdict.
func TestProofRefuses(t *testing.T) {
	srv := testkit.Server(t)
	database := testkit.Database(t, srv)
	env := envOf(t, srv, database)
	mat := &schema.Materialiser{}
	form := func(text string) schema.Form {
		f, err := mat.Form(t.Context(), srv.DB(), desired("t", text), env)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b, c := form("CREATE TABLE t (id int PRIMARY KEY, a int)"), form("CREATE TABLE t (id int PRIMARY KEY, a int, b int)"), form("CREATE TABLE t (id int PRIMARY KEY, a int, c int)")
	change, err := schema.Diff(a, b, env.Version)
	if err != nil {
		t.Fatal(err)
	}
	var refused *schema.ProofError
	if _, err := schema.Prove(t.Context(), srv.DB(), env, a, c, change); !errors.As(err, &refused) || refused.Want != c.Text || refused.Got != b.Text || !strings.Contains(err.Error(), "`c` int") {
		t.Errorf("a change that leads elsewhere: %v", err)
	}
	if _, err := schema.Prove(t.Context(), srv.DB(), env, b, c, change); !errors.As(err, &refused) || !mysql.IsNumber(err, mysql.ErrDupFieldname) {
		t.Errorf("a change the server refuses: %v", err)
	}
	down, err := mysql.Open(mysql.Addr{Host: "127.0.0.1", Port: 1}, mysql.Credentials{User: "root"}, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	if _, err := schema.Prove(t.Context(), down, env, a, b, change); err == nil || errors.As(err, &refused) {
		t.Errorf("I11: without a server: %v", err)
	}
	if left := scratches(t, srv); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
