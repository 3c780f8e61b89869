package cotton_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// dead is a cluster whose primary has just died, with what each replica has received of it.
func dead(policy cotton.Policy, received ...string) *scene {
	s := well(policy)
	s.silent(1, 0)
	s.at(1).TaskLives = false
	for i, set := range received {
		s.at(i + 2).Replica.Retrieved = set
		s.at(i + 2).Replica.IORunning = "Connecting"
	}
	return s
}

// at step of a failover from 1, begun ten seconds ago.
func (s *scene) failing(step cotton.ChangeStep, to int, target string) *scene {
	s.r.Epoch++
	s.r.Change = &cotton.Change{Kind: cotton.Failover, Step: step, From: 1, To: to, Target: target, Began: limits.Now.Add(-10 * time.Second), Frozen: []int{2, 3}}
	return s
}

func (s *scene) frozen(members ...int) *scene {
	for _, id := range members {
		s.at(id).Replica.IORunning = "No"
	}
	return s
}

// cut has replicas try to connect to a primary that is there, for how long as far as we, and they, know; 0 = they do not.
func (s *scene) cut(seen, heard time.Duration, members ...int) *scene {
	for _, id := range members {
		if s.at(id).Replica.IORunning, s.at(id).Deaf = "Connecting", seen; heard > 0 {
			s.at(id).Heard = &heard
		}
	}
	return s
}

// stalled has a write to a member's volume hang, while it has executed nothing for so long.
func (s *scene) stalled(member int, hung, idle time.Duration) *scene {
	s.at(member).Stalled, s.at(member).Idle = hung, idle
	return s
}

// broken has an applier stand still with an error for so long.
func (s *scene) broken(member int, how time.Duration) *scene {
	s.at(member).Replica.SQLRunning, s.at(member).Replica.SQLError, s.at(member).Broken = "No", "error 1062: duplicate", how
	return s
}

func (s *scene) edited(edit func(*scene)) *scene {
	edit(s)
	return s
}

func decided(d cotton.Decision) string {
	var parts []string
	if t := d.Transition; t != nil {
		text := string(t.Kind)
		if t.To != 0 {
			text += fmt.Sprintf(" %d", t.To)
		}
		if t.Target != "" {
			text += " " + t.Target
		}
		parts = append(parts, text)
	}
	for _, a := range d.Actions {
		parts = append(parts, fmt.Sprintf("%s %d", a.Kind, a.Member))
	}
	return strings.Join(parts, ", ")
}

