package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// EventTarget is what an event says when an instance becomes a target of an alter.
const EventTarget = "target"

// Look is what the collector found for one alter, and the rows of alter_targets that this calls for.
type Look struct {
	// Alter is the alter as it was gathered: when its text was pinned anew since, the look is not recorded.
	Alter    CurrentAlter
	At       time.Time // clock of the central database before anything was read
	Targets  int       // instances that are targets
	Unknowns int       // instances that could not be judged (I11)
	Insert   []Target
	Update   []Target // rows that are there and differ
	Delete   []Target
}

// AllCustomServers are the instances that alters with server_list='custom' are restricted to, of all alters.
func (s *Store) AllCustomServers(ctx context.Context) ([]CustomServer, error) {
	rows, err := list(ctx, s.db, func(c *CustomServer) []any { return []any{&c.Group, &c.Table, &c.Host, &c.Port} },
		"SELECT `group`, table_name, host, port FROM custom_servers")
	return rows, wrap(err, "read the custom servers of %s", s)
}

// RecordLooks writes looks and removes the targets of alters that are gone, as the leader and all or nothing. wake names
// the daemons to wake with the same commit.
func (s *Store) RecordLooks(ctx context.Context, l Lease, looks []Look, orphans []Target, wake ...string) error {
	err := s.AsLeader(ctx, l, func(ctx context.Context, tx *sql.Tx) error {
		for _, look := range looks {
			if err := putLook(ctx, tx, l.Holder, look); err != nil {
				return fmt.Errorf("of alter %s/%s: %w", look.Alter.Group, look.Alter.Table, err)
			}
		}
		if err := deleteTargets(ctx, tx, orphans); err != nil {
			return err
		}
		for _, daemon := range wake {
			if err := addWake(ctx, tx, daemon, "", false); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(err, "record what was collected in %s", s)
}

func putLook(ctx context.Context, tx *sql.Tx, actor string, look Look) error {
	a := look.Alter
	var same bool
	err := tx.QueryRowContext(ctx, "SELECT desired_hash = ? FROM current_alters WHERE `group` = ? AND table_name = ? FOR UPDATE",
		a.DesiredHash, a.Group, a.Table).Scan(&same)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !same {
		return nil // finished or pinned anew since: the next look sees it
	}
	if err != nil {
		return err
	}
	if err := deleteTargets(ctx, tx, look.Delete); err != nil {
		return err
	}
	if err := updateTargets(ctx, tx, look.Update); err != nil {
		return err
	}
	total := a.TotalTargets
	if len(look.Insert) > 0 {
		if total, err = insertTargets(ctx, tx, actor, a, look.Insert); err != nil {
			return err
		}
	}
	_, err = execTx(ctx, tx, "UPDATE current_alters SET collected_at = ?, targets = ?, unknowns = ?, total_targets = GREATEST(total_targets, ?) "+
		"WHERE `group` = ? AND table_name = ?", look.At, look.Targets, look.Unknowns, total, a.Group, a.Table)
	return err
}

// insertTargets adds targets with a line of history each, and returns how many different instances the alter has had as
// targets: the history knows, alter_targets forgets.
func insertTargets(ctx context.Context, tx *sql.Tx, actor string, a CurrentAlter, targets []Target) (int, error) {
	err := inBatches(targets, func(batch []Target) error {
		rows, events := make([]any, 0, 9*len(batch)), make([]any, 0, 7*len(batch))
		for _, t := range batch {
			rows = append(rows, t.Group, t.Table, t.Host, t.Port, t.Cluster, t.Role, t.FoundAt, t.Databases, t.Bytes)
			events = append(events, clip(actor, 255), t.Group, t.Table, t.Host, t.Port, EventTarget,
				fmt.Sprintf("%s of %s, %d databases, %d bytes", t.Role, t.Cluster, t.Databases, t.Bytes))
		}
		_, err := execTx(ctx, tx, "INSERT INTO alter_targets ("+targetColumns+") VALUES "+rowsOf(len(batch), 9)+" AS new "+
			"ON DUPLICATE KEY UPDATE cluster = new.cluster, role = new.role, `databases` = new.`databases`, bytes = new.bytes", rows...)
		if err != nil {
			return err
		}
		_, err = execTx(ctx, tx, "INSERT INTO events (actor, `group`, table_name, host, port, what, detail) VALUES "+
			rowsOf(len(batch), 7), events...)
		return err
	})
	if err != nil {
		return 0, err
	}
	var total int
	err = tx.QueryRowContext(ctx, "SELECT COUNT(DISTINCT host, port) FROM events WHERE `group` = ? AND table_name = ? AND what = ? "+
		"AND at >= COALESCE(?, at)", a.Group, a.Table, EventTarget, a.StartedAt).Scan(&total)
	return total, err
}

// updateTargets changes rows that are there. One that the scheduler has removed since it was gathered is not put back:
// its instance has just been altered.
func updateTargets(ctx context.Context, tx *sql.Tx, targets []Target) error {
	for _, t := range targets {
		_, err := execTx(ctx, tx, "UPDATE alter_targets SET cluster = ?, role = ?, `databases` = ?, bytes = ? "+
			"WHERE `group` = ? AND table_name = ? AND host = ? AND port = ?",
			t.Cluster, t.Role, t.Databases, t.Bytes, t.Group, t.Table, t.Host, t.Port)
		if err != nil {
			return err
		}
	}
	return nil
}

func deleteTargets(ctx context.Context, tx *sql.Tx, targets []Target) error {
	return inBatches(targets, func(batch []Target) error {
		args := make([]any, 0, 4*len(batch))
		for _, t := range batch {
			args = append(args, t.Group, t.Table, t.Host, t.Port)
		}
		_, err := execTx(ctx, tx, "DELETE FROM alter_targets WHERE (`group`, table_name, host, port) IN ("+rowsOf(len(batch), 4)+")", args...)
		return err
	})
}

// DropOldViews removes the views of alters that are no longer current, and returns their names. A view is taken for one
// of ours by its name and by being a plain selection of alter_targets: what an operator made is left alone.
func (s *Store) DropOldViews(ctx context.Context) ([]string, error) {
	there, err := list(ctx, s.db, func(name *string) []any { return []any{name} },
		"SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE() AND table_name LIKE 'alter\\_%' "+
			"AND view_definition LIKE 'select %`alter\\_targets`.`host` AS `host`,%`alter\\_targets`.`port` AS `port` from %`alter\\_targets` where %'")
	if err != nil {
		return nil, wrap(err, "list the views of %s", s)
	}
	// Read after the list: the view of an alter admitted in between is not in the list, or its alter is here.
	alters, err := s.CurrentAlters(ctx)
	if err != nil {
		return nil, err
	}
	current := map[string]bool{}
	for _, a := range alters {
		current[strings.ToLower(ViewName(a.Group, a.Table))] = true
	}
	var dropped []string
	for _, name := range there {
		if current[strings.ToLower(name)] {
			continue
		}
		s.setView(name, "")
		if _, err := exec(ctx, s.db, "DROP VIEW IF EXISTS "+mysql.QuoteIdent(name)); err != nil {
			return dropped, wrap(err, "drop view %s in %s", mysql.QuoteIdent(name), s)
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}

// CentralSummaries is StatusStore.Summary for all instances of a tier whose status rows are here, in one query. An
// instance or table without rows is not in the result.
func (s *Store) CentralSummaries(ctx context.Context, group string, want []TableWant) (map[mysql.Addr][]TableSummary, error) {
	if len(want) == 0 {
		return nil, nil
	}
	type row struct {
		addr mysql.Addr
		TableSummary
	}
	var args []any
	for _, w := range want {
		args = append(args, w.Table, w.Blob)
	}
	args = append(args, group)
	for _, w := range want {
		args = append(args, w.Table)
	}
	rows, err := list(ctx, s.db, func(r *row) []any {
		return []any{&r.addr.Host, &r.addr.Port, &r.Table, &r.NotOK, &r.Stale, &r.Total, &r.Bytes}
	}, "SELECT host, port, table_name, SUM(fits AND status <> 'OK'), SUM(NOT fits), COUNT(*), SUM(IF(fits AND status <> 'OK', bytes, 0)) "+
		"FROM (SELECT host, port, table_name, status, bytes, (table_name, desired_blob) IN ("+rowsOf(len(want), 2)+") AS fits "+
		"FROM aosc_local_status WHERE `group` = ? AND table_name IN "+rowsOf(1, len(want))+") AS judged GROUP BY host, port, table_name", args...)
	out := map[mysql.Addr][]TableSummary{}
	for _, r := range rows {
		out[r.addr] = append(out[r.addr], r.TableSummary)
	}
	return out, wrap(err, "summarise aosc_local_status of tier %q in %s", group, s)
}
