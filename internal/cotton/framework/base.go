package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// storeAcks stores how many acknowledgements commits have from now on. What was committed with fewer is found by no quorum of the
// higher number, so an election must find all of that.
func (d *driver) storeAcks(ctx context.Context, r cotton.Record) error {
	if r.AcksWanted() <= r.Acks {
		return d.f.change(ctx, d.c, func(stored *cotton.Record) error {
			if stored.Epoch != r.Epoch {
				return errUnchanged
			}
			stored.Acks = min(stored.Acks, stored.AcksWanted()) // the cluster may have been asked to grow meanwhile
			return nil
		})
	}
	if err := d.settled(ctx, r); err != nil {
		return err
	}
	return d.raiseBase(ctx, r, func(stored *cotton.Record, _ mysql.Server) error {
		if stored.AcksWanted() != r.AcksWanted() {
			return errUnchanged
		}
		stored.Acks = stored.AcksWanted()
		return nil
	})
}

// settled waits for the commits under way at the primary to be over. What was released under other settings, with fewer acknowledgements
// or none, is in gtid_executed only then. Commits that wait for a replica are under way: until they go on nothing is believed that an
// election would rest on.
func (d *driver) settled(ctx context.Context, r cotton.Record) error {
	db, err := d.primaryDB(r)
	if err != nil {
		return err
	}
	return mysql.WaitForUnderWay(ctx, db, waitStep)
}

// refetch throws a member's relay log away, which cannot be read, to receive it anew. What was in it may have been acknowledged by nobody
// else, and until it is received again only the primary has it: an election must find that. The receiver is stopped first: what it
// acknowledged after the primary was asked would be in no set.
func (d *driver) refetch(ctx context.Context, r cotton.Record, db *sql.DB) error {
	if err := mysql.StopReceiver(ctx, db); err != nil {
		return err
	}
	has, err := receivedBy(ctx, db)
	if err != nil {
		return err
	}
	primary, err := d.primaryDB(r)
	if err != nil {
		return err
	}
	if err := mysql.WaitForGTID(ctx, primary, has, waitStep); err != nil { // it acknowledged what waits for others still
		return errors.Join(fmt.Errorf("its relay log is kept, it may be the only copy: %w", err), mysql.StartReceiver(ctx, db))
	}
	err = d.raiseBase(ctx, r, func(stored *cotton.Record, _ mysql.Server) error {
		if stored.Change != nil {
			return errUnchanged
		}
		return nil
	})
	if err != nil {
		return err
	}
	return mysql.RefetchRelayLog(ctx, db)
}

// storeStrict stores that commits wait for ever from now on. Those before may have waited for nobody, so an election must find them. A
// session that began to wait under the former time-out ends its wait after that time and takes the server back to asynchronous
// replication, for all sessions: only with those gone, and the server in semi-synchronous replication, is it sure that all wait.
func (d *driver) storeStrict(ctx context.Context, r cotton.Record) error {
	if err := d.settled(ctx, r); err != nil {
		return err
	}
	db, err := d.primaryDB(r)
	if err != nil {
		return err
	}
	e, err := mysql.ReadExposure(ctx, db)
	if err != nil {
		return err
	}
	if !e.SemiSync || !e.Waits {
		return fmt.Errorf("%s goes on without an acknowledgement until a replica has caught up: its commits do not wait for ever yet",
			r.MemberName(r.Primary))
	}
	if err := d.settled(ctx, r); err != nil { // what waited for nobody
		return err
	}
	return d.raiseBase(ctx, r, func(stored *cotton.Record, _ mysql.Server) error {
		stored.Loose = false
		return nil
	})
}

// storeBase stores what the primary has executed as what was acknowledged.
func (d *driver) storeBase(ctx context.Context, r cotton.Record) error {
	return d.raiseBase(ctx, r, func(stored *cotton.Record, primary mysql.Server) error {
		stored.AddLineage(primary.UUID)
		return nil
	})
}

// found stores that the primary has executed something, and what that is.
func (d *driver) found(ctx context.Context, r cotton.Record) error {
	return d.raiseBase(ctx, r, func(stored *cotton.Record, primary mysql.Server) error {
		stored.Founded, stored.FoundedSet = true, primary.GTIDExecuted
		return nil
	})
}

// raiseBase stores that an election must find what the stored primary has executed by now (cotton.Record.Base), and what else changes with
// that. It is for the epoch in which it was decided; errUnchanged when that is over.
func (d *driver) raiseBase(ctx context.Context, r cotton.Record, also func(stored *cotton.Record, primary mysql.Server) error) error {
	primary, executed, err := d.executedByPrimary(ctx, r)
	if err != nil {
		return err
	}
	return d.f.change(ctx, d.c, func(stored *cotton.Record) error {
		if stored.Epoch != r.Epoch {
			return errUnchanged
		}
		if err := also(stored, primary); err != nil {
			return err
		}
		return stored.RaiseBase(executed)
	})
}

// executedByPrimary asks the stored primary who it is, and what it has executed.
func (d *driver) executedByPrimary(ctx context.Context, r cotton.Record) (primary mysql.Server, executed mysql.GTIDSet, err error) {
	db, err := d.primaryDB(r)
	if err != nil {
		return primary, executed, err
	}
	if primary, err = mysql.ReadServer(ctx, db); err != nil {
		return primary, executed, err
	}
	executed, err = mysql.ParseGTIDSet(primary.GTIDExecuted)
	return primary, executed, err
}
