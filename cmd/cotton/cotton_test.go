package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/fleet/cottonapi"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// TestMain lets the test binary be cotton, for executors.
func TestMain(m *testing.M) {
	if os.Getenv("COTTON_TEST_PROGRAM") != "" {
		main()
		return
	}
	testkit.Main(m)
}

const patience = testkit.Patience

// site is a scheduler with an embedded Mesos and a directory of its own.
type site struct {
	t        *testing.T
	dir, url string
	args     []string
	log      *lockedBuffer
	cancel   context.CancelFunc
	done     chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "aosc-cotton-") // short: sockets
	if err != nil {
		t.Fatal(err)
	}
	port, err := loopback.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir, url: fmt.Sprintf("http://127.0.0.1:%d", port.Number), log: &lockedBuffer{}}
	s.args = []string{"scheduler", "--mesos=mini:3", "--work-dir=" + dir, fmt.Sprintf("--listen=127.0.0.1:%d", port.Number),
		"--haproxy-file=" + filepath.Join(dir, "haproxy.cfg"), "--mini-ports=26000-26299", "--mini-stop-tasks", "--kill-grace=20s",
		"--executor-cmd=exec " + shellQuote(self) + " executor", "--executor-env=COTTON_TEST_PROGRAM=1"}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Log(s.log.String())
		}
		if err := port.Release(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts the scheduler and waits until it takes requests.
func (s *site) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan error, 1)
	go func() { s.done <- run(ctx, s.args, io.Discard, s.log) }()
	testkit.Eventually(s.t, patience, "the scheduler is ready", func() bool {
		response, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// stop stops the scheduler, and everything on its Mesos, in good order.
func (s *site) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.cancel = nil
	if err := <-s.done; err != nil {
		s.t.Errorf("the scheduler ended with %v", err)
	}
}

// do runs a command against the site; it must succeed.
func (s *site) do(args ...string) string {
	s.t.Helper()
	out, _, err := program(s.t, s.t.Context(), append(args, "--api="+s.url, "--work-dir="+s.dir)...)
	if err != nil {
		s.t.Fatalf("cotton %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// post sends a form as curl does, through a socket if one is given.
func (s *site) post(socket, path, form string) (status int, body string) {
	s.t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	response, err := (&http.Client{Transport: transport}).Post(s.url+path, "application/x-www-form-urlencoded", strings.NewReader(form))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (s *site) endpoints(cluster string) (e v1.Endpoints) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.do("endpoints", cluster, "-o", "json")), &e); err != nil {
		s.t.Fatal(err)
	}
	return e
}

// query runs SQL at an endpoint as the cluster's user.
func (s *site) query(e v1.Endpoint, password, sql string) (result string, err error) {
	db, err := mysql.Open(mysql.Addr{Host: e.Host, Port: e.Port}, mysql.Credentials{User: "app", Password: password, TLS: "skip-verify"}, mysql.Options{})
	if err != nil {
		return "", err
	}
	defer db.Close()
	if !strings.HasPrefix(sql, "SELECT") {
		_, err := db.ExecContext(s.t.Context(), sql)
		return "", err
	}
	return result, db.QueryRowContext(s.t.Context(), sql).Scan(&result)
}

// The program as a person meets it: clusters by the original's form and by the command, written to through what is
// published and read from the replicas; the reasons why one is not placed; the pipeline's inventory; a restart that
// brings everything back on its volume and port; the end of a cluster. And in no file a password.
func TestCotton(t *testing.T) {
	s := newSite(t)
	s.start()
	const password = "geheim-0123456789"
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	status, text := s.post("", "/clusters/c0", "cluster_user=app")
	if status != 401 || !strings.Contains(text, "--unix-socket") {
		t.Fatalf("through the port, which all accounts of this machine reach: %d %s", status, text)
	}
	socket, err := v1.Socket(s.dir, strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	status, text = s.post(socket, "/clusters/c0", "cluster_user=app")
	var created map[string]string
	if err := json.Unmarshal([]byte(text), &created); err != nil || status != 200 || created["cluster_url"] != s.url+"/clusters/c0/endpoints" {
		t.Fatalf("%d %s", status, text)
	}
	out := s.do("create", "c1", "--nodes=3", "--size=small", "--label=tier=udb", "--password-file="+passwordFile, "--wait")
	if !strings.Contains(out, "primary  ") || strings.Count(out, "replica  ") != 2 || strings.Contains(out, password) {
		t.Errorf("create says:\n%s", out)
	}

	e := s.endpoints("c1")
	for _, sql := range []string{"CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)", "INSERT INTO shop.t VALUES (42)"} {
		if _, err := s.query(*e.Primary, password, sql); err != nil {
			t.Fatalf("%s on the primary: %v", sql, err)
		}
	}
	for _, r := range e.Replicas {
		testkit.Eventually(t, patience, "the row is on the replica", func() bool {
			got, err := s.query(r, password, "SELECT id FROM shop.t")
			return err == nil && got == "42"
		})
		if _, err := s.query(r, password, "INSERT INTO shop.t VALUES (43)"); !mysql.IsReadOnly(err) {
			t.Errorf("a replica took a write (I2): %v", err)
		}
	}

	inv, err := cottonapi.Open("cotton+" + s.url + "?databases=shop")
	if err != nil {
		t.Fatal(err)
	}
	tier, err := fleet.FindTier(t.Context(), inv, "udb")
	if err != nil {
		t.Fatal(err)
	}
	racks := map[string]bool{}
	for _, i := range tier.Instances() {
		racks[i.Rack] = true
	}
	if len(tier.Instances()) != 3 || len(racks) != 3 || tier.Databases != "shop" {
		t.Errorf("as a tier: %+v", tier)
	}

	s.do("create", "c9", "--size=100/1gb/1gb", "--password-file="+passwordFile)
	testkit.Eventually(t, patience, "the reasons of all three agents", func() bool {
		why := s.do("why", "c9")
		return strings.Count(why, "cpus: 100 wanted") == 3 && strings.Contains(why, "c9-1 want a place")
	})
	if list := s.do("list"); !strings.Contains(list, "tier=udb") || !strings.Contains(list, "c9-1 waits for an offer") {
		t.Errorf("list:\n%s", list)
	}
	if show := s.do("show", "c1"); strings.Count(show, "running  replica  false") != 2 || strings.Count(show, "running  primary  true") != 1 {
		t.Errorf("show:\n%s", show)
	}

	_, _, err = program(t, t.Context(), "create", "c1", "--api="+s.url, "--work-dir="+s.dir)
	says(t, err, "Cluster 'c1' already exists", "409")
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = program(t, t.Context(), "delete", "c1", "--password-file="+wrong, "--api="+s.url, "--work-dir="+s.dir)
	says(t, err, "No permission to kill cluster c1", "403")

	e = s.operations(e)
	s.do("delete", "c9", "--password-file="+passwordFile, "--wait")
	s.stop()
	s.noSecrets(password, created["cluster_password"])
	s.start()
	testkit.Eventually(t, patience, "the cluster is whole again", func() bool {
		return strings.Contains(s.do("list"), "c1") && len(s.endpoints("c1").Replicas) == 2 && s.endpoints("c1").Primary != nil
	})
	// Whoever of them is back first is the primary: all of them have everything.
	again := s.endpoints("c1")
	if !slices.Contains(append(e.Replicas, *e.Primary), *again.Primary) {
		t.Errorf("the primary is %+v after the restart, the instances were %+v and %+v", again.Primary, e.Primary, e.Replicas)
	}
	e = again
	if got, err := s.query(*e.Primary, password, "SELECT id FROM shop.t"); err != nil || got != "42" {
		t.Errorf("its data: %q, %v (I1)", got, err)
	}
	if text, err := os.ReadFile(filepath.Join(s.dir, "haproxy.cfg")); err != nil || !strings.Contains(string(text), fmt.Sprintf(":%d check", e.Primary.Port)) {
		t.Errorf("HAProxy's file: %s, %v", text, err)
	}
	if out := s.do("delete", "c1", "--password-file="+passwordFile, "--wait"); out != "cluster c1 is gone\n" {
		t.Errorf("delete says %q", out)
	}
	if _, err := s.query(*e.Primary, password, "SELECT 1"); !mysql.IsConnection(err) {
		t.Errorf("the deleted cluster still answers: %v", err)
	}
}

// operations as a person asks for them: a switchover with its progress and its log, refusals with their reason, a dry run, a
// restart of one instance. It returns the endpoints afterwards.
func (s *site) operations(before v1.Endpoints) v1.Endpoints {
	s.t.Helper()
	refused := func(want string, args ...string) {
		s.t.Helper()
		_, _, err := program(s.t, s.t.Context(), append(args, "--api="+s.url, "--work-dir="+s.dir)...)
		says(s.t, err, want, "409")
	}
	to := fmt.Sprintf("c1-%d", before.Replicas[0].ID)
	refused("no agent has room", "replace", "c1", "--member="+to)
	refused("needs 3 nodes", "scale", "c1", "2")
	refused("nothing is under way", "cancel", "c1")
	refused("is the primary already", "switchover", "c1", fmt.Sprintf("--to=%d", before.Primary.ID))
	if out := s.do("switchover", "c1", "--to="+to, "--dry-run"); !strings.Contains(out, "switchover to "+to+" would be done") {
		s.t.Errorf("a dry run says:\n%s", out)
	}
	if out := s.do("switchover", "c1", "--to="+to, "--why=a test"); !strings.Contains(out, "demote") || !strings.Contains(out, "done: "+to+" is open for writes") {
		s.t.Errorf("switchover says:\n%s", out)
	}
	e := s.endpoints("c1")
	if e.Primary == nil || e.Primary.ID != before.Replicas[0].ID {
		s.t.Fatalf("after the switchover: %+v", e)
	}
	var out string
	testkit.Eventually(s.t, patience, "an instance is restarted", func() bool { // refused until all are in step again
		var err error
		out, _, err = program(s.t, s.t.Context(), "restart", "c1", fmt.Sprintf("--member=%d", before.Primary.ID), "--api="+s.url,
			"--work-dir="+s.dir)
		return err == nil
	})
	if !strings.Contains(out, fmt.Sprintf("stop task: c1-%d", before.Primary.ID)) || !strings.Contains(out, "end operation") {
		s.t.Errorf("restart says:\n%s", out)
	}
	log := s.do("log", "c1")
	for _, want := range []string{fmt.Sprintf("switchover c1-%d -> %s, done in", before.Primary.ID, to), "promote", "restart c1-", "done after"} {
		if !strings.Contains(log, want) {
			s.t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	if show := s.do("show", "c1"); !strings.Contains(show, "last change of primary: ") {
		s.t.Errorf("show:\n%s", show)
	}
	if out := s.do("agents"); !strings.Contains(out, "no agent is being drained") {
		s.t.Errorf("agents: %s", out)
	}
	testkit.Eventually(s.t, patience, "all serve again", func() bool { e = s.endpoints("c1"); return e.Primary != nil && len(e.Replicas) == 2 })
	return e
}

// noSecrets looks for passwords and the admin key in everything that cotton, Mesos and MySQL have written, task data,
// labels and logs among it.
func (s *site) noSecrets(passwords ...string) {
	s.t.Helper()
	keyfile := filepath.Join(s.dir, "admin.key")
	key, err := os.ReadFile(keyfile)
	if err != nil {
		s.t.Fatal(err)
	}
	secrets := append(passwords, strings.TrimSpace(string(key)))
	read := 0
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == keyfile {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				s.t.Errorf("%s holds a secret", path)
			}
		}
		return nil
	})
	if err != nil || read < 10 {
		s.t.Errorf("looked at %d files: %v", read, err)
	}
	for _, secret := range secrets {
		if strings.Contains(s.log.String(), secret) {
			s.t.Error("the log holds a secret")
		}
	}
}

// TestMysqldElsewhere: agents whose mysqld is in none of the places that executors look at: the instance says where it looked and which
// option of the scheduler names the place; with it the cluster starts.
func TestMysqldElsewhere(t *testing.T) {
	in, err := mysqld.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/usr/sbin/mysqld"); err == nil {
		t.Skip("this machine has a mysqld where executors look")
	}
	s := newSite(t)
	nothing, elsewhere := filepath.Join(s.dir, "nothing"), filepath.Join(s.dir, "elsewhere")
	for _, dir := range []string{nothing, elsewhere} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	asked := s.args
	s.args = append(asked, "--executor-env=AOSC_TOOLS="+nothing)
	s.start()
	s.do("create", "c1", "--size=small")
	testkit.Eventually(t, patience, "the instance says what to do", func() bool {
		show := s.do("show", "c1")
		return strings.Contains(show, "no usable mysqld") && strings.Contains(show, "--executor-env COTTON_MYSQLD=") &&
			strings.Contains(show, "on PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)")
	})
	s.stop()

	// It leaves a mark when it serves, and is of the build whose template is there.
	program, mark := filepath.Join(elsewhere, "mysqld"), filepath.Join(elsewhere, "served")
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in --defaults-file=*) echo >>%s;; esac\nexec %s \"$@\"\n", shellQuote(mark),
		shellQuote(in.Mysqld))
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.args = append(asked, "--executor-env=AOSC_TOOLS="+in.Tools, "--executor-env=COTTON_MYSQLD="+program)
	s.start()
	testkit.Eventually(t, 2*patience, "it starts", func() bool { return s.endpoints("c1").Primary != nil })
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("another mysqld was started: %v", err)
	}
}
