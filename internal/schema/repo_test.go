package schema_test

import (
	"errors"
	"fmt"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

const users = "CREATE TABLE users (id int PRIMARY KEY);\n"

func open(t *testing.T, cfg schema.RepoConfig) *schema.Repo {
	t.Helper()
	r, err := schema.OpenRepo(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.PollInterval = 0
	return r
}

func head(t *testing.T, r *schema.Repo) string {
	t.Helper()
	commit, err := r.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

func snapshot(t *testing.T, r *schema.Repo) *schema.Snapshot {
	t.Helper()
	s, err := r.Snapshot(t.Context(), head(t, r))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every way to reach a repository gives the same answers, also while it changes.
func TestRepo(t *testing.T) {
	for _, c := range []struct {
		name string
		url  func(t *testing.T, g *testkit.GitRepo) string
	}{
		{"work tree", func(t *testing.T, g *testkit.GitRepo) string { return g.Dir }},
		{"linked work tree", func(t *testing.T, g *testkit.GitRepo) string {
			dir := filepath.Join(t.TempDir(), "linked")
			g.Git("worktree", "add", "--detach", dir, "HEAD~0")
			return dir
		}},
		{"file URL", func(t *testing.T, g *testkit.GitRepo) string { return "file://" + g.Dir }},
		{"http", serve},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := testkit.Repo(t)
			first := g.Commit(map[string]string{"schemas/udb/users.sql": users}, "The users")
			r := open(t, schema.RepoConfig{URL: c.url(t, g), Cache: t.TempDir()})
			if got := head(t, r); got != first {
				t.Fatalf("head is %s, want %s", got, first)
			}
			follow(t, g, r, first)
		})
	}
}

// follow changes the repository in every way it can change and asks after each.
func follow(t *testing.T, g *testkit.GitRepo, r *schema.Repo, first string) {
	s := snapshot(t, r)
	d, ok := s.Table("udb", "users")
	if !ok || d.Problem != nil || d.Text != users || d.Path != "schemas/udb/users.sql" || d.Commit != first || len(d.Blob) != 40 {
		t.Errorf("users is %+v", d)
	}
	if s.Message != "The users" || !strings.Contains(s.Author, "<") || time.Since(s.When) > time.Hour {
		t.Errorf("commit is %q by %q at %v", s.Message, s.Author, s.When)
	}

	// The work tree is nobody's word.
	g.Write("schemas/udb/users.sql", "CREATE TABLE users (id int PRIMARY KEY, uncommitted int)")
	g.Git("add", "-A")
	if d, _ := snapshot(t, r).Table("udb", "users"); d.Text != users {
		t.Errorf("read from the work tree: %s", d.Text)
	}
	g.Git("reset", "-q", "--hard")

	second := g.Commit(map[string]string{"schemas/udb/orders.sql": "CREATE TABLE orders (id int)", "schemas/other/users.sql": users}, "More")
	s = snapshot(t, r)
	if s.Commit != second || len(s.Tiers) != 2 || len(s.Tiers["udb"]) != 2 {
		t.Errorf("at the second commit: %+v", s)
	}

	g.Git("gc", "-q", "--prune=now")
	g.Git("pack-refs", "--all")
	if got := head(t, r); got != second {
		t.Errorf("head of packed references is %s", got)
	}
	third := g.Commit(map[string]string{"schemas/udb/users.sql": users + "-- again"}, "After a pack")
	g.Git("gc", "-q")
	if s = snapshot(t, r); s.Commit != third {
		t.Errorf("head is %s, want %s", s.Commit, third)
	}

	// A force-push: the branch moves to a commit that does not descend from the last.
	blob := s.Tiers["udb"]["users"].Blob
	g.Git("reset", "-q", "--hard", first)
	forced := g.Commit(map[string]string{"schemas/udb/users.sql": users + "-- forced"}, "Forced")
	if d, _ := snapshot(t, r).Table("udb", "users"); d.Commit != forced || !strings.Contains(d.Text, "forced") {
		t.Errorf("after a force-push: %+v", d)
	}
	d, err := r.Pinned(t.Context(), third, "udb", "users", blob)
	if err != nil || d.Text != users+"-- again" || d.Blob != blob || d.Commit != third {
		t.Errorf("pinned %+v, %v", d, err)
	}
	old, err := r.Snapshot(t.Context(), first)
	if err != nil || old.Commit != first {
		t.Errorf("an older commit: %v", err)
	}

	missing := strings.Repeat("1234", 10)
	if _, err := r.Snapshot(t.Context(), missing); !errors.Is(err, schema.ErrNoCommit) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a commit that is nowhere: %v", err)
	}
	if _, err := r.Pinned(t.Context(), missing, "udb", "users", missing); !errors.Is(err, schema.ErrNoCommit) {
		t.Errorf("a blob that is nowhere: %v", err)
	}

	g.Git("branch", "-m", "main", "elsewhere")
	if _, err := r.Head(t.Context()); err == nil || !strings.Contains(err.Error(), "no branch main, only elsewhere") {
		t.Errorf("without the branch: %v", err)
	}
	g.Git("branch", "-m", "elsewhere", "main")
	if got := head(t, r); got != forced {
		t.Errorf("head is %s again, want %s", got, forced)
	}
}

// serve offers a repository over HTTP, as a git hoster does.
func serve(t *testing.T, g *testkit.GitRepo) string {
	core, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(core)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + g.Dir, "GIT_HTTP_EXPORT_ALL=1"},
	})
	t.Cleanup(srv.Close)
	return srv.URL + "/.git"
}

