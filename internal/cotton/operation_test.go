package cotton_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

const (
	lossless  = cotton.PolicyLossless
	available = cotton.PolicyAvailable
	single    = cotton.PolicySingle
)

// operating is a cluster as it should be, every member in step and on an agent of its own.
func operating(policy cotton.Policy, nodes int) *scene {
	s := well(policy)
	s.r.Spec = cotton.Spec{Name: "c", User: "app", Nodes: nodes, Policy: policy, Size: cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 1024}}
	s.r.Members, s.seen = s.r.Members[:min(nodes, 3)], s.seen[:min(nodes, 3)]
	for id := 4; id <= nodes; id++ {
		s.add(id)
	}
	for i := range s.r.Members {
		m := &s.r.Members[i]
		m.HasData, m.TaskID, m.TaskState, m.Hostname = true, fmt.Sprintf("c-%d-1", m.ID), "TASK_RUNNING", fmt.Sprintf("agent%d", m.ID)
		m.Zone, m.Rack = "z", m.Hostname
		if r := s.at(m.ID).Replica; r != nil {
			r.SecondsBehind = new(int64)
		}
	}
	s.r.NextID = nodes + 1
	s.r.Acks = s.r.AcksWanted()
	s.acks()
	return s
}

// acks sets the primary's side as the policy says.
func (s *scene) acks() {
	s.at(1).SourceSemiSync = s.r.SemiSync()
	s.at(1).SemiSync.Clients = len(s.r.Members) - 1
}

// add is one more member, in step.
func (s *scene) add(id int) {
	m, seen := s.r.Members[1], s.seen[1]
	m.ID, m.Hostname, m.Rack, m.Port = id, fmt.Sprintf("agent%d", id), fmt.Sprintf("agent%d", id), id
	seen.Member, seen.Replica = id, new(*seen.Replica)
	s.r.Members, s.seen = append(s.r.Members, m), append(s.seen, seen)
	s.acks()
}

// drop takes the last member away.
func (s *scene) drop() {
	s.r.Members, s.seen = s.r.Members[:len(s.r.Members)-1], s.seen[:len(s.seen)-1]
}

func (s *scene) doing(op cotton.Operation) *scene {
	op.ID, op.Began = 1, limits.Now.Add(-time.Minute)
	s.r.Operation, s.r.LastOp = &op, 1
	return s
}

// m is a member of the record.
func (s *scene) m(id int) *cotton.Member { return &s.r.Members[id-1] }

// lostSight is a member whose agent cannot be reached.
func (s *scene) lostSight(id int, since time.Duration) {
	s.silent(id, since)
	s.m(id).TaskState, s.m(id).DownSince = "TASK_UNREACHABLE", limits.Now.Add(-since)
}

// ended is a member whose task is over.
func (s *scene) ended(id int, state string, since time.Duration) {
	s.lostSight(id, since)
	s.at(id).TaskLives, s.at(id).Over = false, true
	s.m(id).Phase, s.m(id).TaskState = cotton.PhaseLost, state
}

