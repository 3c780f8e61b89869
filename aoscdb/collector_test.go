package aoscdb

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
)

// admitted makes a current alter that is pinned to a blob.
func admitted(t *testing.T, s *Store, group, table, blob string) CurrentAlter {
	t.Helper()
	tell(t, s.DB(), "REPLACE INTO current_alters (`group`, table_name, status, desired_hash, pinned_at, started_at) VALUES (?, ?, 'IPR', ?, NOW(6), NOW(6))",
		group, table, blob)
	return must(s.CurrentAlter(t.Context(), group, table))(t)
}

func targetOn(host, group, table string) Target {
	return Target{Group: group, Table: table, Host: host, Port: 1, Cluster: "c", Role: "replica", Databases: 2, Bytes: 3}
}

func hostsOf(targets []Target) []string {
	var out []string
	for _, t := range targets {
		out = append(out, t.Host)
	}
	return out
}

func TestRecordLooks(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	lease := acquire(t, s, "collector", "me", long)
	a := admitted(t, s, nastyTier, nastyTable, "blob1")
	at := must(s.Now(ctx))(t)
	target := func(host string) Target {
		row := targetOn(host, nastyTier, nastyTable)
		row.FoundAt = at
		return row
	}
	record := func(look Look, wake ...string) CurrentAlter {
		t.Helper()
		look.Alter, look.At = a, at
		ok(t, s.RecordLooks(ctx, lease, []Look{look}, nil, wake...))
		a = must(s.CurrentAlter(ctx, nastyTier, nastyTable))(t)
		return a
	}
	targets := func() []string { t.Helper(); return hostsOf(must(s.TargetsOf(ctx, nastyTier, nastyTable))(t)) }

	got := record(Look{Targets: 2, Unknowns: 1, Insert: []Target{target("a"), target("b")}}, DaemonBrain)
	if got.Targets != 2 || got.Unknowns != 1 || got.TotalTargets != 2 || !got.CollectedAt.Equal(at) {
		t.Errorf("first look: %+v", got)
	}
	if want := []string{"a", "b"}; !slices.Equal(targets(), want) {
		t.Errorf("targets %v, want %v", targets(), want)
	}
	if w := must(s.Wakeups(ctx, DaemonBrain))(t); len(w) != 1 {
		t.Errorf("brain was not woken: %v", w)
	}
	if w := must(s.Wakeups(ctx, DaemonScheduler))(t); len(w) != 0 {
		t.Errorf("scheduler was woken for nothing: %v", w)
	}

	// b is done, a is promoted; c was removed by the scheduler meanwhile, and an update must not bring it back.
	promoted := target("a")
	promoted.Role = "primary"
	record(Look{Targets: 1, Update: []Target{promoted, target("c")}, Delete: []Target{target("b")}})
	if rows := must(s.TargetsOf(ctx, nastyTier, nastyTable))(t); len(rows) != 1 || rows[0].Role != "primary" || !rows[0].FoundAt.Equal(at) {
		t.Errorf("targets %+v, want a as primary", rows)
	}
	// An instance that comes back is no new one, one that never was is.
	got = record(Look{Targets: 3, Insert: []Target{target("b"), target("d")}})
	if got.TotalTargets != 3 {
		t.Errorf("%d different targets, want 3", got.TotalTargets)
	}
}

// A look at an alter that was pinned to another text, or finished, while it was being looked at is worth nothing.
func TestRecordLooksOfAnotherTime(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	lease := acquire(t, s, "collector", "me", long)
	seen := admitted(t, s, "g", "t", "blob1")
	gone := admitted(t, s, "g", "gone", "blob1")
	admitted(t, s, "g", "t", "blob2")
	tell(t, s.DB(), "DELETE FROM current_alters WHERE table_name = 'gone'")
	at := must(s.Now(ctx))(t)
	ok(t, s.RecordLooks(ctx, lease, []Look{
		{Alter: seen, At: at, Insert: []Target{targetOn("a", "g", "t")}},
		{Alter: gone, At: at, Insert: []Target{targetOn("a", "g", "gone")}},
	}, nil))
	if a := must(s.CurrentAlter(ctx, "g", "t"))(t); a.CollectedAt != nil || a.Targets != -1 || a.Unknowns != -1 {
		t.Errorf("recorded: %+v", a)
	}
	if rows := must(s.Targets(ctx))(t); len(rows) != 0 {
		t.Errorf("targets %v, want none", rows)
	}
}

// I8: who lost the lease writes nothing.
func TestRecordLooksNeedsTheLease(t *testing.T) {
	s := newStore(t)
	old := acquire(t, s, "collector", "me", long)
	ok(t, s.Release(t.Context(), old.Name, old.Holder, old.Epoch))
	acquire(t, s, "collector", "other", long)
	a := admitted(t, s, "g", "t", "blob1")
	orphan := targetOn("x", "g", "gone")
	tell(t, s.DB(), "INSERT INTO alter_targets (`group`, table_name, host, port, cluster) VALUES ('g', 'gone', 'x', 1, 'c')")
	err := s.RecordLooks(t.Context(), old, []Look{{Alter: a, At: must(s.Now(t.Context()))(t), Insert: []Target{targetOn("a", "g", "t")}}}, []Target{orphan}, DaemonBrain)
	if !errors.Is(err, ErrLeaseLost) {
		t.Errorf("recorded without the lease: %v", err)
	}
	if rows := must(s.Targets(t.Context()))(t); len(rows) != 1 || rows[0].Table != "gone" {
		t.Errorf("targets %v, want the orphan alone", rows)
	}
	if w := must(s.Wakeups(t.Context(), DaemonBrain))(t); len(w) != 0 {
		t.Errorf("brain was woken: %v", w)
	}
}

