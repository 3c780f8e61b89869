package aoscdb

import (
	"testing"
	"time"
)

// The view why answers from the moment of the INSERT on, whether or not any daemon lives, and never claims what is old.
func TestViewWhy(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	tell(t, s.db, "INSERT INTO allowed_alters VALUES ('udb','tabla1','istvan',NULL,10,'default')")
	answer := func() WhyRow {
		t.Helper()
		rows := must(s.Why(ctx))(t)
		if len(rows) != 1 {
			t.Fatalf("%+v, want one row", rows)
		}
		return rows[0]
	}
	if w := answer(); w.Code != "daemon_down" {
		t.Errorf("no daemon has ever lived: %+v", w)
	}
	row := WhyRow{Group: "udb", Table: "tabla1", Code: "limit", Why: "max_running is 0"}
	say := func() {
		t.Helper()
		tell(t, s.db, "UPDATE why_turn SET at = NOW(6) - INTERVAL 10 SECOND") // the last turn is over
		ok(t, s.PublishWhy(ctx, func(w WhyTables) []WhyRow {
			if len(w.Allowed) != 1 {
				t.Errorf("asked with %+v", w)
			}
			return []WhyRow{row}
		}))
	}
	say()
	first := answer()
	if first.Code != "limit" || first.Why != row.Why {
		t.Errorf("%+v", first)
	}
	row.Why = "max_running is 1" // the same reason in other words
	say()
	if w := answer(); w.Why != row.Why || !w.Since.Equal(first.Since) {
		t.Errorf("%+v, want since %v", w, first.Since)
	}
	// Another process's turn was a moment ago: nothing is computed.
	ok(t, s.PublishWhy(ctx, func(WhyTables) []WhyRow { t.Error("it is nobody's turn"); return nil }))
	tell(t, s.db, "UPDATE why_turn SET at = NOW(6) - INTERVAL 1 MINUTE")
	if w := answer(); w.Code != "daemon_down" || w.Why == row.Why {
		t.Errorf("all daemons are dead for a minute, and it says %+v", w)
	}
}

func TestHeartbeats(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	d := DaemonRow{Name: DaemonBrain, Holder: "h:1:a", Serves: "tier=udb", Version: "v1", Error: "no git"}
	ok(t, s.Beat(ctx, d))
	first := must(s.Daemons(ctx))(t)[0]
	if first.Error != "no git" || first.Serves != "tier=udb" || first.StoppedAt != nil || time.Since(first.SeenAt) > time.Minute {
		t.Errorf("%+v", first)
	}
	d.Error = ""
	ok(t, s.Beat(ctx, d))
	second := must(s.Daemons(ctx))(t)[0]
	if second.Error != "" || !second.SeenAt.After(first.SeenAt) || !second.StartedAt.Equal(first.StartedAt) {
		t.Errorf("%+v after %+v", second, first)
	}
	ok(t, s.BeatStopped(ctx, d.Name, d.Holder))
	if rows := must(s.Daemons(ctx))(t); len(rows) != 1 || rows[0].StoppedAt == nil {
		t.Errorf("%+v, want one that was stopped", rows)
	}
}

// Only what differs is written, and since says when the reason began.
func TestObstacles(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	epoch, _, err := s.Acquire(ctx, "scheduler", "h", time.Minute)
	ok(t, err)
	l := Lease{"scheduler", "h", epoch}
	one := Obstacle{Group: nastyTier, Table: nastyTable, Host: "h", Port: 1, Code: "limit", Reason: "is 1"}
	two := Obstacle{Group: nastyTier, Table: nastyTable, Host: "h", Port: 2, Code: "order", Reason: "later"}
	ok(t, s.RecordObstacles(ctx, l, DaemonScheduler, []Obstacle{one, two}))
	ok(t, s.RecordObstacles(ctx, l, DaemonCollector, []Obstacle{one}))
	one.Reason = "is 2"
	ok(t, s.RecordObstacles(ctx, l, DaemonScheduler, []Obstacle{one}))
	got := must(s.WhyTables(ctx))(t).Obstacles
	if len(got) != 2 || got[0].FoundBy != DaemonCollector || got[0].Reason != "is 1" || got[1].Reason != "is 2" {
		t.Errorf("%+v", got)
	}
	tell(t, s.db, "UPDATE leases SET epoch = epoch + 1")
	if err := s.RecordObstacles(ctx, l, DaemonScheduler, nil); err == nil {
		t.Error("I8: written without the lease")
	}
}

// What a person changes is in the history, in words.
func TestPeopleInTheHistory(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	tier := NewTier("udb")
	must(s.ChangeTier(ctx, tier, "anna"))(t)
	tier.MaxRunning, tier.Enabled = 4, false
	if changes := must(s.ChangeTier(ctx, tier, "anna"))(t); len(changes) != 2 || changes[0] != "max_running 1 -> 4" {
		t.Errorf("%q", changes)
	}
	if changes := must(s.ChangeTier(ctx, tier, "anna"))(t); len(changes) != 0 {
		t.Errorf("nothing changed: %q", changes)
	}
	ok(t, s.AllowBy(ctx, AllowedAlter{Group: "udb", Table: "t", AllowedBy: "anna", AllowUnsafe: true, Comment: "as agreed"}))
	must(s.Revoke(ctx, "udb", "t", "bea"))(t)
	var said []string
	for _, e := range must(s.History(ctx, "udb", "", 10))(t) {
		said = append(said, e.Actor+": "+e.What+": "+e.Detail)
	}
	want := []string{"bea: revoked by: ", `anna: allowed: allowed by anna, priority 0, server_list default, allow_unsafe, comment "as agreed"`,
		"anna: tier set: max_running 1 -> 4, enabled true -> false"}
	if len(said) != 4 || said[0] != want[0] || said[1] != want[1] || said[2] != want[2] {
		t.Errorf("%q, want %q", said, want)
	}
}

// Alters that were withdrawn under an earlier release have no finished_at after the migration; finished ones keep theirs.
func TestWithdrawnIsNotFinished(t *testing.T) {
	s := open(t, newDatabase(t))
	saved := migrations
	migrations = saved[:3]
	_, err := s.Init(t.Context())
	migrations = saved
	ok(t, err)
	tell(t, s.db, "INSERT INTO finished_alters (`group`, table_name, finished_at, outcome) VALUES "+
		"('udb','a','2026-01-02 03:04:05','finished'), "+
		"('udb','b','2026-01-02 03:04:05','revoked')")
	must(s.Init(t.Context()))(t)
	if n := ask[int](t, s.db, "SELECT COUNT(*) FROM (SELECT * FROM finished_alters) AS t WHERE finished_at IS NULL AND table_name = 'b' OR "+
		"finished_at = '2026-01-02 03:04:05' AND table_name = 'a'"); n != 2 {
		t.Errorf("%d rows as they should be, want 2", n)
	}
	for _, f := range must(s.Finished(t.Context(), 10))(t) {
		if f.FinishedAt.Year() != 2026 || f.FinishedAt.Second() != 5 || f.AllowUnsafe != nil {
			t.Errorf("%+v", f)
		}
	}
}
