package osc

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema/pairs"
	"github.com/aosc/aosc/internal/testkit"
)

// TestPairs takes every pair of definitions with its rows through the engine that is chosen when no plain ALTER is allowed,
// and through a plain one, and reads the result back (I4). While a copy is verified all rows are deleted and inserted
// again, so that each type also goes the way of the binary log. What happened is docs/plans.md.
func TestPairs(t *testing.T) {
	srv := testkit.FreshServer(t, map[string]string{"innodb_flush_method": "nosync", "innodb_doublewrite": "OFF",
		"max_connections": "500"})
	doc := newPlansDoc()
	t.Run("all", func(t *testing.T) {
		for _, p := range pairs.All() {
			for size, limit := range map[string]uint64{large: 0, small: 1000} {
				t.Run(size+" "+p.Name, func(t *testing.T) {
					t.Parallel()
					b := newBench(t, srv)
					b.settings.DirectMaxRows = limit
					b.settings.Replicas = []mysql.Addr{srv.Addr()} // of its own lag: there is none
					b.settings.AllowUnsafe = len(p.Real) > 0
					made := b.pair(p)
					doc.add(p, size, made)
					t.Logf("done by %s", made.Engine)
				})
			}
		}
	})
	if !t.Failed() {
		doc.hold(t, srv.Version())
	}
}

// refusedEngine stands for a plan that may not run.
const refusedEngine Engine = "refused"

// made is what became of a pair.
type made struct {
	Engine Engine
	Plan   Plan
	Reason string // why it was refused
}

// pair runs one pair.
func (b *bench) pair(p pairs.Pair) made {
	b.t.Helper()
	b.exec(append(append(append([]string{"SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES'"}, p.Prelude...), p.Before), p.Rows...)...)
	asks := b.asks(p)
	plan := b.plan(p.TableName(), p.After)
	helped := false
	defer func() {
		if asks != "" && !helped {
			b.t.Errorf("the permission was asked for (%s), and does not help", asks)
		}
	}()
	if plan.Refused != "" {
		if !plan.Final {
			b.t.Errorf("refused for the moment: %s", plan.Refused)
		}
		if p.Way != pairs.None && !p.NoCopy {
			b.t.Logf("%s refused: %s", plan.Engine, plan.Refused)
		}
		return made{Engine: refusedEngine, Plan: plan, Reason: plan.Refused}
	}
	var once sync.Once
	report := func(now Progress) {
		if now.State == StateVerifying && len(p.Rows) > 0 {
			once.Do(func() {
				b.exec(append([]string{"SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES'",
					"DELETE FROM " + mysql.QuoteIdent(p.TableName())}, p.Rows...)...)
			})
		}
	}
	o, err := b.runner.Run(b.t.Context(), plan, b.settings, NewControl(), report)
	var refused *RefusedError
	if errors.As(err, &refused) {
		b.t.Logf("%s refused while running: %v", plan.Engine, err)
		return made{Engine: refusedEngine, Plan: plan, Reason: refused.Reason}
	}
	if err != nil {
		b.t.Errorf("%s of %s: %v", plan.Engine, plan.SQL, err)
		return made{Engine: plan.Engine, Plan: plan}
	}
	if form := b.form(p.TableName()); form.Hash != plan.Desired.Hash {
		b.t.Errorf("I4: after %s the table is\n%s\nwanted\n%s", o.Engine, form.Text, plan.Desired.Text)
	}
	helped = true
	return made{Engine: o.Engine, Plan: plan}
}

// asks is the refusal of the plan without the permission, where it asks for it; "" else.
func (b *bench) asks(p pairs.Pair) string {
	b.t.Helper()
	allowed := b.settings.AllowUnsafe
	b.settings.AllowUnsafe = false
	plan := b.plan(p.TableName(), p.After)
	b.settings.AllowUnsafe = allowed
	if !strings.Contains(plan.Refused, "allow_unsafe") {
		return ""
	}
	if !plan.NeedsPermission() {
		b.t.Errorf("it asks for a permission that it does not need: %s", plan.Refused)
	}
	return plan.Refused
}
