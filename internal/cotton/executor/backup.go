package executor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/backup/dir"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// copyDir, on the volume, is where the server writes a copy before it is stored.
const copyDir = "backup"

// spareMB is left free on the volume besides a copy: the server goes on writing meanwhile.
const spareMB = 128

var (
	faultCopied   = fault.Register("cotton.backup.copied", "a copy is made on the volume, nothing of it is in the store")
	faultStored   = fault.Register("cotton.backup.stored", "all files of a copy are in the store, its manifest is not")
	faultManifest = fault.Register("cotton.backup.manifest", "the manifest of a copy is stored, the copy on the volume is not removed")
	faultFlushed  = fault.Register("cotton.archive.flushed", "a binary log was closed to be archived, and is not")
)

// openStore opens the store of an order or a task.
func openStore(address string) (backup.Store, error) { return dir.Open(address) }

// backups is what an instance does about backups: a copy and an archiving at a time.
type backups struct {
	i      *instance
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	facts     cotton.BackupFacts
	archiving bool
	archived  map[string]bool // logs, by server, name and size, of which the store needs nothing; of the one that archives
}

func (i *instance) startBackups(ctx context.Context) *backups {
	b := &backups{i: i, archived: map[string]bool{}}
	b.ctx, b.cancel = context.WithCancel(ctx)
	// What a killed executor has left. It counts against the volume.
	if err := os.RemoveAll(b.copyPath()); err != nil {
		i.x.cfg.Log.Warn("what is left of a copy cannot be removed", "instance", i.id, "error", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.backups = b
	return b
}

// backupOrder takes an order for a backup, if the instance is up; it never blocks.
func (i *instance) backupOrder(o cotton.Order) {
	i.mu.Lock()
	b := i.backups
	i.mu.Unlock()
	if b != nil {
		b.order(o)
	}
}

func (b *backups) copyPath() string { return filepath.Join(b.i.server.Dir(), copyDir) }

// stop ends what is under way and waits for it.
func (b *backups) stop() {
	b.cancel()
	b.wg.Wait()
}

// order takes an order; it never blocks. One that is being carried out already is only confirmed.
func (b *backups) order(o cotton.Order) {
	if o.Backup == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	switch {
	case o.Kind == cotton.OrderBackup && !b.facts.Copying && o.Backup.ID != b.facts.ID:
		b.facts.ID, b.facts.Copying, b.facts.Failed = o.Backup.ID, true, ""
		b.run(o, b.copy, func(f *cotton.BackupFacts, err error) { f.Copying, f.Failed = false, text(err) })
	case o.Kind == cotton.OrderArchive && !b.archiving:
		b.archiving = true
		b.run(o, b.archive, func(f *cotton.BackupFacts, err error) {
			b.archiving, f.ArchiveFailed = false, text(err)
			if err == nil {
				f.ArchivedAt = time.Now()
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return shorten(err.Error())
}

// run carries an order out and says so before and after; b.mu is held.
func (b *backups) run(o cotton.Order, do func(context.Context, cotton.Order) error, done func(*cotton.BackupFacts, error)) {
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		log := b.i.x.cfg.Log.With("instance", b.i.id, "order", o.Kind, "backup", o.Backup.ID, "store", o.Backup.Store)
		b.i.tell()
		begun := time.Now()
		err := do(b.ctx, o)
		b.mu.Lock()
		done(&b.facts, err)
		b.mu.Unlock()
		if err != nil {
			log.Error("an order was not carried out", "error", err)
		} else {
			log.Info("an order was carried out", "took", time.Since(begun).Round(time.Millisecond))
		}
		b.i.tell()
	}()
}

// known are the facts of backups for the scheduler; nil before there was an order.
func (b *backups) known() *cotton.BackupFacts {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.facts == (cotton.BackupFacts{}) {
		return nil
	}
	f := b.facts
	return &f
}

// copy makes a copy on the volume, stores it, and removes it from the volume.
func (b *backups) copy(ctx context.Context, o cotton.Order) (err error) {
	store, err := openStore(o.Backup.Store)
	if err != nil {
		return err
	}
	if err := b.room(); err != nil {
		return err
	}
	work := b.copyPath()
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := os.MkdirAll(work, 0o750); err != nil {
		return err
	}
	m, err := b.cloneInto(ctx, o, filepath.Join(work, "data"))
	if err != nil {
		return err
	}
	fault.Point(faultCopied)
	upload, err := store.Begin(ctx, m.Cluster, m.ID)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, upload.Abort())
		}
	}()
	if m.Files, m.Dirs, err = putTree(ctx, upload, filepath.Join(work, "data")); err != nil {
		return err
	}
	for _, f := range m.Files {
		m.Size += f.Size
	}
	fault.Point(faultStored)
	if err := upload.Commit(ctx, m); err != nil {
		return err
	}
	fault.Point(faultManifest)
	return nil
}

// room refuses a copy that the volume may not hold: a full volume would stop the server itself.
func (b *backups) room() error {
	server := b.i.server
	var st unix.Statfs_t
	if err := unix.Statfs(server.Dir(), &st); err != nil {
		return fmt.Errorf("measure the free space of the volume: %w", err)
	}
	free, used := int64(st.Bavail)*st.Bsize>>20, treeMB(b.ctx, server.Datadir())
	if limit := b.i.task.Size.DiskMB - treeMB(b.ctx, server.Dir()); limit < free {
		free = limit // the volume may be a directory of a larger disk, with a quota that only Mesos knows
	}
	if need := used + spareMB; free < need {
		return fmt.Errorf("a copy needs up to %d MB of the volume for a while, %d MB are free: give the cluster larger instances", need, free)
	}
	return nil
}

// cloneInto has the server write its copy, and describes it.
func (b *backups) cloneInto(ctx context.Context, o cotton.Order, path string) (backup.Manifest, error) {
	db, task := b.i.server.DB(), b.i.task
	m := backup.Manifest{
		Format: backup.Format, ID: o.Backup.ID, Cluster: task.Cluster, Origin: o.Backup.Origin, User: o.Backup.User, Member: task.Member,
		Role: o.Backup.Role, Epoch: o.Epoch, OrderedAt: o.Backup.OrderedAt, BegunAt: time.Now().UTC(), Tool: b.i.x.cfg.Tool,
	}
	server, err := mysql.ReadServer(ctx, db)
	if err != nil {
		return m, err
	}
	m.GTIDsFrom, m.Version = server.GTIDExecuted, server.Version.String()
	if err := mysql.CloneLocal(ctx, db, path); err != nil {
		return m, err
	}
	m.CopiedAt = time.Now().UTC()
	after, err := mysql.GTIDExecuted(ctx, db)
	m.GTIDsTo = after.String()
	return m, err
}

// putTree stores all files below a directory, and tells which directories there are.
func putTree(ctx context.Context, upload backup.Upload, root string) (files []backup.File, dirs []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, filepath.ToSlash(name))
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		put, err := upload.Put(ctx, filepath.ToSlash(name), f)
		files = append(files, put)
		return err
	})
	return files, dirs, err
}