// A file that cannot be used is a problem of its table alone.
func TestProblems(t *testing.T) {
	g := testkit.Repo(t)
	g.Commit(map[string]string{
		"README.md":                 "schemas",
		"schemas/README.md":         "tiers",
		"schemas/udb/notes.txt":     "not a table",
		"schemas/udb/users.sql":     users,
		"schemas/udb/two.sql":       "CREATE TABLE two (id int); CREATE TABLE three (id int)",
		"schemas/udb/renamed.sql":   "CREATE TABLE named (id int)",
		"schemas/udb/huge.sql":      "CREATE TABLE huge (id int) -- " + strings.Repeat("x", schema.MaxDesiredSize),
		"schemas/udb/deep/deep.sql": "CREATE TABLE deep (id int)",
		"schemas/udb/имя.sql":       "CREATE TABLE `имя` (id int)",
	}, "All sorts")
	if err := os.Symlink("users.sql", filepath.Join(g.Dir, "schemas/udb/link.sql")); err != nil {
		t.Fatal(err)
	}
	g.Git("add", "-A")
	g.Git("commit", "-q", "-m", "A link")
	s := snapshot(t, open(t, schema.RepoConfig{URL: g.Dir}))
	tables := s.Tiers["udb"]
	for table, problem := range map[string]string{"users": "", "имя": "", "two": "second statement", "renamed": "rename the file", "huge": "no table definition", "link": "not a file"} {
		d, ok := tables[table]
		switch {
		case !ok:
			t.Errorf("%s is missing", table)
		case problem == "" && d.Problem != nil, problem != "" && (d.Problem == nil || !strings.Contains(d.Problem.Error(), problem)):
			t.Errorf("%s: problem %v, want %q", table, d.Problem, problem)
		}
	}
	if len(tables) != 6 || len(s.Tiers) != 1 {
		t.Errorf("tiers %v, tables %v", len(s.Tiers), tables)
	}
}

