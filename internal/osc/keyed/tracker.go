package keyed

import "sync"

// tracker knows which ranges of the table are copied, under way and not begun. Ranges are begun in the order of the key.
//
// A chunk's rows are those of one snapshot, taken after it was begun here. A key that changed and whose transaction is visible is
// therefore dealt with by where its range is at that moment:
//   - not begun: dropped. The chunk's snapshot, later than this moment, has the change.
//   - under way: held until the chunk has ended. Its snapshot may be older than the change, and it may yet insert what the change removed.
//   - ended: applied now.
type tracker struct {
	mu       sync.Mutex
	frontier value // the end of the last range that was begun; "" before the first
	begun    bool
	complete bool // all ranges are begun: there is nothing beyond the frontier
	next     int
	underWay map[int]span
	held     []*hold
}

// hold is a set of keys that wait for chunks.
type hold struct {
	waits map[int]bool
	keys  []tracked
}

func newTracker() *tracker { return &tracker{underWay: map[int]span{}} }

// restore sets the state of an earlier run: all up to a mark is copied, except for the gaps, which count as under way from now on. So keys
// in them, and all others up to the mark, are held until their chunks have ended.
func (t *tracker) restore(at mark, holes []gap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frontier, t.begun, t.complete, t.next = at.High, true, at.End, at.ID
	for _, h := range holes {
		t.underWay[h.id] = h.span
	}
}

// begin notes that a chunk begins, before its statement is sent. last: it has no end, it is the last one.
func (t *tracker) begin(r span, last bool) (id int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	t.underWay[t.next] = r
	t.frontier, t.begun, t.complete = r.high, true, last
	return t.next
}

// end notes that a chunk is committed, and gives the keys that nothing holds any more. They are to be applied.
func (t *tracker) end(id int) []tracked {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.underWay, id)
	var free []tracked
	kept := t.held[:0]
	for _, h := range t.held {
		delete(h.waits, id)
		if len(h.waits) == 0 {
			free = append(free, h.keys...)
			continue
		}
		kept = append(kept, h)
	}
	clear(t.held[len(kept):])
	t.held = kept
	return free
}

// moment is the state against which keys are judged.
type moment struct {
	frontier value
	begun    bool
	complete bool
	underWay []int
}

// now is taken after the transactions of the keys to be judged have become visible.
func (t *tracker) now() moment {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := moment{frontier: t.frontier, begun: t.begun, complete: t.complete}
	for id := range t.underWay {
		m.underWay = append(m.underWay, id)
	}
	return m
}

// hold keeps keys at or before the frontier of a moment until the chunks that were under way then have ended. It gives back those
// that nothing holds.
func (t *tracker) hold(m moment, keys []tracked) []tracked {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &hold{waits: map[int]bool{}, keys: keys}
	for _, id := range m.underWay {
		if _, still := t.underWay[id]; still {
			h.waits[id] = true
		}
	}
	if len(h.waits) == 0 {
		return keys
	}
	t.held = append(t.held, h)
	return nil
}

// holding is how many keys wait for chunks.
func (t *tracker) holding() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, h := range t.held {
		n += len(h.keys)
	}
	return n
}

// finished tells whether all ranges are copied.
func (t *tracker) finished() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.complete && len(t.underWay) == 0
}
