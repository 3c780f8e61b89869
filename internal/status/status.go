// Package status keeps aosc_local_status true for one instance: which of the tier's tables have, in each of its
// databases, the desired form. The checksum daemon runs it over whole instances, the oscworker over the one table it has
// just altered; both go through Refresher so that there is one definition of a table's status.
//
// # What a warm pass costs
//
// A hash is read again only when it may have changed. The key is information_schema.tables.create_time, which is
// dictionary data, not one of the statistics that information_schema_stats_expiry keeps stale. Tried on MySQL 9.7:
//
//   - every ALTER TABLE (INSTANT, COMMENT, RENAME COLUMN, index visibility, partitions), CREATE and DROP INDEX and
//     OPTIMIZE set it to the second in which their statement began, which is the primary's second on a replica;
//   - RENAME TABLE and TRUNCATE leave it, so that the swap at the end of a copy brings the copy's own create_time;
//   - renaming the parent of a foreign key, or a column of it, rewrites SHOW CREATE TABLE of the child and leaves the
//     child's create_time alone: tables desired with a foreign key are therefore read in every pass.
//
// What no timestamp of one second can show (two statements of the same second, one of them visible only much later) is
// what fresh passes are for: they read everything.
package status

import (
	"context"
	"log/slog"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// Refresher computes and stores the status of tables. It is safe for concurrent use.
type Refresher struct {
	Pool         *mysql.Pool
	Store        *aoscdb.Store
	Materialiser *schema.Materialiser
	Log          *slog.Logger // nil = slog.Default()
	// Connections is how many connections read SHOW CREATE TABLE from one instance at once, 0 = 3. With the pool's
	// default of 4 connections that leaves one for the lock.
	Connections int
}

// Options narrow or sharpen one Refresh.
type Options struct {
	// Tables are the tables to look at, nil = all of the tier. Rows of other tables are not touched.
	Tables []string
	// Fresh reads the current form of every table, whatever its create_time says.
	Fresh bool
}

// Summary is what one Refresh found.
type Summary struct {
	StartedAt time.Time // aoscdb's clock, taken before anything of the instance was read
	Databases int
	Tables    int // databases x desired tables that could be judged
	NotOK     int
	Read      int // tables whose SHOW CREATE TABLE was read
	Changed   int // rows that say something else than before: status, hash, or what they were compared with
	Refused   []Refusal
}

// Refusal is a desired table that has no usable text, so that no status can be computed: it has no rows, and whoever
// counts rows sees an unjudged table (I11).
type Refusal struct {
	Table string
	Err   error
}

// Refresh brings the status rows of one instance up to date with the desired schemas of snap: all of the tier's tables
// or those of opts. Rows of databases and tables that no longer count are deleted, and so are another instance's rows
// that a clone brought along.
//
// Only one Refresh at a time works on an instance, held by a named lock on the instance itself: a slow one must not
// write old findings over newer ones (I8). It waits its turn within ctx.
//
// An error means that rows may be old, never that they are wrong about what they were computed from. It names the
// instance and, where there is one, the operator's way out.
func (r *Refresher) Refresh(ctx context.Context, inst fleet.Instance, tier fleet.Tier, snap *schema.Snapshot, opts Options) (Summary, error) {
	return r.refresh(ctx, inst, tier, snap, opts)
}
