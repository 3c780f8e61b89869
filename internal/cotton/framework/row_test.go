package framework_test

import (
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/testkit"
)

// over waits for the end of an operation, and for nothing else.
func (s *site) over(f *framework.Framework, id int) cotton.Operation {
	s.t.Helper()
	var v framework.View
	testkit.Eventually(s.t, 4*patience, "the operation is over", func() bool {
		var err error
		v, err = f.Cluster(s.t.Context(), "c0")
		return err == nil && v.Record.Operation == nil
	})
	op := v.Record.Operations[len(v.Record.Operations)-1]
	for _, step := range op.Log {
		s.t.Logf("%8d ms  %s: %s", step.At.Sub(op.Began).Milliseconds(), step.Step, step.Note)
	}
	if op.ID != id {
		s.t.Fatalf("operation %d is over, not %d", op.ID, id)
	}
	return op
}

// TestInARow: when an operation is over the cluster is in step, what was removed is gone, and the next one is accepted at once.
func TestInARow(t *testing.T) {
	long(t)
	s, f, _, l := begins(t, 6, nil)
	for _, do := range []struct {
		what  string
		nodes int
		begin func(v framework.View) (int, error)
	}{
		{"switchover", 3, func(framework.View) (int, error) {
			t, err := f.Switchover(t.Context(), "c0", framework.SwitchoverOptions{})
			if err != nil {
				return 0, err
			}
			return t.Op.ID, nil
		}},
		{"scale to 5", 5, func(framework.View) (int, error) { return s.begun(f, cotton.Request{Kind: cotton.OpScale, Nodes: 5}) }},
		{"scale to 3", 3, func(framework.View) (int, error) { return s.begun(f, cotton.Request{Kind: cotton.OpScale, Nodes: 3}) }},
		{"replace", 3, func(v framework.View) (int, error) {
			return s.begun(f, cotton.Request{Kind: cotton.OpReplace, Member: v.Record.Primary})
		}},
		{"restart", 3, func(framework.View) (int, error) { return s.begun(f, cotton.Request{Kind: cotton.OpRestart}) }},
		{"switchover again", 3, func(framework.View) (int, error) {
			t, err := f.Switchover(t.Context(), "c0", framework.SwitchoverOptions{})
			if err != nil {
				return 0, err
			}
			return t.Op.ID, nil
		}},
	} {
		v, err := f.Cluster(t.Context(), "c0")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		id, err := do.begin(v)
		if err != nil {
			t.Fatalf("%s is not accepted at once: %v", do.what, err)
		}
		op := s.over(f, id)
		t.Logf("%s: %s", do.what, time.Since(begun).Round(10*time.Millisecond))
		if op.Result != cotton.ResultDone || op.Missing != "" {
			t.Errorf("%s ended as %q, missing: %s", do.what, op.Result, op.Missing)
		}
		if v, err = f.Cluster(t.Context(), "c0"); err != nil || len(v.Record.Members) != do.nodes || len(s.reserved()) != do.nodes ||
			len(s.tasks()) != do.nodes {
			t.Errorf("after %s: %d members, %d reservations, %d tasks, %v", do.what, len(v.Record.Members), len(s.reserved()), len(s.tasks()), err)
		}
	}
	v := s.await(f, "c0", "all is well", complete(3))
	l.writes(5)
	l.settle(v)
	s.healthy(v, 3)
}

func (s *site) begun(f *framework.Framework, req cotton.Request) (int, error) {
	p, err := f.Operate(s.t.Context(), "c0", req, false)
	if err != nil {
		return 0, err
	}
	return p.Operation.ID, nil
}
