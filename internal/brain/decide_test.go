package brain

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

var (
	now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tab = key{"udb", "tabla1"}
)

func ago(d time.Duration) *time.Time { t := now.Add(-d); return &t }
func in(d time.Duration) *time.Time  { t := now.Add(d); return &t }

func commitOf(name string) string { return strings.Repeat(name, 40)[:40] }

// world is a tier of two clusters with three instances, a permission, a file at the head, and checksums of a minute ago.
func world() *snapshot {
	instance := func(cluster, host string) fleet.Instance {
		return fleet.Instance{Tier: "udb", Cluster: cluster, Host: host, Port: 3306}
	}
	s := snapshotOf(aoscdb.BrainTables{Now: now, Tiers: []aoscdb.Tier{aoscdb.NewTier("udb")}})
	s.Inventory["udb"] = fleet.Tier{Name: "udb", Databases: "dbid%", Clusters: []fleet.Cluster{
		{Tier: "udb", Name: "udb-1", Instances: []fleet.Instance{instance("udb-1", "db1"), instance("udb-1", "db2")}},
		{Tier: "udb", Name: "udb-2", Instances: []fleet.Instance{instance("udb-2", "db3")}},
	}}
	s.Head = &schema.Snapshot{Commit: commitOf("head"), Author: "Anna <anna@example.com>", Tiers: map[string]map[string]schema.Desired{
		"udb": {"tabla1": {Tier: "udb", Table: "tabla1", Path: "schemas/udb/tabla1.sql", Blob: "blob1", Commit: commitOf("head")}}}}
	s.Allowed[tab] = aoscdb.AllowedAlter{Group: "udb", Table: "tabla1", AllowedBy: "istvan", Priority: 10, ServerList: "default"}
	for _, i := range s.Inventory["udb"].Instances() {
		s.Passes[place{"udb", i.Addr()}] = aoscdb.Pass{Host: i.Host, Port: i.Port, Group: "udb",
			StartedAt: ago(time.Minute), FinishedAt: ago(50 * time.Second), FreshStartedAt: ago(10 * time.Hour)}
	}
	s.Known = map[key]judgement{}
	return s
}

// current puts the alter into current_alters: pinned an hour ago, looked at half a minute ago.
func (s *snapshot) current(status, holdBy string, change ...func(*aoscdb.CurrentAlter)) *snapshot {
	c := aoscdb.CurrentAlter{Group: "udb", Table: "tabla1", Status: status, HoldBy: holdBy, Priority: 10, ServerList: "default",
		CommitSHA: commitOf("head"), DesiredHash: "blob1", PinnedAt: ago(time.Hour), StartedAt: ago(2 * time.Hour), AllowedBy: "istvan",
		CollectedAt: ago(30 * time.Second), Targets: 0, Unknowns: 0, TotalTargets: 2}
	for _, f := range change {
		f(&c)
	}
	s.Current[tab] = c
	return s
}

func (s *snapshot) with(change func(*snapshot)) *snapshot {
	change(s)
	return s
}

// judged sets what planning found for the present question.
func (s *snapshot) judged(kind kind, reason string) *snapshot {
	s.Known[tab] = judgement{Question: s.question(tab), Verdict: verdict{Kind: kind, Reason: reason}, At: now.Add(-time.Second)}
	return s
}

func (s *snapshot) blob(blob string) *snapshot {
	d := s.Head.Tiers["udb"]["tabla1"]
	d.Blob = blob
	s.Head.Tiers["udb"]["tabla1"] = d
	return s
}

func (s *snapshot) noFile() *snapshot { delete(s.Head.Tiers["udb"], "tabla1"); return s }

func (s *snapshot) unsafe() *snapshot {
	a := s.Allowed[tab]
	a.AllowUnsafe = true
	s.Allowed[tab] = a
	return s
}

func (s *snapshot) noPermission() *snapshot { delete(s.Allowed, tab); return s }

// expect is what decide should do; the zero value is nothing at all.
type expect struct {
	what   string
	status string // of the row afterwards, "" = the row goes
	holdBy string
	reason string // part of it
	check  func(t *testing.T, c aoscdb.AlterChange)
}

const loses = "The change would lose data: drops column `c` (dbid1 on db1:3306)."

