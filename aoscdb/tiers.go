package aoscdb

import (
	"context"
)

const tierColumns = "`group`, max_running, max_running_per_host, max_running_per_datacenter, ordering, copy_engine, " +
	"status_store, direct_max_rows, create_missing, verify_interval_s, verify_tries, enabled"

func (t *Tier) fields() []any {
	return []any{&t.Group, &t.MaxRunning, &t.MaxRunningPerHost, &t.MaxRunningPerDatacenter, &t.Ordering, &t.CopyEngine,
		&t.StatusStore, &t.DirectMaxRows, &t.CreateMissing, &t.VerifyIntervalS, &t.VerifyTries, &t.Enabled}
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

// PutTier writes a tier, new or not. Begin with NewTier or Tier: every column is written.
func (s *Store) PutTier(ctx context.Context, t Tier) error {
	_, err := exec(ctx, s.db, "INSERT INTO tiers ("+tierColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS new "+
		"ON DUPLICATE KEY UPDATE max_running = new.max_running, max_running_per_host = new.max_running_per_host, "+
		"max_running_per_datacenter = new.max_running_per_datacenter, ordering = new.ordering, "+
		"copy_engine = new.copy_engine, status_store = new.status_store, direct_max_rows = new.direct_max_rows, "+
		"create_missing = new.create_missing, verify_interval_s = new.verify_interval_s, "+
		"verify_tries = new.verify_tries, enabled = new.enabled",
		t.Group, t.MaxRunning, t.MaxRunningPerHost, t.MaxRunningPerDatacenter, t.Ordering, t.CopyEngine,
		t.StatusStore, t.DirectMaxRows, t.CreateMissing, t.VerifyIntervalS, t.VerifyTries, t.Enabled)
	return wrap(err, "write tier %q of %s", t.Group, s)
}
