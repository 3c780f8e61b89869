package aoscdb

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// queued is a WAITING row as a worker reads it.
func queued(t *testing.T, s *StatusStore) OSCRow {
	t.Helper()
	ok(t, s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 3306, Group: nastyTier, Table: nastyTable, Priority: 7,
		DesiredBlob: "blob1", CommitSHA: "commit1"}))
	return reread(t, s)
}

func reread(t *testing.T, s *StatusStore) OSCRow {
	t.Helper()
	return must(s.OSCRow(t.Context(), "h", 3306, nastyTier, nastyTable))(t)
}

func setPriv(t *testing.T, s *StatusStore, priv string) bool {
	t.Helper()
	return must(s.SetPriv(t.Context(), "h", 3306, nastyTier, nastyTable, priv))(t)
}

// TestOneWorkerTakesARow: I3. Of many workers that read the same row one takes it, whatever the driver counts.
func TestOneWorkerTakesARow(t *testing.T) {
	both(t, func(t *testing.T, s *StatusStore) {
		for name, s := range map[string]*StatusStore{"changed rows": s, "found rows": foundRows(t, s)} {
			row := queued(t, s)
			for _, state := range []string{OSCWaiting, OSCRunning} { // the second: a dead worker's
				if row.Status != state {
					t.Fatalf("%s: the row is %s, want %s", name, row.Status, state)
				}
				var won atomic.Int64
				var winner atomic.Value
				var wg sync.WaitGroup
				for i := range 12 {
					owner := fmt.Sprint(state, " worker ", i)
					wg.Go(func() {
						taken, err := s.Take(t.Context(), row, owner)
						if err != nil {
							t.Error(err)
						}
						if taken {
							won.Add(1)
							winner.Store(owner)
						}
					})
				}
				wg.Wait()
				now := reread(t, s)
				if won.Load() != 1 || now.Owner != winner.Load() || now.Status != OSCRunning || now.Try != row.Try+1 {
					t.Errorf("%s, %s: %d winners, row %+v", name, state, won.Load(), now)
				}
				row = now
			}
			ok(t, s.DeleteOSC(t.Context(), "h", 3306, nastyTier, nastyTable))
		}
	})
}

func TestTakeObeysPriv(t *testing.T) {
	s := newStore(t).CentralStatus()
	queued(t, s)
	for _, priv := range []string{PrivStop, PrivPause} {
		setPriv(t, s, priv)
		if taken := must(s.Take(t.Context(), reread(t, s), "me"))(t); taken {
			t.Errorf("a row with osc_priv %s was taken", priv)
		}
	}
	setPriv(t, s, PrivOK)
	row := reread(t, s)
	if taken := must(s.Take(t.Context(), row, "me"))(t); !taken {
		t.Fatal("a row with osc_priv OK was not taken")
	}
	// A dead worker's row is taken whatever osc_priv says: somebody has to clean up behind it.
	setPriv(t, s, PrivStop)
	if taken := must(s.Take(t.Context(), reread(t, s), "next"))(t); !taken {
		t.Error("a dead worker's row was not taken")
	}
	if taken := must(s.Take(t.Context(), row, "late"))(t); taken {
		t.Error("a row was taken by what it was two owners ago")
	}
	ok(t, s.Finish(t.Context(), row, "next", End{Status: OSCDone}))
	if taken := must(s.Take(t.Context(), reread(t, s), "me"))(t); taken {
		t.Error("a DONE row was taken")
	}
}

