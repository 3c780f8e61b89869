package framework_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestImpostor: somebody else takes the port of a primary that died. The scheduler, the replicas' channels and the executor that
// starts the server again all come to that port, and none sends a secret there (I16): they break off the TLS handshake. The
// others elect a primary meanwhile.
func TestImpostor(t *testing.T) {
	t.Parallel()
	for _, certificate := range []bool{true, false} {
		t.Run(fmt.Sprintf("certificate %v", certificate), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "executor", 3)
			f, _ := s.scheduler()
			if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
				t.Fatal(err)
			}
			v := s.await(f, "c0", "the cluster is complete", complete(3))
			dead := v.Endpoints.Primary
			m, _ := v.Record.Member(dead.ID)
			s.endExecutor(m.TaskID)
			i := testkit.StartImpostor(t, fmt.Sprintf("%s:%d", dead.Host, dead.Port), certificate)
			testkit.Eventually(t, 2*patience, "a new primary is published, and the impostor is called", func() bool {
				v, err := f.Cluster(t.Context(), "c0")
				callers, _ := i.Callers()
				return err == nil && v.Endpoints.Primary != nil && v.Endpoints.Primary.ID != dead.ID && callers >= 50
			})
			tick := time.NewTicker(time.Second) // of the replicas' channels, which try every second
			defer tick.Stop()
			for range 3 {
				<-tick.C
			}
			callers, refused := i.Callers()
			got := i.Received()
			for _, secret := range got[:min(len(got), 6)] {
				t.Errorf("the impostor was sent %s", secret)
			}
			t.Logf("%d connections, of which %d broke off the TLS handshake; %d secrets received", callers, refused, len(got))
			i.Stop()
			s.await(f, "c0", "the cluster is complete again", func(v framework.View) bool {
				return complete(3)(v) && v.Record.Change == nil
			})
		})
	}
}

// TestCloneFromImpostor: a member that is to be cloned sends the replication account's password to no donor that cannot prove to be
// of its cluster (I16). Told not to verify, as with a donor of an earlier release, it does.
func TestCloneFromImpostor(t *testing.T) {
	t.Parallel()
	server := testkit.FreshServer(t, nil)
	port, err := loopback.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Release()
	pem, err := cotton.AdminKeys{cotton.AdminKey("0123456789abcdef")}.Authorities(cotton.Identity{Cluster: "c0", Incarnation: "i"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(server.Dir(), cotton.TLSDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(server.Datadir(), cotton.AuthoritiesFromData), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	i := testkit.StartImpostor(t, fmt.Sprintf("127.0.0.1:%d", port.Number), true)
	for verifyBy, told := range map[string]bool{cotton.AuthoritiesFromData: false, "": true} {
		before := len(i.Received())
		err := framework.CloneFrom(t.Context(), server.DB(), mysql.SourceOptions{Addr: mysql.Addr{Host: "127.0.0.1", Port: port.Number},
			User: cotton.ReplicationAccount, Password: "geheim", SSL: true, VerifyBy: verifyBy})
		got := i.Received()[before:]
		t.Logf("verified by %q: %v; the impostor was told %q", verifyBy, err, got)
		if err == nil || (len(got) > 0) != told {
			t.Errorf("verified by %q: %v; the impostor was told %q", verifyBy, err, got)
		}
	}
}
