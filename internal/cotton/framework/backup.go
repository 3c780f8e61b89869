package framework

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
)

const (
	// relist is how often the store is read at the least; it is read at once when an executor says that it has stored
	// something.
	relist = 15 * time.Second
	// storeLimit bounds one look into the store.
	storeLimit = 30 * time.Second
)

// keeping is what is remembered of one cluster's backups between two looks. All of it can be found out anew.
type keeping struct {
	backup.State
	listedAt time.Time
	stale    bool // something was stored or removed since then
	told     map[int]cotton.BackupFacts
	archived map[int]time.Time // by our clock, when a member was heard to have archived; its own clock may be set
}

// keepBackups looks after the backups of all clusters until ctx ends. The store may be slow, so this is a loop of its own.
func (f *Framework) keepBackups(ctx context.Context) {
	tick := time.NewTicker(f.cfg.Tick)
	defer tick.Stop()
	began, all := f.clock.now(), map[string]*keeping{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range f.list() {
			if all[c.name] == nil || all[c.name].Record.Origin() != c.snapshot().Origin() {
				all[c.name] = &keeping{State: backup.State{Since: began}, stale: true, told: map[int]cotton.BackupFacts{},
					archived: map[int]time.Time{}}
			}
			c.keepBackupProblems(f.backupRound(ctx, c, all[c.name]))
		}
		for name := range all {
			if f.get(name) == nil {
				f.metrics.backedUp.DeleteLabelValues(name)
				f.metrics.archived.DeleteLabelValues(name)
				delete(all, name)
			}
		}
	}
}

func (c *cluster) keepBackupProblems(problems []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.backupProblems = problems
}

// backupRound is one look at a cluster's backups; it returns the problems.
func (f *Framework) backupRound(ctx context.Context, c *cluster, k *keeping) []string {
	k.gather(c, f.clock.now())
	restoring := k.restoring()
	if k.Record.Spec.Backup == nil && k.Record.BackupAskedAt.IsZero() || k.Record.State != cotton.StateRunning {
		return restoring
	}
	if f.cfg.Backups == nil {
		return append(restoring, "backup: this scheduler has no backup store: start it with --backup-store")
	}
	if err := k.list(ctx, f.cfg.Backups, c.name); err != nil {
		return append(restoring, "backup: "+err.Error())
	}
	f.backupGauges(k)
	d := backup.Decide(k.State)
	return append(append(restoring, d.Problems...), f.backupAct(ctx, k, d)...)
}

// backupGauges are for alerts on backups that are too old.
func (f *Framework) backupGauges(k *keeping) {
	copied, archived := 0.0, 0.0
	for _, m := range k.Listing.Backups {
		if m.Origin == k.Record.Origin() {
			copied = float64(m.CopiedAt.Unix())
		}
	}
	for _, facts := range k.Facts {
		if !facts.ArchivedAt.IsZero() {
			archived = max(archived, float64(facts.ArchivedAt.Unix()))
		}
	}
	f.metrics.backedUp.WithLabelValues(k.Record.Spec.Name).Set(copied)
	f.metrics.archived.WithLabelValues(k.Record.Spec.Name).Set(archived)
}

// gather takes what is known without asking anybody.
func (k *keeping) gather(c *cluster, now time.Time) {
	k.Now, k.Facts, k.Seen = now, map[int]cotton.BackupFacts{}, nil
	c.mu.Lock()
	defer c.mu.Unlock()
	k.Record = c.record.Clone()
	for _, m := range k.Record.Members {
		if s, ok := c.seen[m.ID]; ok {
			k.Seen = append(k.Seen, s)
		}
		if facts := c.facts[m.ID]; facts.Backup != nil && facts.Task == m.TaskID && mayLive(m) {
			k.Facts[m.ID] = *facts.Backup
		}
	}
	for member, facts := range k.Facts {
		k.hear(member, facts)
		facts.ArchivedAt = k.archived[member]
		k.Facts[member] = facts
	}
}

// hear takes up what an executor says that is new.
func (k *keeping) hear(member int, facts cotton.BackupFacts) {
	before := k.told[member]
	k.told[member] = facts
	archived := !facts.ArchivedAt.Equal(before.ArchivedAt) && !facts.ArchivedAt.IsZero()
	if archived {
		k.archived[member] = k.Now
	}
	if archived || before.Copying && !facts.Copying {
		k.stale = true
	}
	if facts.Copying || facts.ID == "" || facts.ID == before.ID && !before.Copying {
		return
	}
	if facts.Failed == "" {
		k.Failures, k.FailedMember = 0, 0
		return
	}
	k.Failures, k.FailedMember, k.FailedAt = k.Failures+1, member, k.Now
}

func (k *keeping) restoring() []string {
	for member, facts := range k.Facts {
		if m, ok := k.Record.Member(member); ok && facts.Restoring != "" && m.Phase != cotton.PhaseRunning {
			return []string{fmt.Sprintf("%s: %s", k.Record.MemberName(member), facts.Restoring)}
		}
	}
	return nil
}

