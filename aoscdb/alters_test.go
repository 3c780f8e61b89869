package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aosc/aosc/internal/schema"
)

// TestNewTier: the defaults of the program are those of the table, so that a tier made by hand behaves like one made by
// aosc.
func TestNewTier(t *testing.T) {
	s := newStore(t)
	tell(t, s.db, "INSERT INTO tiers (`group`) VALUES (?)", nastyTier)
	if got := must(s.Tier(t.Context(), nastyTier))(t); got != NewTier(nastyTier) {
		t.Errorf("the table's defaults are %+v\nNewTier's are %+v", got, NewTier(nastyTier))
	}
}

func TestTiers(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	if _, err := s.Tier(ctx, "udb"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tier that is not there: %v", err)
	}
	want := []Tier{
		{Group: "UDB", MaxRunning: 1, Ordering: OrderingPrimary, CopyEngine: CopyGhost, StatusStore: StoreInstance},
		{Group: "udb", MaxRunning: 8, MaxRunningPerHost: 2, MaxRunningPerDatacenter: 3, Ordering: OrderingRolling, CopyEngine: CopyKeyed,
			StatusStore: StoreCentral, DirectMaxRows: 1 << 40, CreateMissing: true, VerifyIntervalS: 5, VerifyTries: 1, Enabled: true,
			MaxLagMS: 300, MaxCommitMS: 20, MaxRedoAgePct: 60, CutOverWindow: "02:00-05:00 UTC"},
	}
	for _, w := range want {
		ok(t, s.PutTier(ctx, NewTier(w.Group)))
		ok(t, s.PutTier(ctx, w))
		ok(t, s.PutTier(ctx, w))
	}
	if got := must(s.Tiers(ctx))(t); !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := want[1].VerifyInterval(); got != 5*time.Second {
		t.Errorf("verify interval %v", got)
	}
	bad := want[0]
	bad.Ordering = "sideways"
	if err := s.PutTier(ctx, bad); err == nil {
		t.Error("an ordering that is none was stored")
	}
}

func TestPermissions(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	a := AllowedAlter{Group: nastyTier, Table: nastyTable, AllowedBy: strings.Repeat("é", 70), Priority: 5, AllowUnsafe: true, Comment: "why"}
	ok(t, s.SetCustomServers(ctx, nastyTier, nastyTable, []CustomServer{{Host: "old", Port: 1}}))
	ok(t, s.SetCustomServers(ctx, nastyTier, nastyTable, []CustomServer{{Host: "h2", Port: 2}, {Host: "h1", Port: 1}}))
	ok(t, s.Allow(ctx, a))
	got := must(s.AllowedOne(ctx, nastyTier, nastyTable))(t)
	a.AllowedBy, a.ServerList, a.CutOver = strings.Repeat("é", 64), ServersDefault, CutOverAuto
	if got != a {
		t.Errorf("%+v\nwant %+v", got, a)
	}
	l := acquire(t, s, "brain", "a", long)
	stamp := func() {
		ok(t, s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error { return s.StampAllowedAt(ctx, tx) }))
	}
	stamp()
	first := must(s.AllowedOne(ctx, nastyTier, nastyTable))(t)
	if first.AllowedAt == nil {
		t.Fatal("not stamped")
	}
	tell(t, s.db, "UPDATE allowed_alters SET allowed_at = allowed_at - INTERVAL 1 DAY")
	stamp()
	if again := must(s.AllowedOne(ctx, nastyTier, nastyTable))(t); !again.AllowedAt.Before(*first.AllowedAt) {
		t.Error("a stamp was overwritten")
	}
	a.ServerList, a.AllowUnsafe = ServersCustom, false
	ok(t, s.Allow(ctx, a)) // a person changed their mind: a new permission, stamped anew
	if got := must(s.AllowedOne(ctx, nastyTier, nastyTable))(t); got != a {
		t.Errorf("allowed again: %+v\nwant %+v", got, a)
	}
	ok(t, s.Allow(ctx, AllowedAlter{Group: "udb", Table: "urgent", AllowedBy: "x", Priority: 99}))
	if all := must(s.Allowed(ctx))(t); len(all) != 2 || all[0].Table != "urgent" {
		t.Errorf("%+v, want the urgent one first", all)
	}
	if c := must(s.CustomServers(ctx, nastyTier, nastyTable))(t); len(c) != 2 || c[0].Host != "h1" || c[0].Group != nastyTier {
		t.Errorf("custom servers: %+v", c)
	}
	if was := must(s.Revoke(ctx, nastyTier, nastyTable, "anna"))(t); !was {
		t.Error("there was nothing to revoke")
	}
	if was := must(s.Revoke(ctx, nastyTier, nastyTable, "anna"))(t); was {
		t.Error("revoked twice")
	}
	if _, err := s.AllowedOne(ctx, nastyTier, nastyTable); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoked: %v", err)
	}
	if c := must(s.CustomServers(ctx, nastyTier, nastyTable))(t); len(c) != 0 {
		t.Errorf("revoked, and the custom servers are left: %+v", c)
	}
}

