// Package verify compares the copy of a table with its original while both are being written to.
package verify

import "fmt"

// Error says that a copy differs from its original in a way that waiting does not heal.
type Error struct {
	Database, Table string
	Copy            string // the name of the copy
	Range           string // the key range in which they differ, for people
	Key             string // the first key that differs
	Reason          string // what differs
}

func (e *Error) Error() string {
	return fmt.Sprintf("the copy %s of %s.%s differs from it, key range %s, first at %s: %s. The copy was given up, the table is as it was; "+
		"find out what wrote to the copy, or which value does not fit, before it is tried again",
		e.Copy, e.Database, e.Table, e.Range, e.Key, e.Reason)
}
