package schema

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// Desired is the committed definition of one table.
type Desired struct {
	Tier, Table string
	Path        string // in the repository
	Blob        string // git's id of the file's content
	Commit      string
	Text        string // the file, "" when Problem says it was not read
	// Problem says why the file cannot be used. It concerns this table only.
	Problem error
}

// Snapshot is everything desired at one commit. It is shared and must not be changed.
type Snapshot struct {
	Commit  string
	Author  string // "Name <address>"
	When    time.Time
	Message string
	Tiers   map[string]map[string]Desired // tier -> table
}

// Table is the desired definition of a table, false when the commit has none.
func (s *Snapshot) Table(tier, table string) (Desired, bool) {
	d, ok := s.Tiers[tier][table]
	return d, ok
}

// keepSnapshots is how many commits are remembered: the head and a few that running alters are pinned to.
const keepSnapshots = 8

// snapshots remembers the last few, most recently used first.
type snapshots []*Snapshot

func (s *snapshots) get(commit string) *Snapshot {
	for i, snap := range *s {
		if snap.Commit == commit {
			copy((*s)[1:i+1], (*s)[:i])
			(*s)[0] = snap
			return snap
		}
	}
	return nil
}

func (s *snapshots) put(snap *Snapshot) {
	*s = append(snapshots{snap}, *s...)
	if len(*s) > keepSnapshots {
		*s = (*s)[:keepSnapshots]
	}
}

