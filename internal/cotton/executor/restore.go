package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
)

var (
	faultRestoreFile   = fault.Register("cotton.restore.file", "a file of a backup was copied, others were not")
	faultRestoreCopied = fault.Register("cotton.restore.copied", "a backup is copied, no log is applied")
	faultRestoreLogs   = fault.Register("cotton.restore.applying", "archived logs are being applied")
	faultRestoreDone   = fault.Register("cotton.restore.applied", "all is applied, the data are not in their place yet")
)

const (
	// restoreDir, on the volume, is where a backup is brought to its target before anybody may see it. Its data become the
	// instance's by one rename.
	restoreDir = "restore"
	// relayBase names the relay logs that archived logs become; the instance's own have another name.
	relayBase = "restore"
	// restoreServerID is nobody's: a server passes over what its own server_id wrote, and any member of the old cluster
	// may have written what is applied here.
	restoreServerID = math.MaxUint32
)

// restoring fills the empty volume of a seed.
type restoring struct {
	x    *Executor
	task cotton.Task
	own  *secrets
	opts mysqld.Options // of the instance
	dir  string         // of the volume
	say  func(string)   // how far it has come, for people

	store   backup.Store
	m       backup.Manifest
	target  backup.Target
	listing backup.Listing
}

// restore does nothing where the volume has data, or nothing is to be restored. Where it fails the volume has no data
// directory, so that no empty server is ever taken for a restored one; what is whole of its work is used the next time.
func (x *Executor) restore(ctx context.Context, task cotton.Task, own *secrets, opts mysqld.Options, say func(string)) error {
	if task.Restore == nil || task.HasData {
		return nil
	}
	if _, err := os.Stat(filepath.Join(opts.Dir, "data")); !errors.Is(err, fs.ErrNotExist) {
		// Restored before this start, or not to be touched. What the last step may have left goes.
		return errors.Join(err, os.RemoveAll(filepath.Join(opts.Dir, restoreDir)))
	}
	r := &restoring{x: x, task: task, own: own, opts: opts, dir: filepath.Join(opts.Dir, restoreDir), say: say}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("restore backup %s from %s: %w", task.Restore.BackupID, task.Restore.Store, err)
	}
	return nil
}

func (r *restoring) run(ctx context.Context) error {
	if err := r.find(ctx); err != nil {
		return err
	}
	if pid, err := takeOver(ctx, r.dir, r.x.cfg.KillGrace); err != nil {
		return err
	} else if pid != 0 {
		r.x.cfg.Log.Warn("ended a mysqld that had outlived its executor", "pid", pid, "dir", r.dir)
	}
	if err := r.fetch(ctx); err != nil {
		return err
	}
	if err := r.bring(ctx); err != nil {
		return err
	}
	fault.Point(faultRestoreDone)
	if err := os.Rename(r.data(), filepath.Join(r.opts.Dir, "data")); err != nil {
		return err
	}
	if err := backup.SyncDir(r.opts.Dir); err != nil {
		return err
	}
	r.x.cfg.Log.Info("restored", "backup", r.m.ID, "to", r.target)
	return os.RemoveAll(r.dir)
}

func (r *restoring) data() string { return filepath.Join(r.dir, "data") }

// find reads what the backup is, and refuses what cannot be done before anything is copied.
func (r *restoring) find(ctx context.Context) (err error) {
	cluster, _, err := backup.ParseID(r.task.Restore.BackupID)
	if err != nil {
		return err
	}
	if r.store, err = openStore(r.task.Restore.Store); err != nil {
		return err
	}
	if r.m, err = r.store.Manifest(ctx, cluster, r.task.Restore.BackupID); err != nil {
		return err
	}
	if r.target, err = backup.ParseTarget(r.task.Restore.To); err != nil {
		return err
	}
	if r.listing, err = r.store.List(ctx, cluster); err != nil {
		return err
	}
	made, err := mysql.ParseVersion(r.m.Version)
	if err != nil {
		return err
	}
	if here := r.opts.Install.Version; !here.AtLeast(made.Major, made.Minor, made.Patch) {
		return fmt.Errorf("it was made by MySQL %s, and this agent has %s, which does not read data of newer ones: give the cluster a package of at least that version", made, here)
	}
	return backup.Check(r.m, r.listing.Logs, r.target)
}

