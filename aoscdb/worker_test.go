package aoscdb

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
)

func isErr(err, target error) bool { return errors.Is(err, target) }

// TestLockNames: all daemons of one aoscdb call a lock the same, and nobody else can know how.
func TestLockNames(t *testing.T) {
	s, other := newStore(t), newStore(t)
	name := func(s *Store, host string) string {
		t.Helper()
		return must(s.WorkerLock(t.Context(), mysql.Addr{Host: host, Port: 3306}))(t)
	}
	again := must(Open(s.cfg.FormatDSN()))(t)
	defer again.Close()
	mine := name(s, "db1")
	switch {
	case name(again, "db1") != mine:
		t.Error("two daemons of one aoscdb do not exclude each other")
	case name(s, "db2") == mine, must(s.LockName(t.Context(), "checksum db1:3306"))(t) == mine:
		t.Error("two purposes have one lock")
	case name(other, "db1") == mine:
		t.Error("the name can be known without aoscdb")
	case len(mine) > 64 || !strings.HasPrefix(mine, "aosc."):
		t.Errorf("%q: a person should see in performance_schema.metadata_locks whose it is, and it must fit 64 characters", mine)
	}
}

func TestKnownOK(t *testing.T) {
	s := newInstance(t)
	hash := "h"
	row := func(database, group, table, status, blob string) LocalStatus {
		return LocalStatus{Host: "db1", Port: 3306, Database: database, Group: group, Table: table, HashCurrent: &hash,
			HashDesired: "h", Status: status, DesiredBlob: blob, Bytes: 5}
	}
	ok(t, s.PutLocal(t.Context(), []LocalStatus{
		row("d1", "udb", "t", LocalOK, "blob1"),
		row("d2", "udb", "t", LocalOK, "blob0"), // of another version
		row("d3", "udb", "t", LocalINC, "blob1"),
		row("d4", "udb", "u", LocalOK, "blob1"),
		row("d5", "vdb", "t", LocalOK, "blob1"),
	}))
	got, err := s.KnownOK(t.Context(), "db1", 3306, "udb", "t", "blob1")
	ok(t, err)
	if len(got) != 1 || !got["d1"] {
		t.Errorf("got %v, want only d1", got)
	}
}

// A dead worker's row goes only as it was read: not one that was taken up again meanwhile.
func TestAbandon(t *testing.T) {
	s := newInstance(t)
	r := OSCRow{Host: "db1", Port: 3306, Group: "udb", Table: "t"}
	read := func() OSCRow {
		row, err := s.OSCRow(t.Context(), "db1", 3306, "udb", "t")
		ok(t, err)
		return row
	}
	ok(t, s.PutWaiting(t.Context(), r))
	if gone, err := s.Abandon(t.Context(), read()); err != nil || gone {
		t.Errorf("a WAITING row: %v %v", gone, err)
	}
	_, err := s.Take(t.Context(), read(), "worker1")
	ok(t, err)
	seen := read()
	_, err = s.Take(t.Context(), seen, "worker2")
	ok(t, err)
	if gone, err := s.Abandon(t.Context(), seen); err != nil || gone {
		t.Errorf("a row that was taken up again: %v %v", gone, err)
	}
	if gone, err := s.Abandon(t.Context(), read()); err != nil || !gone {
		t.Errorf("a dead worker's row: %v %v", gone, err)
	}
}

func TestServedAlters(t *testing.T) {
	q := newQueue(t)
	q.ready(t, "db1")
	q.ready(t, "db2")
	q.ready(t, "db3")
	tell(t, q.DB(), "UPDATE running_alters SET osc_status = 'DONE' WHERE host = 'db2'")
	rows, err := q.ServedAlters(t.Context())
	ok(t, err)
	if len(rows) != 2 || rows[0].Host != "db1" || rows[1].Host != "db3" {
		t.Errorf("%+v", rows)
	}
}

func TestLeftoverClusters(t *testing.T) {
	s := newStore(t)
	tell(t, s.DB(), "INSERT INTO leftovers (`group`, cluster, host, port, `database`, table_name, leftover, kind, state, keep_until) VALUES "+
		"('udb', 'live', 'h', 1, 'd', 't', 'a', 'ghost', 'live', NULL), ('udb', 'live', 'h', 1, 'd', 't', 'b', 'ghost', 'live', NULL), "+
		"('udb', 'kept', 'h', 1, 'd', 't', 'a', 'old', 'keep', NOW() + INTERVAL 1 HOUR), "+
		"('udb', 'due', 'h', 1, 'd', 't', 'a', 'old', 'keep', NOW() - INTERVAL 1 HOUR), "+
		"('udb', 'drop', 'h', 1, 'd', 't', 'a', 'old', 'drop', NULL)")
	got, err := s.LeftoverClusters(t.Context())
	ok(t, err)
	if want := []string{"drop", "due", "live"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