func TestRunOfARow(t *testing.T) {
	both(t, func(t *testing.T, s *StatusStore) {
		ctx := t.Context()
		row := queued(t, s)
		if row.Try != 0 || row.StartTime != nil || row.OSCPriv != PrivOK || row.Priority != 7 || row.CommitSHA != "commit1" {
			t.Errorf("queued: %+v", row)
		}
		must(s.Take(ctx, row, "me"))(t)
		if row = reread(t, s); row.StartTime == nil || row.Try != 1 || row.ReadAt.Sub(row.LastUpdate) > 5e9 {
			t.Errorf("taken: %+v", row)
		}
		for range 3 { // the same again within a second changes no row, and is no lost row
			ok(t, s.Report(ctx, row, "me", 33.333, `[{"database": "d'\"\\é"}]`))
		}
		ok(t, s.Report(ctx, row, "me", 33.333, ""))
		if got := reread(t, s); got.Percentage != 33.33 || got.Detail != `[{"database": "d'\"\\é"}]` {
			t.Errorf("reported: %v %s", got.Percentage, got.Detail)
		}
		if err := s.Report(ctx, row, "other", 50, ""); !errors.Is(err, ErrNotOwner) {
			t.Errorf("another worker's report: %v", err)
		}
		// An operator stops it: the try does not count, the row waits.
		setPriv(t, s, PrivStop)
		ok(t, s.PutBack(ctx, row, "me", "not now"))
		if got := reread(t, s); got.Status != OSCWaiting || got.Error != "not now" || got.Try != 0 || got.OSCPriv != PrivStop ||
			got.Owner != "" || got.Percentage != 0 ||
			got.Detail != "" {
			t.Errorf("put back: %+v", got)
		}
		setPriv(t, s, PrivOK)
		must(s.Take(ctx, reread(t, s), "me"))(t)
		if got := reread(t, s); got.Error != "" {
			t.Errorf("taken again, it still says why it was given back: %q", got.Error)
		}
		long := strings.Repeat("é", 70000)
		ok(t, s.Finish(ctx, row, "me", End{Status: OSCFailed, Reason: long, Final: true}))
		if got := reread(t, s); got.Status != OSCFailed || !got.Final || len(got.Error) < 1000 || !strings.HasPrefix(long, got.Error) {
			t.Errorf("failed: %s final %v, %d bytes of error", got.Status, got.Final, len(got.Error))
		}
		if err := s.Finish(ctx, row, "me", End{Status: OSCDone}); !errors.Is(err, ErrNotOwner) {
			t.Errorf("finished twice: %v", err)
		}
		// The scheduler queues it again: what it read carries the tries.
		ok(t, s.PutWaiting(ctx, reread(t, s)))
		if row = reread(t, s); row.Try != 1 || row.Error != "" || row.Final || row.Detail != "" || row.Status != OSCWaiting {
			t.Errorf("queued again: %+v", row)
		}
		must(s.Take(ctx, row, "me"))(t)
		ok(t, s.Finish(ctx, row, "me", End{Status: OSCDone, Percentage: 99, Detail: `[{"state": "done"}]`}))
		if got := reread(t, s); got.Status != OSCDone || got.Percentage != 100 || got.Try != 2 || got.Detail != `[{"state": "done"}]` {
			t.Errorf("done: %+v", got)
		}
		if err := s.Finish(ctx, row, "me", End{Status: OSCWaiting}); err == nil {
			t.Error("finished as WAITING")
		}
		ok(t, s.DeleteOSC(ctx, "h", 3306, nastyTier, nastyTable))
		if err := s.Report(ctx, row, "me", 1, ""); !errors.Is(err, ErrNotOwner) {
			t.Errorf("report on a row that is gone: %v", err)
		}
		if _, err := s.OSCRow(ctx, "h", 3306, nastyTier, nastyTable); !errors.Is(err, ErrNotFound) {
			t.Errorf("a row that is gone: %v", err)
		}
	})
}

