package aoscdb

import (
	"slices"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// queueFixture is a central database with a tier, a permission, an alter in progress and a scheduler that leads.
type queueFixture struct {
	*Store
	lease Lease
}

func newQueue(t *testing.T) *queueFixture {
	t.Helper()
	s := newStore(t)
	ok(t, s.PutTier(t.Context(), NewTier("udb")))
	ok(t, s.Allow(t.Context(), AllowedAlter{Group: "udb", Table: "t", AllowedBy: "istvan", Priority: 10}))
	tell(t, s.DB(), "INSERT INTO current_alters (`group`, table_name, status, desired_hash, commit_sha) VALUES ('udb', 't', 'IPR', 'blob1', 'c1')")
	return &queueFixture{s, lead(t, s, "scheduler1")}
}

func lead(t *testing.T, s *Store, holder string) Lease {
	t.Helper()
	epoch, got, err := s.Acquire(t.Context(), "scheduler", holder, time.Minute)
	ok(t, err)
	if !got {
		t.Fatal("somebody else leads")
	}
	return Lease{Name: "scheduler", Holder: holder, Epoch: epoch}
}

func (q *queueFixture) ready(t *testing.T, host string) RunningAlter {
	t.Helper()
	put, err := q.PutReady(t.Context(), q.lease, RunningAlter{Host: host, Port: 3306, Group: "udb", Table: "t", Cluster: "c1", Datacenter: "east", Bytes: 7}, "blob1")
	ok(t, err)
	if !put {
		t.Fatalf("%s was not given the alter", host)
	}
	return q.running(t, host)
}

func (q *queueFixture) running(t *testing.T, host string) RunningAlter {
	t.Helper()
	tables, err := q.SchedulerTables(t.Context())
	ok(t, err)
	for _, r := range tables.Running {
		if r.Host == host {
			return r
		}
	}
	return RunningAlter{}
}

func rowFor(r RunningAlter) OSCRow {
	return OSCRow{Host: r.Host, Port: r.Port, Group: r.Group, Table: r.Table, DesiredBlob: "blob1", CommitSHA: "c1"}
}

func TestPutReady(t *testing.T) {
	q := newQueue(t)
	r := q.ready(t, "db1")
	if r.OSCStatus != RunReady || r.Cluster != "c1" || r.Datacenter != "east" || r.Bytes != 7 || r.Epoch != q.lease.Epoch || r.StartedAt != nil {
		t.Errorf("the row: %+v", r)
	}
	for name, c := range map[string]struct {
		host, blob string
		before     string
	}{
		"the instance has one already (I3)": {"db1", "blob1", ""},
		"another version of the table":      {"db2", "blob0", ""},
		"on HOLD since it was decided":      {"db2", "blob1", "UPDATE current_alters SET status = 'HOLD'"},
		"finished since it was decided":     {"db2", "blob1", "DELETE FROM current_alters"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(t)
			q.ready(t, "db1")
			if c.before != "" {
				tell(t, q.DB(), c.before)
			}
			put, err := q.PutReady(t.Context(), q.lease, RunningAlter{Host: c.host, Port: 3306, Group: "udb", Table: "t"}, c.blob)
			ok(t, err)
			if put {
				t.Error("it was written")
			}
			if n := ask[int](t, q.DB(), "SELECT COUNT(*) FROM running_alters"); n != 1 {
				t.Errorf("%d rows", n)
			}
		})
	}
}

