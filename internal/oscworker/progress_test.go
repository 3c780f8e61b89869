package oscworker

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/osc"
)

func planned(database string, bytes uint64) osc.Plan {
	return osc.Plan{Target: osc.Target{Database: database, Table: "t"}, Engine: osc.EngineGhost, Bytes: bytes, Rows: 1}
}

func TestProgressIsWeightedByBytes(t *testing.T) {
	p := newProgress()
	p.plan([]osc.Plan{planned("big", 899), planned("small", 99)}) // 900 and 100 with the step itself
	p.update(osc.Progress{Database: "small", Engine: osc.EngineGhost, State: osc.StateDone, Fraction: 1})
	if got := p.snapshot().Percentage; got != 10 {
		t.Errorf("the small one done: %v %%, want 10", got)
	}
	p.update(osc.Progress{Database: "big", Engine: osc.EngineGhost, State: osc.StateCopying, Fraction: 0.5, ETA: 90 * time.Second})
	got := p.snapshot()
	if got.Percentage != 55 || !got.Changed {
		t.Errorf("half of the big one: %v %%, changed %v, want 55", got.Percentage, got.Changed)
	}
	var entries []entry
	if err := json.Unmarshal([]byte(got.Detail), &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].Database != "big" || entries[0].Percentage != 50 || entries[0].ETASeconds != 90 || entries[1].State != "done" {
		t.Errorf("detail %s", got.Detail)
	}
	if !p.snapshot().Changed {
		t.Error("what was not stored counts as stored: a report that fails loses the last state of a database")
	}
	p.update(osc.Progress{Database: "big", State: osc.StateDone, Fraction: 1})
	if p.wrote(got); !p.snapshot().Changed {
		t.Error("a change during the report counts as stored")
	}
	if p.wrote(p.snapshot()); p.snapshot().Changed {
		t.Error("what is stored counts as changed")
	}
}

// A table whose statistics are older than its rows does not count as nothing.
func TestProgressBelievesRowsMoreThanStatistics(t *testing.T) {
	p := newProgress()
	p.plan([]osc.Plan{planned("filled", 0), planned("known", 49_999)})
	p.update(osc.Progress{Database: "filled", State: osc.StateCopying, Fraction: 0.5, RowsCopied: 500, RowsTotal: 1000})
	if got := p.snapshot().Percentage; got != 25 {
		t.Errorf("got %v %%, want 25", got)
	}
}

func TestProgressIsNeverQuiteDone(t *testing.T) {
	p := newProgress()
	if got := p.snapshot(); got.Percentage != 0 || got.Detail != "" {
		t.Errorf("before the plan: %+v", got)
	}
	p.plan([]osc.Plan{planned("d", 0)})
	p.update(osc.Progress{Database: "d", Fraction: 7})
	p.update(osc.Progress{Database: "unknown", Fraction: 1})
	if got := p.snapshot().Percentage; got != 99.99 {
		t.Errorf("got %v, want 99.99: 100 is for DONE", got)
	}
}

// A change of state is not kept for the next report of progress: whoever has said PAUSE looks for it.
func TestChangeOfStateIsUrgent(t *testing.T) {
	p := newProgress()
	p.plan([]osc.Plan{planned("d", 0)})
	p.wrote(p.snapshot())
	p.update(osc.Progress{Database: "d", State: osc.StateCopying, Fraction: 0.1})
	if !p.stateChanged() {
		t.Error("from waiting to copying is no change of state")
	}
	p.wrote(p.snapshot())
	p.update(osc.Progress{Database: "d", State: osc.StateCopying, Fraction: 0.2})
	if p.stateChanged() {
		t.Error("it only moved")
	}
	p.update(osc.Progress{Database: "d", State: osc.StatePaused, Fraction: 0.2})
	p.update(osc.Progress{Database: "d", State: osc.StatePaused, Fraction: 0.2})
	if !p.stateChanged() {
		t.Error("paused is not reported at once")
	}
}
