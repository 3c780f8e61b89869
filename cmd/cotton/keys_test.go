package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program runs cotton with these arguments and returns what it printed.
func program(t *testing.T, ctx context.Context, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(ctx, args, &out, &errs)
	return out.String(), errs.String(), err
}

func says(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

// Every mistake in the configuration is told before anything is started, with the key and the way out, and no secret.
func TestSchedulerRefusesConfigurations(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		says []string
	}{
		{"", []string{"mesos (from default)", "--mesos mini:3"}},
		{"--mesos=mini:0", []string{"mini:N with 1 to 64"}},
		{"--mesos=mini:many", []string{"mini:N with 1 to 64"}},
		{"--mesos=localhost", []string{"http://host:port", "zk://"}},
		{"--mesos=zk://u:geheim@h:1", []string{"path is missing"}},
		{"--mesos=mini:1 --store=sqlite:x", []string{"store", "want file:DIR or zk://"}},
		{"--mesos=mini:1 --store=file:", []string{"needs a directory"}},
		{"--mesos=mini:1 --store=zk://u:geheim@h:1", []string{"no path"}},
		{"--mesos=mini:1 --discovery=http://h:1/x", []string{"discovery", "zk://"}},
		{"--mesos=mini:1 --listen=0.0.0.0:5055", []string{"--token-file"}},
		{"--mesos=mini:1 --listen=:5055", []string{"--token-file"}},
		{"--mesos=mini:1 --listen=0.0.0.0:5055 --token-file=x", []string{"--tls-cert", "--insecure-http"}},
		{"--mesos=mini:1 --listen=5055", []string{"not host:port"}},
		{"--mesos=mini:1 --tls-cert=x", []string{"belong together"}},
		{"--mesos=mini:1 --sizes=small", []string{"cpus/memory/disk"}},
		{"--mesos=mini:1 --sizes=small=1/huge/1gb", []string{`mem "huge"`}},
		{"--mesos=mini:1 --default-size=small", []string{"default-size", "cpus/memory/disk"}},
		{"--mesos=mini:1 --packages=mysql", []string{"name=value"}},
		{"--mesos=mini:1 --executor-env=PATH", []string{"name=value"}},
		{"--mesos=mini:1 --mini-ports=9-1", []string{"first-last"}},
		{"--mesos=mini:1 --role=", []string{"role", "is needed"}},
		{"--mesos=mini:1 --once", []string{"--once"}},
		{"--mesos=mini:1 --admin-keyfile=/nonexistent/key", []string{"/nonexistent/key"}},
		{"--mesos=http://127.0.0.1:1 --admin-keyfile=" + dir + "/key", []string{"read the admin key", dir + "/key", "/dev/urandom"}}, // made for the embedded Mesos only
		{"--mesos=mini:3 --mini-ports=31000-31001", []string{"fewer ports than agents"}},
		{"--mesos=mini:1 --haproxy-file=/nonexistent/haproxy.cfg --haproxy-ports=1-1", []string{"no range of two"}},
		{"--mesos=mini:1 --executor-uri=https://repo/cotton.tar.gz", []string{"https://repo/cotton.tar.gz", "give --executor-cmd"}},
		{"--mesos=mini:1 --secret-file=/nonexistent/secret", []string{"principal's secret", "/nonexistent/secret"}},
		{"--mesos=mini:1 --token-file=/nonexistent/tokens", []string{"read the tokens", "/nonexistent/tokens"}},
		{"--mesos=mini:1 --tls-cert=/nonexistent/cert --tls-key=/nonexistent/key", []string{"certificate", "/nonexistent/cert"}},
	} {
		args := append([]string{"scheduler", "--work-dir=" + filepath.Join(dir, "w"), "--listen=127.0.0.1:0"}, strings.Fields(c.args)...)
		stdout, stderr, err := program(t, t.Context(), args...)
		says(t, err, c.says...)
		if strings.Contains(stdout+stderr+err.Error(), "geheim") {
			t.Errorf("%s: a secret is shown: %s%s%v", c.args, stdout, stderr, err)
		}
	}
}

