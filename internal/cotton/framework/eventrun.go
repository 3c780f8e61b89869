package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// eventsEvery is how often, at most, it is stored which events run: an application may make new ones all the time.
const eventsEvery = 5 * time.Second

// keepEvents sees to it that the primary runs the events that a client has enabled, and no others: what a replica makes of them does not
// tell, so that is known from the last look at the primary before it (docs/decisions/024).
func (d *driver) keepEvents(ctx context.Context, r cotton.Record, db *sql.DB) ([]string, error) {
	seen, now, err := readEvents(ctx, db)
	if err != nil {
		return nil, err
	}
	plan := r.PlanEvents(seen, now)
	if !plan.Know.Equal(r.Events) && (len(plan.Changes) > 0 || time.Since(d.eventsKnown) >= eventsEvery) {
		fault.Point(faultUpkeep)
		if err := d.knowEvents(ctx, r, plan.Know); err != nil {
			return plan.Problems, err
		}
		d.eventsKnown = time.Now()
	}
	if now := d.c.snapshot(); now.Epoch != r.Epoch || now.Change != nil {
		return plan.Problems, nil
	}
	// One that cannot be changed keeps no other from running.
	var failed []error
	for _, c := range plan.Changes {
		failed = append(failed, mysql.AlterEvent(ctx, db, mysql.EventAlteration{
			Schema: c.Schema, Name: c.Name, Definer: c.Definer, Charset: c.Charset, Collation: c.Collation,
			Enable: c.Enable, When: plan.Stamp,
		}))
	}
	if len(plan.Changes) > 0 {
		d.f.cfg.Log.Info("events were set as they were at the primary before", "cluster", r.Spec.Name, "epoch", r.Epoch,
			"events", len(plan.Changes))
	}
	return plan.Problems, errors.Join(append(failed, mysql.StartEvents(ctx, db))...)
}

// knowEvents stores what is known of the events, unless the primary is changing.
func (d *driver) knowEvents(ctx context.Context, r cotton.Record, know cotton.Events) error {
	err := d.f.change(ctx, d.c, func(stored *cotton.Record) error {
		overtaken := stored.Epoch != r.Epoch || stored.Primary != r.Primary || stored.Change != nil || stored.State == cotton.StateDeleting
		if overtaken || stored.Events.Equal(know) {
			return errUnchanged
		}
		stored.Events = know
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// readEvents lists all events, and the server's time in seconds since 1970, read before them.
func readEvents(ctx context.Context, db *sql.DB) (events []cotton.Event, now int64, err error) {
	failed := func(err error) ([]cotton.Event, int64, error) { return nil, 0, fmt.Errorf("list the events: %w", err) }
	if err := db.QueryRowContext(ctx, "SELECT UNIX_TIMESTAMP()").Scan(&now); err != nil {
		return failed(err)
	}
	// Times are shown in the time zone of the event.
	const zone = "IF(e.time_zone = 'SYSTEM', @@GLOBAL.time_zone, e.time_zone)"
	rows, err := db.QueryContext(ctx, `SELECT e.event_schema, e.event_name, e.definer, e.character_set_client, e.collation_connection,
		e.status, UNIX_TIMESTAMP(e.last_altered), u.user IS NULL,
		COALESCE(e.event_type = 'RECURRING' AND CONVERT_TZ(e.ends, `+zone+`, '+00:00') <= UTC_TIMESTAMP(), 0),
		COALESCE(e.event_type = 'ONE TIME' AND e.on_completion = 'PRESERVE'
			AND CONVERT_TZ(e.execute_at, `+zone+`, '+00:00') <= UTC_TIMESTAMP(), 0)
		FROM information_schema.events e LEFT JOIN mysql.user u ON e.definer = CONCAT(u.user, '@', u.host)`)
	if err != nil {
		return failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e cotton.Event
		err := rows.Scan(&e.Schema, &e.Name, &e.Definer, &e.Charset, &e.Collation, &e.Status, &e.Altered, &e.Orphan, &e.Ended, &e.Spent)
		if err != nil {
			return failed(err)
		}
		if e.Status != cotton.EventEnabled && e.Status != cotton.EventDisabled {
			e.Status = cotton.EventReplica
		}
		events = append(events, e)
	}
	return events, now, rows.Err()
}
