package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

var faultPartitionsLocked = fault.Register("osc.partitions.locked",
	"the table is locked and the partitions that go are found empty, nothing is dropped yet")

// emptyPartitions are the findings about partitions that the plan drops because it found them empty. What is written to them before the
// ALTER has its lock would be lost without a word: everything else that a plan looks for in the rows the server looks for again.
func (p Plan) emptyPartitions() []schema.Finding {
	real := map[string]bool{}
	for _, f := range p.Findings {
		if f.Code == schema.DropPartition {
			real[f.Column] = true
		}
	}
	var out []schema.Finding
	for _, f := range p.Change.Findings {
		if f.Code == schema.DropPartition && !real[f.Column] {
			out = append(out, f)
		}
	}
	return out
}

// errFilled: another plan says what would be lost, and whether that is allowed.
var errFilled = errors.New("rows were written to a partition that was empty: plan again")

// underLock runs do while nobody else can write to the table, once the partitions that it drops are empty. The wait for the lock is bounded
// by the session's lock_wait_timeout; the end of the connection frees it.
func (r *run) underLock(ctx context.Context, conn *sql.Conn, partitions []schema.Finding, do func() error) (err error) {
	table := mysql.QuoteIdents(r.plan.Database, r.plan.Table)
	if _, err := conn.ExecContext(ctx, "LOCK TABLES "+table+" WRITE"); err != nil {
		return fmt.Errorf("lock %s: %w", table, err)
	}
	defer func() {
		if _, unlock := conn.ExecContext(ctx, "UNLOCK TABLES"); err == nil && unlock != nil {
			err = fmt.Errorf("unlock %s: %w", table, unlock)
		}
	}()
	for _, f := range partitions {
		filled, err := f.Real(ctx, conn, r.plan.Database, r.plan.Table)
		if err != nil {
			return err
		}
		if filled {
			return fmt.Errorf("partition %s of %s: %w", mysql.QuoteIdent(f.Column), table, errFilled)
		}
	}
	fault.Point(faultPartitionsLocked)
	return do()
}