func TestOperatorHold(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	if err := s.OperatorHold(ctx, "udb", "a", "why", HoldStop); !errors.Is(err, ErrNotFound) {
		t.Errorf("hold nothing: %v", err)
	}
	tell(t, s.db, "INSERT INTO current_alters VALUES ('udb','a','IPR',10,'default')")
	ok(t, s.OperatorHold(ctx, "udb", "a", strings.Repeat("é", 3000), HoldStop))
	c := must(s.CurrentAlter(ctx, "udb", "a"))(t)
	if c.Status != AlterHold || c.HoldBy != HoldOperator || utf8.RuneCountInString(c.Reason) != 2048 {
		t.Errorf("held: %+v", c)
	}
	ok(t, s.OperatorResume(ctx, "udb", "a"))
	if c := must(s.CurrentAlter(ctx, "udb", "a"))(t); c.Status != AlterIPR || c.HoldBy != HoldNone || c.Reason != "" {
		t.Errorf("resumed: %+v", c)
	}
	for _, c := range []struct {
		by, was, how string
		want         error
	}{
		{HoldWorker, HoldStop, HoldStop, nil}, {HoldWorker, HoldStop, HoldPause, nil}, {HoldNone, HoldStop, HoldPause, nil},
		{HoldOperator, HoldPause, HoldStop, nil}, {HoldOperator, HoldStop, HoldPause, ErrNotFound}, {HoldBrain, HoldStop, HoldStop, ErrNotFound},
	} {
		tell(t, s.db, "UPDATE current_alters SET status = 'HOLD', hold_by = ?, hold_how = ?, reason = 'disk full'", c.by, c.was)
		if err := s.OperatorHold(ctx, "udb", "a", "stopped by me", c.how); !errors.Is(err, c.want) {
			t.Errorf("%s what %q holds (%s): %v, want %v", c.how, c.by, c.was, err, c.want)
		}
		now := must(s.CurrentAlter(ctx, "udb", "a"))(t)
		if c.want == nil && (now.HoldBy != HoldOperator || now.HoldHow != c.how ||
			!strings.HasPrefix(now.Reason, "stopped by me; it was on HOLD by") ||
			!strings.HasSuffix(now.Reason, "disk full")) {
			t.Errorf("%s what %q holds: %+v", c.how, c.by, now)
		}
	}
	for holder, want := range map[string]error{HoldBrain: ErrNotFound, HoldWorker: nil, HoldNone: nil} {
		tell(t, s.db, "UPDATE current_alters SET status = 'HOLD', hold_by = ?", holder)
		if err := s.OperatorResume(ctx, "udb", "a"); !errors.Is(err, want) {
			t.Errorf("resume what %q holds: %v, want %v", holder, err, want)
		}
	}
}

