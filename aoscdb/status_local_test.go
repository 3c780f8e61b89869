package aoscdb

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
)

// localRows are rows of one instance: databases x 50 tables, every hundredth not OK.
func localRows(n int) []LocalStatus {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hash := fmt.Sprintf("%064x", 1)
	rows := make([]LocalStatus, n)
	for i := range rows {
		rows[i] = LocalStatus{Host: "udb01.snc", Port: 3306, Database: fmt.Sprintf("dbid%04d", i/50),
			Table: fmt.Sprintf("table_%02d", i%50), HashCurrent: &hash, HashDesired: hash, Status: LocalOK,
			LastRun: created.Add(time.Hour), Group: "udb", DesiredBlob: "blob1", CreateTime: &created, TableRows: 100, Bytes: 16384}
		if i%100 == 0 {
			rows[i].HashCurrent, rows[i].CreateTime, rows[i].Status = nil, nil, LocalNA
		}
	}
	return rows
}

func readLocal(t *testing.T, s *StatusStore, host string, port int) []LocalStatus {
	t.Helper()
	var rows []LocalStatus
	for row, err := range s.LocalStatus(t.Context(), host, port) {
		ok(t, err)
		rows = append(rows, row)
	}
	return rows
}

// sameLocal compares rows by what they say, not by where their pointers point.
func sameLocal(a, b LocalStatus) bool {
	same := (a.HashCurrent == nil) == (b.HashCurrent == nil) && (a.HashCurrent == nil || *a.HashCurrent == *b.HashCurrent) &&
		(a.CreateTime == nil) == (b.CreateTime == nil) && (a.CreateTime == nil || a.CreateTime.Equal(*b.CreateTime)) &&
		a.LastRun.Equal(b.LastRun)
	a.HashCurrent, b.HashCurrent, a.CreateTime, b.CreateTime, a.LastRun, b.LastRun = nil, nil, nil, nil, time.Time{}, time.Time{}
	return same && a == b
}

func TestLocalStatus(t *testing.T) {
	both(t, func(t *testing.T, s *StatusStore) {
		want := localRows(2500) // more than two batches
		want[7].Database, want[7].Table, want[7].Group = nastyDatabase, nastyTable, nastyTier
		// Databases that differ in case or accent only are two on a server.
		want[8].Database, want[8].Table = "Dbid0000", want[1].Table
		want[9].Database, want[9].Table = "dbíd0000", want[1].Table
		ok(t, s.PutLocal(t.Context(), want))
		other := localRows(1)[0]
		other.Port = 3307
		ok(t, s.PutLocal(t.Context(), []LocalStatus{other}))

		got := readLocal(t, s, "udb01.snc", 3306)
		slices.SortFunc(got, byName)
		slices.SortFunc(want, byName)
		if !slices.EqualFunc(got, want, sameLocal) {
			t.Fatalf("%d rows came back, and not as the %d written", len(got), len(want))
		}
		for i := range want { // the same keys, all else new
			hash := "new"
			created := time.Date(2026, 2, 3, 4, 5, 6, 999e6, time.UTC)
			want[i].HashCurrent, want[i].HashDesired, want[i].Status, want[i].DesiredBlob = &hash, "other", LocalINC, "blob2"
			want[i].LastRun, want[i].CreateTime, want[i].TableRows, want[i].Bytes = created, &created, 7, 8
		}
		ok(t, s.PutLocal(t.Context(), want))
		cut := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC) // not rounded up: that would be a second in which nothing was read
		for i := range want {
			want[i].LastRun, want[i].CreateTime = cut, &cut
		}
		got = readLocal(t, s, "udb01.snc", 3306)
		slices.SortFunc(got, byName)
		if !slices.EqualFunc(got, want, sameLocal) {
			t.Errorf("rewritten rows came back otherwise: %+v, want %+v", got[0], want[0])
		}

		keys := []LocalKey{{nastyDatabase, nastyTable}}
		for _, r := range want[:1200] {
			keys = append(keys, LocalKey{r.Database, r.Table})
		}
		ok(t, s.DeleteLocal(t.Context(), "udb01.snc", 3306, keys))
		ok(t, s.DeleteLocal(t.Context(), "udb01.snc", 3306, nil))
		gone := map[LocalKey]bool{}
		for _, k := range keys {
			gone[k] = true
		}
		left := readLocal(t, s, "udb01.snc", 3306)
		if len(left) != len(want)-len(gone) {
			t.Errorf("%d rows left, want %d", len(left), len(want)-len(gone))
		}
		for _, r := range left {
			if gone[LocalKey{r.Database, r.Table}] {
				t.Errorf("%s.%s was deleted and is there", r.Database, r.Table)
			}
		}
		if n := len(readLocal(t, s, "udb01.snc", 3307)); n != 1 {
			t.Errorf("another instance has %d rows, want 1", n)
		}
	})
}

func byName(a, b LocalStatus) int {
	return slices.Compare([]string{a.Database, a.Table}, []string{b.Database, b.Table})
}