func pinnedToHead(t *testing.T, c aoscdb.AlterChange) {
	t.Helper()
	a := c.After
	if !c.PinnedNow || a.CommitSHA != commitOf("head") || a.Tries != 0 || a.NextCheckAt != nil || a.CheckFrom != nil || a.CheckFresh {
		t.Errorf("not pinned anew: pinned now %v, %+v", c.PinnedNow, *a)
	}
	if len(c.Wake) != 2 || c.Wake[0] != (aoscdb.WakeRequest{Daemon: "checksum", Scope: "tier:udb"}) || c.Wake[1].Daemon != "collector" {
		t.Errorf("wakes %+v", c.Wake)
	}
}

func pinnedTo(blob string) func(*testing.T, aoscdb.AlterChange) {
	return func(t *testing.T, c aoscdb.AlterChange) {
		t.Helper()
		pinnedToHead(t, c)
		if c.After.DesiredHash != blob {
			t.Errorf("pinned to %s, want %s", c.After.DesiredHash, blob)
		}
	}
}

// keepsPin: a HOLD leaves the approved text, and stops the checks.
func keepsPin(t *testing.T, c aoscdb.AlterChange) {
	t.Helper()
	a := c.After
	if c.PinnedNow || a.DesiredHash != c.Before.DesiredHash || a.CommitSHA != c.Before.CommitSHA || a.PinnedAt != c.Before.PinnedAt {
		t.Errorf("the pin moved: %+v", *a)
	}
	if a.Tries != 0 || a.NextCheckAt != nil {
		t.Errorf("the checks go on: %+v", *a)
	}
	if len(c.Wake) != 1 || c.Wake[0].Daemon != aoscdb.DaemonScheduler {
		t.Errorf("the scheduler is not told: %+v", c.Wake)
	}
}

