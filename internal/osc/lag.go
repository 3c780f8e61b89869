package osc

import (
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

const (
	lagEvery  = 200 * time.Millisecond
	lagKept   = 10 * time.Minute // of samples: a replica further behind is so by more
	lagAnswer = 2 * time.Second  // for a replica to say how far it is
)

// executedAt is what a primary had executed at a moment.
type executedAt struct {
	at  time.Time
	set mysql.GTIDSet
}

// lagMeter measures how far replicas are behind by what they have executed: nothing is written for it, and it is as fine as its samples.
type lagMeter struct{ samples []executedAt }

// add notes what the primary has executed; equal sets count from the last moment at which they were seen.
func (m *lagMeter) add(s executedAt) {
	n := len(m.samples)
	if n > 0 && m.samples[n-1].set.Equal(s.set) {
		m.samples[n-1].at = s.at
		return
	}
	m.samples = append(m.samples, s)
	for len(m.samples) > 1 && s.at.Sub(m.samples[0].at) > lagKept {
		m.samples = m.samples[1:]
	}
}

// lag is how long ago the primary had executed no more than a replica has now: at least so far it is behind. Of what came before the
// first sample nothing is known.
func (m *lagMeter) lag(executed mysql.GTIDSet, now time.Time) time.Duration {
	for i := len(m.samples) - 1; i >= 0; i-- {
		if executed.Contains(m.samples[i].set) {
			if i == len(m.samples)-1 {
				return 0
			}
			return now.Sub(m.samples[i].at)
		}
	}
	if len(m.samples) == 0 {
		return 0
	}
	return now.Sub(m.samples[0].at)
}
