// Package preflight is what is looked at before a table is copied, and again before the swap. Each check has a file of its own, and a test;
// an engine lists those that concern it, and has more in its own package.
package preflight

import (
	"context"
	"database/sql"
	"slices"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
)

// Facts are all that checks go by.
type Facts struct {
	Database, Table string
	Taken           []string // the names of the tables that the copy makes
	Server          mysql.Server
	User            string
	Engine          string // of the table: InnoDB
	Original        verify.Table
	Copied          *verify.Table // what the copy will be; nil = not known yet
	Change          schema.Change
	Columns         []string        // of the new definition, in lower case
	Lossy           map[string]bool // columns (lower case) in which the operator permitted a loss
	Strict          []string        // what of the rows' values strict SQL refuses in the new definition
	Triggers        int
	Children        int      // foreign keys of other tables that point here
	Parents         int      // foreign keys of this table
	Grants          []string // SHOW GRANTS
	Beside          []Beside // tables with names that the copy takes, or that look like them; nil = not looked for
	Recorded        map[string]bool
	// Recorded are the names of leftovers of ours, which are dealt with.
	Zone     Zone
	Sessions []Setting
	Need     uint64 // bytes the copy and its binary log will take
	Free     uint64 // bytes free where the data is
	FreeSeen bool   // false: the file system is out of our sight
}

// Beside is a table that stands where a copy makes or looks for one.
type Beside struct {
	Name, Kind, Engine, Comment string // Kind: BASE TABLE or VIEW
}

// Check is one thing that may speak against a copy. Exactly one of Why and Ask is set.
type Check struct {
	Name string
	Why  func(Facts) string // the reason, "" = there is none
	// Ask is a check that puts a question of its own to the server.
	Ask func(context.Context, *sql.DB, Facts) (string, error)
	// Passing: it is of the moment, and another try may find it gone. All others only a change of schema or settings mends.
	Passing bool
	Shape   bool // it concerns the table itself, and is looked at again before the swap
	Session bool // it concerns sessions of others, Facts.Sessions alone, and is looked at again before each attempt at the swap
}

// Refusal is a reason not to copy.
type Refusal struct {
	Check, Reason string
	Passing       bool
}

// First is the first reason among checks not to copy, nil when there is none. Those that pass by themselves come last, whatever the order:
// what a person has to mend is said at once.
func First(ctx context.Context, db *sql.DB, checks []Check, f Facts) (*Refusal, error) {
	for _, passing := range []bool{false, true} {
		for _, c := range checks {
			if c.Passing != passing {
				continue
			}
			reason, err := c.reason(ctx, db, f)
			if err != nil {
				return nil, err
			}
			if reason != "" {
				return &Refusal{Check: c.Name, Reason: reason, Passing: passing}, nil
			}
		}
	}
	return nil, nil
}

// Shape are the checks that are repeated before the swap.
func Shape(checks []Check) []Check { return those(checks, func(c Check) bool { return c.Shape }) }

// Sessions are the checks that are repeated before each attempt at it.
func Sessions(checks []Check) []Check { return those(checks, func(c Check) bool { return c.Session }) }

func those(checks []Check, wanted func(Check) bool) []Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c Check) bool { return !wanted(c) })
}

func (c Check) reason(ctx context.Context, db *sql.DB, f Facts) (string, error) {
	if c.Ask != nil {
		return c.Ask(ctx, db, f)
	}
	return c.Why(f), nil
}