// I8: whatever a scheduler does that lost its lease, it writes nothing.
func TestSchedulerIsFenced(t *testing.T) {
	q := newQueue(t)
	r := q.ready(t, "db1")
	old := q.lease
	tell(t, q.DB(), "UPDATE leases SET expires_at = NOW(6) - INTERVAL 1 SECOND")
	lead(t, q.Store, "scheduler2")
	for name, act := range map[string]func() error{
		"PutReady": func() error {
			_, err := q.PutReady(t.Context(), old, RunningAlter{Host: "db2", Port: 3306, Group: "udb", Table: "t"}, "blob1")
			return err
		},
		"StillRunning":   func() error { _, err := q.StillRunning(t.Context(), old, r); return err },
		"FollowRunning":  func() error { return q.FollowRunning(t.Context(), old, []RunningAlter{r}) },
		"FinishRunning":  func() error { _, err := q.FinishRunning(t.Context(), old, r); return err },
		"RequeueRunning": func() error { _, err := q.RequeueRunning(t.Context(), old, r); return err },
		"EndRunning":     func() error { _, err := q.EndRunning(t.Context(), old, r, RunEnd{What: "x"}); return err },
		"ForgetRunning":  func() error { return q.ForgetRunning(t.Context(), old, r, "x") },
		"BackOff":        func() error { _, err := q.BackOff(t.Context(), old, r, Retry{NextAt: time.Now()}, "x"); return err },
		"ForgetRetries":  func() error { return q.ForgetRetries(t.Context(), old, nil) },
		"HoldByWorker":   func() error { return q.HoldByWorker(t.Context(), old, r, "x") },
	} {
		if err := act(); err == nil {
			t.Errorf("%s wrote without the lease", name)
		}
	}
	if now := q.running(t, "db1"); now.OSCStatus != RunReady || !now.QueuedAt.Equal(r.QueuedAt) {
		t.Errorf("the row changed: %+v", now)
	}
	if n := ask[int](t, q.DB(), "SELECT COUNT(*) FROM events WHERE what <> 'scheduled'"); n != 0 {
		t.Errorf("%d events", n)
	}
}

// I3: of a worker that begins and a scheduler that withdraws exactly one succeeds, whoever is first.
func TestClaimAgainstWithdrawal(t *testing.T) {
	q := newQueue(t)
	r := q.ready(t, "db1")
	ok(t, q.Claim(t.Context(), rowFor(r), "worker1"))
	if ended, err := q.EndRunning(t.Context(), q.lease, r, RunEnd{What: "withdrawn"}); err != nil || ended {
		t.Errorf("withdrawn under a worker that had begun: %v %v", ended, err)
	}
	begun := q.running(t, "db1")
	if begun.OSCStatus != RunRunning || begun.StartedAt == nil {
		t.Fatalf("after the claim: %+v", begun)
	}

	r = q.ready(t, "db2")
	if ended, err := q.EndRunning(t.Context(), q.lease, r, RunEnd{What: "withdrawn"}); err != nil || !ended {
		t.Fatalf("not withdrawn: %v %v", ended, err)
	}
	if err := q.Claim(t.Context(), rowFor(r), "worker1"); !isErr(err, ErrNotPermitted) {
		t.Errorf("begun after it was withdrawn: %v", err)
	}
	if claimed, err := q.Claimed(t.Context(), rowFor(r)); err != nil || claimed {
		t.Errorf("Claimed: %v %v", claimed, err)
	}

	// A row that was given back and begun again is not the row that was seen.
	ok(t, q.Unclaim(t.Context(), rowFor(begun)))
	ok(t, q.Claim(t.Context(), rowFor(begun), "worker1"))
	for name, act := range map[string]func() (bool, error){
		"requeued": func() (bool, error) { return q.RequeueRunning(t.Context(), q.lease, begun) },
		"finished": func() (bool, error) { return q.FinishRunning(t.Context(), q.lease, begun) },
		"ended":    func() (bool, error) { return q.EndRunning(t.Context(), q.lease, begun, RunEnd{What: "x"}) },
		"found":    func() (bool, error) { return q.StillRunning(t.Context(), q.lease, begun) },
	} {
		if changed, err := act(); err != nil || changed {
			t.Errorf("%s although it was begun again: %v %v", name, changed, err)
		}
	}
}