func TestDecide(t *testing.T) {
	cases := map[string]struct {
		s    *snapshot
		want expect
	}{
		// Admission. I6: without a row in allowed_alters nothing happens, without a verdict neither.
		"nothing allowed":         {world().noPermission(), expect{}},
		"allowed, not yet judged": {world(), expect{}},
		"allowed and it fits": {world().judged(fits, ""), expect{what: whatAdmitted, status: "IPR", check: func(t *testing.T, c aoscdb.AlterChange) {
			pinnedTo("blob1")(t, c)
			a := c.After
			if c.Before != nil || a.Priority != 10 || a.AllowedBy != "istvan" || a.ServerList != "default" || a.StartedAt == nil || !a.StartedAt.Equal(now) {
				t.Errorf("admitted %+v", *a)
			}
			if !strings.Contains(c.Detail, "Anna") || !strings.Contains(c.Detail, "headheadhe") {
				t.Errorf("the history does not name commit and author: %s", c.Detail)
			}
		}}},
		"I6: it would lose data": {world().judged(refused, loses), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: loses,
			check: func(t *testing.T, c aoscdb.AlterChange) {
				if c.After.DesiredHash != "" || c.PinnedNow {
					t.Error("what was never approved is pinned")
				}
			}}},
		"I11: a cluster does not answer": {world().judged(waiting, "Waiting for udb-2."), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "Waiting for udb-2."}},
		"judged for another question":    {world().judged(fits, "").unsafe(), expect{}},
		"unknown tier": {world().with(func(s *snapshot) { delete(s.Tiers, "udb"); s.Tiers["web"] = aoscdb.NewTier("web") }),
			expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: `Tier "udb" is not in table tiers, which has web. Add it (aosc tier set udb)`}},
		"tier not in the inventory": {world().with(func(s *snapshot) { delete(s.Inventory, "udb") }),
			expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "is not in the inventory, which has none. Add its clusters"}},
		"tier without instances": {world().with(func(s *snapshot) { s.Inventory["udb"] = fleet.Tier{Name: "udb"} }),
			expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "no instance"}},
		"inventory cannot be read": {world().with(func(s *snapshot) { s.InventoryErr = errors.New("line 7: unknown key") }),
			expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "Waiting for the inventory: line 7"}},
		"git cannot be read": {world().with(func(s *snapshot) { s.Head, s.HeadErr = nil, errors.New("no branch main") }),
			expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "Waiting for git: no branch main"}},
		"table not in git": {world().noFile(), expect{what: whatHold, status: "HOLD", holdBy: "brain",
			reason: `Commit headheadhe has no file for table "tabla1" of tier "udb". Commit schemas/udb/tabla1.sql`}},
		"file is refused": {world().with(func(s *snapshot) {
			d := s.Head.Tiers["udb"]["tabla1"]
			d.Problem = errors.New("two statements")
			s.Head.Tiers["udb"]["tabla1"] = d
		}), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "The file at commit headheadhe cannot be used: two statements."}},
		"custom without servers": {world().custom(), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "custom_servers has no row for udb/tabla1"}},
		"custom with strangers":  {world().custom("elsewhere"), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "(elsewhere:3306)"}},
		"custom and it fits": {world().custom("db3").judged(fits, ""), expect{what: whatAdmitted, status: "IPR", check: func(t *testing.T, c aoscdb.AlterChange) {
			if c.After.ServerList != "custom" {
				t.Errorf("server_list %q", c.After.ServerList)
			}
		}}},

		// The brain's own HOLD.
		"held, still refused":      {world().current("HOLD", "brain", reason(loses)).judged(refused, loses), expect{}},
		"held, not judged anew":    {world().current("HOLD", "brain", reason(loses)), expect{}},
		"held, another reason":     {world().current("HOLD", "brain", reason(loses)).judged(refused, "The change cannot be made."), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "cannot be made", check: keepsPin}},
		"held, the reason is gone": {world().current("HOLD", "brain", reason(loses)).judged(fits, ""), expect{what: whatPinned, status: "IPR", check: pinnedTo("blob1")}},
		"held for its data, allow_unsafe given": {world().current("HOLD", "brain", reason(loses)).unsafe().judged(fits, ""),
			expect{what: whatPinned, status: "IPR", check: pinnedTo("blob1")}},
		"held, the file comes back": {world().current("HOLD", "brain", reason("Commit x has no file.")).judged(fits, ""),
			expect{what: whatPinned, status: "IPR", check: pinnedTo("blob1")}},
		"I6: an operator lifts the brain's HOLD, it is judged first": {world().current("IPR", "brain", reason(loses)).judged(fits, ""), expect{}},
		"I6: an operator lifts the brain's HOLD, it still loses data": {world().current("IPR", "brain", reason(loses)).judged(refused, loses).asked(),
			expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: loses}},
		"an operator lifts the brain's HOLD, and it fits": {world().current("IPR", "brain", reason(loses)).judged(fits, "").asked(),
			expect{what: whatPinned, status: "IPR", check: pinnedTo("blob1")}},
		"an operator lifts the HOLD of a table not in git": {world().noFile().current("IPR", "brain", reason("x")),
			expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "has no file"}},

		// The worker's HOLD: another text lifts it, or an operator.
		"worker's HOLD": {world().current("HOLD", "worker", reason("copy differs")).judged(fits, ""), expect{}},
		"worker's HOLD, allow_unsafe given: it stays, and the permission is kept": {world().current("HOLD", "worker",
			reason("copy differs")).unsafe().judged(fits, ""),
			expect{status: "HOLD", holdBy: "worker", reason: "copy differs", check: func(t *testing.T, c aoscdb.AlterChange) {
				if !c.After.AllowUnsafe {
					t.Error("allow_unsafe is not kept")
				}
			}}},
		"worker's HOLD, file gone":                {world().noFile().current("HOLD", "worker", reason("copy differs")), expect{}},
		"worker's HOLD, git away":                 {world().current("HOLD", "worker").with(func(s *snapshot) { s.Head, s.HeadErr = nil, errors.New("away") }), expect{}},
		"worker's HOLD, another text not judged":  {world().blob("blob2").current("HOLD", "worker", reason("copy differs")), expect{}},
		"worker's HOLD, another text that fits":   {world().blob("blob2").current("HOLD", "worker", reason("copy differs")).judged(fits, ""), expect{what: whatPinned, status: "IPR", check: pinnedTo("blob2")}},
		"worker's HOLD, another text that is bad": {world().blob("blob2").current("HOLD", "worker", reason("copy differs")).judged(refused, loses), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: loses}},
		"worker's HOLD, another text, no answer":  {world().blob("blob2").current("HOLD", "worker", reason("copy differs")).judged(waiting, "Waiting."), expect{}},
		"worker's HOLD lifted by hand":            {world().current("IPR", "worker", reason("copy differs")), expect{what: whatReleased, status: "IPR", check: released}},

		// The operator's HOLD.
		"operator's HOLD":                      {world().current("HOLD", "operator", reason("maintenance")).judged(fits, ""), expect{}},
		"operator's HOLD, another text":        {world().blob("blob2").current("HOLD", "operator").judged(fits, ""), expect{}},
		"operator's HOLD, file gone":           {world().noFile().current("HOLD", "operator"), expect{}},
		"operator's HOLD, dirty":               {world().current("HOLD", "operator", func(c *aoscdb.CurrentAlter) { c.Targets = 3 }), expect{}},
		"put on HOLD by a bare UPDATE":         {world().current("HOLD", ""), expect{what: whatHold, status: "HOLD", holdBy: "operator", reason: "by hand"}},
		"put on HOLD by an UPDATE with reason": {world().current("HOLD", "", reason("until Monday")), expect{what: whatHold, status: "HOLD", holdBy: "operator", reason: "until Monday"}},
		"operator's HOLD lifted by hand":       {world().current("IPR", "operator", reason("maintenance")), expect{what: whatReleased, status: "IPR", check: released}},

		// Another text, another permission, another tier while it is under way.
		"in progress":               {world().current("IPR", "", targets(2)), expect{}},
		"in progress, another text": {world().blob("blob2").current("IPR", "").judged(fits, ""), expect{what: whatPinned, status: "IPR", check: pinnedTo("blob2")}},
		"in progress, another text, not judged: not DONE either": {world().blob("blob2").current("IPR", ""), expect{}},
		"in progress, another text loses data":                   {world().blob("blob2").current("IPR", "").judged(refused, loses), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: loses, check: keepsPin}},
		"in progress, another text, no answer":                   {world().blob("blob2").current("IPR", "").judged(waiting, "Waiting for udb-2."), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "Waiting", check: keepsPin}},
		"in progress, file gone":                                 {world().noFile().current("IPR", ""), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "has no file", check: keepsPin}},
		"in progress, tier gone":                                 {world().current("IPR", "").with(func(s *snapshot) { delete(s.Tiers, "udb") }), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "not in table tiers", check: keepsPin}},
		"in progress, git away":                                  {world().current("IPR", "").with(func(s *snapshot) { s.Head, s.HeadErr = nil, errors.New("away") }), expect{}},
		"in progress, inventory unreadable":                      {world().current("IPR", "").with(func(s *snapshot) { s.InventoryErr = errors.New("bad"); s.Inventory = nil }), expect{}},
		"in progress, allow_unsafe taken back":                   {world().current("IPR", "", targets(1)).judged(refused, loses), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: loses, check: keepsPin}},
		"in progress, tier changed, no answer":                   {world().current("IPR", "", targets(1)).judged(waiting, "Waiting for udb-2."), expect{}},
		"in progress, more servers allowed":                      {world().current("IPR", "", func(c *aoscdb.CurrentAlter) { c.ServerList = "custom" }).judged(fits, ""), expect{what: whatPinned, status: "IPR", check: pinnedTo("blob1")}},
		"in progress, more servers, not judged: not DONE either": {world().current("IPR", "", func(c *aoscdb.CurrentAlter) { c.ServerList = "custom" }), expect{}},
		"in progress, more servers, loses data":                  {world().current("IPR", "", func(c *aoscdb.CurrentAlter) { c.ServerList = "custom" }).judged(refused, loses), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: loses}},
		"in progress, head moved, same text":                     {world().current("IPR", "", targets(1), func(c *aoscdb.CurrentAlter) { c.CommitSHA = commitOf("older") }), expect{}},
		"in progress, commit lost by a force-push, same text":    {world().current("IPR", "", targets(1), func(c *aoscdb.CurrentAlter) { c.CommitSHA = commitOf("lost") }), expect{}},
		"in progress, force-push to another text": {world().blob("blob2").current("IPR", "", func(c *aoscdb.CurrentAlter) { c.CommitSHA = commitOf("lost") }).judged(fits, ""),
			expect{what: whatPinned, status: "IPR", check: pinnedTo("blob2")}},
		"in progress, more urgent": {world().current("IPR", "", targets(1), func(c *aoscdb.CurrentAlter) { c.Priority = 1 }), expect{status: "IPR", check: func(t *testing.T, c aoscdb.AlterChange) {
			if c.After.Priority != 10 {
				t.Errorf("priority %d", c.After.Priority)
			}
		}}},
		"on the operator's HOLD, more urgent": {world().current("HOLD", "operator", reason("x"), func(c *aoscdb.CurrentAlter) { c.Priority = 1 }), expect{status: "HOLD", holdBy: "operator", reason: "x"}},

		// Revoked.
		"revoked":                     {world().noPermission().current("IPR", "", targets(2)), expect{what: whatRevoked, check: ended("revoked", 0, 2)}},
		"revoked on HOLD":             {world().noPermission().current("HOLD", "operator"), expect{what: whatRevoked, check: ended("revoked", 0, 2)}},
		"revoked when DONE":           {world().noPermission().current("DONE", "", idle(1)), expect{what: whatRevoked, check: ended("revoked", 1, 2)}},
		"revoked while it runs":       {world().noPermission().current("IPR", "").running(1), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "Revoked:", check: keepsPin}},
		"revoked, held, still runs":   {world().noPermission().current("HOLD", "brain", reason(revokedReason)).running(1), expect{}},
		"revoked, held, nothing runs": {world().noPermission().current("HOLD", "brain", reason(revokedReason)), expect{what: whatRevoked, check: ended("revoked", 0, 2)}},
		"revoked and git away":        {world().noPermission().current("IPR", "").with(func(s *snapshot) { s.Head, s.HeadErr = nil, errors.New("away") }), expect{what: whatRevoked, check: ended("revoked", 0, 2)}},
		"revoked and allowed again":   {world().current("HOLD", "brain", reason(revokedReason)).running(1).judged(fits, ""), expect{what: whatPinned, status: "IPR", check: pinnedTo("blob1")}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { c.want.verify(t, decide(c.s)) })
	}
}