func TestFailover(t *testing.T) {
	const lossless, available = cotton.PolicyLossless, cotton.PolicyAvailable
	u9, u10, u11 := uuidA+":1-9", uuidA+":1-10", uuidA+":1-11"
	for _, tc := range []struct {
		name    string
		scene   *scene
		want    string
		problem string
	}{
		// Whether it begins.
		{"dead, both replicas answer", dead(lossless, u9, u9), "begin failover", "is down"},
		{"I1: with one of two replicas away nobody knows what was acknowledged",
			dead(lossless, u9, u9).edited(func(s *scene) { s.silent(3, time.Minute) }), "", "1 of the 2 replicas that may have acknowledged"},
		{"I1: one whose machine was down may have lost what it acknowledged", dead(lossless, u9, u9).edited(func(s *scene) {
			s.at(2).Boot, s.r.Members[1].Boot = "b", "b"
			s.at(3).Boot, s.r.Members[2].Boot = "c", "b"
		}), "", "1 of the 2 replicas that may have acknowledged"},
		{"unless it has caught up since", dead(lossless, u9, u9).edited(func(s *scene) {
			s.at(2).Boot, s.r.Members[1].Boot = "b", "b"
			s.at(3).Boot, s.r.Members[2].Boot = "c", "c"
		}), "begin failover", ""},
		{"which is looked after while the primary is there", well(lossless).edited(func(s *scene) { s.at(3).Boot, s.r.Members[2].Boot = "c", "b" }), "attest 3", ""},
		{"also while it is far behind: what the primary had is remembered", well(lossless).edited(func(s *scene) {
			s.at(3).Boot, s.r.Members[2].Boot, s.at(3).Replica.SecondsBehind = "c", "b", new(int64(9))
			s.at(1).Server.GTIDExecuted = uuidA + ":1-900"
		}), "attest 3", "has not caught up yet"},
		{"I1: it bears no witness in a failover under way", dead(lossless, u9, u9).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(3).Boot, s.r.Members[2].Boot = "c", "b"
		}), "", "may have lost what it acknowledged"},
		{"one that is being cloned does not count", dead(lossless, u9, u9).edited(func(s *scene) { s.at(3).Busy = "clone" }), "", "no failover"},
		{"one that was relieved is not needed", dead(lossless, u9, u9).edited(func(s *scene) {
			s.silent(3, time.Minute)
			s.r.Members[2].Relieved = true
		}), "begin failover", ""},
		{"the last one was a moment ago", dead(lossless, u9, u9).edited(func(s *scene) {
			s.r.History = []cotton.Change{{Kind: cotton.Failover, Ended: limits.Now.Add(-10 * time.Second)}}
		}), "", "the last one was 10s ago"},
		{"the last one was taken back", dead(lossless, u9, u9).edited(func(s *scene) {
			s.r.History = []cotton.Change{{Kind: cotton.Failover, Ended: limits.Now.Add(-10 * time.Second), Taken: true}}
		}), "begin failover", ""},
		{"after an outage of all, its replicas were quicker", dead(lossless, u9, u9).edited(func(s *scene) {
			*s.at(1) = cotton.Seen{Member: 1, Err: errors.New("not up"), Silent: 5 * time.Second}
			s.r.Members[0].Phase = cotton.PhaseLaunched
		}), "", "it is being started again (launched)"},
		{"and it does not come", dead(lossless, u9, u9).edited(func(s *scene) {
			*s.at(1) = cotton.Seen{Member: 1, Err: errors.New("not up"), Silent: time.Minute}
			s.r.Members[0].Phase = cotton.PhaseLaunched
		}), "begin failover", "is down"},
		{"I11: it hangs, and its replicas have not noticed", well(lossless).edited(func(s *scene) { s.silent(1, time.Minute) }), "", "does not answer"},
		{"it hangs, and its replicas, connected still, hear nothing", well(lossless).edited(func(s *scene) {
			s.silent(1, 4*time.Second)
			long := 4 * time.Second
			s.at(2).Heard, s.at(3).Heard = &long, &long
		}), "begin failover", "none of 2 replicas hears it"},
		{"I11: one of them hears it", well(lossless).edited(func(s *scene) {
			s.silent(1, 4*time.Second)
			long, short := 4*time.Second, time.Second
			s.at(2).Heard, s.at(3).Heard = &long, &short
		}), "", "does not answer"},
		{"I11: nobody can be asked", well(lossless).edited(func(s *scene) {
			s.silent(1, time.Minute)
			s.silent(2, time.Minute)
			s.silent(3, time.Minute)
		}), "", "does not answer"},
		{"nobody listens at its port any more", well(lossless).edited(func(s *scene) {
			s.silent(1, 0)
			s.at(1).Refused = true
			s.at(2).Replica.IORunning, s.at(3).Replica.IORunning = "Connecting", "Connecting"
		}), "begin failover", ""},
		{"it answers, and is cut off from its replicas, which it has not noticed", well(lossless).cut(9*time.Second, 0, 2, 3), "begin failover", "it cannot commit"},
		{"and they know it better than we do", well(lossless).cut(3*time.Second, 9*time.Second, 2, 3), "begin failover", "it cannot commit"},
		{"I11: cut off for a moment only", well(lossless).cut(time.Second, 0, 2, 3).edited(func(s *scene) { s.at(1).SemiSync.Clients = 0 }), "", "no replica acknowledges"},
		{"connecting again after a long transaction", well(lossless).cut(time.Second, 9*time.Second, 2, 3), "", "does not reach the primary"},
		{"one of them can still acknowledge", well(lossless).cut(9*time.Second, 9*time.Second, 3), "", "does not reach the primary"},
		{"it has just been opened, and is not found again yet", well(lossless).cut(9*time.Second, 9*time.Second, 2, 3).edited(func(s *scene) { s.at(1).Open = 2 * time.Second }),
			"", "does not reach the primary"},
		{"its disk does not answer, and nothing is committed", well(lossless).stalled(1, 9*time.Second, 9*time.Second), "begin failover", "no write to its volume has succeeded for 9s, says its executor: one hangs"},
		{"its disk is full", well(lossless).stalled(1, 9*time.Second, 9*time.Second).edited(func(s *scene) { s.at(1).VolumeError = "no space left on device" }),
			"begin failover", "says its executor: no space left on device"},
		{"its disk does not answer, and nobody wrote before: it has more time", well(lossless).stalled(1, 9*time.Second, time.Hour), "", "look at the disk of h"},
		{"but not without end", well(lossless).stalled(1, 31*time.Second, time.Hour), "begin failover", "no write to its volume has succeeded for 31s"},
		{"its disk is slow, and something is committed", well(lossless).stalled(1, 9*time.Second, time.Second), "", "look at the disk of h"},
		{"its disk has not answered for a moment", well(lossless).stalled(1, 3*time.Second, time.Hour), "", "look at the disk of h"},
		{"the disk of a replica does not answer", well(lossless).stalled(2, time.Minute, time.Minute), "", "look at the disk of h"},
		{"whose disk does not answer is not elected", dead(lossless, u9, u9).failing(cotton.StepFreeze, 0, "").frozen(2, 3).stalled(2, 9*time.Second, 9*time.Second), "elect 3 " + u9, ""},
		{"an applier that stands still", well(lossless).broken(2, time.Second), "start 2", "error 1062"},
		{"for long", well(lossless).broken(2, time.Minute), "relieve 2", "cloned anew"},
		{"and was relieved for that: it is not followed again, but cloned", well(lossless).broken(2, time.Minute).edited(func(s *scene) {
			s.r.Members[1].Relieved, s.at(2).Replica.IORunning = true, "No"
		}), "clone 2", ""},
		{"an available one that is cut off goes on by itself", well(available).cut(9*time.Second, 0, 2, 3), "", "does not reach the primary"},
		{"a single one", dead(cotton.PolicySingle, u9, u9), "", "nothing to fail over to"},

		// Freeze.
		{"receivers are stopped, also those that only try (M4)", dead(lossless, u9, u9).failing(cotton.StepFreeze, 0, ""), "freeze 2, freeze 3", "0 of the 2"},
		{"one is not enough", dead(lossless, u9, u9).failing(cotton.StepFreeze, 0, "").frozen(2), "freeze 3", "1 of the 2"},
		{"both: the one with more is elected", dead(lossless, u10, u9).failing(cotton.StepFreeze, 0, "").frozen(2, 3), "elect 2 " + u10, ""},
		{"one that is to leave is not, if another has as much", dead(lossless, u10, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.r.Members[1].Leaving = true
		}), "elect 3 " + u10, ""},
		{"I1: it is, if it alone has all", dead(lossless, u10, u9).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.r.Members[1].Leaving = true
		}), "elect 2 " + u10, ""},
		{"whoever it is", dead(lossless, u9, u11).failing(cotton.StepFreeze, 0, "").frozen(2, 3), "elect 3 " + u11, ""},
		{"of two with the same, who has applied it", dead(lossless, u10, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(3).Server.GTIDExecuted = u10
		}), "elect 3 " + u10, ""},
		{"nothing at all was written", dead(lossless, "", "").failing(cotton.StepFreeze, 0, "").frozen(2, 3), "elect 2 " + u9, ""},
		{"not one whose applier stands still with something left", dead(lossless, u10, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(2).Replica.SQLError = "error 1062: duplicate"
		}), "elect 3 " + u10, ""},
		{"I1: nor one that lacks what that one cannot apply", dead(lossless, u10, u9).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(2).Replica.SQLError = "error 1062: duplicate"
		}), "", "lacks " + uuidA + ":10"},
		{"I7: an errant one is out", dead(lossless, u10, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(2).Server.GTIDExecuted = u10 + "," + uuidB + ":1"
		}), "elect 3 " + u10, ""},
		{"I1: but it is elected if only it has all, and the others can execute what it has besides",
			dead(lossless, u11, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
				s.at(2).Server.GTIDExecuted = u11
				s.stray(2, mysql.LoggedXACommit, mysql.LoggedNothing)
			}), "elect 2 " + u11 + "," + uuidB + ":1-2", ""},
		{"not while that is not known", dead(lossless, u11, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(2).Server.GTIDExecuted = u11
			s.stray(2, mysql.LoggedXACommit)
			s.at(2).Strays.Reading = true
		}), "", "nobody can be elected"},
		{"a failover begins though both replicas only flushed", dead(lossless, u9, u9).edited(func(s *scene) {
			s.stray(2, mysql.LoggedNothing)
			s.stray(3, mysql.LoggedNothing)
		}), "begin failover", ""},
		{"I1: but not at the price of what only it received", dead(lossless, u11, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(2).Server.GTIDExecuted = u11 + "," + uuidB + ":1"
		}), "", "nobody can be elected"},
		{"I1: a fork nobody can explain", dead(lossless, u10, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			*s.at(1) = cotton.Seen{Member: 1, Err: errors.New("down")}
			s.r.Lineage = []string{uuidA, uuidB}
			s.at(2).Server.GTIDExecuted = u10 + "," + uuidB + ":1"
			s.at(3).Server.GTIDExecuted = u11
		}), "", "nobody can be elected"},
		{"one that failed before is not elected again", dead(lossless, u10, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.r.Change.Failed = []int{2}
		}), "elect 3 " + u10, ""},
		{"a replica older than the other cannot follow it", dead(lossless, u10, u10).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.at(2).Server.Version, s.at(3).Server.Version = mysql.Version{Major: 9}, mysql.Version{Major: 8}
		}), "elect 3 " + u10, ""},
		{"the old primary is back, and too few are stopped: it goes on", well(lossless).failing(cotton.StepFreeze, 0, "").edited(func(s *scene) {
			s.closed()
			s.silent(3, time.Minute)
			s.frozen(2)
		}), "take back", ""},
		{"it is back, and enough are stopped: too late", well(lossless).failing(cotton.StepFreeze, 0, "").edited(func(s *scene) { s.closed() }).frozen(2, 3),
			"elect 2 " + u9, ""},
		{"it is back and open: it is closed", well(lossless).failing(cotton.StepFreeze, 0, ""), "fence 1, freeze 2, freeze 3", ""},
		{"it hangs: its executor is told", well(lossless).failing(cotton.StepFreeze, 0, "").edited(func(s *scene) { s.silent(1, time.Minute) }), "order 1, freeze 2, freeze 3", ""},
		{"once", well(lossless).failing(cotton.StepFreeze, 0, "").edited(func(s *scene) {
			s.silent(1, time.Minute)
			s.at(1).FencedEpoch = 2
		}), "freeze 2, freeze 3", ""},

		// Fencing where commits do not wait for ever.
		{"I2: an available primary that hangs may commit yet", well(available).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) { s.silent(1, time.Minute) }),
			"order 1", "may still commit"},
		{"its executor has closed it", well(available).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.silent(1, time.Minute)
			s.at(1).FencedEpoch = 2
		}), "elect 2 " + u9, ""},
		{"its lease has run out", well(available).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.silent(1, time.Minute)
			s.at(1).Leased = limits.Now.Add(-time.Second)
			s.at(2).Stopped, s.at(3).Stopped = time.Minute, limits.Quiet
		}), "elect 2 " + u9 + ", order 1", ""},
		{"I2: it has run out, and a replica acknowledged until a moment ago",
			well(available).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
				s.silent(1, time.Minute)
				s.at(1).Leased = limits.Now.Add(-time.Minute)
				s.at(2).Stopped, s.at(3).Stopped = time.Minute, limits.Quiet-time.Second
			}), "order 1", "may still commit"},
		{"it is down", dead(available, u9, u9).failing(cotton.StepFreeze, 0, "").frozen(2, 3), "elect 2 " + u9, ""},
		{"I2: somebody let a lossless primary fall back", well(lossless).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.silent(1, time.Minute)
			s.at(1).SourceSemiSync.Timeout = time.Second
		}), "order 1", "may still commit"},
		{"I2: a server outside may acknowledge to it", well(lossless).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.silent(1, time.Minute)
			s.outside(1, 1)
		}), "order 1", "may still commit"},
		{"which was taken into account", well(lossless).failing(cotton.StepFreeze, 0, "").frozen(2, 3).edited(func(s *scene) {
			s.silent(1, time.Minute)
			s.outside(1, 1)
			s.at(1).SourceSemiSync.Acks = 2
		}), "elect 2 " + u9 + ", order 1", ""},

		// Drain.
		{"I1: what was received is applied first", dead(lossless, u10, u10).failing(cotton.StepDrain, 2, u10).frozen(2, 3), "drain 2", "still missing: " + uuidA + ":10"},
		{"then it is promoted", dead(lossless, u10, u10).failing(cotton.StepDrain, 2, u10).frozen(2, 3).edited(func(s *scene) { s.at(2).Server.GTIDExecuted = u10 }),
			"promote 2", ""},
		{"the elected one dies", dead(lossless, u10, u10).failing(cotton.StepDrain, 2, u10).frozen(3).edited(func(s *scene) {
			s.silent(2, 0)
			s.at(2).TaskLives = false
		}), "elect anew", ""},
		{"it stops to answer", dead(lossless, u10, u10).failing(cotton.StepDrain, 2, u10).frozen(3).edited(func(s *scene) { s.silent(2, time.Second) }), "", "does not answer"},
		{"and does not come back", dead(lossless, u10, u10).failing(cotton.StepDrain, 2, u10).frozen(3).edited(func(s *scene) { s.silent(2, time.Minute) }), "elect anew", ""},
		{"it cannot apply", dead(lossless, u10, u10).failing(cotton.StepDrain, 2, u10).frozen(2, 3).broken(2, time.Minute), "elect anew 2", ""},
		{"I2: somebody started a receiver", dead(lossless, u10, u10).failing(cotton.StepDrain, 2, u10).frozen(2), "elect anew", ""},

		// Promote.
		{"the new primary still is a replica", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.silent(1, time.Minute)
			s.frozen(2, 3)
		}), "promote 2", ""},
		{"I2: that the old one was open when it died keeps nobody closed", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.silent(1, time.Minute)
			s.frozen(3)
			s.at(2).Replica, s.at(2).SourceSemiSync = nil, semiSync(lossless)
		}), "open 2, follow 3", ""},
		{"I2: that it is open does", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.frozen(3)
			s.at(2).Replica, s.at(2).SourceSemiSync = nil, semiSync(lossless)
		}), "fence 1, follow 3", "open for writes, too"},
		{"the old one is back: its applier must not wait for replicas of its own", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.closed()
			s.at(2).Replica, s.at(2).SourceSemiSync = nil, semiSync(lossless)
			s.at(2).Server.ReadOnly, s.at(2).Server.SuperReadOnly = false, false
		}), "finish, semi-sync 1, follow 1, follow 3", ""},
		{"I1: nor are its clients told that what they wait for is done (M5)", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.closed()
			s.at(1).SemiSync.Waiting = 1
			s.at(2).Replica, s.at(2).SourceSemiSync = nil, semiSync(lossless)
			s.at(2).Server.ReadOnly, s.at(2).Server.SuperReadOnly = false, false
		}), "finish, fence 1, follow 3", ""},
		{"I2: one that is being closed shows super_read_only already, and is open", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.at(1).Server.ReadOnly, s.at(1).Server.SuperReadOnly = false, true
			s.at(2).Replica, s.at(2).SourceSemiSync = nil, semiSync(lossless)
			s.at(2).Server.ReadOnly, s.at(2).Server.SuperReadOnly = false, false
		}), "finish, fence 1, follow 3", ""},
		{"open: it is over", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.silent(1, time.Minute)
			s.at(2).Replica, s.at(2).SourceSemiSync = nil, semiSync(lossless)
			s.at(2).Server.ReadOnly, s.at(2).Server.SuperReadOnly = false, false
		}), "finish, follow 3", ""},
		{"it dies before it was open", well(lossless).failing(cotton.StepPromote, 2, u9).edited(func(s *scene) {
			s.r.Primary, s.r.Members[0].Relieved = 2, true
			s.closed()
			s.silent(2, 0)
			s.at(2).TaskLives = false
		}), "begin failover", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := cotton.Decide(tc.scene.r, tc.scene.seen, limits)
			if got := decided(d); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if said := strings.Join(d.Problems, "; "); !strings.Contains(said, tc.problem) {
				t.Errorf("problems %q, want %q", said, tc.problem)
			}
			if d.Primary != 0 && tc.scene.r.Change != nil && d.Primary == tc.scene.r.Change.From {
				t.Error("I10: a primary that is being replaced is published")
			}
		})
	}
}