// --print-config shows where ZooKeeper is, and not the password for it.
func TestPrintConfigHidesCredentials(t *testing.T) {
	t.Setenv("COTTON_STORE", "zk://u:ge/heim@zk1:2181/cotton")
	stdout, _, err := program(t, t.Context(), "scheduler", "--print-config", "--mesos=zk://u:geheim@zk1:2181,zk2:2181/mesos", "--discovery=zk://u:geheim@zk3/d")
	if strings.Contains(stdout, "geheim") || strings.Contains(stdout, "heim@") || !strings.Contains(stdout, "mesos: zk://***@zk1:2181,zk2:2181/mesos") {
		t.Errorf("%v\n%s", err, stdout)
	}
}

// ZooKeeper that does not answer at the start is an error that names it, and nothing was started.
func TestZooKeeperDownAtStart(t *testing.T) {
	dir := t.TempDir()
	for _, flag := range []string{"--store", "--discovery"} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, _, err := program(t, ctx, "scheduler", "--mesos=mini:1", "--work-dir="+dir, "--listen=127.0.0.1:0", flag+"=zk://127.0.0.1:1/cotton")
		cancel()
		says(t, err, "zk://127.0.0.1:1/cotton", "check that ZooKeeper runs there")
		if _, err := os.Stat(filepath.Join(dir, "mesos")); err == nil {
			t.Error("the embedded Mesos was started")
		}
	}
}

// A store of a newer cotton is left alone.
func TestStoreOfANewerVersion(t *testing.T) {
	dir := t.TempDir()
	clusters := filepath.Join(dir, "store", "clusters")
	if err := os.MkdirAll(clusters, 0o700); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(clusters, "c0.json")
	text := `{"version":1,"value":{"schema":99,"spec":{"name":"c0"}}}`
	if err := os.WriteFile(record, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _, err := program(t, ctx, "scheduler", "--mesos=mini:1", "--work-dir="+dir, "--listen=127.0.0.1:0")
	says(t, err, "c0", "newer cotton")
	if now, err := os.ReadFile(record); err != nil || string(now) != text {
		t.Errorf("the record was changed: %s, %v", now, err)
	}
}

// An admin key is made once, for its owner only, and never replaced.
func TestMakeKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := makeKey(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() < 40 {
		t.Errorf("%v, %v", info, err)
	}
	before, _ := os.ReadFile(path)
	if err := makeKey(path); err == nil {
		t.Error("a key was replaced: every password of every cluster hangs on it")
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the key changed")
	}
}

func TestMiniAgents(t *testing.T) {
	for i, want := range map[int]string{0: "a", 2: "c", 25: "z", 26: "a1", 63: "l2"} {
		if got := rackName(i); got != want {
			t.Errorf("rack %d is %s, want %s", i, got, want)
		}
	}
	if n, ok, err := miniAgents("mini:3"); n != 3 || !ok || err != nil {
		t.Error(n, ok, err)
	}
	if _, ok, _ := miniAgents("http://h:5050"); ok {
		t.Error("a real master was taken for the embedded one")
	}
}

func TestExecutorByHand(t *testing.T) {
	t.Setenv("MESOS_FRAMEWORK_ID", "")
	_, _, err := program(t, t.Context(), "executor")
	says(t, err, "started by a Mesos agent")
}

func TestTokenCommand(t *testing.T) {
	token, line, err := program(t, t.Context(), "token", "write", "ci")
	if err != nil || len(strings.TrimSpace(token)) != 43 || !strings.HasPrefix(line, "write ") || !strings.HasSuffix(line, " ci\n") || strings.Contains(line, strings.TrimSpace(token)) {
		t.Errorf("%q %q %v", token, line, err)
	}
	_, _, err = program(t, t.Context(), "token", "admin", "ci")
	says(t, err, "neither read nor write")
}

func TestCommandsRefuse(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"create", "accepts 1 arg"},
		{"create c0 --nodes=0", "--nodes 0"},
		{"create c0 --size=1/2", "--size"},
		{"create c0 --label=tier", "--label"},
		{"create c0 --label=a=1 --label=a=2", "each name once"},
		{"create c0 --scalar=ssd=many", "--scalar"},
		{"create c0 --password-file=/nonexistent/pw", "/nonexistent/pw"},
		{"delete c0", "--password-file is needed"},
		{"list -o yaml", "table or json"},
		{"list --api=localhost", "http://host:port"},
		{"list --api=http://127.0.0.1:1", "is its scheduler running"},
		{"nonsense", "unknown command"},
	} {
		_, _, err := program(t, t.Context(), strings.Fields(c.args)...)
		says(t, err, c.says)
	}
}
