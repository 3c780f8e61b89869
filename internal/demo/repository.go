package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// repository is the demo's git repository of desired schemas.
type repository struct {
	dir  string
	repo *git.Repository
}

func newRepository(dir string) (*repository, error) {
	repo, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.Main}})
	if err != nil {
		return nil, fmt.Errorf("create the demo's git repository in %s: %w", dir, err)
	}
	return &repository{dir, repo}, nil
}

// commit writes the table's desired schema and commits it. It returns the commit's id.
func (r *repository) commit(message, ddl string) (string, error) {
	name := filepath.Join("schemas", tierName, table+".sql")
	if err := os.MkdirAll(filepath.Dir(filepath.Join(r.dir, name)), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(ddl), 0o644); err != nil {
		return "", err
	}
	tree, err := r.repo.Worktree()
	if err != nil {
		return "", err
	}
	if _, err := tree.Add(filepath.ToSlash(name)); err != nil {
		return "", err
	}
	author := &object.Signature{Name: "demo", Email: "demo@localhost", When: time.Now()}
	hash, err := tree.Commit(message, &git.CommitOptions{Author: author})
	return hash.String(), err
}
