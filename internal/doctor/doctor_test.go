package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// well is a site of which nothing can be said: one tier of one cluster of two.
func well() Site {
	member := func(host string, role fleet.Role) Instance {
		i := Instance{Databases: []string{"udb_1", "udb_2"}, ClockKnown: true, FreeSeen: true, Free: 10 << 30, LargestTable: 1 << 30,
			Extras: Extras{PerformanceSchema: true, MetadataLocks: true, TimeZone: "SYSTEM", StatusTables: 2, Guards: aoscdb.Guards}}
		i.Instance = fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: host, Port: 3306}
		i.Role = role
		i.Server = mysql.Server{LogBin: true, LogReplicaUpdates: true, GTIDMode: "ON", BinlogFormat: "ROW", BinlogRowImage: "FULL",
			Datadir: "/data"}
		for _, use := range []string{UseMain, UseWrite, UseScratch} {
			on := "*.*"
			if needs[use].on != "" {
				on = "`" + needs[use].on + "`.*"
			}
			i.Accounts = append(i.Accounts, Account{Use: use, Name: use + "@%", Grants: []string{
				"GRANT " + strings.Join(needs[use].global, ", ") + " ON *.* TO `u`@`%`", "GRANT " + strings.Join(needs[use].tables, ", ") + " ON " +
					on + " TO `u`@`%`"}})
		}
		return i
	}
	return Site{Tiers: []aoscdb.Tier{aoscdb.NewTier("udb")}, Instances: []Instance{member("a", fleet.RolePrimary), member("b",
		fleet.RoleReplica)},
		Central: Account{Name: "aosc@%", Grants: []string{"GRANT ALL PRIVILEGES ON `aoscdb`.* TO `aosc`@`%`"}}, Database: "aoscdb",
		Daemons: []Daemon{{Name: "brain"}}}
}

