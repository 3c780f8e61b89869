package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrLeaseLost is returned by AsLeader when the lease is no longer the caller's: somebody else took it over, or it
// expired. Nothing was written (I8).
var ErrLeaseLost = errors.New("lease lost: another process leads, or this one did not renew in time")

// Lease is the proof of leadership that a leader carries to every write.
type Lease struct {
	Name   string
	Holder string
	Epoch  uint64
}

// LeaseRow is a row of leases.
type LeaseRow struct {
	Lease
	ExpiresAt time.Time // by the clock of the central database
	Expired   bool      // by that clock, when read
}

func (l *LeaseRow) fields() []any {
	return []any{&l.Name, &l.Holder, &l.Epoch, &l.ExpiresAt, &l.Expired}
}

const leaseColumns = "name, holder, epoch, expires_at, expires_at <= NOW(6)"

// Leases are all leases, by name: who leads as what.
func (s *Store) Leases(ctx context.Context) ([]LeaseRow, error) {
	rows, err := list(ctx, s.db, (*LeaseRow).fields, "SELECT "+leaseColumns+" FROM leases ORDER BY name")
	return rows, wrap(err, "read the leases of %s", s)
}

// LeaseHolder says who holds the lease of that name, and until when by the clock of the central database. An expired
// lease is still named after its last holder. ErrNotFound when it was never taken.
func (s *Store) LeaseHolder(ctx context.Context, name string) (holder string, expiresAt time.Time, err error) {
	row, err := one(ctx, s.db, (*LeaseRow).fields, "SELECT "+leaseColumns+" FROM leases WHERE name = ?", name)
	return row.Holder, row.ExpiresAt, wrap(err, "read lease %q in %s", name, s)
}

// Acquire takes the lease when it is free, expired, or already the holder's, and then its epoch is a new one, higher
// than any before: whoever still acts on an older epoch is fenced by AsLeader. ok is false while another holds it.
// Expiry is judged by the clock of the central database.
func (s *Store) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (epoch uint64, ok bool, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// Assignments run from left to right and later ones see earlier ones, hence this order: `holder` last but one
		// and expires_at last, both still compared as they were. The row stays locked until the commit, so the
		// SELECT reads what this statement made of it.
		_, err := execTx(ctx, tx, "INSERT INTO leases (name, holder, epoch, expires_at) "+
			"VALUES (?, ?, 1, NOW(6) + INTERVAL ? MICROSECOND) AS new ON DUPLICATE KEY UPDATE "+
			"epoch = IF(leases.expires_at <= NOW(6) OR leases.holder = new.holder, leases.epoch + 1, leases.epoch), "+
			"holder = IF(leases.expires_at <= NOW(6), new.holder, leases.holder), "+
			"expires_at = IF(leases.holder = new.holder, new.expires_at, leases.expires_at)",
			name, holder, ttl.Microseconds())
		if err != nil {
			return err
		}
		var now string
		if err := tx.QueryRowContext(ctx, "SELECT holder, epoch FROM leases WHERE name = ?", name).Scan(&now, &epoch); err != nil {
			return err
		}
		ok = now == holder
		return nil
	})
	if err != nil {
		return 0, false, wrap(err, "acquire lease %q in %s", name, s)
	}
	return epoch, ok, nil
}

// Renew lets the lease last for ttl from now. ok is false when it was taken over or has expired; then it must be
// acquired again, with a new epoch.
func (s *Store) Renew(ctx context.Context, name, holder string, epoch uint64, ttl time.Duration) (ok bool, err error) {
	n, err := exec(ctx, s.db, "UPDATE leases SET expires_at = NOW(6) + INTERVAL ? MICROSECOND "+
		"WHERE name = ? AND holder = ? AND epoch = ? AND expires_at > NOW(6)", ttl.Microseconds(), name, holder, epoch)
	return n == 1, wrap(err, "renew lease %q in %s", name, s)
}

// Release gives the lease up, so that a standby need not wait for its expiry. A lease that is no longer the caller's is
// left alone. The row stays: its epoch must never be used twice.
func (s *Store) Release(ctx context.Context, name, holder string, epoch uint64) error {
	_, err := exec(ctx, s.db, "UPDATE leases SET expires_at = NOW(6) "+
		"WHERE name = ? AND holder = ? AND epoch = ? AND expires_at > NOW(6)", name, holder, epoch)
	return wrap(err, "release lease %q in %s", name, s)
}

// AsLeader runs fn in one transaction that holds the lease's row, so nobody can take the lease over before the commit:
// what fn writes was written by the leader, however long the process was stopped in between (I8). When the lease is
// no longer the caller's (holder, epoch, expiry by the database's clock) it fails with ErrLeaseLost before fn runs.
//
// A deadlock or lock wait timeout begins the transaction again, fn included: fn must set what it returns rather than
// add to it, keep the effects outside of tx until AsLeader has returned nil, and return the errors of tx (wrapped is
// fine). Renewals wait while fn runs: gather first, and only write in fn.
func (s *Store) AsLeader(ctx context.Context, l Lease, fn func(context.Context, *sql.Tx) error) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var holder string
		var epoch uint64
		var valid bool
		err := tx.QueryRowContext(ctx, "SELECT holder, epoch, expires_at > NOW(6) FROM leases WHERE name = ? FOR UPDATE",
			l.Name).Scan(&holder, &epoch, &valid)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("lease %q in %s was never taken: %w", l.Name, s, ErrLeaseLost)
		case err != nil:
			return wrap(err, "lock lease %q in %s", l.Name, s)
		case holder != l.Holder || epoch != l.Epoch:
			return fmt.Errorf("lease %q in %s is %s's with epoch %d, not %s's with epoch %d: %w",
				l.Name, s, holder, epoch, l.Holder, l.Epoch, ErrLeaseLost)
		case !valid:
			return fmt.Errorf("lease %q in %s has expired: %w", l.Name, s, ErrLeaseLost)
		}
		return fn(ctx, tx)
	})
}
