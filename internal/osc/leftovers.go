package osc

import (
	"context"
	"strings"
	"time"
)

// Kinds of leftovers, as in the table leftovers of aoscdb.
const (
	LeftoverGhost     = "ghost"     // the copy under construction
	LeftoverChangelog = "changelog" // heartbeat and state of a copy
	LeftoverOld       = "old"       // the table before the cut-over: a user's data
)

// States of leftovers.
const (
	LeftoverLive = "live" // a run may be using it, or about to make it
	LeftoverKeep = "keep" // old data, kept until KeepUntil
	LeftoverDrop = "drop" // may go now
)

// Leftover is a table that a copy leaves, or may leave, behind in Database. Name is unique per cluster and database.
type Leftover struct {
	ID        uint64 // given by the store
	Target           // instance and table that were being altered
	Name      string // the table that may be left behind
	Kind      string
	State     string
	Token     string    // Runner.Token of the run that made it
	CreatedAt time.Time // given by the store
	// KeepUntil is when old data may go. In a live row of kind old it says, with CreatedAt, how long the data would have to
	// be kept. Zero for all other rows.
	KeepUntil time.Time
}

// ofACopy tells whether the name is one that copies make: _<table>_gho, _ghc or _del, however an earlier release cut a long name, and old
// tables that were moved aside (asideName).
func (l Leftover) ofACopy() bool {
	if !strings.HasPrefix(l.Name, "_") || l.Name == l.Table {
		return false
	}
	for _, suffix := range []string{"_gho", "_ghc", "_del"} {
		if strings.HasSuffix(l.Name, suffix) {
			return true
		}
	}
	return false
}

// Leftovers is where runs write down what they are about to leave behind, so that whoever finds a table with such a
// name knows whose it is and whether it may go. Record is durable when it returns: a run records first and
// creates afterwards. Its adapter is over aoscdb.Store.
type Leftovers interface {
	// Record adds rows. One that exists (same cluster, database and name) is replaced.
	Record(ctx context.Context, l []Leftover) error
	// List gives all rows of a cluster.
	List(ctx context.Context, cluster string) ([]Leftover, error)
	// SetState changes one row; a zero keepUntil clears it. A row that is gone is no error.
	SetState(ctx context.Context, id uint64, state string, keepUntil time.Time) error
	// Forget removes one row: the table is gone. A row that is gone is no error.
	Forget(ctx context.Context, id uint64) error
}
