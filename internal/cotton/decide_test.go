package cotton_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

const (
	uuidA = "aaaaaaaa-0000-0000-0000-000000000001"
	uuidB = "bbbbbbbb-0000-0000-0000-000000000002"
)

// scene is a cluster of three as it should be: member 1 is the primary.
type scene struct {
	r    cotton.Record
	seen []cotton.Seen
}

func well(policy cotton.Policy) *scene {
	s := &scene{r: cotton.Record{Spec: cotton.Spec{Name: "c", Nodes: 3, Policy: policy}, State: cotton.StateRunning, Primary: 1, Epoch: 1, Founded: true, Lineage: []string{uuidA}, Base: uuidA + ":1"}}
	for id := 1; id <= 3; id++ {
		s.r.Members = append(s.r.Members, cotton.Member{ID: id, Phase: cotton.PhaseRunning, Host: "h", Port: id})
		seen := cotton.Seen{Member: id, TaskLives: true, Answered: true, HasUser: id == 1}
		seen.Server = mysql.Server{UUID: uuidB, GTIDExecuted: uuidA + ":1-9", ReadOnly: true, SuperReadOnly: true}
		if id == 1 {
			seen.Server.UUID, seen.Server.ReadOnly, seen.Server.SuperReadOnly = uuidA, false, false
			seen.SourceSemiSync = semiSync(policy)
			seen.SemiSync = mysql.SemiSyncStatus{Active: true, Clients: 2}
			seen.Open = time.Hour
		} else {
			seen.Replica = &mysql.ReplicaStatus{
				Source: mysql.Addr{Host: "h", Port: 1}, IORunning: "Yes", SQLRunning: "Yes", AutoPosition: true, Executed: uuidA + ":1-9",
			}
			seen.Acknowledging = semiSync(policy).Enabled
		}
		s.seen = append(s.seen, seen)
	}
	return s
}

// fresh is a cluster whose members have just started.
func fresh() *scene {
	s := well(cotton.PolicyLossless)
	s.r.Primary, s.r.Epoch, s.r.Founded, s.r.State, s.r.Base, s.r.Lineage = 0, 0, false, cotton.StateCreating, "", nil
	for i := range s.seen {
		m := &s.seen[i]
		m.Server.GTIDExecuted, m.Server.ReadOnly, m.Server.SuperReadOnly = "", true, true
		m.Replica, m.HasUser, m.Acknowledging, m.SourceSemiSync, m.SemiSync = nil, false, false, mysql.SemiSyncSource{}, mysql.SemiSyncStatus{}
	}
	return s
}

func (s *scene) at(member int) *cotton.Seen { return &s.seen[member-1] }

// stray gives a member errant transactions of these kinds, whose binary logs have been read.
func (s *scene) stray(member int, kinds ...mysql.LoggedKind) {
	m := s.at(member)
	for i, kind := range kinds {
		one := fmt.Sprintf("%s:%d", uuidB, i+1)
		m.Server.GTIDExecuted += "," + one
		of, err := mysql.ParseGTIDSet(one)
		if err != nil {
			panic(err)
		}
		if m.Strays == nil {
			m.Strays = &cotton.Strays{}
		}
		m.Strays.Of = m.Strays.Of.Union(of)
		m.Strays.List = append(m.Strays.List, mysql.LoggedTransaction{GTID: one, Kind: kind, Text: string(kind),
			XID: mysql.PreparedXA{Global: fmt.Sprint(i + 1)}})
	}
}

// closed is the primary as its executor starts it.
func (s *scene) closed() {
	s.at(1).Server.ReadOnly, s.at(1).Server.SuperReadOnly = true, true
}

// outside has so many servers acknowledge that are no members, and so many as far as is known.
func (s *scene) outside(now, known int) {
	s.at(1).Foreign, s.at(1).Outsiders = known, slices.Repeat([]mysql.Acknowledger{{User: "app", Host: "h", UUID: "u"}}, now)
}

