package cotton_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// The model: a lossless cluster of servers that accept writes, replicate, acknowledge, die, are cut off and come back, driven by Decide and
// Apply themselves. What it leaves out is time: whoever is silent has been so for long, so everything that could be found out is found out
// at once. Durations only make decisions later.

// server is one mysqld and its data.
type server struct {
	up, lost     bool // lost: with its machine, for good
	closed       bool
	source       int  // whom it follows; 0 = nobody
	receiving    bool // its receiver is on
	hidden       bool // the scheduler does not reach it
	alone        bool // the other members do not reach it
	waits        bool // semi-synchronous replication is on, for so many acknowledgements
	acks         int
	executed     mysql.GTIDSet
	relay        mysql.GTIDSet // received
	pending      mysql.GTIDSet // in its binary log, waiting for acknowledgements
	released     mysql.GTIDSet // these came, and it is in no gtid_executed yet, and no client was told
	stalled      bool          // so it stays for a while
	fenced       uint64
	ended        uint64 // under which epoch its sessions were ended
	cloning      int    // from whom; its data are gone meanwhile
	cloneSoon    int    // from whom; decided, and not begun
	cloneEpoch   uint64
	numbered     int64
	numberedHere int64 // of these, written while it took no writes
	slow         bool  // its applier applies nothing
	broken       bool  // it fails: its data are not what they should be, until they are replaced
	boot         int
	damaged      bool // its relay log cannot be read
	anew         bool // it has thrown its relay log away, and has not received it anew yet
	known        bool // it answered this scheduler
}

// world is a state of the model.
type world struct {
	r       cotton.Record
	servers map[int]*server
	acked   mysql.GTIDSet
	now     time.Time
	budget  budget
	// Defects that can be put back. amnesia: a change of primary forgets what had been acknowledged. twoNames: the diagnosis takes what
	// a former primary numbered for acknowledged, the election takes it for errant, and nobody counts how often that ends in nothing.
	amnesia, twoNames bool
	// hasty: what the primary has executed is read while commits are under way.
	hasty bool
	// blind: nobody reads binary logs, so every stray transaction counts as a write.
	blind bool
	// committed are XA COMMITs on closed members: clients were told.
	committed mysql.GTIDSet
	cloneMB   int64
	trail     []string
	left      int  // machines lost
	power     bool // something of a copy was lost: a machine went down and came back, a relay log is damaged, or data are
	half      bool // the first step that can be taken in part is
	full      bool // relay logs reach the disk only with their last transactions
	strayed   bool // somebody wrote where nothing may be written
}

// budget is how often each fault may still strike.
type budget struct {
	writes, kills, machines, cuts, hides, strays, commits, forced, switches, operations, failures, halves, powers, slows,
	anews, damages, stalls, breaks int
}

// What a closed member numbers, by number: FLUSH, XA COMMIT of what is prepared everywhere, writes behind the cluster's back.
const (
	flushes = 1000 * (iota + 1)
	commits
	forced
)

// logged is what a member's binary log says of a transaction.
func logged(one mysql.GTIDSet) mysql.LoggedTransaction {
	t := mysql.LoggedTransaction{GTID: one.String(), Kind: mysql.LoggedData}
	var n int64
	if _, err := fmt.Sscanf(t.GTID[strings.LastIndex(t.GTID, ":")+1:], "%d", &n); err != nil {
		panic(err)
	}
	switch n / 1000 * 1000 {
	case flushes:
		t.Kind = mysql.LoggedNothing
	case commits:
		t.Kind, t.XID = mysql.LoggedXACommit, mysql.PreparedXA{Global: t.GTID}
	}
	return t
}

