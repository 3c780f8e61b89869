package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// DefaultSessionTimeout is after how long without a word ZooKeeper takes a client for dead. Mesos uses the same.
const DefaultSessionTimeout = 10 * time.Second

// opTimeout bounds a request whose context has no earlier deadline: an ensemble that elects a leader is back sooner.
const opTimeout = 30 * time.Second

// retryInterval is how long after a request failed for want of a server it is tried again.
const retryInterval = 100 * time.Millisecond

// ErrUnavailable wraps what a request fails with while no server of the ensemble answers.
var ErrUnavailable = errors.New("ZooKeeper does not answer")

var errClosed = errors.New("the connection to ZooKeeper is closed")

// Options of a connection; the zero value is fine.
type Options struct {
	SessionTimeout time.Duration // what is asked for; servers have bounds of their own
	Access         Access        // of the nodes that are made
	Log            *slog.Logger
}

// Conn is a session with ZooKeeper that is renewed by itself when it expires.
type Conn struct {
	url   URL
	conn  *zk.Conn
	acl   []zk.ACL
	calls sync.WaitGroup // requests under way, also those whose caller has gone

	mu      sync.Mutex
	timeout time.Duration // of the session
	trouble string        // the last thing the client library complained of
	closed  bool
}

// Connect waits until there is a session, or ctx ends: the error then says what was tried.
func Connect(ctx context.Context, u URL, o Options) (*Conn, error) {
	if o.SessionTimeout <= 0 {
		o.SessionTimeout = DefaultSessionTimeout
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Conn{url: u, timeout: o.SessionTimeout, acl: o.Access.acl(u)}
	session := make(chan struct{}, 1)
	conn, _, err := zk.Connect(u.Servers, o.SessionTimeout,
		zk.WithLogInfo(true), zk.WithLogger(quietLog{c, o.Log}), zk.WithDialer(c.dial),
		zk.WithEventCallback(func(e zk.Event) {
			if e.State == zk.StateHasSession {
				select {
				case session <- struct{}{}:
				default:
				}
			}
		}))
	if err != nil { // no host name could be looked up
		return nil, fmt.Errorf("connect to %s: %w", u, err)
	}
	c.conn = conn
	select {
	case <-session:
	case <-ctx.Done():
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w (%s): check that ZooKeeper runs there", u, c.noAnswer(ctx.Err()), c.lastTrouble())
	}
	if err := c.authenticate(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) authenticate(ctx context.Context) error {
	if c.url.User == "" {
		return nil
	}
	_, err := Do(ctx, c, func(z *zk.Conn, _ bool) (struct{}, error) {
		return struct{}{}, z.AddAuth("digest", []byte(c.url.User+":"+c.url.Password))
	})
	if err != nil {
		return fmt.Errorf("authenticate to %s: %w", c.url, err)
	}
	return nil
}

// Close ends the session, and with it the ephemeral nodes, and waits for requests under way.
func (c *Conn) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.conn.Close()
	c.calls.Wait()
}

// begin counts a request in, unless the connection is closed.
func (c *Conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls.Add(1)
	}
	return !c.closed
}

// URL is where the connection leads.
func (c *Conn) URL() URL { return c.url }

// ACL is what new nodes are made with, see Access.
func (c *Conn) ACL() []zk.ACL { return c.acl }

// SessionTimeout is what the servers granted: they have bounds of their own.
func (c *Conn) SessionTimeout() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timeout
}

// Server is the one that is connected to, or was last.
func (c *Conn) Server() string { return c.conn.Server() }

// Do runs one request, and again while no server answers, until ctx ends or 30 s passed. A request that failed for want
// of a server may have been carried out all the same: again tells fn that it may meet its own doing.
//
// When ctx ends first Do returns without waiting for fn, so fn must write to nothing but its results.
func Do[T any](ctx context.Context, c *Conn, fn func(z *zk.Conn, again bool) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	var zero T
	for again := false; ; again = true {
		done := make(chan answer, 1)
		if !c.begin() {
			return zero, errClosed
		}
		go func() {
			defer c.calls.Done()
			v, err := fn(c.conn, again)
			done <- answer{v, err}
		}()
		select {
		case a := <-done:
			if !transient(a.err) {
				return a.value, explain(a.err)
			}
		case <-ctx.Done():
			return zero, c.noAnswer(ctx.Err())
		}
		if !sleep(ctx, retryInterval) {
			return zero, c.noAnswer(ctx.Err())
		}
	}
}

// noAnswer is the error of a request that ctx ended.
func (c *Conn) noAnswer(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w at %s: %w", ErrUnavailable, strings.Join(c.url.Servers, ","), err)
}

// transient tells whether another try may help: the server went away, or the session did and a new one is coming.
func transient(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, zk.ErrSessionExpired) ||
		errors.Is(err, zk.ErrSessionMoved) || isNetwork(err)
}

func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n)
}

func explain(err error) error {
	if errors.Is(err, zk.ErrNoAuth) || errors.Is(err, zk.ErrAuthFailed) {
		return fmt.Errorf("%w: the user and password in the zk:// address may not do that", err)
	}
	return err
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// EnsurePath makes a node and all above it, each empty, where they are missing.
func (c *Conn) EnsurePath(ctx context.Context, path string) error {
	if path == "/" {
		return nil
	}
	_, err := Do(ctx, c, func(z *zk.Conn, _ bool) (struct{}, error) { return struct{}{}, c.ensure(z, path) })
	if err != nil {
		return fmt.Errorf("make %s in %s: %w", path, c.url, err)
	}
	return nil
}

func (c *Conn) ensure(z *zk.Conn, path string) error {
	// Looked for first: who may not write to the parents can still use what is there.
	if exists, _, err := z.Exists(path); err != nil || exists {
		return err
	}
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		if err := c.ensure(z, path[:i]); err != nil {
			return err
		}
	}
	if _, err := z.Create(path, nil, 0, c.acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return err
	}
	return nil
}

// dial makes connections whose reads end within four ninths of a session. A third of one passes between two pings, so a
// healthy server has answered by then; and a server that hangs is left early enough for a leader to reach another one
// before it must take its lead for lost, at two thirds. The library by itself waits those two thirds, and ten times as
// long for a server that accepts the connection but hangs.
func (c *Conn) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	return impatientConn{conn, c}, nil
}

type impatientConn struct {
	net.Conn
	of *Conn
}

func (c impatientConn) SetReadDeadline(t time.Time) error {
	if latest := time.Now().Add(c.of.SessionTimeout() * 4 / 9); t.After(latest) {
		t = latest
	}
	return c.Conn.SetReadDeadline(t)
}

// grantedFormat is how the client library logs a new session. It is the only place where it tells what timeout the
// server granted.
const grantedFormat = "authenticated: id=%d, timeout=%d"

// quietLog keeps the library's complaints for error messages and shows them at debug level only: it repeats each with
// every try.
type quietLog struct {
	conn *Conn
	log  *slog.Logger
}

func (l quietLog) Printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.log.Debug("zookeeper client", "servers", l.conn.url.String(), "says", text)
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if format == grantedFormat && len(args) == 2 {
		if ms, ok := args[1].(int32); ok && ms > 0 {
			l.conn.timeout = time.Duration(ms) * time.Millisecond
		}
	}
	if strings.Contains(text, "failed") {
		l.conn.trouble = text
	}
}

func (c *Conn) lastTrouble() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trouble == "" {
		return "no answer"
	}
	return c.trouble
}
