package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
)

func newClient(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	cl, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// answering is a server that gives one answer, and remembers what it was asked.
func answering(t *testing.T, status int, body string) (url string, asked func() (method, path, token, text string)) {
	t.Helper()
	var mu sync.Mutex
	var method, path, token, text string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		method, path, token, text = r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), string(b)
		mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() (string, string, string, string) {
		mu.Lock()
		defer mu.Unlock()
		return method, path, token, text
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		config client.Config
		says   string
	}{
		{client.Config{}, "no URL"},
		{client.Config{URLs: []string{"localhost:5055"}}, "http://host:port"},
		{client.Config{URLs: []string{"ftp://localhost"}}, "http://host:port"},
		{client.Config{URLs: []string{"http://localhost/clusters"}}, "http://host:port"},
		{client.Config{URLs: []string{"http://u:geheim@localhost"}}, "http://***@localhost"},
		{client.Config{URLs: []string{"https://localhost"}, CAFile: "/nonexistent/ca.pem"}, "/nonexistent/ca.pem"},
		{client.Config{URLs: []string{"https://localhost"}, CAFile: secretFile(t, "no PEM", 0o600)}, "no certificate"},
	} {
		_, err := client.New(c.config)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%+v: %v, want it to say %q", c.config, err, c.says)
		}
	}
}

