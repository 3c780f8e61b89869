package framework

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

// Clusters are all clusters, by name; those being deleted are among them. ErrNotReady.
func (f *Framework) Clusters(context.Context) ([]View, error) {
	if err := f.ready(); err != nil {
		return nil, err
	}
	var views []View
	for _, c := range f.list() {
		views = append(views, f.view(c))
	}
	slices.SortFunc(views, func(a, b View) int { return strings.Compare(a.Record.Spec.Name, b.Record.Spec.Name) })
	return views, nil
}

// Cluster is one cluster. Errors: ErrUnknown, ErrNotReady.
func (f *Framework) Cluster(_ context.Context, name string) (View, error) {
	c, err := f.known(name)
	if err != nil {
		return View{}, err
	}
	return f.view(c), nil
}

// Endpoints are what is published of a cluster (I10). Errors: ErrUnknown, ErrNotReady.
func (f *Framework) Endpoints(_ context.Context, name string) (Endpoints, error) {
	c, err := f.known(name)
	if err != nil {
		return Endpoints{}, err
	}
	r := c.snapshot()
	c.mu.Lock()
	e := c.endpoints
	c.mu.Unlock()
	e.CA = f.authorities(r)
	return e, nil
}

// view is a cluster as it is known now, for those outside.
func (f *Framework) view(c *cluster) View {
	v := c.view()
	v.Endpoints.CA = f.authorities(v.Record)
	return v
}

// Why says what a cluster waits for and what is wrong with each agent. Errors: ErrUnknown, ErrNotReady.
func (f *Framework) Why(_ context.Context, name string) (Wait, error) {
	c, err := f.known(name)
	if err != nil {
		return Wait{}, err
	}
	w := Wait{Cluster: name, Members: []int{}, Refusals: []cotton.Refusal{}}
	placing := map[int]bool{}
	r := c.snapshot()
	for _, m := range r.Members {
		if waiting(m) {
			w.Members, placing[m.ID] = append(w.Members, m.ID), true
		}
	}
	for _, planned := range f.Maintenance() {
		if slices.ContainsFunc(r.Members, planned.Concerns) {
			w.Maintenance = append(w.Maintenance, planned)
		}
	}
	for _, withheld := range f.Withheld() {
		if len(w.Members) > 0 || slices.ContainsFunc(r.Members, withheld.Concerns) {
			w.Withheld = append(w.Withheld, withheld)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.OffersSeen = f.offersSeen
	for _, key := range slices.Sorted(maps.Keys(f.refusals[name])) {
		if refusal := f.refusals[name][key]; placing[refusal.Member] {
			w.Refusals = append(w.Refusals, refusal)
		}
	}
	return w, nil
}

// Health is how the framework stands. It never waits.
func (f *Framework) Health() Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.health
	h.Clusters = len(f.clusters)
	return h
}

// Orphans are volumes and reservations of ours that no record claims and that stay; an operator decides.
func (f *Framework) Orphans() []cotton.Orphan {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.orphans)
}

func (f *Framework) known(name string) (*cluster, error) {
	if err := f.ready(); err != nil {
		return nil, err
	}
	c := f.get(name)
	if c == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return c, nil
}

// keepRefusals remembers the last thing that was wrong with each agent, for each member.
func (f *Framework) keepRefusals(refusals []cotton.Refusal, offers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offersSeen += offers
	for _, r := range refusals {
		if f.refusals[r.Cluster] == nil {
			f.refusals[r.Cluster] = map[string]cotton.Refusal{}
		}
		// By hostname: an agent that came back with another id is the same to people.
		f.refusals[r.Cluster][fmt.Sprintf("%s/%d", r.Hostname, r.Member)] = r
	}
}

func (f *Framework) keepOrphans(seen []cotton.Orphan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	byID := map[string]cotton.Orphan{}
	for _, o := range append(f.orphans, seen...) {
		byID[o.ResourceID] = o
	}
	f.orphans = f.orphans[:0]
	var mb float64
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		f.orphans = append(f.orphans, byID[id])
		mb += byID[id].MB
	}
	f.metrics.orphanMB.Set(mb)
}

func since(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " since " + at.UTC().Format(time.DateTime) + " UTC"
}

