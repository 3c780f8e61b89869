package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// GitRepo is a real git repository, made and changed by the git program: what reads it in the product is another
// implementation.
type GitRepo struct {
	Dir    string // also the URL to clone it from
	Branch string

	t testing.TB
}

// Repo makes an empty repository whose branch is main.
func Repo(t testing.TB) *GitRepo {
	t.Helper()
	r := &GitRepo{Dir: t.TempDir(), Branch: "main", t: t}
	r.Git("init", "--quiet", "--initial-branch="+r.Branch)
	return r
}

// Commit writes files (path below the repository to contents) and commits all that differs in the work tree. It returns
// the commit's hash.
func (r *GitRepo) Commit(files map[string]string, message string) string {
	r.t.Helper()
	for path, text := range files {
		r.Write(path, text)
	}
	r.Git("add", "--all")
	r.Git("commit", "--quiet", "--allow-empty", "--message="+message)
	return r.Head()
}

// Delete removes files and commits that.
func (r *GitRepo) Delete(message string, paths ...string) string {
	r.t.Helper()
	r.Git(append([]string{"rm", "--quiet", "--"}, paths...)...)
	return r.Commit(nil, message)
}

// Write changes a file in the work tree and does not commit it.
func (r *GitRepo) Write(path, text string) {
	r.t.Helper()
	path = filepath.Join(r.Dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// Head is the hash of the branch's last commit.
func (r *GitRepo) Head() string {
	r.t.Helper()
	return r.Git("rev-parse", "HEAD")
}

// Git runs git in the repository and returns what it printed. The settings of whoever runs the tests do not matter.
func (r *GitRepo) Git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada Tester", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada Tester", "GIT_COMMITTER_EMAIL=ada@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
