package collector

import (
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/why"
)

// verdict is what one look says of one instance for one alter.
type verdict int

const (
	// unknown is the zero value on purpose: an instance nobody judged is not clean (I11).
	unknown verdict = iota
	clean           // every table has the desired form
	target          // the alter still has to run there
)

func (v verdict) String() string { return [...]string{"unknown", "clean", "target"}[v] }

// evidence is what a look learnt of one instance.
type evidence struct {
	Instance fleet.Instance
	Role     fleet.Role
	// Err is why nothing else here counts: the instance did not answer, or its status rows could not be read.
	Err error
	// Pass is what the checksum last did there, nil when it never finished anything.
	Pass *aoscdb.Pass
	// Summary counts its status rows, by table.
	Summary map[string]aoscdb.TableSummary
}

// judge says what the evidence of one instance means for one alter, and for an unknown why it is one.
//
// A verdict needs a checksum pass that began after the alter was pinned (and after check_from, when the brain asks for
// another check): the rows themselves cannot tell whether they were looked at since. Rows compared with another text
// than the pinned one, or missing for some of the instance's databases, judge nothing either. An instance in want of
// work is a target as soon as a row says so, even when other rows are not there yet.
func judge(a aoscdb.CurrentAlter, e evidence) (verdict, string) {
	if e.Err != nil {
		return unknown, e.Err.Error()
	}
	if reason := passTooOld(a, e.Pass); reason != "" {
		return unknown, reason
	}
	s := e.Summary[a.Table]
	switch {
	case s.Stale > 0:
		return unknown, fmt.Sprintf("%d of its status rows were made from another version of the schema file", s.Stale)
	case s.NotOK > 0:
		return target, ""
	case s.Total < e.Pass.Databases:
		reason := fmt.Sprintf("only %d of its %d databases have a status for the table", s.Total, e.Pass.Databases)
		if e.Pass.Error != "" {
			reason += ": " + e.Pass.Error
		}
		return unknown, reason
	}
	return clean, ""
}

// codeOf is the word for an unknown: is it the instance, the checksum that fails there, or that none has come yet.
func codeOf(e evidence) why.Code {
	switch {
	case e.Err != nil && e.Role == fleet.RoleUnknown:
		return why.Unreachable
	case e.Pass != nil && e.Pass.Error != "":
		return why.ChecksumFails
	}
	return why.NotChecked
}

// passTooOld says why the last checksum pass of an instance proves nothing for an alter, "" when it does.
func passTooOld(a aoscdb.CurrentAlter, p *aoscdb.Pass) string {
	since := needSince(a)
	begun, kind := (*time.Time)(nil), "checksum"
	if p != nil && p.FinishedAt != nil {
		begun = p.StartedAt
	}
	if a.CheckFresh {
		kind = "fresh checksum"
		if p != nil {
			begun = p.FreshStartedAt
		}
	}
	if begun != nil && !begun.Before(since) {
		return ""
	}
	reason := fmt.Sprintf("no %s begun since %s has finished", kind, since.UTC().Format(time.RFC3339))
	if p != nil && p.Error != "" {
		reason += ": " + p.Error
	}
	return reason
}

// needSince is the time from which a checksum of an alter counts: when it was pinned, or when the brain last asked for
// another check.
func needSince(a aoscdb.CurrentAlter) time.Time {
	var since time.Time
	for _, t := range []*time.Time{a.PinnedAt, a.CheckFrom} {
		if t != nil && t.After(since) {
			since = *t
		}
	}
	return since
}

// judged reports whether an alter can be looked at: one without a pin was not admitted (or is held for that), and there
// is nothing to compare with.
func judged(a aoscdb.CurrentAlter) bool { return a.DesiredHash != "" && a.PinnedAt != nil }
