package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// Operate asks for work on a cluster: kind is switchover, replace, scale, restart, configure, upgrade or cancel, asked the
// document of v1 for it. It returns once that is stored; v1.CodeRefused says why it was not.
func (c *Client) Operate(ctx context.Context, name, kind string, asked any) (v1.Planned, error) {
	return call[v1.Planned](ctx, c, http.MethodPost, path("clusters", name)+"/"+kind, asked)
}

// History is what was done to a cluster, and what is under way.
func (c *Client) History(ctx context.Context, name string) (v1.History, error) {
	return call[v1.History](ctx, c, http.MethodGet, path("clusters", name)+"/history", nil)
}

// ForceDelete is Delete that does not wait for agents that are away.
func (c *Client) ForceDelete(ctx context.Context, name, password string) error {
	_, err := call[v1.Deleted](ctx, c, http.MethodDelete, path("clusters", name), map[string]any{"password": password, "force": true})
	return err
}

// Drain has instances leave an agent, or ends that.
func (c *Client) Drain(ctx context.Context, agent string, asked v1.Drain) (v1.Draining, error) {
	return call[v1.Draining](ctx, c, http.MethodPost, path("agents", agent)+"/drain", asked)
}

// Agents are those that are being drained.
func (c *Client) Agents(ctx context.Context) (v1.Agents, error) {
	return call[v1.Agents](ctx, c, http.MethodGet, "/agents", nil)
}

// WaitOperation waits for the end of an operation; progress, unless it is nil, is told of each look. An operation that was
// canceled is an error.
func (c *Client) WaitOperation(ctx context.Context, name string, id int, progress func(v1.Operation)) (v1.Operation, error) {
	var last v1.Operation
	err := c.wait(ctx, func() (string, error) {
		h, err := c.History(ctx, name)
		if err != nil {
			return "", err
		}
		found := false
		if h.Operation != nil && h.Operation.ID == id {
			last, found = *h.Operation, true
		}
		for _, op := range h.Operations {
			if op.ID == id {
				last, found = op, true
			}
		}
		switch {
		case !found:
			return "", final{fmt.Errorf("cluster %s knows of no operation %d", name, id)}
		case progress != nil:
			progress(last)
		}
		switch {
		case last.Result != "":
			return "", nil
		case last.Waits != "":
			return last.Waits, nil
		}
		return "it is under way", nil
	})
	switch {
	case err != nil:
		return last, fmt.Errorf("wait for the end of %q of cluster %s, which goes on: %w", last.What, name, err)
	case last.Result != "done":
		note := ""
		if n := len(last.Log); n > 0 {
			note = ": " + last.Log[n-1].Note
		}
		return last, fmt.Errorf("%s of cluster %s was %s%s", last.What, name, last.Result, note)
	}
	return last, nil
}

// WaitChange waits for the end of the first change of primary that began after a moment, by the scheduler's clock. One that
// was taken back is an error.
func (c *Client) WaitChange(ctx context.Context, name string, after time.Time, progress func(v1.Change)) (v1.Change, error) {
	var last v1.Change
	err := c.wait(ctx, func() (string, error) {
		h, err := c.History(ctx, name)
		if err != nil {
			return "", err
		}
		for _, change := range h.Changes {
			if change.Began.After(after) {
				last = change
				if progress != nil {
					progress(last)
				}
				return "", nil
			}
		}
		if h.Change == nil {
			return "", final{errors.New("no change of primary is under way")}
		}
		if last = *h.Change; progress != nil {
			progress(last)
		}
		return "it is at " + last.Step, nil
	})
	switch {
	case err != nil:
		return last, fmt.Errorf("wait for the end of the switchover of cluster %s, which goes on: %w", name, err)
	case last.TakenBack:
		return last, fmt.Errorf("the %s of cluster %s was taken back, %s is the primary still: %s", last.Kind, name, last.From, last.Log[len(last.Log)-1].Note)
	}
	return last, nil
}

// LastChange is when the last change of primary began; zero when there was none.
func (c *Client) LastChange(ctx context.Context, name string) (time.Time, error) {
	h, err := c.History(ctx, name)
	if n := len(h.Changes); n > 0 {
		return h.Changes[n-1].Began, err
	}
	return time.Time{}, err
}

// WaitDrained waits until nothing is left on an agent; progress is told of each look.
func (c *Client) WaitDrained(ctx context.Context, agent string, progress func(v1.Draining)) error {
	err := c.wait(ctx, func() (string, error) {
		all, err := c.Agents(ctx)
		if err != nil {
			return "", err
		}
		for _, d := range all.Draining {
			if d.Agent != agent {
				continue
			}
			if progress != nil {
				progress(d)
			}
			if len(d.Left) == 0 {
				return "", nil
			}
			return fmt.Sprintf("%s is on it still: %s", d.Left[0].Instance, d.Left[0].Waits), nil
		}
		return "", final{fmt.Errorf("the agent %s is not being drained", agent)}
	})
	if err != nil {
		return fmt.Errorf("wait until the agent %s is drained, which goes on: %w", agent, err)
	}
	return nil
}
