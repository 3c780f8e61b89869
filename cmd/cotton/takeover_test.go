package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	zklib "github.com/go-zookeeper/zk"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/process"
	"github.com/aosc/aosc/internal/testkit"
)

// Two schedulers with one store in ZooKeeper: one leads, the other stands by; when the leader is killed with -9 the other
// takes over as the same framework, and no instance is launched anew (I8, I9). The original's clients find the cluster in
// ZooKeeper all the time.
func TestTakeOver(t *testing.T) {
	dir, err := os.MkdirTemp("", "aosc-cotton-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the last of all
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	zk := testkit.ZooKeeper(t, 1)
	m, err := mini.Start(t.Context(), mini.Config{Dir: filepath.Join(dir, "mesos"), AllocationInterval: 100 * time.Millisecond,
		Agents: []mini.AgentConfig{{Name: "a", CPUs: 4, MemMB: 4096, DiskMB: 8192, Ports: "26300-26399"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.StopAll(context.Background()); err != nil {
			t.Error(err)
		}
	})
	keyfile := filepath.Join(dir, "key")
	if err := makeKey(keyfile); err != nil {
		t.Fatal(err)
	}
	args := []string{"--mesos=" + m.URL(), "--store=zk://" + zk.Connect() + "/cotton", "--zk-session=2s", "--admin-keyfile=" + keyfile, "--work-dir=" + dir}
	first, firstURL := schedulerProcess(t, dir, "first", args)
	c, err := client.New(client.Config{URLs: []string{firstURL}, WorkDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	framework := awaitReady(t, c)
	_, secondURL := schedulerProcess(t, dir, "second", args)
	both, err := client.New(client.Config{URLs: []string{secondURL, firstURL}, WorkDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	created, err := both.Create(ctx, "c0", v1.Create{User: "app", Size: &v1.Size{Name: "small"}})
	if err != nil || created.ClusterURL != "zk://"+zk.Connect()+"/cotton/discover/c0" {
		t.Fatalf("%+v, %v", created, err)
	}
	before, err := both.WaitRunning(ctx, "c0")
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := zklib.Connect(zk.Addrs(), 10*time.Second, zklib.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	published := func() string {
		data, _, err := conn.Get("/cotton/discover/c0/master/member_0000000001")
		if err != nil {
			t.Errorf("the master in ZooKeeper: %v", err)
		}
		return string(data)
	}
	want, err := discovery.EncodeServerSet(discovery.Endpoint{ID: 1, Host: before.Endpoints.Primary.Host, Port: before.Endpoints.Primary.Port})
	if err != nil {
		t.Fatal(err)
	}
	if got := published(); got != string(want) {
		t.Errorf("published %s, want %s", got, want)
	}

	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second, err := client.New(client.Config{URLs: []string{secondURL}, WorkDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if again := awaitReady(t, second); again != framework {
		t.Errorf("the framework is %s after the takeover, it was %s", again, framework)
	}
	after, err := second.WaitRunning(ctx, "c0")
	if err != nil {
		t.Fatal(err)
	}
	if was, is := before.Instances[0], after.Instances[0]; is.TaskID != was.TaskID || is.Launches != 1 || is.ServerUUID != was.ServerUUID || is.Port != was.Port {
		t.Errorf("the instance is %+v after the takeover, it was %+v", is, was)
	}
	if got := published(); got != string(want) {
		t.Errorf("published %s after the takeover, want %s", got, want)
	}
	if err := second.Delete(ctx, "c0", created.Password); err != nil {
		t.Fatal(err)
	}
	if err := second.WaitGone(ctx, "c0"); err != nil {
		t.Error(err)
	}
	if exists, _, err := conn.Exists("/cotton/discover/c0"); err != nil || exists {
		t.Errorf("what was published of the deleted cluster is there: %v, %v", exists, err)
	}
}

// schedulerProcess starts a scheduler as a process of its own.
func schedulerProcess(t *testing.T, dir, name string, args []string) (p *process.Process, url string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := mysqld.Tools()
	if err != nil {
		t.Fatal(err)
	}
	port, err := loopback.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"scheduler", fmt.Sprintf("--listen=127.0.0.1:%d", port.Number), "--executor-env=COTTON_TEST_PROGRAM=1,AOSC_TOOLS=" + tools}, args...)
	cmd := exec.Command(self, args...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "COTTON_TEST_PROGRAM=1"), log
	if p, err = process.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.Ended() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := p.Stop(ctx); err != nil {
				t.Errorf("the %s scheduler: %v", name, err)
			}
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the %s scheduler says:\n%s", name, text)
		}
		if err := port.Release(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, fmt.Sprintf("http://127.0.0.1:%d", port.Number)
}

// awaitReady waits until a scheduler takes requests, and returns its framework id.
func awaitReady(t *testing.T, c *client.Client) (framework string) {
	t.Helper()
	testkit.Eventually(t, patience, "a scheduler is ready", func() bool {
		h, err := c.Health(t.Context())
		framework = h.FrameworkID
		return err == nil && h.Ready && strings.TrimSpace(framework) != ""
	})
	return framework
}
