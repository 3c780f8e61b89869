package zk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	zklib "github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/zookeeper"
)

// releaseTimeout bounds giving the lead up: ZooKeeper does it by itself when the session ends.
const releaseTimeout = 5 * time.Second

// leadership is this process' turn to lead.
type leadership struct {
	node string // ephemeral
	lost chan struct{}
	once sync.Once // of lost
	stop context.CancelFunc
	done chan struct{} // the watcher has ended
}

func (l *leadership) lose() { l.once.Do(func() { close(l.lost) }) }

// Lead waits in line for its turn. lost is closed as soon as ZooKeeper says that the lead is gone, or has not answered
// for two thirds of a session: another one leads after a whole one.
func (s *Store) Lead(ctx context.Context, holder string) (<-chan struct{}, func(), error) {
	s.mu.Lock()
	leading := s.leader != nil
	s.mu.Unlock()
	if leading {
		return nil, nil, errors.New("lead: this process leads already")
	}
	c := candidacy{store: s, prefix: "candidate-" + strings.ToLower(rand.Text()) + "-", holder: holder}
	if err := c.await(ctx); err != nil {
		c.withdraw()
		return nil, nil, fmt.Errorf("wait for the lead in %s, held by %s: %w", s.conn.URL(), c.leader(), err)
	}
	watch, stop := context.WithCancel(context.Background())
	l := &leadership{node: s.path(leaderPart, c.name), lost: make(chan struct{}), stop: stop, done: make(chan struct{})}
	s.mu.Lock()
	s.leader = l
	s.mu.Unlock()
	go s.watch(watch, l, c.seen)
	return l.lost, func() { s.release(l) }, nil
}

// fence is the node whose existence means that this process leads. It is checked within every write.
func (s *Store) fence() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == nil {
		return "", store.ErrNotLeader
	}
	return s.leader.node, nil
}

// Fence is the path of the ephemeral node that exists as long as this process leads, for transactions of others in the
// same ZooKeeper; ok is false when it does not lead.
func (s *Store) Fence() (path string, ok bool) {
	path, err := s.fence()
	return path, err == nil
}

// lose ends the lead that has this node, when a write has found it gone.
func (s *Store) lose(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader != nil && s.leader.node == node {
		s.leader.lose()
		s.leader.stop()
		s.leader = nil
	}
}

func (s *Store) release(l *leadership) {
	l.stop()
	<-l.done
	s.mu.Lock()
	if s.leader == l {
		s.leader = nil
	}
	s.mu.Unlock()
	s.remove(l.node)
}

func (s *Store) remove(node string) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_, err := zookeeper.Do(ctx, s.conn, func(z *zklib.Conn, _ bool) (struct{}, error) { return struct{}{}, z.Delete(node, -1) })
	if err != nil && !errors.Is(err, zklib.ErrNoNode) {
		s.log.Warn("the lead is given up only when the session ends", "node", node, "error", err)
	}
}

// watch closes l.lost when the lead is gone or may be. seen is when ZooKeeper was last asked a question that it answered.
func (s *Store) watch(ctx context.Context, l *leadership, seen time.Time) {
	defer close(l.done)
	session := s.conn.SessionTimeout()
	ticker := time.NewTicker(session / 6)
	defer ticker.Stop()
	var changed <-chan zklib.Event // nil = not watched
	for {
		asked := time.Now()
		// What is asked at asked and answered at all was heard by ZooKeeper after asked: the session lives a whole
		// timeout from there, by its clock, which runs as fast as ours.
		bounded, cancel := context.WithDeadline(ctx, seen.Add(session*2/3))
		there, err := s.there(bounded, l.node, changed == nil)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil || !there.exists:
			s.log.Error("the lead is lost", "store", s.conn.URL().String(), "node", l.node, "error", err)
			s.lose(l.node)
			return
		}
		seen = asked
		if there.changed != nil {
			changed = there.changed
		}
		select {
		case <-changed:
			changed = nil
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

type presence struct {
	exists  bool
	changed <-chan zklib.Event // nil unless a watch was set
}

// there asks for a node, with or without a watch: the client library keeps every watch that is set until it fires. It
// syncs first: a server that is cut off from its ensemble goes on answering for some seconds from what it knew.
func (s *Store) there(ctx context.Context, node string, watch bool) (presence, error) {
	return zookeeper.Do(ctx, s.conn, func(z *zklib.Conn, _ bool) (p presence, err error) {
		if _, err := z.Sync(node); err != nil && !errors.Is(err, zklib.ErrNoNode) {
			return p, err
		}
		if watch {
			p.exists, _, p.changed, err = z.ExistsW(node)
		} else {
			p.exists, _, err = z.Exists(node)
		}
		return p, err
	})
}

// candidacy is a place in the line of those who want to lead.
type candidacy struct {
	store  *Store
	prefix string // tells its node from all others', also when the answer to its creation was lost
	holder string
	name   string    // of its node, once it is known
	seen   time.Time // when the question was asked that found it first in line
	ahead  string    // the node of who leads
}

// await returns once the candidacy is first in line.
func (c *candidacy) await(ctx context.Context) error {
	for {
		asked := time.Now()
		line, err := c.line(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(line, func(n string) bool { return strings.HasPrefix(n, c.prefix) })
		switch {
		case i < 0: // at first, and when the session has expired meanwhile
			if err := c.stand(ctx); err != nil {
				return err
			}
			continue
		case i == 0:
			c.name, c.seen = line[0], asked
			return nil
		}
		c.name, c.ahead = line[i], line[0]
		if err := c.awaitEnd(ctx, line[i-1]); err != nil {
			return err
		}
	}
}

// line is all candidates, first the one that leads.
func (c *candidacy) line(ctx context.Context) ([]string, error) {
	names, err := zookeeper.Do(ctx, c.store.conn, func(z *zklib.Conn, _ bool) ([]string, error) {
		names, _, err := z.Children(c.store.path(leaderPart))
		return names, err
	})
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(sequence(a), sequence(b)) })
	return names, err
}

// sequence is the number that ZooKeeper appends: ten digits.
func sequence(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

func (c *candidacy) stand(ctx context.Context) error {
	path := c.store.path(leaderPart, c.prefix)
	_, err := zookeeper.Do(ctx, c.store.conn, func(z *zklib.Conn, again bool) (struct{}, error) {
		if again { // the attempt before may have made it: await looks first
			return struct{}{}, nil
		}
		_, err := z.Create(path, []byte(c.holder), zklib.FlagEphemeralSequential, c.store.conn.ACL())
		return struct{}{}, err
	})
	return err
}

// awaitEnd waits until the candidate before has left the line.
func (c *candidacy) awaitEnd(ctx context.Context, name string) error {
	there, err := c.store.there(ctx, c.store.path(leaderPart, name), true)
	if err != nil || !there.exists {
		return err
	}
	select {
	case <-there.changed: // gone, or the session is: await sees which
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withdraw leaves the line. The node is looked for: the answer to its creation may have been missed.
func (c *candidacy) withdraw() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	line, err := c.line(ctx)
	if err != nil {
		return // without ZooKeeper the session ends, and the node with it
	}
	for _, name := range line {
		if strings.HasPrefix(name, c.prefix) {
			c.store.remove(c.store.path(leaderPart, name))
		}
	}
}

// leader is who leads, for people.
func (c *candidacy) leader() string {
	if c.ahead == "" {
		return "nobody yet"
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	v, err := c.store.get(ctx, c.store.path(leaderPart, c.ahead))
	if err != nil || v == nil {
		return "another process"
	}
	return string(v.data)
}
