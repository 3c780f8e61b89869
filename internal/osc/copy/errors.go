package copy

import (
	"errors"
	"fmt"

	"github.com/aosc/aosc/internal/osc/verify"
)

// ErrStopped is returned by Run when the operator said STOP. The table is as it was and nothing is left behind (I5).
var ErrStopped = errors.New("stopped by osc_priv STOP")

// ErrLeft is returned by Run when it was told to leave the copy to another run, which goes on from where it was, if the engine can. An
// error that is ErrLeft (errors.Is) and ends Run's context has the same effect.
var ErrLeft = errors.New("left to another run")

// ErrBusy means that another process works on this very table.
var ErrBusy = errors.New("another run holds the lock of this table")

// RefusedError is final: the same run cannot succeed until somebody changes schema, settings, permission or server.
type RefusedError struct {
	Target Target
	Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s: refused: %s", e.Target, e.Reason) }

// VerifyError is final: the copy differs from the original. The copy was given up, the original is untouched.
type VerifyError = verify.Error
