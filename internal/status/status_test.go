package status_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// anHourAgo gives a session's DDL a create_time that is safely past: hashes of such tables may be reused at once.
const anHourAgo = "SET timestamp = UNIX_TIMESTAMP() - 3600"

// fixture is one instance with databases of its own, and a git repository.
type fixture struct {
	t         *testing.T
	server    *mysqld.Server
	store     *aoscdb.Store
	git       *testkit.GitRepo
	repo      *schema.Repo
	refresher *status.Refresher
	inst      fleet.Instance
	tier      fleet.Tier
	prefix    string
}

func newFixture(t *testing.T, server *mysqld.Server) *fixture {
	t.Helper()
	f := &fixture{t: t, server: server, store: aoscdbkit.AOSCDB(t), git: testkit.Repo(t)}
	f.git.Commit(map[string]string{"schemas/udb/.keep": ""}, "empty")
	var err error
	if f.repo, err = schema.OpenRepo(t.Context(), schema.RepoConfig{URL: f.git.Dir}); err != nil {
		t.Fatal(err)
	}
	pool := mysql.NewPool(server.Credentials(), mysql.Options{})
	t.Cleanup(func() { pool.Close() })
	f.refresher = &status.Refresher{Pool: pool, Store: f.store, Materialiser: &schema.Materialiser{Cache: f.store.FormCache()}}
	f.prefix = testkit.Database(t, server, "st") + "x"
	f.inst = fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: server.Addr().Host, Port: server.Addr().Port}
	f.tier = fleet.Tier{Name: "udb", Databases: strings.ReplaceAll(f.prefix, "_", `\_`) + "%",
		Clusters: []fleet.Cluster{{Tier: "udb", Name: "udb-1", Instances: []fleet.Instance{f.inst}}}}
	return f
}

// database makes a database of the tier.
func (f *fixture) database(options ...string) string {
	f.t.Helper()
	name := testkit.Database(f.t, f.server, f.prefix)
	if len(options) > 0 {
		testkit.Exec(f.t, f.server, "ALTER DATABASE "+name+" "+strings.Join(options, " "))
	}
	return name
}

// old runs DDL in a database as if an hour ago.
func (f *fixture) old(database string, ddl ...string) {
	f.t.Helper()
	f.run(database, slices.Concat([]string{anHourAgo}, ddl)...)
}

