package aoscdb

import (
	"context"
	"fmt"
	"time"
)

const passColumns = "host, port, `group`, commit_sha, started_at, finished_at, fresh_started_at, `databases`, `tables`, not_ok, error"

func (p *Pass) fields() []any {
	return []any{&p.Host, &p.Port, &p.Group, &p.CommitSHA, &p.StartedAt, &p.FinishedAt, &p.FreshStartedAt,
		&p.Databases, &p.Tables, &p.NotOK, &p.Error}
}

// Passes are what the checksum last did, per instance and tier.
func (s *Store) Passes(ctx context.Context) ([]Pass, error) {
	passes, err := list(ctx, s.db, (*Pass).fields, "SELECT "+passColumns+" FROM checksum_passes ORDER BY `group`, host, port")
	return passes, wrap(err, "read the checksum passes of %s", s)
}

// PutPass records a pass that finishes now. p.StartedAt is required, by the clock of the central database (Now);
// p.FinishedAt and p.FreshStartedAt are ignored: fresh says whether the pass used no cached hashes. p.Error names what
// it could not judge, "" for nothing. A pass that began before the recorded one changes nothing: of two checksums on one
// instance the slower must not make an old look newer than it is.
func (s *Store) PutPass(ctx context.Context, p Pass, fresh bool) error {
	var freshStarted *time.Time
	if fresh {
		freshStarted = p.StartedAt
	}
	newest := func(column string) string {
		return fmt.Sprintf("%[1]s = IF(checksum_passes.started_at > new.started_at, checksum_passes.%[1]s, new.%[1]s), ", column)
	}
	_, err := exec(ctx, s.db, "INSERT INTO checksum_passes ("+passColumns+") "+
		"VALUES (?, ?, ?, ?, ?, NOW(6), ?, ?, ?, ?, ?) AS new ON DUPLICATE KEY UPDATE "+
		newest("commit_sha")+newest("finished_at")+newest("`databases`")+newest("`tables`")+newest("not_ok")+newest("error")+
		"fresh_started_at = IF(new.fresh_started_at IS NULL OR checksum_passes.fresh_started_at > new.fresh_started_at, "+
		"checksum_passes.fresh_started_at, new.fresh_started_at), "+
		// Assignments run from left to right and later ones see earlier ones: what the others compare comes last.
		"started_at = IF(checksum_passes.started_at > new.started_at, checksum_passes.started_at, new.started_at)",
		p.Host, p.Port, p.Group, p.CommitSHA, p.StartedAt, freshStarted, p.Databases, p.Tables, p.NotOK, clip(p.Error, maxReason))
	return wrap(err, "record the checksum pass of %s:%d in %s", p.Host, p.Port, s)
}

// PassFailed records why the newest attempt at an instance failed. What the last finished pass said stays.
func (s *Store) PassFailed(ctx context.Context, host string, port int, group, reason string) error {
	_, err := exec(ctx, s.db, "INSERT INTO checksum_passes (host, port, `group`, error) VALUES (?, ?, ?, ?) AS new "+
		"ON DUPLICATE KEY UPDATE error = new.error", host, port, group, clip(reason, maxReason))
	return wrap(err, "record the failed checksum of %s:%d in %s", host, port, s)
}

// ForgetInstance removes what the central database knows of the tables of an instance that is no longer in the tier:
// its pass and, where they are kept here, its status rows.
func (s *Store) ForgetInstance(ctx context.Context, host string, port int, group string) error {
	if _, err := exec(ctx, s.db, "DELETE FROM aosc_local_status WHERE host = ? AND port = ? AND `group` = ?", host, port, group); err != nil {
		return wrap(err, "forget the status rows of %s:%d in %s", host, port, s)
	}
	_, err := exec(ctx, s.db, "DELETE FROM checksum_passes WHERE host = ? AND port = ? AND `group` = ?", host, port, group)
	return wrap(err, "forget the checksum pass of %s:%d in %s", host, port, s)
}

func (r *LocalStatus) fields() []any {
	return []any{&r.Host, &r.Port, &r.Database, &r.Table, &r.HashCurrent, &r.HashDesired, &r.Status, &r.LastRun, &r.Group,
		&r.DesiredBlob, &r.CreateTime, &r.TableRows, &r.Bytes}
}

// LocalStatusOf are the rows of a few tables of one instance, in all of its databases.
func (s *StatusStore) LocalStatusOf(ctx context.Context, host string, port int, tables []string) ([]LocalStatus, error) {
	if len(tables) == 0 {
		return nil, nil
	}
	args := []any{host, port}
	for _, t := range tables {
		args = append(args, t)
	}
	rows, err := list(ctx, s.db, (*LocalStatus).fields, "SELECT "+localColumns+" FROM "+s.local()+
		" WHERE host = ? AND port = ? AND table_name IN "+rowsOf(1, len(tables)), args...)
	return rows, wrap(err, "read aosc_local_status of %s:%d", host, port)
}

// Foreign tells whether there are rows of another host:port, as a clone or a restored backup brings them.
func (s *StatusStore) Foreign(ctx context.Context, host string, port int) (bool, error) {
	// DISTINCT over the first columns of the primary key skips from one host:port to the next: with one of them, it reads
	// two rows of however many there are.
	var foreign bool
	err := s.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM (SELECT DISTINCT host, port FROM "+s.local()+
		" UNION SELECT DISTINCT host, port FROM "+s.osc()+") AS known WHERE host <> ? OR port <> ?)", host, port).Scan(&foreign)
	return foreign, wrap(err, "look for status rows of other instances on %s:%d", host, port)
}
