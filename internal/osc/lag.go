package osc

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wait"
)

const (
	lagEvery  = 200 * time.Millisecond
	lagKept   = 10 * time.Minute // of samples: a replica further behind is so by more
	lagAnswer = 2 * time.Second  // for a replica to say how far it is
)

// sample is what a primary had executed at a moment.
type sample struct {
	at  time.Time
	set mysql.GTIDSet
}

// lagMeter measures how far replicas are behind by what they have executed: nothing is written for it, and it is as fine as its samples.
type lagMeter struct{ samples []sample }

// add notes what the primary has executed; equal sets count from the last moment at which they were seen.
func (m *lagMeter) add(s sample) {
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

// watchLag makes the copy rest while a replica lags by more than the tier allows, or does not say (I11).
func (c *copyRun) watchLag(ctx context.Context) error {
	if len(c.settings.Replicas) == 0 {
		return nil
	}
	var meter lagMeter
	for {
		set, err := readExecuted(ctx, c.db)
		if err == nil {
			meter.add(sample{time.Now(), set})
			c.rest(c.lagging(ctx, &meter))
		}
		if err := wait.For(ctx, lagEvery); err != nil {
			return err
		}
	}
}

// lagging is why the copy should rest for its replicas, "" when it need not.
func (c *copyRun) lagging(ctx context.Context, meter *lagMeter) string {
	reasons := make([]string, len(c.settings.Replicas))
	var group sync.WaitGroup
	for i, addr := range c.settings.Replicas {
		group.Go(func() {
			ask, cancel := context.WithTimeout(ctx, lagAnswer)
			defer cancel()
			db, err := c.Pool.DB(addr)
			var set mysql.GTIDSet
			if err == nil {
				set, err = readExecuted(ask, db)
			}
			if err != nil {
				reasons[i] = fmt.Sprintf("replica %s does not say how far it is: %v", addr, err)
			} else if lag := meter.lag(set, time.Now()); lag > c.settings.MaxLag {
				reasons[i] = fmt.Sprintf("replica %s lags by %.1fs, over %v", addr, lag.Seconds(), c.settings.MaxLag)
			}
		})
	}
	group.Wait()
	for _, r := range reasons {
		if r != "" {
			return r
		}
	}
	return ""
}

func readExecuted(ctx context.Context, db *sql.DB) (mysql.GTIDSet, error) {
	var text string
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&text); err != nil {
		return mysql.GTIDSet{}, err
	}
	return mysql.ParseGTIDSet(text)
}
