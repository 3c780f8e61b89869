package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Time-outs of the server. A client that sends its request a byte at a time costs one goroutine for that long.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 20 * time.Second
	writeTimeout  = 60 * time.Second
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 3 * time.Second
	maxHeader     = 32 << 10
)

// Listen says where to serve.
type Listen struct {
	Addr string // host:port; port 0 takes a free one
	// Cert and Key are PEM files; both empty = plain HTTP. A renewed certificate is taken up without a restart.
	Cert, Key string
	// WorkDir gets a Unix socket that serves as well (v1.Socket): the account that this runs as needs no token. Empty = none.
	WorkDir string
	Log     *slog.Logger
}

// Server is the API on its port.
type Server struct {
	http     *http.Server
	listener net.Listener
	socket   net.Listener // nil = none
	secure   bool         // TLS
}

// Open listens, so that a wrong address or certificate is known at once. Run serves.
func Open(l Listen, h http.Handler) (*Server, error) {
	s := &Server{secure: l.Cert != "", http: &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ConnContext: markLocal,
	}}
	if l.Log != nil {
		s.http.ErrorLog = slog.NewLogLogger(l.Log.Handler(), slog.LevelDebug) // scanners and broken handshakes
	}
	if s.secure {
		c := &certificate{cert: l.Cert, key: l.Key}
		if _, err := c.get(nil); err != nil {
			return nil, err
		}
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
	}
	// The socket is there before the port is: a client that found the port alone would keep to it, and be refused what changes anything.
	var err error
	if s.socket, err = socketOf(l, l.Addr); err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", l.Addr); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the API on %s: %w; choose another --listen", l.Addr, err), s.closeSocket())
	}
	if s.socket == nil { // the port was the system's to choose, and nobody knows it yet
		if s.socket, err = socketOf(l, s.Addr()); err != nil {
			return nil, errors.Join(err, s.listener.Close())
		}
	}
	return s, nil
}

// socketOf is the socket of a scheduler that listens on an address, nil when it has none, or its port is not known.
func socketOf(l Listen, addr string) (net.Listener, error) {
	if _, port, err := net.SplitHostPort(addr); l.WorkDir == "" || err != nil || port == "" || port == "0" {
		return nil, nil // a wrong address is what listening on it tells
	}
	return listenUnix(l.WorkDir, addr)
}

func (s *Server) closeSocket() error {
	if s.socket == nil {
		return nil
	}
	return s.socket.Close()
}

// Addr is where the server listens, as host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is what a client on this machine is given.
func (s *Server) URL() string {
	if s.secure {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// Run serves until ctx ends; then requests have a moment to end before they are cut off. It returns nil after that.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 2)
	var serving sync.WaitGroup
	for _, listener := range []net.Listener{s.listener, s.socket} {
		switch {
		case listener == nil:
		case s.secure:
			serving.Go(func() { served <- s.http.ServeTLS(listener, "", "") })
		default:
			serving.Go(func() { served <- s.http.Serve(listener) })
		}
	}
	select {
	case err := <-served:
		_ = s.http.Close()
		serving.Wait()
		return fmt.Errorf("serve the API on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if s.http.Shutdown(stopping) != nil {
		_ = s.http.Close()
	}
	serving.Wait()
	return nil
}

// certificate is a pair of files, read again when the certificate changes.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	changed time.Time
	pair    *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.cert)
	if err == nil && c.pair != nil && info.ModTime().Equal(c.changed) {
		return c.pair, nil
	}
	pair, loadErr := tls.LoadX509KeyPair(c.cert, c.key)
	if err = errors.Join(err, loadErr); err != nil {
		if c.pair != nil {
			return c.pair, nil // half written by the renewal; the old one is better than none
		}
		return nil, fmt.Errorf("load the API's certificate: %w", err)
	}
	c.pair, c.changed = &pair, info.ModTime()
	return c.pair, nil
}