func TestJudge(t *testing.T) {
	main, write, scratch := 0, 1, 2
	for _, c := range []struct {
		name   string
		change func(*Site)
		what   string // part of it, "" = nothing is found
		mend   string
	}{
		{"nothing", func(*Site) {}, "", ""},
		{"a daemon", func(s *Site) { s.Daemons[0].Trouble = "the brain is down" }, "the brain is down", "start it"},
		{"unreachable", func(s *Site) { s.Instances[1].Err = errors.New("no answer") }, "no answer", "inventory"},
		{"binlog_format", func(s *Site) { s.Instances[0].Server.BinlogFormat = "MIXED" }, "binlog_format is MIXED",
			"SET PERSIST binlog_format = 'ROW';"},
		{"row image", func(s *Site) { s.Instances[1].Server.BinlogRowImage = "MINIMAL" }, "binlog_row_image",
			"SET PERSIST binlog_row_image = 'FULL';"},
		{"row image, nothing is copied", func(s *Site) {
			s.Instances[1].Server.BinlogRowImage = "MINIMAL"
			s.Tiers[0].Ordering = aoscdb.OrderingRolling
		}, "", ""},
		{"partial JSON", func(s *Site) { s.Instances[1].Server.BinlogRowValueOptions = "PARTIAL_JSON" }, "binlog_row_value_options", "= '';"},
		{"compression", func(s *Site) { s.Instances[1].Server.BinlogTransactionCompression = true }, "compression", "= OFF;"},
		{"no binary log", func(s *Site) { s.Instances[0].Server.LogBin = false }, "log_bin", "log_bin"},
		{"gtid_mode", func(s *Site) { s.Instances[0].Server.GTIDMode = "OFF" }, "gtid_mode is OFF", "SET PERSIST gtid_mode = ON;"},
		{"log_replica_updates", func(s *Site) { s.Instances[0].Server.LogReplicaUpdates = false }, "log_replica_updates",
			"log_replica_updates=ON"},
		{"performance_schema", func(s *Site) { s.Instances[0].Extras.PerformanceSchema = false }, "performance_schema is OFF", "RESTART"},
		{"metadata locks", func(s *Site) { s.Instances[0].Extras.MetadataLocks = false }, "not instrumented",
			"UPDATE performance_schema.setup_instruments"},
		{"time zone tables", func(s *Site) { s.Instances[0].Extras.ZoneUnknown = true }, "time zone tables", "mysql_tzinfo_to_sql"},
		{"zones differ", func(s *Site) { s.Instances[1].Extras.ZoneOffset = 120 }, "SYSTEM (+02:00 now)", "the same on every member"},
		{"zones differ, by name", func(s *Site) { s.Instances[0].Extras.TimeZone, s.Instances[1].Extras.TimeZone = "UTC", "Europe/London" },
			"its time_zone is Europe/London", "SET PERSIST time_zone = 'UTC';"},
		{"one by the machine", func(s *Site) { s.Instances[1].Extras.TimeZone = "Europe/London" }, "", ""},
		{"clock ahead", func(s *Site) { s.Instances[1].ClockOff = 5 * time.Second }, "5s ahead of", "chronyc"},
		{"clock behind", func(s *Site) { s.Instances[1].ClockOff = -5 * time.Second }, "5s behind", "chronyc"},
		{"clock", func(s *Site) { s.Instances[1].ClockOff = -time.Second }, "", ""},
		{"disk", func(s *Site) { s.Instances[0].LargestTable = 9 << 30 }, "10240 MiB are free in /data", "make room"},
		{"disk out of sight", func(s *Site) { s.Instances[0].LargestTable, s.Instances[0].FreeSeen = 9<<30, false }, "", ""},
		{"super_read_only", func(s *Site) { s.Instances[1].Server.SuperReadOnly = true }, "b:3306), and status_store is 'instance'",
			"UPDATE aoscdb.tiers SET status_store = 'central' WHERE `group` = 'udb';"},
		{"super_read_only, central", func(s *Site) {
			s.Instances[1].Server.SuperReadOnly = true
			s.Tiers[0].StatusStore = aoscdb.StoreCentral
		}, "", ""},
		{"guards", func(s *Site) { s.Instances[1].Extras.Guards = 0 }, "0 of 4 triggers guard",
			"GRANT TRIGGER, SYSTEM_VARIABLES_ADMIN ON *.* TO 'mysql-user'@'%';"},
		{"guards, no tables yet", func(s *Site) { s.Instances[1].Extras.Guards, s.Instances[1].Extras.StatusTables = 0, 0 }, "", ""},
		{"a global privilege", func(s *Site) { drop(s, main, "PROCESS, ") }, "lacks PROCESS on *.*", "GRANT PROCESS ON *.* TO 'mysql-user'@'%';"},
		{"a privilege on tables", func(s *Site) { drop(s, write, "LOCK TABLES, ") }, "lacks LOCK TABLES on *.*",
			"GRANT LOCK TABLES ON *.* TO 'mysql-write-user'@'%';"},
		{"on the tier's databases alone", func(s *Site) {
			replace(s, write, "SELECT, TRIGGER, UPDATE ON *.*", "SELECT, TRIGGER, UPDATE ON `udb\\_%`.*")
		}, "", ""},
		{"on one of them", func(s *Site) {
			replace(s, write, "SELECT, TRIGGER, UPDATE ON *.*", "SELECT, TRIGGER, UPDATE ON `udb\\_1`.*")
		}, "lacks ALTER", "GRANT ALTER"},
		{"all", func(s *Site) {
			s.Instances[0].Accounts[main].Grants = []string{"GRANT ALL PRIVILEGES ON *.* TO `u`@`%`"}
		}, "", ""},
		{"SUPER", func(s *Site) {
			replace(s, main, "CONNECTION_ADMIN, SESSION_VARIABLES_ADMIN, SYSTEM_VARIABLES_ADMIN", "SUPER")
		}, "", ""},
		{"too much", func(s *Site) { replace(s, write, "PROCESS", "PROCESS, CONNECTION_ADMIN") }, "has CONNECTION_ADMIN",
			"REVOKE CONNECTION_ADMIN ON *.* FROM 'mysql-write-user'@'%';"},
		{"scratch", func(s *Site) { drop(s, scratch, "REFERENCES, ") }, "lacks REFERENCES on `aosc\\_scratch\\_%`.*",
			"GRANT REFERENCES ON `aosc\\_scratch\\_%`.* TO 'scratch-user'@'%';"},
		{"an account that cannot log in", func(s *Site) { s.Instances[0].Accounts[write].Err = errors.New("denied") },
			"mysql-write-user cannot be used: denied", "docs"},
		{"aoscdb", func(s *Site) { s.Central.Grants = []string{"GRANT SELECT ON `aoscdb`.* TO `aosc`@`%`"} }, "aosc@% lacks ALTER, CREATE",
			"GRANT ALL ON `aoscdb`.* TO 'aosc'@'%';"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := well()
			c.change(&s)
			found := Judge(s)
			switch {
			case c.what == "" && len(found) > 0:
				t.Errorf("found %+v", found)
			case c.what != "" && (len(found) != 1 || !strings.Contains(found[0].What, c.what) || !strings.Contains(found[0].Mend, c.mend)):
				t.Errorf("found %+v, want %q mended by %q", found, c.what, c.mend)
			}
		})
	}
}