// Each mistake has a message that says what is wrong and what to do.
func TestRepoErrors(t *testing.T) {
	empty := testkit.Repo(t)
	other := testkit.Repo(t)
	other.Commit(map[string]string{"x/y": "z"}, "No schemas")
	gone := filepath.Join(t.TempDir(), "gone")
	for _, c := range []struct {
		name string
		cfg  schema.RepoConfig
		want string
	}{
		{"nothing configured", schema.RepoConfig{}, "schemas-repo"},
		{"no repository", schema.RepoConfig{URL: gone}, "no git repository"},
		{"no remote repository", schema.RepoConfig{URL: "file://" + gone, Cache: t.TempDir()}, "no git repository"},
		{"a directory, not a repository", schema.RepoConfig{URL: t.TempDir()}, "no git repository"},
		{"bad branch", schema.RepoConfig{URL: other.Dir, Branch: "a..b"}, "cannot be the name of a branch"},
		{"no branch", schema.RepoConfig{URL: other.Dir, Branch: "release"}, "no branch release, only main: create it, or set schemas-branch"},
		{"no remote branch", schema.RepoConfig{URL: "file://" + other.Dir, Branch: "release", Cache: t.TempDir()}, "no branch release, only main: create it, or set schemas-branch"},
		{"empty", schema.RepoConfig{URL: empty.Dir}, "it is empty: commit a schema to branch main"},
		{"empty remote", schema.RepoConfig{URL: "file://" + empty.Dir, Cache: t.TempDir()}, "it is empty: commit a schema to branch main"},
		{"no directory", schema.RepoConfig{URL: other.Dir}, "no directory schemas: commit schemas to schemas/<tier>/<table>.sql"},
		{"remote down, password hidden", schema.RepoConfig{URL: "http://me:secret@127.0.0.1:1/x.git", Cache: t.TempDir()}, "http://me:xxxxx@127.0.0.1:1/x.git"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := schema.OpenRepo(t.Context(), c.cfg)
			var commit string
			if err == nil {
				commit, err = r.Head(t.Context())
			}
			if err == nil {
				_, err = r.Snapshot(t.Context(), commit)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

// A remote that is away for a while stops nobody: what it last said holds for MaxStale. A new daemon has nothing to go by.
func TestRemoteDown(t *testing.T) {
	g := testkit.Repo(t)
	commit := g.Commit(map[string]string{"schemas/udb/users.sql": users}, "The users")
	cache := t.TempDir()
	r := open(t, schema.RepoConfig{URL: "file://" + g.Dir, Cache: cache})
	head(t, r)
	away := g.Dir + ".away"
	if err := os.Rename(g.Dir, away); err != nil {
		t.Fatal(err)
	}
	if got := head(t, r); got != commit {
		t.Errorf("head is %s", got)
	}
	if d, ok := snapshot(t, r).Table("udb", "users"); !ok || d.Text != users {
		t.Errorf("users is %+v", d)
	}
	r.MaxStale = 0
	if _, err := r.Head(t.Context()); err == nil {
		t.Error("an old answer holds for ever")
	}
	if _, err := open(t, schema.RepoConfig{URL: "file://" + g.Dir, Cache: cache}).Head(t.Context()); err == nil {
		t.Error("a new daemon knows the head of a remote it cannot ask")
	}
	if err := os.Rename(away, g.Dir); err != nil {
		t.Fatal(err)
	}
	if got := head(t, r); got != commit {
		t.Errorf("head is %s again", got)
	}
}

// A daemon holds the desired tables of all tiers several times over, at the commits it lately needed: what is equal is
// held once.
func TestSnapshotMemory(t *testing.T) {
	g := testkit.Repo(t)
	files := map[string]string{}
	for n := range 400 {
		name := fmt.Sprintf("t%03d", n)
		files["schemas/udb/"+name+".sql"] = "CREATE TABLE " + name + " (id int PRIMARY KEY) COMMENT='" + strings.Repeat("x", 1000) + "' -- " + strings.Repeat("y", 1000)
	}
	g.Commit(files, "Many")
	r := open(t, schema.RepoConfig{URL: g.Dir})
	var kept []*schema.Snapshot
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	for n := range 8 {
		g.Commit(map[string]string{"schemas/udb/t000.sql": fmt.Sprintf("CREATE TABLE t000 (id int PRIMARY KEY, a%d int)", n)}, "One")
		kept = append(kept, snapshot(t, r))
	}
	runtime.GC()
	runtime.ReadMemStats(&m)
	if grown := int64(m.HeapAlloc) - int64(before); grown > 6<<20 {
		t.Errorf("%d snapshots of 400 tables hold %d KiB", len(kept), grown>>10)
	} else {
		t.Logf("%d snapshots of 400 tables hold %d KiB", len(kept), grown>>10)
	}
	runtime.KeepAlive(kept)
}

// The tip is asked for every second by every daemon: it must cost next to nothing.
func BenchmarkHead(b *testing.B) {
	g := testkit.Repo(b)
	g.Commit(map[string]string{"schemas/udb/users.sql": users}, "The users")
	g.Git("pack-refs", "--all")
	r, err := schema.OpenRepo(b.Context(), schema.RepoConfig{URL: g.Dir})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := r.Head(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
