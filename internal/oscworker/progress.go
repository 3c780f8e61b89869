package oscworker

import (
	"encoding/json"
	"math"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/osc"
)

// entry is one database in aosc_osc_ww.detail.
type entry struct {
	Database   string  `json:"database"`
	Engine     string  `json:"engine"`
	State      string  `json:"state"` // waiting, or one of osc's
	Percentage float64 `json:"percentage"`
	RowsCopied uint64  `json:"rows_copied"`
	RowsTotal  uint64  `json:"rows_total"`
	ETASeconds float64 `json:"eta_s"`
	Detail     string  `json:"detail,omitempty"`
	// Absent where nothing is copied.
	RowsPerS   float64  `json:"rows_per_s,omitempty"`
	LagSeconds *float64 `json:"lag_s,omitempty"`

	weight float64
	pace   pace
}

// pace measures rows per second over the last ten seconds or so.
type pace struct {
	at    time.Time
	rows  uint64
	value float64
}

// paceWindow is over what time a pace is smoothed, and the least time between two measurements.
const (
	paceWindow = 10 * time.Second
	paceLeast  = time.Second
)

// add takes the rows copied by now. A count that went back is of a new attempt.
func (p *pace) add(now time.Time, rows uint64) float64 {
	switch passed := now.Sub(p.at); {
	case p.at.IsZero(), rows < p.rows:
		*p = pace{at: now, rows: rows}
	case passed >= paceLeast:
		measured := float64(rows-p.rows) / passed.Seconds()
		weight := min(1, passed.Seconds()/paceWindow.Seconds())
		if p.value == 0 {
			weight = 1
		}
		p.value += weight * (measured - p.value)
		p.at, p.rows = now, rows
	}
	return math.Round(p.value)
}

const stateWaiting = "waiting"

// progress is how far one alter is on one instance, over all its databases. Updates are cheap and come as they like;
// what is written to the tables is taken from it once a second, or soon after a change of state.
type progress struct {
	mu      sync.Mutex
	entries []*entry
	byName  map[string]*entry
	changed bool
	urgent  bool   // a state changed: an operator waits to see it
	why     string // it pauses
}

func newProgress() *progress { return &progress{byName: map[string]*entry{}} }

// plan sets the databases that will be altered.
func (p *progress) plan(plans []osc.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries, p.byName, p.changed, p.urgent = nil, map[string]*entry{}, true, true
	for _, plan := range plans {
		e := &entry{Database: plan.Database, Engine: string(plan.Engine), State: stateWaiting, RowsTotal: plan.Rows,
			weight: float64(plan.Bytes) + 1} // an empty table still is a step
		e.weighRows()
		p.entries = append(p.entries, e)
		p.byName[plan.Database] = e
	}
}

// update takes a report of osc.
func (p *progress) update(u osc.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byName[u.Database]
	if e == nil {
		return
	}
	p.urgent = p.urgent || e.State != u.State
	e.Engine, e.State, e.Detail = string(u.Engine), u.State, u.Detail
	if u.State == osc.StatePaused {
		e.Detail = p.why
	}
	e.Percentage = math.Round(10000*min(1, max(0, u.Fraction))) / 100
	e.RowsCopied, e.RowsTotal = u.RowsCopied, u.RowsTotal
	e.ETASeconds = math.Round(u.ETA.Seconds())
	e.RowsPerS, e.LagSeconds = 0, nil
	if u.State == osc.StateCopying || u.State == osc.StateThrottled {
		e.RowsPerS = e.pace.add(time.Now(), u.RowsCopied)
	}
	if u.LagKnown {
		lag := math.Round(u.Lag.Seconds()*10) / 10
		e.LagSeconds = &lag
	}
	e.weighRows()
	p.changed = true
}

// paused sets why what pauses does.
func (p *progress) paused(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == why {
		return
	}
	p.why = why
	for _, e := range p.entries {
		if e.State == osc.StatePaused {
			e.Detail, p.changed, p.urgent = why, true, true
		}
	}
}

// split is the databases that are altered, and those that are not.
func (p *progress) split() (altered, left []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.State == osc.StateDone {
			altered = append(altered, e.Database)
		} else {
			left = append(left, e.Database)
		}
	}
	return altered, left
}

// leastRow is fewer bytes than a row takes with its indexes.
const leastRow = 50

// weighRows corrects a weight that cannot be true: InnoDB's statistics of a table that was filled moments ago are far too
// low, and the rows themselves tell better.
func (e *entry) weighRows() {
	e.weight = max(e.weight, leastRow*float64(max(e.RowsCopied, e.RowsTotal)))
}

// stateChanged tells whether a state differs from what was taken last.
func (p *progress) stateChanged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.urgent
}

// take is the percentage of the whole, weighted by bytes, and the detail as JSON; changed says whether it differs from
// what was taken before. Less than 100 until the row says DONE: what is altered is not yet verified.
func (p *progress) take() (percentage float64, detail string, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed, p.changed, p.urgent = p.changed, false, false
	var done, all float64
	for _, e := range p.entries {
		done += e.weight * e.Percentage
		all += e.weight
	}
	if all > 0 {
		percentage = min(99.99, done/all)
	}
	text, err := json.Marshal(p.entries)
	if err != nil || p.entries == nil {
		return percentage, "", changed // numbers and text always marshal
	}
	return percentage, string(text), changed
}
