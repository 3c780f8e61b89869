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
	Workers    int      `json:"workers,omitempty"`
	LagSeconds *float64 `json:"lag_s,omitempty"`

	weight float64
	pace   rate
}

// rate measures rows per second over the last ten seconds or so.
type rate struct {
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
func (p *rate) add(now time.Time, rows uint64) float64 {
	switch passed := now.Sub(p.at); {
	case p.at.IsZero(), rows < p.rows:
		*p = rate{at: now, rows: rows}
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
	why     string // it pauses
	note    string // of whatever is under way
	// version counts the changes; urgent is the one that last changed a state, which an operator waits to see; stored is
	// the one that the tables have.
	version, urgent, stored uint64
}

func newProgress() *progress { return &progress{byName: map[string]*entry{}} }

// plan sets the databases that will be altered.
func (p *progress) plan(plans []osc.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries, p.byName = nil, map[string]*entry{}
	p.change(true)
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
	p.change(e.State != u.State)
	e.Engine, e.State, e.Detail = string(u.Engine), u.State, u.Detail
	switch {
	case u.State == osc.StatePaused:
		e.Detail = p.why
	case e.Detail == "" && e.underWay():
		e.Detail = p.note
	}
	e.Percentage = math.Round(10000*min(1, max(0, u.Fraction))) / 100
	e.RowsCopied, e.RowsTotal = u.RowsCopied, u.RowsTotal
	e.ETASeconds = math.Round(u.ETA.Seconds())
	e.RowsPerS, e.LagSeconds, e.Workers = 0, nil, u.Workers
	if u.State == osc.StateCopying || u.State == osc.StateThrottled {
		e.RowsPerS = e.pace.add(time.Now(), u.RowsCopied)
	}
	if u.LagKnown {
		lag := math.Round(u.Lag.Seconds()*10) / 10
		e.LagSeconds = &lag
	}
	e.weighRows()
}

// change counts a change; the caller holds mu.
func (p *progress) change(state bool) {
	p.version++
	if state {
		p.urgent = p.version
	}
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
			e.Detail = why
			p.change(true)
		}
	}
}

// noted sets what is to be said of whatever is under way, unless that says something itself; "" for nothing.
func (p *progress) noted(note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.underWay() && e.State != osc.StatePaused && (e.Detail == "" || e.Detail == p.note) && p.note != note {
			e.Detail = note
			p.change(true)
		}
	}
	p.note = note
}

// underWay tells whether the database is being altered.
func (e *entry) underWay() bool { return e.State != stateWaiting && e.State != osc.StateDone }

// underWay are the databases that are being altered.
func (p *progress) underWay() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.underWay() {
			names = append(names, e.Database)
		}
	}
	return names
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

// stateChanged tells whether a state differs from what the tables have.
func (p *progress) stateChanged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.urgent > p.stored
}

// snapshot is a progress at one moment, as it is written to the tables.
type snapshot struct {
	Percentage float64 // of the whole, weighted by bytes; less than 100 until the row says DONE: what is altered is not yet verified
	Detail     string  // JSON, "" while nothing is planned
	Changed    bool    // the tables do not have it
	version    uint64
}

func (p *progress) snapshot() snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := snapshot{Changed: p.version != p.stored, version: p.version}
	var done, all float64
	for _, e := range p.entries {
		done += e.weight * e.Percentage
		all += e.weight
	}
	if all > 0 {
		s.Percentage = min(99.99, done/all)
	}
	if text, err := json.Marshal(p.entries); err == nil && p.entries != nil { // numbers and text always marshal
		s.Detail = string(text)
	}
	return s
}

// wrote notes that the tables have a snapshot. What is not noted is written again.
func (p *progress) wrote(s snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored = max(p.stored, s.version)
}