// sessionsEnded has the sessions of the closed primary be gone.
func (s *scene) sessionsEnded() { s.at(1).SessionsEnded = s.r.Epoch }

func TestSwitchover(t *testing.T) {
	u10 := uuidA + ":1-10"
	switching := func() *scene {
		s := well(cotton.PolicyLossless)
		if err := s.r.Apply(cotton.Transition{Kind: cotton.BeginSwitchover, To: 3, Within: 10 * time.Second}, limits.Now); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, tc := range []struct {
		name    string
		edit    func(*scene)
		want    string
		problem string
	}{
		{"the primary is closed", func(*scene) {}, "demote 1", ""},
		{"its sessions are ended, also where another scheduler closed it: they could prepare what they have begun",
			func(s *scene) { s.closed() }, "demote 1", ""},
		{"the target catches up", func(s *scene) { s.closed(); s.sessionsEnded(); s.at(1).Server.GTIDExecuted = u10 }, "catch up 3", ""},
		{"and is promoted; what it must have is stored", func(s *scene) { s.closed(); s.sessionsEnded() }, "promote 3 " + uuidA + ":1-9", ""},
		{"it takes too long to close", func(s *scene) { s.r.Change.Deadline = limits.Now }, "take back", ""},
		{"or to catch up", func(s *scene) {
			s.closed()
			s.at(1).Server.GTIDExecuted = u10
			s.r.Change.Deadline = limits.Now
		}, "take back", ""},
		{"the target is away", func(s *scene) { s.silent(3, time.Second) }, "", "c-3 does not answer"},
		{"the primary dies on the way", func(s *scene) { s.silent(1, 0); s.at(1).TaskLives = false }, "begin failover", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := switching()
			tc.edit(s)
			d := cotton.Decide(s.r, s.seen, limits)
			if got := decided(d); got != tc.want && !strings.HasPrefix(got, tc.want+", ") {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if said := strings.Join(d.Problems, "; "); !strings.Contains(said, tc.problem) {
				t.Errorf("problems %q, want %q", said, tc.problem)
			}
		})
	}
}

func TestPlanFailover(t *testing.T) {
	u10, u11 := uuidA+":1-10", uuidA+":1-11"
	half := func() *scene { // the primary and one of two replicas are gone
		return dead(cotton.PolicyLossless, u10, u11).edited(func(s *scene) { s.silent(3, time.Hour); s.at(3).TaskLives = false })
	}
	for _, tc := range []struct {
		name    string
		scene   *scene
		risk    string
		refused string
	}{
		{"with whoever is left", half(), "writes that only c-1 or c-3 has are lost", ""},
		{"I2: not while the old one may take writes", half().edited(func(s *scene) { s.at(1).TaskLives = true }), "", "may be taking writes"},
		{"not beside one that answers", well(cotton.PolicyLossless), "", "hand it over"},
		{"with nobody", half().edited(func(s *scene) { s.silent(2, time.Hour) }), "", "no replica answers"},
		{"during a switchover", half().edited(func(s *scene) { s.r.Change = &cotton.Change{Kind: cotton.Switchover, Step: cotton.StepDemote} }), "", "a switchover is under way"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, risk, err := cotton.PlanFailover(tc.scene.r, tc.scene.seen, "")
			if risk != tc.risk || (err != nil) != (tc.refused != "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Fatalf("%q, %v", risk, err)
			}
			if err != nil {
				return
			}
			if got := decided(cotton.Decide(tc.scene.r, tc.scene.seen, limits)); got != "" {
				t.Errorf("by itself it does %q", got)
			}
			if err := tc.scene.r.Apply(tr, limits.Now); err != nil {
				t.Fatal(err)
			}
			if got := decided(cotton.Decide(tc.scene.r, tc.scene.frozen(2).seen, limits)); got != "elect 2 "+u10 {
				t.Errorf("forced, it does %q", got)
			}
		})
	}
}

