package framework

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// gather asks all members of a cluster at once. What cannot be asked is unknown, and keeps what it said last.
func (d *driver) gather(ctx context.Context, r cotton.Record) []cotton.Seen {
	before, down := d.c.last()
	results := mysql.FanOut(ctx, r.Members, 0, d.f.cfg.ProbeTimeout, func(ctx context.Context, m cotton.Member) (cotton.Seen, error) {
		if !mayLive(m) || m.Phase != cotton.PhaseRunning || down[m.ID] != "" {
			return cotton.Seen{}, errNotUp
		}
		if r.Change != nil && before[m.ID].Err != nil { // one that hangs must not hold up the change that it calls for
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, min(hurriedProbe, d.f.cfg.ProbeTimeout))
			defer cancel()
		} else if before[m.ID].Err != nil && before[m.ID].Answered { // asked again sooner, it is found out sooner
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d.f.cfg.ProbeTimeout/2)
			defer cancel()
		}
		return d.probe(ctx, r, m)
	})
	now := d.f.clock.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	var seen []cotton.Seen
	for i, result := range results {
		m := r.Members[i]
		s := result.Value
		if result.Err == nil {
			d.memo(m.ID).answered = now
			s.Answered = true
		} else {
			s = before[m.ID] // zero where it never answered
			s.Busy = ""
			s.Err, s.Refused = result.Err, errors.Is(result.Err, syscall.ECONNREFUSED)
			last := d.memo(m.ID).answered
			if last.IsZero() {
				last = d.since
			}
			s.Silent = now.Sub(last)
		}
		s.Member, s.Busy, s.Donor = m.ID, cmp.Or(d.busy[m.ID], s.Busy), d.donor[m.ID]
		s.Over = !mayLive(m)
		s.Down = down[m.ID]
		s.TaskLives = mayLive(m) && m.Phase == cotton.PhaseRunning && down[m.ID] == ""
		s.FencedEpoch, s.Leased = d.promised(m)
		s.SessionsEnded = d.ended[m.ID]
		s.Stalled, s.VolumeError = d.volume(m)
		d.remember(&s, now)
		if m.ID == r.Primary {
			d.foreign.look(&s, now)
		}
		seen = append(seen, s)
	}
	return seen
}

// hurriedProbe bounds the probe of a server that did not answer the last one, while the primary changes.
const hurriedProbe = 100 * time.Millisecond

// brokenGap is the longest between two looks at a standing applier that count as one trouble: it is started in between.
const brokenGap = 2 * maxStepWait

// memo is what is remembered of a member from one look to the next.
type memo struct {
	answered time.Time // last; zero = never
	heard    time.Time // when its receiver was last seen connected
	received time.Time // when its receiver was last not seen to be off; zero = it was never asked
	opened   time.Time // since when it was seen open whenever it answered; zero = it was not
	executed string    // what it had executed, and since when it has been the same
	moved    time.Time
	trouble  trouble
	strays   *strays
	due      attestation // what it must have applied to bear witness
}

// trouble is an applier that stands still.
type trouble struct{ since, last time.Time }

// memo of a member; d.mu is held.
func (d *driver) memo(member int) *memo {
	m := d.memos[member]
	if m == nil {
		m = &memo{}
		d.memos[member] = m
	}
	return m
}

