package aoscdb

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// original are the tables of the original with their columns in order. An operator's positional INSERT depends on them.
var original = map[string]string{
	"allowed_alters":    "group, table_name, allowed_by, allowed_at, priority, server_list",
	"current_alters":    "group, table_name, status, priority, server_list",
	"finished_alters":   "group, table_name, finished_at, tries",
	"running_alters":    "host, port, group, table_name, osc_status, last_updated",
	"aosc_local_status": "host, port, database, table_name, hash_current, hash_desired, status, last_run",
	"aosc_osc_ww": "host, port, table_name, osc_priv, status, percentage, last_update, try, priority, start_time, " +
		"group",
}

func TestColumnsOfTheOriginal(t *testing.T) {
	s := newStore(t)
	for table, want := range original {
		type column struct {
			Name, Extra     string
			Nullable, Fills bool
		}
		columns := must(list(t.Context(), s.db, func(c *column) []any { return []any{&c.Name, &c.Extra, &c.Nullable, &c.Fills} },
			"SELECT column_name, extra, is_nullable = 'YES', column_default IS NOT NULL FROM information_schema.columns "+
				"WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position", table))(t)
		var visible []string
		for _, c := range columns {
			if !strings.Contains(c.Extra, "INVISIBLE") {
				visible = append(visible, c.Name)
				continue
			}
			if !c.Nullable && !c.Fills && !strings.Contains(c.Extra, "auto_increment") {
				t.Errorf("%s.%s was added and has no default: an INSERT by hand fails", table, c.Name)
			}
		}
		if got := strings.Join(visible, ", "); got != want {
			t.Errorf("%s shows %s\nthe original has %s", table, got, want)
		}
	}
}

// TestTablesOnAnyServer: what a server's or database's defaults are must not matter: without transactions leases fence
// nothing, and with latin1 names are lost.
func TestTablesOnAnyServer(t *testing.T) {
	database := newDatabase(t)
	tell(t, cluster.Primary.DB(), "CREATE DATABASE "+mysql.QuoteIdent(database)+" DEFAULT CHARACTER SET latin1")
	s := open(t, database)
	must(s.Init(t.Context()))(t)
	type table struct{ Name, Engine, Collation string }
	tables := must(list(t.Context(), s.db, func(t *table) []any { return []any{&t.Name, &t.Engine, &t.Collation} },
		"SELECT table_name, engine, table_collation FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = "+
			"'BASE TABLE'"))(t)
	for _, table := range tables {
		if table.Engine != "InnoDB" || !strings.HasPrefix(table.Collation, "utf8mb4") {
			t.Errorf("%+v, want InnoDB and utf8mb4", table)
		}
	}
	created := 3
	for _, m := range migrations {
		for _, q := range m.statements {
			if strings.HasPrefix(q, "CREATE TABLE") {
				created++
			}
		}
	}
	if len(tables) != created {
		t.Errorf("%d tables, want those of the migrations, two for status and schema_version", len(tables))
	}
	if n := ask[int](t, s.db, "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND extra LIKE '%on update%'"); n != 0 {
		t.Errorf("%d columns change by themselves", n)
	}
}

func TestInsertsOfTheOriginal(t *testing.T) {
	s := newStore(t)
	tell(t, s.db, "INSERT INTO allowed_alters VALUES ('udb','tabla1','istvan',NULL,10,'default')")
	tell(t, s.db, "INSERT INTO current_alters VALUES ('udb','tabla1','HOLD',10,'default')")
	tell(t, s.db, "INSERT INTO finished_alters VALUES ('udb','tabla1',NOW(),3)")
	tell(t, s.db, "INSERT INTO finished_alters VALUES ('udb','tabla1',NOW(),3)")
	tell(t, s.db, "INSERT INTO running_alters VALUES ('udb01.snc',3306,'udb','tabla1','READY',NOW())")
	tell(t, s.db, "INSERT INTO aosc_local_status VALUES ('udb01.snc',3306,'dbid3','tabla1',NULL,'efgh','NA',NOW())")
	tell(t, s.db, "INSERT INTO aosc_osc_ww VALUES ('udb01.snc',3306,'tabla1','OK','WAITING',0,NOW(),0,10,NULL,'udb')")

	a := must(s.AllowedOne(t.Context(), "udb", "tabla1"))(t)
	want := AllowedAlter{Group: "udb", Table: "tabla1", AllowedBy: "istvan", Priority: 10, ServerList: ServersDefault, CutOver: CutOverAuto}
	if a != want {
		t.Errorf("allowed_alters: %+v, want %+v", a, want)
	}
	c := must(s.CurrentAlter(t.Context(), "udb", "tabla1"))(t)
	if c.Status != AlterHold || c.Targets != -1 || c.Unknowns != -1 {
		t.Errorf("current_alters: %+v, want HOLD and never looked at", c)
	}
	if f := must(s.Finished(t.Context(), 10))(t); len(f) != 2 || f[0].ID <= f[1].ID || f[0].Outcome != OutcomeFinished {
		t.Errorf("finished_alters: %+v, want two, the newest first", f)
	}
	if r := must(s.RunningAlters(t.Context()))(t); len(r) != 1 || r[0].OSCStatus != RunReady {
		t.Errorf("running_alters: %+v", r)
	}
	row := must(s.CentralStatus().OSCRow(t.Context(), "udb01.snc", 3306, "udb", "tabla1"))(t)
	if row.Status != OSCWaiting || row.OSCPriv != PrivOK || row.Priority != 10 {
		t.Errorf("aosc_osc_ww: %+v", row)
	}
	for row, err := range s.CentralStatus().LocalStatus(t.Context(), "udb01.snc", 3306) {
		ok(t, err)
		if row.HashCurrent != nil || row.Status != LocalNA || row.Database != "dbid3" {
			t.Errorf("aosc_local_status: %+v", row)
		}
	}
	// Enums are typed in any case, as on any other server.
	tell(t, s.db, "UPDATE aosc_osc_ww SET osc_priv = 'pause'")
	if got := ask[string](t, s.db, "SELECT osc_priv FROM aosc_osc_ww"); got != PrivPause {
		t.Errorf("osc_priv = 'pause' was stored as %q", got)
	}
}

