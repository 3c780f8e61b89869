package haproxy_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/discovery/haproxy"
)

func endpoint(id int, host string, port int) discovery.Endpoint {
	return discovery.Endpoint{ID: id, Host: host, Port: port}
}

var (
	one   = endpoint(1, "h1", 31001)
	two   = endpoint(2, "h2", 31002)
	three = endpoint(3, "fe80::3", 31003)
)

const want = `
defaults
    mode tcp
    timeout connect 2s
    timeout client 8h
    timeout server 8h
    timeout check 2s

# cluster {"name":"c0","write_port":13306,"read_port":13307,"primary":{"id":1,"host":"h1","port":31001},"replicas":[{"id":3,"host":"fe80::3","port":31003},{"id":2,"host":"h2","port":31002}]}
listen c0-write
    bind 127.0.0.1:13306
    server member-1 h1:31001 check inter 1s fall 2 rise 1 on-marked-down shutdown-sessions

listen c0-read
    bind 127.0.0.1:13307
    balance leastconn
    server member-2 h2:31002 check inter 2s fall 2 rise 1
    server member-3 fe80::3:31003 check inter 2s fall 2 rise 1
    server member-1 h1:31001 check inter 2s fall 2 rise 1 backup

# cluster {"name":"d d\nglobal","write_port":13308,"read_port":13309,"primary":null,"replicas":null}
listen d:20d:0aglobal-write
    bind 127.0.0.1:13308

listen d:20d:0aglobal-read
    bind 127.0.0.1:13309
    balance leastconn
`

func TestRender(t *testing.T) {
	got := haproxy.Render("127.0.0.1", map[string]haproxy.Cluster{
		"d d\nglobal": {WritePort: 13308, ReadPort: 13309},
		"c0":          {WritePort: 13306, ReadPort: 13307, Primary: &one, Replicas: []discovery.Endpoint{three, two}},
	})
	lines := strings.SplitN(string(got), "\n", 3)
	if !strings.HasPrefix(lines[0], "# Written by cotton.") || !strings.HasPrefix(lines[1], "# sha256 ") || lines[2] != want {
		t.Errorf("rendered:\n%s\nwant:\n%s", got, want)
	}
}

func open(t *testing.T, file string, changed func(context.Context) error) *haproxy.Publisher {
	t.Helper()
	p, err := haproxy.Open(haproxy.Config{File: file, FirstPort: 13306, LastPort: 13309, Changed: changed})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func publish(t *testing.T, p *haproxy.Publisher, cluster string, primary *discovery.Endpoint, replicas ...discovery.Endpoint) {
	t.Helper()
	if err := p.Publish(t.Context(), cluster, primary, replicas); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestWritesOnlyChanges: the file, and the call that has HAProxy read it, follow changes and nothing else.
func TestWritesOnlyChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	calls := 0
	changed := func(context.Context) error { calls++; return nil }
	p := open(t, file, changed)
	publish(t, p, "c0", &one, two, three)
	info, err := os.Stat(file)
	if err != nil || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
	publish(t, p, "c0", &one, three, two)
	publish(t, open(t, file, changed), "c0", &one, two, three)
	if again, err := os.Stat(file); err != nil || !os.SameFile(info, again) || calls != 1 {
		t.Errorf("written again though nothing changed: %d calls, %v", calls, err)
	}
	publish(t, p, "c0", &two, one)
	if text := read(t, file); calls != 2 || !strings.Contains(text, "server member-2 h2:31002 check inter 1s") || strings.Contains(text, "member-3") {
		t.Errorf("%d calls, file:\n%s", calls, text)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("left beside the file: %v, %v", left, err)
	}
}

// TestPortsStay: a cluster keeps its ports through restarts and whatever comes and goes; a restart forgets no cluster.
func TestPortsStay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	p := open(t, file, nil)
	publish(t, p, "b", &one)
	publish(t, p, "a", &two)
	wantPorts := func(p *haproxy.Publisher, cluster string, write, read int) {
		t.Helper()
		if w, r, ok := p.Ports(cluster); w != write || r != read || !ok {
			t.Errorf("%s has ports %d and %d (%t), want %d and %d", cluster, w, r, ok, write, read)
		}
	}
	wantPorts(p, "b", 13306, 13307)
	wantPorts(p, "a", 13308, 13309)
	p = open(t, file, nil)
	if err := p.Publish(t.Context(), "c", &three, nil); err == nil || !strings.Contains(err.Error(), "13306 to 13309") {
		t.Errorf("a third cluster in a range for two: %v", err)
	}
	publish(t, p, "a", &three)
	wantPorts(p, "b", 13306, 13307)
	wantPorts(p, "a", 13308, 13309)
	if text := read(t, file); !strings.Contains(text, "listen b-write") {
		t.Errorf("b is forgotten:\n%s", text)
	}
	for range 2 {
		if err := p.Remove(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
	}
	if text := read(t, file); strings.Contains(text, "listen b-") {
		t.Errorf("b is still there:\n%s", text)
	}
	publish(t, p, "c", &one)
	wantPorts(p, "c", 13306, 13307)
	wantPorts(p, "a", 13308, 13309)
}

// TestHAProxyNotTold: a failed reload is tried again with the next publication, though the file need not change for it.
func TestHAProxyNotTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	refused := errors.New("no such process")
	var answer error = refused
	calls := 0
	p := open(t, file, func(context.Context) error { calls++; return answer })
	if err := p.Publish(t.Context(), "c0", &one, nil); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	answer = nil
	publish(t, p, "c0", &one)
	publish(t, p, "c0", &one)
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "haproxy.cfg")
	p := open(t, file, nil)
	for _, e := range []discovery.Endpoint{
		endpoint(1, "", 1), endpoint(1, "h", 0), endpoint(1, "h", 65536), endpoint(1, "h\n    server evil e:1", 1), endpoint(1, "h 1", 1), endpoint(1, "h#", 1),
	} {
		if p.Publish(t.Context(), "c0", &e, nil) == nil || p.Publish(t.Context(), "c0", nil, []discovery.Endpoint{e}) == nil {
			t.Errorf("%+v was published", e)
		}
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("refused, and yet written: %v", err)
	}
	foreign := []byte("global\n    daemon\n")
	if err := os.WriteFile(file, foreign, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := haproxy.Open(haproxy.Config{File: file, FirstPort: 1, LastPort: 9}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file of somebody else: %v", err)
	}
	if !bytes.Equal([]byte(read(t, file)), foreign) {
		t.Error("a file of somebody else was changed")
	}
	for _, c := range []haproxy.Config{{FirstPort: 9, LastPort: 9}, {FirstPort: 0, LastPort: 9}, {FirstPort: 9, LastPort: 65536}, {FirstPort: 1, LastPort: 9, Bind: "a b"}} {
		c.File = filepath.Join(dir, "new.cfg")
		if _, err := haproxy.Open(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