// eachOf are the transactions of a set.
func eachOf(set mysql.GTIDSet) (list []mysql.GTIDSet) {
	for source := range strings.SplitSeq(set.String(), ",") {
		uuid, intervals, _ := strings.Cut(source, ":")
		for part := range strings.SplitSeq(intervals, ":") {
			var first, last int64
			if n, _ := fmt.Sscanf(part, "%d-%d", &first, &last); n < 2 {
				last = first
			}
			for n := first; n > 0 && n <= last; n++ {
				list = append(list, gtid(uuid, n))
			}
		}
	}
	return list
}

// inspect reads the binary logs of members, and what is prepared on the primary.
func (w *world) inspect() []cotton.Seen {
	seen := w.seen()
	if w.blind {
		return seen
	}
	unknown := cotton.UnknownOf(w.r, seen)
	for i := range seen {
		s := &seen[i]
		if set, ok := unknown[s.Member]; ok {
			s.Strays = &cotton.Strays{Of: set}
			for _, one := range eachOf(set) {
				s.Strays.List = append(s.Strays.List, logged(one))
			}
		}
		if s.Member != w.r.Primary || s.Err != nil {
			continue
		}
		s.Prepared = map[string]bool{}
		for _, one := range eachOf(w.committed.Subtract(w.servers[s.Member].has())) {
			s.Prepared[logged(one).XID.ID()] = true
		}
	}
	return seen
}

func memberUUID(id int) string { return fmt.Sprintf("%08x-0000-0000-0000-%012d", id, id) }

func gtid(uuid string, n int64) mysql.GTIDSet {
	set, err := mysql.ParseGTIDSet(fmt.Sprintf("%s:%d", uuid, n))
	if err != nil {
		panic(err)
	}
	return set
}

// newWorld is a cluster as it should be, whose first member is the primary.
func newWorld(nodes int, b budget) *world {
	first := gtid(memberUUID(1), 1)
	w := &world{servers: map[int]*server{}, acked: first, now: time.Unix(1e9, 0), budget: b}
	w.r = cotton.Record{Spec: cotton.Spec{Name: "c", User: "app", Nodes: nodes, Policy: cotton.PolicyLossless,
		Size: cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 1024}}, State: cotton.StateRunning, Primary: 1, Epoch: 1,
		Founded: true, Lineage: []string{memberUUID(1)}, Base: first.String(), FoundedSet: first.String(), NextID: nodes + 1}
	for id := 1; id <= nodes; id++ {
		w.r.Members = append(w.r.Members, cotton.Member{ID: id, Phase: cotton.PhaseRunning, Host: "h", Port: id, TaskID: "t",
			TaskState: "TASK_RUNNING", HasData: true, Boot: "0"})
		w.servers[id] = &server{up: true, known: true, closed: id != 1, source: 1, receiving: true, executed: first, relay: first}
	}
	w.r.Acks = w.r.AcksWanted()
	p := w.servers[1]
	p.source, p.receiving, p.waits, p.acks, p.numbered = 0, false, true, w.r.Acks, 1
	return w
}

func (w *world) clone() *world {
	c := *w
	c.r = w.r.Clone()
	c.servers = map[int]*server{}
	for id, s := range w.servers {
		c.servers[id] = new(*s)
	}
	c.trail = slices.Clip(w.trail)
	return &c
}

