package osc

import "github.com/aosc/aosc/internal/osc/copy"

// What a run has in common with the engines that copy.
type (
	Target       = copy.Target
	Control      = copy.Control
	Priv         = copy.Priv
	Terms        = copy.Terms
	RefusedError = copy.RefusedError
	VerifyError  = copy.VerifyError
)

// Values of Priv.
const (
	PrivOK    = copy.PrivOK
	PrivPause = copy.PrivPause
	PrivStop  = copy.PrivStop
	PrivLeave = copy.PrivLeave
)

// NewControl starts with OK.
func NewControl() *Control { return copy.NewControl() }

// Errors of runs.
var (
	ErrStopped = copy.ErrStopped
	ErrLeft    = copy.ErrLeft
	ErrBusy    = copy.ErrBusy
)

// Final tells whether another try of the same run is pointless.
func Final(err error) bool { return copy.Final(err) }

// Values of Progress.State.
const (
	StatePlanning    = copy.StatePlanning
	StateAltering    = copy.StateAltering
	StateCopying     = copy.StateCopying
	StatePaused      = copy.StatePaused
	StateThrottled   = copy.StateThrottled
	StateVerifying   = copy.StateVerifying
	StateGate        = copy.StateGate
	StateCuttingOver = copy.StateCuttingOver
	StateDone        = copy.StateDone
)
