package aoscdb

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// brainStep is an alter with a permission, and a step on it that was decided now.
func brainStep(t *testing.T, s *Store) (Lease, AlterChange) {
	t.Helper()
	lease := acquire(t, s, "brain", "me", long)
	ok(t, s.Allow(t.Context(), AllowedAlter{Group: nastyTier, Table: nastyTable, AllowedBy: "anna", Priority: 3}))
	before := admitted(t, s, nastyTier, nastyTable, "blob1")
	allowed := must(s.AllowedOne(t.Context(), nastyTier, nastyTable))(t)
	after := before
	after.Status, after.Tries = AlterDone, 1
	return lease, AlterChange{Group: nastyTier, Table: nastyTable, Before: &before, Allowed: &allowed, After: &after, What: "done",
		Wake: []WakeRequest{{Daemon: DaemonChecksum, Scope: "tier:udb", Fresh: true}}}
}

func TestChangeAlterWritesAll(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	lease, c := brainStep(t, s)
	tell(t, s.DB(), "UPDATE current_alters SET collected_at = '2026-01-01', total_targets = 7") // the collector's columns
	next := must(s.Now(ctx))(t).Add(time.Hour)
	c.After.Reason, c.After.HoldBy, c.After.CommitSHA, c.After.DesiredHash = strings.Repeat("é", 3000), HoldWorker, "c0ffee", "blob2"
	c.After.NextCheckAt, c.After.CheckFresh, c.After.AllowedBy, c.After.Priority, c.After.ServerList = &next, true, "béla", -5, ServersCustom
	c.PinnedNow, c.CheckedNow = true, true
	began := must(s.Now(ctx))(t)
	if !must(s.ChangeAlter(ctx, lease, c))(t) {
		t.Fatal("the step was not taken")
	}
	got := must(s.CurrentAlter(ctx, nastyTier, nastyTable))(t)
	if got.Status != AlterDone || got.HoldBy != HoldWorker || got.CommitSHA != "c0ffee" || got.DesiredHash != "blob2" || got.Tries != 1 ||
		!got.NextCheckAt.Equal(next) || !got.CheckFresh || got.AllowedBy != "béla" || got.Priority != -5 || got.ServerList != ServersCustom ||
		got.Reason != strings.Repeat("é", maxReason) || !got.StartedAt.Equal(*c.Before.StartedAt) {
		t.Errorf("written %+v", got)
	}
	if got.PinnedAt.Before(began) || got.CheckFrom.Before(began) {
		t.Errorf("pinned at %v, check from %v: not now (%v)", got.PinnedAt, got.CheckFrom, began)
	}
	if got.TotalTargets != 7 || got.CollectedAt == nil {
		t.Errorf("the collector's columns were written: %+v", got)
	}
	if w := must(s.Wakeups(ctx, DaemonChecksum))(t)["tier:udb"]; w.FreshAt == nil {
		t.Errorf("wake-up %+v", w)
	}
	if h := must(s.History(ctx, nastyTier, nastyTable, 1))(t); len(h) != 1 || h[0].What != "done" || h[0].Actor != "brain me" {
		t.Errorf("history %+v", h)
	}
}