func TestViewName(t *testing.T) {
	for _, c := range []struct{ group, table, want string }{
		{"udb", "tabla1", "alter_udb_tabla1"},
		{"u`d'b", "sel ect", "alter_u`d'b_sel ect"},
		{"udb", strings.Repeat("é", 54), "alter_udb_" + strings.Repeat("é", 54)}, // 64 characters
	} {
		if got := ViewName(c.group, c.table); got != c.want {
			t.Errorf("ViewName(%q, %q) = %q, want %q", c.group, c.table, got, c.want)
		}
	}
	seen := map[string]bool{}
	for _, p := range []pair{
		{"udb", strings.Repeat("é", 55)}, {"udb", strings.Repeat("é", 56)}, {"udb", strings.Repeat("e", 64)},
		{"🐬", "t"}, {"🐳", "t"}, {strings.Repeat("g", 64), strings.Repeat("t", 64)}, {"udb", "trailing "},
	} {
		name := ViewName(p.Group, p.Table)
		if seen[name] || utf8.RuneCountInString(name) > 64 || !strings.HasPrefix(name, "alter_") {
			t.Errorf("ViewName(%+v) = %q: too long, or another's", p, name)
		}
		seen[name] = true
	}
}

func viewRows(t *testing.T, s *Store, name string) string {
	t.Helper()
	rows := must(list(t.Context(), s.db, func(h *string) []any { return []any{h} },
		"SELECT CONCAT(host, ':', port) FROM `"+strings.ReplaceAll(name, "`", "``")+"` ORDER BY 1"))(t)
	return strings.Join(rows, " ")
}

func addTarget(t *testing.T, s *Store, group, table, host string, port int) {
	t.Helper()
	tell(t, s.db, "INSERT INTO alter_targets (`group`, table_name, host, port, cluster) VALUES (?, ?, ?, ?, 'c')", group, table, host, port)
}

func TestViews(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	for i, p := range []pair{
		{"udb", "tabla1"}, {"udb", "TABLA1"}, {nastyTier, nastyTable}, {"x\\", "' OR 1=1 -- "}, {"order", "select"},
		{strings.Repeat("g", 64), strings.Repeat("é", 64)},
	} {
		addTarget(t, s, p.Group, p.Table, "h", i+1)
		name := ViewName(p.Group, p.Table)
		for range 2 {
			ok(t, s.RefreshView(ctx, p.Group, p.Table))
		}
		if got := viewRows(t, s, name); got != fmt.Sprintf("h:%d", i+1) {
			t.Errorf("view %q lists %q", name, got)
		}
		// Somebody dropped it, or made it wrong.
		tell(t, s.db, "DROP VIEW `"+strings.ReplaceAll(name, "`", "``")+"`")
		ok(t, s.RefreshView(ctx, p.Group, p.Table))
		viewRows(t, s, name)
		for range 2 {
			ok(t, s.DropView(ctx, p.Group, p.Table))
		}
	}
	if n := ask[int](t, s.db, "SELECT COUNT(*) FROM information_schema.views WHERE table_schema = DATABASE() AND table_name <> "+
		"'why'"); n != 0 {
		t.Errorf("%d views are left", n)
	}
	if got := must(s.TargetsOf(ctx, "udb", "tabla1"))(t); len(got) != 1 || got[0].Role != "unknown" || got[0].Cluster != "c" {
		t.Errorf("targets: %+v", got)
	}
	if got := must(s.Targets(ctx))(t); len(got) != 6 {
		t.Errorf("%d targets of all alters, want 6", len(got))
	}
}

// TestNamesakes: two alters whose names run into one view share it; neither hides the other.
func TestNamesakes(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	tell(t, s.db, "INSERT INTO current_alters VALUES ('a','b_c','IPR',10,'default'), ('a_b','c','IPR',10,'default')")
	addTarget(t, s, "a", "b_c", "one", 1)
	addTarget(t, s, "a_b", "c", "two", 2)
	ok(t, s.RefreshView(ctx, "a", "b_c"))
	if got := viewRows(t, s, "alter_a_b_c"); got != "one:1 two:2" {
		t.Errorf("the view lists %q, want both", got)
	}
	tell(t, s.db, "DELETE FROM current_alters WHERE `group` = 'a'")
	ok(t, s.DropView(ctx, "a", "b_c"))
	if got := viewRows(t, s, "alter_a_b_c"); got != "two:2" {
		t.Errorf("with one of them over, the view lists %q", got)
	}
	ok(t, s.DropView(ctx, "a_b", "c"))
	if n := ask[int](t, s.db, "SELECT COUNT(*) FROM information_schema.views WHERE table_schema = DATABASE() AND table_name <> "+
		"'why'"); n != 0 {
		t.Errorf("%d views are left", n)
	}
}

