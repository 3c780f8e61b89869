package keyed

import (
	"sync"

	"github.com/aosc/aosc/internal/mysql"
)

// tracked is a key with the transaction that changed it.
type tracked struct {
	key   value
	entry *entry
}

// entry is one transaction in the ledger.
type entry struct {
	gtid  string
	seq   int
	open  int  // keys that are not applied
	ended bool // all its keys are known
	// prepared: it is a prepared XA transaction. Its keys come with the one that ends it: without it these could not be found again, so the
	// mark passes over both at once.
	prepared bool
	ender    *entry
}

func (e *entry) closed() bool { return e.ended && e.open == 0 && (!e.prepared || e.ender != nil) }

// ledger knows up to where the log has been applied: transactions are entered in the order of the log, and the mark moves over those of
// which nothing is left to do. A copy that goes on later reads the log from there.
type ledger struct {
	mu      sync.Mutex
	entries []*entry
	byGTID  map[string]*entry
	applied mysql.GTIDSet
	open    int // keys in all entries
	seq     int
}

func newLedger(from mysql.GTIDSet) *ledger {
	return &ledger{applied: from, byGTID: map[string]*entry{}}
}

// enter notes keys of a transaction, and its end.
func (l *ledger) enter(c change) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byGTID[c.gtid]
	if e == nil {
		l.seq++
		e = &entry{gtid: c.gtid, seq: l.seq}
		l.byGTID[c.gtid] = e
		l.entries = append(l.entries, e)
	}
	e.open += len(c.keys)
	l.open += len(c.keys)
	e.prepared = e.prepared || c.prepared
	e.ended = e.ended || c.done
	if p := l.byGTID[c.resolves]; p != nil {
		p.ender = e
	}
	return e, l.settle()
}

// done notes that keys are applied, or need not be.
func (l *ledger) done(keys []tracked) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		k.entry.open--
	}
	l.open -= len(keys)
	return l.settle()
}

// settle moves the mark.
func (l *ledger) settle() error {
	n := passable(l.entries)
	if n == 0 {
		return nil
	}
	gtids := make([]string, n)
	for i, e := range l.entries[:n] {
		gtids[i] = e.gtid
		delete(l.byGTID, e.gtid)
	}
	set, err := mysql.ParseGTIDSet(joined(gtids))
	if err != nil {
		return err
	}
	l.applied = l.applied.Union(set)
	l.entries = append([]*entry(nil), l.entries[n:]...)
	return nil
}

// mark is everything that is applied, in the order of the log.
func (l *ledger) mark() mysql.GTIDSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// left is how many keys are known and not applied.
func (l *ledger) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// passable is over how many entries the mark may move.
func passable(entries []*entry) int {
	n := 0
	for n < len(entries) && entries[n].closed() {
		n++
	}
	for i := 0; i < n; i++ {
		if e := entries[i]; e.prepared && e.ender.seq > entries[n-1].seq {
			n, i = i, -1 // shorter: what comes before may have its end beyond it, too
		}
	}
	return n
}