func TestPlanSwitchover(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	for _, tc := range []struct {
		name    string
		to      int
		edit    func(*scene)
		want    int
		refused string
	}{
		{"to a member", 3, nil, 3, ""},
		{"to whoever serves", 0, nil, 2, ""},
		{"to whoever is least behind", 0, func(s *scene) { s.at(2).Replica.SecondsBehind = seconds(3) }, 3, ""},
		{"to the primary", 1, nil, 0, "is the primary already"},
		{"to nobody", 7, nil, 0, "has no member 7"},
		{"to one that lags", 3, func(s *scene) { s.at(3).Replica.SecondsBehind = seconds(60) }, 0, "60 s behind"},
		{"to one whose lag is not known", 3, func(s *scene) { s.at(3).Replica.SecondsBehind = nil }, 0, "is not known"},
		{"to one that does not replicate", 3, func(s *scene) { s.at(3).Replica.SQLRunning = "No" }, 0, "does not replicate"},
		{"to one that is away", 3, func(s *scene) { s.silent(3, time.Second) }, 0, "does not answer"},
		{"to one that is cloned", 3, func(s *scene) { s.at(3).Busy = "clone" }, 0, "clone is under way"},
		{"to an errant one", 3, func(s *scene) { s.at(3).Server.GTIDExecuted = uuidA + ":1-9," + uuidB + ":1" }, 0, "errant transactions"},
		{"from one that is away", 3, func(s *scene) { s.silent(1, time.Second) }, 0, "takes no writes"},
		{"during another change", 3, func(s *scene) { s.failing(cotton.StepFreeze, 0, "") }, 0, "a failover is under way"},
		{"of a cluster that is being deleted", 3, func(s *scene) { s.r.State = cotton.StateDeleting }, 0, "is deleting"},
		{"nobody serves", 0, func(s *scene) { s.silent(2, 0); s.silent(3, 0) }, 0, "no member can take over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := well(cotton.PolicyLossless)
			s.at(2).Replica.SecondsBehind, s.at(3).Replica.SecondsBehind = seconds(0), seconds(0)
			if tc.edit != nil {
				tc.edit(s)
			}
			got, err := cotton.PlanSwitchover(s.r, s.seen, tc.to, "", cotton.SwitchoverLimits{MaxLag: 10 * time.Second})
			var refused *cotton.RefusedError
			if errors.As(err, &refused) != (tc.refused != "") || err != nil && !strings.Contains(err.Error(), tc.refused) || got.To != tc.want {
				t.Errorf("got %d, %v", got.To, err)
			}
		})
	}
}