// I6: a claim needs permission, and an alter in progress at this very version.
func TestClaimNeedsPermission(t *testing.T) {
	for name, before := range map[string]string{
		"revoked":         "DELETE FROM allowed_alters",
		"on HOLD":         "UPDATE current_alters SET status = 'HOLD'",
		"done":            "UPDATE current_alters SET status = 'DONE'",
		"no alter":        "DELETE FROM current_alters",
		"another version": "UPDATE current_alters SET desired_hash = 'blob2'",
		"withdrawn":       "DELETE FROM running_alters",
		"of another":      "UPDATE running_alters SET table_name = 'u'",
		"ended":           "UPDATE running_alters SET osc_status = 'DONE'",
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(t)
			r := q.ready(t, "db1")
			tell(t, q.DB(), before)
			if err := q.Claim(t.Context(), rowFor(r), "worker1"); !isErr(err, ErrNotPermitted) {
				t.Errorf("claim: %v", err)
			}
			if n := ask[int](t, q.DB(), "SELECT COUNT(*) FROM running_alters WHERE osc_status = 'RUNNING'"); n != 0 {
				t.Error("the row is RUNNING")
			}
		})
	}
	q := newQueue(t)
	r := q.ready(t, "db1")
	ok(t, q.Claim(t.Context(), rowFor(r), "worker1"))
	first := q.running(t, "db1")
	ok(t, q.Claim(t.Context(), rowFor(r), "worker1")) // after a crash
	if again := q.running(t, "db1"); !again.StartedAt.After(*first.StartedAt) {
		t.Errorf("started_at is %v after a second claim, %v before", again.StartedAt, first.StartedAt)
	}
}

func TestRunToItsEnd(t *testing.T) {
	q := newQueue(t)
	r := q.ready(t, "db1")
	tell(t, q.DB(), "INSERT INTO alter_targets (`group`, table_name, host, port, cluster) VALUES ('udb', 't', 'db1', 3306, 'c1'), ('udb', 't', 'db2', 3306, 'c1')")
	ok(t, q.Claim(t.Context(), rowFor(r), "worker1"))
	r = q.running(t, "db1")
	tell(t, q.DB(), "UPDATE running_alters SET last_updated = NOW() - INTERVAL 1 HOUR")
	moved := r
	moved.Percentage = 42.5
	ok(t, q.FollowRunning(t.Context(), q.lease, []RunningAlter{moved}))
	now := q.running(t, "db1")
	if now.Percentage != 42.5 || time.Since(now.LastUpdated).Abs() > time.Hour/2 {
		t.Errorf("followed: %+v", now)
	}
	if changed, err := q.FinishRunning(t.Context(), q.lease, r); err != nil || !changed {
		t.Fatal(changed, err)
	}
	r = q.running(t, "db1")
	if r.OSCStatus != RunDone || r.Percentage != 100 {
		t.Errorf("finished: %+v", r)
	}
	a := mysql.Addr{Host: "db1", Port: 3306}
	ended, err := q.EndRunning(t.Context(), q.lease, r, RunEnd{What: "done", Done: true, Recheck: []mysql.Addr{a}})
	if err != nil || !ended {
		t.Fatal(ended, err)
	}
	left, err := q.Targets(t.Context())
	ok(t, err)
	if len(left) != 1 || left[0].Host != "db2" {
		t.Errorf("targets left: %+v", left)
	}
	for daemon, scope := range map[string]string{DaemonChecksum: ScopeInstance(a.String()), DaemonCollector: ""} {
		if woken, err := q.Wakeups(t.Context(), daemon); err != nil || woken[scope].RequestedAt.IsZero() {
			t.Errorf("%s was not woken: %v %v", daemon, woken, err)
		}
	}
	history, err := q.History(t.Context(), "udb", "t", 10)
	ok(t, err)
	var words []string
	for _, e := range history {
		words = append(words, e.What+" "+e.Host)
	}
	if want := []string{"done db1", "started db1", "scheduled db1"}; !slices.Equal(words, want) {
		t.Errorf("history %q, want %q", words, want)
	}
}

func TestHoldByWorker(t *testing.T) {
	q := newQueue(t)
	r := q.ready(t, "db1")
	ok(t, q.HoldByWorker(t.Context(), q.lease, r, "the copy differs"))
	alter, err := q.CurrentAlter(t.Context(), "udb", "t")
	ok(t, err)
	if alter.Status != AlterHold || alter.HoldBy != HoldWorker || alter.Reason != "the copy differs" {
		t.Errorf("%+v", alter)
	}
	// An operator's HOLD and reason are not overwritten.
	tell(t, q.DB(), "UPDATE current_alters SET hold_by = 'operator', reason = 'lunch'")
	ok(t, q.HoldByWorker(t.Context(), q.lease, r, "again"))
	if alter, err = q.CurrentAlter(t.Context(), "udb", "t"); err != nil || alter.Reason != "lunch" {
		t.Errorf("%+v %v", alter, err)
	}
	ok(t, q.ForgetRunning(t.Context(), q.lease, r, "gone"))
	if n := ask[int](t, q.DB(), "SELECT COUNT(*) FROM running_alters"); n != 0 {
		t.Error("not forgotten")
	}
}

