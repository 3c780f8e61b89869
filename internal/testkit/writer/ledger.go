package writer

import "sync"

// kind is what an operation does, or what came of it.
type kind int

const (
	insert kind = iota
	update
	remove
	refusal
	unknown
	contradiction
)

func (k kind) String() string {
	return [...]string{"insert", "update", "delete", "refusal", "unknown", "contradiction"}[k]
}

// state is what was acknowledged of one id: how many operations, which is also the version of its row, and whether
// the last of them deleted the row. 0 is an id nothing was acknowledged of.
type state uint32

const deleted state = 1 << 31

func (s state) operations() uint64 { return uint64(s &^ deleted) }
func (s state) present() bool      { return s != 0 && s&deleted == 0 }

// operation takes a row from one state to the next.
type operation struct {
	kind          kind
	index         int
	slot          int // in live, of a row that exists
	before, after state
}

// doubt is the outcome of an unknown operation: the row is in one state or the other. Such a row is left alone.
type doubt struct{ before, after state }

// shard is the part of the ledger that one worker owns. Its mutex is held while an operation is under way, so whoever
// holds the mutexes of all shards knows that nothing is.
type shard struct {
	worker, workers int

	mu        sync.Mutex
	states    []state       // by index
	live      []int         // indexes of rows that exist and may be changed
	uncertain map[int]doubt // by index
}

// id spreads the workers over all of the table, so that they meet on the same pages.
func (s *shard) id(index int) uint64 { return 1 + uint64(index)*uint64(s.workers) + uint64(s.worker) }

// index is the inverse of id; false when the id is another worker's or was never used.
func (s *shard) index(id uint64) (int, bool) {
	if id == 0 || (id-1)%uint64(s.workers) != uint64(s.worker) {
		return 0, false
	}
	index := (id - 1) / uint64(s.workers)
	return int(index), index < uint64(len(s.states))
}

func (s *shard) acknowledge(op operation) {
	s.states[op.index] = op.after
	switch op.kind {
	case insert:
		s.live = append(s.live, op.index)
	case remove:
		s.forget(op)
	}
}

func (s *shard) doubt(op operation) {
	s.uncertain[op.index] = doubt{op.before, op.after}
	if op.kind != insert {
		s.forget(op)
	}
}

// forget takes a row out of those that may be changed.
func (s *shard) forget(op operation) {
	last := len(s.live) - 1
	s.live[op.slot] = s.live[last]
	s.live = s.live[:last]
}

// allowed are the states a row may be in: one, or two after an unknown operation.
func (s *shard) allowed(index int) []state {
	if d, ok := s.uncertain[index]; ok {
		return []state{d.before, d.after}
	}
	return []state{s.states[index]}
}
