package aoscdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

const tierColumns = "`group`, max_running, max_running_per_host, max_running_per_datacenter, ordering, copy_engine, " +
	"status_store, direct_max_rows, direct_max_bytes, create_missing, verify_interval_s, verify_tries, enabled, " +
	"max_lag_ms, max_threads_running, max_commit_ms, max_history_list, max_redo_age_pct, cut_over_window"

func (t *Tier) fields() []any {
	return []any{&t.Group, &t.MaxRunning, &t.MaxRunningPerHost, &t.MaxRunningPerDatacenter, &t.Ordering, &t.CopyEngine,
		&t.StatusStore, &t.DirectMaxRows, &t.DirectMaxBytes, &t.CreateMissing, &t.VerifyIntervalS, &t.VerifyTries, &t.Enabled,
		&t.MaxLagMS, &t.MaxThreadsRunning, &t.MaxCommitMS, &t.MaxHistoryList, &t.MaxRedoAgePct, &t.CutOverWindow}
}

// Tiers are all tiers, by name.
func (s *Store) Tiers(ctx context.Context) ([]Tier, error) {
	tiers, err := list(ctx, s.db, (*Tier).fields, "SELECT "+tierColumns+" FROM tiers ORDER BY `group`")
	return tiers, wrap(err, "read the tiers of %s", s)
}

// Tier is one tier. ErrNotFound when there is no such row.
func (s *Store) Tier(ctx context.Context, group string) (Tier, error) {
	t, err := one(ctx, s.db, (*Tier).fields, "SELECT "+tierColumns+" FROM tiers WHERE `group` = ?", group)
	return t, wrap(err, "read tier %q of %s", group, s)
}

// ChangeTier is PutTier for a person: the history gets what changed, which is also returned; none when nothing did.
func (s *Store) ChangeTier(ctx context.Context, t Tier, by string) ([]string, error) {
	var changes []string
	err := s.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		old, err := one(ctx, tx, (*Tier).fields, "SELECT "+tierColumns+" FROM tiers WHERE `group` = ? FOR UPDATE", t.Group)
		created := errors.Is(err, ErrNotFound)
		if err != nil && !created {
			return err
		}
		if changes = tierChanges(old, t); created {
			changes = []string{"created: " + strings.Join(tierChanges(Tier{}, t), ", ")}
		}
		if len(changes) == 0 {
			return nil
		}
		if err := putTier(ctx, tx, t); err != nil {
			return err
		}
		return addEvent(ctx, tx, Event{Actor: by, Group: t.Group, What: EventTier, Detail: strings.Join(changes, ", ")})
	})
	return changes, wrap(err, "change tier %q of %s", t.Group, s)
}

// tierChanges lists the columns that differ.
func tierChanges(old, now Tier) []string {
	var out []string
	names := strings.Split(strings.ReplaceAll(tierColumns, "`", ""), ", ")
	was, is := old.fields(), now.fields()
	for i, name := range names[1:] {
		a, b := reflect.ValueOf(was[i+1]).Elem().Interface(), reflect.ValueOf(is[i+1]).Elem().Interface()
		switch {
		case a == b:
		case old.Group == "":
			out = append(out, fmt.Sprintf("%s=%v", name, b))
		default:
			out = append(out, fmt.Sprintf("%s %v -> %v", name, a, b))
		}
	}
	return out
}

// PutTier writes a tier, new or not. Begin with NewTier or Tier: every column is written.
func (s *Store) PutTier(ctx context.Context, t Tier) error {
	err := retry(ctx, func() error { return putTier(ctx, s.db, t) })
	return wrap(err, "write tier %q of %s", t.Group, s)
}

func putTier(ctx context.Context, q querier, t Tier) error {
	var update []string
	for _, column := range strings.Split(tierColumns, ", ")[1:] {
		update = append(update, fmt.Sprintf("%[1]s = new.%[1]s", column))
	}
	fields := t.fields()
	_, err := q.ExecContext(ctx, "INSERT INTO tiers ("+tierColumns+") VALUES "+rowsOf(1, len(fields))+" AS new "+
		"ON DUPLICATE KEY UPDATE "+strings.Join(update, ", "), fields...)
	return err
}
