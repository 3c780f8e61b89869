package framework

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
)

// taskID names a launch: never used again (R9), also by another cluster of the same name, whose statuses and messages may still
// be on their way. The first part is for people. Ids without the last part, of earlier releases, stay as they are stored.
func taskID(cluster string, member, launch int) string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails
	return fmt.Sprintf("%s-%d-%d-%s", cluster, member, launch, hex.EncodeToString(b))
}

// status handles one status update. It is acknowledged only once its meaning is stored (I9); one that cannot be stored
// now is left for Mesos to repeat. Nothing here minds repetition, or order.
func (f *Framework) status(ctx context.Context, s mesos.TaskStatus) {
	f.answered(s.TaskID.Value)
	news, err := f.keepStatus(ctx, s)
	f.countStatus(s, news)
	if err != nil {
		f.cfg.Log.Error("a status is not stored: Mesos will repeat it", "task", s.TaskID.Value, "state", s.GetState(), "error", err)
		return
	}
	fault.Point(faultStatus)
	if err := f.scheduler.Acknowledge(ctx, s); err != nil {
		f.cfg.Log.Warn("a status is not acknowledged: Mesos will repeat it", "task", s.TaskID.Value, "error", err)
	}
}

// countStatus counts a status, apart from those that only repeat: Mesos sends one again until it is acknowledged, with
// the same uuid, and tells what it knows when it is asked, without one.
func (f *Framework) countStatus(s mesos.TaskStatus, news bool) {
	again := !news
	if len(s.UUID) > 0 {
		again = !f.heard.add(string(s.UUID))
	}
	if again {
		f.metrics.repetitions.Inc()
		return
	}
	f.metrics.statuses.WithLabelValues(s.GetState().String()).Inc()
}

// heard are the uuids of the last statuses. Its zero value is ready for use.
type heard struct {
	known map[string]bool
	order []string // as a ring, once it is full
	next  int
}

// maxHeard is far more than are on their way at any time: one per task, and some thousand tasks.
const maxHeard = 16384

// add is false for one that is known.
func (h *heard) add(uuid string) bool {
	if h.known[uuid] {
		return false
	}
	if h.known == nil {
		h.known = map[string]bool{}
	}
	h.known[uuid] = true
	if len(h.order) < maxHeard {
		h.order = append(h.order, uuid)
		return true
	}
	delete(h.known, h.order[h.next])
	h.order[h.next], h.next = uuid, (h.next+1)%maxHeard
	return true
}

// keepStatus stores what a status means; news tells whether it meant anything new.
func (f *Framework) keepStatus(ctx context.Context, s mesos.TaskStatus) (news bool, err error) {
	c, member := f.owner(s.TaskID.Value)
	if c == nil {
		return f.stray(s), nil
	}
	c.note(member, s)
	err = f.change(ctx, c, func(r *cotton.Record) error {
		m, ok := r.Member(member)
		if !ok || m.TaskID != s.TaskID.Value { // launched anew meanwhile
			return errUnchanged
		}
		return applyStatus(r, m, s, f.clock.now())
	})
	if err == nil && dead(s.GetState().String()) {
		f.anew.Store(true)
	}
	if s.GetReason() == mesos.REASON_AGENT_DRAINING {
		f.drained.Store(true)
	}
	c.poke()
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	return err == nil, err
}

// applyStatus is pure: what a status of its present task means for a member.
func applyStatus(r *cotton.Record, m *cotton.Member, s mesos.TaskStatus, now time.Time) error {
	if s.GetState() == mesos.TASK_UNKNOWN && !m.HasData {
		// Its agent was lost before it was known to run. It wants another; should it run all the same, it is nobody's and is ended.
		s.State = mesos.TASK_DROPPED.Enum()
	}
	state := s.GetState().String()
	if m.TaskState == state && (m.AgentID == s.GetAgentID().GetValue() || s.AgentID == nil) {
		return errUnchanged
	}
	// A task that is over stays over, whatever comes late; except that what was only lost from sight may come back.
	if dead(m.TaskState) && !comesBack(m.TaskState, s.GetState()) {
		return errUnchanged
	}
	m.TaskState, m.Reason = state, reason(s)
	if id := s.GetAgentID().GetValue(); id != "" {
		m.AgentID = id
	}
	if m.DownSince.IsZero() && m.HasData && (dead(state) || m.OutOfSight()) {
		m.DownSince = now.UTC()
	}
	switch {
	case s.GetState() == mesos.TASK_RUNNING:
		m.HasData, m.DownSince = true, time.Time{}
		m.Failures, m.Failure, m.RetryAt = 0, "", time.Time{}
		if m.Phase != cotton.PhaseRemoving {
			m.Phase = cotton.PhaseRunning
		}
	case dead(state):
		ended(r, m, s, now)
	}
	return nil
}