func TestOperate(t *testing.T) {
	replace := func(member int) cotton.Operation { return cotton.Operation{Kind: cotton.OpReplace, Member: member} }
	with := func(op cotton.Operation, edit func(*cotton.Operation)) cotton.Operation { edit(&op); return op }
	replacing := func(member int) *scene { // the new one is in step
		s := operating(lossless, 3).doing(with(replace(member), func(op *cotton.Operation) { op.New = 4 }))
		s.add(4)
		return s
	}
	scale := func(from, to int) *scene {
		s := operating(lossless, from).doing(cotton.Operation{Kind: cotton.OpScale, Nodes: to, Policy: lossless})
		return s
	}
	restart := func(nodes int, policy cotton.Policy, due ...int) *scene {
		s := operating(policy, nodes)
		var all []int
		for _, m := range s.r.Members {
			all = append(all, m.ID)
		}
		for _, id := range due {
			s.m(id).Restart = true
		}
		return s.doing(cotton.Operation{Kind: cotton.OpRestart, Members: all})
	}
	for _, tc := range []struct {
		name  string
		scene *scene
		want  string // the transition, or the steps
		waits string
	}{
		// Replace.
		{"replace adds first", operating(lossless, 3).doing(replace(2)), "add member", ""},
		{"and waits for an offer", replacing(2).edited(func(s *scene) { s.m(4).Phase, s.m(4).Joining = cotton.PhasePending, true }), "", "waits for an offer"},
		{"and for the clone", replacing(2).edited(func(s *scene) { s.at(4).Busy, s.m(4).Joining = "clone", true }), "", "clone is under way"},
		{"and for it to be in step", replacing(2).edited(func(s *scene) { *s.at(4).Replica.SecondsBehind = 60; s.m(4).Joining = true }), "", "60 s behind"},
		{"however little it lacks by its own word", replacing(2).edited(func(s *scene) {
			s.m(4).Joining = true
			for _, id := range []int{1, 2, 3} {
				s.at(id).Server.GTIDExecuted = uuidA + ":1-9000"
			}
		}), "", "8991 transactions behind"},
		{"when it follows, what it is to catch up with is stored", replacing(2).edited(func(s *scene) { s.m(4).Joining = true }), "follows 4 " + uuidA + ":1-9", ""},
		{"and waited for, whatever it says of its lag", replacing(2).edited(func(s *scene) {
			s.m(4).Joining, s.r.Operation.Target = true, uuidA+":1-10"
		}), "", "1 transactions are missing"},
		{"in step it has joined", replacing(2).edited(func(s *scene) { s.m(4).Joining, s.r.Operation.Target = true, uuidA+":1-9" }), "joined 4", ""},
		{"then the old one leaves", replacing(2), "leave 2", ""},
		{"but not while another one is amiss", replacing(2).edited(func(s *scene) { s.silent(3, time.Minute) }), "", "c-3 does not answer"},
		{"nothing may rest on it", replacing(2).edited(func(s *scene) { s.m(2).Leaving = true }), "relieve 2", "c-2 is leaving"},
		{"relieved, it is removed", replacing(2).edited(func(s *scene) { s.m(2).Leaving, s.m(2).Relieved = true, true }), "remove member 2", ""},
		{"but not while the primary is closed: it may be the last copy", replacing(2).edited(func(s *scene) {
			s.m(2).Leaving, s.m(2).Relieved = true, true
			s.closed()
		}), "open 1", "c-2 is leaving"},
		{"it is waited for until it is gone", replacing(2).edited(func(s *scene) { s.m(2).Phase = cotton.PhaseRemoving }), "settle", "c-2"},
		{"the primary is handed over", replacing(1).edited(func(s *scene) { *s.at(3).Replica.SecondsBehind = 3; *s.at(4).Replica.SecondsBehind = 2 }), "begin switchover 2", ""},
		{"before there is a new one, if somebody can", operating(lossless, 3).doing(replace(1)), "begin switchover 2", ""},
		{"else the new one is added for it", operating(single, 1).doing(replace(1)), "add member", ""},
		{"and takes over", operating(single, 1).doing(with(replace(1), func(op *cotton.Operation) { op.New = 2 })).edited(func(s *scene) {
			two := well(single)
			s.r.Members, s.seen = append(s.r.Members, two.r.Members[1]), append(s.seen, two.seen[1])
			s.at(2).Replica.SecondsBehind = new(int64)
		}), "begin switchover 2", ""},
		{"not again at once when it was taken back", replacing(1).edited(func(s *scene) {
			s.r.History = []cotton.Change{{Kind: cotton.Switchover, Taken: true, Began: limits.Now.Add(-20 * time.Second), Ended: limits.Now.Add(-9 * time.Second),
				Log: []cotton.Step{{Note: "a lock is held"}}}}
		}), "", "taken back (a lock is held); it is tried again in 21s"},
		{"a dead primary is a matter of failover", replacing(1).edited(func(s *scene) { s.silent(1, 0); s.silent(3, time.Minute) }), "", "c-1 does not answer"},
		{"while the primary changes all waits", replacing(2).edited(func(s *scene) {
			s.r.Change = &cotton.Change{Kind: cotton.Switchover, Step: cotton.StepPromote, From: 3, To: 1}
		}), "finish", "switchover is under way"},
		{"in place it leaves first", operating(lossless, 3).doing(with(replace(2), func(op *cotton.Operation) { op.InPlace = true })), "leave 2", ""},
		{"and is followed by a new one", operating(lossless, 3).doing(with(replace(3), func(op *cotton.Operation) { op.InPlace = true })).edited((*scene).drop), "add member", ""},

		// What may hold writes.
		{"writes that only it has keep it", replacing(2).edited(func(s *scene) {
			s.r.Spec.Policy, s.r.Lineage = available, []string{uuidA, uuidB}
			s.acks()
			s.at(2).Server.GTIDExecuted = uuidA + ":1-9," + uuidB + ":1"
		}), "", "has writes that no other member has"},
		{"until they are given up", replacing(2).edited(func(s *scene) {
			s.r.Spec.Policy, s.r.Lineage, s.r.Operation.Discard = available, []string{uuidA, uuidB}, true
			s.acks()
			s.at(2).Server.GTIDExecuted = uuidA + ":1-9," + uuidB + ":1"
		}), "leave 2", ""},
		{"a former primary that nobody hears may have some", replacing(2).edited(func(s *scene) {
			s.r.Spec.Policy, s.m(2).Relieved = available, true
			s.acks()
			s.ended(2, "TASK_LOST", time.Hour)
		}), "", "has not been heard since"},

		// Dead, gone, out of sight.
		{"one that is down is relieved without being asked", replacing(2).edited(func(s *scene) {
			s.ended(2, "TASK_LOST", time.Hour)
			s.m(2).Leaving = true
		}), "relieve 2", "c-2 is leaving"},
		{"one whose server crashes again and again is stopped first", replacing(2).edited(func(s *scene) {
			s.silent(2, time.Minute)
			s.at(2).TaskLives, s.m(2).Leaving = false, true
		}), "stop task 2", ""},
		{"I11: one that cannot be reached may acknowledge: it stays", replacing(2).edited(func(s *scene) {
			s.lostSight(2, time.Hour)
			s.m(2).Leaving = true
		}), "end operation", ""},
		{"unless it is given up", replacing(2).edited(func(s *scene) {
			s.lostSight(2, time.Hour)
			s.m(2).Leaving, s.m(2).Discard = true, true
		}), "remove member 2 aaaaaaaa-0000-0000-0000-000000000001:1-9", ""},
		{"given up, it stays while the primary is down: the two may have what no other has", replacing(2).edited(func(s *scene) {
			s.lostSight(2, time.Hour)
			s.silent(1, 0)
			s.m(2).Leaving, s.m(2).Discard = true, true
		}), "", "c-2 is leaving"},
		{"one whose machine is gone leaves before there is another", operating(lossless, 3).doing(replace(2)).edited(func(s *scene) {
			s.ended(2, "TASK_GONE_BY_OPERATOR", 0)
		}), "leave 2", ""},

		// By itself.
		{"nothing is amiss", operating(lossless, 3), "", ""},
		{"out of sight, but not for long", operating(lossless, 3).edited(func(s *scene) { s.lostSight(2, 9*time.Minute) }), "", ""},
		{"R12: for long", operating(lossless, 3).edited(func(s *scene) { s.lostSight(2, 10*time.Minute) }), "begin operation", ""},
		{"ended for long", operating(lossless, 3).edited(func(s *scene) { s.ended(3, "TASK_FAILED", 11*time.Minute) }), "begin operation", ""},
		{"one that never ran has nothing to be replaced", operating(lossless, 3).edited(func(s *scene) {
			s.ended(3, "TASK_FAILED", time.Hour)
			s.m(3).HasData = false
		}), "", ""},
		{"its machine is gone", operating(lossless, 3).edited(func(s *scene) { s.ended(2, "TASK_GONE_BY_OPERATOR", 0) }), "begin operation", ""},
		{"but not while another is amiss", operating(lossless, 3).edited(func(s *scene) {
			s.ended(2, "TASK_GONE_BY_OPERATOR", 0)
			s.at(3).Replica.SQLRunning = "No"
		}), "start 3", ""},
		{"nor soon after an operator took it back", operating(lossless, 3).edited(func(s *scene) {
			s.lostSight(2, time.Hour)
			s.r.Operations = []cotton.Operation{{Kind: cotton.OpReplace, Member: 2, Result: cotton.ResultCanceled, Ended: limits.Now.Add(-time.Minute)}}
		}), "", ""},
		{"back before the new one has joined: taken back", replacing(2).edited(func(s *scene) { s.r.Operation.Auto, s.m(4).Joining = true, true }), "cancel", ""},
		{"back afterwards: it goes all the same", replacing(2).edited(func(s *scene) { s.r.Operation.Auto = true }), "leave 2", ""},
		{"the agent is being drained", operating(lossless, 3).edited(func(s *scene) { s.m(3).Hostname = "draining" }), "begin operation", ""},
		{"of the primary, too", operating(lossless, 3).edited(func(s *scene) { s.m(1).Hostname = "draining" }), "begin operation", ""},
		{"who is handed over to somebody who may stay", operating(lossless, 3).doing(replace(1)).edited(func(s *scene) {
			s.m(1).Hostname, s.m(2).Hostname = "draining", "draining"
		}), "begin switchover 3", ""},
		{"Mesos ends the primary: another takes over first", operating(lossless, 3).edited(func(s *scene) { s.m(1).TaskState = "TASK_KILLING" }),
			"begin switchover 2", ""},
		{"not to one that is ended as well", operating(lossless, 3).edited(func(s *scene) {
			s.m(1).TaskState, s.m(2).TaskState = "TASK_KILLING", "TASK_KILLING"
		}), "begin switchover 3", ""},
		{"whatever else is done", scale(3, 5).edited(func(s *scene) { s.m(1).TaskState = "TASK_KILLING" }), "begin switchover 2", ""},
		{"but not when it is cotton that ends it", operating(lossless, 3).edited(func(s *scene) {
			s.m(1).TaskState, s.m(1).Stopping = "TASK_KILLING", true
		}), "", ""},
		{"nor again and again", operating(lossless, 3).edited(func(s *scene) {
			s.m(1).TaskState = "TASK_KILLING"
			s.r.History = []cotton.Change{{Kind: cotton.Switchover, Taken: true, Ended: limits.Now.Add(-time.Second),
				Log: []cotton.Step{{Note: "too slow"}}}}
		}), "", ""},
		{"a replica that Mesos ends is waited for", operating(lossless, 3).edited(func(s *scene) { s.m(2).TaskState = "TASK_KILLING" }), "", ""},
		{"a primary that is to leave, since it alone had all", operating(lossless, 3).edited(func(s *scene) { s.m(1).Leaving = true }), "begin operation", ""},
		{"hands over", operating(lossless, 3).doing(with(replace(1), func(op *cotton.Operation) { op.Auto, op.NoNew = true, true })).edited(func(s *scene) {
			s.m(1).Leaving = true
		}), "begin switchover 2", ""},
		{"and leaves, without another one for it", operating(lossless, 3).doing(with(replace(3), func(op *cotton.Operation) { op.Auto, op.NoNew = true, true })).edited(func(s *scene) {
			s.m(3).Leaving, s.m(3).Phase = true, cotton.PhaseRemoving
		}), "settle", "c-3"},
		{"hands over whatever else is done", scale(5, 3).edited(func(s *scene) { s.m(1).Leaving = true }), "begin switchover 2", ""},
		{"hands over when what added it is taken back", replacing(2).edited(func(s *scene) { s.r.Operation.Canceled, s.m(1).Leaving = true, true }), "begin switchover 2", ""},
		{"older settings after a cancel are told", operating(lossless, 3).edited(func(s *scene) { s.m(2).Restart = true }), "", ""},

		// Cancel.
		{"what was added leaves again", replacing(2).edited(func(s *scene) { s.r.Operation.Canceled, s.m(4).Leaving = true, true }), "relieve 4", "leaves again"},
		{"and is waited for until it is gone", replacing(2).edited(func(s *scene) {
			s.r.Operation.Canceled, s.m(4).Phase = true, cotton.PhaseRemoving
		}), "settle", "c-4"},
		{"then it is over", operating(lossless, 3).doing(with(replace(2), func(op *cotton.Operation) { op.New, op.Canceled = 4, true })),
			"end operation", ""},

		// Scale.
		{"up", scale(3, 5), "add member", ""},
		{"not while one is amiss", scale(3, 5).edited(func(s *scene) { s.silent(3, time.Minute) }), "", "c-3 does not answer"},
		{"down: the youngest of equals", scale(5, 3), "leave 5", ""},
		{"down: who is down", scale(5, 3).edited(func(s *scene) { s.ended(3, "TASK_LOST", time.Minute) }), "leave 3", ""},
		{"down: who shares a rack", scale(5, 3).edited(func(s *scene) { s.m(2).Rack = s.m(4).Rack }), "leave 4", ""},
		{"down: who is on an agent that is drained", scale(5, 3).edited(func(s *scene) { s.m(3).Hostname = "draining" }), "leave 3", ""},
		{"down: one after the other", scale(5, 3).edited(func(s *scene) { s.m(5).Leaving = true }), "relieve 5", "c-5 is leaving"},
		{"as many as asked for", scale(3, 3), "end operation", ""},

		// Rolling restart.
		{"replicas first", restart(3, lossless, 1, 2, 3), "stop task 2", ""},
		{"one at a time", restart(3, lossless, 1, 2, 3).edited(func(s *scene) { s.m(2).Stopping = true }), "", "c-2 is being stopped"},
		{"the next only once it is back in step", restart(3, lossless, 1, 3).edited(func(s *scene) { *s.at(2).Replica.SecondsBehind = 9 }), "", "c-2 is 9 s behind"},
		{"and acknowledges", restart(3, lossless, 1, 3).edited(func(s *scene) { s.at(2).Acknowledging = false }), "reattach 2", "c-2 does not acknowledge"},
		{"who is not well first", restart(3, lossless, 1, 2, 3).edited(func(s *scene) { *s.at(3).Replica.SecondsBehind = 9 }), "stop task 3", ""},
		{"never two: one is down already", restart(3, lossless, 1, 2).edited(func(s *scene) { s.ended(3, "TASK_FAILED", time.Minute) }), "", "c-3 is lost"},
		{"the primary last, handed over", restart(3, lossless, 1), "begin switchover 2", ""},
		{"then it is a replica like others", restart(3, lossless, 2), "stop task 2", ""},
		{"with one node there is nobody to hand over to", restart(1, single, 1), "stop task 1", ""},
		{"all are back", restart(3, lossless), "end operation", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lim := limits
			lim.ReplaceAfter, lim.Draining = 10*time.Minute, map[string]bool{"draining": true}
			got := cotton.Decide(tc.scene.r, tc.scene.seen, lim)
			text := decided(got)
			if got.Transition != nil && got.Transition.Kind != cotton.Finish { // what is to be done is decided anew then
				text = decided(cotton.Decision{Transition: got.Transition})
			}
			if text != tc.want || (tc.waits == "") != (got.Waits == "") || !strings.Contains(got.Waits, tc.waits) {
				t.Errorf("got %q, waits %q; want %q, waits %q; problems %q", text, got.Waits, tc.want, tc.waits, got.Problems)
			}
		})
	}
}