// room refuses what the volume cannot hold.
func (r *restoring) room(ctx context.Context, bytes int64, what string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(r.opts.Dir, &st); err != nil {
		return fmt.Errorf("measure the free space of the volume: %w", err)
	}
	free, need := int64(st.Bavail)*st.Bsize>>20, bytes>>20+spareMB
	if limit := r.task.Size.DiskMB - treeMB(ctx, r.opts.Dir); limit < free {
		free = limit
	}
	if free < need {
		return fmt.Errorf("%s needs %d MB of the volume, %d MB are free: give the cluster larger instances", what, need, free)
	}
	return nil
}

// fetch copies the backup; it counts once all of it is there, checked and on disk. Half a copy is begun anew.
func (r *restoring) fetch(ctx context.Context) error {
	if _, err := os.Stat(r.data()); err == nil {
		return r.same()
	}
	part := r.data() + ".part"
	if err := os.RemoveAll(r.dir); err != nil {
		return err
	}
	if err := r.room(ctx, r.m.Size, "the copy"); err != nil {
		return err
	}
	if err := r.fetchInto(ctx, part); err != nil {
		return err
	}
	if err := os.WriteFile(r.madeOf(), []byte(r.m.ID), 0o640); err != nil {
		return err
	}
	if err := errors.Join(backup.SyncDir(r.dir), os.Rename(part, r.data()), backup.SyncDir(r.dir), backup.SyncDir(r.opts.Dir)); err != nil {
		return err
	}
	fault.Point(faultRestoreCopied)
	return nil
}

