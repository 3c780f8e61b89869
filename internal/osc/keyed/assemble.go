package keyed

import "fmt"

// maxPrepared bounds the keys that are kept for prepared XA transactions.
const maxPrepared = 2_000_000

// change is what the stream hands on: keys of one transaction, or its end. Keys of a transaction come in several of them, in order.
type change struct {
	gtid string // whose execution must be waited for before the keys are read
	keys []value
	// done: the transaction ends here. resolves are transactions that were left open by it (XA PREPARE), done with it, too.
	done     bool
	resolves string
	// xa: it is committed, or rolled back, by XA, which the log and gtid_executed may tell before the engine has done it.
	xa bool
	// prepared: it ends here, but what it changed becomes visible with another one.
	prepared bool
}

// prepared is an XA transaction between its PREPARE and its end.
type prepared struct {
	gtid string
	keys []value
}

// assembly makes changes of what the reader finds in the binary log. It is pure; one transaction follows the other there.
type assembly struct {
	gtid string
	keys []value
	seen map[value]bool // those of keys, so that a row that is changed again in its transaction counts once
	xid  string         // of the XA transaction whose rows these are, "" = none

	open map[string]prepared
	kept int // keys in open
	// unknown is told of an XA COMMIT whose PREPARE came before the stream began: its keys are not known.
	unknown func(gtid, xid string) error
}

func newAssembly(unknown func(gtid, xid string) error) *assembly {
	return &assembly{open: map[string]prepared{}, seen: map[value]bool{}, unknown: unknown}
}

// begin starts a transaction. One that has not ended was cut off by a lost connection, or has no end in the log (DDL): what is left of
// it is handed on first.
func (a *assembly) begin(gtid string) []change {
	var left []change
	if a.gtid != "" {
		left = a.end()
	}
	a.gtid, a.xid = gtid, ""
	a.forget()
	return left
}

func (a *assembly) forget() {
	a.keys = nil
	clear(a.seen)
}

// add notes the key of a changed row.
func (a *assembly) add(v value) {
	if !a.seen[v] {
		a.seen[v] = true
		a.keys = append(a.keys, v)
	}
}

// part hands on the keys noted so far, when there are at least as many; those of an XA transaction wait for its end.
func (a *assembly) part(atLeast int) []change {
	if a.xid != "" || len(a.keys) < atLeast || a.gtid == "" {
		return nil
	}
	c := change{gtid: a.gtid, keys: a.keys}
	a.forget()
	return []change{c}
}

// end is the end of the transaction: its rows are committed.
func (a *assembly) end() []change {
	if a.gtid == "" {
		return nil
	}
	c := change{gtid: a.gtid, keys: a.keys, done: true, xa: a.xid != ""}
	a.gtid, a.xid = "", ""
	a.forget()
	return []change{c}
}

// start is XA START.
func (a *assembly) start(xid string) { a.xid = xid }

// prepare is XA PREPARE; onePhase when it commits at once.
func (a *assembly) prepare(onePhase bool) ([]change, error) {
	if onePhase || a.xid == "" {
		return a.end(), nil
	}
	if a.kept += len(a.keys); a.kept > maxPrepared {
		return nil, fmt.Errorf("prepared XA transactions changed more than %d rows of the table: end them and try again", maxPrepared)
	}
	a.open[a.xid] = prepared{gtid: a.gtid, keys: a.keys}
	c := change{gtid: a.gtid, done: true, prepared: true}
	a.gtid, a.xid = "", ""
	a.forget()
	return []change{c}, nil
}

// resolve is XA COMMIT, or ROLLBACK: after both the keys are read, for both are in the table then, or not.
func (a *assembly) resolve(xid string, commit bool) ([]change, error) {
	p, ok := a.open[xid]
	if !ok {
		if commit {
			if err := a.unknown(a.gtid, xid); err != nil {
				return nil, err
			}
		}
		return a.end(), nil
	}
	delete(a.open, xid)
	a.kept -= len(p.keys)
	c := change{gtid: a.gtid, keys: p.keys, done: true, resolves: p.gtid, xa: true}
	a.gtid, a.xid = "", ""
	a.forget()
	return []change{c}, nil
}

// cut throws away what has come of a transaction whose end did not: it comes again, whole.
func (a *assembly) cut() {
	a.gtid, a.xid = "", ""
	a.forget()
}