// verify compares one decision with what is expected of it.
func (w expect) verify(t *testing.T, changes []aoscdb.AlterChange) {
	t.Helper()
	nothing := w.what == "" && w.status == ""
	if nothing || len(changes) != 1 {
		if !nothing || len(changes) != 0 {
			t.Fatalf("decided %+v, want %q -> %q", changes, w.what, w.status)
		}
		return
	}
	c := changes[0]
	if c.Group != "udb" || c.Table != "tabla1" || c.What != w.what {
		t.Errorf("decided %q for %s/%s, want %q", c.What, c.Group, c.Table, w.what)
	}
	switch {
	case (c.After == nil) != (w.status == ""):
		t.Fatalf("row afterwards %+v, want status %q", c.After, w.status)
	case c.After != nil:
		if c.After.Status != w.status || c.After.HoldBy != w.holdBy || !strings.Contains(c.After.Reason, w.reason) || (w.status != "HOLD" && c.After.Reason != "") {
			t.Errorf("row afterwards %s by %q because %q, want %s by %q because %q",
				c.After.Status, c.After.HoldBy, c.After.Reason, w.status, w.holdBy, w.reason)
		}
	}
	if w.check != nil {
		w.check(t, c)
	}
}

func reason(text string) func(*aoscdb.CurrentAlter) {
	return func(c *aoscdb.CurrentAlter) { c.Reason = text }
}

