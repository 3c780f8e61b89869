package oscworker

import (
	"errors"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

// Reasons to break a run off from outside.
var (
	errLockLost    = leaving("the lock of the instance is lost: another worker may be altering it")
	errRowLost     = errors.New("the row in aosc_osc_ww is no longer this worker's")
	errWithdrawn   = errors.New("running_alters has no row for it any more")
	errRoleChanged = leaving("the instance is no longer the primary")
	errLeft        = leaving("the instance is no longer served by this worker")
	errForbidden   = errors.New("it may no longer be altered")
	errStopFile    = errors.New("stopped by the operator")
	errStopping    = leaving("the worker is being stopped")
)

// leaving is a reason for this worker alone to end: what it has copied is left for another, which goes on from there.
type leaving string

func (l leaving) Error() string { return string(l) }

// Is makes it osc.ErrLeft, too.
func (leaving) Is(target error) bool { return target == osc.ErrLeft }

// ending is what becomes of a row.
type ending string

const (
	endDone     ending = "done"
	endFailed   ending = "failed"
	endGiveBack ending = "given back" // WAITING again, no try counted
	endRemove   ending = "removed"    // nobody counts on it any more
	endLeave    ending = "left"       // not ours to write
)

type verdict struct {
	End    ending
	Reason string
	Final  bool // with endFailed: another try cannot help
	Rest   bool // with endGiveBack: what stands against it passes by itself, but not at once
	// Stopped, with endGiveBack: permission was taken away from what was under way.
	Stopped bool
}

// verdictOf decides how a run ends. err is what the work returned, cause why it was broken off, nil when it was not.
func verdictOf(err, cause error) verdict {
	if err == nil {
		return verdict{End: endDone} // also when it was broken off too late: what is done is done
	}
	// What broke the run off explains its error; the other way round it never does.
	for _, c := range []error{cause, err} {
		switch {
		case errors.Is(c, errLockLost), errors.Is(c, errRowLost), errors.Is(c, aoscdb.ErrNotOwner):
			return verdict{End: endLeave, Reason: c.Error()}
		case errors.Is(c, errWithdrawn):
			return verdict{End: endRemove, Reason: c.Error()}
		case errors.Is(c, errForbidden):
			return verdict{End: endGiveBack, Reason: c.Error(), Rest: true, Stopped: true}
		case errors.Is(c, errRoleChanged), errors.Is(c, errNotNow), errors.Is(c, aoscdb.ErrNotPermitted),
			mysql.IsReadOnly(c): // fenced under our hands, before the watch has seen it: a change of role has begun
			return verdict{End: endGiveBack, Reason: c.Error(), Rest: true}
		case errors.Is(c, errLeft), errors.Is(c, errStopping), errors.Is(c, errStopFile), errors.Is(c, osc.ErrStopped),
			errors.Is(c, osc.ErrLeft):
			return verdict{End: endGiveBack, Reason: c.Error()}
		}
	}
	var refused refusal
	return verdict{End: endFailed, Reason: err.Error(), Final: osc.Final(err) || errors.As(err, &refused)}
}

// step is what to do about a row as it is found.
type step string

const (
	stepNone  step = "none"
	stepBegin step = "begin"
	stepClean step = "clean" // a dead worker's row that must not be resumed: clean up and give it back
)

// stepOf decides about a row whose instance no worker holds. A dead worker's row is begun anew. Where the operator has
// said PAUSE or STOP meanwhile it goes back to the queue: the copy is lost anyway, and OK begins another.
func stepOf(r aoscdb.OSCRow) step {
	switch {
	case r.Status == aoscdb.OSCWaiting && r.OSCPriv == aoscdb.PrivOK:
		return stepBegin
	case r.Status == aoscdb.OSCRunning && r.OSCPriv == aoscdb.PrivOK:
		return stepBegin
	case r.Status == aoscdb.OSCRunning:
		return stepClean
	}
	return stepNone
}