// What was decided on must still hold when it is written: an operator, a worker or the collector may have been there.
func TestChangeAlterOnStaleGround(t *testing.T) {
	s := newStore(t)
	where := " WHERE `group` = ? AND table_name = ?"
	for name, meanwhile := range map[string]string{
		"the operator holds":             "UPDATE current_alters SET status = 'HOLD'" + where,
		"the worker holds":               "UPDATE current_alters SET hold_by = 'worker'" + where,
		"another reason":                 "UPDATE current_alters SET reason = 'x'" + where,
		"pinned anew":                    "UPDATE current_alters SET desired_hash = 'blob9'" + where,
		"pinned later":                   "UPDATE current_alters SET pinned_at = NOW(6) + INTERVAL 1 SECOND" + where,
		"another commit":                 "UPDATE current_alters SET commit_sha = 'x'" + where,
		"another check":                  "UPDATE current_alters SET check_from = NOW(6)" + where,
		"another due time":               "UPDATE current_alters SET next_check_at = NOW(6)" + where,
		"another count of checks":        "UPDATE current_alters SET tries = 2" + where,
		"the collector found a target":   "UPDATE current_alters SET targets = 5" + where,
		"the collector found an unknown": "UPDATE current_alters SET unknowns = 5" + where,
		"the alter is gone":              "DELETE FROM current_alters" + where,
		"I6: the permission is gone":     "DELETE FROM allowed_alters" + where,
		"I6: allow_unsafe changed":       "UPDATE allowed_alters SET allow_unsafe = 1" + where,
		"server_list changed":            "UPDATE allowed_alters SET server_list = 'custom'" + where,
	} {
		t.Run(name, func(t *testing.T) {
			for _, table := range []string{"current_alters", "events", "wakeups"} {
				tell(t, s.DB(), "DELETE FROM "+table)
			}
			lease, c := brainStep(t, s)
			tell(t, s.DB(), meanwhile, nastyTier, nastyTable)
			if must(s.ChangeAlter(t.Context(), lease, c))(t) {
				t.Error("the step was taken all the same")
			}
			if got, err := s.CurrentAlter(t.Context(), nastyTier, nastyTable); err == nil && got.Tries == 1 {
				t.Errorf("the row was written: %+v", got)
			}
			if n := len(must(s.History(t.Context(), nastyTier, nastyTable, 10))(t)) + len(must(s.Wakeups(t.Context(), DaemonChecksum))(t)); n != 0 {
				t.Errorf("%d events and wake-ups of a step not taken", n)
			}
		})
	}
}

func TestChangeAlterIgnoresWhatDecidesNothing(t *testing.T) {
	s := newStore(t)
	lease, c := brainStep(t, s)
	tell(t, s.DB(), "UPDATE current_alters SET collected_at = NOW(6), total_targets = 3, priority = 77")
	tell(t, s.DB(), "UPDATE allowed_alters SET priority = 78, `comment` = 'x'")
	if !must(s.ChangeAlter(t.Context(), lease, c))(t) {
		t.Error("the step was not taken")
	}
}

func TestChangeAlterAdmitsOnce(t *testing.T) {
	s := newStore(t)
	lease, c := brainStep(t, s)
	c.Before = nil
	if must(s.ChangeAlter(t.Context(), lease, c))(t) {
		t.Error("admitted although it is there")
	}
	tell(t, s.DB(), "DELETE FROM current_alters")
	if !must(s.ChangeAlter(t.Context(), lease, c))(t) {
		t.Error("not admitted")
	}
	if got := must(s.CurrentAlter(t.Context(), nastyTier, nastyTable))(t); got.Targets != -1 || got.Unknowns != -1 {
		t.Errorf("looked at before the first look: %+v", got)
	}
}

func TestChangeAlterEnds(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	lease, c := brainStep(t, s)
	c.After = nil
	if _, err := s.ChangeAlter(ctx, lease, c); err == nil {
		t.Error("ended without an outcome")
	}
	c.End = FinishedAlter{Outcome: OutcomeFinished, Tries: 3, Targets: 12}
	ok(t, s.SetCustomServers(ctx, nastyTier, nastyTable, []CustomServer{{Group: nastyTier, Table: nastyTable, Host: "h", Port: 1}}))
	for _, table := range []string{"alter_targets", "running_alters"} {
		tell(t, s.DB(), "INSERT INTO "+table+" (host, port, `group`, table_name, cluster) VALUES ('h', 1, ?, ?, 'c')", nastyTier, nastyTable)
	}
	if must(s.ChangeAlter(ctx, lease, c))(t) {
		t.Error("ended while an instance is busy with it")
	}
	tell(t, s.DB(), "DELETE FROM running_alters")
	if !must(s.ChangeAlter(ctx, lease, c))(t) {
		t.Fatal("not ended")
	}
	if f := must(s.Finished(ctx, 10))(t); len(f) != 1 || f[0].Tries != 3 || f[0].Targets != 12 || f[0].DesiredHash != "blob1" || f[0].Outcome != OutcomeFinished {
		t.Errorf("finished %+v", f)
	}
	for _, table := range []string{"current_alters", "allowed_alters", "custom_servers", "alter_targets"} {
		var n int
		ok(t, s.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table).Scan(&n))
		if n != 0 {
			t.Errorf("%d rows left in %s", n, table)
		}
	}
}