func TestLastRunOfTheStore(t *testing.T) {
	s := newStore(t)
	row := localRows(1)[0]
	row.LastRun = time.Time{}
	before := must(s.Now(t.Context()))(t).Truncate(time.Second)
	ok(t, s.CentralStatus().PutLocal(t.Context(), []LocalStatus{row}))
	got := readLocal(t, s.CentralStatus(), row.Host, row.Port)[0].LastRun
	if after := must(s.Now(t.Context()))(t); got.Before(before) || got.After(after) {
		t.Errorf("last_run %v, want the store's clock between %v and %v", got, before, after)
	}
}

// TestLocalStatusAtScale: reading 20,000 rows must not hold them, and texts that repeat are kept once.
func TestLocalStatusAtScale(t *testing.T) {
	s := newInstance(t)
	rows := localRows(20000)
	for _, what := range []string{"new", "the same again"} {
		begin := time.Now()
		ok(t, s.PutLocal(t.Context(), rows[:5000]))
		t.Logf("PutLocal of 5,000 rows, %s: %v", what, time.Since(begin)) // 0.1 s on a quiet machine
	}
	ok(t, s.PutLocal(t.Context(), rows[5000:]))
	rows = nil
	before, peak, n := heap(), uint64(0), 0
	begin := time.Now()
	for _, err := range s.LocalStatus(t.Context(), "udb01.snc", 3306) {
		ok(t, err)
		if n++; n%5000 == 0 {
			peak = max(peak, heap())
		}
	}
	t.Logf("LocalStatus of %d rows: %v, %d KB held", n, time.Since(begin), int64(peak-before)/1024)
	if n != 20000 || int64(peak-before) > 1<<20 {
		t.Errorf("%d rows, %d bytes held while reading them", n, int64(peak-before))
	}

	kept := make([]LocalStatus, 0, n)
	before = heap()
	for row := range s.LocalStatus(t.Context(), "udb01.snc", 3306) {
		kept = append(kept, row)
	}
	held := int64(heap() - before)
	t.Logf("20,000 rows kept: %d KB besides the slice", held/1024)
	if held > 4<<20 {
		t.Errorf("%d bytes beside the slice: texts that repeat are not shared", held)
	}
	runtime.KeepAlive(kept)

	begin = time.Now()
	sums := must(s.Summary(t.Context(), "udb01.snc", 3306, []TableWant{{"table_00", "blob1"}}))(t)
	t.Logf("Summary of one table among 20,000 rows: %v", time.Since(begin))
	if sums[0].Total != 400 || sums[0].NotOK != 200 {
		t.Errorf("%+v, want 400 databases, 200 of them not OK", sums[0])
	}
}

// heap is the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestLocalStatusEnds(t *testing.T) {
	s := newStore(t).CentralStatus()
	ok(t, s.PutLocal(t.Context(), localRows(100)))
	for range s.LocalStatus(t.Context(), "udb01.snc", 3306) {
		break // the connection goes back
	}
	if n := s.db.Stats().InUse; n != 0 {
		t.Errorf("%d connections still in use", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failed := false
	for _, err := range s.LocalStatus(ctx, "udb01.snc", 3306) {
		failed = failed || err != nil
	}
	if !failed {
		t.Error("no error although the context had ended")
	}
}

func TestSummary(t *testing.T) {
	both(t, func(t *testing.T, s *StatusStore) {
		row := func(database, table, status, blob string, bytes uint64) LocalStatus {
			return LocalStatus{Host: "h", Port: 1, Database: database, Table: table, Status: status, DesiredBlob: blob, Bytes: bytes}
		}
		foreign := row("d9", "a", LocalINC, "b1", 1)
		foreign.Port = 2
		ok(t, s.PutLocal(t.Context(), []LocalStatus{
			row("d1", "a", LocalOK, "b1", 100), row("d2", "a", LocalINC, "b1", 10), row("d3", "a", LocalNA, "b1", 0),
			row("d4", "a", LocalOK, "b0", 1000), row("d5", "a", LocalINC, "b0", 1000),
			row("d1", nastyTable, LocalOK, "b2", 5),
			row("d1", "A", LocalINC, "b1", 7),
			row("d1", "unasked", LocalINC, "b1", 7), foreign,
		}))
		got := must(s.Summary(t.Context(), "h", 1, []TableWant{{"a", "b1"}, {"none", "x"}, {nastyTable, "b2"}, {"A", "b1"}}))(t)
		want := []TableSummary{
			{Table: "a", NotOK: 2, Stale: 2, Total: 5, Bytes: 10},
			{Table: "none"},
			{Table: nastyTable, Total: 1},
			{Table: "A", NotOK: 1, Total: 1, Bytes: 7},
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
		if got := must(s.Summary(t.Context(), "h", 1, nil))(t); got != nil {
			t.Errorf("nothing asked: %+v", got)
		}
	})
}