func TestEvents(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	ok(t, s.Event(ctx, Event{Actor: strings.Repeat("a", 300), Group: nastyTier, Table: nastyTable, Host: "h", Port: 1, What: "first", Detail: strings.Repeat("🐬", 20000)}))
	ok(t, s.Event(ctx, Event{Actor: "b", Group: "udb", Table: "t", What: "second"}))
	all := must(s.History(ctx, "", "", 10))(t)
	if len(all) != 2 || all[0].What != "second" || all[1].Group != nastyTier || all[1].At.IsZero() || all[1].Host != "h" {
		t.Errorf("%d events, want two, the newest first", len(all))
	}
	if one := must(s.History(ctx, nastyTier, nastyTable, 10))(t); len(one) != 1 || one[0].What != "first" {
		t.Errorf("the history of one table: %d events", len(one))
	}
	if one := must(s.History(ctx, "", "", 1))(t); len(one) != 1 || one[0].What != "second" {
		t.Errorf("the newest one: %+v", one)
	}
}

func TestWakeups(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	if w := must(s.Wakeups(ctx, DaemonBrain))(t); len(w) != 0 {
		t.Errorf("never woken: %v", w)
	}
	scope := ScopeTier(nastyTier)
	var last Wakeup
	for n, fresh := range []bool{false, true, false, false} {
		ok(t, s.Wake(ctx, DaemonChecksum, scope, fresh))
		w := must(s.Wakeups(ctx, DaemonChecksum))(t)[scope]
		if !w.RequestedAt.After(last.RequestedAt) {
			t.Errorf("request %d at %v, the one before at %v", n, w.RequestedAt, last.RequestedAt)
		}
		switch {
		case fresh && (w.FreshAt == nil || !w.FreshAt.Equal(w.RequestedAt)),
			!fresh && (w.FreshAt == nil) != (last.FreshAt == nil),
			!fresh && w.FreshAt != nil && !w.FreshAt.Equal(*last.FreshAt):
			t.Errorf("request %d (fresh %v): fresh at %v, before %v", n, fresh, w.FreshAt, last.FreshAt)
		}
		last = w
	}
	// A clock that is behind (a failover of aoscdb) does not make a request look old.
	tell(t, s.db, "UPDATE wakeups SET requested_at = NOW(6) + INTERVAL 1 HOUR")
	ahead := must(s.Wakeups(ctx, DaemonChecksum))(t)[scope].RequestedAt
	ok(t, s.Wake(ctx, DaemonChecksum, scope, false))
	if w := must(s.Wakeups(ctx, DaemonChecksum))(t)[scope]; !w.RequestedAt.After(ahead) {
		t.Error("a request was lost behind an earlier one")
	}
	ok(t, s.Wake(ctx, DaemonChecksum, ScopeInstance("h:1"), false))
	ok(t, s.Wake(ctx, DaemonBrain, "", false))
	if w := must(s.Wakeups(ctx, DaemonChecksum))(t); len(w) != 2 {
		t.Errorf("scopes of the checksum: %v", w)
	}
}

func TestFormCache(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	c := s.FormCache()
	// Every mode there is, which is more than 255 characters: the last one tells two environments apart.
	modes := strings.Repeat("NO_BACKSLASH_ESCAPES,", 23)
	env := schema.DBEnv{Version: "9.7.4", Charset: "utf8mb4", Collation: "utf8mb4_0900_ai_ci", SQLMode: modes + "X"}
	other := env
	other.SQLMode = modes + "Y"
	form := schema.Form{Text: "CREATE TABLE `" + nastyTable + "` (...)", Hash: "h1"}
	if _, known, err := c.Get(ctx, "blob", env); known || err != nil {
		t.Errorf("an empty cache: %v %v", known, err)
	}
	ok(t, c.Put(ctx, "blob", env, form))
	ok(t, c.Put(ctx, "blob", other, schema.Form{Text: "x", Hash: "h2"}))
	ok(t, c.Put(ctx, "blob", env, form))
	got, known, err := c.Get(ctx, "blob", env)
	if got != form || !known || err != nil {
		t.Errorf("%+v %v %v", got, known, err)
	}
	if _, known, _ := c.Get(ctx, "blob2", env); known {
		t.Error("another blob is known")
	}
}