func (s *scene) silent(member int, how time.Duration) {
	s.at(member).Err, s.at(member).Silent = errors.New("i/o timeout"), how
}

var limits = cotton.Limits{
	Now: time.Unix(1e9, 0), CloneMB: 100, Silence: 3 * time.Second, Cooldown: 30 * time.Second, Quiet: 14 * time.Second,
}

func TestDecide(t *testing.T) {
	const all = "publish 1 [2 3]"
	for _, tc := range []struct {
		name    string
		scene   *scene
		edit    func(*scene)
		want    string // steps, then what is published
		problem string
	}{
		{"all is well", well(cotton.PolicyLossless), nil, all, ""},
		{"available, and well", well(cotton.PolicyAvailable), nil, all, ""},

		{"fewer acknowledgements are stored before the primary is told, and nothing else is done in that look", well(cotton.PolicyLossless),
			func(s *scene) { s.r.Acks, s.at(1).SourceSemiSync.Acks = 2, 2 }, "acks 1, " + all, ""},
		{"and then the primary is told", well(cotton.PolicyLossless), func(s *scene) { s.r.Acks, s.at(1).SourceSemiSync.Acks = 1, 2 },
			"semi-sync 1, " + all, ""},
		{"commits wait for ever as soon as the primary is seen to wait", well(cotton.PolicyLossless), func(s *scene) { s.r.Loose = true },
			"strict 1, " + all, ""},
		{"but not while it has fallen back since it had another policy", well(cotton.PolicyLossless), func(s *scene) {
			s.r.Loose, s.at(1).SemiSync.Active = true, false
		}, all, "goes on without an acknowledgement"},
		{"a member with a filter is cloned, also when replication was forgotten for a clone that broke off", well(cotton.PolicyLossless),
			func(s *scene) {
				s.at(2).Replica, s.at(2).Filters, s.r.Members[1].Relieved = nil, "REPLICATE_WILD_IGNORE_TABLE = d.%", true
			}, "clone 2, publish 1 [3]", "has a replication filter"},
		{"one that had a filter when it was relieved, and was started anew", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica, s.r.Members[1].Incomplete, s.r.Members[1].Relieved = nil, "REPLICATE_WILD_IGNORE_TABLE = d.%", true
		}, "clone 2, publish 1 [3]", "has a replication filter, or had one"},
		{"a member with a filter gives its data to nobody", well(cotton.PolicyAvailable), func(s *scene) {
			s.at(2).Replica, s.r.Members[1].Incomplete, s.r.Members[1].Relieved = nil, "f", true
			s.at(3).Replica.Filters, s.r.Members[2].Relieved = "g", true
		}, "clone 2, publish 1 []", "gives its data to another one"},

		{"a new cluster takes the first that answers", fresh(), nil, "choose 1, publish 0 []", ""},
		{"not one that does not answer", fresh(), func(s *scene) { s.silent(1, 0) }, "choose 2, publish 0 []", ""},
		{"nobody answers", fresh(), func(s *scene) { s.silent(1, 0); s.silent(2, 0); s.silent(3, 0) }, "publish 0 []", "no member answers"},
		{"not one that has executed something", fresh(), func(s *scene) { s.at(1).Server.GTIDExecuted = uuidB + ":1" }, "choose 2, publish 0 []", "not as a new member"},
		{"not one that is open", fresh(), func(s *scene) { s.at(1).Server.ReadOnly, s.at(1).Server.SuperReadOnly = false, false }, "choose 2, publish 0 []", "not as a new member"},

		{"chosen: commits are made to wait before it is opened", fresh(), func(s *scene) { s.r.Primary, s.r.Epoch = 1, 1 },
			"semi-sync 1, publish 0 []", "semi-synchronous replication is not set yet"},
		{"then it is opened, and the others follow", fresh(), func(s *scene) {
			s.r.Primary, s.r.Epoch = 1, 1
			s.at(1).SourceSemiSync = semiSync(cotton.PolicyLossless)
		}, "open 1, follow 2, follow 3, publish 0 []", ""},
		{"the user waits for a replica that acknowledges", fresh(), func(s *scene) {
			s.r.Primary, s.r.Epoch = 1, 1
			p := s.at(1)
			p.SourceSemiSync, p.Server.ReadOnly, p.Server.SuperReadOnly = semiSync(cotton.PolicyLossless), false, false
		}, "follow 2, follow 3, publish 0 []", "no replica acknowledges"},
		{"and is created with one", well(cotton.PolicyLossless), func(s *scene) { s.r.Founded, s.at(1).HasUser = false, false }, "user 1, publish 0 []", ""},
		{"an available cluster does not wait for it", well(cotton.PolicyAvailable), func(s *scene) {
			s.r.Founded, s.at(1).HasUser, s.at(1).SemiSync.Clients = false, false, 0
		}, "user 1, publish 0 []", ""},
		{"once it is there, that is stored, and then published", well(cotton.PolicyLossless), func(s *scene) { s.r.Founded = false }, "found 1, publish 0 []", ""},

		{"a primary that came back is the primary again", well(cotton.PolicyLossless), func(s *scene) { s.closed() }, "open 1, publish 0 [2 3]", ""},
		{"but not without its data", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(1).Server.GTIDExecuted = ""
		}, "begin failover, publish 0 [2 3]", "lost its data"},
		{"nor with less than a replica has", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(2).Server.GTIDExecuted = uuidA + ":1-10"
		}, "begin failover, publish 0 [2 3]", "lacks transactions that c-2 has: " + uuidA + ":10"},
		{"nor less than a replica has received", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(2).Replica.Retrieved = uuidA + ":8-11"
		}, "begin failover, publish 0 [2 3]", "lacks transactions that c-2 has: " + uuidA + ":10-11"},
		{"what only an errant replica has does not keep it closed", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(2).Server.GTIDExecuted = uuidA + ":1-9," + uuidB + ":1"
		}, "open 1, relieve 2, publish 0 [2 3]", "errant transactions"},
		{"nor less than a silent replica had", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(2).Server.GTIDExecuted = uuidA + ":1-10"
			s.silent(2, time.Hour)
		}, "publish 0 [3]", "transactions that it lacks"},
		{"nor while it is a replica itself", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(1).Replica = &mysql.ReplicaStatus{Source: mysql.Addr{Host: "x", Port: 5}}
		}, "publish 0 [2 3]", "it is a replica of x:5"},
		{"nor with GTIDs that cannot be read", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(1).Server.GTIDExecuted = "nonsense"
		}, "publish 0 [2 3]", "cannot be read"},
		{"nor before commits wait again", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(1).SourceSemiSync = mysql.SemiSyncSource{}
		}, "semi-sync 1, publish 0 [2 3]", "not set yet"},

		{"I2: whoever else is open is closed, and the primary waits for that", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(3).Server.ReadOnly, s.at(3).Server.SuperReadOnly = false, false
		}, "fence 3, publish 0 [2]", "c-3 is open for writes"},
		{"I2: also beside an open primary", well(cotton.PolicyLossless), func(s *scene) {
			s.at(3).Server.ReadOnly, s.at(3).Server.SuperReadOnly = false, false
		}, "fence 3, publish 1 [2]", "closing it"},
		{"I2: a stray that was open and is silent keeps the primary closed", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(3).Server.ReadOnly, s.at(3).Server.SuperReadOnly = false, false
			s.silent(3, time.Hour)
		}, "publish 0 [2]", "c-3 is open for writes, too"},

		{"M8: somebody set the time-out", well(cotton.PolicyLossless), func(s *scene) { s.at(1).SourceSemiSync.Timeout = time.Second },
			"semi-sync 1, publish 1 [2 3]", ""},
		{"a single cluster has none of it", well(cotton.PolicySingle), func(s *scene) { s.at(1).SourceSemiSync.Enabled = true },
			"semi-sync 1, publish 1 [2 3]", ""},
		{"a server outside acknowledges, too: one acknowledgement more", well(cotton.PolicyLossless), func(s *scene) { s.outside(1, 1) },
			"semi-sync 1, publish 1 [2 3]", "1 sessions from outside the cluster acknowledge writes in the members' place: app from h (server u)"},
		{"it was taken into account", well(cotton.PolicyLossless), func(s *scene) {
			s.outside(1, 1)
			s.at(1).SourceSemiSync.Acks = 2
		}, all, "commits wait for 2 acknowledgements"},
		{"it went, and may come back", well(cotton.PolicyLossless), func(s *scene) {
			s.outside(0, 1)
			s.at(1).SourceSemiSync.Acks = 2
		}, all, "gone by now"},
		{"it is gone for good", well(cotton.PolicyLossless), func(s *scene) { s.at(1).SourceSemiSync.Acks = 2 }, "semi-sync 1, publish 1 [2 3]",
			""},
		{"a policy that falls back has it ended", well(cotton.PolicyAvailable), func(s *scene) { s.outside(1, 1) }, "expel 1, publish 1 [2 3]",
			"they are ended whenever they are seen"},
		{"only members count as those that acknowledge", well(cotton.PolicyLossless), func(s *scene) {
			s.outside(1, 1)
			s.at(1).SourceSemiSync.Acks, s.at(1).SemiSync.Clients = 2, 0
		}, all, "commits on c-1 wait"},
		{"a replica that runs events is to run none", well(cotton.PolicyLossless), func(s *scene) {
			for _, id := range []int{1, 2} {
				s.at(id).Server.EventScheduler = "ON"
			}
			s.at(3).Server.EventScheduler = "OFF"
		}, "quiet 2, " + all, ""},

		{"no replica acknowledges", well(cotton.PolicyLossless), func(s *scene) { s.at(1).SemiSync.Clients = 0 }, all, "commits on c-1 wait"},
		{"a receiver that does not acknowledge connects anew", well(cotton.PolicyLossless), func(s *scene) { s.at(2).Acknowledging = false },
			"reattach 2, " + all, ""},

		{"a replica started by its executor", well(cotton.PolicyLossless), func(s *scene) { s.at(2).Replica.IORunning, s.at(2).Replica.SQLRunning = "No", "No" },
			"start 2, publish 1 [3]", ""},
		{"a broken applier is said and tried again", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica.SQLRunning, s.at(2).Replica.SQLError = "No", "1062 duplicate"
		}, "start 2, publish 1 [3]", "1062 duplicate"},
		{"a replica that follows nobody", well(cotton.PolicyLossless), func(s *scene) { s.at(2).Replica = nil }, "follow 2, publish 1 [3]", ""},
		{"a replica of somebody else", well(cotton.PolicyLossless), func(s *scene) { s.at(2).Replica.Source.Port = 3 }, "follow 2, publish 1 [3]", ""},
		{"a replica by file and position", well(cotton.PolicyLossless), func(s *scene) { s.at(2).Replica.AutoPosition = false }, "follow 2, " + all, ""},
		{"a new one where the binary logs begin later is cloned", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica, s.at(2).Server.GTIDExecuted, s.at(1).Server.GTIDPurged = nil, "", uuidA+":1-5"
			s.r.Members[1].Relieved = true
		}, "clone 2, publish 1 [3]", "purged (" + uuidA + ":1-5)"},
		{"one that follows and lacks what was purged, too", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica.IORunning, s.at(2).Server.GTIDExecuted, s.at(1).Server.GTIDPurged = "No", uuidA+":1-4", uuidA+":1-5"
		}, "relieve 2, " + all, "purged (" + uuidA + ":5)"},
		{"I1: it is cloned over only once others have what it acknowledged", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica.IORunning, s.at(2).Server.GTIDExecuted, s.at(1).Server.GTIDPurged = "No", uuidA+":1-4", uuidA+":1-5"
			s.r.Members[1].Relieved = true
		}, "clone 2, " + all, "purged (" + uuidA + ":5)"},
		{"one that receives has all that it needs", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Server.GTIDExecuted, s.at(1).Server.GTIDPurged = uuidA+":1-4", uuidA+":1-5"
		}, all, ""},
		{"a new one of a large cluster is cloned", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica, s.at(2).Server.GTIDExecuted, s.at(1).DataMB = nil, "", 100
			s.r.Members[1].Relieved = true
		}, "clone 2, publish 1 [3]", ""},
		{"a donor gives to one at a time", well(cotton.PolicyLossless), func(s *scene) {
			for _, id := range []int{2, 3} {
				s.at(id).Replica, s.at(id).Server.GTIDExecuted, s.r.Members[id-1].Relieved = nil, "", true
			}
			s.at(1).DataMB = 100
			s.closed()
		}, "clone 2, publish 0 []", "c-3 waits to be cloned"},
		{"also while one is under way", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Busy, s.at(2).Donor = "clone", 1
			s.at(3).Replica, s.at(3).Server.GTIDExecuted, s.at(1).DataMB, s.r.Members[2].Relieved = nil, "", 100, true
			s.closed()
		}, "publish 0 []", "c-3 waits to be cloned"},
		{"commits that nobody can acknowledge would hold the clone up", well(cotton.PolicyLossless), func(s *scene) {
			s.at(1).SemiSync.Clients, s.at(1).DataMB = 0, 100
			s.at(2).Replica, s.at(2).Server.GTIDExecuted, s.r.Members[1].Relieved = nil, "", true
			s.silent(3, time.Hour)
			s.at(3).TaskLives = false
		}, "fence 1, publish 1 []", "is closed until c-2 is cloned"},
		{"and the primary stays closed until it is done", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(1).SemiSync.Clients, s.at(1).DataMB = 0, 100
			s.at(2).Busy, s.at(2).Donor, s.r.Members[1].Relieved = "clone", 1, true
			s.silent(3, time.Hour)
			s.at(3).TaskLives = false
		}, "publish 0 []", "until another member is cloned"},
		{"then it is opened", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.at(1).SemiSync.Clients = 0
			s.at(2).Replica = nil
			s.silent(3, time.Hour)
			s.at(3).TaskLives = false
		}, "open 1, follow 2, publish 0 []", ""},
		{"of a small one it is not", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica, s.at(2).Server.GTIDExecuted, s.at(1).DataMB = nil, "", 99
		}, "follow 2, publish 1 [3]", ""},
		{"a clone under way is left alone", well(cotton.PolicyLossless), func(s *scene) { s.at(2).Replica, s.at(2).Busy = nil, "clone" },
			"publish 1 [3]", "clone is under way"},
		{"I7: an errant one does not follow, it is replaced", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Replica, s.at(2).Server.GTIDExecuted = nil, uuidA+":1-9,"+uuidB+":1"
		}, "relieve 2, publish 1 [3]", "never had (I7): " + uuidB + ":1"},
		{"I1: not when clients may have been told of what it has", well(cotton.PolicyAvailable), func(s *scene) {
			s.r.Lineage = []string{uuidB, uuidA}
			s.at(2).Replica, s.at(2).Server.GTIDExecuted = nil, uuidA+":1-9,"+uuidB+":1"
		}, "publish 1 [3]", "clients may have been told of: " + uuidB + ":1"},
		{"I1: nor after a failover that was forced", well(cotton.PolicyLossless), func(s *scene) {
			s.r.Lineage = []string{uuidB, uuidA}
			s.r.History = []cotton.Change{{Kind: cotton.Failover, From: 2, To: 1, Forced: true}}
			s.at(2).Replica, s.at(2).Server.GTIDExecuted = nil, uuidA+":1-9,"+uuidB+":1"
		}, "publish 1 [3]", "clients may have been told of: " + uuidB + ":1"},
		{"but when it died while its commits waited, nobody was", well(cotton.PolicyAvailable), func(s *scene) {
			s.r.Lineage = []string{uuidB, uuidA}
			s.r.History = []cotton.Change{{Kind: cotton.Failover, From: 2, To: 1, Waited: true}}
			s.at(2).Replica, s.at(2).Server.GTIDExecuted = nil, uuidA+":1-9,"+uuidB+":1"
		}, "relieve 2, publish 1 [3]", "its data are replaced"},
		{"one that only flushed keeps its data: the primary executes an empty transaction", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedNothing)
		}, "adopt 2, " + all, "the primary executes them, too"},
		{"not before its binary logs are read", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedNothing)
			s.at(2).Strays.Reading = true
		}, all, "are being read"},
		{"whose binary logs cannot be read is replaced", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedNothing)
			s.at(2).Strays.Problem = "they are purged"
		}, "relieve 2, " + all, "they are purged"},
		{"nor is one kept of which only a part is known", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedNothing)
			s.at(2).Server.GTIDExecuted += "-2"
		}, "relieve 2, " + all, "its data are replaced"},
		{"what changes data is replaced, whatever else it has", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedNothing, mysql.LoggedData)
		}, "relieve 2, " + all, uuidB + ":2 changes data"},
		{"XA COMMIT of what is prepared on the primary", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedXACommit)
			s.at(1).Prepared = map[string]bool{"X'1', X'', 0": true}
		}, "adopt 2, " + all, "the primary executes them, too"},
		{"not before that is known", well(cotton.PolicyLossless), func(s *scene) { s.stray(2, mysql.LoggedXACommit) }, all,
			"not known yet what is prepared"},
		{"what the primary has ended is not executed twice", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedXACommit)
			s.at(1).Prepared = map[string]bool{}
		}, "relieve 2, " + all, "X'1', X'', 0 was committed on c-2 and is not prepared on the primary any more"},
		{"what is committed beside a stray write is saved before the data are replaced", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedData, mysql.LoggedXARollback)
			s.at(1).Prepared = map[string]bool{"X'2', X'', 0": true}
		}, "adopt 2, " + all, "the primary executes them, too"},
		{"it follows before: only then both mean the same transaction", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedXACommit)
			s.at(1).Prepared = map[string]bool{"X'1', X'', 0": true}
			s.at(2).Replica = nil
		}, "follow 2, publish 1 [3]", "the primary executes them, too"},
		{"and one that cannot apply what the primary did is replaced", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedXACommit)
			s.at(1).Prepared = map[string]bool{"X'1', X'', 0": true}
			s.broken(2, time.Minute)
		}, "relieve 2, publish 1 [3]", "is cloned anew"},
		{"nothing is executed that would wait for an acknowledgement", well(cotton.PolicyLossless), func(s *scene) {
			s.stray(2, mysql.LoggedNothing)
			s.at(1).SemiSync.Clients = 0
		}, all, "no replica acknowledges"},
		{"I1: what a client may have been told of is adopted, too", well(cotton.PolicyAvailable), func(s *scene) {
			s.r.Lineage = []string{uuidB, uuidA}
			s.stray(2, mysql.LoggedNothing)
		}, "adopt 2, " + all, "the primary executes them, too"},
		{"what the primary has adopted is stored", well(cotton.PolicyLossless), func(s *scene) {
			for id := 1; id <= 3; id++ {
				s.at(id).Server.GTIDExecuted += "," + uuidB + ":1"
			}
		}, "base 1, " + all, ""},
		{"members that follow with what they have do not keep a primary closed", well(cotton.PolicyLossless), func(s *scene) {
			s.closed()
			s.stray(2, mysql.LoggedNothing)
			s.stray(3, mysql.LoggedNothing)
		}, "open 1, publish 0 [2 3]", ""},
		{"what the primary numbered since it was asked is not errant", well(cotton.PolicyLossless), func(s *scene) {
			s.at(2).Server.GTIDExecuted = uuidA + ":1-12"
		}, all, ""},

		{"a replica that has not executed what made the cluster's user is not published", well(cotton.PolicyLossless), func(s *scene) {
			s.r.FoundedSet, s.at(3).Server.GTIDExecuted = uuidA+":1-9", uuidA+":1-8"
		}, "publish 1 [2]", ""},

		{"I11: a silent primary is published for a while", well(cotton.PolicyLossless), func(s *scene) {
			s.silent(1, 2*time.Second)
			s.at(2).Replica.IORunning, s.at(3).Replica.IORunning = "Connecting", "Connecting"
		}, all, "does not answer: i/o timeout"},
		{"I10: then no more", well(cotton.PolicyLossless), func(s *scene) {
			s.silent(1, 6*time.Second)
			s.at(2).Replica.IORunning, s.at(3).Replica.IORunning = "Connecting", "Connecting"
		}, "begin failover, publish 0 [2 3]", "none of 2 replicas hears it"},
		{"I11: unless its replicas hear it", well(cotton.PolicyLossless), func(s *scene) { s.silent(1, time.Hour) }, all, "does not answer"},
		{"I10: one that is surely down at once", well(cotton.PolicyLossless), func(s *scene) { s.silent(1, 0); s.at(1).TaskLives = false },
			"begin failover, publish 0 [2 3]", "the primary c-1 is down"},
		{"I10: one that is closed at once", well(cotton.PolicyAvailable), func(s *scene) { s.closed() }, "open 1, publish 0 [2 3]", ""},
		{"I11: a scheduler that has just started leaves what is published", well(cotton.PolicyLossless), func(s *scene) {
			*s.at(1) = cotton.Seen{Member: 1, TaskLives: true, Err: errors.New("i/o timeout"), Silent: time.Second}
		}, "leave", "does not answer"},
		{"I11: also for longer, while the replicas hear the primary", well(cotton.PolicyLossless), func(s *scene) {
			*s.at(1) = cotton.Seen{Member: 1, TaskLives: true, Err: errors.New("i/o timeout"), Silent: time.Hour}
		}, "leave", "does not answer"},
		{"I10: not for ever", well(cotton.PolicyLossless), func(s *scene) {
			*s.at(1) = cotton.Seen{Member: 1, TaskLives: true, Err: errors.New("i/o timeout"), Silent: time.Minute}
			s.at(2).Replica.IORunning, s.at(3).Replica.IORunning = "Connecting", "Connecting"
		}, "begin failover, publish 0 [2 3]", "has not answered for 1m0s"},
		{"I10: nor when it is down", well(cotton.PolicyLossless), func(s *scene) {
			*s.at(1) = cotton.Seen{Member: 1, Err: errors.New("down"), Silent: time.Second}
		}, "begin failover, publish 0 [2 3]", "is down"},
		{"a silent replica goes after a while", well(cotton.PolicyLossless), func(s *scene) { s.silent(2, 6*time.Second) }, "publish 1 [3]", "c-2 does not answer"},
		{"nothing is done to replicas while the primary is away", well(cotton.PolicyLossless), func(s *scene) {
			s.silent(1, 0)
			s.at(2).Replica = nil
		}, "publish 1 [3]", ""},
		{"a member being removed is left alone", well(cotton.PolicyLossless), func(s *scene) {
			s.r.Members[1].Phase, s.at(2).Replica = cotton.PhaseRemoving, nil
		}, "publish 1 [3]", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.edit != nil {
				tc.edit(tc.scene)
			}
			d := cotton.Decide(tc.scene.r, tc.scene.seen, limits)
			var steps []string
			if d.Transition != nil {
				steps = append(steps, string(d.Transition.Kind))
			}
			for _, a := range d.Actions {
				steps = append(steps, fmt.Sprintf("%s %d", a.Kind, a.Member))
			}
			published := fmt.Sprintf("publish %d %v", d.Primary, d.Replicas)
			if d.Leave {
				published = "leave"
			}
			got := strings.Join(append(steps, published), ", ")
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			said := strings.Join(d.Problems, "; ")
			if tc.problem == "" && strings.HasSuffix(tc.want, all) && said != "" || !strings.Contains(said, tc.problem) {
				t.Errorf("problems %q, want %q", said, tc.problem)
			}
		})
	}
}

