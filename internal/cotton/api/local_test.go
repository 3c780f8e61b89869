package api_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
)

// Without tokens the port of this machine serves those who look; changes come through the socket of the scheduler's own
// account. Every local account reaches the port: one could have failed a cluster over with its acknowledged writes lost.
func TestWithoutTokens(t *testing.T) {
	dir, err := os.MkdirTemp("", "aosc-api-") // short: a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var config api.Config
	b := serve(t, func(c *api.Config) { c.OpenWrites = false; config = *c; config.Metrics = nil })
	s := run(t, api.Listen{Addr: "127.0.0.1:0", WorkDir: dir}, api.New(config))
	asked := v1.Create{User: "app", Nodes: 1}

	stranger := newClient(t, client.Config{URLs: []string{s.URL()}, WorkDir: t.TempDir()})
	if _, err := stranger.Create(t.Context(), "c0", asked); !client.IsCode(err, v1.CodeNoToken) || !strings.Contains(err.Error(),
		"--work-dir") {
		t.Errorf("created through the port: %v", err)
	}
	if err := stranger.Delete(t.Context(), "c0", "x"); !client.IsCode(err, v1.CodeNoToken) {
		t.Errorf("deleted through the port: %v", err)
	}
	if list, err := stranger.Clusters(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("looked through the port: %v, %v", list, err)
	}
	owner := newClient(t, client.Config{URLs: []string{s.URL()}, WorkDir: dir})
	if _, err := owner.Create(t.Context(), "c0", asked); err != nil || b.fake.spec(t, "c0").User != "app" {
		t.Errorf("created through the socket: %v", err)
	}

	socket, err := v1.Socket(dir, s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		t.Errorf("the socket's directory: %v, %v", info, err)
	}
	if text := b.log.String(); !strings.Contains(text, "token=socket") {
		t.Errorf("the log does not tell how it was asked: %s", text)
	}
}

// A scheduler that was killed leaves its socket, which the next one replaces; a socket that is served is left alone.
func TestSocketIsTaken(t *testing.T) {
	dir, err := os.MkdirTemp("", "aosc-api-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := run(t, api.Listen{Addr: "127.0.0.1:0", WorkDir: dir}, http.NotFoundHandler())
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Open(api.Listen{Addr: "127.0.0.2:" + port, WorkDir: dir}, nil); err == nil || !strings.Contains(err.Error(),
		"--work-dir") {
		t.Errorf("the socket of another: %v", err)
	}

	socket, err := v1.Socket(dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if next, err := v1.Socket(dir, addr); err != nil || os.Rename(socket, next) != nil {
		t.Fatal("the socket of the killed one is not in place", err)
	}
	if err := errors.Join(killed.Close(), free.Close()); err != nil {
		t.Fatal(err)
	}
	run(t, api.Listen{Addr: addr, WorkDir: dir}, http.NotFoundHandler())
	owner := newClient(t, client.Config{URLs: []string{"http://" + addr}, WorkDir: dir})
	if _, err := owner.Clusters(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("asked through the new socket: %v", err)
	}
}

func newClient(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	made, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

// TestSocketBeforePort: whoever finds the port finds the socket. A client that got through the port alone kept to that connection, and the
// change it then asked for was refused.
func TestSocketBeforePort(t *testing.T) {
	dir := t.TempDir()
	for range 200 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := free.Addr().String()
		if err := free.Close(); err != nil {
			t.Fatal(err)
		}
		type opened struct {
			s   *api.Server
			err error
		}
		done := make(chan opened, 1)
		go func() {
			s, err := api.Open(api.Listen{Addr: addr, WorkDir: dir}, http.NotFoundHandler())
			done <- opened{s, err}
		}()
		dialed(t, addr)
		socket, err := v1.Socket(dir, addr)
		if err != nil {
			t.Fatal(err)
		}
		c, refused := net.Dial("unix", socket)
		o := <-done
		if o.err != nil {
			t.Fatal(o.err)
		}
		over, end := context.WithCancel(t.Context())
		end()
		if err := o.s.Run(over); err != nil {
			t.Error(err)
		}
		if refused != nil {
			t.Fatalf("the port takes connections, the socket does not: %v", refused)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// dialed waits until a port takes connections.
func dialed(t *testing.T, addr string) {
	t.Helper()
	for t.Context().Err() == nil {
		if c, err := net.Dial("tcp", addr); err == nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			return
		}
	}
}