// TestSettle: an operation is over once the cluster is in step and what was removed is gone, so that the next one is accepted; what takes
// longer, or nobody knows how long, is told and holds none.
func TestSettle(t *testing.T) {
	scaled := func(edit func(*scene)) *scene {
		s := operating(lossless, 4).doing(cotton.Operation{Kind: cotton.OpScale, Nodes: 3, Policy: lossless})
		s.m(4).Phase, s.at(4).TaskLives = cotton.PhaseRemoving, false
		edit(s)
		return s
	}
	switched := func(edit func(*scene)) *scene {
		s := operating(lossless, 3).doing(cotton.Operation{Kind: cotton.OpSwitchover, Member: 1})
		s.r.History = []cotton.Change{{Kind: cotton.Switchover, From: 2, To: 1, Began: s.r.Operation.Began,
			Log: []cotton.Step{{Note: "a lock is held"}}}}
		edit(s)
		return s
	}
	restarted := func(edit func(*scene)) *scene {
		s := operating(lossless, 3).doing(cotton.Operation{Kind: cotton.OpRestart, Members: []int{1, 2, 3}})
		edit(s)
		return s
	}
	since := func(s *scene, ago time.Duration) { s.r.Operation.Settling = limits.Now.Add(-ago) }
	for _, tc := range []struct {
		name   string
		scene  *scene
		want   string
		result cotton.OperationResult
		text   string // what it waits for, or what is missing at its end
	}{
		{"a task runs still", scaled(func(*scene) {}), "settle", "", "the task of c-4 on the agent agent4 has not ended yet"},
		{"its volume is there still", scaled(func(s *scene) { s.at(4).Over = true }), "settle", "",
			"volume and reservation of c-4 on the agent agent4 are being given back"},
		{"and a while later", scaled(func(s *scene) { s.at(4).Over = true; since(s, time.Minute) }), "", "", "volume and reservation of c-4"},
		{"for too long", scaled(func(s *scene) { s.at(4).Over = true; since(s, 2*time.Minute) }), "end operation", cotton.ResultDone,
			"volume and reservation of c-4"},
		{"its agent is not reached", scaled(func(s *scene) { s.m(4).TaskState = "TASK_UNREACHABLE" }), "end operation", cotton.ResultDone,
			"c-4 waits for its agent agent4, which Mesos does not reach"},
		{"it is gone", scaled(func(s *scene) { s.r.Members = s.r.Members[:3] }), "end operation", cotton.ResultDone, ""},
		{"it is gone, another one does not follow", scaled(func(s *scene) { s.r.Members = s.r.Members[:3]; s.at(2).Acknowledging = false }),
			"settle", "",
			"c-2 does not acknowledge"},
		{"it is gone, the agent of another one is not reached", scaled(func(s *scene) { s.r.Members = s.r.Members[:3]; s.lostSight(2, 0) }),
			"end operation",
			cotton.ResultDone, "c-2 does not answer"},
		{"it is gone, two are amiss, of which one may be back soon", scaled(func(s *scene) {
			s.r.Members = s.r.Members[:3]
			s.lostSight(2, 0)
			s.at(3).Acknowledging = false
		}), "settle", "", "c-2 does not answer: i/o timeout; c-3 does not acknowledge"},

		{"the former primary does not follow yet", switched(func(s *scene) { s.at(2).Replica = nil }), "settle", "",
			"c-2 does not replicate from the primary"},
		{"it follows", switched(func(*scene) {}), "end operation", cotton.ResultDone, ""},
		{"it is cloned, which takes long", switched(func(s *scene) { s.at(2).Busy = "clone"; since(s, time.Hour) }), "end operation",
			cotton.ResultDone,
			"clone is under way"},
		{"it was taken back", switched(func(s *scene) { s.r.History[0].Taken = true }), "end operation", cotton.ResultCanceled, ""},
		{"of one before it, that is nothing", switched(func(s *scene) {
			s.r.History = append([]cotton.Change{{Kind: cotton.Switchover, Taken: true, Began: s.r.Operation.Began.Add(-time.Minute)}},
				s.r.History...)
		}), "end operation", cotton.ResultDone, ""},
		{"a failover took its place", switched(func(s *scene) {
			s.r.History[0].Taken = true
			s.r.History = append(s.r.History, cotton.Change{Kind: cotton.Failover, From: 2, To: 1, Began: s.r.Operation.Began.Add(time.Second)})
		}), "end operation", cotton.ResultDone, ""},
		{"while the primary changes, it waits for nothing else", switched(func(s *scene) {
			s.r.History = nil
			s.r.Change = &cotton.Change{Kind: cotton.Switchover, Step: cotton.StepPromote, From: 2, To: 1}
		}), "finish", "", ""},

		{"restarted, one recovers", restarted(func(s *scene) { s.ended(3, "TASK_RUNNING", 0); since(s, 14*time.Minute) }), "", "", "c-3 is"},
		{"restarted, one does not come back", restarted(func(s *scene) { s.ended(3, "TASK_RUNNING", 0); since(s, 15*time.Minute) }),
			"end operation",
			cotton.ResultDone, "c-3 is"},
	} {
		got := cotton.Decide(tc.scene.r, tc.scene.seen, limits)
		kind, text := "", got.Waits
		var result cotton.OperationResult
		if got.Transition != nil {
			if kind, result = string(got.Transition.Kind), got.Transition.Result; kind == "end operation" {
				text = got.Transition.Missing
			}
		}
		if kind != tc.want || result != tc.result || (text == "") != (tc.text == "") || !strings.Contains(text, tc.text) {
			t.Errorf("%s: %s as %q, %q; want %s as %q, %q", tc.name, kind, result, text, tc.want, tc.result, tc.text)
		}
	}
}

