// Package doctor holds an installation against all that its daemons need: settings, versions, clocks, disk, accounts and privileges, on
// aoscdb and on every instance. It asks and changes nothing; each finding comes with the statement that mends it. What is found is decided
// by a pure function of what was gathered (Judge).
package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// Finding is one thing that is not as it has to be.
type Finding struct {
	Tier  string `json:"tier,omitempty"`
	Where string `json:"where"` // an instance, a tier, a daemon or aoscdb
	What  string `json:"what"`
	Mend  string `json:"mend,omitempty"` // what mends it: a statement, on the server in question unless it says otherwise
}

// Site is all that is judged.
type Site struct {
	Tiers     []aoscdb.Tier
	Instances []Instance
	Central   Account // on aoscdb
	Database  string  // the name of aoscdb's database
	Daemons   []Daemon
}

// Daemon is one of the five, and why it does not work, "" when it does.
type Daemon struct{ Name, Trouble string }

// Instance is what was found on one instance.
type Instance struct {
	fleet.Observed
	Accounts     []Account
	Databases    []string // of the tier
	ClockOff     time.Duration
	ClockKnown   bool
	Extras       Extras
	LargestTable uint64 // bytes
	Free         uint64
	FreeSeen     bool
}

// Extras are settings that only matter here.
type Extras struct {
	PerformanceSchema, MetadataLocks bool
	TimeZone                         string // @@GLOBAL.time_zone
	ZoneOffset                       int    // minutes that it is ahead of UTC now
	ZoneUnknown                      bool   // CONVERT_TZ does not know the server's own time zone
	StatusTables, Guards             int    // of the database aosc
}

// Account is what one of our accounts may do on a server.
type Account struct {
	Use    string // the key that names it: mysql-user, ...
	Name   string // CURRENT_USER()
	Grants []string
	Err    error
}

// maxClockOff is by how much a server's clock may differ from aoscdb's: heartbeats, leases and last_run are held against each other.
const maxClockOff = 2 * time.Second

// Judge finds what is wrong. The findings of an instance are in the order in which they are worth mending.
func Judge(s Site) []Finding {
	var out []Finding
	for _, d := range s.Daemons {
		if d.Trouble != "" {
			out = append(out, Finding{Where: d.Name, What: d.Trouble, Mend: "start it, or read its log"})
		}
	}
	out = append(out, central(s)...)
	for _, t := range s.Tiers {
		var views []fleet.Observed
		for _, i := range s.Instances {
			if i.Tier == t.Group {
				views = append(views, i.Observed)
			}
		}
		if text, mend := Sealed(t, views); text != "" {
			out = append(out, Finding{Tier: t.Group, Where: "tier " + t.Group, What: text, Mend: mend})
		}
	}
	for _, i := range s.Instances {
		add := func(what, mend string) {
			out = append(out, Finding{Tier: i.Tier, Where: i.Addr().String(), What: what, Mend: mend})
		}
		if i.Err != nil {
			add(i.Err.Error(), unreachable(i))
			continue
		}
		settings(i, tierOf(s.Tiers, i.Tier), add)
		surroundings(i, add)
		guards(i, tierOf(s.Tiers, i.Tier), add)
		for _, a := range i.Accounts {
			privileges(a, i.Databases, add)
		}
	}
	return append(out, zones(s.Instances)...)
}

func tierOf(tiers []aoscdb.Tier, name string) aoscdb.Tier {
	for _, t := range tiers {
		if t.Group == name {
			return t
		}
	}
	return aoscdb.NewTier(name)
}

func unreachable(i Instance) string {
	if mysql.IsAccessDenied(i.Err) && len(i.Accounts) > 0 {
		return "see docs/operations.md, Privileges, for the account of " + i.Accounts[0].Use
	}
	return "start it, or take it out of the inventory"
}

// Sealed says what is wrong with a tier whose status is kept on instances that refuse to be written to, "" when nothing is, and the
// statement that mends it.
func Sealed(t aoscdb.Tier, members []fleet.Observed) (what, mend string) {
	if t.StatusStore != aoscdb.StoreInstance {
		return "", ""
	}
	var sealed []string
	for _, m := range members {
		if m.Err == nil && m.Role == fleet.RoleReplica && m.Server.SuperReadOnly {
			sealed = append(sealed, m.Addr().String())
		}
	}
	if len(sealed) == 0 {
		return "", ""
	}
	n := len(sealed)
	if n > 3 {
		sealed = append(sealed[:3], "...")
	}
	return fmt.Sprintf("%d replicas are super_read_only (%s), and status_store is 'instance': no status can be written there",
			n, strings.Join(sealed, ", ")),
		"UPDATE aoscdb.tiers SET status_store = 'central' WHERE `group` = " + mysql.QuoteString(t.Group) + ";"
}