// TestDecideNeverTwo goes through every combination of what three members can look like, and holds I2 against each
// decision: only the stored primary is ever opened or published, never beside another that is open, and nobody is cloned
// over that is open, or is the primary.
func TestDecideNeverTwo(t *testing.T) {
	type look struct {
		name string
		edit func(*cotton.Seen)
	}
	looks := []look{
		{"open", func(s *cotton.Seen) { s.Server.ReadOnly, s.Server.SuperReadOnly = false, false }},
		{"closed", func(s *cotton.Seen) { s.Server.ReadOnly, s.Server.SuperReadOnly = true, true }},
		{"open, silent", func(s *cotton.Seen) {
			s.Server.ReadOnly, s.Server.SuperReadOnly = false, false
			s.Err, s.Silent = errors.New("timeout"), time.Minute
		}},
		{"closed, silent", func(s *cotton.Seen) {
			s.Server.ReadOnly, s.Server.SuperReadOnly = true, true
			s.Err, s.Silent = errors.New("timeout"), time.Minute
		}},
		{"never seen", func(s *cotton.Seen) { *s = cotton.Seen{Member: s.Member, TaskLives: true, Err: errors.New("timeout")} }},
		{"down", func(s *cotton.Seen) { s.TaskLives, s.Err = false, errors.New("down") }},
		{"empty", func(s *cotton.Seen) {
			s.Server.ReadOnly, s.Server.SuperReadOnly = true, true
			s.Server.GTIDExecuted, s.Replica = "", nil
		}},
	}
	for n := range len(looks) * len(looks) * len(looks) * 8 {
		s := well([]cotton.Policy{cotton.PolicyLossless, cotton.PolicyAvailable}[n&1])
		s.r.Founded = n&2 == 0
		if n&4 != 0 {
			s.at(1).Server.GTIDPurged = uuidA + ":1-5"
		}
		rest, names := n>>3, []string{}
		for i := range s.seen {
			l := looks[rest%len(looks)]
			l.edit(&s.seen[i])
			rest /= len(looks)
			names = append(names, l.name)
		}
		d := cotton.Decide(s.r, s.seen, limits)
		open := func(id int) bool { return s.at(id).Answered && s.at(id).Writable() }
		for _, a := range d.Actions {
			switch {
			case a.Kind == cotton.ActOpen && (a.Member != 1 || open(2) || open(3)),
				a.Kind == cotton.ActClone && (a.Member == 1 || open(a.Member)),
				a.Kind == cotton.ActFence && a.Member == 1,
				a.Kind == cotton.ActChoose:
				t.Errorf("%v, founded %v: %s %d (I2)", names, s.r.Founded, a.Kind, a.Member)
			}
		}
		if d.Primary != 0 && (d.Primary != 1 || !open(1)) || slices.ContainsFunc(d.Replicas, open) {
			t.Errorf("%v: published %d %v (I10)", names, d.Primary, d.Replicas)
		}
	}
}

// semiSync is how the primary of a cluster of three is set.
func semiSync(policy cotton.Policy) mysql.SemiSyncSource {
	return cotton.Record{Spec: cotton.Spec{Policy: policy}, Members: make([]cotton.Member, 3)}.SemiSync()
}