// drop takes a text out of the grants of an account on the first instance.
func drop(s *Site, account int, text string) { replace(s, account, text, "") }

func replace(s *Site, account int, old, new string) {
	grants := s.Instances[0].Accounts[account].Grants
	for i := range grants {
		grants[i] = strings.Replace(grants[i], old, new, 1)
	}
}

// TestNeedsOfTheManual: docs/operations.md asks for what the doctor asks for, and for no more.
func TestNeedsOfTheManual(t *testing.T) {
	blocks := testkit.SQLOfManual(t, "../../docs/operations.md", "Privileges", "x")
	for use, account := range map[string]string{UseMain: "'aosc'@'%'", UseWrite: "'aosc_write'@'%'", UseScratch: "'aosc_scratch'@'%'"} {
		var manual []string
		for _, statement := range blocks[1] {
			if g, ok := parseGrant(strings.Join(strings.Fields(statement), " ")); ok && strings.HasSuffix(statement, account) {
				manual = append(manual, g.privileges...)
			}
		}
		want := slices.Sorted(slices.Values(slices.Concat(needs[use].tables, needs[use].global)))
		if slices.Sort(manual); !slices.Equal(manual, want) {
			t.Errorf("%s: the manual has %v, the doctor %v", use, manual, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"udb%", "udb_1", true}, {`udb\_%`, "udb_1", true}, {`udb\_%`, "udbx1", false}, {"udb_1", "udbx1", true}, {"a", "A", false}, {"%", "",
			true}, {"", "", true},
		{`aosc\_scratch\_%`, "aosc_scratch_0f", true}, {"%b%", "abc", true}, {"%b", "abc", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.name, got)
		}
	}
}

type inventory []fleet.Tier

func (i inventory) Tiers(context.Context) ([]fleet.Tier, error) { return i, nil }

// TestMended: what is wrong with a server is found, and the statement beside it mends it.
func TestMended(t *testing.T) {
	store := aoscdbkit.AOSCDB(t)
	srv := testkit.FreshServer(t, map[string]string{"binlog_row_image": "MINIMAL", "binlog_row_value_options": "PARTIAL_JSON",
		"binlog_transaction_compression": "ON"})
	testkit.Exec(t, srv, "UPDATE performance_schema.setup_instruments SET enabled = 'NO' WHERE name = 'wait/lock/metadata/sql/mdl'",
		"CREATE USER w IDENTIFIED BY 'w'", "GRANT SUPER, REPLICATION SLAVE, REPLICATION CLIENT, PROCESS ON *.* TO w")
	main := mysql.NewPool(srv.Credentials(), mysql.Options{})
	t.Cleanup(func() { main.Close() })
	write := mysql.NewPool(mysql.Credentials{User: "w", Password: "w"}, mysql.Options{})
	t.Cleanup(func() { write.Close() })
	i := fleet.Instance{Tier: "udb", Cluster: "c", Host: srv.Addr().Host, Port: srv.Addr().Port}
	d := &Doctor{Store: store, FanOut: 4, Timeout: 20 * time.Second, Pools: []Pool{{UseMain, main}, {UseWrite, write}},
		Inventory: inventory{{Name: "udb", Databases: testkit.Database(t, srv), Clusters: []fleet.Cluster{{Tier: "udb", Name: "c",
			Instances: []fleet.Instance{i}}}}}}
	look := func() []Finding {
		t.Helper()
		found, err := d.Look(t.Context(), "udb")
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(found, func(f Finding) bool { return f.Where != srv.Addr().String() }) // no daemon runs here
	}
	found := look()
	if len(found) != 6 {
		t.Errorf("%d findings: %+v", len(found), found)
	}
	for _, f := range found {
		if f.Mend == "" {
			t.Errorf("nothing mends: %+v", f)
		}
		testkit.Exec(t, srv, strings.TrimSuffix(f.Mend, ";"))
	}
	write.Close() // a session keeps the privileges that it began with
	d.Pools[1].Pool = mysql.NewPool(mysql.Credentials{User: "w", Password: "w"}, mysql.Options{})
	t.Cleanup(func() { d.Pools[1].Pool.Close() })
	if found := look(); len(found) > 0 {
		t.Errorf("after the statements: %+v", found)
	}
}
