package site

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/fleet/cottonapi"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/process"
	"github.com/aosc/aosc/internal/testkit"
)

// Cotton is `cotton scheduler` as a process, with an embedded Mesos unless it is told another, and a directory of its own.
type Cotton struct {
	T            testing.TB
	Dir          string
	URL          string // of the API
	API          *client.Client
	Password     string // for the users of clusters, also in PasswordFile
	PasswordFile string
	Process      *process.Process // after Start

	args  []string
	ports []*loopback.Port
}

// NewCotton prepares a scheduler whose embedded Mesos has so many agents, with ports for perAgent instances each. Nothing
// runs before Start; with the test everything ends, and the output is shown when it has failed.
func NewCotton(t testing.TB, agents, perAgent int) *Cotton {
	t.Helper()
	c := newCotton(t, 1+agents*perAgent)
	c.args = append(c.args, fmt.Sprintf("--mesos=mini:%d", agents), "--mini-stop-tasks",
		fmt.Sprintf("--mini-ports=%d-%d", c.ports[1].Number, c.ports[len(c.ports)-1].Number))
	return c
}

// NewCottonOn is NewCotton on a Mesos of the caller's.
func NewCottonOn(t testing.TB, mesos string) *Cotton {
	t.Helper()
	c := newCotton(t, 1)
	c.args = append(c.args, "--mesos="+mesos)
	return c
}

func newCotton(t testing.TB, ports int) *Cotton {
	t.Helper()
	dir, err := os.MkdirTemp("", "aosc-cotton-") // short: sockets
	must(t, err)
	c := &Cotton{T: t, Dir: dir, Password: rand.Text(), PasswordFile: filepath.Join(dir, "password")}
	c.ports, err = loopback.ReserveBlock(ports)
	must(t, err)
	t.Cleanup(func() { // the last of all
		if t.Failed() {
			for path, text := range c.Outputs() {
				t.Logf("%s:\n%s", path, tail(text, 4000))
			}
		}
		for _, p := range c.ports {
			must(t, p.Release())
		}
		must(t, os.RemoveAll(dir))
	})
	must(t, os.WriteFile(c.PasswordFile, []byte(c.Password+"\n"), 0o600))
	c.URL = fmt.Sprintf("http://127.0.0.1:%d", c.ports[0].Number)
	c.API, err = client.New(client.Config{URLs: []string{c.URL}, WorkDir: c.workDir()})
	must(t, err)
	t.Cleanup(c.API.Close)
	tools, err := mysqld.Tools()
	must(t, err)
	c.args = []string{"scheduler", "--work-dir=" + c.workDir(), fmt.Sprintf("--listen=127.0.0.1:%d", c.ports[0].Number),
		"--executor-env=AOSC_TOOLS=" + tools}
	return c
}

func (c *Cotton) workDir() string { return filepath.Join(c.Dir, "cotton") }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts the scheduler, with flags over those it needs, and waits until it takes requests.
func (c *Cotton) Start(flags ...string) {
	c.T.Helper()
	log, err := os.Create(filepath.Join(c.Dir, "stderr"))
	must(c.T, err)
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, "cotton"), append(append([]string{}, c.args...), flags...)...)
	cmd.Stdout, cmd.Stderr = log, log
	c.Process, err = process.Start(cmd)
	must(c.T, err)
	c.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := c.Process.Stop(ctx); err != nil {
			c.T.Errorf("cotton after SIGTERM: %v", err)
		}
	})
	testkit.Eventually(c.T, Patience, "cotton is ready", func() bool {
		h, err := c.API.Health(c.T.Context())
		return err == nil && h.Ready
	})
}

// Inventory is the name under which the pipeline knows the clusters, with databases dbid%.
func (c *Cotton) Inventory() string { return cottonapi.Prefix + c.URL + "?databases=dbid%25" }

// Create creates a cluster and waits until it is whole.
func (c *Cotton) Create(name string, ask v1.Create) v1.Cluster {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), 3*time.Minute)
	defer cancel()
	_, err := c.API.Create(ctx, name, ask)
	must(c.T, err)
	cluster, err := c.API.WaitRunning(ctx, name)
	must(c.T, err)
	return cluster
}

// Delete deletes a cluster and waits until nothing of it is left.
func (c *Cotton) Delete(name string) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), 3*time.Minute)
	defer cancel()
	must(c.T, c.API.Delete(ctx, name, c.Password))
	must(c.T, c.API.WaitGone(ctx, name))
}

// Outputs are what the scheduler, executors and sidecars have printed, by path.
func (c *Cotton) Outputs() map[string]string {
	out := map[string]string{}
	_ = filepath.WalkDir(c.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (d.Name() == "stderr" || d.Name() == "stdout") {
			text, _ := os.ReadFile(path)
			out[path] = string(text)
		}
		return nil
	})
	return out
}