// Snapshot reads every tier's tables at a commit. A file that cannot be used is a Problem of that table, never an
// error. The error wraps ErrNoCommit when the repository does not have the commit (a force-push may have removed it).
func (r *Repo) Snapshot(ctx context.Context, commit string) (*Snapshot, error) {
	r.mu.Lock()
	snap := r.snaps.get(commit)
	var last *Snapshot
	if len(r.snaps) > 0 {
		last = r.snaps[0]
	}
	r.mu.Unlock()
	if snap != nil {
		return snap, nil
	}
	err := r.objects(ctx, func(store storer.EncodedObjectStorer) (err error) {
		snap, err = r.read(ctx, store, commit, last)
		return err
	})
	if err != nil {
		return nil, r.fail(fmt.Errorf("read commit %s: %w", commit, err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.snaps.get(commit); known != nil { // read twice at once: everybody shares one
		return known, nil
	}
	r.snaps.put(snap)
	return snap, nil
}

// read walks <dir>/<tier>/<table>.sql. What last already holds under the same blob is shared with it.
func (r *Repo) read(ctx context.Context, store storer.EncodedObjectStorer, commit string, last *Snapshot) (*Snapshot, error) {
	c, err := object.GetCommit(store, plumbing.NewHash(commit))
	if err != nil {
		return nil, notFound(err)
	}
	snap := &Snapshot{
		Commit:  commit,
		Author:  c.Author.Name + " <" + c.Author.Email + ">",
		When:    c.Committer.When,
		Message: strings.TrimSpace(c.Message),
		Tiers:   map[string]map[string]Desired{},
	}
	tree, err := c.Tree()
	if err != nil {
		return nil, notFound(err)
	}
	if tree, err = tree.Tree(r.cfg.Dir); errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, fmt.Errorf("it has no directory %s: commit schemas to %[1]s/<tier>/<table>.sql", r.cfg.Dir)
	} else if err != nil {
		return nil, notFound(err)
	}
	for _, tier := range tree.Entries {
		if tier.Mode != filemode.Dir {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		files, err := object.GetTree(store, tier.Hash)
		if err != nil {
			return nil, notFound(err)
		}
		if snap.Tiers[tier.Name], err = r.tier(store, commit, tier.Name, files, last); err != nil {
			return nil, err
		}
	}
	return snap, nil
}

func (r *Repo) tier(store storer.EncodedObjectStorer, commit, tier string, files *object.Tree, last *Snapshot) (map[string]Desired, error) {
	tables := make(map[string]Desired, len(files.Entries))
	for _, f := range files.Entries {
		table, ok := strings.CutSuffix(f.Name, Suffix)
		if !ok || f.Mode == filemode.Dir {
			continue
		}
		d := Desired{Tier: tier, Table: table, Path: path.Join(r.cfg.Dir, tier, f.Name), Blob: f.Hash.String(), Commit: commit}
		if known, ok := knownDesired(last, d); ok {
			d.Text, d.Problem = known.Text, known.Problem
		} else if !f.Mode.IsRegular() && f.Mode != filemode.Executable {
			d.Problem = fmt.Errorf("%s is not a file (git mode %s): commit the definition itself", d.Path, f.Mode)
		} else if err := d.load(store); err != nil {
			return nil, err
		}
		tables[table] = d
	}
	return tables, nil
}

func knownDesired(last *Snapshot, d Desired) (Desired, bool) {
	if last == nil {
		return Desired{}, false
	}
	known, ok := last.Table(d.Tier, d.Table)
	return known, ok && known.Blob == d.Blob && known.Path == d.Path
}

// load reads the blob and judges it. The error says that the repository could not be read.
func (d *Desired) load(store storer.EncodedObjectStorer) error {
	blob, err := object.GetBlob(store, plumbing.NewHash(d.Blob))
	if err != nil {
		return fmt.Errorf("%s: %w", d.Path, notFound(err))
	}
	if blob.Size > MaxDesiredSize {
		d.Problem = fmt.Errorf("%s is %d bytes, which no table definition is: at most %d are read", d.Path, blob.Size, MaxDesiredSize)
		return nil
	}
	if d.Text, err = blobText(blob); err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	_, d.Problem = ParseDesired(d.Path, d.Text)
	return nil
}

func blobText(blob *object.Blob) (string, error) {
	rd, err := blob.Reader()
	if err != nil {
		return "", err
	}
	defer rd.Close()
	var b strings.Builder
	b.Grow(int(blob.Size))
	if _, err := io.Copy(&b, rd); err != nil {
		return "", err
	}
	return b.String(), nil
}

func notFound(err error) error {
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("%w: was the branch force-pushed, or is the clone shallow?", ErrNoCommit)
	}
	return err
}

// Pinned is the definition an alter was pinned to, read by its blob: it is found even where a force-push has removed
// the commit, as long as any commit still holds the same content or git has not pruned it. The error wraps ErrNoCommit
// when it is gone.
func (r *Repo) Pinned(ctx context.Context, commit, tier, table, blob string) (Desired, error) {
	d := Desired{Tier: tier, Table: table, Path: path.Join(r.cfg.Dir, tier, table+Suffix), Blob: blob, Commit: commit}
	if known, ok := r.remembered(d); ok {
		d.Text, d.Problem = known.Text, known.Problem
		return d, nil
	}
	if err := r.objects(ctx, d.load); err != nil {
		return Desired{}, r.fail(fmt.Errorf("read blob %s of commit %s: %w", blob, commit, err))
	}
	return d, nil
}

// objects runs fn over the objects on this machine. Where something is missing in the clone of a remote (the daemon is
// new here, or another one saw the commit first) it is brought up to date and fn runs again.
func (r *Repo) objects(ctx context.Context, fn func(storer.EncodedObjectStorer) error) error {
	try := func() error {
		store, err := openStorage(r.path)
		if err != nil {
			return err
		}
		return fn(store)
	}
	err := try()
	if r.remote != nil && (errors.Is(err, ErrNoCommit) || errors.Is(err, git.ErrRepositoryNotExists)) {
		if _, err := r.remote.head(ctx, 0, 0); err != nil {
			return err
		}
		err = try()
	}
	return explainOpen(err)
}

func (r *Repo) remembered(d Desired) (Desired, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, snap := range r.snaps {
		if known, ok := knownDesired(snap, d); ok {
			return known, true
		}
	}
	return Desired{}, false
}
