package testkit_test

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/testkit"
)

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func connect(t *testing.T, z *testkit.ZK) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect(z.Addrs(), time.Second, zk.WithLogger(quiet{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// TestZooKeeperStandalone: what was written survives a crash and a stop.
func TestZooKeeperStandalone(t *testing.T) {
	z := testkit.ZooKeeper(t, 1)
	if _, err := connect(t, z).Create("/kept", []byte("x"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	z.Servers[0].Kill()
	z.Servers[0].Restart()
	z.Servers[0].Stop()
	z.Servers[0].Restart()
	if data, _, err := connect(t, z).Get("/kept"); err != nil || string(data) != "x" {
		t.Errorf("after a crash and a stop: %q, %v", data, err)
	}
}

// TestZooKeeperEnsemble: an ensemble of 3 elects another leader when its leader hangs, and again when that one dies
// once the first is back.
func TestZooKeeperEnsemble(t *testing.T) {
	z := testkit.ZooKeeper(t, 3)
	first := z.Leader()
	if first == nil {
		t.Fatal("all serve, but none leads")
	}
	first.Pause()
	elected := func(not *testkit.ZKServer) func() bool {
		return func() bool {
			leader := z.Leader()
			return leader != nil && leader != not
		}
	}
	testkit.Eventually(t, time.Minute, "another leader than the paused one", elected(first))
	first.Resume()
	z.AwaitServing()
	second := z.Leader()
	second.Kill()
	testkit.Eventually(t, time.Minute, "another leader than the dead one", elected(second))
	conn := connect(t, z)
	testkit.Eventually(t, time.Minute, "two of three take writes", func() bool {
		_, err := conn.Create("/written", nil, 0, zk.WorldACL(zk.PermAll))
		return err == nil
	})
	second.Restart()
	z.AwaitServing()
}
