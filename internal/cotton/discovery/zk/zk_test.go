package zk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	zklib "github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/discovery/zk"
	storezk "github.com/aosc/aosc/internal/cotton/store/zk"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/zookeeper"
)

var (
	quiet = slog.New(slog.DiscardHandler)
	roots atomic.Int64
)

// TestZooKeeper runs all parts over one server, each below a root of its own.
func TestZooKeeper(t *testing.T) {
	servers := testkit.ZooKeeper(t, 1)
	for name, part := range map[string]func(*testing.T, zookeeper.URL){
		"layout":          testLayout,
		"idempotent":      testIdempotent,
		"changes":         testChanges,
		"promotion":       testPromotion,
		"two publishers":  testTwoPublishers,
		"remove":          testRemove,
		"fence":           testFence,
		"bad input":       testBadInput,
		"left by another": testLeftByAnother,
		"access":          testAccess,
		"server restarts": func(t *testing.T, u zookeeper.URL) { testServerRestarts(t, u, servers.Servers[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			u, err := zookeeper.ParseURL(fmt.Sprintf("zk://u:p@%s/d%d", servers.Connect(), roots.Add(1)))
			if err != nil {
				t.Fatal(err)
			}
			part(t, u)
		})
	}
}

func connect(t *testing.T, u zookeeper.URL) *zookeeper.Conn {
	t.Helper()
	conn, err := zookeeper.Connect(t.Context(), u, zookeeper.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// tree is every node below path with its data, the path left out; and the sum of their versions, which tells any write.
func tree(t *testing.T, c *zookeeper.Conn, path string) (map[string]string, string) {
	t.Helper()
	nodes, stamps := map[string]string{}, map[string]int64{}
	var walk func(p string)
	walk = func(p string) {
		names, err := zookeeper.Do(t.Context(), c, func(z *zklib.Conn, _ bool) ([]string, error) {
			data, stat, err := z.Get(p)
			if err != nil {
				return nil, err
			}
			nodes[strings.TrimPrefix(p, path)] = string(data)
			stamps[p] = stat.Mzxid + stat.Pzxid
			names, _, err := z.Children(p)
			return names, err
		})
		if errors.Is(err, zklib.ErrNoNode) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			walk(p + "/" + n)
		}
	}
	walk(path)
	return nodes, fmt.Sprint(stamps)
}

func endpoint(id int) discovery.Endpoint {
	return discovery.Endpoint{ID: id, Host: fmt.Sprintf("h%d", id), Port: 31000 + id}
}

func ptr(e discovery.Endpoint) *discovery.Endpoint { return &e }

func member(id int) string {
	return fmt.Sprintf(`{"serviceEndpoint":{"host":"h%d","port":%d},"additionalEndpoints":{},"status":"ALIVE"}`, id, 31000+id)
}

func publish(t *testing.T, p *zk.Publisher, cluster string, primary *discovery.Endpoint, replicas ...discovery.Endpoint) {
	t.Helper()
	if err := p.Publish(t.Context(), cluster, primary, replicas); err != nil {
		t.Fatal(err)
	}
}

func wantTree(t *testing.T, c *zookeeper.Conn, path string, want map[string]string) {
	t.Helper()
	full := map[string]string{"": "", "/master": "", "/slaves": ""}
	maps.Copy(full, want)
	if got, _ := tree(t, c, path); !reflect.DeepEqual(got, full) {
		t.Errorf("published:\n%q\nwant:\n%q", got, full)
	}
}

// testLayout: the paths and bytes of the original; persistent nodes that outlive the session.
func testLayout(t *testing.T, u zookeeper.URL) {
	first, err := zookeeper.Connect(t.Context(), u, zookeeper.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, zk.New(first, nil), "c0", ptr(endpoint(1)), endpoint(2), endpoint(12))
	first.Close()
	wantTree(t, connect(t, u), u.Path+"/discover/c0", map[string]string{
		"/master/member_0000000001": member(1), "/slaves/member_0000000002": member(2), "/slaves/member_0000000012": member(12)})
}

func testIdempotent(t *testing.T, u zookeeper.URL) {
	c := connect(t, u)
	p := zk.New(c, nil)
	publish(t, p, "c0", ptr(endpoint(1)), endpoint(2), endpoint(3))
	_, before := tree(t, c, u.Path)
	publish(t, p, "c0", ptr(endpoint(1)), endpoint(3), endpoint(2))
	publish(t, zk.New(connect(t, u), nil), "c0", ptr(endpoint(1)), endpoint(2), endpoint(3))
	if _, after := tree(t, c, u.Path); after != before {
		t.Error("publishing the same again has written")
	}
}

func testChanges(t *testing.T, u zookeeper.URL) {
	c := connect(t, u)
	p := zk.New(c, nil)
	path := u.Path + "/discover/c0"
	publish(t, p, "c0", nil)
	wantTree(t, c, path, nil)
	publish(t, p, "c0", nil, endpoint(1))
	wantTree(t, c, path, map[string]string{"/slaves/member_0000000001": member(1)})
	publish(t, p, "c0", ptr(endpoint(1)))
	wantTree(t, c, path, map[string]string{"/master/member_0000000001": member(1)})
	moved := endpoint(1)
	moved.Host, moved.Port = "h9", 31009
	publish(t, p, "c0", &moved)
	wantTree(t, c, path, map[string]string{"/master/member_0000000001": member(9)})
	publish(t, p, "c0", nil)
	wantTree(t, c, path, nil)
}

// testPromotion (I10): while the primary changes again and again, a reader never sees two masters, nor one instance both
// as a master and as a slave.
func testPromotion(t *testing.T, u zookeeper.URL) {
	p := zk.New(connect(t, u), nil)
	publish(t, p, "c0", ptr(endpoint(1)), endpoint(2), endpoint(3))
	reader := connect(t, u)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	reads := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			names, err := zookeeper.Do(ctx, reader, func(z *zklib.Conn, _ bool) ([]string, error) {
				names, _, err := z.Children(u.Path + "/discover/c0/master")
				return names, err
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil || len(names) != 1 {
				t.Errorf("masters: %v, %v", names, err)
				return
			}
			reads++
		}
	})
	all := []discovery.Endpoint{endpoint(1), endpoint(2), endpoint(3)}
	for i := range 100 {
		primary := all[i%3]
		publish(t, p, "c0", &primary, all[(i+1)%3], all[(i+2)%3])
	}
	stop()
	wg.Wait()
	if reads == 0 {
		t.Error("nothing was read meanwhile")
	}
}

// testTwoPublishers: two at once end with what one of them wanted, whole.
func testTwoPublishers(t *testing.T, u zookeeper.URL) {
	a, b := zk.New(connect(t, u), nil), zk.New(connect(t, u), nil)
	for range 10 {
		var wg sync.WaitGroup
		var errA, errB error
		wg.Go(func() { errA = a.Publish(t.Context(), "c0", ptr(endpoint(1)), []discovery.Endpoint{endpoint(2)}) })
		wg.Go(func() { errB = b.Publish(t.Context(), "c0", ptr(endpoint(2)), []discovery.Endpoint{endpoint(1)}) })
		wg.Wait()
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		got, _ := tree(t, connect(t, u), u.Path+"/discover/c0")
		_, one := got["/master/member_0000000001"]
		_, two := got["/master/member_0000000002"]
		if one == two || len(got) != 5 {
			t.Fatalf("published: %q", got)
		}
	}
}

func testRemove(t *testing.T, u zookeeper.URL) {
	c := connect(t, u)
	p := zk.New(c, nil)
	if err := p.Remove(t.Context(), "never"); err != nil {
		t.Errorf("of an unknown cluster: %v", err)
	}
	publish(t, p, "c0", ptr(endpoint(1)), endpoint(2))
	publish(t, p, "c00", ptr(endpoint(3)))
	for range 2 {
		if err := p.Remove(t.Context(), "c0"); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := tree(t, c, u.Path+"/discover/c0"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	wantTree(t, c, u.Path+"/discover/c00", map[string]string{"/master/member_0000000003": member(3)})
}

// testFence (I8, I10): one that has lost its lead publishes nothing over its successor.
func testFence(t *testing.T, u zookeeper.URL) {
	open := func() *storezk.Store {
		s, err := storezk.Open(t.Context(), u, storezk.Options{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	old := open()
	if err := zk.New(connect(t, u), old.Fence).Publish(t.Context(), "c0", nil, nil); !errors.Is(err, zk.ErrFenced) {
		t.Errorf("without the lead: %v", err)
	}
	if _, _, err := old.Lead(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	path, _ := old.Fence()
	// As it is when the process was stopped between asking for its fence and writing.
	late := zk.New(connect(t, u), func() (string, bool) { return path, true })
	publish(t, late, "c0", ptr(endpoint(1)), endpoint(2))
	old.Close()
	successor := open()
	if _, _, err := successor.Lead(t.Context(), "successor"); err != nil {
		t.Fatal(err)
	}
	c := connect(t, u)
	publish(t, zk.New(c, successor.Fence), "c0", ptr(endpoint(2)))
	if err := late.Publish(t.Context(), "c0", ptr(endpoint(1)), []discovery.Endpoint{endpoint(2)}); !errors.Is(err, zk.ErrFenced) {
		t.Errorf("after the lead was lost: %v", err)
	}
	if err := late.Remove(t.Context(), "c0"); !errors.Is(err, zk.ErrFenced) {
		t.Errorf("remove after the lead was lost: %v", err)
	}
	wantTree(t, c, u.Path+"/discover/c0", map[string]string{"/master/member_0000000002": member(2)})
}

func testBadInput(t *testing.T, u zookeeper.URL) {
	c := connect(t, u)
	p := zk.New(c, nil)
	for _, name := range []string{"", ".", "..", "a/b", "../state", "a\x00"} {
		if p.Publish(t.Context(), name, nil, nil) == nil || p.Remove(t.Context(), name) == nil {
			t.Errorf("cluster name %q was taken", name)
		}
	}
	if p.Publish(t.Context(), "c0", ptr(endpoint(1)), []discovery.Endpoint{endpoint(1)}) == nil {
		t.Error("one instance is both primary and replica")
	}
	if p.Publish(t.Context(), "c0", &discovery.Endpoint{ID: 1, Host: "h"}, nil) == nil {
		t.Error("an instance without a port was published")
	}
	if got, _ := tree(t, c, u.Path); len(got) != 0 {
		t.Errorf("refused, and yet written: %q", got)
	}
}

// testLeftByAnother: what the original left, or somebody by hand, is set right; its own spelling of the same is not.
func testLeftByAnother(t *testing.T, u zookeeper.URL) {
	c := connect(t, u)
	p := zk.New(c, nil)
	publish(t, p, "c0", ptr(endpoint(1)))
	const python = `{"status": "ALIVE", "additionalEndpoints": {}, "serviceEndpoint": {"host": "h1", "port": 31001}}`
	path := u.Path + "/discover/c0"
	_, err := zookeeper.Do(t.Context(), c, func(z *zklib.Conn, _ bool) (struct{}, error) {
		_, err := z.Multi(&zklib.SetDataRequest{Path: path + "/master/member_0000000001", Data: []byte(python), Version: -1},
			&zklib.CreateRequest{Path: path + "/master/member_0000000007", Data: []byte("garbage"), Acl: c.ACL()},
			&zklib.CreateRequest{Path: path + "/master/member_0000000007/below", Acl: c.ACL()})
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, p, "c0", ptr(endpoint(1)))
	wantTree(t, c, path, map[string]string{"/master/member_0000000001": python})
}

// testServerRestarts: what was to be published while the server was away is published once it is back.
func testServerRestarts(t *testing.T, u zookeeper.URL, server *testkit.ZKServer) {
	c := connect(t, u)
	p := zk.New(c, nil)
	publish(t, p, "c0", ptr(endpoint(1)), endpoint(2))
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := p.Publish(ctx, "c0", ptr(endpoint(2)), nil); !errors.Is(err, zookeeper.ErrUnavailable) {
		t.Errorf("with the server down: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Publish(t.Context(), "c0", ptr(endpoint(2)), []discovery.Endpoint{endpoint(1)}) }()
	server.Restart()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantTree(t, c, u.Path+"/discover/c0", map[string]string{"/master/member_0000000002": member(2), "/slaves/member_0000000001": member(1)})
}