// fetchInto copies all directories and files and has them on disk.
func (r *restoring) fetchInto(ctx context.Context, part string) error {
	dirs := []string{part}
	for _, name := range r.m.Dirs {
		dirs = append(dirs, filepath.Join(part, filepath.FromSlash(name)))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return err
		}
	}
	var done int64
	for i, f := range r.m.Files {
		r.say(fmt.Sprintf("restoring %s: %d of %d MB copied, file %d of %d", r.m.ID, done>>20, r.m.Size>>20, i+1, len(r.m.Files)))
		if err := r.fetchFile(ctx, filepath.Join(part, filepath.FromSlash(f.Name)), f); err != nil {
			return err
		}
		fault.Point(faultRestoreFile)
		done += f.Size
	}
	for _, d := range dirs {
		if err := backup.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// madeOf is a file that names the backup in restoreDir.
func (r *restoring) madeOf() string { return filepath.Join(r.dir, "backup") }

// same makes sure that what lies on the volume is of this backup.
func (r *restoring) same() error {
	text, err := os.ReadFile(r.madeOf())
	if err != nil {
		return err
	}
	if string(text) != r.m.ID {
		return fmt.Errorf("the volume holds the beginning of a restore of %q", text)
	}
	return nil
}

func (r *restoring) fetchFile(ctx context.Context, path string, f backup.File) error {
	in, err := r.store.Open(ctx, r.m.Cluster, r.m.ID, f.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeVerified(ctx, path, in, f)
}

// writeVerified makes a file of contents that are checked, and has it on disk.
func writeVerified(ctx context.Context, path string, in io.Reader, f backup.File) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	err = backup.CopyVerified(out, backup.Reader(ctx, in), f)
	return errors.Join(err, out.Sync(), out.Close())
}

// bring starts a server on the copy that nobody but this executor can reach, applies logs up to the target, and stops it
// in good order. Interrupted, it is begun again: what was applied is passed over by its GTIDs.
func (r *restoring) bring(ctx context.Context) (err error) {
	if _, err := os.Stat(r.data()); err != nil { // or one would be made
		return err
	}
	if err := r.clearRelayLogs(); err != nil {
		return err
	}
	opts := r.opts
	opts.Dir, opts.Host, opts.Port, opts.ServerID = r.dir, loopbackHost, 0, restoreServerID
	opts.Config = maps.Clone(r.opts.Config)
	maps.Copy(opts.Config, map[string]string{"bind_address": loopbackHost, "relay_log": relayBase, "event_scheduler": "OFF"})
	// At every attempt: what was applied of the old cluster's logs may have given its accounts their passwords of then.
	if err := os.Remove(filepath.Join(r.dir, mysqld.ReadyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if opts.FirstSQL, err = restoreSQL(r.own, r.m.User); err != nil {
		return err
	}
	r.say(fmt.Sprintf("restoring %s: starting MySQL on the copy", r.m.ID))
	server, err := mysqld.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Remove()) }()
	if err := r.apply(ctx, server); err != nil {
		return err
	}
	stopping, cancel := context.WithTimeout(ctx, r.opts.StartLimit)
	defer cancel()
	if err := server.Stop(stopping); err != nil {
		return err
	}
	return r.clearRelayLogs()
}

func (r *restoring) relayLog(i int) string { return fmt.Sprintf("%s.%06d", relayBase, i+1) }

func (r *restoring) clearRelayLogs() error {
	old, err := filepath.Glob(filepath.Join(r.data(), relayBase+".*"))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// apply brings a server from the copy, or from where an interrupted attempt has come to, to the target.
func (r *restoring) apply(ctx context.Context, server *mysqld.Server) error {
	db := server.DB()
	// The copy of a replica still follows the old cluster's primary: stopped, and to be forgotten.
	if err := mysql.ForgetSource(ctx, db); err != nil {
		return err
	}
	executed, err := mysql.GTIDExecuted(ctx, db)
	if err != nil {
		return err
	}
	copied, err := r.copied(executed)
	if err != nil {
		return err
	}
	plan, err := backup.Plan(r.m, copied, r.listing.Logs, r.target, func(l backup.Log) (io.ReadCloser, error) {
		return r.store.OpenLog(ctx, r.m.Cluster, l.Name)
	})
	if err != nil {
		return err
	}
	if len(plan.Logs) > 0 && !(executed.Contains(plan.Least) && plan.Most.Equal(plan.Least)) {
		if err := r.putRelayLogs(ctx, plan); err != nil {
			return err
		}
		if err := mysql.ApplyFrom(ctx, db, r.relayLog(0), plan.Until, plan.Before); err != nil {
			return err
		}
		if err := r.await(ctx, server, plan); err != nil {
			return err
		}
		if err := mysql.ForgetSource(ctx, db); err != nil {
			return err
		}
	}
	if executed, err = mysql.GTIDExecuted(ctx, db); err != nil {
		return err
	}
	if missing := plan.Least.Subtract(executed); !missing.Empty() {
		return fmt.Errorf("the logs were applied, and the server lacks %s", missing)
	}
	if more := executed.Subtract(plan.Most); !more.Empty() {
		return fmt.Errorf("the logs were applied, and the server has %s, which are beyond %s", more, r.target)
	}
	return nil
}

// copied is what the copy had; it is remembered, since an interrupted attempt has more.
func (r *restoring) copied(executed mysql.GTIDSet) (mysql.GTIDSet, error) {
	path := filepath.Join(r.dir, "copied")
	if text, err := os.ReadFile(path); err == nil {
		return mysql.ParseGTIDSet(string(text))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return mysql.GTIDSet{}, err
	}
	from, err := mysql.ParseGTIDSet(r.m.GTIDsFrom)
	if err != nil {
		return from, err
	}
	to, err := mysql.ParseGTIDSet(r.m.GTIDsTo)
	if err != nil {
		return to, err
	}
	if !executed.Contains(from) || !to.Contains(executed) {
		return executed, fmt.Errorf("the copy has transactions %s; its manifest says at least %s and at most %s: %w", executed, from, to, backup.ErrDamaged)
	}
	if err := writeVerified(context.Background(), path+".part", strings.NewReader(executed.String()), sumOf(executed.String())); err != nil {
		return executed, err
	}
	return executed, errors.Join(os.Rename(path+".part", path), backup.SyncDir(r.dir))
}

func sumOf(text string) backup.File {
	sum := backup.NewSum()
	_, _ = sum.Write([]byte(text)) // a hash takes everything
	return sum.File("gtid_executed")
}

// putRelayLogs makes archived logs the server's relay logs: it applies them as those of a source, in parallel, and removes
// each one that it is done with.
func (r *restoring) putRelayLogs(ctx context.Context, plan backup.Recovery) error {
	var size int64
	for _, l := range plan.Logs {
		size += l.Size
	}
	// Twice: the server writes what it applies to its own binary logs.
	if err := r.room(ctx, 2*size, "applying the archived logs"); err != nil {
		return err
	}
	if err := r.clearRelayLogs(); err != nil {
		return err
	}
	var index strings.Builder
	for i, l := range plan.Logs {
		r.say(fmt.Sprintf("restoring %s: copying log %d of %d", r.m.ID, i+1, len(plan.Logs)))
		if err := r.fetchLog(ctx, filepath.Join(r.data(), r.relayLog(i)), l); err != nil {
			return err
		}
		index.WriteString("./" + r.relayLog(i) + "\n")
	}
	return os.WriteFile(filepath.Join(r.data(), relayBase+".index"), []byte(index.String()), 0o640)
}

func (r *restoring) fetchLog(ctx context.Context, path string, l backup.Log) error {
	in, err := r.store.OpenLog(ctx, r.m.Cluster, l.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeVerified(ctx, path, in, l.File())
}

// await returns when the applier has stopped where it should.
func (r *restoring) await(ctx context.Context, server *mysqld.Server, plan backup.Recovery) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := mysql.ReadReplicaStatus(ctx, server.DB())
		if err != nil {
			return err
		}
		if status == nil {
			return errors.New("the server has forgotten the archived logs")
		}
		executed, err := mysql.ParseGTIDSet(status.Executed)
		if err != nil {
			return err
		}
		switch {
		case status.SQLError != "":
			return fmt.Errorf("apply the archived logs: %s", status.SQLError)
		case status.SQLRunning == "No":
			return nil
		case plan.Most.Equal(plan.Least) && executed.Contains(plan.Least):
			return nil // where nothing comes after the last transaction, the applier waits for more
		}
		r.say(fmt.Sprintf("restoring %s: applying logs, %s not applied yet", r.m.ID, plan.Least.Subtract(executed)))
		fault.Point(faultRestoreLogs)
		select {
		case <-tick.C:
		case <-server.Done():
			return fmt.Errorf("mysqld ended while it applied the archived logs: %w; its log ends:\n%s", server.Wait(), server.ErrorLog())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// restoreSQL makes the accounts of a copy those of its new cluster, before the server takes connections. Nothing of it is
// logged (I7). The user of the old cluster is locked out: the scheduler makes that of the new one, which may be the same.
func restoreSQL(own *secrets, oldUser string) (string, error) {
	first, err := firstSQL(own)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(first)
	if oldUser != "" {
		fmt.Fprintf(&b, "ALTER USER IF EXISTS %s@'%%' ACCOUNT LOCK;\n", mysql.QuoteString(oldUser))
	}
	return b.String(), nil
}

// sayEvery bounds how often the scheduler is told how far a restore has come.
const sayEvery = time.Second

// sayRestoring tells the scheduler how far a restore has come, now and then.
func (x *Executor) sayRestoring(ctx context.Context, task cotton.Task) func(string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.client == nil || x.instance == nil || task.Restore == nil {
		return func(string) {}
	}
	id, last := x.instance.id, time.Time{}
	return func(text string) {
		if time.Since(last) < sayEvery {
			return
		}
		last = time.Now()
		x.sendFacts(ctx, cotton.Facts{Task: id, At: last, Backup: &cotton.BackupFacts{Restoring: text}})
	}
}
