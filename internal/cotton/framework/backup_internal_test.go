package framework

import (
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
)

// TestArchivedByASetClock: when a member archived last is told by the scheduler's clock, whatever the member's is set to, and each time
// that it has archived the store is looked at again.
func TestArchivedByASetClock(t *testing.T) {
	now := time.Unix(1e9, 0)
	k := &keeping{State: backup.State{Now: now}, told: map[int]cotton.BackupFacts{}, archived: map[int]time.Time{}}
	theirs := time.Unix(2e9, 0)
	for _, step := range []time.Duration{time.Second, time.Hour, -time.Hour, -time.Hour} {
		theirs, k.Now, k.stale = theirs.Add(step), k.Now.Add(time.Minute), false
		k.hear(1, cotton.BackupFacts{ArchivedAt: theirs})
		if !k.stale || !k.archived[1].Equal(k.Now) {
			t.Errorf("a clock set by %s: looked at again %v, archived at %s, it is %s", step, k.stale, k.archived[1], k.Now)
		}
		at := k.Now
		k.Now, k.stale = k.Now.Add(time.Minute), false
		if k.hear(1, cotton.BackupFacts{ArchivedAt: theirs}); k.stale || !k.archived[1].Equal(at) {
			t.Errorf("nothing was archived since: looked at again %v, archived at %s", k.stale, k.archived[1])
		}
	}
}