func TestLeftovers(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	l := s.Leftovers()
	row := func(name, token string) Leftover {
		return Leftover{Group: nastyTier, Cluster: "c1", Host: "h", Port: 1, Database: nastyDatabase, Table: nastyTable,
			Leftover: name, Kind: LeftoverGhost, Token: token}
	}
	ok(t, l.Record(ctx, []Leftover{row("_t_gho", "run1"), row("_t_del", "run1")}))
	other := row("_t_gho", "run1")
	other.Cluster = "c2"
	ok(t, l.Record(ctx, []Leftover{other}))
	ok(t, l.Record(ctx, nil))
	rows := must(l.ByCluster(ctx, "c1"))(t)
	if len(rows) != 2 || rows[0].State != LeftoverLive || rows[0].Leftover != "_t_gho" || rows[0].Database != nastyDatabase ||
		rows[0].ID == 0 || rows[0].KeepUntil != nil {
		t.Fatalf("%+v", rows)
	}
	ghost, del := rows[0].ID, rows[1].ID

	// A new run of the same table has the row; whoever still holds the old one cannot touch it.
	ok(t, l.Record(ctx, []Leftover{row("_t_gho", "run2")}))
	ok(t, l.Forget(ctx, ghost))
	ok(t, l.SetState(ctx, ghost, LeftoverDrop, time.Time{}))
	rows = must(l.ByCluster(ctx, "c1"))(t)
	if len(rows) != 2 || rows[1].Token != "run2" || rows[1].State != LeftoverLive || rows[1].ID == ghost {
		t.Errorf("after a new run: %+v", rows)
	}

	due := func() (names string) {
		for _, r := range must(l.Due(ctx, "c1"))(t) {
			names += r.Leftover + " "
		}
		return names
	}
	now := must(s.Now(ctx))(t)
	ok(t, l.SetState(ctx, del, LeftoverKeep, now.Add(time.Hour)))
	if got := due(); got != "" {
		t.Errorf("due while live or kept: %s", got)
	}
	// Kept old data belongs to nobody else, and all or none of a run is recorded.
	err := l.Record(ctx, []Leftover{row("_t_new", "run3"), row("_t_del", "run3")})
	if !errors.Is(err, ErrKept) || !strings.Contains(err.Error(), "_t_del") {
		t.Errorf("a new run over kept data: %v", err)
	}
	if rows := must(l.ByCluster(ctx, "c1"))(t); len(rows) != 2 {
		t.Errorf("a refused run left %+v", rows)
	}
	ok(t, l.SetState(ctx, del, LeftoverKeep, now.Add(-time.Second)))
	if got := due(); got != "_t_del " {
		t.Errorf("due once the time has passed: %q", got)
	}
	ok(t, l.SetState(ctx, rows[1].ID, LeftoverDrop, time.Time{}))
	if got := due(); got != "_t_del _t_gho " {
		t.Errorf("due: %q", got)
	}
	ok(t, l.Forget(ctx, del))
	ok(t, l.Forget(ctx, del))
	if rows := must(l.ByCluster(ctx, "c1"))(t); len(rows) != 1 {
		t.Errorf("forgotten: %+v", rows)
	}
	many := make([]Leftover, 2500)
	for i := range many {
		many[i] = row(fmt.Sprintf("_t%d_gho", i), "run4")
		many[i].Cluster = "c3"
	}
	ok(t, l.Record(ctx, many))
	if rows := must(l.ByCluster(ctx, "c3"))(t); len(rows) != len(many) {
		t.Errorf("%d rows of %d", len(rows), len(many))
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"é表🐬x", 3, "é表🐬"}, {"x", 0, ""}} {
		if got := clip(c.in, c.n); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