func TestRecordManyTargets(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	lease := acquire(t, s, "collector", "me", long)
	a := admitted(t, s, "g", "t", "blob1")
	at := must(s.Now(ctx))(t)
	var many []Target
	for i := range 2*batchRows + 1 {
		many = append(many, targetOn(fmt.Sprintf("h%d", i), "g", "t"))
		many[i].FoundAt = at
	}
	look := Look{Alter: a, At: at, Targets: len(many), Insert: many}
	ok(t, s.RecordLooks(ctx, lease, []Look{look}, nil))
	if got := must(s.CurrentAlter(ctx, "g", "t"))(t); got.TotalTargets != len(many) {
		t.Errorf("%d targets, want %d", got.TotalTargets, len(many))
	}
	ok(t, s.RecordLooks(ctx, lease, nil, many))
	if n := ask[int](t, s.DB(), "SELECT COUNT(*) FROM alter_targets"); n != 0 {
		t.Errorf("%d targets are left", n)
	}
}

func TestDropOldViews(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	for _, table := range []string{"stays", "goes"} {
		admitted(t, s, nastyTier, table, "b")
		ok(t, s.RefreshView(ctx, nastyTier, table))
	}
	tell(t, s.DB(), "CREATE VIEW alter_report AS SELECT t.host, a.reason FROM current_alters a JOIN alter_targets t USING (table_name)")
	tell(t, s.DB(), "CREATE VIEW alter_count AS SELECT COUNT(*) AS n FROM alter_targets")
	tell(t, s.DB(), "DELETE FROM current_alters WHERE table_name = 'goes'")
	dropped := must(s.DropOldViews(ctx))(t)
	if want := []string{ViewName(nastyTier, "goes")}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %q, want %q", dropped, want)
	}
	left := must(list(ctx, s.DB(), func(n *string) []any { return []any{n} },
		"SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE() ORDER BY table_name"))(t)
	if want := []string{"alter_count", "alter_report", ViewName(nastyTier, "stays"), "why"}; !slices.Equal(left, want) {
		t.Errorf("views left %q, want %q", left, want)
	}
	// The alter comes again: its view is made again.
	admitted(t, s, nastyTier, "goes", "b")
	ok(t, s.RefreshView(ctx, nastyTier, "goes"))
	tell(t, s.DB(), "DO (SELECT COUNT(*) FROM "+mysql.QuoteIdent(ViewName(nastyTier, "goes"))+")")
}

func TestAllCustomServers(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	ok(t, s.SetCustomServers(ctx, "g", "t", []CustomServer{{Host: "a", Port: 1}, {Host: "b", Port: 2}}))
	ok(t, s.SetCustomServers(ctx, "g", "u", []CustomServer{{Host: "a", Port: 1}}))
	if all := must(s.AllCustomServers(ctx))(t); len(all) != 3 {
		t.Errorf("custom servers %v, want 3", all)
	}
}

// The one query over all instances says of each what Summary says of it.
func TestCentralSummaries(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	row := func(host, database, table, status, blob string) LocalStatus {
		return LocalStatus{Host: host, Port: 1, Database: database, Table: table, Group: nastyTier, Status: status, DesiredBlob: blob, Bytes: 10}
	}
	ok(t, s.CentralStatus().PutLocal(ctx, []LocalStatus{
		row("a", "d1", nastyTable, LocalOK, "b1"), row("a", "d2", nastyTable, LocalINC, "b1"), row("a", "d3", nastyTable, LocalNA, "b1"),
		row("a", "d4", nastyTable, LocalINC, "b0"), row("a", "d1", "u", LocalOK, "b1"),
		row("b", "d1", nastyTable, LocalOK, "b1"), row("b", "d1", "u", LocalINC, "b2"), row("b", "d1", "other", LocalINC, "b1"),
	}))
	want := []TableWant{{nastyTable, "b1"}, {"u", "b2"}}
	got := must(s.CentralSummaries(ctx, nastyTier, want))(t)
	if len(got) != 2 {
		t.Errorf("summaries %v, want those of a and b", got)
	}
	for _, host := range []string{"a", "b"} {
		each := must(s.CentralStatus().Summary(ctx, host, 1, want))(t)
		all := got[mysql.Addr{Host: host, Port: 1}]
		for _, e := range each {
			if !slices.Contains(all, e) {
				t.Errorf("%s: %+v is not in %+v", host, e, all)
			}
		}
	}
	if got := must(s.CentralSummaries(ctx, "other tier", want))(t); len(got) != 0 {
		t.Errorf("summaries of another tier: %v", got)
	}
}