// remember adds what only time tells; d.mu is held.
func (d *driver) remember(s *cotton.Seen, now time.Time) {
	s.Deaf, s.Broken, s.Stopped = 0, 0, 0
	m := d.memo(s.Member)
	if s.Err != nil || m.received.IsZero() || s.Replica != nil && s.Replica.IORunning != "No" {
		m.received = now
	}
	s.Stopped = now.Sub(m.received)
	if s.Err != nil {
		return
	}
	if m.executed != s.Server.GTIDExecuted || m.moved.IsZero() {
		m.executed, m.moved = s.Server.GTIDExecuted, now
	}
	s.Idle = now.Sub(m.moved)
	switch {
	case !s.Writable():
		m.opened = time.Time{}
	case m.opened.IsZero():
		m.opened = now
	}
	if s.Open = 0; !m.opened.IsZero() {
		s.Open = now.Sub(m.opened)
	}
	if s.Replica == nil {
		return
	}
	if m.heard.IsZero() || s.Replica.Receiving() {
		m.heard = now
	} else {
		s.Deaf = now.Sub(m.heard)
	}
	if s.Replica.SQLRunning == "No" && s.Replica.SQLError != "" {
		if now.Sub(m.trouble.last) > brokenGap {
			m.trouble.since = now
		}
		m.trouble.last = now
		s.Broken = now.Sub(m.trouble.since)
	}
}

// promised is what is known of a member by its executor's word: under which epoch it was fenced, and when its lease
// runs out if no one renews it. An executor that never spoke of epochs knows of neither. d.mu is held.
func (d *driver) promised(m cotton.Member) (fenced uint64, lease time.Time) {
	facts, ok := d.c.factsOf(m.ID)
	if !ok || facts.Task != m.TaskID || facts.Epoch == 0 {
		return 0, time.Time{}
	}
	t := d.f.cfg.Timing
	if facts.Clock > 0 {
		if facts.LeaseMillis == 0 { // it goes by none: nothing closes it
			return facts.FencedEpoch, time.Time{}
		}
		// The scheduler before this one may have had a longer one.
		t = t.WithLease(max(t.Lease, time.Duration(facts.LeaseMillis)*time.Millisecond))
	}
	from := d.lease(m).from
	if from.Before(d.since) {
		from = d.since // the scheduler before this one may have renewed it until then
	}
	return facts.FencedEpoch, from.Add(t.Elect)
}

// granted is what is known of a member's lease.
type granted struct {
	task string
	sent time.Time // when the last order was sent; zero = the next one is due
	from time.Time // from when the last one counts, at the latest
	// asked: the last order asked for facts only; the next one is due with them.
	asked bool
}

// lease of a member's present task; d.mu is held.
func (d *driver) lease(m cotton.Member) *granted {
	l := d.leases[m.ID]
	if l == nil || l.task != m.TaskID {
		l = &granted{task: m.TaskID}
		d.leases[m.ID] = l
	}
	return l
}

// volumeNews is how old an executor's word of its volume may be: while no write succeeds it says so every second.
const volumeNews = 4 * time.Second

// volume is what a member's executor says of its volume.
func (d *driver) volume(m cotton.Member) (stalled time.Duration, failed string) {
	facts, ok := d.c.factsOf(m.ID)
	if !ok || facts.Task != m.TaskID {
		return 0, ""
	}
	if time.Since(facts.came) < volumeNews {
		stalled = time.Duration(facts.StalledMillis) * time.Millisecond
	}
	return stalled, facts.WriteError
}

var errNotUp = errors.New("mysqld is not up")

func (c *cluster) last() (map[int]cotton.Seen, map[int]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, down := map[int]cotton.Seen{}, map[int]string{}
	for id, s := range c.seen {
		seen[id] = s
	}
	for id, why := range c.down {
		down[id] = why
	}
	return seen, down
}