func targets(n int) func(*aoscdb.CurrentAlter) {
	return func(c *aoscdb.CurrentAlter) { c.Targets = n }
}

func released(t *testing.T, c aoscdb.AlterChange) {
	t.Helper()
	if c.PinnedNow || c.After.Reason != "" || c.After.DesiredHash != "blob1" {
		t.Errorf("%+v", *c.After)
	}
}

func ended(outcome string, tries, targets int) func(*testing.T, aoscdb.AlterChange) {
	return func(t *testing.T, c aoscdb.AlterChange) {
		t.Helper()
		if c.End.Outcome != outcome || c.End.Tries != tries || c.End.Targets != targets {
			t.Errorf("ended %+v, want %s after %d tries on %d instances", c.End, outcome, tries, targets)
		}
		if (c.Allowed == nil) != (outcome == "revoked") {
			t.Errorf("permission %+v for an alter that is %s", c.Allowed, outcome)
		}
	}
}

func (s *snapshot) custom(hosts ...string) *snapshot {
	a := s.Allowed[tab]
	a.ServerList = aoscdb.ServersCustom
	s.Allowed[tab] = a
	s.Custom[tab] = map[mysql.Addr]bool{}
	for _, h := range hosts {
		s.Custom[tab][mysql.Addr{Host: h, Port: 3306}] = true
	}
	return s
}

func (s *snapshot) asked() *snapshot { s.Asked = map[key]bool{tab: true}; return s }

func (s *snapshot) running(n int) *snapshot { s.Running[tab] = n; return s }

// Urgent alters are decided on, and so planned and admitted, first.
func TestDecideOrder(t *testing.T) {
	s := world()
	for table, priority := range map[string]int{"b": 5, "c": 50, "a": 5} {
		k := key{"udb", table}
		s.Allowed[k] = aoscdb.AllowedAlter{Group: "udb", Table: table, Priority: priority, ServerList: "default"}
	}
	var order []string
	for _, c := range decide(s) {
		order = append(order, c.Table)
	}
	if got := strings.Join(order, " "); got != "c a b" {
		t.Errorf("decided in the order %s, want c a b", got)
	}
}
