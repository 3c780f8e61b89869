package mysqld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Install is a MySQL server program on this machine.
type Install struct {
	Mysqld  string        // path of the program
	Version mysql.Version // what it says of itself
	// Build is the whole version text of the program, such as "9.7.4-2". Two builds do not share a template.
	Build string
	// Tools is where private copies and templates are kept.
	Tools string
}

// Program is the path of a client program of the installation, such as "mysql", "mysqladmin" or "mysqlbinlog": beside
// mysqld, else on PATH.
func (in Install) Program(name string) (string, error) {
	beside := filepath.Join(filepath.Dir(in.Mysqld), name)
	if info, err := os.Stat(beside); err == nil && info.Mode()&0o111 != 0 {
		return beside, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("no %s beside %s nor on PATH: %w", name, in.Mysqld, err)
	}
	return path, nil
}

// command runs mysqld with an option file, which must come first of its arguments.
func (in Install) command(optionFile string, output *os.File, args ...string) *exec.Cmd {
	cmd := exec.Command(in.Mysqld, append([]string{"--defaults-file=" + optionFile}, args...)...)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd
}

// ErrNoInstall is returned by Find, wrapped, when this machine has no usable mysqld.
var ErrNoInstall = errors.New("no usable mysqld")

// Find looks for a mysqld that is MySQL 8.0.23 or newer: on PATH, in the usual places that are not on everybody's
// PATH, then the private copy in Tools() that `make tools` makes. Programs that do not serve (MariaDB, too old,
// broken) are passed over and named in the error.
func Find(ctx context.Context) (Install, error) {
	tools, err := Tools()
	if err != nil {
		return Install{}, err
	}
	in, err := find(ctx, tools, systemMysqlds())
	return in, advise(tools, err)
}

// advise says what to do where there is no server.
func advise(tools string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; run `make tools` in a checkout to get one at %s, or put MySQL's mysqld, 8.0.23 or newer, on PATH", err,
		private(tools))
}

// Search is Find with an error that says only where was looked: for programs whose users cannot follow Find's advice.
func Search(ctx context.Context) (Install, error) {
	tools, err := Tools()
	if err != nil {
		return Install{}, err
	}
	return find(ctx, tools, systemMysqlds())
}

// private is where the private copy is.
func private(tools string) string { return filepath.Join(tools, "mysql", "bin", "mysqld") }

// Inspect is the installation that a program belongs to; its templates are kept in tools. The error says why it does not
// serve.
func Inspect(ctx context.Context, program, tools string) (Install, error) {
	in, err := inspect(ctx, program)
	if err != nil {
		return Install{}, fmt.Errorf("%w: %w", ErrNoInstall, err)
	}
	in.Tools = tools
	return in, nil
}

// find takes the first program that serves, of some places and then of the private copy.
func find(ctx context.Context, tools string, places []string) (Install, error) {
	places = append(places, private(tools))
	var refused []error
	for _, path := range places {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		in, err := inspect(ctx, path)
		if err == nil {
			in.Tools = tools
			return in, nil
		}
		refused = append(refused, err)
	}
	refused = append(refused, fmt.Errorf("looked for %s, and on PATH (%s)", strings.Join(places, ", "), os.Getenv("PATH")))
	return Install{}, fmt.Errorf("%w: %w", ErrNoInstall, errors.Join(refused...))
}

// systemMysqlds are the places scripts/mysql-install looks at, too.
func systemMysqlds() []string {
	var paths []string
	if path, err := exec.LookPath("mysqld"); err == nil {
		paths = append(paths, path)
	}
	return append(paths, "/usr/sbin/mysqld", "/usr/local/sbin/mysqld", "/usr/local/mysql/bin/mysqld")
}

var versionText = regexp.MustCompile(`\bVer (\S+)`)

// inspect asks a program for its version and refuses what this project does not support.
func inspect(ctx context.Context, path string) (Install, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--no-defaults", "--version").CombinedOutput()
	if err != nil {
		return Install{}, fmt.Errorf("%s --version: %w: %s", path, err, strings.TrimSpace(string(out)))
	}
	match := versionText.FindSubmatch(out)
	if match == nil {
		return Install{}, fmt.Errorf("%s --version says nothing of a version: %s", path, strings.TrimSpace(string(out)))
	}
	version, err := mysql.ParseVersion(string(match[1]))
	if err == nil {
		err = version.Supported()
	}
	if err != nil {
		return Install{}, fmt.Errorf("%s: %w", path, err)
	}
	return Install{Mysqld: path, Version: version, Build: string(match[1])}, nil
}

// Tools is the directory of private installations and templates: $AOSC_TOOLS, else .tools of the checkout that the
// working directory or this program lies in, else a directory in the user's cache; for an account without a home, as
// servers' accounts often are, one below /var/tmp that nobody else may touch.
func Tools() (string, error) {
	if dir := os.Getenv("AOSC_TOOLS"); dir != "" {
		return filepath.Abs(dir)
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, start := range starts {
		if root, ok := checkout(start); ok {
			return filepath.Join(root, ".tools"), nil
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil { // a Mesos agent passes no HOME on to executors: ask who we are
		if me, lookupErr := user.Current(); lookupErr == nil && filepath.IsAbs(me.HomeDir) {
			cache, err = filepath.Join(me.HomeDir, ".cache"), nil
		}
	}
	if err == nil && exists(filepath.Dir(cache)) {
		return filepath.Join(cache, "aosc"), nil
	}
	dir, err := ownDir(fmt.Sprintf("/var/tmp/aosc-%d", os.Getuid()))
	if err != nil {
		return "", fmt.Errorf("no place for MySQL and its templates, set AOSC_TOOLS: %w", err)
	}
	return dir, nil
}

// ownDir makes a directory where everybody may, and takes one that is there only if it is ours alone: what lies in it is
// run.
func ownDir(dir string) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(st.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is there and is not a directory of this account alone", dir)
	}
	return dir, nil
}

// checkout walks up from a directory to the root of this module.
func checkout(dir string) (string, bool) {
	for {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil &&
			strings.HasPrefix(string(text), "module github.com/aosc/aosc\n") {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}
