package cotton

import (
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Request asks for an operation.
type Request struct {
	Kind    OperationKind
	Why     string // for the history
	Member  int    // replace: who goes; restart: the only one, 0 = all
	Nodes   int    // scale
	Policy  Policy // scale; empty = as it is, or as few nodes need
	InPlace bool   // replace: remove first, then add
	Discard bool   // replace: give up what it may have that no other member has
	// Set and Unset are settings of my.cnf for configure; the result has been checked.
	Set   map[string]string
	Unset []string
	// Package is what an upgrade installs. Version is that of its MySQL where its name says so.
	Package string
	Version *mysql.Version
}

// Room is for how many more members the agents have places.
type Room struct {
	Places int
	Why    string // not for another one, per agent
}

// Plan is what an operation does, for people.
type Plan struct {
	Steps    []string
	Warnings []string
}

// PlanOperation checks an operation and returns what it does, and what is to be stored. Its errors are a *RefusedError with
// the reason, or an *InvalidError; nothing has been changed then. It is pure.
func PlanOperation(r Record, seen []Seen, room Room, req Request, now time.Time) (Plan, Transition, error) {
	d := decidingOn(r, seen, Limits{Now: now})
	p := &planning{deciding: d, req: req, room: room}
	t, err := p.plan()
	return p.out, t, err
}

type planning struct {
	*deciding
	req  Request
	room Room
	out  Plan
}

func (p *planning) step(format string, args ...any) {
	p.out.Steps = append(p.out.Steps, fmt.Sprintf(format, args...))
}

func (p *planning) warn(format string, args ...any) {
	p.out.Warnings = append(p.out.Warnings, fmt.Sprintf(format, args...))
}

func (p *planning) refuse(format string, args ...any) error {
	return &RefusedError{string(p.req.Kind), p.Spec.Name, fmt.Sprintf(format, args...)}
}

func (p *planning) plan() (Transition, error) {
	switch {
	case p.State != StateRunning:
		return Transition{}, p.refuse("the cluster is %s", p.State)
	case p.Operation != nil:
		return Transition{}, p.refuse("%s is under way since %s: wait for its end, or `cotton cancel %s`", p.Operation.Text(p.Record),
			p.Operation.Began.Format(time.TimeOnly), p.Spec.Name)
	}
	op := &Operation{Kind: p.req.Kind, Why: p.req.Why}
	t := Transition{Kind: OpBegin, Op: op}
	var err error
	switch p.req.Kind {
	case OpReplace:
		err = p.replace(op)
	case OpScale:
		err = p.scale(op)
	case OpRestart, OpConfigure, OpUpgrade:
		t.Spec, err = p.restart(op)
	default:
		return Transition{}, &InvalidError{"kind", fmt.Sprintf("%q is no operation", p.req.Kind)}
	}
	if err != nil {
		return Transition{}, err
	}
	t.Note = op.Text(p.Record)
	if op.Why != "" {
		t.Note += ": " + op.Why
	}
	return t, nil
}

// member is the one that the request names.
func (p *planning) member() (Member, error) {
	m, ok := p.Member(p.req.Member)
	if !ok {
		return Member{}, &InvalidError{"member", fmt.Sprintf("%s has no member %d", p.Spec.Name, p.req.Member)}
	}
	if m.Phase == PhaseRemoving {
		return Member{}, p.refuse("%s is being removed already", p.MemberName(m.ID))
	}
	return *m, nil
}

func (p *planning) replace(op *Operation) error {
	m, err := p.member()
	if err != nil {
		return err
	}
	name := p.MemberName(m.ID)
	op.Member, op.InPlace, op.Discard = m.ID, p.req.InPlace, p.req.Discard
	lost := op.Discard && !p.seen[m.ID].now()
	others := 0
	for _, o := range p.Members {
		if o.ID != m.ID && o.HasData && o.Phase != PhaseRemoving && !o.Leaving {
			others++
		}
	}
	switch {
	case (op.InPlace || lost) && others == 0:
		return p.refuse("%s is the last copy of the data: nothing may be removed before another one is there", name)
	case lost && m.ID == p.Primary:
		return p.refuse("%s is the primary: what it has is given up only once another has taken over", name)
	case m.Leaving && !op.Discard:
		return p.refuse("%s is leaving already", name)
	}
	if why := p.unwell(m.ID); why != "" && !lost {
		return p.refuse("only one may be amiss at a time, and %s", why)
	}
	if why := p.mayHoldWrites(m); why != "" && !op.Discard {
		return p.refuse("%s", why)
	}
	if m.Leaving { // its successor is there, or was not wanted
		p.step("forget %s, which cannot be reached: it is taken to be off for good", name)
		op.NoNew = true
		return nil
	}
	first := op.InPlace || gone(m) || lost
	if !first && p.room.Places < 1 {
		return p.refuse("no agent has room for one more member (%s); add an agent, or let %s go first with --in-place: until the new one is in step the cluster has one copy less",
			p.room.Why, name)
	}
	add := func() { p.step("add %s on another agent, and wait until it is in step", p.MemberName(p.NextID)) }
	if op.InPlace && p.present() == 2 && p.Spec.Policy == PolicyAvailable {
		p.warn("until the new member is in step, %s is the only copy", p.MemberName(p.Primary))
	}
	if !first {
		add()
	}
	if m.ID == p.Primary {
		p.step("hand the primary over from %s to a member in step", name)
	}
	if lost {
		p.warn("%s is taken to be off for good: if it still runs, writes that it alone has acknowledged are given up", name)
	} else if op.Discard {
		p.warn("writes that only %s has are given up", name)
	}
	p.step("remove %s once nothing rests on its data; its volume is destroyed, its reservation given back", name)
	if first {
		add()
	}
	return nil
}

func (p *planning) scale(op *Operation) error {
	n := p.present()
	op.Nodes, op.Policy = p.req.Nodes, p.policy()
	spec := p.Spec
	spec.Nodes, spec.Policy = op.Nodes, op.Policy
	switch {
	case !slices.Contains([]Policy{PolicyLossless, PolicyAvailable, PolicySingle}, spec.Policy):
		return &InvalidError{"policy", fmt.Sprintf("%q is none: known are lossless, available and single", spec.Policy)}
	case spec.Policy == PolicySingle && spec.Nodes > 1:
		return &InvalidError{"policy", "single is for 1 node"}
	case op.Nodes == n && op.Policy == p.Spec.Policy && p.Spec.Nodes == n:
		return p.refuse("it has %d nodes and is %s already", n, op.Policy)
	case spec.Policy == PolicyLossless && spec.Nodes < 3 && spec.Nodes > 0:
		return p.refuse("a lossless cluster needs 3 nodes; with fewer, losing one either stops commits or risks them: if that is what you want, --policy %s",
			DefaultPolicy(spec.Nodes))
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	if why := p.unwell(); why != "" && op.Nodes >= n {
		return p.refuse("not while %s", why)
	}
	if more := op.Nodes - n; more > p.room.Places {
		return p.refuse("the agents have room for %d of %d more members (%s)", p.room.Places, more, p.room.Why)
	}
	for i := range op.Nodes - n {
		p.step("add %s and wait until it is in step", p.MemberName(p.NextID+i))
	}
	rest := *p.deciding
	rest.Members = slices.Clone(p.Members)
	for range n - op.Nodes {
		id := rest.leastUseful()
		p.step("remove %s once nothing rests on its data; its volume is destroyed, its reservation given back", p.MemberName(id))
		rest.Members = slices.DeleteFunc(rest.Members, func(m Member) bool { return m.ID == id })
	}
	if op.Policy != p.Spec.Policy {
		p.step("promise: %s", op.Policy.Promise())
	} else if op.Policy == PolicyAvailable && op.Nodes >= 3 {
		p.warn("the policy stays %s; %d nodes could be lossless: --policy lossless", op.Policy, op.Nodes)
	}
	return nil
}

// policy of a cluster that is scaled: what was asked for, else what it has, unless that many nodes can have only one.
func (p *planning) policy() Policy {
	switch {
	case p.req.Policy != "":
		return p.req.Policy
	case p.req.Nodes == 1 || p.Spec.Policy == PolicySingle:
		if p.Spec.Policy == PolicyLossless {
			return PolicyLossless // refused, with advice
		}
		return DefaultPolicy(p.req.Nodes)
	}
	return p.Spec.Policy
}

// restart plans a rolling restart, with what else is to be stored first.
func (p *planning) restart(op *Operation) (*Spec, error) {
	var spec *Spec
	switch op.Kind {
	case OpRestart:
		if p.req.Member != 0 {
			m, err := p.member()
			if err != nil {
				return nil, err
			}
			op.Members = []int{m.ID}
		}
	case OpConfigure:
		spec = p.configured()
		if maps.Equal(spec.Config, p.Spec.Config) && !slices.ContainsFunc(p.Members, func(m Member) bool { return m.Restart }) {
			return nil, p.refuse("it has these settings already")
		}
		p.step("store the settings %s", settings(p.Spec.Config, spec.Config))
	case OpUpgrade:
		spec = new(p.Spec)
		spec.Package = p.req.Package
		if err := p.upgrade(); err != nil {
			return nil, err
		}
		p.step("store the package")
	}
	if op.Members == nil {
		for _, m := range p.Members {
			if m.Phase != PhaseRemoving && !m.Leaving {
				op.Members = append(op.Members, m.ID)
			}
		}
	}
	// Settings may be what makes it well again: its members then take them up one after the other.
	if why := p.unwell(op.only()); why != "" && op.Kind != OpConfigure {
		return nil, p.refuse("not while %s", why)
	} else if why != "" {
		p.warn("%s: members are restarted only while all others are well", why)
	}
	p.steps(op)
	return spec, nil
}

// only is the one member that a restart is of; 0 = several.
func (o *Operation) only() int {
	if len(o.Members) == 1 {
		return o.Members[0]
	}
	return 0
}

// steps of a rolling restart: replicas first, the primary last.
func (p *planning) steps(op *Operation) {
	primary := false
	for _, id := range op.Members {
		if id == p.Primary {
			primary = true
			continue
		}
		p.step("restart %s and wait until it is in step", p.MemberName(id))
	}
	switch {
	case !primary:
	case len(p.Members) == 1:
		p.step("restart %s", p.MemberName(p.Primary))
		p.warn("it is the only instance: clients are served again once it is back")
	default:
		p.step("hand the primary over from %s to a member in step, then restart it", p.MemberName(p.Primary))
	}
}

func (p *planning) configured() *Spec {
	spec := new(p.Spec)
	spec.Config = Configured(p.Spec.Config, p.req.Set, p.req.Unset)
	return spec
}

// Configured is what remains of settings after a change of some. None of its arguments is changed.
func Configured(before, set map[string]string, unset []string) map[string]string {
	after := map[string]string{}
	maps.Copy(after, before)
	for _, name := range unset {
		delete(after, name)
	}
	maps.Copy(after, set)
	return after
}

// settings is what changes, for people.
func settings(before, after map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if old, had := before[name]; !had || old != after[name] {
			parts = append(parts, name+"="+after[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, has := after[name]; !has {
			parts = append(parts, name+" as it is without")
		}
	}
	if len(parts) == 0 {
		return "as they are"
	}
	return strings.Join(parts, ", ")
}

// upgrade refuses to go back: a server does not start on data that a newer one has written.
func (p *planning) upgrade() error {
	if p.req.Package == p.Spec.Package && !slices.ContainsFunc(p.Members, func(m Member) bool { return m.Restart }) {
		return p.refuse("it has this package already")
	}
	if p.req.Version == nil {
		p.warn("the package's name does not say which MySQL it has: whether it is a newer one than now is found out with the first replica, which does not start if it is not")
		return nil
	}
	for _, m := range p.Members {
		s := p.seen[m.ID]
		if s.Answered && s.Server.Version.Compare(*p.req.Version) > 0 {
			return p.refuse("%s runs MySQL %s, and does not start as %s on the same data: a cluster never goes back to an older version; restore a backup instead",
				p.MemberName(m.ID), s.Server.Version, p.req.Version.Text)
		}
	}
	return nil
}

var versionInName = regexp.MustCompile(`(?:^|[^0-9.])(\d+\.\d+(?:\.\d+)?)`)

// PackageVersion is the version that a package's name, or the last part of its address, says; nil when none does. One that
// says x.y only counts as the newest of that line.
func PackageVersion(name, uri string) *mysql.Version {
	for _, text := range []string{name, path.Base(strings.SplitN(uri, "#", 2)[0])} {
		if found := versionInName.FindStringSubmatch(text); found != nil {
			v, err := mysql.ParseVersion(found[1])
			if err != nil {
				continue
			}
			if strings.Count(found[1], ".") == 1 {
				v.Patch = math.MaxInt
			}
			return &v
		}
	}
	return nil
}

// PlanCancel checks whether the operation under way can be taken back, and says what stays.
func PlanCancel(r Record) (Plan, Transition, error) {
	refuse := func(why string) (Plan, Transition, error) {
		return Plan{}, Transition{}, &RefusedError{"cancel", r.Spec.Name, why}
	}
	op := r.Operation
	if op == nil {
		return refuse("nothing is under way")
	}
	if why := r.cannotCancel(); why != "" {
		return refuse(why)
	}
	p := Plan{Steps: []string{"stop: " + op.Text(r)}}
	if _, ok := r.Member(op.New); ok {
		p.Steps = append(p.Steps, fmt.Sprintf("remove %s, which was added", r.MemberName(op.New)))
	}
	switch op.Kind {
	case OpReplace:
		if r.going(op.Member) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s is gone already: the cluster stays with one member less until `cotton scale %s %d`",
				r.MemberName(op.Member), r.Spec.Name, r.Spec.Nodes))
		}
	case OpConfigure, OpUpgrade:
		p.Warnings = append(p.Warnings, "settings and package stay stored: members that were not restarted take them up with their next start")
	case OpScale:
		if op.Nodes < r.present() {
			p.Warnings = append(p.Warnings, fmt.Sprintf("the policy stays %s", r.Spec.Policy))
		}
	}
	return p, Transition{Kind: OpCancel, Note: "an operator asked for it"}, nil
}
