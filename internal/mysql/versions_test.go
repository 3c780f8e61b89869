package mysql

import (
	"errors"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		text    string
		numbers [3]int
		refused string // what Supported says, "" = supported
	}{
		{"9.7.4", [3]int{9, 7, 4}, ""},
		{"8.0.23", [3]int{8, 0, 23}, ""},
		{"8.0.36-28.1", [3]int{8, 0, 36}, ""},
		{"8.4.0-commercial", [3]int{8, 4, 0}, ""},
		{"/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", [3]int{9, 7, 4}, ""},
		{"8.0.22", [3]int{8, 0, 22}, "MySQL 8.0.22 is not supported: 8.0.23 or newer"},
		{"5.7.44-log", [3]int{5, 7, 44}, "MySQL 5.7.44-log is not supported"},
		{"10.11.6-MariaDB-log", [3]int{10, 11, 6}, "MariaDB (10.11.6-MariaDB-log)"},
		{"5.5.5-10.4.32-MariaDB", [3]int{10, 4, 32}, "migrate it to MySQL or Percona Server 8.0.23"},
	} {
		v, err := ParseVersion(c.text)
		if err != nil || [3]int{v.Major, v.Minor, v.Patch} != c.numbers || v.String() != c.text {
			t.Errorf("%q read as %+v, %v", c.text, v, err)
		}
		err = v.Supported()
		var unsupported *UnsupportedError
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%q refused: %v", c.text, err)
		case c.refused != "" && (!errors.As(err, &unsupported) || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%q: %v, want %q", c.text, err, c.refused)
		}
	}
	if v, err := ParseVersion("unknown"); err == nil {
		t.Errorf("unknown read as %+v", v)
	}
}

func TestVersionAtLeast(t *testing.T) {
	v := Version{Major: 8, Minor: 4, Patch: 3}
	for _, c := range []struct {
		than [3]int
		want bool
	}{
		{[3]int{8, 4, 3}, true}, {[3]int{8, 4, 4}, false}, {[3]int{8, 4, 0}, true}, {[3]int{8, 3, 9}, true},
		{[3]int{8, 5, 0}, false}, {[3]int{5, 9, 9}, true}, {[3]int{9, 0, 0}, false},
	} {
		if got := v.AtLeast(c.than[0], c.than[1], c.than[2]); got != c.want {
			t.Errorf("8.4.3 at least %v: %v", c.than, got)
		}
	}
	if (Version{Major: 11, MariaDB: true}).AtLeast(8, 0, 23) {
		t.Error("MariaDB 11 counts as MySQL 8.0.23")
	}
}

// What older servers call things, which no server of the tests can tell.
func TestVersionNames(t *testing.T) {
	old, now := Version{Major: 8, Patch: 25}, Version{Major: 8, Patch: 26}
	if old.semiSyncSource().plugin != "rpl_semi_sync_master" || now.semiSyncSource().plugin != "rpl_semi_sync_source" {
		t.Error("the source's plugin was renamed in 8.0.26")
	}
	if old.semiSyncReplica().library != "semisync_slave.so" || now.semiSyncReplica().library != "semisync_replica.so" {
		t.Error("the replica's plugin was renamed in 8.0.26")
	}
	if old.semiSyncWaitVariable() != "wait_for_slave_count" {
		t.Error("the number of acknowledgements was renamed in 8.0.26")
	}
	if (Version{Major: 8, Minor: 2}).TaggedGTIDs() || !(Version{Major: 8, Minor: 3}).TaggedGTIDs() {
		t.Error("tagged GTIDs came with 8.3")
	}
}

func TestSubstituteVariables(t *testing.T) {
	unknown := func(name string) error {
		return driverError(ErrUnknownSystemVariable, "Unbekannte Systemvariable '"+name+"'")
	}
	vars := append([]variable{}, serverVariables...)
	if !substitute(vars, unknown("log_replica_updates")) || vars[12].name != "log_slave_updates" {
		t.Errorf("log_replica_updates became %+v", vars[12])
	}
	if substitute(vars, unknown("log_slave_updates")) {
		t.Error("a server without either name was accepted")
	}
	if !substitute(vars, unknown("binlog_format")) || vars[7].name != "" || vars[7].missing != "'ROW'" {
		t.Errorf("binlog_format became %+v", vars[7])
	}
	if substitute(vars, unknown("gtid_mode")) || substitute(vars, unknown("binlog_format")) || substitute(vars, errors.New("x")) {
		t.Error("an error that cannot be helped was helped")
	}
}
