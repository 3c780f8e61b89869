package framework

import (
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store/file"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// ownDriver is the loop of a cluster as it is stored, whose members are these servers; the first one is the primary.
func ownDriver(t *testing.T, r cotton.Record, servers ...*mysqld.Server) *driver {
	t.Helper()
	st, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if _, _, err := st.Lead(t.Context(), "a test"); err != nil {
		t.Fatal(err)
	}
	r.Schema, r.State, r.Primary, r.Epoch, r.Founded = 1, cotton.StateRunning, 1, 7, true
	dbs := map[serverKey]*sql.DB{}
	for i, s := range servers {
		a := s.Addr()
		r.Members = append(r.Members, cotton.Member{ID: i + 1, Phase: cotton.PhaseRunning, Host: a.Host, Port: a.Port, TaskID: "t",
			TaskState: "TASK_RUNNING"})
		dbs[serverKey{i + 1, a}] = s.DB()
	}
	if r, err = st.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	f := &Framework{cfg: Config{Timing: cotton.DefaultTiming(), Store: st, ProbeTimeout: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	return &driver{f: f, c: newCluster(r), dbs: dbs, memos: map[int]*memo{}, leases: map[int]*granted{}}
}

// TestBaseHasWhatWasReleased: more acknowledgements, or that commits wait for ever, are stored only once all that was committed under the
// former settings is in gtid_executed, and so in what an election must find; and not while the primary has fallen back.
func TestBaseHasWhatWasReleased(t *testing.T) {
	ctx := t.Context()
	server := testkit.FreshServer(t, nil)
	db, v := server.DB(), server.Version()
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	set := func(s mysql.SemiSyncSource) {
		t.Helper()
		if err := mysql.SetSemiSyncSource(ctx, db, v, s); err != nil {
			t.Fatal(err)
		}
	}
	insert := func(id string) chan error {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			_, err := db.ExecContext(ctx, "INSERT INTO d.t VALUES ("+id+")")
			done <- err
		}()
		testkit.Eventually(t, testkit.Patience, "the commit waits", func() bool {
			s, err := mysql.ReadSemiSync(ctx, db, v)
			return err == nil && s.Waiting == 1
		})
		return done
	}
	exec("CREATE DATABASE d")
	exec("CREATE TABLE d.t (a INT PRIMARY KEY)")
	d := ownDriver(t, cotton.Record{Spec: cotton.Spec{Name: "c0", Nodes: 3, Policy: cotton.PolicyLossless}, Acks: 0, Loose: true}, server)
	d.c.record.Spec.Nodes = 5
	for id := 2; id <= 5; id++ {
		d.c.record.Members = append(d.c.record.Members, cotton.Member{ID: id, Phase: cotton.PhaseRunning})
	}
	kept := func(what string) {
		t.Helper()
		if now := d.c.snapshot(); now.Acks != 0 || !now.Loose || now.Base != "" {
			t.Errorf("%s: %d acknowledgements, loose %v, Base %q are stored", what, now.Acks, now.Loose, now.Base)
		}
	}

	// A commit that has not come to gtid_executed: for what is read it makes no difference whether it waits, or was released this moment.
	set(mysql.SemiSyncSource{Enabled: true, Timeout: 3 * time.Second})
	done := insert("1")
	set(mysql.SemiSyncSource{Enabled: true, Acks: 2})
	if err := d.storeAcks(ctx, d.c.snapshot()); !errors.Is(err, mysql.ErrUnderWay) {
		t.Errorf("a commit is under way: %v", err)
	}
	kept("a commit is under way")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := d.storeStrict(ctx, d.c.snapshot()); err == nil {
		t.Error("the primary has fallen back: its commits wait for nobody")
	}
	kept("the primary has fallen back")

	set(mysql.SemiSyncSource{})
	set(mysql.SemiSyncSource{Enabled: true, Acks: 2})
	if err := errors.Join(d.storeAcks(ctx, d.c.snapshot()), d.storeStrict(ctx, d.c.snapshot())); err != nil {
		t.Fatal(err)
	}
	executed, err := mysql.GTIDExecuted(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	now := d.c.snapshot()
	if base, err := now.Acknowledged(); err != nil || now.Acks != 2 || now.Loose || !base.Contains(executed) {
		t.Errorf("%d acknowledgements, loose %v, Base %q without %s: %v", now.Acks, now.Loose, now.Base, executed, err)
	}

	// The cluster was asked to shrink, and to grow again before that was stored: more is stored only after the primary was seen to want it.
	r := now.Clone()
	r.Members, r.Spec.Nodes = r.Members[:3], 3
	d.c.record.Acks = 2
	if err := d.storeAcks(ctx, r); err != nil {
		t.Fatal(err)
	}
	d.c.record.Acks = 1
	r.Acks = 2
	if err := d.storeAcks(ctx, r); err != nil || d.c.snapshot().Acks != 1 {
		t.Errorf("%d acknowledgements are stored, which nobody has been told to wait for: %v", d.c.snapshot().Acks, err)
	}
}

// TestRefetch: a relay log is thrown away only once the primary has all that its member has acknowledged, and that is stored.
func TestRefetch(t *testing.T) {
	ctx := t.Context()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true, SuperReadOnly: true}, nil)
	p, replica := c.Primary, c.Replicas[0]
	if _, err := p.DB().ExecContext(ctx, "CREATE DATABASE d"); err != nil {
		t.Fatal(err)
	}
	d := ownDriver(t, cotton.Record{Spec: cotton.Spec{Name: "c0", Nodes: 3, Policy: cotton.PolicyLossless}}, p, replica)
	// Two acknowledgements are wanted, and there is one: what the member has received is on the primary's way to gtid_executed.
	if err := mysql.SetSemiSyncSource(ctx, p.DB(), p.Version(), mysql.SemiSyncSource{Enabled: true, Acks: 2}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.DB().ExecContext(ctx, "CREATE DATABASE e")
		done <- err
	}()
	testkit.Eventually(t, testkit.Patience, "the member has received it", func() bool {
		has, err := receivedBy(ctx, replica.DB())
		executed, err2 := mysql.GTIDExecuted(ctx, p.DB())
		return err == nil && err2 == nil && !executed.Contains(has)
	})
	if err := d.refetch(ctx, d.c.snapshot(), replica.DB()); err == nil {
		t.Error("a relay log is thrown away that has what the primary has not executed yet")
	}
	status, err := mysql.ReadReplicaStatus(ctx, replica.DB())
	if err != nil || status == nil || status.IORunning == "No" || status.Retrieved == "" {
		t.Fatalf("after the refusal: %+v, %v", status, err)
	}
	if err := mysql.SetSemiSyncSource(ctx, p.DB(), p.Version(), mysql.SemiSyncSource{Enabled: true, Acks: 1}); err != nil {
		t.Fatal(err)
	}
	// The member connected anew, and what it acknowledged before is not counted again: the acknowledgement of what follows is.
	if _, err := p.DB().ExecContext(ctx, "CREATE DATABASE f"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	has, err := receivedBy(ctx, replica.DB())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.refetch(ctx, d.c.snapshot(), replica.DB()); err != nil {
		t.Fatal(err)
	}
	if base, err := d.c.snapshot().Acknowledged(); err != nil || !base.Contains(has) {
		t.Errorf("%s was acknowledged, Base is %s: %v", has, base, err)
	}
}