func (k *keeping) list(ctx context.Context, store backup.Store, name string) error {
	if !k.stale && k.Now.Sub(k.listedAt) < relist {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	l, err := store.List(ctx, name)
	if err == nil {
		k.Listing, k.listedAt, k.stale = l, k.Now, false
	}
	return err
}

// backupAct sends orders and removes what is not kept; it returns what went wrong.
func (f *Framework) backupAct(ctx context.Context, k *keeping, d backup.Decision) (problems []string) {
	problem := func(err error) {
		if err != nil {
			problems = append(problems, "backup: "+err.Error())
		}
	}
	name := k.Record.Spec.Name
	if d.Copy.ID != "" {
		err := f.backupOrder(ctx, k, cotton.OrderBackup, d.Copy.Member, cotton.BackupOrder{ID: d.Copy.ID, User: k.Record.Spec.User, Role: d.Role})
		problem(err)
		k.Ordered = d.Copy
		f.cfg.Log.Info("a backup was ordered", "cluster", name, "member", d.Copy.Member, "backup", d.Copy.ID, "error", err)
	}
	if d.Archive != 0 {
		problem(f.backupOrder(ctx, k, cotton.OrderArchive, d.Archive, cotton.BackupOrder{}))
		k.Archiver, k.ArchiveOrdered = d.Archive, k.Now
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	for _, id := range d.Remove {
		problem(f.cfg.Backups.Remove(ctx, name, id))
		f.cfg.Log.Info("a backup is not kept any longer", "cluster", name, "backup", id)
		k.stale = true
	}
	for _, log := range d.RemoveLogs {
		problem(f.cfg.Backups.RemoveLog(ctx, name, log))
		k.stale = true
	}
	return problems
}

func (f *Framework) backupOrder(ctx context.Context, k *keeping, kind cotton.OrderKind, member int, o cotton.BackupOrder) error {
	m, ok := k.Record.Member(member)
	if !ok {
		return fmt.Errorf("order %s: there is no member %d", kind, member)
	}
	o.Store, o.Origin, o.OrderedAt = f.cfg.Backups.String(), k.Record.Origin(), k.Now.UTC()
	return f.order(ctx, *m, cotton.Order{Kind: kind, Epoch: k.Record.Epoch, Backup: &o})
}

// Errors of requests about backups.
var ErrNoBackups = errors.New("this scheduler has no backup store")

// Backup asks for a backup of a cluster, whatever its policy, and returns before it is made: it is there once one is listed
// whose OrderedAt is not before the time returned. Errors: ErrUnknown, ErrNotReady, ErrNoBackups.
func (f *Framework) Backup(ctx context.Context, name string) (time.Time, error) {
	c, err := f.known(name)
	if err != nil {
		return time.Time{}, err
	}
	if f.cfg.Backups == nil {
		return time.Time{}, ErrNoBackups
	}
	at := f.clock.now()
	err = f.change(ctx, c, func(r *cotton.Record) error {
		r.BackupAskedAt = at
		return nil
	})
	return at, err
}

// Recoverable is a backup and how far from it the archived logs lead.
type Recoverable struct {
	backup.Manifest
	// ToGTIDs is what a restore to "latest" executes; ToTime the last commit in it, zero without logs.
	ToGTIDs string
	ToTime  time.Time
}

// Backups lists what the store has of a cluster, oldest first, also of one that is no longer there. problems name what
// cannot be read. Errors: ErrUnknown when there is neither a cluster nor a backup of it, ErrNotReady, ErrNoBackups.
func (f *Framework) Backups(ctx context.Context, name string) (list []Recoverable, problems []string, err error) {
	if err := f.ready(); err != nil {
		return nil, nil, err
	}
	if f.cfg.Backups == nil {
		return nil, nil, ErrNoBackups
	}
	l, err := f.cfg.Backups.List(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if f.get(name) == nil && len(l.Backups) == 0 {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	for _, m := range l.Backups {
		covered, last, err := backup.Reach(m, l.Logs)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, Recoverable{m, covered.String(), last})
	}
	return list, slices.Clone(l.Damaged), nil
}

// checkRestore refuses a cluster that could not be restored as asked. Errors are *cotton.InvalidError.
func (f *Framework) checkRestore(ctx context.Context, spec cotton.Spec) error {
	if spec.BackupID == "" {
		return nil
	}
	refuse := func(field string, err error) error { return &cotton.InvalidError{Field: field, Problem: err.Error()} }
	if f.cfg.Backups == nil {
		return refuse("backup_id", fmt.Errorf("Unknown backup %q: %w", spec.BackupID, ErrNoBackups))
	}
	target, err := backup.ParseTarget(spec.RestoreTo)
	if err != nil {
		return refuse("restore_to", err)
	}
	cluster, _, err := backup.ParseID(spec.BackupID)
	if err != nil {
		return refuse("backup_id", err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	m, err := f.cfg.Backups.Manifest(ctx, cluster, spec.BackupID)
	switch {
	case errors.Is(err, backup.ErrNotFound):
		return refuse("backup_id", fmt.Errorf("Unknown backup %q: `cotton backups %s` lists those there are", spec.BackupID, cluster))
	case err != nil:
		return refuse("backup_id", err)
	}
	if mb := m.Size>>20 + 1; mb > spec.Size.DiskMB {
		return refuse("size", fmt.Errorf("disk %d MB: backup %s has %d MB", spec.Size.DiskMB, m.ID, mb))
	}
	l, err := f.cfg.Backups.List(ctx, cluster)
	if err != nil {
		return refuse("backup_id", err)
	}
	if err := backup.Check(m, l.Logs, target); err != nil {
		return refuse("restore_to", err)
	}
	return nil
}

// restoreOf is what a member's task is told of a restore: the seed, until it has data.
func (f *Framework) restoreOf(r cotton.Record, m cotton.Member) *cotton.Restore {
	if m.ID != r.Seed() || m.HasData || r.Seed() == 0 {
		return nil
	}
	restore := &cotton.Restore{BackupID: r.Spec.BackupID, To: r.Spec.RestoreTo}
	if f.cfg.Backups != nil {
		restore.Store = f.cfg.Backups.String()
	}
	return restore
}
