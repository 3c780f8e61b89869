package framework

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// puts is a store that takes every record.
type puts struct{ store.Store }

func (puts) Put(_ context.Context, r cotton.Record) (cotton.Record, error) { return r, nil }

// TestAttestBehind: a replica that is always two seconds behind a primary that is written to bears witness once it has applied what the
// primary had when it was asked. It was asked anew each time, and a failover never counted on such a replica.
func TestAttestBehind(t *testing.T) {
	servers := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{}, map[string]string{"report_user": "boot"})
	replica := servers.Replicas[0]
	w := testkit.NewWriter(t, servers.Primary, testkit.WriterOptions{Database: testkit.Database(t, servers.Primary), Table: "t", Rate: 50})
	if err := w.Seed(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if err := servers.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Exec(t, replica, "STOP REPLICA SQL_THREAD", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 2", "START REPLICA SQL_THREAD")
	w.Start(t.Context())
	testkit.Eventually(t, testkit.Patience, "rows are written", func() bool { return w.Stats().Acknowledged() > 10 })

	r := cotton.Record{Spec: cotton.Spec{Name: "c0", Policy: cotton.PolicyLossless, Nodes: 2}, State: cotton.StateRunning, Primary: 1,
		Epoch: 7}
	dbs := map[serverKey]*sql.DB{}
	for i, s := range servers.Servers() {
		r.Members = append(r.Members, cotton.Member{ID: i + 1, Phase: cotton.PhaseRunning, Host: s.Addr().Host, Port: s.Addr().Port})
		dbs[serverKey{i + 1, s.Addr()}] = s.DB()
	}
	f := &Framework{cfg: Config{Store: puts{}, Log: slog.New(slog.DiscardHandler)}}
	d := &driver{f: f, c: newCluster(r), dbs: dbs, memos: map[int]*memo{}}
	var last error
	testkit.Eventually(t, testkit.Patience, "it bears witness", func() bool {
		last = d.attest(t.Context(), r, r.Members[1])
		return last == nil
	})
	stored := d.c.snapshot()
	if m, ok := stored.Member(2); !ok || m.Boot != "boot" {
		t.Errorf("stored: %+v", m)
	}
	if d.memos[2].due.set.Empty() {
		t.Error("what the primary had was not asked for")
	}
	// Another epoch's primary is asked anew.
	r.Epoch++
	if err := d.attest(t.Context(), r, r.Members[1]); err == nil {
		t.Error("a replica that lags has all that another primary has, at once")
	}
	w.Stop()
}