// key tells states apart: what only people read, and how late it is, is left out.
func (w *world) key() string {
	var b strings.Builder
	r := w.r
	taken := 0
	for _, c := range slices.Backward(r.History) {
		if !c.Taken {
			break
		}
		taken++
	}
	if r.Change != nil {
		r.Change = new(*r.Change)
		r.Change.Log, r.Change.Why, r.Change.Began, r.Change.Deadline = nil, "", time.Time{}, time.Time{}
	}
	epoch := r.Epoch
	r.History, r.Epoch, r.Operations, r.Strays = nil, 0, nil, nil
	if r.Operation != nil {
		r.Operation = new(*r.Operation)
		r.Operation.Log, r.Operation.Why, r.Operation.Began = nil, "", time.Time{}
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(&b, "%s %d %s %s %+v %d\n", text, taken, w.acked, w.committed, w.budget, w.left)
	for _, id := range slices.Sorted(maps.Keys(w.servers)) {
		s := w.servers[id]
		fmt.Fprintf(&b, "%v %s %v %v %v %v %v %v ", s.stalled, s.released, s.damaged, s.anew, s.slow, s.broken, s.boot, s.known)
		fmt.Fprintf(&b, "%d %v %v %v %d %v %v %v %v %d %v %v %d %d %v %s %s %s\n", id, s.up, s.lost, s.closed, s.source, s.receiving, s.hidden,
			s.alone, s.waits, s.acks,
			s.fenced == epoch, s.ended == epoch, s.cloning, s.cloneSoon, s.cloneEpoch == epoch, s.executed, s.relay, s.pending)
	}
	return b.String()
}

// has is all that a server's disk holds.
func (s *server) has() mysql.GTIDSet { return s.executed.Union(s.relay).Union(s.logged()) }

// holds tells whether another member that has a set may be relieved: one whose applier has failed will never apply what it received.
func (s *server) holds(set mysql.GTIDSet) bool {
	return s.executed.Contains(set) || s.broken && !s.damaged && s.executed.Union(s.relay).Contains(set)
}

// logged is what is in its binary log and not executed.
func (s *server) logged() mysql.GTIDSet { return s.pending.Union(s.released) }

// connected tells whether a replica hears its source.
func (w *world) connected(id int) bool {
	s := w.servers[id]
	src, ok := w.servers[s.source]
	return ok && s.up && s.receiving && s.cloning == 0 && src.up && src.cloning == 0 && !s.alone && !src.alone
}

// flow replicates, acknowledges and applies all that can be.
func (w *world) flow() {
	for id, s := range w.servers {
		if w.connected(id) && !s.anew {
			src := w.servers[s.source]
			s.relay = s.relay.Union(src.executed.Union(src.logged()).Subtract(s.executed))
		}
	}
	for id, p := range w.servers {
		if p.logged().Empty() || !p.up {
			continue
		}
		if !p.stalled {
			p.executed, w.acked, p.released = p.executed.Union(p.released), w.acked.Union(p.released), mysql.GTIDSet{}
		}
		have := 0
		for other, s := range w.servers {
			if s.source == id && w.connected(other) && !s.anew {
				have++
			}
		}
		switch {
		case have < p.acks && p.waits:
		case p.stalled:
			p.released, p.pending = p.released.Union(p.pending), mysql.GTIDSet{}
		default:
			p.executed, w.acked, p.pending = p.executed.Union(p.pending), w.acked.Union(p.pending), mysql.GTIDSet{}
		}
	}
	for _, s := range w.servers {
		if s.up && s.cloning == 0 && s.source != 0 && !s.slow && !s.broken && !s.damaged {
			s.executed = s.executed.Union(s.relay)
		}
	}
}

// seen is what the scheduler learns.
func (w *world) seen() (all []cotton.Seen) {
	for _, m := range w.r.Members {
		s, ok := w.servers[m.ID]
		if !ok {
			all = append(all, cotton.Seen{Member: m.ID, Over: true, Err: errors.New("never started")})
			continue
		}
		v := cotton.Seen{Member: m.ID, TaskLives: s.up || s.hidden && !s.lost, Answered: true, HasUser: true, FencedEpoch: s.fenced,
			SessionsEnded: s.ended, Over: s.lost, DataMB: 1}
		if donor := cmp.Or(s.cloning, s.cloneSoon); donor != 0 {
			v.Busy, v.Donor = "clone", donor
		}
		if !s.up {
			v.Down = "mysqld ended"
		}
		v.Server = mysql.Server{UUID: memberUUID(m.ID), GTIDExecuted: s.executed.String(), ReadOnly: s.closed, SuperReadOnly: s.closed}
		if s.waits {
			v.SourceSemiSync = mysql.SemiSyncSource{Enabled: true, Acks: s.acks, Timeout: cotton.LosslessTimeout}
			v.SemiSync.Active = true
		}
		for other, o := range w.servers {
			if o.source == m.ID && w.connected(other) {
				v.SemiSync.Clients++
			}
		}
		if !s.closed {
			v.Open = time.Hour
		}
		if s.source != 0 {
			v.Replica = &mysql.ReplicaStatus{Source: mysql.Addr{Host: "h", Port: s.source}, IORunning: "No", SQLRunning: "Yes", AutoPosition: true,
				Retrieved: s.relay.String(), Executed: s.executed.String(), SecondsBehind: new(int64)}
			v.Acknowledging = w.connected(m.ID)
			switch {
			case w.connected(m.ID):
				v.Replica.IORunning = "Yes"
			case s.receiving:
				v.Replica.IORunning, v.Deaf = "Connecting", time.Hour
			}
		}
		v.Boot = fmt.Sprint(s.boot)
		if s.damaged && v.Replica != nil {
			v.Replica.SQLRunning, v.Replica.SQLError, v.Broken = "No", "error 13121: relay log read failure", time.Minute
		}
		if s.broken && v.Replica != nil {
			v.Replica.SQLRunning, v.Replica.SQLError, v.Broken = "No", "error 1146: table does not exist", time.Minute
		}
		if s.up && !s.hidden {
			s.known = true
		} else if !s.known {
			v = cotton.Seen{Member: m.ID, TaskLives: v.TaskLives, FencedEpoch: v.FencedEpoch, Over: v.Over, Down: v.Down, Busy: v.Busy,
				Donor: v.Donor}
		}
		if !s.up || s.hidden {
			v.Err, v.Silent = errors.New("i/o timeout"), time.Hour
		}
		all = append(all, v)
	}
	return all
}

// round is one look of the scheduler: it stores a step, or takes all that were decided.
func (w *world) round() bool { return w.look(func(int, int) bool { return true }) }

// look is a round in which only some of the steps that were decided are taken: the others fail, or come too late.
func (w *world) look(succeeds func(i, of int) bool) (moved bool) {
	w.now = w.now.Add(2 * time.Second)
	defer func() {
		if !moved { // so that no pause of Decide is what holds anything up
			w.now = w.now.Add(30 * time.Second)
		}
	}()
	for _, s := range w.servers {
		s.anew = false
	}
	w.flow()
	moved = w.tasks()
	for _, s := range w.servers { // clones that are under way end, or break off
		donor := w.servers[s.cloning]
		switch {
		case s.cloning == 0 || !s.up:
		case donor == nil || !donor.up || donor.cloning != 0:
			s.cloning = 0
			moved = true
		default:
			s.executed, s.relay, s.pending, s.released, s.cloning = donor.executed, mysql.GTIDSet{}, mysql.GTIDSet{}, mysql.GTIDSet{}, 0
			s.source, s.receiving, s.closed, s.waits, s.broken = 0, false, true, false, false
			moved = true
		}
	}
	for id, s := range w.servers { // clones that were decided begin, if they still may
		if s.cloneSoon != 0 && s.up && !s.hidden {
			w.beginClone(id, s)
			moved = true
		}
	}
	seen := w.inspect()
	r := w.r
	if w.twoNames && r.Change == nil {
		r.Base, r.History = "", nil
	}
	d := cotton.Decide(r, seen, cotton.Limits{Now: w.now, CloneMB: w.cloneMB, Silence: 3 * time.Second})
	if t := d.Transition; t != nil {
		if err := w.r.Apply(*t, w.now); err != nil {
			return moved
		}
		w.forget()
		return true
	}
	for i, a := range d.Actions {
		if succeeds(i, len(d.Actions)) {
			moved = w.act(a, seen) || moved
		}
	}
	w.flow()
	return moved
}

// tasks is what Mesos and the executors do: tasks that are wanted are launched, those that are to go end.
func (w *world) tasks() (moved bool) {
	var rest []cotton.Member
	for _, m := range w.r.Members {
		s := w.servers[m.ID]
		switch {
		case m.Phase == cotton.PhasePending && !m.Leaving:
			w.servers[m.ID] = &server{up: true, closed: true}
			m.Phase, m.Host, m.Port, m.TaskID, m.TaskState, m.HasData = cotton.PhaseRunning, "h", m.ID, "t", "TASK_RUNNING", true
			moved = true
		case m.Phase == cotton.PhaseRemoving && (s == nil || !s.hidden):
			delete(w.servers, m.ID)
			moved = true
			continue
		case m.Stopping && s.up && !s.hidden:
			s.up = false
			w.start(s)
			m.Stopping, m.Restart = false, false
			moved = true
		}
		rest = append(rest, m)
	}
	w.r.Members = rest
	return moved
}

// beginClone is what the framework checks right before CLONE, and its beginning.
func (w *world) beginClone(id int, s *server) {
	donor, epoch := s.cloneSoon, s.cloneEpoch
	s.cloneSoon, s.cloneEpoch = 0, 0
	if w.r.MayOverwrite(id, epoch) != nil || !s.closed {
		return
	}
	s.cloning, s.source, s.receiving = donor, 0, false
	s.executed, s.relay, s.pending, s.released = mysql.GTIDSet{}, mysql.GTIDSet{}, mysql.GTIDSet{}, mysql.GTIDSet{}
}

func (w *world) forget() {
	if w.amnesia {
		w.r.Base, w.r.History = "", nil
	}
}

// act takes a step as the framework does; true when it changed something.
func (w *world) act(a cotton.Action, seen []cotton.Seen) bool {
	s := w.servers[a.Member]
	m, ok := w.r.Member(a.Member)
	gone := s != nil && ok && a.Kind == cotton.ActRelieve && s.lost && m.TaskState == "TASK_GONE_BY_OPERATOR"
	if s == nil || !ok || a.Kind != cotton.ActOrder && (!s.up || s.hidden) && !gone {
		return false
	}
	switch a.Kind {
	case cotton.ActFence, cotton.ActDemote:
		s.closed, s.ended = true, w.r.Epoch
		if s.stalled {
			return false // super_read_only waits for commits
		}
		s.executed, s.pending = s.executed.Union(s.pending), mysql.GTIDSet{} // its sessions are ended, and nobody was told
	case cotton.ActOrder:
		if s.lost || s.hidden || !s.up || s.fenced == w.r.Epoch {
			return false
		}
		s.closed, s.fenced = true, w.r.Epoch
	case cotton.ActAcks:
		if w.r.AcksWanted() > w.r.Acks {
			if !w.settled() {
				return false
			}
			w.must(w.r.RaiseBase(w.servers[w.r.Primary].executed))
		}
		w.r.Acks = w.r.AcksWanted()
		w.forget()
	case cotton.ActBase:
		if w.amnesia {
			return false
		}
		w.must(w.r.RaiseBase(s.executed))
	case cotton.ActSemiSync:
		s.waits, s.acks = a.Member == w.r.Primary, w.r.SemiSync().Acks
	case cotton.ActPromote, cotton.ActOpen:
		for id, o := range w.servers {
			if id != a.Member && o.up && !o.hidden && !o.closed {
				return false
			}
		}
		if s.cloning != 0 {
			return false
		}
		if !s.executed.Contains(s.relay) && s.source != 0 {
			return false
		}
		if w.half {
			w.half = false
			s.source, s.receiving, s.relay = 0, false, mysql.GTIDSet{}
			return true
		}
		s.source, s.receiving, s.closed, s.waits, s.acks = 0, false, false, true, w.r.SemiSync().Acks
		s.relay = mysql.GTIDSet{}
		w.r.AddLineage(memberUUID(a.Member))
	case cotton.ActRefetch:
		p := w.servers[w.r.Primary]
		if !p.up || p.hidden {
			return false
		}
		if !p.executed.Contains(s.relay) {
			return false
		}
		w.must(w.r.RaiseBase(p.executed))
		s.relay, s.damaged, s.anew = mysql.GTIDSet{}, false, true
		return true
	case cotton.ActAttest:
		p := w.servers[w.r.Primary]
		if !p.up || p.hidden || !s.executed.Contains(p.executed) {
			return false
		}
		m.Boot = fmt.Sprint(s.boot)
	case cotton.ActFollow:
		m.CountAgain()
		if w.half {
			w.half = false
			return true
		}
		s.source, s.receiving = w.r.Primary, true
	case cotton.ActStart, cotton.ActReattach:
		s.receiving = true
	case cotton.ActFreeze:
		s.receiving = false
	case cotton.ActDrain, cotton.ActCatchUp:
		before := s.executed
		if s.slow || s.broken {
			return false
		}
		s.executed = s.executed.Union(s.relay)
		return !s.executed.Equal(before)
	case cotton.ActAdopt:
		p := w.servers[w.r.Primary]
		if p.closed || !p.up || p.hidden {
			return false
		}
		var set mysql.GTIDSet
		list := cotton.Adoptable(w.r, seen, a.Member)
		for _, t := range list {
			one, err := mysql.ParseGTIDSet(t.GTID)
			w.must(err)
			set = set.Union(one)
		}
		p.pending = p.pending.Union(set.Subtract(p.executed))
		if w.flow(); p.executed.Contains(set) {
			w.must(w.r.Adopted(a.Member, set, list, w.now))
			w.forget()
		}
	case cotton.ActRelieve:
		return w.relieve(a.Member, seen)
	case cotton.ActClone:
		if w.half { // replication is forgotten, and the rest fails
			w.half = false
			s.source, s.receiving, s.relay = 0, false, mysql.GTIDSet{}
			return true
		}
		s.cloneSoon, s.cloneEpoch = a.Donor, w.r.Epoch
	default:
		panic("the model does not know the step " + string(a.Kind))
	}
	return true
}

// settled tells whether all that was under way at the primary is over, as the framework waits for it.
func (w *world) settled() bool { return w.hasty || w.servers[w.r.Primary].logged().Empty() }

func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

// relieve does what the framework's step does.
func (w *world) relieve(member int, seen []cotton.Seen) bool {
	s := w.servers[member]
	if p := w.servers[w.r.Primary]; !p.up || p.hidden {
		return false
	}
	var set mysql.GTIDSet
	if s.up {
		s.receiving = false
		set = s.executed.Union(s.relay)
		set = set.Subtract(cotton.Errant(w.r, seen, set))
	}
	if !s.up {
		if !w.settled() {
			return false
		}
		set = set.Union(w.servers[w.r.Primary].executed)
	}
	need := w.r.HoldersNeeded(member)
	if set.Empty() {
		need = 0
	}
	var holders []int
	for _, id := range w.r.Ackers() {
		o := w.servers[id]
		if om, _ := w.r.Member(id); id != member && !om.Leaving && o != nil && o.up && !o.hidden && o.holds(set) && len(holders) < need {
			holders = append(holders, id)
		}
	}
	if len(holders) < need {
		return false
	}
	return w.r.Relieve(member, holders, w.servers[w.r.Primary].executed) == nil
}

// wrong says what is broken that must hold in every state (I1, I2, I15).
func (w *world) wrong() string {
	for id, s := range w.servers {
		if id == w.r.Primary && s.up && !s.closed && !s.executed.Contains(w.acked) {
			return fmt.Sprintf("I1: the primary %d is open and lacks %s", id, w.acked.Subtract(s.executed))
		}
	}
	if w.left == 0 { // one copy of everything must be left even if one more machine is lost now
		whole := 0
		for _, s := range w.servers {
			if s.has().Contains(w.acked) {
				whole++
			}
		}
		if whole < 2 && !w.power || whole < 1 {
			return fmt.Sprintf("I15: %d copies of what was acknowledged are left, with no machine lost", whole)
		}
	}
	return ""
}

// settle heals all that can be, and says what is still not as it should be when nothing moves any more.
func (w *world) settle() string {
	for _, s := range w.servers {
		s.alone, s.hidden, s.slow, s.stalled = false, false, false, false
		if !s.up && !s.lost {
			w.start(s)
		}
	}
	for i := range w.r.Members { // somebody says at last that a machine is gone for good
		if m := &w.r.Members[i]; w.servers[m.ID] != nil && w.servers[m.ID].lost {
			m.TaskState = "TASK_GONE_BY_OPERATOR"
		}
	}
	if wrong := w.calm(); wrong != "" {
		return wrong
	}
	if p := w.servers[w.r.Primary]; (!p.up || p.closed) && w.left > 0 && !w.power && !w.strayed {
		// What is left may be a copy with a commit that nobody was told of, or a stray transaction: an operator decides, and loses nothing.
		if t, _, err := cotton.PlanFailover(w.r, w.inspect(), ""); err == nil && w.r.Apply(t, w.now) == nil {
			if wrong := w.calm(); wrong != "" {
				return wrong + ", after an operator's failover"
			}
		}
	}
	problems := func() string {
		d := cotton.Decide(w.r, w.inspect(), cotton.Limits{Now: w.now, CloneMB: w.cloneMB, Silence: 3 * time.Second})
		return strings.Join(d.Problems, "; ")
	}
	// One machine may be lost. A stray transaction beside that may have spoiled the only other copy: that is an operator's to decide.
	if p := w.servers[w.r.Primary]; (!p.up || p.closed) && (w.left == 0 || w.left == 1 && !w.strayed && !w.power) {
		return fmt.Sprintf("no primary is open although everything was healed (machines lost: %d): %s", w.left, problems())
	}
	if w.left > 0 {
		return ""
	}
	if lost := w.committed.Subtract(w.servers[w.r.Primary].executed); !lost.Empty() {
		return fmt.Sprintf("what was committed on a closed member is lost: %s", lost)
	}
	for _, m := range w.r.Members {
		if s := w.servers[m.ID]; s == nil || !s.executed.Contains(w.acked) || m.ID != w.r.Primary && !w.connected(m.ID) ||
			m.Relieved && m.ID != w.r.Primary {
			return fmt.Sprintf("member %d is not in step although everything was healed: %s", m.ID, problems())
		}
	}
	if op := w.r.Operation; op != nil {
		return fmt.Sprintf("%s never ends although everything was healed: %s", op.Text(w.r), problems())
	}
	return ""
}

// calm looks until nothing moves any more, or says that it never ends.
func (w *world) calm() string {
	const rounds, enough = 80, 4 // enough: looks without a step, in which every pause of Decide is over
	still, epoch := 0, uint64(0)
	for n := 0; n < rounds && still < enough; n++ {
		if n == rounds/2 {
			epoch = w.r.Epoch
		}
		if still++; w.round() {
			still = 0
		}
		if wrong := w.wrong(); wrong != "" {
			return wrong
		}
	}
	if still < enough && w.r.Epoch != epoch {
		return fmt.Sprintf("livelock: the epoch went from %d to %d after everything was healed", epoch, w.r.Epoch)
	}
	return ""
}

// start is what an executor does: the server comes back closed, and follows nobody until it is told to.
func (w *world) start(s *server) {
	s.up, s.closed, s.receiving, s.cloning = true, true, false, 0
	s.executed, s.pending, s.released, s.stalled = s.executed.Union(s.logged()), mysql.GTIDSet{}, mysql.GTIDSet{}, false
}