// comesBack tells whether a task that was given up as lost turned out to run.
func comesBack(was string, is mesos.TaskState) bool {
	switch was {
	case mesos.TASK_LOST.String(), mesos.TASK_GONE.String(), mesos.TASK_UNKNOWN.String():
		return is == mesos.TASK_RUNNING || is == mesos.TASK_STARTING || is == mesos.TASK_KILLING
	}
	return false
}

// ended is a member whose task is over: it wants another, after a pause if this one failed by itself.
func ended(r *cotton.Record, m *cotton.Member, s mesos.TaskStatus, now time.Time) {
	if m.Phase == cotton.PhaseRemoving {
		return
	}
	ran := m.Phase == cotton.PhaseRunning
	m.Phase = cotton.PhasePending
	if m.HasData {
		m.Phase = cotton.PhaseLost
	}
	if m.Stopping { // as it was told to
		m.Stopping, m.RetryAt = false, time.Time{}
		return
	}
	if s.GetReason() == mesos.REASON_INVALID_OFFERS { // the offer was rescinded: nobody's fault (R21)
		if m.Anew {
			m.ResourceID, m.VolumeID, m.Port = "", "", 0 // nothing of that ACCEPT was done
		}
		return
	}
	if s.GetReason() == mesos.REASON_AGENT_DRAINING { // an operator's will: nobody's fault
		m.RetryAt = time.Time{}
		return
	}
	if ran && now.Sub(m.LaunchedAt) > maxRetry {
		m.Failures = 0 // it had worked
	}
	m.Failures++
	m.Failure = m.Reason
	m.RetryAt = now.Add(retryAfter(m.Failures))
	if !m.HasData && m.Failures%failuresToMove == 0 {
		r.Abandon(m, m.Reason, now)
		m.RetryAt = now
	}
}

// failuresToMove in a row on one agent, before there are data, send a member to another agent: this one may lack mysqld.
const failuresToMove = 3

func reason(s mesos.TaskStatus) string {
	var parts []string
	if s.Reason != nil {
		parts = append(parts, s.GetReason().String())
	}
	if s.GetMessage() != "" {
		parts = append(parts, s.GetMessage())
	}
	return strings.Join(parts, ": ")
}

// note keeps what is not stored: facts, and whether mysqld runs.
func (c *cluster) note(member int, s mesos.TaskStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.record.Member(member); !ok || m.TaskID != s.TaskID.Value {
		return
	}
	var facts cotton.Facts
	if json.Unmarshal(s.Data, &facts) == nil {
		c.learn(member, facts)
	}
	delete(c.down, member)
	if s.GetState() == mesos.TASK_RUNNING && s.Healthy != nil && !*s.Healthy {
		c.down[member] = s.GetMessage()
	}
}

// learn keeps the facts of a member, unless later ones of the same task are known: a status is repeated until it is acknowledged. c.mu is
// held.
func (c *cluster) learn(member int, facts cotton.Facts) {
	if last := c.facts[member]; last.Task == facts.Task && facts.Clock < last.Clock {
		return
	}
	c.facts[member] = reported{facts, time.Now()}
}

// message takes what an executor says between statuses.
func (f *Framework) message(data []byte) {
	var facts cotton.Facts
	if err := json.Unmarshal(data, &facts); err != nil {
		f.cfg.Log.Warn("an executor's message cannot be read", "error", err)
		return
	}
	if c, member := f.owner(facts.Task); c != nil {
		c.mu.Lock()
		before := c.facts[member].Task
		c.learn(member, facts)
		c.mu.Unlock()
		if before != facts.Task {
			c.poke() // a lease may wait for them
		}
	}
}

// stray is a task that no record knows: a launch that was given up. It is killed; all records are read completely before
// Mesos is asked for anything, so it is nobody's (R10). It tells whether that is news.
func (f *Framework) stray(s mesos.TaskStatus) (news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.strays[s.TaskID.Value]
	if dead(s.GetState().String()) {
		delete(f.strays, s.TaskID.Value)
		return known
	}
	if !known {
		f.cfg.Log.Warn("a task runs that no cluster has: killing it", "task", s.TaskID.Value, "agent", s.GetAgentID().GetValue())
		f.strays[s.TaskID.Value] = &killing{agent: s.GetAgentID().GetValue()}
	}
	return !known
}

// owner finds the cluster and member whose present task this is.
func (f *Framework) owner(task string) (*cluster, int) {
	for _, c := range f.list() {
		c.mu.Lock()
		for _, m := range c.record.Members {
			if m.TaskID == task {
				c.mu.Unlock()
				return c, m.ID
			}
		}
		c.mu.Unlock()
	}
	return nil, 0
}