// I8: without the lease nothing is written.
func TestChangeAlterNeedsTheLease(t *testing.T) {
	s := newStore(t)
	lease, c := brainStep(t, s)
	acquire(t, s, "brain", "me", long) // the same holder, started again
	if _, err := s.ChangeAlter(t.Context(), lease, c); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("err %v, want that the lease is lost", err)
	}
}

func TestBrainTables(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	brainStep(t, s)
	ok(t, s.PutTier(ctx, NewTier(nastyTier)))
	ok(t, s.SetCustomServers(ctx, nastyTier, nastyTable, []CustomServer{{Group: nastyTier, Table: nastyTable, Host: "h", Port: 1}}))
	began := must(s.Now(ctx))(t)
	ok(t, s.PutPass(ctx, Pass{Host: "h", Port: 1, Group: nastyTier, StartedAt: &began}, true))
	ok(t, s.PutPass(ctx, Pass{Host: "h", Port: 1, Group: "idle", StartedAt: &began}, true))
	tell(t, s.DB(), "INSERT INTO running_alters (host, port, `group`, table_name) VALUES ('h', 1, ?, ?)", nastyTier, nastyTable)
	got := must(s.BrainTables(ctx))(t)
	if got.Now.Before(began) || len(got.Tiers) != 1 || len(got.Allowed) != 1 || len(got.Custom) != 1 || len(got.Current) != 1 || len(got.Running) != 1 {
		t.Errorf("%+v", got)
	}
	if len(got.Passes) != 1 || got.Passes[0].Group != nastyTier {
		t.Errorf("passes %+v, want those of the tiers with an alter", got.Passes)
	}
}

func TestBrainSignal(t *testing.T) {
	s := newStore(t)
	brainStep(t, s)
	ok(t, s.PutTier(t.Context(), NewTier("udb")))
	signal := func() string { t.Helper(); return must(s.BrainSignal(t.Context()))(t) }
	last := signal()
	for _, c := range []struct {
		change string
		wakes  bool
	}{
		{"UPDATE allowed_alters SET priority = 4", true},
		{"UPDATE allowed_alters SET allow_unsafe = 1", true},
		{"UPDATE allowed_alters SET allowed_at = NOW()", true},
		{"UPDATE allowed_alters SET `comment` = 'x'", true},
		{"INSERT INTO allowed_alters VALUES ('udb','tabla1','istvan',NULL,10,'default')", true},
		{"DELETE FROM allowed_alters WHERE `group` = 'udb'", true},
		{"INSERT INTO custom_servers VALUES ('udb','tabla1','h',1)", true},
		{"UPDATE tiers SET direct_max_rows = 1", true},
		{"UPDATE tiers SET direct_max_bytes = 1", true},
		{"UPDATE tiers SET max_running = 9", false},
		{"UPDATE current_alters SET status = 'HOLD'", true},
		{"UPDATE current_alters SET targets = 3", true},
		{"UPDATE current_alters SET unknowns = 3", true},
		{"UPDATE current_alters SET collected_at = NOW(6), total_targets = 9", false},
		{"UPDATE current_alters SET next_check_at = NOW(6) + INTERVAL 1 HOUR", false},
		{"UPDATE current_alters SET next_check_at = NOW(6)", true},
		{"DELETE FROM current_alters", true},
	} {
		tell(t, s.DB(), c.change)
		now := signal()
		if (now != last) != c.wakes {
			t.Errorf("%s: signal changed %v, want %v", c.change, now != last, c.wakes)
		}
		last = now
	}
}
