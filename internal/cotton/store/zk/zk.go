// Package zk keeps the store in ZooKeeper, below the path of its address:
//
//	store/leader/…     one ephemeral sequential node per process that leads or waits to; the lowest leads
//	store/framework    the framework
//	store/clusters/<name>
//
// The original kept pickles below state/ and discovery below discover/; neither is touched here.
//
// Every write is one transaction with a check that this process' own node among the leaders is still there, so one whose
// session has expired writes nothing, however late its request arrives.
package zk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	zklib "github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/zookeeper"
)

const (
	storePart     = "store"
	leaderPart    = "leader"
	frameworkPart = "framework"
	clustersPart  = "clusters"

	// readers bounds requests at once when all clusters are read.
	readers = 16
)

// Options of a store; the zero value is fine.
type Options struct {
	// SessionTimeout is how long ZooKeeper waits for a silent leader before another one leads; 10 s when zero.
	SessionTimeout time.Duration
	Log            *slog.Logger
}

// Store is a tree of znodes.
type Store struct {
	conn *zookeeper.Conn
	log  *slog.Logger

	mu     sync.Mutex
	leader *leadership // nil unless leading
}

var _ store.Store = (*Store)(nil)

// Open connects and makes the tree where it is missing. It gives up when ctx ends.
func Open(ctx context.Context, url zookeeper.URL, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	conn, err := zookeeper.Connect(ctx, url, zookeeper.Options{SessionTimeout: o.SessionTimeout, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s := &Store{conn: conn, log: o.Log}
	for _, part := range []string{leaderPart, clustersPart} {
		if err := conn.EnsurePath(ctx, s.path(part)); err != nil {
			conn.Close()
			return nil, fmt.Errorf("open the store: %w", err)
		}
	}
	if err := s.protect(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return s, nil
}

// protect keeps everybody else from the store, also from what was made before the address named a user.
func (s *Store) protect(ctx context.Context) error {
	url := s.conn.URL()
	if url.User == "" {
		s.log.Warn("the store's address names no user: whoever reaches ZooKeeper reads the hashes of passwords, deletes clusters' records, "+
			"makes any instance the primary, and has others lead; give zk://user:password@..., or --zk-credentials-file", "store", url.String())
		return nil
	}
	changed, err := s.conn.Protect(ctx, s.path())
	if err != nil {
		return err
	}
	if changed > 0 {
		s.log.Info("the store is closed to everybody else now", "store", url.String(), "nodes", changed)
	}
	return s.conn.ProtectRoot(ctx)
}

func (s *Store) path(parts ...string) string {
	return s.conn.URL().Join(append([]string{storePart}, parts...)...)
}

// Close gives the lead up and ends the session.
func (s *Store) Close() error {
	s.mu.Lock()
	l := s.leader
	s.mu.Unlock()
	if l != nil {
		s.release(l)
	}
	s.conn.Close()
	return nil
}

// value is a node's data and the version it has for us: one more than ZooKeeper's, which begins at 0.
type value struct {
	data    []byte
	version int64
}

// get is nil when there is no such node.
func (s *Store) get(ctx context.Context, path string) (*value, error) {
	return zookeeper.Do(ctx, s.conn, func(z *zklib.Conn, _ bool) (*value, error) { return get(z, path) })
}

func get(z *zklib.Conn, path string) (*value, error) {
	data, stat, err := z.Get(path)
	if errors.Is(err, zklib.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &value{data, int64(stat.Version) + 1}, nil
}

func (s *Store) Framework(ctx context.Context) (store.Framework, error) {
	v, err := s.get(ctx, s.path(frameworkPart))
	if err != nil {
		return store.Framework{}, fmt.Errorf("read the framework from %s: %w", s.conn.URL(), err)
	}
	if v == nil {
		return store.Framework{}, nil
	}
	f, err := store.DecodeFramework(v.data)
	if err != nil {
		return store.Framework{}, fmt.Errorf("%s: %w", s.conn.URL(), err)
	}
	f.Version = v.version
	return f, nil
}

func (s *Store) PutFramework(ctx context.Context, f store.Framework) (store.Framework, error) {
	data, err := store.EncodeFramework(f)
	if err != nil {
		return store.Framework{}, err
	}
	if f.Version, err = s.put(ctx, s.path(frameworkPart), data, f.Version); err != nil {
		return store.Framework{}, fmt.Errorf("store the framework in %s: %w", s.conn.URL(), err)
	}
	return f, nil
}

func (s *Store) Clusters(ctx context.Context) ([]cotton.Record, error) {
	names, err := zookeeper.Do(ctx, s.conn, func(z *zklib.Conn, _ bool) ([]string, error) {
		names, _, err := z.Children(s.path(clustersPart))
		return names, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the clusters in %s: %w", s.conn.URL(), err)
	}
	slices.Sort(names)
	values := make([]*value, len(names))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, name := range names {
		group.Go(func() (err error) {
			if values[i], err = s.get(gctx, s.path(clustersPart, name)); err != nil {
				return fmt.Errorf("read cluster %s from %s: %w", name, s.conn.URL(), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var records []cotton.Record
	for i, v := range values {
		if v == nil { // deleted since it was listed
			continue
		}
		r, err := store.DecodeCluster(names[i], v.data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.conn.URL(), err)
		}
		r.Version = v.version
		records = append(records, r)
	}
	return records, nil
}

func (s *Store) Put(ctx context.Context, r cotton.Record) (cotton.Record, error) {
	data, err := store.EncodeCluster(r)
	if err != nil {
		return cotton.Record{}, err
	}
	r.Schema, r.Dropped = cotton.SchemaVersion, nil
	if r.Version, err = s.put(ctx, s.path(clustersPart, r.Spec.Name), data, r.Version); err != nil {
		return cotton.Record{}, fmt.Errorf("store cluster %s in %s: %w", r.Spec.Name, s.conn.URL(), err)
	}
	return r, nil
}

func (s *Store) Delete(ctx context.Context, name string, version int64) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	if err := s.delete(ctx, s.path(clustersPart, name), version); err != nil {
		return fmt.Errorf("delete cluster %s from %s: %w", name, s.conn.URL(), err)
	}
	return nil
}

// put replaces the data of a node that has version was, or makes one (0), and returns its new version.
func (s *Store) put(ctx context.Context, path string, data []byte, was int64) (int64, error) {
	fence, err := s.fence()
	if err != nil {
		return 0, err
	}
	var write any = &zklib.SetDataRequest{Path: path, Data: data, Version: int32(was - 1)}
	if was == 0 {
		write = &zklib.CreateRequest{Path: path, Data: data, Acl: s.conn.ACL()}
	}
	err = s.fenced(ctx, fence, write, func(z *zklib.Conn) (done bool, err error) {
		v, err := get(z, path)
		return v != nil && v.version == was+1 && bytes.Equal(v.data, data), err
	})
	switch {
	case err == nil:
		return was + 1, nil
	case errors.Is(err, zklib.ErrNodeExists), errors.Is(err, zklib.ErrBadVersion), errors.Is(err, zklib.ErrNoNode):
		return 0, fmt.Errorf("%w than %d", store.ErrConflict, was)
	}
	return 0, err
}

func (s *Store) delete(ctx context.Context, path string, was int64) error {
	fence, err := s.fence()
	if err != nil {
		return err
	}
	if was < 1 {
		return fmt.Errorf("%w than %d", store.ErrConflict, was)
	}
	err = s.fenced(ctx, fence, &zklib.DeleteRequest{Path: path, Version: int32(was - 1)}, func(z *zklib.Conn) (bool, error) {
		v, err := get(z, path)
		return v == nil, err
	})
	switch {
	case errors.Is(err, zklib.ErrNoNode):
		return store.ErrNotFound
	case errors.Is(err, zklib.ErrBadVersion):
		return fmt.Errorf("%w than %d", store.ErrConflict, was)
	}
	return err
}

// fenced carries one write out together with a check of this process' lead. When an attempt ended without an answer,
// done tells whether it was carried out all the same: only the leader writes, so what is there is ours.
func (s *Store) fenced(ctx context.Context, fence string, write any, done func(*zklib.Conn) (bool, error)) error {
	_, err := zookeeper.Do(ctx, s.conn, func(z *zklib.Conn, again bool) (struct{}, error) {
		if again {
			if ok, err := done(z); ok || err != nil {
				return struct{}{}, err
			}
		}
		results, err := z.Multi(&zklib.CheckVersionRequest{Path: fence, Version: -1}, write)
		if len(results) > 0 && errors.Is(results[0].Error, zklib.ErrNoNode) {
			return struct{}{}, store.ErrNotLeader
		}
		return struct{}{}, err
	})
	if errors.Is(err, store.ErrNotLeader) {
		s.lose(fence)
	}
	return err
}