// TestQuorum plays commits, losses and failovers at random, on clusters of 2 to 7, and holds I1 and I2 against the
// arithmetic: with the replicas stopped that Need asks for, no commit can be acknowledged any more, and each that was is
// among what they have received.
func TestQuorum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	elected, refused := 0, 0
	for range 20000 {
		n := 2 + random.IntN(6)
		policy := cotton.DefaultPolicy(n)
		r := cotton.Record{Spec: cotton.Spec{Policy: policy}, Primary: 1}
		for id := 1; id <= n; id++ {
			r.Members = append(r.Members, cotton.Member{ID: id})
		}
		r.Acks = r.AcksWanted()
		received, acknowledged := map[int]map[int]bool{}, map[int]bool{}
		for id := 2; id <= n; id++ {
			received[id] = map[int]bool{}
		}
		for commit := range 20 {
			acks := 0
			for id := 2; id <= n; id++ {
				if random.IntN(3) > 0 { // a replica that is slow or away gets it later, or never
					received[id][commit] = true
					acks++
				}
			}
			acknowledged[commit] = acks >= r.SemiSync().Acks
		}
		ackers := r.Ackers()
		random.Shuffle(len(ackers), func(i, j int) { ackers[i], ackers[j] = ackers[j], ackers[i] })
		reached := ackers[:random.IntN(len(ackers)+1)]
		if len(reached) < r.Need() {
			refused++
			continue
		}
		elected++
		if left := len(ackers) - len(reached); left >= r.SemiSync().Acks {
			t.Fatalf("%d members: with %d stopped, %d can still acknowledge, %d are enough (I2)", n, len(reached), left, r.SemiSync().Acks)
		}
		for commit, was := range acknowledged {
			found := !was
			for _, id := range reached {
				found = found || received[id][commit]
			}
			if !found {
				t.Fatalf("%d members, %d asked: an acknowledged commit is nowhere (I1)", n, len(reached))
			}
		}
	}
	if elected < 1000 || refused < 1000 {
		t.Errorf("%d elections, %d refusals: too few of one to show anything", elected, refused)
	}
}

