package collector

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv("COLLECTOR_TEST_DSN") != "" {
		if err := oneLook(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testkit.Main(m)
}

// oneLook is a collector in a process of its own, to be killed at a fault point.
func oneLook(ctx context.Context) error {
	store, err := aoscdb.Open(os.Getenv("COLLECTOR_TEST_DSN"))
	if err != nil {
		return err
	}
	addr, err := mysql.ParseAddr(os.Getenv("COLLECTOR_TEST_INSTANCE"))
	if err != nil {
		return err
	}
	inst := fleet.Instance{Tier: "udb", Cluster: "udb-1", Host: addr.Host, Port: addr.Port}
	env := daemon.NewEnv("collector", nil, nil)
	env.Once = true
	return New(Parts{Store: store, Pool: mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{}),
		Inventory: tiers{{Name: "udb", Clusters: []fleet.Cluster{{Tier: "udb", Name: "udb-1", Instances: []fleet.Instance{inst}}}}}},
		Config{Interval: time.Hour, Timeout: 10 * time.Second, LeaseTTL: time.Minute, FanOut: 1}).Run(ctx, env)
}

// I8: a collector killed anywhere leaves either nothing or all of a look, and the next one completes the views.
func TestKilledAtEachPoint(t *testing.T) {
	server := testkit.Server(t)
	for _, point := range []string{faultGathered, faultRecorded} {
		t.Run(point, func(t *testing.T) {
			f := newFixture(t, server)
			f.checksummed(0, "INC")
			if err := f.store.Release(t.Context(), f.lease.Name, f.lease.Holder, f.lease.Epoch); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), fault.EnvVar+"="+point+"=kill", "COLLECTOR_TEST_DSN="+server.DSN(f.store.Database()),
				"COLLECTOR_TEST_INSTANCE="+server.Addr().String())
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			rows, err := f.store.Targets(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if recorded := point == faultRecorded; (len(rows) == 1) != recorded || (f.alter().Targets == 1) != recorded {
				t.Errorf("after the kill: %d targets, alter %+v", len(rows), f.alter())
			}
			f.exec("UPDATE leases SET expires_at = NOW(6)") // as time would
			f.lease = f.take()
			f.want(1, 0, f.instances[0])
		})
	}
}
