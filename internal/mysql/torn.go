package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"
)

// A receiver that stops, or loses its source, leaves a part of a transaction at the end of the relay log. A multi-threaded
// applier that has begun with it, and is then asked to stop, waits a whole minute for the rest, which never comes
// (SLAVE_WAIT_GROUP_DONE in rpl_replica.cc). One whose session is killed first stops at once, and rolls the part back: its
// GTID is not executed, and it is received again from the next source.
const (
	// tornLook is how often it is looked whether the applier has come to the end of the relay log.
	tornLook = 20 * time.Millisecond
	// tornLimit is how long at most: an applier that is still busy stops after the transaction at hand. One that was ended
	// must be seen to be, or the stop that follows has it wait again.
	tornLimit, tornEnd = 500 * time.Millisecond, 10 * time.Second
)

// endTorn ends an applier that waits for the rest of a transaction. The receiver must be stopped.
func endTorn(ctx context.Context, db *sql.DB) error {
	// Whether all workers are idle does not matter: one has the part.
	const query = `SELECT t.processlist_id, COALESCE(t.processlist_state, ''), COALESCE(c.processing_transaction, '')
		FROM performance_schema.replication_applier_status_by_coordinator c JOIN performance_schema.threads t USING (thread_id)
		WHERE c.service_state = 'ON'`
	tick := time.NewTicker(tornLook)
	defer tick.Stop()
	limit, killed := tornLimit, false
	for begun := time.Now(); time.Since(begun) < limit; {
		var id int64
		var state, transaction string
		err := db.QueryRowContext(ctx, query).Scan(&id, &state, &transaction)
		switch {
		case err == sql.ErrNoRows: // it does not run, or has one thread, which does not wait
			return nil
		case err != nil:
			return fmt.Errorf("look at the applier: %w", err)
		case killed:
		case transaction == "":
			return nil
		case waitsForMore(state):
			_, err := db.ExecContext(ctx, "KILL "+strconv.FormatInt(id, 10))
			if err != nil && !IsNumber(err, ErrNoSuchThread) {
				return fmt.Errorf("end an applier that waits for the rest of transaction %s: %w", transaction, err)
			}
			limit, killed = tornEnd, true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// waitsForMore tells whether an applier has read all of its relay log, by the texts before and since 8.0.26.
func waitsForMore(state string) bool {
	return state == "Replica has read all relay log; waiting for more updates" || state == "Slave has read all relay log; waiting for more updates"
}