func TestPlanOperation(t *testing.T) {
	full := cotton.Room{Why: "agent1: the host has a member of the cluster already"}
	free := cotton.Room{Places: 2}
	old, newer := mysql.Version{Major: 8, Minor: 0, Patch: 36, Text: "8.0.36"}, mysql.Version{Major: 8, Minor: 4, Patch: 3, Text: "8.4.3"}
	running := func(v mysql.Version) func(*scene) {
		return func(s *scene) {
			for i := range s.seen {
				s.seen[i].Server.Version = v
			}
		}
	}
	for _, tc := range []struct {
		name  string
		scene *scene
		room  cotton.Room
		req   cotton.Request
		want  string // steps, or why not
	}{
		{"replace", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpReplace, Member: 2}, "add c-4 on another agent, and wait until it is in step | remove c-2"},
		{"replace the primary", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpReplace, Member: 1}, "add c-4 on another agent, and wait until it is in step | hand the primary over from c-1 to a member in step | remove c-1"},
		{"replace: no room", operating(lossless, 3), full, cotton.Request{Kind: cotton.OpReplace, Member: 2}, "refused: no agent has room for one more member (agent1: the host has a member of the cluster already)"},
		{"replace in place", operating(lossless, 3), full, cotton.Request{Kind: cotton.OpReplace, Member: 2, InPlace: true}, "remove c-2 once nothing rests on its data; its volume is destroyed, its reservation given back | add c-4"},
		{"replace: not the last copy", operating(single, 1), free, cotton.Request{Kind: cotton.OpReplace, Member: 1, InPlace: true}, "refused: c-1 is the last copy"},
		{"replace: a single one with another agent", operating(single, 1), free, cotton.Request{Kind: cotton.OpReplace, Member: 1}, "add c-2 on another agent, and wait until it is in step | hand the primary over from c-1"},
		{"replace: nobody", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpReplace, Member: 9}, "invalid: member: c has no member 9"},
		{"replace: another one is amiss", operating(lossless, 3).edited(func(s *scene) { s.silent(3, 0) }), free, cotton.Request{Kind: cotton.OpReplace, Member: 2}, "refused: only one may be amiss at a time, and c-3 does not answer"},
		{"replace: the one that is amiss", operating(lossless, 3).edited(func(s *scene) { s.ended(2, "TASK_LOST", 0) }), free, cotton.Request{Kind: cotton.OpReplace, Member: 2}, "add c-4"},
		{"replace: given up", operating(lossless, 3).edited(func(s *scene) { s.lostSight(2, 0) }), full, cotton.Request{Kind: cotton.OpReplace, Member: 2, Discard: true}, "remove c-2 once nothing rests on its data; its volume is destroyed, its reservation given back | add c-4"},
		{"replace: the primary is not given up unheard", operating(lossless, 3).edited(func(s *scene) { s.lostSight(1, 0) }), full, cotton.Request{Kind: cotton.OpReplace, Member: 1, Discard: true}, "refused: c-1 is the primary"},
		{"replace: one that stayed behind", operating(lossless, 3).edited(func(s *scene) { s.lostSight(2, 0); s.m(2).Leaving = true }), full, cotton.Request{Kind: cotton.OpReplace, Member: 2, Discard: true}, "forget c-2"},
		{"replace: twice", operating(lossless, 3).edited(func(s *scene) { s.m(2).Leaving = true }), free, cotton.Request{Kind: cotton.OpReplace, Member: 2}, "refused: c-2 is leaving already"},
		{"one at a time", operating(lossless, 3).doing(cotton.Operation{Kind: cotton.OpScale, Nodes: 5}), free, cotton.Request{Kind: cotton.OpRestart}, "refused: scale to 5 nodes is under way"},
		{"not a cluster that is being made", operating(lossless, 3).edited(func(s *scene) { s.r.State = cotton.StateCreating }), free, cotton.Request{Kind: cotton.OpRestart}, "refused: the cluster is creating"},

		{"scale up", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpScale, Nodes: 5}, "add c-4 and wait until it is in step | add c-5 and wait until it is in step"},
		{"scale up: no room", operating(lossless, 3), full, cotton.Request{Kind: cotton.OpScale, Nodes: 4}, "refused: the agents have room for 0 of 1 more members"},
		{"scale up: not enough room", operating(lossless, 3), cotton.Room{Places: 1, Why: "x"}, cotton.Request{Kind: cotton.OpScale, Nodes: 5}, "refused: the agents have room for 1 of 2 more members (x)"},
		{"scale down", operating(lossless, 5), full, cotton.Request{Kind: cotton.OpScale, Nodes: 3}, "remove c-5 once nothing rests on its data; its volume is destroyed, its reservation given back | remove c-4"},
		{"scale: lossless needs three", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpScale, Nodes: 2}, "refused: a lossless cluster needs 3 nodes; with fewer, losing one either stops commits or risks them: if that is what you want, --policy available"},
		{"scale: unless it is to promise less", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpScale, Nodes: 2, Policy: available}, "remove c-3 once nothing rests on its data; its volume is destroyed, its reservation given back | promise: a commit waits up to 1s"},
		{"scale: lossless to one", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpScale, Nodes: 1}, "refused: a lossless cluster needs 3 nodes"},
		{"scale: one to three is lossless", operating(single, 1), free, cotton.Request{Kind: cotton.OpScale, Nodes: 3}, "add c-2 and wait until it is in step | add c-3 and wait until it is in step | promise: a commit is acknowledged only once"},
		{"scale: the policy alone", operating(available, 3), full, cotton.Request{Kind: cotton.OpScale, Nodes: 3, Policy: lossless}, "promise: a commit is acknowledged only once"},
		{"scale: no policy", operating(available, 3), full, cotton.Request{Kind: cotton.OpScale, Nodes: 3, Policy: "best"}, "invalid: policy"},
		{"scale: nothing to do", operating(lossless, 3), free, cotton.Request{Kind: cotton.OpScale, Nodes: 3}, "refused: it has 3 nodes and is lossless already"},
		{"scale: to nothing", operating(available, 3), free, cotton.Request{Kind: cotton.OpScale}, "invalid: num_nodes"},
		{"scale: not while one is amiss", operating(lossless, 3).edited(func(s *scene) { s.silent(3, 0) }), free, cotton.Request{Kind: cotton.OpScale, Nodes: 4}, "refused: not while c-3 does not answer"},

		{"restart", operating(lossless, 3), full, cotton.Request{Kind: cotton.OpRestart}, "restart c-2 and wait until it is in step | restart c-3 and wait until it is in step | hand the primary over from c-1 to a member in step, then restart it"},
		{"restart one", operating(lossless, 3), full, cotton.Request{Kind: cotton.OpRestart, Member: 3}, "restart c-3 and wait until it is in step"},
		{"restart the only one", operating(single, 1), full, cotton.Request{Kind: cotton.OpRestart}, "restart c-1"},
		{"configure", operating(lossless, 3).edited(func(s *scene) { s.r.Spec.Config = map[string]string{"b": "2", "c": "3"} }), full,
			cotton.Request{Kind: cotton.OpConfigure, Set: map[string]string{"a": "1", "b": "2"}, Unset: []string{"c"}}, "store the settings a=1, c as it is without | restart c-2"},
		{"configure: nothing to do", operating(lossless, 3), full, cotton.Request{Kind: cotton.OpConfigure, Unset: []string{"c"}}, "refused: it has these settings already"},
		{"configure what is amiss", operating(lossless, 3).edited(func(s *scene) { s.ended(3, "TASK_FAILED", 0) }), full,
			cotton.Request{Kind: cotton.OpConfigure, Set: map[string]string{"a": "1"}}, "store the settings a=1 | restart c-2"},
		{"upgrade", operating(lossless, 3).edited(running(old)), full, cotton.Request{Kind: cotton.OpUpgrade, Package: "p", Version: &newer}, "store the package | restart c-2"},
		{"never back", operating(lossless, 3).edited(running(newer)), full, cotton.Request{Kind: cotton.OpUpgrade, Package: "p", Version: &old}, "refused: c-1 runs MySQL 8.4.3, and does not start as 8.0.36"},
		{"upgrade: nothing to do", operating(lossless, 3), full, cotton.Request{Kind: cotton.OpUpgrade}, "refused: it has this package already"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := fmt.Sprintf("%+v", tc.scene.r)
			plan, transition, err := cotton.PlanOperation(tc.scene.r, tc.scene.seen, tc.room, tc.req, limits.Now)
			got := strings.Join(plan.Steps, " | ")
			var refused *cotton.RefusedError
			var invalid *cotton.InvalidError
			switch {
			case errors.As(err, &refused):
				got = "refused: " + refused.Why
			case errors.As(err, &invalid):
				got = "invalid: " + err.Error()
			case err != nil:
				t.Fatal(err)
			default:
				r := tc.scene.r.Clone()
				if err := r.Apply(transition, limits.Now); err != nil || r.Operation == nil || r.Operation.ID != 1 {
					t.Errorf("apply: %v, %+v", err, r.Operation)
				}
			}
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if after := fmt.Sprintf("%+v", tc.scene.r); after != before {
				t.Errorf("planning changed the record:\n%s\n%s", before, after)
			}
		})
	}
}

