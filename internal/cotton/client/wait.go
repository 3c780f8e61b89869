package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// pollEvery is how often a wait looks.
const pollEvery = 250 * time.Millisecond

// WaitRunning waits until the cluster takes writes and all its instances serve. The error when ctx ends says what was
// missing.
func (c *Client) WaitRunning(ctx context.Context, name string) (v1.Cluster, error) {
	return c.WatchRunning(ctx, name, nil)
}

// WatchRunning is WaitRunning; progress, unless it is nil, is told of each look.
func (c *Client) WatchRunning(ctx context.Context, name string, progress func(v1.Cluster)) (v1.Cluster, error) {
	var last v1.Cluster
	err := c.wait(ctx, func() (missing string, err error) {
		if last, err = c.Cluster(ctx, name); err != nil {
			return "", err
		}
		if progress != nil {
			progress(last)
		}
		return Missing(last), nil
	})
	if err != nil {
		return last, fmt.Errorf("wait for cluster %s: %w; `cotton why %s` says what it waits for", name, err, name)
	}
	return last, nil
}

// Missing says what a cluster lacks to be what was asked for; empty when it is.
func Missing(c v1.Cluster) string {
	serving := len(c.Endpoints.Replicas)
	if c.Endpoints.Primary != nil {
		serving++
	}
	var missing []string
	switch {
	case c.State == "deleting":
		missing = append(missing, "it is being deleted")
	case c.Endpoints.Primary == nil:
		missing = append(missing, "no instance takes writes")
	}
	if serving < c.Nodes {
		missing = append(missing, fmt.Sprintf("%d of %d instances serve", serving, c.Nodes))
	}
	for _, in := range c.Instances {
		if text := FailedLaunch(in); text != "" {
			missing = append(missing, text)
		}
	}
	return strings.Join(append(missing, c.Problems...), "; ")
}

// FailedLaunch says that the last launches of an instance failed, and why; empty when they did not. It is one line.
func FailedLaunch(in v1.Instance) string {
	if in.Failures == 0 {
		return ""
	}
	return fmt.Sprintf("%s: launch %d on agent %s failed, %d in a row: %s", in.Name, in.Launches, in.Agent, in.Failures, OneLine(in.Failure, 200))
}

// OneLine is text without line breaks, cut to a length.
func OneLine(text string, longest int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "..."
	}
	return text
}

// WaitAccepting waits until the cluster would accept the next operation. It asks by a dry run, which changes nothing.
func (c *Client) WaitAccepting(ctx context.Context, name string) error {
	err := c.wait(ctx, func() (string, error) {
		_, err := c.Operate(ctx, name, "restart", v1.Restart{Asked: v1.Asked{DryRun: true}})
		if IsCode(err, v1.CodeRefused) {
			var refused *Error
			errors.As(err, &refused)
			return refused.Reason.Message, nil
		}
		return "", err
	})
	if err != nil {
		return fmt.Errorf("wait until cluster %s is in step: %w", name, err)
	}
	return nil
}

// WaitGone waits until the cluster is forgotten: nothing of it is left in Mesos then.
func (c *Client) WaitGone(ctx context.Context, name string) error {
	err := c.wait(ctx, func() (string, error) {
		cluster, err := c.Cluster(ctx, name)
		if IsCode(err, v1.CodeNotFound) {
			return "", nil
		}
		return fmt.Sprintf("%d instances are left", len(cluster.Instances)), err
	})
	if err != nil {
		return fmt.Errorf("wait for the end of cluster %s: %w", name, err)
	}
	return nil
}

// final is an error that waiting does not help against.
type final struct{ error }

// wait asks until nothing is missing. A scheduler that is away or not ready is waited for, any other refusal ends it.
func (c *Client) wait(ctx context.Context, look func() (missing string, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last string
	for {
		missing, err := look()
		var refused *Error
		switch {
		case err == nil && missing == "":
			return nil
		case err == nil:
			last = missing
		case errors.As(err, new(final)):
			return err
		case errors.As(err, &refused) && refused.Reason.Code != v1.CodeUnavailable:
			return err
		case ctx.Err() == nil:
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			if last == "" {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w; at last: %s", context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