// A row that backs off ends, and its count of tries begins or grows, in one step; and only while it is as it was seen.
func TestBackOff(t *testing.T) {
	q := newQueue(t)
	next := Retry{DesiredHash: "blob1", MaxTries: 5, Error: "disk full"}
	try := func(n int) RunningAlter {
		t.Helper()
		r := q.ready(t, "db1")
		ok(t, q.Claim(t.Context(), rowFor(r), "worker1"))
		r = q.running(t, "db1")
		next.Tries, next.NextAt = n, time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		if ended, err := q.BackOff(t.Context(), q.lease, r, next, "try 2 of 5"); err != nil || !ended {
			t.Fatal(ended, err)
		}
		return r
	}
	retries := func() []Retry {
		t.Helper()
		tables, err := q.SchedulerTables(t.Context())
		ok(t, err)
		return tables.Retries
	}
	for n := 1; n <= 2; n++ {
		r := try(n)
		if got := retries(); len(got) != 1 || got[0].Tries != n || got[0].Host != "db1" || got[0].DesiredHash != "blob1" ||
			got[0].MaxTries != 5 ||
			got[0].Error != "disk full" || !got[0].NextAt.Equal(next.NextAt) || got[0].FailedAt.IsZero() {
			t.Errorf("after try %d: %+v", n, got)
		}
		if left := q.running(t, "db1"); left.Host != "" {
			t.Errorf("running_alters still has it: %+v", left)
		}
		// As a scheduler that was stopped for long would do it again.
		next.Tries = 9
		if ended, err := q.BackOff(t.Context(), q.lease, r, next, "again"); err != nil || ended || retries()[0].Tries != n {
			t.Errorf("a row that is gone backed off: %v %v %+v", ended, err, retries())
		}
	}
	if h := must(q.History(t.Context(), "udb", "t", 1))(t); len(h) != 1 || h[0].What != EventBackOff || h[0].Host != "db1" {
		t.Errorf("history: %+v", h)
	}

	for name, end := range map[string]func(){
		"done": func() {
			_, err := q.EndRunning(t.Context(), q.lease, q.ready(t, "db1"), RunEnd{What: "done", Done: true})
			ok(t, err)
		},
		"the instance left": func() { ok(t, q.ForgetRunning(t.Context(), q.lease, q.ready(t, "db1"), "gone")) },
		"HOLD by a worker":  func() { ok(t, q.HoldByWorker(t.Context(), q.lease, RunningAlter{Group: "udb", Table: "t"}, "x")) },
		"resumed": func() {
			tell(t, q.DB(), "UPDATE current_alters SET status = 'HOLD'")
			ok(t, q.OperatorResume(t.Context(), "udb", "t"))
		},
		"said to mean nothing":     func() { ok(t, q.ForgetRetries(t.Context(), q.lease, retries())) },
		"an operator wants it now": func() { must(q.TryAnew(t.Context(), "udb", "t", []mysql.Addr{{Host: "db1", Port: 3306}}))(t) },
	} {
		try(1)
		end()
		if got := retries(); len(got) != 0 {
			t.Errorf("%s: %+v is left", name, got)
		}
		tell(t, q.DB(), "DELETE FROM running_alters")
		tell(t, q.DB(), "UPDATE current_alters SET status = 'IPR'")
	}

	// What ends without being done keeps its count; so does a count that has grown since it was read.
	try(1)
	_, err := q.EndRunning(t.Context(), q.lease, q.ready(t, "db1"), RunEnd{What: "withdrawn"})
	ok(t, err)
	ok(t, q.ForgetRetries(t.Context(), q.lease, []Retry{{Host: "db1", Port: 3306, Group: "udb", Table: "t", DesiredHash: "blob1", Tries: 0}}))
	if got := retries(); len(got) != 1 {
		t.Errorf("withdrawn: %+v", got)
	}
}