// TestMayOverwrite: a member's data go only while it is as it was when that was decided.
func TestMayOverwrite(t *testing.T) {
	record := func(edit func(*cotton.Record)) cotton.Record {
		r := cotton.Record{Spec: cotton.Spec{Name: "c", Nodes: 3, Policy: cotton.PolicyLossless}, State: cotton.StateRunning, Primary: 1,
			Epoch: 7}
		for id := 1; id <= 3; id++ {
			r.Members = append(r.Members, cotton.Member{ID: id, Relieved: id == 2})
		}
		edit(&r)
		return r
	}
	for _, tc := range []struct {
		name string
		edit func(*cotton.Record)
		may  bool
	}{
		{"as it was decided", func(*cotton.Record) {}, true},
		{"the new primary waits for the clone", func(r *cotton.Record) {
			r.Change = &cotton.Change{Kind: cotton.Failover, Step: cotton.StepPromote, To: 1}
		}, true},
		{"commits wait for nobody, so nothing rests on it", func(r *cotton.Record) {
			r.Spec.Policy = cotton.PolicySingle
			r.Members[1].Relieved = false
		}, true},
		{"it has been elected", func(r *cotton.Record) { r.Primary = 2 }, false},
		{"a change of primary has begun", func(r *cotton.Record) { r.Epoch++ }, false},
		{"it is counted on again", func(r *cotton.Record) { r.Members[1].Relieved = false }, false},
		{"it is no member any more", func(r *cotton.Record) { r.Members = r.Members[:1] }, false},
		{"the cluster is being deleted", func(r *cotton.Record) { r.State = cotton.StateDeleting }, false},
	} {
		if err := record(tc.edit).MayOverwrite(2, 7); (err == nil) != tc.may {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestLastWord: an available primary falls back a second after its replicas are gone. What it said longer ago than that says nothing of its
// last commits: they may have been acknowledged to clients by it alone, and are an operator's to give up.
func TestLastWord(t *testing.T) {
	for _, tc := range []struct {
		policy cotton.Policy
		silent time.Duration
		waited bool
	}{
		{cotton.PolicyAvailable, 300 * time.Millisecond, true},
		{cotton.PolicyAvailable, 2900 * time.Millisecond, false},
		{cotton.PolicyLossless, 2900 * time.Millisecond, true},
	} {
		s := dead(tc.policy, uuidA+":1-9", uuidA+":1-9")
		s.silent(1, tc.silent)
		s.at(1).TaskLives = false
		s.at(1).SemiSync.Active, s.at(1).SemiSync.Clients = true, 2
		if tr := cotton.Decide(s.r, s.seen, limits).Transition; tr == nil || tr.Kind != cotton.BeginFailover || tr.Waited != tc.waited {
			t.Errorf("%s, silent for %s: %+v, want waited %v", tc.policy, tc.silent, tr, tc.waited)
		}
	}
}
