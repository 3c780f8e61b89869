package checksum_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/checksum"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/status"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv("CHECKSUM_TEST_DSN") != "" {
		if err := onePass(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testkit.Main(m)
}

// onePass is a checksum in a process of its own, to be killed at a fault point.
func onePass(ctx context.Context) error {
	store, err := aoscdb.Open(os.Getenv("CHECKSUM_TEST_DSN"))
	if err != nil {
		return err
	}
	repo, err := schema.OpenRepo(ctx, schema.RepoConfig{URL: os.Getenv("CHECKSUM_TEST_REPO")})
	if err != nil {
		return err
	}
	addr, err := mysql.ParseAddr(os.Getenv("CHECKSUM_TEST_INSTANCE"))
	if err != nil {
		return err
	}
	inst := fleet.Instance{Tier: "udb", Cluster: "udb-0", Host: addr.Host, Port: addr.Port}
	inv := &inventory{tiers: []fleet.Tier{{Name: "udb", Databases: os.Getenv("CHECKSUM_TEST_DATABASES"),
		Clusters: []fleet.Cluster{{Tier: "udb", Name: "udb-0", Instances: []fleet.Instance{inst}}}}}}
	pool := mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{})
	return checksum.New(checksum.Parts{Store: store, Repo: repo, Inventory: inv, Served: inv.instances, Log: slog.New(slog.DiscardHandler),
		Refresher: &status.Refresher{Pool: pool, Store: store, Materialiser: &schema.Materialiser{Cache: store.FormCache()}}}, config).Pass(ctx)
}

// I8, I11: a checksum killed anywhere leaves no pass that says more than was found, and the next one completes the work.
func TestKilledAtEachPoint(t *testing.T) {
	server := testkit.Server(t)
	for _, point := range []string{"status.write.before", "status.write.after", "checksum.pass.recorded"} {
		t.Run(point, func(t *testing.T) {
			f := newFixture(t, server.Addr())
			db := testkit.Database(t, server, f.databases)
			testkit.Exec(t, server, "CREATE TABLE "+db+".users (id int)")
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), fault.EnvVar+"="+point+"=kill", "CHECKSUM_TEST_DSN="+server.DSN(f.store.Database()),
				"CHECKSUM_TEST_REPO="+f.git.Dir, "CHECKSUM_TEST_INSTANCE="+server.Addr().String(), "CHECKSUM_TEST_DATABASES="+f.databases+"%")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			recorded := point == "checksum.pass.recorded"
			if p := f.pass(server.Addr()); (p.FinishedAt != nil) != recorded || recorded && p.NotOK != 1 {
				t.Errorf("after the kill: %+v", p)
			}
			if err := checksum.New(f.parts, config).Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p := f.pass(server.Addr()); p.FinishedAt == nil || p.Tables != 1 || p.NotOK != 1 || p.Error != "" {
				t.Errorf("after the next pass: %+v", p)
			}
		})
	}
}
