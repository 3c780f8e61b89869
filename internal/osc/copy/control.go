package copy

import (
	"sync"

	"github.com/aosc/aosc/internal/osc/pace"
)

// Priv is what the operator permits at this moment: aosc_osc_ww.osc_priv.
type Priv string

// Values of Priv.
const (
	PrivOK    Priv = "OK"
	PrivPause Priv = "PAUSE" // throttle in place, keep what was done
	PrivStop  Priv = "STOP"  // abort and leave nothing behind
	PrivLeave Priv = "LEAVE" // end, and keep what another run can go on from: nobody's word, but that of a worker that is stopped
)

// Control carries the operator's word to a run. STOP and LEAVE are for good: whoever obeyed has ended, so a later OK needs a new
// run. It is safe for concurrent use.
type Control struct {
	mu      sync.Mutex
	priv    Priv
	terms   Terms
	changed chan struct{}
}

// Terms are what operators say about a run under way besides Priv. The zero value asks for nothing.
type Terms struct {
	Gate   string // why a copy must not be swapped in now, "" = it may
	Limits pace.Limits
}

// NewControl starts with OK.
func NewControl() *Control { return &Control{priv: PrivOK, changed: make(chan struct{})} }

// Set changes the word and wakes those who wait on Changed. An unknown word counts as PAUSE: the careful reading.
func (c *Control) Set(p Priv) {
	if p != PrivOK && p != PrivStop && p != PrivLeave {
		p = PrivPause
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.priv == p || c.priv == PrivStop || c.priv == PrivLeave {
		return
	}
	c.priv = p
	close(c.changed)
	c.changed = make(chan struct{})
}

// SetTerms changes the terms and wakes those who wait on Changed.
func (c *Control) SetTerms(t Terms) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terms == t {
		return
	}
	c.terms = t
	close(c.changed)
	c.changed = make(chan struct{})
}

// Terms are the terms now.
func (c *Control) Terms() Terms {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.terms
}

// Get is the word now.
func (c *Control) Get() Priv {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.priv
}

// Changed is closed at the next change. Take it before Get, or a change between the two is missed.
func (c *Control) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}