// unreachableProblems say of members whose agents Mesos does not reach since when, and what will be done when.
func unreachableProblems(r cotton.Record, replaceAfter time.Duration) []string {
	var problems []string
	for _, m := range r.Members {
		if m.Phase != cotton.PhaseRunning || !m.OutOfSight() {
			continue
		}
		what := "it is left alone until the agent returns or is declared gone at Mesos: there is no --replace-after"
		switch {
		case len(r.Members) == 1:
			what = "it is the only instance: nothing takes its place until the agent returns"
		case !m.HasData || m.DownSince.IsZero():
			what = "it is left alone until the agent returns or is declared gone at Mesos"
		case replaceAfter > 0:
			what = fmt.Sprintf("if it has not returned by %s UTC, another takes its place (--replace-after %s)",
				m.DownSince.Add(replaceAfter).UTC().Format(time.DateTime), replaceAfter)
		}
		problems = append(problems, fmt.Sprintf("%s: Mesos does not reach its agent %s%s (%s); %s", r.MemberName(m.ID), m.Hostname, since(m.DownSince),
			m.TaskState, what))
	}
	return problems
}

// view is the cluster as it is known now.
func (c *cluster) view() View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := View{
		Record: c.record.Clone(), Endpoints: c.endpoints, Problems: slices.Concat(c.problems, c.backupProblems),
		Promise: c.record.Spec.Policy.Promise(), Diagnoses: slices.Clone(c.diagnoses), Waits: c.waits,
	}
	for _, m := range c.record.Members {
		v.Instances = append(v.Instances, c.instance(m))
	}
	return v
}

// instance is a member as it was last seen; c.mu is held.
func (c *cluster) instance(m cotton.Member) Instance {
	i := Instance{Member: m, Name: c.record.MemberName(m.ID), Role: "unknown"}
	s, seen := c.seen[m.ID]
	switch {
	case m.Phase != cotton.PhaseRunning: // its server is not asked: what Mesos said last matters
		i.Problem = strings.TrimSpace(string(m.Phase) + " " + m.TaskState + " " + m.Reason)
	case c.down[m.ID] != "":
		i.Problem = c.down[m.ID]
	case seen && s.Err != nil && !errors.Is(s.Err, errNotUp):
		i.Problem = s.Err.Error()
	case !seen || s.Err != nil: // what Mesos or the executor said last, such as why it did not start
		i.Problem = strings.TrimSpace(string(m.Phase) + " " + m.TaskState + " " + m.Reason)
	}
	if m.Phase == cotton.PhaseRunning && m.OutOfSight() { // also while its server answers us
		i.Problem = strings.TrimSuffix("Mesos does not reach its agent"+since(m.DownSince)+" ("+m.TaskState+"): "+i.Problem, ": ")
	}
	if f, ok := c.facts[m.ID]; ok {
		i.Version, i.DiskUsedMB, i.DiskFreeMB, i.Restarts = f.Version, f.DiskUsedMB, f.DiskFreeMB, f.Restarts
		if f.Task == m.TaskID {
			i.Keys, i.Certificate = f.Keys, f.Certificate
		}
	}
	if !seen || !s.Answered {
		return i
	}
	i.ServerUUID, i.GTIDs = s.Server.UUID, s.Server.GTIDExecuted
	i.Errant = c.errant[m.ID]
	i.Version, i.SeenAt = s.Server.Version.String(), time.Now().Add(-s.Silent)
	if s.Err != nil || c.down[m.ID] != "" { // what it was says nothing of what it is (I11)
		return i
	}
	i.Writable = s.Writable()
	switch {
	case s.Replica != nil:
		i.Role, i.Source = "replica", s.Replica.Source.String()
		i.Receiving, i.Applying, i.Acknowledging = s.Replica.Receiving(), s.Replica.SQLRunning == "Yes", s.Acknowledging
		if s.Replica.Receiving() {
			i.LagSeconds = s.Replica.SecondsBehind
		}
	case i.Writable:
		i.Role = "primary"
		if s.SourceSemiSync.Enabled {
			i.Acks, i.Clients = s.SourceSemiSync.Acks, s.SemiSync.Clients
		}
	}
	return i
}
