package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/fleet/cottonapi"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// A cluster that cotton launched with sidecars is covered by the pipeline without further set-up: brain, collector and
// scheduler know it by its label, and the only checksum and oscworker there are run beside its instances. They open no
// port, and go with the cluster.
func TestSidecars(t *testing.T) {
	p := newPlace(t, func(tier *aoscdb.Tier) { tier.StatusStore = aoscdb.StoreCentral })
	room := p.cotton(2)
	settings := map[string]string{
		"aoscdb-dsn": p.DSN(), "schemas-repo": p.Repo.Dir, "inventory": room.inventory, "mysql-user": "aosc",
		"mysql-password-file": room.passwordFile, "mysql-tls": "skip-verify",
	}
	for key, value := range settings {
		p.Account = append(p.Account, "AOSC_"+strings.ToUpper(strings.ReplaceAll(key, "-", "_"))+"="+value)
	}
	p.Commit("tabla1", site.Plain)
	room.start(settings)
	c := room.create(v1.Create{User: "aosc", Password: room.password, Nodes: 2, Size: &v1.Size{Name: "small"}, Sidecars: true,
		Labels: map[string]string{cottonapi.TierLabel: "udb"}})

	account := mysql.Credentials{User: "aosc", Password: room.password, TLS: "skip-verify"}
	pool := mysql.NewPool(account, mysql.Options{})
	defer pool.Close()
	primary, err := pool.DB(mysql.Addr{Host: c.Endpoints.Primary.Host, Port: c.Endpoints.Primary.Port})
	p.Do(err)
	for _, statement := range []string{"CREATE DATABASE dbid1", strings.Replace(site.Plain, "tabla1", "dbid1.tabla1", 1)} {
		_, err := primary.ExecContext(t.Context(), statement)
		p.Do(err)
	}
	for _, name := range []string{"brain", "collector", "scheduler"} {
		p.Daemon(name, "")
	}
	f := p.Alter("tabla1", site.Column)
	if f.Targets != 2 {
		t.Errorf("finished with %d targets, want both instances: %+v", f.Targets, f)
	}
	for _, i := range c.Instances {
		db, err := pool.DB(mysql.Addr{Host: i.Host, Port: i.Port})
		p.Do(err)
		text, err := schema.ShowCreate(t.Context(), db, "dbid1", "tabla1")
		if err != nil || !strings.Contains(text, "`extra` int") {
			t.Errorf("%s has %s, %v (I4)", i.Name, text, err)
		}
		for _, name := range []string{"checksum", "oscworker"} {
			if n := room.sidecars(name, i); n != 1 {
				t.Errorf("%d processes of %s run beside %s, want 1", n, name, i.Name)
			}
		}
	}
	for _, text := range room.outputs() {
		if strings.Contains(text, "serving /healthz") {
			t.Errorf("a sidecar listens on a port: %s", text)
		}
	}
	p.Do(room.api.Delete(t.Context(), c.Name, room.password))
	p.Do(room.api.WaitGone(t.Context(), c.Name))
	p.Eventually(site.Patience, "the sidecars go with the cluster", func() bool {
		return room.sidecars("checksum", c.Instances...)+room.sidecars("oscworker", c.Instances...) == 0
	})
}

// room is cotton with an embedded Mesos.
type room struct {
	*place
	agents                            int
	dir, url, inventory               string
	password, passwordFile, portRange string
	api                               *client.Client
}

func (p *place) cotton(agents int) *room {
	p.T.Helper()
	dir, err := os.MkdirTemp("", "aosc-e2e-") // short: sockets
	p.Do(err)
	r := &room{place: p, agents: agents, dir: dir, password: rand.Text(), passwordFile: filepath.Join(dir, "password")}
	ports, err := loopback.ReserveBlock(1 + agents*5)
	p.Do(err)
	p.T.Cleanup(func() { // the last of all
		for _, port := range ports {
			p.Do(port.Release())
		}
		if p.T.Failed() {
			for path, text := range r.outputs() {
				p.T.Logf("%s:\n%s", path, text[max(0, len(text)-3000):])
			}
		}
		p.Do(os.RemoveAll(dir))
	})
	p.Do(os.WriteFile(r.passwordFile, []byte(r.password+"\n"), 0o600))
	r.url = fmt.Sprintf("http://127.0.0.1:%d", ports[0].Number)
	r.inventory = cottonapi.Prefix + r.url + "?databases=dbid%25"
	r.portRange = fmt.Sprintf("%d-%d", ports[1].Number, ports[len(ports)-1].Number)
	r.api, err = client.New(client.Config{URLs: []string{r.url}})
	p.Do(err)
	p.T.Cleanup(r.api.Close)
	return r
}

// start starts the scheduler; the sidecars get their settings by a file, as an operator would.
func (r *room) start(settings map[string]string) {
	r.T.Helper()
	var file strings.Builder
	for key, value := range settings {
		fmt.Fprintf(&file, "%s: %q\n", key, value)
	}
	config := filepath.Join(r.dir, "aosc.yaml")
	r.Do(os.WriteFile(config, []byte(file.String()), 0o600))
	tools, err := mysqld.Tools()
	r.Do(err)
	d := r.Daemon("cotton", "", "scheduler", fmt.Sprintf("--mesos=mini:%d", r.agents), "--mini-stop-tasks", "--work-dir="+filepath.Join(r.dir, "cotton"),
		"--listen="+strings.TrimPrefix(r.url, "http://"), "--mini-ports="+r.portRange, "--executor-env=AOSC_CONFIG="+config, "--executor-env=AOSC_TOOLS="+tools)
	r.T.Cleanup(func() { // before the one that kills: the instances must go, too
		ctx, cancel := context.WithTimeout(context.Background(), site.Patience)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			r.T.Errorf("cotton after SIGTERM: %v", err)
		}
	})
	testkit.Eventually(r.T, site.Patience, "cotton is ready", func() bool {
		h, err := r.api.Health(r.T.Context())
		return err == nil && h.Ready
	})
}

func (r *room) create(ask v1.Create) v1.Cluster {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), 3*time.Minute)
	defer cancel()
	_, err := r.api.Create(ctx, "c0", ask)
	r.Do(err)
	c, err := r.api.WaitRunning(ctx, "c0")
	r.Do(err)
	return c
}

// sidecars counts the processes of a program that serve one of the instances.
func (r *room) sidecars(program string, instances ...v1.Instance) (n int) {
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range found {
		exe, err := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		if err != nil || filepath.Base(exe) != program {
			continue
		}
		env, _ := os.ReadFile(path) // one that is gone serves nobody
		for _, i := range instances {
			if strings.Contains("\x00"+string(env), fmt.Sprintf("\x00AOSC_INSTANCE=%s:%d\x00", i.Host, i.Port)) {
				n++
			}
		}
	}
	return n
}

// outputs are what executors and sidecars have printed, by path.
func (r *room) outputs() map[string]string {
	out := map[string]string{}
	_ = filepath.WalkDir(r.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (d.Name() == "stderr" || d.Name() == "stdout") {
			text, _ := os.ReadFile(path)
			out[path] = string(text)
		}
		return nil
	})
	return out
}
