package mesos_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	zklib "github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/zookeeper"
)

func TestParseMaster(t *testing.T) {
	for text, want := range map[string]string{
		"http://h:5050":                      "http://h:5050",
		"http://h:5050/":                     "http://h:5050",
		"http://a:5050,b:5060":               "http://a:5050,http://b:5060",
		"https://h:5050":                     "https://h:5050",
		"http://[::1]:5050":                  "http://[::1]:5050",
		"zk://zookeeper1:2181/mesos":         "zk://zookeeper1:2181/mesos",
		"zk://u:hunter2@h1,h2:2182/mesos/m2": "zk://h1:2181,h2:2182/mesos/m2",
	} {
		if d, err := mesos.ParseMaster(text); err != nil || d.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, d, err, want)
		}
	}
	for _, text := range []string{"", "h:5050", "http://", "http://h", "http://h:0", "http://h:x", "http://h:5050,", "http://:5050",
		"http://u:hunter2@h", "ftp://h:1", "zk://h:2181", "zk://u:hunter2@h:2181", "zk://u:hunter2@h:x/mesos", "mini:3"} {
		if d, err := mesos.ParseMaster(text); err == nil || strings.Contains(err.Error(), "hunter2") && strings.HasPrefix(text, "zk") {
			t.Errorf("%q: %v, %v; want an error without the password", text, d, err)
		}
	}
}

// masterThat answers every request alike.
func masterThat(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s
}

func redirectTo(addr string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "//"+addr+"/master/api/v1")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func addr(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

// TestLeaderAmongMasters: who says that it leads counts, before what others say of it: they name a host unknown here, or
// one that has died (recording 47).
func TestLeaderAmongMasters(t *testing.T) {
	leader := newFakeMaster(t)
	stale := masterThat(t, redirectTo("master0.example:5050"))
	right := masterThat(t, redirectTo(leader.addr()))
	recovering := masterThat(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Master has not finished recovery", http.StatusServiceUnavailable)
	})
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	unwelcome := masterThat(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	for name, c := range map[string]struct{ masters, want string }{
		"leads itself":                {leader.addr(), leader.URL},
		"all but one do not":          {strings.Join([]string{addr(stale), addr(dead), addr(recovering), leader.addr()}, ","), leader.URL},
		"known only by a redirection": {addr(right), leader.URL},
		"wants credentials":           {addr(unwelcome), unwelcome.URL},
	} {
		got, err := parseMaster(t, "http://"+c.masters).Leader(t.Context())
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := parseMaster(t, "http://"+addr(dead)+","+addr(recovering)).Leader(ctx)
	if err == nil || !strings.Contains(err.Error(), "has not finished recovery") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("no leader: %v, want what each answered", err)
	}
}

// TestLeaderInZooKeeper: the lowest candidacy leads; waiting ends when one stands, and follows the lead as it passes on.
func TestLeaderInZooKeeper(t *testing.T) {
	servers := testkit.ZooKeeper(t, 1)
	text := "zk://" + servers.Connect() + "/mesos/cluster"
	u, err := zookeeper.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := zookeeper.Connect(t.Context(), u, zookeeper.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	d := parseMaster(t, text)
	leader := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return d.Leader(ctx)
	}
	if got, err := leader(); err == nil {
		t.Errorf("without a candidate: %s", got)
	}
	found := make(chan string, 1)
	go func() {
		got, err := d.Leader(t.Context())
		found <- fmt.Sprint(got, err)
	}()
	if err := conn.EnsurePath(t.Context(), u.Path); err != nil {
		t.Fatal(err)
	}
	put := func(name, data string) {
		t.Helper()
		_, err := zookeeper.Do(t.Context(), conn, func(z *zklib.Conn, _ bool) (string, error) {
			return z.Create(u.Join(name), []byte(data), 0, conn.ACL())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// As Mesos 1.12 writes it, shortened; the members of its replicated log stand beside.
	const info = `{"address":{"hostname":"master%d.example","ip":"%s","port":50%d0},"hostname":"master%d.example","id":"x","ip":16777343,"pid":"master@127.0.0.1:5050","port":5050,"version":"1.12.0"}`
	put("log_replicas", "")
	put("json.info_0000000007", fmt.Sprintf(info, 7, "10.0.0.7", 57, 7))
	if got := <-found; got != "http://10.0.0.7:50570<nil>" {
		t.Errorf("the one that waited: %s", got)
	}
	put("json.info_0000000012", fmt.Sprintf(info, 12, "0.0.0.0", 52, 12))
	if got, err := leader(); err != nil || got != "http://10.0.0.7:50570" {
		t.Errorf("with two: %s, %v", got, err)
	}
	_, err = zookeeper.Do(t.Context(), conn, func(z *zklib.Conn, _ bool) (struct{}, error) {
		return struct{}{}, z.Delete(u.Join("json.info_0000000007"), -1)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := leader(); err != nil || got != "http://master12.example:50520" {
		t.Errorf("after the first one is gone: %s, %v", got, err)
	}
	put("json.info_0000000003", "not JSON")
	if got, err := leader(); err == nil || !strings.Contains(err.Error(), "MasterInfo") {
		t.Errorf("an unreadable candidacy: %s, %v", got, err)
	}
	servers.Servers[0].Kill()
	if got, err := leader(); err == nil || !errors.Is(err, zookeeper.ErrUnavailable) || !strings.Contains(err.Error(), servers.Connect()) {
		t.Errorf("ZooKeeper is down: %s, %v", got, err)
	}
}
