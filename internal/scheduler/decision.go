package scheduler

import (
	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/why"
)

// Kind is what an Action does.
type Kind string

// The actions, in the order in which Decide lists them for one row.
const (
	// Start gives an instance an alter: running_alters READY, then aosc_osc_ww WAITING.
	Start Kind = "start"
	// Queue writes the WAITING row of a READY instance that has none, or one of an earlier run, or one for another
	// version of the table: what a crash between the two writes of Start or Retry leaves, or a new commit.
	Queue Kind = "queue"
	// Follow copies percentage and heartbeat of a running alter into running_alters.
	Follow Kind = "follow"
	// Complete ends an alter that is DONE on its instance: the row and the target go.
	Complete Kind = "complete"
	// Retry queues a failed alter again at once, for another version of the table.
	Retry Kind = "retry"
	// BackOff takes a failed alter from its instance until its next try is due: the row goes, and the count of tries stays.
	BackOff Kind = "back off"
	// Demote turns RUNNING back into READY, for an instance that proves that nothing runs there any more.
	Demote Kind = "demote"
	// Withdraw takes back what no worker has begun. It is safe towards an instance that does not answer: a worker
	// must turn READY into RUNNING in running_alters before it touches a table, and Withdraw deletes only READY.
	Withdraw Kind = "withdraw"
	// Drop ends a row whose alter failed and is not to be tried again.
	Drop Kind = "drop"
	// Abandon removes the RUNNING row of a dead worker from an instance that proves that nothing runs there.
	Abandon Kind = "abandon"
	// Forget deletes the row of an instance that left the inventory.
	Forget Kind = "forget"
	// Hold stops the whole alter for a person to look at.
	Hold Kind = "hold"
	// Warn reports what only a person can mend.
	Warn Kind = "warn"
	// ForgetTries deletes a count of tries that says nothing any more.
	ForgetTries Kind = "forget tries"
	// Recheck asks for a new checksum of one instance.
	Recheck Kind = "recheck"
	// Recollect asks for a new look of the collector.
	Recollect Kind = "recollect"
)

// Action is one step to take. Which fields are set depends on Kind.
type Action struct {
	Kind   Kind
	Alter  AlterKey
	Addr   mysql.Addr
	Reason string
	// Rest, with Withdraw, leaves the instance alone for a while: nobody began the alter there.
	Rest bool

	// Row is the row of running_alters the action is about, as it was read: every change is made only to a row that
	// is still in that state.
	Row aoscdb.RunningAlter
	// Work is the row of aosc_osc_ww, where the instance showed one.
	Work *aoscdb.OSCRow

	// For Start.
	Instance fleet.Instance
	Bytes    uint64

	// Next is the try that follows, for BackOff, and the row to delete, for ForgetTries.
	Next aoscdb.Retry
}

// Blocked is a target that is not started now, and why.
type Blocked struct {
	Alter  AlterKey
	Addr   mysql.Addr
	Code   why.Code
	Reason string
	// Trouble: something is wrong with the servers. Else it only waits for its turn.
	Trouble bool
}

// Decision is what Decide wants done, in this order.
type Decision struct {
	Actions []Action
	Blocked []Blocked
	// Standing are alters that were handed out and do not move.
	Standing []Blocked
	Settling map[SettleKey]Settle // to be put into the next Snapshot
}

func (d *Decision) do(a Action) { d.Actions = append(d.Actions, a) }

func (d *Decision) block(k AlterKey, a mysql.Addr, code why.Code, reason string) {
	d.Blocked = append(d.Blocked, Blocked{Alter: k, Addr: a, Code: code, Reason: reason})
}

func (d *Decision) trouble(k AlterKey, a mysql.Addr, reason string) {
	d.Blocked = append(d.Blocked, Blocked{Alter: k, Addr: a, Code: why.Unreachable, Reason: reason, Trouble: true})
}

func (d *Decision) stands(k AlterKey, a mysql.Addr, r why.Reason) {
	d.Standing = append(d.Standing, Blocked{Alter: k, Addr: a, Code: r.Code, Reason: r.Text})
}