// probe asks one server all that decisions need.
func (d *driver) probe(ctx context.Context, r cotton.Record, m cotton.Member) (s cotton.Seen, err error) {
	db, err := d.db(m)
	if err != nil {
		return s, err
	}
	if s.Server, err = mysql.ReadServer(ctx, db); err != nil {
		return s, err
	}
	if s.Server.ServerID != m.ServerID() {
		return s, fmt.Errorf("another server answers at %s:%d: its server_id is %d, not %d", m.Host, m.Port, s.Server.ServerID, m.ServerID())
	}
	if s.Boot, err = mysql.ReadReportUser(ctx, db); err != nil {
		return s, err
	}
	if s.Replica, err = mysql.ReadReplicaStatus(ctx, db); err != nil {
		return s, err
	}
	if s.Replica != nil {
		if s.Heard, err = mysql.ReadHeard(ctx, db); err != nil {
			return s, err
		}
		if s.Held, err = heldBy(ctx, db, s.Replica); err != nil {
			return s, err
		}
	}
	if r.Spec.Nodes > 1 || len(r.Members) > 1 {
		if s.SemiSync, err = mysql.ReadSemiSync(ctx, db, s.Server.Version); err != nil {
			return s, err
		}
		if err := readSemiSyncSettings(ctx, db, &s); err != nil {
			return s, err
		}
	}
	if m.ID != r.Primary {
		if s.Replica == nil {
			if s.Filters, err = mysql.ReadGlobalFilters(ctx, db); err != nil {
				return s, err
			}
		}
		// A CLONE goes on although the scheduler that began it is gone. Meanwhile the server can be made to follow, would acknowledge, and
		// lose what it acknowledged.
		if r.Founded && s.Server.GTIDExecuted == "" {
			cloning, err := mysql.Cloning(ctx, db)
			if err != nil {
				return s, err
			}
			if cloning {
				s.Busy = "clone"
			}
		}
		return s, nil
	}
	if r.SemiSync().Enabled {
		if err := d.outsiders(ctx, db, r, &s); err != nil {
			return s, err
		}
	}
	if !r.Founded {
		s.HasUser, err = hasUser(ctx, db, r.Spec)
	} else if d.mayClone(r) {
		s.DataMB, err = dataMB(ctx, db)
	}
	return s, err
}

// heldFrom is how many seconds a replica must be behind for it to be asked whose locks it waits for.
const heldFrom = 2

// heldBy tells whose locks on the whole server an applier that is behind may wait for.
func heldBy(ctx context.Context, db *sql.DB, r *mysql.ReplicaStatus) (string, error) {
	if r.SecondsBehind == nil || *r.SecondsBehind < heldFrom {
		return "", nil
	}
	blockers, err := mysql.Blockers(ctx, db)
	if err != nil || len(blockers) == 0 {
		return "", err
	}
	return strings.Trim(fmt.Sprint(blockers), "[]"), nil
}

// mayClone tells whether a member may turn out to have no data yet, so that the size of the primary's matters: also one that
// has not answered so far, for what is decided when it first answers is decided on this look.
func (d *driver) mayClone(r cotton.Record) bool {
	seen, _ := d.c.last()
	return slices.ContainsFunc(r.Members, func(m cotton.Member) bool {
		s := seen[m.ID]
		return m.ID != r.Primary && m.Phase == cotton.PhaseRunning && (!s.Answered || s.Replica == nil)
	})
}

// readSemiSyncSettings reads both sides' settings under their names before and since 8.0.26.
func readSemiSyncSettings(ctx context.Context, db *sql.DB, s *cotton.Seen) error {
	const query = `SELECT variable_name, variable_value FROM performance_schema.global_variables WHERE variable_name LIKE 'rpl\_semi\_sync\_%'
		UNION ALL SELECT variable_name, variable_value FROM performance_schema.global_status
		WHERE variable_name IN ('Rpl_semi_sync_replica_status', 'Rpl_semi_sync_slave_status')`
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read the settings of semi-synchronous replication: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return fmt.Errorf("read the settings of semi-synchronous replication: %w", err)
		}
		name = strings.NewReplacer("master", "source", "slave", "replica").Replace(strings.ToLower(name))
		number, _ := strconv.Atoi(value) // not all are numbers; those below are
		switch strings.TrimPrefix(name, "rpl_semi_sync_") {
		case "source_enabled":
			s.SourceSemiSync.Enabled = value == "ON"
		case "source_timeout":
			s.SourceSemiSync.Timeout = time.Duration(number) * time.Millisecond
		case "source_wait_for_replica_count":
			s.SourceSemiSync.Acks = number
		case "replica_status":
			s.Acknowledging = value == "ON"
		}
	}
	return rows.Err()
}
