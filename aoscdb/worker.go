package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrNotPermitted is returned by Claim when the row may not be begun: it was withdrawn, the alter is on HOLD, was
// revoked, or was pinned to another version of the table. The text says which.
var ErrNotPermitted = errors.New("not permitted to begin")

// Claim is a worker's last question before it touches a table: it turns the row of running_alters for this instance
// and alter RUNNING, in one transaction that also sees the permission (I6) and that the alter is in progress at this very
// blob. After a crash the row is RUNNING already and is claimed again. started_at is new with every claim.
//
// The scheduler takes a row back by deleting it while it is READY, so of a worker that begins and a scheduler that
// withdraws exactly one succeeds, whatever either of them knows of the instance.
func (s *Store) Claim(ctx context.Context, row OSCRow, owner string) error {
	err := s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var status, blob sql.NullString
		var allowed bool
		err := tx.QueryRowContext(ctx, "SELECT c.status, c.desired_hash, a.table_name IS NOT NULL FROM running_alters AS r "+
			"LEFT JOIN current_alters AS c USING (`group`, table_name) LEFT JOIN allowed_alters AS a USING (`group`, table_name) "+
			"WHERE r.host = ? AND r.port = ? AND r.`group` = ? AND r.table_name = ? AND r.osc_status IN ('READY', 'RUNNING') "+
			"FOR UPDATE OF r", row.Host, row.Port, row.Group, row.Table).Scan(&status, &blob, &allowed)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("running_alters has no such row: %w", ErrNotPermitted)
		case err != nil:
			return err
		case !allowed:
			return fmt.Errorf("allowed_alters has no row for it (I6): %w", ErrNotPermitted)
		case status.String != AlterIPR:
			return fmt.Errorf("the alter is %q, not in progress: %w", status.String, ErrNotPermitted)
		case blob.String != row.DesiredBlob:
			return fmt.Errorf("the alter is pinned to another version of the table: %w", ErrNotPermitted)
		}
		_, err = execTx(ctx, tx, "UPDATE running_alters SET osc_status = 'RUNNING', "+noProgress+
			", started_at = NOW(6), last_updated = NOW() WHERE host = ? AND port = ?", row.Host, row.Port)
		if err != nil {
			return err
		}
		return addEvent(ctx, tx, Event{Actor: "oscworker " + owner, Group: row.Group, Table: row.Table, Host: row.Host, Port: row.Port, What: "started"})
	})
	return wrap(err, "begin %s", row)
}

// Unclaim makes the row READY again, for a worker that no longer touches any table. A row that is gone is no error.
func (s *Store) Unclaim(ctx context.Context, row OSCRow) error {
	_, err := exec(ctx, s.db, "UPDATE running_alters "+requeued+" WHERE host = ? AND port = ? AND `group` = ? AND "+
		"table_name = ? AND osc_status = 'RUNNING'", row.Host, row.Port, row.Group, row.Table)
	return wrap(err, "give back %s", row)
}

// Claimed tells whether running_alters still has the row of an alter at work. false is certain: the scheduler, or a
// person, has ended it.
func (s *Store) Claimed(ctx context.Context, row OSCRow) (bool, error) {
	var claimed bool
	err := s.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT * FROM running_alters WHERE host = ? AND port = ? AND `group` = ? "+
		"AND table_name = ?)", row.Host, row.Port, row.Group, row.Table).Scan(&claimed)
	return claimed, wrap(err, "ask for the permission of %s", row)
}

// KnownOK are the databases of one instance whose table had the form of this very blob when it was last looked at. All
// others may need the alter: the original's question, asked so that a database nobody has looked at yet counts too.
func (s *StatusStore) KnownOK(ctx context.Context, host string, port int, group, table, blob string) (map[string]bool, error) {
	names, err := list(ctx, s.db, func(n *string) []any { return []any{n} }, "SELECT `database` FROM "+s.local()+
		" WHERE host = ? AND port = ? AND `group` = ? AND table_name = ? AND status = 'OK' AND desired_blob = ?",
		host, port, group, table, blob)
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = true
	}
	return known, wrap(err, "ask which databases of %s:%d need %s", host, port, table)
}

// ServedAlters are the rows of running_alters that a worker has to do something about.
func (s *Store) ServedAlters(ctx context.Context) ([]RunningAlter, error) {
	rows, err := list(ctx, s.db, (*RunningAlter).fields,
		"SELECT "+runningColumns+" FROM running_alters WHERE osc_status IN ('READY', 'RUNNING') ORDER BY host, port")
	return rows, wrap(err, "read running_alters of %s", s)
}

// LeftoverClusters are the clusters with a row in leftovers that somebody should look at: anything but old data that is
// still to be kept.
func (s *Store) LeftoverClusters(ctx context.Context) ([]string, error) {
	names, err := list(ctx, s.db, func(n *string) []any { return []any{n} }, "SELECT DISTINCT cluster FROM leftovers "+
		"WHERE state <> 'keep' OR keep_until <= NOW(6) ORDER BY cluster")
	return names, wrap(err, "read the leftovers in %s", s)
}
