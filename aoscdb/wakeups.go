package aoscdb

import (
	"context"
	"time"
)

// Wakeup is the newest request for a pass of one daemon and scope.
//
// RequestedAt grows with every request, also when two commit in another order than they were made in. A daemon
// remembers the value it saw before its last pass and runs again when it has changed; comparing it with a clock would
// miss a request whose transaction was still open then.
type Wakeup struct {
	RequestedAt time.Time
	FreshAt     *time.Time // newest request that wanted no cached hashes, nil = never
}

// ScopeTier is the scope of a checksum wake-up for one tier.
func ScopeTier(group string) string { return "tier:" + group }

// ScopeInstance is the scope of a checksum wake-up for one instance ("host:port").
func ScopeInstance(addr string) string { return "instance:" + addr }

// Wake asks a daemon for a pass within a second or two. scope is ScopeTier or ScopeInstance for the checksum, "" for the
// others. fresh asks the checksum to use no cached hashes.
func (s *Store) Wake(ctx context.Context, daemon, scope string, fresh bool) error {
	err := retry(ctx, func() error { return addWake(ctx, s.db, daemon, scope, fresh) })
	return wrap(err, "wake the %s through %s", daemon, s)
}

// addWake is Wake in a transaction where q is one: the request is seen when, and only if, its cause is.
func addWake(ctx context.Context, q querier, daemon, scope string, fresh bool) error {
	_, err := q.ExecContext(ctx, "INSERT INTO wakeups (daemon, scope, requested_at, fresh_at) "+
		"VALUES (?, ?, NOW(6), IF(?, NOW(6), NULL)) AS new ON DUPLICATE KEY UPDATE "+
		"requested_at = GREATEST(new.requested_at, wakeups.requested_at + INTERVAL 1 MICROSECOND), "+
		"fresh_at = IF(new.fresh_at IS NULL, wakeups.fresh_at, wakeups.requested_at)", daemon, scope, fresh)
	return err
}

// Wakeups are the newest requests to a daemon, by scope.
func (s *Store) Wakeups(ctx context.Context, daemon string) (map[string]Wakeup, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT scope, requested_at, fresh_at FROM wakeups WHERE daemon = ?", daemon)
	if err != nil {
		return nil, wrap(err, "read the wake-ups of %s", s)
	}
	defer rows.Close()
	out := map[string]Wakeup{}
	for rows.Next() {
		var scope string
		var w Wakeup
		if err := rows.Scan(&scope, &w.RequestedAt, &w.FreshAt); err != nil {
			return nil, wrap(err, "read the wake-ups of %s", s)
		}
		out[scope] = w
	}
	return out, wrap(rows.Err(), "read the wake-ups of %s", s)
}
