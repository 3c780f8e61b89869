package zk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	zklib "github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/cotton/store/storetest"
	"github.com/aosc/aosc/internal/cotton/store/zk"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/zookeeper"
)

// session is short, so that losing one is quick to test.
const session = 1500 * time.Millisecond

var roots atomic.Int64

type backing struct {
	url zookeeper.URL
	raw *zookeeper.Conn
}

// fresh is a root of its own in a shared ZooKeeper.
func fresh(t *testing.T, servers *testkit.ZK, userinfo string) backing {
	t.Helper()
	url, err := zookeeper.ParseURL(fmt.Sprintf("zk://%s%s/test/r%d", userinfo, servers.Connect(), roots.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := zookeeper.Connect(t.Context(), url, zookeeper.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	return backing{url, raw}
}

func (b backing) Open(t *testing.T) store.Store { return b.open(t) }

func (b backing) open(t *testing.T) *zk.Store {
	t.Helper()
	s, err := zk.Open(t.Context(), b.url, zk.Options{SessionTimeout: session, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b backing) ReadRaw(t *testing.T, cluster string) []byte {
	t.Helper()
	data, err := zookeeper.Do(t.Context(), b.raw, func(z *zklib.Conn, _ bool) ([]byte, error) {
		data, _, err := z.Get(b.url.Join("store", "clusters", cluster))
		return data, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (b backing) WriteRaw(t *testing.T, cluster string, value []byte) {
	t.Helper()
	path := b.url.Join("store", "clusters", cluster)
	_, err := zookeeper.Do(t.Context(), b.raw, func(z *zklib.Conn, _ bool) (struct{}, error) {
		if _, err := z.Set(path, value, -1); !errors.Is(err, zklib.ErrNoNode) {
			return struct{}{}, err
		}
		_, err := z.Create(path, value, 0, b.raw.ACL())
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func lead(t *testing.T, s *zk.Store, holder string) (<-chan struct{}, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	lost, release, err := s.Lead(ctx, holder)
	if err != nil {
		t.Fatal(err)
	}
	return lost, release
}

func isLost(lost <-chan struct{}) func() bool {
	return func() bool {
		select {
		case <-lost:
			return true
		default:
			return false
		}
	}
}

// TestStore runs everything that needs one healthy server.
func TestStore(t *testing.T) {
	t.Parallel()
	servers := testkit.ZooKeeper(t, 1)
	t.Run("contract", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Backing { return fresh(t, servers, "") })
	})
	t.Run("node of the lead deleted", func(t *testing.T) { testNodeDeleted(t, fresh(t, servers, "")) })
	t.Run("access", func(t *testing.T) { testAccess(t, servers) })
	t.Run("former access", func(t *testing.T) { testFormerAccess(t, servers) })
}

// testNodeDeleted: an operator who deletes the lock node lets the next one lead; the first learns at once, and can write
// nothing from the very moment (I8).
func testNodeDeleted(t *testing.T, b backing) {
	first, second := b.open(t), b.open(t)
	defer first.Close()
	defer second.Close()
	lost, _ := lead(t, first, "first")
	node, ok := first.Fence()
	if !ok {
		t.Fatal("the leader has no fence")
	}
	_, err := zookeeper.Do(t.Context(), b.raw, func(z *zklib.Conn, _ bool) (struct{}, error) { return struct{}{}, z.Delete(node, -1) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Put(t.Context(), storetest.Record("c0")); !errors.Is(err, store.ErrNotLeader) {
		t.Errorf("the first writes: %v", err)
	}
	testkit.Eventually(t, testkit.Patience, "the first knows that its lead is lost", isLost(lost))
	lead(t, second, "second")
	if _, err := second.Put(t.Context(), storetest.Record("c0")); err != nil {
		t.Error(err)
	}
}

// testAccess: with a user in the address nobody else reads or writes.
func testAccess(t *testing.T, servers *testkit.ZK) {
	b := fresh(t, servers, "cotton:se:cr@t@")
	s := b.open(t)
	defer s.Close()
	lead(t, s, "test")
	if _, err := s.Put(t.Context(), storetest.Record("c0")); err != nil {
		t.Fatal(err)
	}
	for name, userinfo := range map[string]string{"nobody": "", "wrong password": "cotton:wrong@"} {
		url, err := zookeeper.ParseURL("zk://" + userinfo + servers.Connect() + b.url.Path)
		if err != nil {
			t.Fatal(err)
		}
		other, err := zk.Open(t.Context(), url, zk.Options{SessionTimeout: session, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_, err = other.Clusters(t.Context())
			other.Close()
		}
		if !errors.Is(err, zklib.ErrNoAuth) || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("%s: %v, want an authentication error without the password", name, err)
		}
	}
	again := b.open(t)
	defer again.Close()
	if all, err := again.Clusters(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("with the right password: %d clusters, %v", len(all), err)
	}
}

// testFormerAccess: what was stored without a user, for everybody to overwrite, is closed to all others when the address names
// one; also the node above, where others could delete what is below.
func testFormerAccess(t *testing.T, servers *testkit.ZK) {
	b := fresh(t, servers, "")
	s := b.open(t)
	_, release := lead(t, s, "test")
	if _, err := s.Put(t.Context(), storetest.Record("c0")); err != nil {
		t.Fatal(err)
	}
	release()
	s.Close()
	url := b.url
	url.User, url.Password = "cotton", "secret"
	again, err := zk.Open(t.Context(), url, zk.Options{SessionTimeout: session, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, part := range []string{"store", "store/clusters", "store/leader", "store/clusters/c0"} {
		path := b.url.Join(part)
		_, err := zookeeper.Do(t.Context(), b.raw, func(z *zklib.Conn, _ bool) (struct{}, error) {
			_, _, err := z.Get(path)
			return struct{}{}, err
		})
		if !errors.Is(err, zklib.ErrNoAuth) {
			t.Errorf("nobody reads %s: %v", part, err)
		}
	}
	_, err = zookeeper.Do(t.Context(), b.raw, func(z *zklib.Conn, _ bool) (struct{}, error) {
		_, err := z.Create(b.url.Join("discover"), nil, 0, zklib.WorldACL(zklib.PermAll))
		return struct{}{}, err
	})
	if !errors.Is(err, zklib.ErrNoAuth) {
		t.Errorf("nobody makes a node beside the store: %v", err)
	}
	lead(t, again, "test")
	all, err := again.Clusters(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%d clusters, %v", len(all), err)
	}
	if _, err := again.Put(t.Context(), all[0]); err != nil {
		t.Error(err)
	}
}

// TestServerTrouble runs what stops and starts a server.
func TestServerTrouble(t *testing.T) {
	t.Parallel()
	servers := testkit.ZooKeeper(t, 1)
	server := servers.Servers[0]
	t.Run("restart", func(t *testing.T) { testServerRestarts(t, fresh(t, servers, ""), server) })
	t.Run("hangs", func(t *testing.T) { testServerHangs(t, fresh(t, servers, ""), server) })
	t.Run("down at start", func(t *testing.T) { testDownAtStart(t, fresh(t, servers, ""), server) })
}

// testServerRestarts: a write that meets a server on its way down and up is made once, and the lead is kept.
func testServerRestarts(t *testing.T, b backing, server *testkit.ZKServer) {
	s, err := zk.Open(t.Context(), b.url, zk.Options{SessionTimeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lost, _ := lead(t, s, "test")
	r, err := s.Put(t.Context(), storetest.Record("c0"))
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	writes := 0
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			r.Epoch++
			next, err := s.Put(t.Context(), r)
			if err != nil {
				stopped <- err
				return
			}
			r = next
			writes++
		}
	}()
	for range 2 {
		server.Kill()
		server.Restart()
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatalf("after %d writes: %v", writes, err)
	}
	all, err := s.Clusters(t.Context())
	if err != nil || len(all) != 1 || all[0].Epoch != r.Epoch || all[0].Version != r.Version {
		t.Errorf("stored %+v, %v; want epoch %d, version %d", all, err, r.Epoch, r.Version)
	}
	if isLost(lost)() {
		t.Error("the lead was lost though the session was not")
	}
	if writes == 0 {
		t.Error("nothing was written")
	}
}

// testServerHangs: without an answer the lead is given up before ZooKeeper could give it to another one (I8).
func testServerHangs(t *testing.T, b backing, server *testkit.ZKServer) {
	var logged bytes.Buffer
	s, err := zk.Open(t.Context(), b.url, zk.Options{SessionTimeout: session, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	lost, _ := lead(t, s, "test")
	started := time.Now()
	server.Pause()
	select {
	case <-lost:
	case <-time.After(session):
		server.Resume()
		t.Fatal("a whole session passed, and this process still believes that it leads")
	}
	t.Logf("lead given up %s after the server froze, session %s", time.Since(started), session)
	if _, err := s.Put(t.Context(), storetest.Record("c0")); !errors.Is(err, store.ErrNotLeader) {
		t.Errorf("it still writes: %v", err)
	}
	server.Resume()
	server.AwaitServing()
	s.Close()
	if !strings.Contains(logged.String(), "the lead is lost") {
		t.Errorf("logged: %s", logged.String())
	}
	next := b.open(t)
	defer next.Close()
	lead(t, next, "next")
}

// testDownAtStart: opening says what does not answer, and ends in time.
func testDownAtStart(t *testing.T, b backing, server *testkit.ZKServer) {
	server.Kill()
	defer server.Restart()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := zk.Open(ctx, b.url, zk.Options{SessionTimeout: session, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, zookeeper.ErrUnavailable) || !strings.Contains(err.Error(), server.Addr) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v, want an error that names %s and the reason", err, server.Addr)
	}
}

// TestEnsemble: a leader whose server hangs goes on with another server, in the same session and with its lead; so does
// one whose server dies.
func TestEnsemble(t *testing.T) {
	t.Parallel()
	servers := testkit.ZooKeeper(t, 3)
	b := fresh(t, servers, "")
	s, err := zk.Open(t.Context(), b.url, zk.Options{SessionTimeout: 9 * time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lost, _ := lead(t, s, "test")
	r, err := s.Put(t.Context(), storetest.Record("c0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, harm := range []struct {
		what       string
		do, undone func(*testkit.ZKServer)
	}{
		{"hangs", (*testkit.ZKServer).Pause, (*testkit.ZKServer).Resume},
		{"dies", (*testkit.ZKServer).Kill, (*testkit.ZKServer).Restart},
	} {
		var of *testkit.ZKServer
		for _, server := range servers.Servers {
			if server.Addr == s.Server() {
				of = server
			}
		}
		started := time.Now()
		harm.do(of)
		r.Epoch++
		if r, err = s.Put(t.Context(), r); err != nil {
			t.Fatalf("after the server %s: %v", harm.what, err)
		}
		t.Logf("the server %s: written %s later", harm.what, time.Since(started).Round(time.Millisecond))
		if s.Server() == of.Addr {
			t.Errorf("the server %s, and is still used", harm.what)
		}
		harm.undone(of)
		servers.AwaitServing()
		if isLost(lost)() {
			t.Fatalf("the server %s, and the lead is lost", harm.what)
		}
	}
}
