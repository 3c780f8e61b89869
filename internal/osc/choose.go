package osc

import (
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// Facts are all that Choose decides on.
type Facts struct {
	Missing bool // the table is not there
	Equal   bool // it has the desired form already

	// What the proof found the server can do with this change on an empty copy.
	Instant, Inplace, Rebuilds, BuildsIndex bool
	ProofFailed                             string // why the change is not proven, "" = proven

	Rows          uint64
	DirectMaxRows uint64
	// Bytes are those of the table, with its indexes; DirectMaxBytes bounds them for a plain ALTER, 0 = without bound.
	Bytes, DirectMaxBytes uint64
	HasReplicas           bool
	NoBinlog              bool   // this instance alone
	NotRolling            string // why this change cannot be made on one instance at a time, "" = it can
	CopyEngine            string
	CreateMissing         bool
	AllowUnsafe           bool
	Loses                 []string // what data would be lost, one line each
	Blocks                []string // rows that no engine can bring into the new definition, whatever is allowed
	NoCopy                string   // why no copy can be made, "" = one can
}

// Choose picks the cheapest engine that serves, and the reason why it may not run, "" when it may. A refused plan names
// the engine all the same: that is what would run if the reason were gone.
//
// All refusals of Choose are final: they concern schema, settings and permission, not the moment.
//
// The permission is asked for last: only where it is all that lacks.
func Choose(f Facts) (Engine, string) {
	engine := cheapest(f)
	switch reason := impossible(engine, f); {
	case reason != "":
		return engine, reason
	case f.NeedsPermission():
		return engine, "data would be lost and allow_unsafe is 0: " + strings.Join(f.Loses, "; ")
	}
	return engine, ""
}

// NeedsPermission tells whether allow_unsafe is the one thing that keeps the change from being made.
func (f Facts) NeedsPermission() bool {
	engine := cheapest(f)
	return engine != EngineNone && engine != EngineCreate && len(f.Loses) > 0 && !f.AllowUnsafe && impossible(engine, f) == ""
}

// impossible says why the change cannot be made whatever loss is permitted, "" when it can.
func impossible(engine Engine, f Facts) string {
	switch {
	case engine == EngineNone:
		return ""
	case engine == EngineCreate && !f.CreateMissing:
		return "the table is missing and the tier's create_missing is 0"
	case engine == EngineCreate:
		return ""
	case f.ProofFailed != "":
		return f.ProofFailed
	case len(f.Blocks) > 0:
		return "rows are in the way, and leaving them out is not a loss that can be allowed: " + strings.Join(f.Blocks, "; ")
	case f.NoBinlog:
		return rollingRefusal(engine, f)
	}
	return copyRefusal(engine, f)
}

// cheapest is the first engine in order of cost that can do it.
func cheapest(f Facts) Engine {
	switch {
	case f.Equal:
		return EngineNone
	case f.Missing:
		return EngineCreate
	case f.Instant:
		return EngineInstant
	case cheapInplace(f):
		return EngineInplace
	case f.small():
		return EngineDirect
	case f.Inplace && !f.Rebuilds && f.NoCopy != "":
		// An index that a copy cannot safely add, a UNIQUE one foremost: the replicas have to wait for it.
		return EngineInplace
	}
	return Engine(f.CopyEngine)
}

// cheapInplace: INPLACE, LOCK=NONE does not block the primary, but a replica applies the statement as one transaction and
// falls behind for as long as it takes. So it counts as cheap where it moves no rows; an index build only when
// it is short or no replica waits for it. On one instance alone (sql_log_bin=0) nothing is replicated: a rebuild will do.
func cheapInplace(f Facts) bool {
	switch {
	case !f.Inplace:
		return false
	case f.NoBinlog:
		return true
	case f.Rebuilds:
		return false
	}
	return !f.BuildsIndex || !f.HasReplicas || f.small()
}

// small tells whether a plain ALTER may hold up writers for as long as the table takes. An empty table takes no time, whatever its file
// has grown to.
func (f Facts) small() bool {
	return f.Rows == 0 || f.Rows <= f.DirectMaxRows && (f.DirectMaxBytes == 0 || f.Bytes <= f.DirectMaxBytes)
}

// limits says what small goes by, for a refusal.
func (f Facts) limits() string {
	text := fmt.Sprintf("%d rows, direct_max_rows is %d", f.Rows, f.DirectMaxRows)
	if f.Rows <= f.DirectMaxRows {
		text += fmt.Sprintf("; %s, direct_max_bytes is %s", preflight.Size(f.Bytes), preflight.Size(f.DirectMaxBytes))
	}
	return text
}

func rollingRefusal(e Engine, f Facts) string {
	switch {
	case f.NotRolling != "":
		return "ordering 'rolling' cannot make this change one instance at a time: " + f.NotRolling
	case e.copies():
		const needs = "the change needs a copy, which ordering 'rolling' cannot make (a copy writes to the binary log): set the tier's "
		direct := fmt.Sprintf("direct_max_rows to at least %d and direct_max_bytes to at least %d", f.Rows, f.Bytes)
		if f.NoCopy != "" {
			return needs + direct + "; ordering 'primary' would not help: " + f.NoCopy
		}
		return needs + "ordering to 'primary', or " + direct
	}
	return ""
}

func copyRefusal(e Engine, f Facts) string {
	switch {
	case e.copies() && copier(e) == nil:
		return unknownEngine(e)
	case e.copies() && f.NoCopy != "":
		return fmt.Sprintf("the change needs a copy (%s) and none can be made: %s", f.limits(), f.NoCopy)
	}
	return ""
}
