package oscworker

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

func TestVerdictOf(t *testing.T) {
	child := errors.New("gh-ost ended: context canceled")
	for _, c := range []struct {
		name       string
		err, cause error
		want       ending
		final      bool
	}{
		{"all well", nil, nil, endDone, false},
		{"done before it could be broken off", nil, errStopping, endDone, false},
		{"STOP", osc.ErrStopped, nil, endGiveBack, false},
		{"SIGTERM, the copy ended cleanly", osc.ErrStopped, errStopping, endGiveBack, false},
		{"SIGTERM, the copy is left to the next worker", osc.ErrLeft, errStopping, endGiveBack, false},
		{"SIGTERM, the copy was cut off", child, errStopping, endGiveBack, false},
		{"a failover (I7)", child, errRoleChanged, endGiveBack, false},
		{"a failover that the copy met before the watch saw it", fmt.Errorf("copy the rows: %w",
			&driver.MySQLError{Number: mysql.ErrOptionPrevents, Message: "The MySQL server is running with the --super-read-only option"}), nil,
			endGiveBack, false},
		{"the instance left the inventory", child, errLeft, endGiveBack, false},
		{"permission was taken away (I14)", child, fmt.Errorf("%w: revoked", errForbidden), endGiveBack, false},
		{"the operator's file", child, fmt.Errorf("%w: it names it", errStopFile), endGiveBack, false},
		{"not its time", fmt.Errorf("%w: no primary", errNotNow), nil, endGiveBack, false},
		{"not permitted (I6)", fmt.Errorf("begin: %w", aoscdb.ErrNotPermitted), nil, endGiveBack, false},
		{"withdrawn (I3)", child, errWithdrawn, endRemove, false},
		{"the lock is lost: another may have the row (I3)", child, fmt.Errorf("%w (gone)", errLockLost), endLeave, false},
		{"the row is lost", child, fmt.Errorf("%w: it is gone", errRowLost), endLeave, false},
		{"refused", &osc.RefusedError{Reason: "no"}, nil, endFailed, true},
		{"the copy differs", &osc.VerifyError{}, nil, endFailed, true},
		{"refused by the worker", refusal("no"), nil, endFailed, true},
		{"a lock wait timeout", errors.New("Error 1205"), nil, endFailed, false},
		{"another run has the table", osc.ErrBusy, nil, endFailed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := verdictOf(c.err, c.cause); got.End != c.want || got.Final != c.final {
				t.Errorf("got %+v, want %s, final %v", got, c.want, c.final)
			}
		})
	}
}

func TestStepOf(t *testing.T) {
	for _, c := range []struct {
		status, priv string
		want         step
	}{
		{aoscdb.OSCWaiting, aoscdb.PrivOK, stepBegin},
		{aoscdb.OSCWaiting, aoscdb.PrivStop, stepNone},
		{aoscdb.OSCWaiting, aoscdb.PrivPause, stepNone},
		{aoscdb.OSCRunning, aoscdb.PrivOK, stepBegin},
		{aoscdb.OSCRunning, aoscdb.PrivStop, stepClean},
		{aoscdb.OSCRunning, aoscdb.PrivPause, stepClean},
		{aoscdb.OSCDone, aoscdb.PrivOK, stepNone},
		{aoscdb.OSCFailed, aoscdb.PrivOK, stepNone},
	} {
		if got := stepOf(aoscdb.OSCRow{Status: c.status, OSCPriv: c.priv}); got != c.want {
			t.Errorf("%s with osc_priv %s: %s, want %s", c.status, c.priv, got, c.want)
		}
	}
}

func TestAdmit(t *testing.T) {
	plan := func(database, refused string, final bool) osc.Plan {
		return osc.Plan{Target: osc.Target{Database: database, Table: "t"}, Refused: refused, Final: final}
	}
	good := plan("d1", "", false)
	if err := admit([]osc.Plan{good}, turn{}); err != nil {
		t.Errorf("nothing refused: %v", err)
	}
	// I5: one database that may not be altered keeps the others as they are.
	err := admit([]osc.Plan{good, plan("d2", "no usable unique key", true)}, turn{})
	if v := verdictOf(err, nil); !v.Final || !strings.Contains(v.Reason, "`d2`: no usable unique key") {
		t.Errorf("a final refusal: %+v", v)
	}
	err = admit([]osc.Plan{good, plan("d2", "disk space", false)}, turn{})
	if v := verdictOf(err, nil); v.End != endFailed || v.Final {
		t.Errorf("a refusal of the moment: %+v", v)
	}
	err = admit([]osc.Plan{plan("d2", "a copy", true)}, turn{Drift: true})
	if err == nil || !strings.Contains(err.Error(), "clone it anew") {
		t.Errorf("a drifted replica gets no advice: %v", err)
	}
	var many []osc.Plan
	for n := range 200 {
		many = append(many, plan(fmt.Sprintf("d%d", n), "no", true))
	}
	if err := admit(many, turn{}); len(err.Error()) > 200 || !strings.Contains(err.Error(), "197 databases more") {
		t.Errorf("200 refusals: %v", err)
	}
}
