package keyed

import (
	"fmt"
	"time"
)

// BehindError says that a copy cannot catch up with the changes of the table. It is of the moment: a quieter hour mends it.
type BehindError struct {
	Backlog    int // changed rows that are not applied
	Uncompared int // changed rows that are applied and not compared since
	After      time.Duration
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("the copy cannot catch up: %d changed rows are to be applied and %d to be compared, and for %v they have not become "+
		"fewer. The table changes faster than the server applies changes to the copy: try again when less is written, or raise the limits "+
		"at which "+
		"the copy rests", e.Backlog, e.Uncompared, e.After)
}

// chase tells a backlog that becomes smaller, however slowly, from one that does not.
type chase struct {
	limit time.Duration // for which the least backlog may stand

	least int
	since time.Time // when the least backlog was seen first
}

// rested leaves the time out in which the copy was told to rest.
func (c *chase) rested(d time.Duration) {
	if !c.since.IsZero() {
		c.since = c.since.Add(d)
	}
}

// lost judges the backlog of a moment.
func (c *chase) lost(now time.Time, backlog int) bool {
	if c.since.IsZero() || backlog < c.least {
		c.least, c.since = backlog, now
		return false
	}
	return now.Sub(c.since) > c.limit
}