// settings are what a server has to be set to.
func settings(i Instance, t aoscdb.Tier, add func(what, mend string)) {
	s := i.Server
	if !s.LogBin {
		add("log_bin is OFF: nothing is replicated, and no table can be copied", "start mysqld with log_bin")
	}
	if !strings.EqualFold(s.GTIDMode, "ON") {
		add("gtid_mode is "+s.GTIDMode+": it cannot be told what a replica has",
			"SET PERSIST enforce_gtid_consistency = ON; SET PERSIST gtid_mode = OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; "+
				"SET PERSIST gtid_mode = ON;")
	}
	if !s.LogReplicaUpdates {
		add("log_replica_updates is OFF: a table cannot be copied once the server is a primary's successor",
			"start mysqld with log_replica_updates=ON")
	}
	if t.Ordering == aoscdb.OrderingPrimary || t.Ordering == "" {
		copies(s, add)
	}
	if !i.Extras.PerformanceSchema {
		add("performance_schema is OFF: who holds a lock cannot be told, nor sessions that gh-ost cannot follow",
			"SET PERSIST_ONLY performance_schema = ON; RESTART;")
	} else if !i.Extras.MetadataLocks {
		add("metadata locks are not instrumented: who holds a table cannot be told",
			"UPDATE performance_schema.setup_instruments SET enabled = 'YES' WHERE name = 'wait/lock/metadata/sql/mdl';")
	}
	if i.Extras.ZoneUnknown {
		add("the server's time_zone "+i.Extras.TimeZone+" is not in its time zone tables: copies cannot be compared",
			"mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql (in a shell)")
	}
}

// copies are the settings by which gh-ost can follow a table in the binary log.
func copies(s mysql.Server, add func(what, mend string)) {
	const reason = ": no table can be copied"
	if !strings.EqualFold(s.BinlogFormat, "ROW") {
		add("binlog_format is "+s.BinlogFormat+reason, "SET PERSIST binlog_format = 'ROW';")
	}
	if !strings.EqualFold(s.BinlogRowImage, "FULL") {
		add("binlog_row_image is "+s.BinlogRowImage+reason, "SET PERSIST binlog_row_image = 'FULL';")
	}
	if s.BinlogRowValueOptions != "" {
		add("binlog_row_value_options is "+s.BinlogRowValueOptions+reason, "SET PERSIST binlog_row_value_options = '';")
	}
	if s.BinlogTransactionCompression {
		add("binlog_transaction_compression is ON"+reason, "SET PERSIST binlog_transaction_compression = OFF;")
	}
}

// surroundings are clocks and disks.
func surroundings(i Instance, add func(what, mend string)) {
	if off := i.ClockOff.Abs(); i.ClockKnown && off > maxClockOff {
		word := map[bool]string{true: "ahead of", false: "behind"}[i.ClockOff > 0]
		add(fmt.Sprintf("its clock is %v %s aoscdb's", off.Round(100*time.Millisecond), word), "chronyc makestep (in a shell, on that machine)")
	}
	if need := preflight.CopyNeeds(i.LargestTable); i.FreeSeen && need > i.Free {
		add(fmt.Sprintf("%d MiB are free in %s; a copy of its largest table takes about %d MiB", i.Free>>20, i.Server.Datadir, need>>20),
			"make room")
	}
}

// guards are the triggers that keep status rows from being replicated. They are made with the tables, where the account may.
func guards(i Instance, t aoscdb.Tier, add func(what, mend string)) {
	if t.StatusStore != aoscdb.StoreInstance || i.Extras.StatusTables == 0 || i.Extras.Guards >= aoscdb.Guards || i.Server.SuperReadOnly {
		return
	}
	account := "aosc@'%'"
	if len(i.Accounts) > 0 && i.Accounts[0].Name != "" {
		account = quoteAccount(i.Accounts[0].Name)
	}
	add(fmt.Sprintf("%d of %d triggers guard the status tables: a row changed by hand may be replicated, and stop the replicas",
		i.Extras.Guards, aoscdb.Guards),
		"GRANT TRIGGER, SYSTEM_VARIABLES_ADMIN ON *.* TO "+account+"; (the next checksum makes them)")
}

// zones finds clusters whose members have different time zones: unlogged changes of one instance, and elections, give rows other values.
func zones(instances []Instance) []Finding {
	var out []Finding
	first := map[string]Instance{}
	var clusters []string
	for _, i := range instances {
		if i.Err != nil {
			continue
		}
		key := i.Tier + "/" + i.Cluster
		was, ok := first[key]
		switch {
		case !ok:
			first[key] = i
		case !i.Extras.sameZone(was.Extras) && !slices.Contains(clusters, key):
			clusters = append(clusters, key)
			mend := "SET PERSIST time_zone = " + mysql.QuoteString(was.Extras.TimeZone) + ";"
			if was.Extras.system() {
				mend = "SET PERSIST time_zone = '...'; (the same on every member: those of the machines differ)"
			}
			out = append(out, Finding{Tier: i.Tier, Where: i.Addr().String(), Mend: mend,
				What: fmt.Sprintf("its time_zone is %s and that of %s of the same cluster %s: what depends on it differs after a failover",
					i.Extras.zone(), was.Addr(), was.Extras.zone())})
		}
	}
	return out
}

func (e Extras) system() bool { return strings.EqualFold(e.TimeZone, "SYSTEM") }

// zone is the time zone for people.
func (e Extras) zone() string {
	return fmt.Sprintf("%s (%+03d:%02d now)", e.TimeZone, e.ZoneOffset/60, max(e.ZoneOffset, -e.ZoneOffset)%60)
}

// sameZone tells whether two servers have one time zone. What the machine's zone is called changes with summer time, so it is compared by
// what it is now.
func (e Extras) sameZone(o Extras) bool {
	return e.ZoneOffset == o.ZoneOffset && (e.system() || o.system() || e.TimeZone == o.TimeZone)
}
