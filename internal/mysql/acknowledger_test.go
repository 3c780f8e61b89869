package mysql_test

import (
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestAcknowledgers: who acknowledges is told from who only reads, by account and server, and counts by account only where that is asked
// for.
func TestAcknowledgers(t *testing.T) {
	ctx := t.Context()
	source := testkit.FreshServer(t, nil)
	s := source.DB()
	replicas := map[string]bool{"acks": true, "reader": false}
	servers := map[string]mysql.Server{}
	for user := range replicas {
		run(t, s, "CREATE USER "+user+" IDENTIFIED BY 'x'", "GRANT REPLICATION SLAVE ON *.* TO "+user)
	}
	check(t, mysql.SetSemiSyncSource(ctx, s, source.Version(), mysql.SemiSyncSource{Enabled: true}))
	for user, acknowledges := range replicas {
		replica := testkit.FreshServer(t, nil)
		r := replica.DB()
		check(t, mysql.SetSemiSyncReplica(ctx, r, replica.Version(), acknowledges))
		check(t, mysql.ChangeSource(ctx, r, mysql.SourceOptions{Addr: source.Addr(), User: user, Password: "x", ConnectRetry: time.Second}))
		check(t, mysql.StartReplica(ctx, r))
		testkit.Eventually(t, patience, user+" receives", func() bool { return status(t, r).Receiving() })
		var err error
		servers[user], err = mysql.ReadServer(ctx, r)
		check(t, err)
	}
	var found []mysql.Acknowledger
	testkit.Eventually(t, patience, "one acknowledges", func() bool {
		var err error
		found, err = mysql.ReadAcknowledgers(ctx, s)
		check(t, err)
		return len(found) == 1
	})
	if a := found[0]; a.User != "acks" || a.Host != "127.0.0.1" || a.UUID != servers["acks"].UUID {
		t.Errorf("%+v acknowledges, want server %s", a, servers["acks"].UUID)
	}
	ids, err := mysql.ReadServerIDs(ctx, s)
	if err != nil || len(ids) != 2 || ids[servers["acks"].UUID] != servers["acks"].ServerID {
		t.Errorf("server_ids %v, %v", ids, err)
	}
	for _, c := range []struct {
		accounts []string
		want     int
	}{{nil, 1}, {[]string{"acks"}, 1}, {[]string{"reader", "acks"}, 1}, {[]string{"reader"}, 0}} {
		e, err := mysql.ReadExposure(ctx, s, c.accounts...)
		if err != nil || e.Acknowledgers != c.want || e.Acknowledged() != (c.want > 0) {
			t.Errorf("of %v %d acknowledge, want %d: %v", c.accounts, e.Acknowledgers, c.want, err)
		}
	}
	check(t, mysql.EndSession(ctx, s, found[0].Session))
	check(t, mysql.EndSession(ctx, s, found[0].Session))
}
