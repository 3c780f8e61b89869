package mesos

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
)

// Update queues a status. It is sent in order, and again until the agent has acknowledged it, whatever happens to the
// connection. uuid, source, executor id and, unless set, timestamp are filled in.
func (x *Executor) Update(status mesos.TaskStatus) error {
	if status.State == nil || *status.State == mesos.TASK_STAGING || status.TaskID.Value == "" {
		return errors.New("a status needs a task and a state, which is not TASK_STAGING") // the agent would answer 400 (rule 36)
	}
	status.UUID = newUUID()
	source := mesos.SOURCE_EXECUTOR
	status.Source = &source
	status.ExecutorID = &mesos.ExecutorID{Value: x.cfg.ExecutorID}
	if status.Timestamp == nil {
		now := float64(time.Now().UnixMicro()) / 1e6
		status.Timestamp = &now
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.updates = append(x.updates, &pendingUpdate{update: executor.Call_Update{Status: status}})
	x.signal()
	return nil
}

// newUUID is a random UUID, of version 4.
func newUUID() []byte {
	u := make([]byte, 16)
	rand.Read(u) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// Flush waits until every update is acknowledged, that is until the agent has stored it: an executor that ends before
// loses what it said last. It says how many are left when ctx or Run ends.
func (x *Executor) Flush(ctx context.Context) error {
	for {
		x.mu.Lock()
		left, over, changed := len(x.updates), x.over, x.changed
		x.mu.Unlock()
		switch {
		case left == 0:
			return nil
		case over:
			return fmt.Errorf("%d status updates are not acknowledged by the agent, which is not spoken to any more", left)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d status updates are not acknowledged by the agent: %w", left, ctx.Err())
		}
	}
}

// end is the end of Run.
func (x *Executor) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	x.signal()
}

// signal wakes all who wait for a change; x.mu is held.
func (x *Executor) signal() {
	close(x.changed)
	x.changed = make(chan struct{})
}

func (x *Executor) launched(tasks ...mesos.TaskInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tasks = append(x.tasks, tasks...)
}

func (x *Executor) acknowledged(e *executor.Event_Acknowledged) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.updates = slices.DeleteFunc(x.updates, func(u *pendingUpdate) bool { return bytes.Equal(u.update.Status.UUID, e.UUID) })
	x.tasks = slices.DeleteFunc(x.tasks, func(t mesos.TaskInfo) bool { return t.TaskID == e.TaskID })
	x.signal()
}

func (x *Executor) setConnected(yes bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.connected = yes
	x.signal()
}

// Connected tells whether there is a subscription at this moment.
func (x *Executor) Connected() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.connected
}

func (x *Executor) refusal() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.refused
}

// sendUpdates sends what Update queues, one after another, until ctx ends; it lives as long as a subscription. A refused
// update ends the subscription by cancel, and Run with it.
func (x *Executor) sendUpdates(ctx context.Context, cancel context.CancelFunc) {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for ctx.Err() == nil {
		u, changed := x.nextUnsent()
		if u == nil {
			select {
			case <-changed:
			case <-retry.C: // one sent long ago may be due again
			case <-ctx.Done():
			}
			continue
		}
		err := x.sendUpdate(ctx, u.update)
		x.mu.Lock()
		switch {
		case err == nil:
			u.sentAt = time.Now()
		case hasStatus(err, http.StatusBadRequest):
			x.refused = fmt.Errorf("the agent refuses status %s of task %s: %w", u.update.Status.GetState(), u.update.Status.TaskID.Value, err)
			cancel()
		}
		x.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			x.cfg.Log.Warn("status update not sent", "task", u.update.Status.TaskID.Value, "state", u.update.Status.GetState(), "error", err)
			sleep(ctx, time.Second)
		}
	}
}

// nextUnsent is the oldest update that is to be sent, or nil and what to wait for.
func (x *Executor) nextUnsent() (*pendingUpdate, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, u := range x.updates {
		if time.Since(u.sentAt) > unacknowledgedAfter {
			return u, nil
		}
	}
	return nil, x.changed
}

func (x *Executor) sendUpdate(ctx context.Context, u executor.Call_Update) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return x.http.do(ctx, x.url, x.call(calls.Update(u.Status)), nil)
}