func TestQueueAgain(t *testing.T) {
	s := newStore(t).CentralStatus()
	ctx := t.Context()
	next := OSCRow{Host: "h", Port: 3306, Group: nastyTier, Table: nastyTable, Priority: 9, DesiredBlob: "blob2", CommitSHA: "commit2", Try: 4}

	queued(t, s)
	setPriv(t, s, PrivStop)
	ok(t, s.PutWaiting(ctx, next))
	if got := reread(t, s); got.OSCPriv != PrivStop || got.DesiredBlob != "blob2" || got.Priority != 9 || got.Try != 4 {
		t.Errorf("over a WAITING row: %+v, want the operator's STOP and the new schema", got)
	}
	setPriv(t, s, PrivOK)
	must(s.Take(ctx, reread(t, s), "me"))(t)
	running := reread(t, s)
	if err := s.PutWaiting(ctx, OSCRow{Host: "h", Port: 3306, Group: nastyTier, Table: nastyTable, DesiredBlob: "blob3"}); !errors.Is(err, ErrRunning) {
		t.Errorf("over a RUNNING row: %v", err)
	}
	ok(t, s.PutWaiting(ctx, next)) // the same schema: it is being done
	if got := reread(t, s); got.Status != OSCRunning || got.Owner != "me" || got.DesiredBlob != "blob2" || got.Try != running.Try ||
		got.StartTime == nil || !got.StartTime.Equal(*running.StartTime) {
		t.Errorf("a RUNNING row was changed: %+v", got)
	}
	if withdrawn := must(s.Withdraw(ctx, "h", 3306, nastyTier, nastyTable))(t); withdrawn {
		t.Error("a RUNNING row was withdrawn")
	}
	setPriv(t, s, PrivPause)
	ok(t, s.Finish(ctx, running, "me", End{Status: OSCDone}))
	ok(t, s.PutWaiting(ctx, next))
	if got := reread(t, s); got.OSCPriv != PrivOK || got.Status != OSCWaiting || got.Percentage != 0 || got.Owner != "" {
		t.Errorf("over a DONE row: %+v, want a new one", got)
	}
	if withdrawn := must(s.Withdraw(ctx, "h", 3306, nastyTier, nastyTable))(t); !withdrawn {
		t.Error("a WAITING row was not withdrawn")
	}
}

// TestSetPriv: it says whether it changed the row, whatever the driver counts.
func TestSetPriv(t *testing.T) {
	both(t, func(t *testing.T, s *StatusStore) {
		for name, s := range map[string]*StatusStore{"changed rows": s, "found rows": foundRows(t, s)} {
			if setPriv(t, s, PrivStop) {
				t.Errorf("%s: there is no row", name)
			}
			row := queued(t, s)
			if !setPriv(t, s, PrivPause) || setPriv(t, s, PrivPause) || !setPriv(t, s, PrivOK) {
				t.Errorf("%s: PAUSE, PAUSE, OK: want changed, not changed, changed", name)
			}
			must(s.Take(t.Context(), row, "me"))(t)
			ok(t, s.Finish(t.Context(), row, "me", End{Status: OSCDone}))
			if setPriv(t, s, PrivStop) {
				t.Errorf("%s: a DONE row was stopped", name)
			}
			ok(t, s.DeleteOSC(t.Context(), "h", 3306, nastyTier, nastyTable))
		}
	})
}

func TestRowsByUrgency(t *testing.T) {
	s := newStore(t).CentralStatus()
	for i, table := range []string{"b", "a", "c"} {
		ok(t, s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 1, Group: "g", Table: table, Priority: i / 2 * 10}))
	}
	ok(t, s.PutWaiting(t.Context(), OSCRow{Host: "h", Port: 2, Group: "g", Table: "other", Priority: 99}))
	var order []string
	for _, r := range must(s.OSCRows(t.Context(), "h", 1))(t) {
		order = append(order, r.Table)
	}
	if got := strings.Join(order, " "); got != "c a b" {
		t.Errorf("%s, want c a b", got)
	}
}

func TestPercent(t *testing.T) {
	zero := 0.0
	for in, want := range map[float64]float64{-1: 0, 0: 0, 12.345: 12.35, 99.999: 100, 250: 100, 1 / zero: 100} {
		if got := percent(in); got != want {
			t.Errorf("percent(%v) = %v, want %v", in, got, want)
		}
	}
	if got := percent(zero / zero); got != 0 {
		t.Errorf("percent(NaN) = %v", got)
	}
}
