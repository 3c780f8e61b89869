package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/fleet/cottonapi"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit/site"
)

// A cluster that cotton launched with sidecars is covered by the pipeline without further set-up: brain, collector and
// scheduler know it by its label, and the only checksum and oscworker there are run beside its instances. They open no
// port, and go with the cluster.
func TestSidecars(t *testing.T) {
	p := newPlace(t, func(tier *aoscdb.Tier) { tier.StatusStore = aoscdb.StoreCentral })
	cotton := site.NewCotton(t, 2, 5)
	var file strings.Builder // as an operator would write it
	for key, value := range map[string]string{
		"aoscdb-dsn": p.DSN(), "schemas-repo": p.Repo.Dir, "inventory": cotton.Inventory(), "mysql-user": "aosc",
		"mysql-password-file": cotton.PasswordFile, "mysql-tls": "required",
	} {
		fmt.Fprintf(&file, "%s: %q\n", key, value)
	}
	config := filepath.Join(cotton.Dir, "aosc.yaml")
	p.Do(os.WriteFile(config, []byte(file.String()), 0o600))
	// Over what a site has for its own programs.
	p.Account = []string{"AOSC_INVENTORY=" + cotton.Inventory(), "AOSC_MYSQL_USER=aosc", "AOSC_MYSQL_PASSWORD_FILE=" + cotton.PasswordFile, "AOSC_MYSQL_TLS=required"}
	p.Commit("tabla1", site.Plain)
	cotton.Start("--executor-env=AOSC_CONFIG=" + config)
	c := cotton.Create("c0", v1.Create{User: "aosc", Password: cotton.Password, Nodes: 2, Size: &v1.Size{Name: "small"}, Sidecars: true,
		Labels: map[string]string{cottonapi.TierLabel: "udb"}})

	account := mysql.Credentials{User: "aosc", Password: cotton.Password, TLS: "required",
		Authority: func(mysql.Addr) (mysql.Authority, error) { return mysql.Authority{PEM: []byte(c.Endpoints.CA)}, nil }}
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
			if n := sidecars(name, i); n != 1 {
				t.Errorf("%d processes of %s run beside %s, want 1", n, name, i.Name)
			}
		}
	}
	for _, text := range cotton.Outputs() {
		if strings.Contains(text, "serving /healthz") {
			t.Errorf("a sidecar listens on a port: %s", text)
		}
	}
	cotton.Delete(c.Name)
	p.Eventually(site.Patience, "the sidecars go with the cluster", func() bool {
		return sidecars("checksum", c.Instances...)+sidecars("oscworker", c.Instances...) == 0
	})
}

// sidecars counts the processes of a program that serve one of the instances.
func sidecars(program string, instances ...v1.Instance) (n int) {
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
