package keyed

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/testkit"
)

// TestHeld: at the gate a copy stays equal to the table, and what is written there is compared, too; the swap comes with the word.
func TestHeld(t *testing.T) {
	k := newKit(t)
	k.exec("CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, n int NOT NULL, PRIMARY KEY (id))")
	model := k.fill(2000)
	var word atomic.Bool
	gate := make(chan struct{}, 1000)
	req := k.request("MODIFY v varchar(200) NOT NULL")
	req.Held = func() string {
		if word.Load() {
			return ""
		}
		return "the operator has not said so"
	}
	said := req.Phase
	req.Phase = func(phase, detail string) {
		said(phase, detail)
		if phase == PhaseGate {
			gate <- struct{}{}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := New(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	select {
	case <-gate:
	case err := <-ended:
		t.Fatalf("it did not stop at the gate: %v", err)
	}
	l := k.startLoad(3, model)
	testkit.Eventually(t, patience, "changes are applied at the gate", func() bool { return c.Status().Applied > 300 })
	model = l.end()
	testkit.Eventually(t, patience, "all of them are applied and compared", func() bool { return c.ledger.left()+c.recheck.size() == 0 })
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	word.Store(true)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	k.check(model)
}

// TestPaced: as many workers copy as the pace allows, also when it changes under way.
func TestPaced(t *testing.T) {
	k := newKit(t)
	k.exec("CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, n int NOT NULL, PRIMARY KEY (id))")
	model := k.fill(20_000)
	var workers atomic.Int64
	workers.Store(1)
	req := k.request("MODIFY v varchar(200) NOT NULL")
	req.MaxChunk = 50

	most := map[int64]int{1: 0, 3: 0}
	req.Pace = func() (int, time.Duration) { return int(workers.Load()), ChunkTime }
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := New(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for done := false; !done; {
		select {
		case err = <-ended:
			done = true
		case <-time.After(time.Millisecond):
			allowed := workers.Load()
			most[allowed] = max(most[allowed], len(c.tracker.now().underWay))
			if c.Status().Copied > 5000 {
				workers.Store(3)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if most[1] != 1 || most[3] < 2 {
		t.Errorf("at once under way: %d chunks of one worker, %d of three", most[1], most[3])
	}
	k.check(model)
}