// run runs statements in a database, on one connection.
func (f *fixture) run(database string, statements ...string) {
	f.t.Helper()
	err := mysql.WithSession(f.t.Context(), f.server.DB(), mysql.Session{DB: database}, func(ctx context.Context, conn *sql.Conn) error {
		for _, s := range statements {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) commit(files map[string]string) {
	f.t.Helper()
	named := map[string]string{}
	for table, text := range files {
		named["schemas/udb/"+table+".sql"] = text
	}
	f.git.Commit(named, "change")
}

func (f *fixture) snapshot() *schema.Snapshot {
	f.t.Helper()
	snap, err := f.repo.Snapshot(f.t.Context(), f.git.Head())
	if err != nil {
		f.t.Fatal(err)
	}
	return snap
}

func (f *fixture) refresh(o status.Options) status.Summary {
	f.t.Helper()
	sum, err := f.refresher.Refresh(f.t.Context(), f.inst, f.tier, f.snapshot(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	return sum
}

func (f *fixture) rows() map[string]aoscdb.LocalStatus {
	f.t.Helper()
	return rowsOf(f.t, aoscdb.InstanceStatus(f.server.DB()), f.inst)
}

func rowsOf(t *testing.T, s *aoscdb.StatusStore, i fleet.Instance) map[string]aoscdb.LocalStatus {
	t.Helper()
	out := map[string]aoscdb.LocalStatus{}
	for row, err := range s.LocalStatus(t.Context(), i.Host, i.Port) {
		if err != nil {
			t.Fatal(err)
		}
		out[row.Database+"."+row.Table] = row
	}
	return out
}

// want compares the statuses of the instance with "status" per "database.table".
func (f *fixture) want(want map[string]string) {
	f.t.Helper()
	got := map[string]string{}
	for k, r := range f.rows() {
		got[k] = r.Status
	}
	if !maps.Equal(got, want) {
		f.t.Errorf("statuses %v, want %v", got, want)
	}
}

const (
	users    = "CREATE TABLE users (\n  id bigint NOT NULL,\n  name varchar(50) NOT NULL,\n  PRIMARY KEY (id)\n);\n"
	usersOld = "CREATE TABLE users (id bigint NOT NULL, PRIMARY KEY (id))"
	orders   = "CREATE TABLE orders (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, note text)"
)

func TestRefreshJudgesEveryTable(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	same, differs, lacks := f.database(), f.database("CHARACTER SET latin1"), f.database()
	f.old(same, users, orders, "INSERT INTO orders (note) VALUES ('a'), ('b')")
	f.old(differs, usersOld, orders)
	f.old(lacks, orders, "CREATE TABLE not_ours (id int)")
	f.commit(map[string]string{"users": users, "orders": orders})

	sum := f.refresh(status.Options{})
	want := map[string]string{
		same + ".users": "OK", same + ".orders": "OK", differs + ".users": "INC", differs + ".orders": "OK",
		lacks + ".users": "NA", lacks + ".orders": "OK"}
	f.want(want)
	if sum.Databases != 3 || sum.Tables != 6 || sum.NotOK != 2 || sum.Read != 5 || sum.Changed != 6 || sum.Problem() != "" {
		t.Errorf("cold pass: %+v", sum)
	}
	blob := f.snapshot().Tiers["udb"]["users"].Blob
	for k, r := range f.rows() {
		if r.Group != "udb" || r.DesiredBlob == "" || (r.HashCurrent == nil) != (r.Status == "NA") || (r.CreateTime == nil) != (r.Status == "NA") {
			t.Errorf("row %s: %+v", k, r)
		}
		if r.Table == "users" && r.DesiredBlob != blob {
			t.Errorf("row %s was made from blob %s, want %s", k, r.DesiredBlob, blob)
		}
	}

	sum = f.refresh(status.Options{})
	f.want(want)
	if sum.Read != 0 || sum.Written != 0 || sum.Changed != 0 || sum.Tables != 6 || sum.NotOK != 2 {
		t.Errorf("warm pass: %+v", sum)
	}
	sum = f.refresh(status.Options{Fresh: true})
	f.want(want)
	if sum.Read != 5 || sum.Written != 5 || sum.Changed != 0 {
		t.Errorf("fresh pass: %+v", sum)
	}
}

// TestGeneratedPrimaryKeyIsNobodys: a table is as desired whether or not the server added a primary key to it, unless the text says so
// itself.
func TestGeneratedPrimaryKeyIsNobodys(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	with, without := f.database(), f.database()
	const plain = "CREATE TABLE a (x int, y int)"
	f.old(with, "SET sql_generate_invisible_primary_key = 1", plain)
	f.old(without, "SET sql_generate_invisible_primary_key = 0", plain)
	for _, c := range []struct{ text, with, without string }{
		{plain, "OK", "OK"},
		{"CREATE TABLE a (my_row_id bigint unsigned NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY, x int, y int)", "OK", "INC"},
		{"CREATE TABLE a (x int, y int, z int)", "INC", "INC"},
		{plain, "OK", "OK"},
		{"CREATE TABLE a (x int PRIMARY KEY, y int)", "INC", "INC"},
	} {
		f.commit(map[string]string{"a": c.text})
		for range 2 { // the second time by the hashes of the first
			f.refresh(status.Options{Tables: []string{"a"}})
			if rows := f.rows(); rows[with+".a"].Status != c.with || rows[without+".a"].Status != c.without {
				t.Errorf("%s: %s with the key and %s without, want %s and %s", c.text, rows[with+".a"].Status, rows[without+".a"].Status, c.with,
					c.without)
			}
		}
	}
}

// I4: whatever changes a table is seen by the next warm pass.
func TestWarmPassSeesEveryChange(t *testing.T) {
	const child = "CREATE TABLE child (id int PRIMARY KEY, pid int, CONSTRAINT fk FOREIGN KEY (pid) REFERENCES parent (id))"
	const parent = "CREATE TABLE parent (id int PRIMARY KEY)"
	f := newFixture(t, testkit.Server(t))
	cases := map[string]struct {
		ddl  []string
		want string // of users and child together
	}{
		"nothing":             {nil, "OK OK"},
		"INSTANT":             {[]string{"ALTER TABLE users ADD COLUMN x int, ALGORITHM=INSTANT"}, "INC OK"},
		"INPLACE":             {[]string{"ALTER TABLE users ADD KEY (name), ALGORITHM=INPLACE"}, "INC OK"},
		"COPY":                {[]string{"ALTER TABLE users MODIFY name varchar(51) NOT NULL, ALGORITHM=COPY"}, "INC OK"},
		"only a comment":      {[]string{"ALTER TABLE users COMMENT 'x'"}, "INC OK"},
		"only a default":      {[]string{"ALTER TABLE users ALTER COLUMN name SET DEFAULT 'x'"}, "INC OK"},
		"CREATE INDEX":        {[]string{"CREATE INDEX by_name ON users (name)"}, "INC OK"},
		"dropped":             {[]string{"DROP TABLE users"}, "NA OK"},
		"dropped and made":    {[]string{"DROP TABLE users", "CREATE TABLE users (id int)"}, "INC OK"},
		"swapped for another": {[]string{"CREATE TABLE _users_gho (id int)", "RENAME TABLE users TO _users_del, _users_gho TO users"}, "INC OK"},
		"its parent renamed":  {[]string{"RENAME TABLE parent TO parent2"}, "OK INC"},
		"its parent's column": {[]string{"ALTER TABLE parent RENAME COLUMN id TO idx"}, "OK INC"},
		"rebuilt as it was":   {[]string{"ALTER TABLE users ENGINE=InnoDB"}, "OK OK"},
	}
	databases, all := map[string]string{}, map[string]string{}
	for name := range cases {
		db := f.database()
		f.old(db, users, parent, child)
		databases[name], all[db+".users"], all[db+".child"] = db, "OK", "OK"
	}
	f.commit(map[string]string{"users": users, "child": child})
	f.refresh(status.Options{})
	f.want(all)
	for name, tc := range cases {
		f.run(databases[name], tc.ddl...)
	}
	f.refresh(status.Options{})
	rows := f.rows()
	for name, tc := range cases {
		db := databases[name]
		if got := rows[db+".users"].Status + " " + rows[db+".child"].Status; got != tc.want {
			t.Errorf("%s: users and child are %s, want %s", name, got, tc.want)
		}
	}
}

// I4: what create_time cannot show, a fresh pass does.
func TestFreshPassBelievesNothing(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	db := f.database()
	const made = "SET timestamp = 1700000000"
	f.old(db, made, users)
	f.commit(map[string]string{"users": users})
	f.refresh(status.Options{})
	f.old(db, made, "ALTER TABLE users ADD COLUMN x int") // the same second again
	f.refresh(status.Options{})
	f.want(map[string]string{db + ".users": "OK"}) // deceived, as the package says
	f.refresh(status.Options{Fresh: true})
	f.want(map[string]string{db + ".users": "INC"})
}

func TestTablesOfThisSecondAreReadAgain(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	db := f.database()
	testkit.Exec(t, f.server, strings.Replace(users, "users", db+".users", 1))
	f.commit(map[string]string{"users": users})
	f.refresh(status.Options{})
	if sum := f.refresh(status.Options{}); sum.Read != 1 {
		t.Errorf("a table made in the second of its checksum was read %d times by the next, want 1", sum.Read)
	}
	testkit.Eventually(t, testkit.Patience, "its hash is reused", func() bool { return f.refresh(status.Options{}).Read == 0 })
}

// A row that says INC may come from a release with another normal form, and from before the caller altered the table.
func TestDifferencesAreDoubted(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	db := f.database()
	f.old(db, users)
	f.commit(map[string]string{"users": users})
	f.refresh(status.Options{})
	for name, refresh := range map[string]func() status.Summary{
		"by a new process": func() status.Summary {
			f.refresher = &status.Refresher{Pool: f.refresher.Pool, Store: f.store, Materialiser: f.refresher.Materialiser}
			return f.refresh(status.Options{})
		},
		"by who altered the table": func() status.Summary { return f.refresh(status.Options{Tables: []string{"users"}}) },
	} {
		row := f.rows()[db+".users"]
		other := "hash of another release"
		row.Status, row.HashCurrent = aoscdb.LocalINC, &other
		if err := aoscdb.InstanceStatus(f.server.DB()).PutLocal(t.Context(), []aoscdb.LocalStatus{row}); err != nil {
			t.Fatal(err)
		}
		if sum := refresh(); sum.Read != 1 || sum.NotOK != 0 {
			t.Errorf("%s: %+v, want the table read and found OK", name, sum)
		}
		if sum := refresh(); sum.Read != 0 {
			t.Errorf("%s: a row that says OK was read again: %+v", name, sum)
		}
	}
}

func TestCommitsChangeTheVerdict(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	db := f.database()
	f.old(db, users, orders)
	f.commit(map[string]string{"users": users, "orders": orders})
	f.refresh(status.Options{})
	before := f.rows()[db+".users"]

	// Only the text changes, not the form.
	f.commit(map[string]string{"users": "-- who\n" + users})
	sum := f.refresh(status.Options{})
	row := f.rows()[db+".users"]
	if row.Status != "OK" || row.DesiredBlob == before.DesiredBlob || row.HashDesired != before.HashDesired || sum.Read != 0 || sum.Changed != 1 {
		t.Errorf("after a comment in the file: %+v, row %+v", sum, row)
	}
	f.commit(map[string]string{"users": strings.Replace(users, "50", "60", 1)})
	sum = f.refresh(status.Options{})
	f.want(map[string]string{db + ".users": "INC", db + ".orders": "OK"})
	if sum.Read != 0 || sum.Changed != 1 {
		t.Errorf("after a change of the schema: %+v, want no table read", sum)
	}
	f.git.Delete("no more", "schemas/udb/users.sql")
	f.refresh(status.Options{})
	f.want(map[string]string{db + ".orders": "OK"})
}

// I11: no text, no verdict. An earlier row must not pass for one.
func TestUnusableTextsLeaveNoVerdict(t *testing.T) {
	for name, text := range map[string]string{
		"refused by the parser": users + orders,
		"refused by the server": "CREATE TABLE users (id int, KEY (nosuch))",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, testkit.Server(t))
			db := f.database()
			f.old(db, users, orders)
			f.commit(map[string]string{"users": users, "orders": orders})
			f.refresh(status.Options{})
			f.commit(map[string]string{"users": text})
			sum := f.refresh(status.Options{})
			f.want(map[string]string{db + ".orders": "OK"})
			if len(sum.Refused) != 1 || sum.Refused[0].Table != "users" || !strings.Contains(sum.Problem(), "users") || sum.Tables != 1 {
				t.Errorf("summary %+v, want users refused", sum)
			}
		})
	}
}

func TestRowsThatNoLongerCountGo(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	stays, goes := f.database(), f.database()
	f.old(stays, users)
	f.old(goes, users)
	f.commit(map[string]string{"users": users})
	f.refresh(status.Options{})
	clone := aoscdb.InstanceStatus(f.server.DB())
	if err := clone.PutLocal(t.Context(), []aoscdb.LocalStatus{{Host: "donor", Port: 3306, Database: stays, Table: "users", Status: "OK", Group: "udb"}}); err != nil {
		t.Fatal(err)
	}
	testkit.Exec(t, f.server, "DROP DATABASE "+goes)
	if sum := f.refresh(status.Options{}); sum.Changed != 1 {
		t.Errorf("changed %d rows, want 1: a database is gone", sum.Changed)
	}
	f.want(map[string]string{stays + ".users": "OK"})
	if rows := rowsOf(t, clone, fleet.Instance{Host: "donor", Port: 3306}); len(rows) != 0 {
		t.Errorf("the donor's rows are still there: %v", rows)
	}
}

func TestOneTable(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	a, b := f.database(), f.database()
	f.old(a, usersOld, orders)
	f.old(b, usersOld, orders)
	f.commit(map[string]string{"users": users, "orders": orders})
	f.refresh(status.Options{})
	testkit.Exec(t, f.server, "ALTER TABLE "+a+".users ADD COLUMN name varchar(50) NOT NULL", "ALTER TABLE "+a+".orders ADD COLUMN x int",
		"DROP TABLE "+b+".users")
	sum := f.refresh(status.Options{Tables: []string{"users"}, Fresh: true})
	// The other table's row is as it was, although the table is not.
	f.want(map[string]string{a + ".users": "OK", a + ".orders": "OK", b + ".users": "NA", b + ".orders": "OK"})
	if sum.Tables != 2 || sum.Read != 1 || sum.NotOK != 1 || sum.Databases != 2 {
		t.Errorf("summary %+v", sum)
	}
}

func TestHardNames(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	names := []string{"order by", "se`lect", "quo'te", `dou"ble`, "naïve-表", strings.Repeat("x", 64)}
	f.prefix += "-ü ` "
	db := f.database()
	f.tier.Databases = f.prefix + "%"
	files := map[string]string{}
	want := map[string]string{}
	for _, n := range names {
		files[n] = "CREATE TABLE " + mysql.QuoteIdent(n) + " (id int PRIMARY KEY)"
		f.old(db, files[n])
		want[db+"."+n] = "OK"
	}
	f.commit(files)
	f.refresh(status.Options{})
	f.want(want)
	if sum := f.refresh(status.Options{}); sum.Read != 0 {
		t.Errorf("the warm pass read %d tables", sum.Read)
	}
}

// I8: of two on one instance, one works.
func TestOneAtATime(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	name, err := f.refresher.Store.LockName(t.Context(), "checksum "+f.inst.String())
	if err != nil {
		t.Fatal(err)
	}
	lock, got, err := mysql.TryLock(t.Context(), f.server.DB(), name)
	if err != nil || !got {
		t.Fatal(got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // enough to find it busy once
	defer cancel()
	if _, err := f.refresher.Refresh(ctx, f.inst, f.tier, f.snapshot(), status.Options{}); !errors.Is(err, status.ErrBusy) {
		t.Errorf("Refresh while another holds the lock: %v, want ErrBusy", err)
	}
	lock.Release()
	f.refresh(status.Options{})
}

func TestNoDatabases(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	f.commit(map[string]string{"users": users})
	sum := f.refresh(status.Options{})
	f.want(map[string]string{})
	if sum.Databases != 0 || sum.Tables != 0 || sum.StartedAt.IsZero() {
		t.Errorf("summary %+v", sum)
	}
}

func TestManyDatabasesInOnePass(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	want := map[string]string{}
	for i := range 70 { // more than one reader takes at once
		db := f.database()
		f.old(db, users)
		want[db+".users"] = "OK"
		if i%2 == 0 {
			f.old(db, "ALTER TABLE users ADD COLUMN x int")
			want[db+".users"] = "INC"
		}
	}
	f.commit(map[string]string{"users": users})
	if sum := f.refresh(status.Options{Tables: []string{"users"}, Fresh: true}); sum.Read != 70 || sum.NotOK != 35 {
		t.Errorf("summary %+v", sum)
	}
	f.want(want)
}

// I7: status rows on a replica are nobody else's, and make no transaction of its own.
func TestReplicaWithRowsOfItsOwn(t *testing.T) {
	c := testkit.Cluster(t, 2)
	f := newFixture(t, c.Primary)
	db := f.database()
	f.old(db, users)
	f.commit(map[string]string{"users": users})
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica := fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: c.Replicas[0].Addr().Host, Port: c.Replicas[0].Addr().Port}
	if _, err := f.refresher.Refresh(t.Context(), replica, f.tier, f.snapshot(), status.Options{}); err != nil {
		t.Fatal(err)
	}
	f.refresh(status.Options{})
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.NoErrantGTIDs(t, c)
	rows := rowsOf(t, aoscdb.InstanceStatus(c.Replicas[0].DB()), replica)
	if len(rows) != 1 || rows[db+".users"].Status != "OK" {
		t.Errorf("rows of the replica: %v", rows)
	}
	if rows := rowsOf(t, aoscdb.InstanceStatus(c.Replicas[0].DB()), f.inst); len(rows) != 0 {
		t.Errorf("the primary's rows reached the replica: %v", rows)
	}
}

// A super_read_only server takes not even unlogged DDL: its forms come from the primary and its rows go to aoscdb.
func TestSuperReadOnlyReplica(t *testing.T) {
	c := testkit.Cluster(t, 2)
	f := newFixture(t, c.Primary)
	db := f.database()
	f.old(db, users)
	f.commit(map[string]string{"users": users})
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica := fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: c.Replicas[0].Addr().Host, Port: c.Replicas[0].Addr().Port}
	f.tier.Clusters[0].Instances = append(f.tier.Clusters[0].Instances, replica)
	testkit.Exec(t, c.Replicas[0], "SET GLOBAL super_read_only = ON")
	t.Cleanup(func() {
		if _, err := c.Replicas[0].DB().Exec("SET GLOBAL super_read_only = OFF"); err != nil {
			t.Error(err)
		}
	})
	refresh := func() (status.Summary, error) {
		return f.refresher.Refresh(t.Context(), replica, f.tier, f.snapshot(), status.Options{})
	}
	if err := f.store.PutTier(t.Context(), aoscdb.NewTier("udb")); err != nil {
		t.Fatal(err)
	}
	if _, err := refresh(); !errors.Is(err, aoscdb.ErrReadOnlyInstance) {
		t.Errorf("with status_store='instance': %v, want the way out", err)
	}
	tier := aoscdb.NewTier("udb")
	tier.StatusStore = aoscdb.StoreCentral
	if err := f.store.PutTier(t.Context(), tier); err != nil {
		t.Fatal(err)
	}
	sum, err := refresh()
	if err != nil || sum.Tables != 1 || sum.NotOK != 0 {
		t.Fatalf("with status_store='central': %+v, %v", sum, err)
	}
	if rows := rowsOf(t, f.store.CentralStatus(), replica); rows[db+".users"].Status != "OK" {
		t.Errorf("central rows: %v", rows)
	}
	testkit.NoErrantGTIDs(t, c)

	// Without a primary there is nobody to make the form of a new text; known forms need nobody.
	f.tier.Clusters[0].Instances = []fleet.Instance{replica}
	if _, err := refresh(); err != nil {
		t.Errorf("a known form needs no primary: %v", err)
	}
	f.commit(map[string]string{"orders": orders})
	if _, err := refresh(); !errors.Is(err, fleet.ErrNoPrimary) {
		t.Errorf("a new form without a primary: %v, want ErrNoPrimary", err)
	}
}

func TestErrorsNameTheInstance(t *testing.T) {
	f := newFixture(t, testkit.Server(t))
	pool := mysql.NewPool(mysql.Credentials{User: "nobody", Password: "wrong"}, mysql.Options{})
	defer pool.Close()
	f.refresher.Pool = pool
	_, err := f.refresher.Refresh(t.Context(), f.inst, f.tier, f.snapshot(), status.Options{})
	if !mysql.IsAccessDenied(err) || !strings.Contains(err.Error(), fmt.Sprintf("checksum of %s (tier udb)", f.inst)) {
		t.Errorf("wrong password: %v", err)
	}
}
