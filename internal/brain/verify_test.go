package brain

import (
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// idle is a DONE alter with so many checks passed, the next one due in an hour.
func idle(tries int) func(*aoscdb.CurrentAlter) {
	return func(c *aoscdb.CurrentAlter) { c.Tries, c.NextCheckAt = tries, in(time.Hour) }
}

// due is a DONE alter whose next check is due.
func due(tries int) func(*aoscdb.CurrentAlter) {
	return func(c *aoscdb.CurrentAlter) { c.Tries, c.NextCheckAt = tries, ago(time.Second) }
}

// checking is a DONE alter with a check under way since five minutes.
func checking(tries int, fresh bool) func(*aoscdb.CurrentAlter) {
	return func(c *aoscdb.CurrentAlter) { c.Tries, c.CheckFrom, c.CheckFresh = tries, ago(5*time.Minute), fresh }
}

func unknowns(n int) func(*aoscdb.CurrentAlter) {
	return func(c *aoscdb.CurrentAlter) { c.Unknowns = n }
}

func looked(at *time.Time) func(*aoscdb.CurrentAlter) {
	return func(c *aoscdb.CurrentAlter) { c.CollectedAt = at }
}

// done is current with status DONE.
func (s *snapshot) done(change ...func(*aoscdb.CurrentAlter)) *snapshot {
	return s.current(aoscdb.AlterDone, "", change...)
}

// fresh gives every instance a fresh checksum that began then.
func (s *snapshot) fresh(at *time.Time) *snapshot {
	for p, pass := range s.Passes {
		pass.FreshStartedAt = at
		s.Passes[p] = pass
	}
	return s
}

func (s *snapshot) passOf(host string, change func(*aoscdb.Pass)) *snapshot {
	p := place{"udb", mysql.Addr{Host: host, Port: 3306}}
	pass := s.Passes[p]
	change(&pass)
	s.Passes[p] = pass
	return s
}

func (s *snapshot) verification(tries, intervalS int) *snapshot {
	t := s.Tiers["udb"]
	t.VerifyTries, t.VerifyIntervalS = tries, intervalS
	s.Tiers["udb"] = t
	return s
}

func nextAt(want *time.Time, tries int) func(*testing.T, aoscdb.AlterChange) {
	return func(t *testing.T, c aoscdb.AlterChange) {
		t.Helper()
		if c.After.NextCheckAt == nil || !c.After.NextCheckAt.Equal(*want) || c.After.Tries != tries || c.After.CheckFresh || c.CheckedNow {
			t.Errorf("next check %v after %d, fresh %v; want %v after %d", c.After.NextCheckAt, c.After.Tries, c.After.CheckFresh, want, tries)
		}
	}
}

func asks(fresh bool) func(*testing.T, aoscdb.AlterChange) {
	return func(t *testing.T, c aoscdb.AlterChange) {
		t.Helper()
		if !c.CheckedNow || c.After.NextCheckAt != nil || c.After.CheckFresh != fresh || c.After.Tries != c.Before.Tries {
			t.Errorf("check_from now %v, %+v", c.CheckedNow, *c.After)
		}
		if len(c.Wake) != 2 || c.Wake[0] != (aoscdb.WakeRequest{Daemon: "checksum", Scope: "tier:udb", Fresh: fresh}) || c.Wake[1].Daemon != "collector" {
			t.Errorf("wakes %+v", c.Wake)
		}
	}
}

func again(t *testing.T, c aoscdb.AlterChange) {
	t.Helper()
	if c.After.Tries != 0 || c.After.NextCheckAt != nil || c.After.CheckFresh || c.PinnedNow {
		t.Errorf("back to work as %+v", *c.After)
	}
	if len(c.Wake) != 1 || c.Wake[0].Daemon != aoscdb.DaemonScheduler {
		t.Errorf("the scheduler is not told: %+v", c.Wake)
	}
}

func TestProgress(t *testing.T) {
	day := 24 * time.Hour
	newcomer := func(s *snapshot) {
		tier := s.Inventory["udb"]
		tier.Clusters = append(tier.Clusters, fleet.Cluster{Tier: "udb", Name: "udb-3", Instances: []fleet.Instance{
			{Tier: "udb", Cluster: "udb-3", Host: "db4", Port: 3306}}})
		s.Inventory["udb"] = tier
	}
	cases := map[string]struct {
		s    *snapshot
		want expect
	}{
		// To DONE.
		"no target left":                                   {world().current("IPR", ""), expect{what: whatDone, status: "DONE", check: nextAt(in(day), 0)}},
		"no target left, no checks wanted":                 {world().verification(0, 86400).current("IPR", ""), expect{what: whatDone, status: "DONE", check: nextAt(&now, 0)}},
		"a target left":                                    {world().current("IPR", "", targets(1)), expect{}},
		"I11: an instance cannot be judged":                {world().current("IPR", "", unknowns(1)), expect{}},
		"never looked at":                                  {world().current("IPR", "", looked(nil), targets(-1), unknowns(-1)), expect{}},
		"looked at before the pin":                         {world().current("IPR", "", looked(ago(61*time.Minute))), expect{}},
		"looked at before a failed check ended":            {world().current("IPR", "", looked(ago(6*time.Minute)), checking(0, false)), expect{}},
		"something still runs":                             {world().current("IPR", "").running(1), expect{}},
		"I11: an instance joined and nobody checked it":    {world().with(newcomer).current("IPR", ""), expect{}},
		"I11: an instance was last checked before the pin": {world().passOf("db3", func(p *aoscdb.Pass) { p.StartedAt = ago(2 * time.Hour) }).current("IPR", ""), expect{}},
		"I11: an instance never finished a checksum":       {world().passOf("db3", func(p *aoscdb.Pass) { p.StartedAt, p.FinishedAt = nil, nil }).current("IPR", ""), expect{}},
		"custom: the others do not matter": {world().custom("db1").passOf("db3", func(p *aoscdb.Pass) { p.StartedAt = nil }).
			current("IPR", "", func(c *aoscdb.CurrentAlter) { c.ServerList = "custom" }), expect{what: whatDone, status: "DONE"}},

		// Between checks.
		"DONE, not due":                  {world().done(idle(1)), expect{}},
		"DONE, an instance goes away":    {world().done(idle(1), unknowns(1)), expect{}},
		"DONE, a dirty look":             {world().done(idle(2), targets(1)), expect{what: whatDirty, status: "IPR", check: again}},
		"DONE, dirty and unknown":        {world().done(idle(2), targets(1), unknowns(1)), expect{what: whatDirty, status: "IPR", check: again}},
		"DONE, interval made shorter":    {world().verification(3, 60).done(idle(1)), expect{status: "DONE", check: nextAt(in(time.Minute), 1)}},
		"DONE by hand":                   {world().done(), expect{what: whatDone, status: "DONE", check: nextAt(in(day), 0)}},
		"DONE, held by a bare UPDATE":    {world().current("HOLD", "", idle(1)), expect{what: whatHold, status: "HOLD", holdBy: "operator"}},
		"DONE, another text":             {world().blob("blob2").done(idle(1)).judged(fits, ""), expect{what: whatPinned, status: "IPR", check: pinnedTo("blob2")}},
		"DONE, another text, not judged": {world().blob("blob2").done(due(1)), expect{}},
		"DONE, file gone":                {world().noFile().done(idle(1)), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "has no file"}},
		"DONE, the permission is wider now": {world().done(idle(1), func(c *aoscdb.CurrentAlter) { c.ServerList = "custom" }).judged(fits, ""),
			expect{what: whatPinned, status: "IPR", check: pinnedTo("blob1")}},
		"DONE, allow_unsafe taken back: nothing runs any more": {world().done(idle(1)).judged(refused, loses), expect{}},

		// A check is due.
		"first check due":             {world().done(due(0)), expect{what: whatCheck, status: "DONE", check: asks(false)}},
		"second check due":            {world().done(due(1)), expect{what: whatCheck, status: "DONE", check: asks(false)}},
		"I4: the last check is fresh": {world().done(due(2)), expect{what: whatCheck, status: "DONE", check: asks(true)}},
		"I4: the only check is fresh": {world().verification(1, 86400).done(due(0)), expect{what: whatCheck, status: "DONE", check: asks(true)}},
		"I4: without checks one is fresh": {world().verification(0, 86400).done(due(0)), expect{what: whatCheck, status: "DONE", check: func(t *testing.T, c aoscdb.AlterChange) {
			asks(true)(t, c)
			if !strings.HasPrefix(c.Detail, "check 1 of 1,") {
				t.Errorf("history: %s", c.Detail)
			}
		}}},
		"fewer checks wanted than passed":       {world().verification(2, 86400).done(due(2)), expect{what: whatCheck, status: "DONE", check: asks(true)}},
		"due, but the last look was dirty":      {world().done(due(1), targets(1)), expect{what: whatDirty, status: "IPR", check: again}},
		"due while an instance does not answer": {world().done(due(1), unknowns(1)), expect{what: whatCheck, status: "DONE", check: asks(false)}},

		// A check is under way.
		"first check passed":  {world().done(checking(0, false)), expect{what: whatClean, status: "DONE", check: nextAt(in(day), 1)}},
		"second check passed": {world().done(checking(1, false)), expect{what: whatClean, status: "DONE", check: nextAt(in(day), 2)}},
		"not looked at since": {world().done(checking(0, false), looked(ago(6*time.Minute))), expect{}},
		"I11: unknown":        {world().done(checking(0, false), unknowns(1)), expect{}},
		"dirty":               {world().done(checking(1, false), targets(2)), expect{what: whatDirty, status: "IPR", check: again}},
		"the last one dirty":  {world().done(checking(2, true), targets(2)), expect{what: whatDirty, status: "IPR", check: again}},
		"no checksum since":   {world().passOf("db2", func(p *aoscdb.Pass) { p.StartedAt = ago(6 * time.Minute) }).done(checking(0, false)), expect{}},
		"an instance joined":  {world().with(newcomer).done(checking(0, false)), expect{}},
		"something runs":      {world().done(checking(0, false)).running(1), expect{}},
		"more checks wanted":  {world().verification(5, 86400).fresh(ago(time.Minute)).done(checking(2, true)), expect{what: whatClean, status: "DONE", check: nextAt(in(day), 3)}},
		"I4: the last of fewer checks was not fresh, one more follows at once": {world().verification(1, 86400).done(checking(0, false)), expect{what: whatClean, status: "DONE", check: nextAt(&now, 1)}},

		// I4: the end.
		"I4: last check passed":     {world().fresh(ago(time.Minute)).done(checking(2, true)), expect{what: whatFinished, check: ended("finished", 3, 3)}},
		"I4: the only check passed": {world().verification(0, 86400).fresh(ago(time.Minute)).done(checking(0, true)), expect{what: whatFinished, check: ended("finished", 1, 3)}},
		"more instances were altered than are left": {world().fresh(ago(time.Minute)).done(checking(2, true), func(c *aoscdb.CurrentAlter) { c.TotalTargets = 9 }),
			expect{what: whatFinished, check: ended("finished", 3, 9)}},
		"I4: no fresh checksum since the check began":   {world().fresh(ago(6 * time.Minute)).done(checking(2, true)), expect{}},
		"I4: one instance had no fresh checksum":        {world().fresh(ago(time.Minute)).passOf("db3", func(p *aoscdb.Pass) { p.FreshStartedAt = nil }).done(checking(2, true)), expect{}},
		"I4: one instance was read after the look":      {world().fresh(ago(time.Minute)).passOf("db3", func(p *aoscdb.Pass) { p.FreshStartedAt = ago(20 * time.Second) }).done(checking(2, true)), expect{}},
		"I4: an instance joined during the last check":  {world().fresh(ago(time.Minute)).with(newcomer).done(checking(2, true)), expect{}},
		"I4 I11: an instance does not answer":           {world().fresh(ago(time.Minute)).done(checking(2, true), unknowns(1)), expect{}},
		"I4: the inventory is empty all of a sudden":    {world().fresh(ago(time.Minute)).done(checking(2, true)).with(func(s *snapshot) { s.Inventory["udb"] = fleet.Tier{Name: "udb"} }), expect{what: whatHold, status: "HOLD", holdBy: "brain", reason: "no instance"}},
		"I4: something runs":                            {world().fresh(ago(time.Minute)).done(checking(2, true)).running(1), expect{}},
		"I4: the text moved during the last check":      {world().blob("blob2").fresh(ago(time.Minute)).done(checking(2, true)), expect{}},
		"I4: the permission grew during the last check": {world().fresh(ago(time.Minute)).done(checking(2, true), func(c *aoscdb.CurrentAlter) { c.ServerList = "custom" }), expect{}},
		"I4: the look was before the last check began":  {world().fresh(ago(time.Minute)).done(checking(2, true), looked(ago(6*time.Minute))), expect{}},
		"I4: a dirty look in the last check":            {world().fresh(ago(time.Minute)).done(checking(2, true), targets(1)), expect{what: whatDirty, status: "IPR", check: again}},
		"the operator holds during the last check":      {world().fresh(ago(time.Minute)).current("HOLD", "operator", checking(2, true)), expect{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { c.want.verify(t, decide(c.s)) })
	}
}

// simulate lives through an alter's days with instances that answer at once, and returns when it finished.
func simulate(t *testing.T, s *snapshot, most time.Duration) (events []string, end time.Time) {
	t.Helper()
	for s.Now.Sub(now) < most {
		for _, c := range decide(s) {
			events = append(events, c.What)
			if c.After == nil {
				return events, s.Now
			}
			next := *c.After
			at := s.Now
			if c.PinnedNow {
				next.PinnedAt = &at
			}
			if c.CheckedNow {
				next.CheckFrom = &at
			}
			s.Current[tab] = next
		}
		// The other daemons: every instance is checked, fresh when wanted, and then looked at.
		s.Now = s.Now.Add(time.Minute)
		at := s.Now
		row := s.Current[tab]
		for _, i := range s.Inventory["udb"].Instances() {
			p := s.Passes[place{"udb", i.Addr()}]
			p.StartedAt, p.FinishedAt = &at, &at
			if row.CheckFresh {
				p.FreshStartedAt = &at
			}
			s.Passes[place{"udb", i.Addr()}] = p
		}
		row.CollectedAt, row.Targets, row.Unknowns = &at, 0, 0
		s.Current[tab] = row
	}
	return events, s.Now
}

// The original's three checks, 24 hours apart: an alter with nothing to do is finished after three days and a few
// minutes, and never earlier than tries x interval.
func TestVerifyTakesItsTime(t *testing.T) {
	for _, c := range []struct {
		tries, intervalS int
		checks           int
	}{{3, 86400, 3}, {1, 3600, 1}, {0, 86400, 1}, {5, 60, 5}, {2, 0, 2}} {
		s := world().verification(c.tries, c.intervalS).current("IPR", "")
		events, end := simulate(t, s, 10*24*time.Hour)
		least := time.Duration(c.tries*c.intervalS) * time.Second
		if took := end.Sub(now); took < least || took > least+time.Duration(10+5*c.checks)*time.Minute {
			t.Errorf("%d x %ds took %s", c.tries, c.intervalS, took)
		}
		count := map[string]int{}
		for _, e := range events {
			count[e]++
		}
		if count[whatDone] != 1 || count[whatCheck] != c.checks || count[whatClean] != c.checks-1 || count[whatFinished] != 1 {
			t.Errorf("%d x %ds: %v", c.tries, c.intervalS, events)
		}
	}
}