// TestOperationRecord: what the steps of operations store.
func TestOperationRecord(t *testing.T) {
	apply := func(r *cotton.Record, t cotton.Transition) error { return r.Apply(t, limits.Now) }
	begin := func(t *testing.T, s *scene, req cotton.Request) cotton.Record {
		t.Helper()
		_, transition, err := cotton.PlanOperation(s.r, s.seen, cotton.Room{Places: 2}, req, limits.Now)
		if err != nil {
			t.Fatal(err)
		}
		r := s.r.Clone()
		if err := apply(&r, transition); err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("acknowledgements are raised after adding and lowered before removing (M11)", func(t *testing.T) {
		r := begin(t, operating(lossless, 4), cotton.Request{Kind: cotton.OpScale, Nodes: 5})
		want := func(acks int) {
			t.Helper()
			if got := r.AcksWanted(); got != acks {
				t.Errorf("%d acknowledgements wanted, not %d", got, acks)
			}
		}
		want(2)
		for _, step := range []cotton.Transition{{Kind: cotton.OpAdd}, {Kind: cotton.OpJoined, To: 5}, {Kind: cotton.OpEnd, Result: cotton.ResultDone}} {
			if err := apply(&r, step); err != nil {
				t.Fatal(err)
			}
		}
		if r.Spec.Nodes != 5 || len(r.Operations) != 1 || r.Operation != nil {
			t.Errorf("%+v", r)
		}
		want(2)
		r = begin(t, operating(lossless, 5), cotton.Request{Kind: cotton.OpScale, Nodes: 3})
		want(1)
		r = begin(t, operating(lossless, 3), cotton.Request{Kind: cotton.OpReplace, Member: 2})
		if err := apply(&r, cotton.Transition{Kind: cotton.OpAdd}); err != nil {
			t.Fatal(err)
		}
		want(1) // four members for a while, but not for four's number of acknowledgements
	})
	t.Run("a promise is lowered at once, and raised once it is true", func(t *testing.T) {
		r := begin(t, operating(lossless, 3), cotton.Request{Kind: cotton.OpScale, Nodes: 2, Policy: available})
		if r.Spec.Policy != available || r.Spec.Nodes != 2 {
			t.Errorf("%+v", r.Spec)
		}
		r = begin(t, operating(available, 3), cotton.Request{Kind: cotton.OpScale, Nodes: 3, Policy: lossless})
		if r.Spec.Policy != available {
			t.Errorf("%+v", r.Spec)
		}
		if err := apply(&r, cotton.Transition{Kind: cotton.OpEnd, Result: cotton.ResultDone}); err != nil || r.Spec.Policy != lossless || !r.Loose {
			t.Errorf("%v %+v", err, r)
		}
	})
	t.Run("settings are stored with the operation, and marked at all members", func(t *testing.T) {
		s := operating(lossless, 3)
		s.r.Spec.Config = map[string]string{"a": "1"}
		r := begin(t, s, cotton.Request{Kind: cotton.OpConfigure, Set: map[string]string{"b": "2"}})
		if !maps.Equal(r.Spec.Config, map[string]string{"a": "1", "b": "2"}) || len(s.r.Spec.Config) != 1 {
			t.Errorf("%v, before %v", r.Spec.Config, s.r.Spec.Config)
		}
		for _, m := range r.Members {
			if !m.Restart {
				t.Errorf("%+v", m)
			}
		}
		if err := apply(&r, cotton.Transition{Kind: cotton.OpCancel}); err != nil {
			t.Fatal(err)
		}
		if m, _ := r.Member(2); !m.Restart { // it does run with older ones
			t.Errorf("%+v", m)
		}
	})
	t.Run("cancel of a replace", func(t *testing.T) {
		r := begin(t, operating(lossless, 3), cotton.Request{Kind: cotton.OpReplace, Member: 2})
		for _, step := range []cotton.Transition{{Kind: cotton.OpAdd}, {Kind: cotton.OpLeave, To: 2}} {
			if err := apply(&r, step); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := cotton.PlanCancel(r); err != nil {
			t.Fatal(err)
		}
		canceled := r.Clone()
		if err := apply(&canceled, cotton.Transition{Kind: cotton.OpCancel}); err != nil {
			t.Fatal(err)
		}
		old, _ := canceled.Member(2)
		added, _ := canceled.Member(4)
		if old.Leaving || !added.Leaving || !canceled.Operation.Canceled {
			t.Errorf("%+v %+v", old, added)
		}
		r.Members[1].Relieved = true
		if err := apply(&r, cotton.Transition{Kind: cotton.OpRemove, To: 2}); err != nil {
			t.Fatal(err)
		}
		if p, _, err := cotton.PlanCancel(r); err != nil || len(p.Warnings) != 1 {
			t.Errorf("the new one has not joined: %+v %v", p, err)
		}
		r.Members[3].Joining = false
		var refused *cotton.RefusedError
		if _, _, err := cotton.PlanCancel(r); !errors.As(err, &refused) || !strings.Contains(refused.Why, "taken the place") {
			t.Errorf("%v", err)
		}
		if err := apply(&r, cotton.Transition{Kind: cotton.OpCancel}); !errors.Is(err, cotton.ErrOvertaken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("what comes too late is refused", func(t *testing.T) {
		r := operating(lossless, 3).r
		r.Members[1].Leaving = true
		for _, step := range []cotton.Transition{
			{Kind: cotton.OpAdd}, {Kind: cotton.OpEnd}, {Kind: cotton.OpCancel}, {Kind: cotton.OpLeave, To: 2}, {Kind: cotton.OpStop, To: 3},
			{Kind: cotton.OpRemove, To: 3}, // it was not to leave
			{Kind: cotton.OpRemove, To: 2}, // it is not relieved
			{Kind: cotton.OpRemove, To: 9},
		} {
			if err := apply(&r, step); !errors.Is(err, cotton.ErrOvertaken) {
				t.Errorf("%s %d: %v", step.Kind, step.To, err)
			}
		}
		r.Primary, r.Members[1].Relieved = 2, true
		if err := apply(&r, cotton.Transition{Kind: cotton.OpRemove, To: 2}); !errors.Is(err, cotton.ErrOvertaken) {
			t.Errorf("the primary can be removed: %v", err)
		}
	})
	t.Run("only so much is remembered", func(t *testing.T) {
		s := operating(lossless, 3)
		r := s.r
		for range 50 {
			if err := apply(&r, cotton.Transition{Kind: cotton.OpBegin, Op: &cotton.Operation{Kind: cotton.OpRestart, Members: []int{2}}}); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				r.Members[1].Stopping = false
				if err := apply(&r, cotton.Transition{Kind: cotton.OpStop, To: 2, Note: strings.Repeat("x", 1000)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := apply(&r, cotton.Transition{Kind: cotton.OpEnd, Result: cotton.ResultDone}); err != nil {
				t.Fatal(err)
			}
		}
		if n, last := len(r.Operations), r.Operations[len(r.Operations)-1]; n != 20 || last.ID != 50 || len(last.Log) != 60 || last.Log[0].Step != "begin" {
			t.Errorf("%d operations, the last is %d with %d steps", n, last.ID, len(last.Log))
		}
	})
}

func TestPackageVersion(t *testing.T) {
	for _, tc := range []struct{ name, uri, want string }{
		{"mysql-8.4.3", "https://10.0.0.1/x.tar.gz", "8.4.3"},
		{"new", "https://10.0.0.1:8080/mysql-9.7.4-linux-glibc2.28-x86_64.tar.xz#sha256=00.11", "9.7.4"},
		{"mysql-8.4", "https://10.0.0.1/x.tar.gz", "8.4"},
		{"stable", "https://10.0.0.1/stable.tar.gz", ""},
	} {
		got := ""
		if v := cotton.PackageVersion(tc.name, tc.uri); v != nil {
			got = v.Text
		}
		if got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.name, tc.uri, got, tc.want)
		}
	}
	line := cotton.PackageVersion("mysql-8.4", "")
	if patch := (mysql.Version{Major: 8, Minor: 4, Patch: 3}); line.Compare(patch) <= 0 {
		t.Error("8.4 does not count as the newest 8.4")
	}
}
