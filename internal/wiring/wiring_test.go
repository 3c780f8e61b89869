package wiring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
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

func TestPasswordFile(t *testing.T) {
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{{"s3cret\n", 0o600, "s3cret"}, {"s3cret", 0o640, "s3cret"}, {" spaces kept \r\n", 0o400, " spaces kept "}} {
		if got, err := readPassword(write(t, "password", c.text, c.mode)); err != nil || got != c.want {
			t.Errorf("%q: %q, %v", c.text, got, err)
		}
	}
	if got, err := readPassword(""); err != nil || got != "" {
		t.Errorf("no file: %q, %v", got, err)
	}
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"s3cret", 0o644, "is open to every account of this machine (mode 0644): chmod o="},
		{"s3cret", 0o602, "mode 0602"},
		{"\n", 0o600, "is empty"},
		{"s3cret\nmore\n", 0o600, "more than one line"},
	} {
		path := write(t, "password", c.text, c.mode)
		_, err := readPassword(path)
		says(t, err, path, c.want)
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
	_, err := readPassword("/nonexistent/password")
	says(t, err, "/nonexistent/password")
}

func TestMasks(t *testing.T) {
	for in, want := range map[string]string{
		"aosc:hunter2@tcp(db:3306)/aoscdb?tls=preferred": "aosc:***@tcp(db:3306)/aoscdb?tls=preferred",
		"aosc@tcp(db:3306)/aoscdb":                       "aosc@tcp(db:3306)/aoscdb",
		"aosc:hunt@er:2/@tcp(db:3306)/aoscdb":            "aosc:***@tcp(db:3306)/aoscdb",
		"aosc:hunter2@db:3306":                           "***",
	} {
		if got := maskDSN(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"/srv/schemas":                           "/srv/schemas",
		"git@example.com:team/schemas.git":       "git@example.com:team/schemas.git",
		"ssh://git@example.com/schemas.git":      "ssh://git@example.com/schemas.git",
		"https://example.com/schemas.git":        "https://example.com/schemas.git",
		"https://u:hunter2@example.com/s.git":    "https://u:***@example.com/s.git",
		"https://hunter2token@example.com/s.git": "https://***@example.com/s.git",
	} {
		if got := maskURL(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}

// execute runs a daemon that has the keys of this package.
func execute(t *testing.T, ctx context.Context, run func(context.Context, *daemon.Env) error, args ...string) (stdout, log string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = daemon.Execute(ctx, daemon.Spec{Name: "demo", Keys: append(Keys(), InstanceKeys()...), Run: run},
		append(args, "--listen=off"), &out, &errs)
	return out.String(), errs.String(), err
}

func TestKeysAreChecked(t *testing.T) {
	never := func(context.Context, *daemon.Env) error { t.Error("it ran"); return nil }
	_, _, err := execute(t, t.Context(), never)
	says(t, err, "aoscdb-dsn (from default): is needed: --aoscdb-dsn, $AOSC_AOSCDB_DSN or the file", "schemas-repo", "inventory")
	_, _, err = execute(t, t.Context(), never, "--aoscdb-dsn=aosc:hunter2@tcp(db:3306)/", "--mysql-tls=always", "--fanout=0",
		"--connect-timeout=1ms", "--instance=db7", "--mysql-password-file="+write(t, "password", "hunter2", 0o666))
	says(t, err, "names no database", "mysql-tls", `"always"`, "fanout", "connect-timeout", `"db7" is not an instance`, "mode 0666")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret is in the error: %v", err)
	}
	out, _, err := execute(t, t.Context(), never, "--print-config", "--aoscdb-dsn=aosc:hunter2@tcp(db:3306)/aoscdb",
		"--schemas-repo=https://hunter2@example.com/s.git", "--inventory=/etc/aosc/inventory.yaml")
	if err != nil || strings.Contains(out, "hunter2") || !strings.Contains(out, "aosc:***@tcp(db:3306)/aoscdb") {
		t.Errorf("%v\n%s", err, out)
	}
}

type tierList struct {
	tiers []fleet.Tier
	err   error
}

func (l tierList) Tiers(context.Context) ([]fleet.Tier, error) { return l.tiers, l.err }

func TestServed(t *testing.T) {
	cluster := func(tier, name string, addrs ...string) fleet.Cluster {
		c := fleet.Cluster{Tier: tier, Name: name}
		for _, a := range addrs {
			i := fleet.Instance{Tier: tier, Cluster: name}
			if _, err := fmt.Sscanf(a, "%s %d", &i.Host, &i.Port); err != nil {
				t.Fatal(err)
			}
			c.Instances = append(c.Instances, i)
		}
		return c
	}
	inv := tierList{tiers: []fleet.Tier{
		{Name: "udb", Clusters: []fleet.Cluster{cluster("udb", "udb-1", "db1 3306", "db2 3306"), cluster("udb", "udb-2", "db1 3307")}},
		{Name: "web", Clusters: []fleet.Cluster{cluster("web", "web-1", "db1 3308", "db3 3306")}},
	}}
	cases := map[string]struct {
		tier, host string
		instance   []string
		want       string
		err        []string
	}{
		"none given":            {want: "db1:3306 db2:3306 db1:3307 db1:3308 db3:3306"},
		"a tier":                {tier: "web", want: "db1:3308 db3:3306"},
		"a host":                {host: "db1", want: "db1:3306 db1:3307 db1:3308"},
		"a host of a tier":      {tier: "udb", host: "db1", want: "db1:3306 db1:3307"},
		"instances":             {instance: []string{"db3:3306", "db1:3307", "db3:3306"}, want: "db3:3306 db1:3307"},
		"an instance of a host": {host: "db1", instance: []string{"db1:3308"}, want: "db1:3308"},
		"unknown tier":          {tier: "wbe", err: []string{`"wbe"`, "udb, web"}},
		"unknown host":          {host: "db9", err: []string{`"db9"`, "db1, db2, db3"}},
		"host of another tier":  {tier: "udb", host: "db3", err: []string{`"db3"`, `of tier "udb"`, "db1, db2"}},
		"unknown instance":      {instance: []string{"db1:3309"}, err: []string{"db1:3309", "db1:3306, db2:3306"}},
		"not an instance":       {instance: []string{"db1"}, err: []string{`"db1"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := viper.New()
			v.Set("tier", c.tier)
			v.Set("host", c.host)
			v.Set("instance", c.instance)
			served, err := Served(t.Context(), inv, v)
			if c.err != nil {
				says(t, err, c.err...)
				return
			}
			var got []string
			for _, i := range served {
				got = append(got, i.String())
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%v, %v; want %s", got, err, c.want)
			}
		})
	}
	if _, err := Served(t.Context(), tierList{err: errors.New("line 7")}, viper.New()); err == nil {
		t.Error("I11: an inventory that cannot be read counts as empty")
	}
}

const inventory = `
tiers:
  udb:
    databases: "dbid%"
    clusters:
      - name: udb-1
        instances:
          - {host: 127.0.0.1, port: 13306}
`

func config(t *testing.T, dsn string) []string {
	repo := testkit.Repo(t)
	repo.Commit(map[string]string{"schemas/udb/tabla1.sql": "CREATE TABLE tabla1 (id int PRIMARY KEY);\n"}, "first")
	return []string{"--aoscdb-dsn=" + dsn, "--schemas-repo=" + repo.Dir, "--inventory=" + write(t, "inventory.yaml", inventory, 0o644)}
}

func TestOpen(t *testing.T) {
	store := aoscdbkit.AOSCDB(t)
	args := config(t, testkit.Server(t).DSN(store.Database()))
	_, log, err := execute(t, t.Context(), func(ctx context.Context, env *daemon.Env) error {
		parts, err := Open(ctx, env)
		if err != nil {
			return err
		}
		defer parts.Close()
		if _, err := parts.Store.Tiers(ctx); err != nil {
			return err
		}
		head, err := parts.Repo.Head(ctx)
		if err != nil {
			return err
		}
		snap, err := parts.Repo.Snapshot(ctx, head)
		if err != nil {
			return err
		}
		if _, ok := snap.Table("udb", "tabla1"); !ok {
			t.Error("the committed table is not there")
		}
		served, err := Served(ctx, parts.Inventory, env.Config)
		if err != nil || len(served) != 1 {
			t.Errorf("served %v, %v", served, err)
		}
		return nil
	}, args...)
	if err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestOpenRefusals(t *testing.T) {
	open := func(ctx context.Context, env *daemon.Env) error {
		parts, err := Open(ctx, env)
		if err == nil {
			_ = parts.Close()
			t.Error("it opened")
		}
		return err
	}
	server := testkit.Server(t)
	store := aoscdbkit.AOSCDB(t)
	good := config(t, server.DSN(store.Database()))
	empty := server.DSN(testkit.Database(t, server))
	_, _, err := execute(t, t.Context(), open, append(good, "--aoscdb-dsn="+empty)...)
	says(t, err, "aosc init")
	_, _, err = execute(t, t.Context(), open, append(good, "--schemas-repo=/nonexistent/schemas")...)
	says(t, err, "/nonexistent/schemas")
	_, _, err = execute(t, t.Context(), open, append(good, "--inventory=/nonexistent/inventory.yaml")...)
	says(t, err, "/nonexistent/inventory.yaml")
	_, _, err = execute(t, t.Context(), open, append(good, "--once", "--aoscdb-dsn=root@tcp(127.0.0.1:1)/aoscdb")...)
	says(t, err, "127.0.0.1:1")
}

// A daemon that starts before aoscdb waits for it, and says so in /readyz and once in the log.
func TestOpenWaitsForTheDatabase(t *testing.T) {
	server := testkit.FreshServer(t, nil)
	store, err := aoscdb.Open(server.DSN("aoscdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	opened := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := config(t, server.DSN("aoscdb"))
	var log string
	go func() {
		var err error
		_, log, err = execute(t, ctx, func(ctx context.Context, env *daemon.Env) error {
			close(waiting)
			parts, err := Open(ctx, env)
			if err == nil {
				err = parts.Close()
			}
			return err
		}, args...)
		opened <- err
	}()
	<-waiting
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	if n := strings.Count(log, "aoscdb does not answer"); n != 1 {
		t.Errorf("%d lines about it, want one\n%s", n, log)
	}
}

func TestSettings(t *testing.T) {
	tier := aoscdb.NewTier("udb")
	if s := Settings(tier, false); s.Ordering != "primary" || s.CopyEngine != "keyed" || s.DirectMaxRows != 5000 ||
		s.DirectMaxBytes != 32<<20 || !s.CreateMissing || s.AllowUnsafe || s.NoBinlog {
		t.Errorf("%+v", s)
	}
	tier.Ordering = aoscdb.OrderingRolling
	if s := Settings(tier, true); !s.AllowUnsafe || !s.NoBinlog {
		t.Errorf("%+v", s)
	}
}

func TestWaker(t *testing.T) {
	store := aoscdbkit.AOSCDB(t)
	wake := Waker(store, aoscdb.DaemonBrain)
	asked := func(want bool) {
		t.Helper()
		if got, err := wake(t.Context()); err != nil || got != want {
			t.Fatalf("woken %v, %v; want %v", got, err, want)
		}
	}
	request := func(daemon, scope string) {
		t.Helper()
		if err := store.Wake(t.Context(), daemon, scope, false); err != nil {
			t.Fatal(err)
		}
	}
	asked(false)
	request(aoscdb.DaemonScheduler, "")
	asked(false)
	request(aoscdb.DaemonBrain, "")
	asked(true)
	asked(false)
	request(aoscdb.DaemonBrain, "a")
	request(aoscdb.DaemonBrain, "b")
	asked(true)
	asked(false)
	for range 3 { // however quick, each is seen
		request(aoscdb.DaemonBrain, "")
		asked(true)
	}
}

// The inventory's name says of what kind it is, and each kind says what is wrong with its own.
func TestOpenInventory(t *testing.T) {
	file := write(t, "inventory.yaml", "tiers: {udb: {databases: 'dbid%', clusters: [{name: c0, instances: [{host: h, port: 1}]}]}}\n", 0o600)
	if inv, err := OpenInventory(file); err != nil {
		t.Error(err)
	} else if _, err := fleet.FindTier(t.Context(), inv, "udb"); err != nil {
		t.Error(err)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"clusters":[{"name":"c0","labels":{"tier":"udb"},"instances":[{"host":"h","port":1,"phase":"running"}]}]}`)
	}))
	inv, err := OpenInventory("cotton+" + api.URL)
	if err != nil {
		t.Fatal(err)
	}
	if tier, err := fleet.FindTier(t.Context(), inv, "udb"); err != nil || len(tier.Instances()) != 1 {
		t.Errorf("%+v, %v", tier, err)
	}
	api.Close()
	// One that is down when a daemon starts is waited for, as aoscdb is; until then it is unknown (I11).
	if inv, err = OpenInventory("cotton+" + api.URL); err != nil {
		t.Error(err)
	} else {
		_, err = inv.Tiers(t.Context())
		says(t, err, "cotton+"+api.URL)
	}
	_, err = OpenInventory("cotton+http://127.0.0.1:5055/x")
	says(t, err, "cotton scheduler")
	_, err = OpenInventory("/nonexistent/inventory.yaml")
	says(t, err, "/nonexistent/inventory.yaml")
}
