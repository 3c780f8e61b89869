package schema

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// DefaultPollInterval is how often a remote repository is asked for its head.
	DefaultPollInterval = 5 * time.Second
	// DefaultMaxStale is how long the last known head of a remote serves while the remote does not answer.
	DefaultMaxStale = 5 * time.Minute
)

// RepoConfig says where desired schemas are.
type RepoConfig struct {
	URL    string // a local path, bare or not, or a URL of git (https, ssh, file://, user@host:path)
	Branch string // "" = main
	Cache  string // directory for the clone of a URL; "" = the user's cache directory
	Dir    string // directory in the repository that holds one directory per tier; "" = schemas
}

// ErrNoCommit means that the repository does not have (or no longer has) a commit or file asked for.
var ErrNoCommit = errors.New("not in the repository")

// Repo reads desired schemas from the committed head of one branch; a work tree is never looked at. It is safe for
// concurrent use.
type Repo struct {
	// PollInterval bounds how often a remote is asked, MaxStale how long its last answer is good while it is silent.
	// A local repository is read each time. Set them before first use.
	PollInterval, MaxStale time.Duration

	cfg    RepoConfig
	remote *remote // nil for a local path
	path   string  // of the repository on this machine

	mu    sync.Mutex
	refs  storer.ReferenceStorer // reads references from the files each time
	snaps snapshots
}

// OpenRepo checks the configuration and, for a local path, that a git repository is there; a remote is first asked by
// Head. The error names the repository and what to do.
func OpenRepo(ctx context.Context, cfg RepoConfig) (*Repo, error) {
	if cfg.URL == "" {
		return nil, errors.New("no schema repository is configured: set schemas-repo (AOSC_SCHEMAS_REPO) to a path or URL of git")
	}
	if cfg.Branch == "" {
		cfg.Branch = "main"
	}
	if cfg.Dir = strings.Trim(filepath.ToSlash(filepath.Clean("/"+cfg.Dir)), "/"); cfg.Dir == "" {
		cfg.Dir = "schemas"
	}
	r := &Repo{PollInterval: DefaultPollInterval, MaxStale: DefaultMaxStale, cfg: cfg, path: cfg.URL}
	if err := plumbing.NewBranchReferenceName(cfg.Branch).Validate(); err != nil {
		return nil, r.fail(fmt.Errorf("%q cannot be the name of a branch", cfg.Branch))
	}
	if isRemote(cfg.URL) {
		var err error
		if r.remote, err = newRemote(cfg); err != nil {
			return nil, r.fail(err)
		}
		r.path = r.remote.dir
		return r, nil
	}
	_, err := r.local()
	return r, err
}

// isRemote tells a URL from a path the way git does.
func isRemote(s string) bool {
	if strings.Contains(s, "://") {
		return true
	}
	if _, err := os.Stat(s); err == nil {
		return false
	}
	e, err := transport.NewEndpoint(s)
	return err == nil && e.Protocol != "file"
}

// String names the repository and branch, without a password that the URL may hold.
func (r *Repo) String() string { return redact(r.cfg.URL) + " (branch " + r.cfg.Branch + ")" }

func redact(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		return u.Redacted()
	}
	return s
}

func (r *Repo) fail(err error) error {
	return fmt.Errorf("schema repository %s: %w", r, err)
}

// Head is the commit at the tip of the branch. For a local path it costs two small reads of files; a remote is asked
// at most every PollInterval and fetched when its branch moved, forced, so that a force-push is followed.
func (r *Repo) Head(ctx context.Context) (string, error) {
	if r.remote != nil {
		commit, err := r.remote.head(ctx, r.PollInterval, r.MaxStale)
		if err != nil {
			return "", r.fail(err)
		}
		return commit, nil
	}
	refs, err := r.local()
	if err != nil {
		return "", err
	}
	ref, err := storer.ResolveReference(refs, plumbing.NewBranchReferenceName(r.cfg.Branch))
	if err != nil {
		return "", r.fail(r.missingBranch(refs, err))
	}
	return ref.Hash().String(), nil
}

// local is the reference storage of a local repository, opened once: what it answers is read from the files each time.
func (r *Repo) local() (storer.ReferenceStorer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refs != nil {
		return r.refs, nil
	}
	s, err := openStorage(r.path)
	if err != nil {
		return nil, r.fail(explainOpen(err))
	}
	r.refs = s
	return s, nil
}

func explainOpen(err error) error {
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return errors.New("there is no git repository: clone it there, or correct schemas-repo (AOSC_SCHEMAS_REPO)")
	}
	return err
}

// missingBranch says why there is no such branch: the repository vanished, is empty, or has others.
func (r *Repo) missingBranch(refs storer.ReferenceStorer, err error) error {
	if !errors.Is(err, plumbing.ErrReferenceNotFound) {
		return err
	}
	if _, err := openStorage(r.path); err != nil {
		return explainOpen(err)
	}
	names, err := branches(refs)
	if err != nil {
		return err
	}
	return noSuchBranch(r.cfg.Branch, names)
}

func noSuchBranch(branch string, others []string) error {
	if len(others) == 0 {
		return fmt.Errorf("it is empty: commit a schema to branch %s", branch)
	}
	return fmt.Errorf("it has no branch %s, only %s: create it, or set schemas-branch (AOSC_SCHEMAS_BRANCH)",
		branch, strings.Join(others, ", "))
}

// branches lists a few branches, for messages.
func branches(refs storer.ReferenceStorer) ([]string, error) {
	iter, err := refs.IterReferences()
	if err != nil {
		return nil, err
	}
	defer iter.Close()
	const few = 10
	var names []string
	err = iter.ForEach(func(ref *plumbing.Reference) error {
		switch {
		case !ref.Name().IsBranch():
		case len(names) == few:
			names = append(names, "…")
			return storer.ErrStop
		default:
			names = append(names, ref.Name().Short())
		}
		return nil
	})
	return names, err
}

// objectCache bounds what go-git keeps of the objects it read; its default of 96 MiB is more than a whole daemon of
// ours may hold.
const objectCache = 4 * cache.MiByte

// openStorage opens the repository at a path: bare, with a work tree, or a linked work tree. A storage notices moved
// references but not packs that appear later, so objects are read through a fresh one.
func openStorage(path string) (*filesystem.Storage, error) {
	repo, err := git.PlainOpenWithOptions(path, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return nil, err
	}
	s, ok := repo.Storer.(*filesystem.Storage)
	if !ok {
		return nil, fmt.Errorf("unexpected git storage %T", repo.Storer)
	}
	return filesystem.NewStorageWithOptions(s.Filesystem(), cache.NewObjectLRU(objectCache), filesystem.Options{}), nil
}