func TestToken(t *testing.T) {
	url, asked := answering(t, 200, `{"clusters":[]}`)
	file := secretFile(t, "t0ken\n", 0o600)
	c := newClient(t, client.Config{URLs: []string{url + "/"}, TokenFile: file})
	for _, token := range []string{"t0ken", "anew"} { // a new one is taken up
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Clusters(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, _, sent, _ := asked(); sent != "Bearer "+token {
			t.Errorf("sent %q, want the token %s", sent, token)
		}
	}
	for _, bad := range []string{secretFile(t, "t0ken", 0o644), secretFile(t, "", 0o600), secretFile(t, "a\nb", 0o600), "/nonexistent/token"} {
		c := newClient(t, client.Config{URLs: []string{url}, TokenFile: bad})
		if _, err := c.Clusters(t.Context()); err == nil || !strings.Contains(err.Error(), "read the token") || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A name is one segment of the path, whatever is in it.
func TestNamesAreEscaped(t *testing.T) {
	url, asked := answering(t, 404, `{"error":{"code":"not_found","message":"Cluster 'a/b' not found"}}`)
	_, err := newClient(t, client.Config{URLs: []string{url}}).Cluster(t.Context(), "a/b?c")
	if _, path, _, _ := asked(); path != "/clusters/a%2Fb%3Fc" {
		t.Errorf("asked for %s", path)
	}
	if !client.IsCode(err, v1.CodeNotFound) || !strings.Contains(err.Error(), "Cluster 'a/b' not found (404 from "+url) {
		t.Errorf("error %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ body, says, code string }{
		{`{"error":{"code":"invalid","message":"Unknown size","field":"nodes","detail":"known are a, b"}}`, "nodes: Unknown size: known are a, b (400", v1.CodeInvalid},
		{`<html>400</html>`, "does not seem to be a cotton scheduler (400", v1.CodeInternal},
	} {
		url, _ := answering(t, 400, c.body)
		_, err := newClient(t, client.Config{URLs: []string{url}}).Create(t.Context(), "c0", v1.Create{User: "app", Password: "geheim"})
		if !client.IsCode(err, c.code) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", c.body, err)
		}
	}
	url, _ := answering(t, 200, "<html>")
	if _, err := newClient(t, client.Config{URLs: []string{url}}).Clusters(t.Context()); err == nil || !strings.Contains(err.Error(), "did not answer as a cotton scheduler") {
		t.Errorf("HTML: %v", err)
	}
	url, _ = answering(t, 302, "")
	if _, err := newClient(t, client.Config{URLs: []string{url}}).Clusters(t.Context()); err == nil {
		t.Error("a redirect was followed")
	}
	if _, err := newClient(t, client.Config{URLs: []string{"http://127.0.0.1:1"}}).Clusters(t.Context()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("nobody listens: %v", err)
	}
}

// Of several schedulers the leader is asked: standbys and those that are down are passed over, a refusal is not.
func TestSeveralSchedulers(t *testing.T) {
	standby, _ := answering(t, 503, `{"error":{"code":"unavailable","message":"Service unavailable. Try again later","detail":"standing by"}}`)
	leader, _ := answering(t, 200, `{"clusters":[{"name":"c0"}]}`)
	refusing, _ := answering(t, 401, `{"error":{"code":"unauthorized","message":"a token is needed"}}`)
	const down = "http://127.0.0.1:1"
	list, err := newClient(t, client.Config{URLs: []string{down, standby, leader}}).Clusters(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := newClient(t, client.Config{URLs: []string{refusing, leader}}).Clusters(t.Context()); !client.IsCode(err, v1.CodeNoToken) {
		t.Errorf("refused: %v", err)
	}
	_, err = newClient(t, client.Config{URLs: []string{down, standby}}).Clusters(t.Context())
	if err == nil || !strings.Contains(err.Error(), "standing by") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("nobody leads: %v", err)
	}
}

// A scheduler that hangs is passed over for a question, not for an order, which it may yet carry out.
func TestSchedulerThatHangs(t *testing.T) {
	hung, err := net.Listen("tcp", "127.0.0.1:0") // connections wait in its queue
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hung.Close() })
	leader, asked := answering(t, 200, `{"clusters":[{"name":"c0"}]}`)
	c := newClient(t, client.Config{URLs: []string{"http://" + hung.Addr().String(), leader}, Timeout: 500 * time.Millisecond})
	if _, err := c.Operate(t.Context(), "c0", "switchover", v1.Switchover{}); err == nil {
		t.Error("an order was given to another scheduler, although the first one may carry it out")
	}
	if method, _, _, _ := asked(); method != "" {
		t.Errorf("the other one was asked: %s", method)
	}
	if list, err := c.Clusters(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := c.Operate(t.Context(), "c0", "switchover", v1.Switchover{}); err != nil {
		t.Errorf("who answered last is not asked first: %v", err)
	}
}

// cluster is an API that shows one cluster, which the test changes; an empty name is no cluster, a state of "away" is 503.
type cluster struct {
	mu  sync.Mutex
	now v1.Cluster
}

func (c *cluster) set(now v1.Cluster) { c.mu.Lock(); c.now = now; c.mu.Unlock() }

func (c *cluster) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.now.State == "away":
		w.WriteHeader(503)
	case c.now.Name == "":
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"error":{"code":"not_found","message":"gone"}}`)
	default:
		_ = json.NewEncoder(w).Encode(c.now)
	}
}

func TestWaits(t *testing.T) {
	c := &cluster{}
	s := httptest.NewServer(c)
	defer s.Close()
	cl := newClient(t, client.Config{URLs: []string{s.URL}})
	whole := v1.Cluster{Name: "c0", State: "running", Nodes: 2, Endpoints: v1.Endpoints{Primary: &v1.Endpoint{ID: 1}, Replicas: []v1.Endpoint{{ID: 2}}}}
	lacksReplica := whole
	lacksReplica.Endpoints.Replicas = nil

	c.set(v1.Cluster{State: "away"}) // a scheduler that restarts is waited for
	waited := make(chan error, 1)
	go func() { _, err := cl.WaitRunning(t.Context(), "c0"); waited <- err }()
	c.set(lacksReplica)
	select {
	case err := <-waited:
		t.Fatalf("did not wait for the replica: %v", err)
	case <-time.After(600 * time.Millisecond): // two looks
	}
	c.set(whole)
	if err := <-waited; err != nil {
		t.Error(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	c.set(lacksReplica)
	if _, err := cl.WaitRunning(ctx, "c0"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 of 2 instances serve") {
		t.Errorf("no time left: %v", err)
	}
	go func() { waited <- cl.WaitGone(t.Context(), "c0") }()
	c.set(v1.Cluster{})
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if _, err := cl.WaitRunning(t.Context(), "c0"); !client.IsCode(err, v1.CodeNotFound) {
		t.Errorf("a cluster that was never there: %v", err)
	}
}

func TestMissing(t *testing.T) {
	primary := &v1.Endpoint{ID: 1}
	for _, c := range []struct {
		cluster v1.Cluster
		want    string
	}{
		{v1.Cluster{Nodes: 1, Endpoints: v1.Endpoints{Primary: primary}}, ""},
		{v1.Cluster{Nodes: 3}, "no instance takes writes; 0 of 3 instances serve"},
		{v1.Cluster{Nodes: 1, State: "deleting", Endpoints: v1.Endpoints{Primary: primary}}, "it is being deleted"},
		{v1.Cluster{Nodes: 1, Endpoints: v1.Endpoints{Primary: primary}, Problems: []string{"disk full"}}, "disk full"},
	} {
		if got := client.Missing(c.cluster); got != c.want {
			t.Errorf("%+v: %q, want %q", c.cluster, got, c.want)
		}
	}
}
