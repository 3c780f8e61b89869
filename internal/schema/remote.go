package schema

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/aosc/aosc/internal/flock"
)

// remote is a repository elsewhere and the bare clone of one branch of it on this machine. Several daemons may share
// the clone.
type remote struct {
	url    string
	branch plumbing.ReferenceName
	dir    string

	mu     sync.Mutex
	commit string    // last known head, "" before the first answer
	asked  time.Time // when it was last asked for
	heard  time.Time // when it last answered
}

func newRemote(cfg RepoConfig) (*remote, error) {
	base := cfg.Cache
	if base == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place for its clone, set schemas-cache (AOSC_SCHEMAS_CACHE): %w", err)
		}
		base = filepath.Join(dir, "aosc")
	}
	// One clone per repository and branch: a clone of one branch cannot serve another.
	sum := sha256.Sum256([]byte(cfg.URL + "\x00" + cfg.Branch))
	return &remote{
		url:    cfg.URL,
		branch: plumbing.NewBranchReferenceName(cfg.Branch),
		dir:    filepath.Join(base, hex.EncodeToString(sum[:8])+".git"),
	}, nil
}

// head asks the remote when the last question is older than poll, and makes sure that the clone has the commit. A
// remote that does not answer is not an error until maxStale has passed: what is pinned can still be worked on.
func (m *remote) head(ctx context.Context, poll, maxStale time.Duration) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.commit != "" && now.Sub(m.asked) < poll {
		return m.commit, nil
	}
	m.asked = now
	commit, err := m.ask(ctx)
	if err == nil && commit != m.commit {
		err = m.fetch(ctx, commit)
	}
	if err == nil {
		m.commit, m.heard = commit, now
		return commit, nil
	}
	var gone *branchError
	if m.commit != "" && now.Sub(m.heard) < maxStale && !errors.As(err, &gone) && ctx.Err() == nil {
		return m.commit, nil
	}
	return "", err
}

// branchError is the remote's word that the branch is not there, as opposed to no word.
type branchError struct{ error }

// ask is git ls-remote.
func (m *remote) ask(ctx context.Context) (string, error) {
	r := git.NewRemote(memory.NewStorage(), &config.RemoteConfig{Name: "origin", URLs: []string{m.url}})
	refs, err := r.ListContext(ctx, &git.ListOptions{})
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return "", &branchError{noSuchBranch(m.branch.Short(), nil)}
	}
	if err != nil {
		return "", m.explain("ask it for its branches", err)
	}
	store := memory.ReferenceStorage{}
	for _, ref := range refs {
		store[ref.Name()] = ref
	}
	ref, err := storer.ResolveReference(store, m.branch)
	if err != nil {
		names, err := branches(store)
		return "", errors.Join(&branchError{noSuchBranch(m.branch.Short(), names)}, err)
	}
	return ref.Hash().String(), nil
}

func (m *remote) explain(what string, err error) error {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("%s: it refuses this account: %w", what, err)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("%s: there is no git repository (or this account may not see it): correct schemas-repo (AOSC_SCHEMAS_REPO)", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// fetch brings commit into the clone, unless another daemon that shares it already did. The reference is forced: a
// force-push moves the branch to a commit that does not descend from the last one.
func (m *remote) fetch(ctx context.Context, commit string) error {
	if err := os.MkdirAll(filepath.Dir(m.dir), 0o755); err != nil {
		return err
	}
	unlock, err := flock.Lock(ctx, m.dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	repo, err := git.PlainOpen(m.dir)
	if errors.Is(err, git.ErrRepositoryNotExists) {
		repo, err = git.PlainInit(m.dir, true)
	}
	if err != nil {
		return fmt.Errorf("open its clone %s (remove that directory if this persists): %w", m.dir, err)
	}
	if _, err := repo.CommitObject(plumbing.NewHash(commit)); err == nil {
		return nil
	}
	err = git.NewRemote(repo.Storer, &config.RemoteConfig{Name: "origin", URLs: []string{m.url}}).FetchContext(ctx, &git.FetchOptions{
		RefSpecs: []config.RefSpec{config.RefSpec("+" + m.branch + ":" + m.branch)},
		Tags:     git.NoTags,
		Force:    true,
	})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return m.explain("fetch it into "+m.dir, err)
	}
	return nil
}