// TestOneAlterPerInstance: I3 is a key of running_alters, so not even a scheduler gone mad can break it.
func TestOneAlterPerInstance(t *testing.T) {
	s := newStore(t)
	tell(t, s.db, "INSERT INTO running_alters VALUES ('h',3306,'udb','a','READY',NOW())")
	_, err := s.db.ExecContext(t.Context(), "INSERT INTO running_alters VALUES ('h',3306,'udb','b','READY',NOW())")
	if !mysql.IsNumber(err, mysql.ErrDupEntry) {
		t.Errorf("a second alter on one instance: %v, want a duplicate key", err)
	}
}

func TestInitAtOnceAndAgain(t *testing.T) {
	database := newDatabase(t)
	applied := make([][]int, 4)
	var wg sync.WaitGroup
	for i := range applied {
		s := open(t, database)
		wg.Go(func() {
			var err error
			if applied[i], err = s.Init(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all := slices.Concat(applied...); len(all) != Version() {
		t.Errorf("four at once applied %v, want each of %d versions once", all, Version())
	}
	s := open(t, database)
	if again := must(s.Init(t.Context()))(t); len(again) != 0 {
		t.Errorf("run again it applied %v", again)
	}
	ok(t, s.CheckVersion(t.Context()))
}

// TestInitResumes: I8. After a crash before or after any statement, of which only the recorded progress and the doubt
// are left, Init carries on.
func TestInitResumes(t *testing.T) {
	saved := migrations
	defer func() { migrations = saved }()
	s := open(t, newDatabase(t))
	ok(t, s.createDatabase(t.Context()))
	tell(t, s.db, schemaVersion)
	tell(t, s.db, "INSERT INTO schema_version (version) VALUES (1)")
	for crashed := range saved[0].statements {
		// A migration that ends with the statement in question: what went before is done.
		migrations = []migration{{number: 1, statements: saved[0].statements[:crashed+1]}}
		for _, done := range []bool{false, true} {
			tell(t, s.db, "UPDATE schema_version SET statements = ?, in_doubt = 1, applied_at = NULL", crashed)
			table := createdTable(saved[0].statements[crashed])
			if there := must(columnNames(t.Context(), s.db, s.database, table))(t); len(there) > 0 != done {
				t.Fatalf("%s has columns %v before Init, want some: %v", table, there, done)
			}
			var ve *VersionError
			if err := s.CheckVersion(t.Context()); !errors.As(err, &ve) || ve.Have != 0 {
				t.Errorf("half a migration passes for version 1: %v", err)
			}
			if applied := must(s.Init(t.Context()))(t); !slices.Equal(applied, []int{1}) {
				t.Errorf("statement %d, done %v: applied %v", crashed, done, applied)
			}
			if there := must(columnNames(t.Context(), s.db, s.database, table))(t); len(there) == 0 {
				t.Errorf("statement %d, done %v: %s was not created", crashed, done, table)
			}
			ok(t, s.CheckVersion(t.Context()))
		}
	}
}

// TestForeignTableInTheWay: somebody's own table of the same name is not taken for ours, however often Init is tried.
func TestForeignTableInTheWay(t *testing.T) {
	s := open(t, newDatabase(t))
	ok(t, s.createDatabase(t.Context()))
	tell(t, s.db, "CREATE TABLE events (mine int)")
	for range 2 {
		if _, err := s.Init(t.Context()); !mysql.IsNumber(err, mysql.ErrTableExists) {
			t.Fatalf("Init over somebody's table: %v", err)
		}
	}
	tell(t, s.db, "RENAME TABLE events TO my_events")
	must(s.Init(t.Context()))(t)
	ok(t, s.CheckVersion(t.Context()))

	tell(t, s.db, "ALTER TABLE aosc_local_status DROP COLUMN desired_blob")
	if _, err := s.Init(t.Context()); err == nil || !strings.Contains(err.Error(), "desired_blob") {
		t.Errorf("a status table without a column of ours: %v", err)
	}
}

func TestVersions(t *testing.T) {
	s := open(t, newDatabase(t))
	refused := func(have int, wayOut string) {
		t.Helper()
		err := s.CheckVersion(t.Context())
		var ve *VersionError
		if !errors.As(err, &ve) || ve.Have != have || !strings.Contains(err.Error(), wayOut) {
			t.Errorf("%v, want version %d refused naming %q", err, have, wayOut)
		}
	}
	refused(0, "aosc init") // no database
	ok(t, s.createDatabase(t.Context()))
	refused(0, "aosc init") // no table
	must(s.Init(t.Context()))(t)
	tell(t, s.db, "INSERT INTO schema_version (version, applied_at) VALUES (?, NOW(6))", Version()+1)
	refused(Version()+1, "upgrade the binaries")
	_, err := s.Init(t.Context())
	var ve *VersionError
	if !errors.As(err, &ve) {
		t.Errorf("Init over a newer database: %v", err)
	}
	// A newer release that was interrupted has changed things already.
	tell(t, s.db, "UPDATE schema_version SET applied_at = NULL WHERE version > ?", Version())
	refused(Version()+1, "upgrade the binaries")
}

// TestUpgrade: a version that is recorded is not run again, the one after it is.
func TestUpgrade(t *testing.T) {
	s := newStore(t)
	saved := migrations
	defer func() { migrations = saved }()
	migrations = append(slices.Clone(migrations), migration{number: len(migrations) + 1,
		statements: []string{"CREATE TABLE later (a int)", "ALTER TABLE later ADD COLUMN b int"}})
	var ve *VersionError
	err := s.CheckVersion(t.Context())
	if !errors.As(err, &ve) || ve.Have != len(saved) || !strings.Contains(err.Error(), "aosc init") {
		t.Errorf("an older database: %v", err)
	}
	if applied := must(s.Init(t.Context()))(t); !slices.Equal(applied, []int{len(saved) + 1}) {
		t.Errorf("applied %v", applied)
	}
	ok(t, s.CheckVersion(t.Context()))
	tell(t, s.db, "INSERT INTO later VALUES (1, 2)")
}

// TestEnginesOfBefore: an upgrade leaves the engine of a tier as it is, and gives one that asked for what was never there the default.
func TestEnginesOfBefore(t *testing.T) {
	s := open(t, newDatabase(t))
	saved := migrations
	defer func() { migrations = saved }()
	migrations = migrations[:9]
	must(s.Init(t.Context()))(t)
	tell(t, s.db, "INSERT INTO tiers (`group`, copy_engine) VALUES ('g', 'ghost'), ('k', 'keyed'), ('s', 'spirit')")
	tell(t, s.db, "INSERT INTO tiers (`group`) VALUES ('d')")
	migrations = saved
	must(s.Init(t.Context()))(t)
	tell(t, s.db, "INSERT INTO tiers (`group`) VALUES ('new')")
	const engines = "SELECT GROUP_CONCAT(CONCAT(`group`, ' ', copy_engine) ORDER BY `group`) FROM tiers"
	if got := ask[string](t, s.db, engines); got != "d ghost,g ghost,k keyed,new keyed,s keyed" {
		t.Error(got)
	}
	if _, err := s.db.ExecContext(t.Context(), "UPDATE tiers SET copy_engine = 'spirit'"); err == nil {
		t.Error("spirit was stored")
	}
}

func TestOpenNeedsADatabase(t *testing.T) {
	if _, err := Open("root:secret@tcp(127.0.0.1:1)/"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a DSN without database: %v", err)
	}
	if _, err := Open("root:secret@nonsense"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a bad DSN: %v", err)
	}
}

// TestInitWaitsNotForEver: the lock's name can be guessed. Who has it is named, and the wait ends.
func TestInitWaitsNotForEver(t *testing.T) {
	s := newStore(t)
	const name = "aosc.init.somebody_else_s"
	held, ok, err := mysql.TryLock(t.Context(), s.db, name)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	_, err = waitLock(t.Context(), s.db, name, 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "KILL") || !strings.Contains(err.Error(), "session ") {
		t.Errorf("waiting for a lock of another's: %v", err)
	}
	held.Release()
	lock, err := waitLock(t.Context(), s.db, name, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
}
