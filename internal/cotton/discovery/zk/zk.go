// Package zk publishes clusters in ZooKeeper with the original's paths and JSON, so that its clients work unchanged:
//
//	<root>/discover/<cluster>/master/member_0000000001
//	<root>/discover/<cluster>/slaves/member_0000000002
//
// The nodes are persistent and the number is the member's id. Promotion moves a member from slaves to master in the
// transaction that removes the old master.
package zk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	zklib "github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/zookeeper"
)

const (
	discoverPart = "discover"
	mastersPart  = "master"
	slavesPart   = "slaves"

	// attempts to change a cluster that is changed by others meanwhile: this process is the only one that should.
	attempts = 10
)

// ErrFenced: the fence is gone, nothing was published.
var ErrFenced = errors.New("this process no longer leads: nothing was published")

// Publisher writes below the path of a connection's address.
type Publisher struct {
	conn  *zookeeper.Conn
	fence func() (path string, ok bool)
}

var _ discovery.Publisher = (*Publisher)(nil)

// New publishes over conn, which stays the caller's. fence may be nil; else it names a node of the same ZooKeeper without
// which nothing may be published, such as that of the leader lock: it is checked within every transaction, so one that
// lost its lead cannot overwrite what its successor published, however late its request arrives (I10).
func New(conn *zookeeper.Conn, fence func() (path string, ok bool)) *Publisher {
	return &Publisher{conn, fence}
}

// Protect lets everybody read what is published, and nobody else write it, also what was made before the address named a user, or
// by an earlier release, which let nobody read.
func (p *Publisher) Protect(ctx context.Context) (changed int, err error) {
	if err := p.conn.EnsurePath(ctx, p.path()); err != nil {
		return 0, fmt.Errorf("protect what is published: %w", err)
	}
	if changed, err = p.conn.Protect(ctx, p.path()); err != nil {
		return changed, fmt.Errorf("protect what is published: %w", err)
	}
	if err := p.conn.ProtectRoot(ctx); err != nil {
		return changed, fmt.Errorf("protect what is published: %w", err)
	}
	return changed, nil
}

// node is a published member: its content and version.
type node struct {
	data    []byte
	version int32
}

// published is what is in ZooKeeper of one cluster: nodes by path, also the cluster's own and the two directories.
type published map[string]node

// Publish makes exactly this known, in one transaction.
func (p *Publisher) Publish(ctx context.Context, cluster string, primary *discovery.Endpoint, replicas []discovery.Endpoint) error {
	want, err := p.wanted(cluster, primary, replicas)
	if err != nil {
		return fmt.Errorf("publish cluster %s: %w", cluster, err)
	}
	if err := p.conn.EnsurePath(ctx, p.path()); err != nil {
		return fmt.Errorf("publish cluster %s: %w", cluster, err)
	}
	if err := p.change(ctx, cluster, want); err != nil {
		return fmt.Errorf("publish cluster %s in %s: %w", cluster, p.conn.URL(), err)
	}
	return nil
}

// Remove takes the cluster and all below it away, in one transaction.
func (p *Publisher) Remove(ctx context.Context, cluster string) error {
	if err := checkName(cluster); err != nil {
		return err
	}
	if err := p.change(ctx, cluster, nil); err != nil {
		return fmt.Errorf("remove cluster %s from %s: %w", cluster, p.conn.URL(), err)
	}
	return nil
}

func (p *Publisher) path(parts ...string) string {
	return p.conn.URL().Join(append([]string{discoverPart}, parts...)...)
}

// checkName refuses what would lead elsewhere in the tree.
func checkName(cluster string) error {
	if cluster == "" || cluster == "." || cluster == ".." || bytes.ContainsAny([]byte(cluster), "/\x00") {
		return fmt.Errorf("%q cannot name a published cluster", cluster)
	}
	return nil
}

// wanted is the content of every node of a cluster by path.
func (p *Publisher) wanted(cluster string, primary *discovery.Endpoint, replicas []discovery.Endpoint) (map[string][]byte, error) {
	if err := checkName(cluster); err != nil {
		return nil, err
	}
	want := map[string][]byte{p.path(cluster): nil, p.path(cluster, mastersPart): nil, p.path(cluster, slavesPart): nil}
	seen := map[int]bool{}
	add := func(directory string, e discovery.Endpoint) error {
		switch {
		case seen[e.ID]:
			return fmt.Errorf("two instances have id %d", e.ID)
		case e.Host == "" || e.Port <= 0 || e.Port > 65535 || e.ID < 0:
			return fmt.Errorf("instance %d has no usable address: %q port %d", e.ID, e.Host, e.Port)
		}
		seen[e.ID] = true
		data, err := discovery.EncodeServerSet(e)
		want[p.path(cluster, directory, fmt.Sprintf("member_%010d", e.ID))] = data
		return err
	}
	if primary != nil {
		if err := add(mastersPart, *primary); err != nil {
			return nil, err
		}
	}
	for _, r := range replicas {
		if err := add(slavesPart, r); err != nil {
			return nil, err
		}
	}
	return want, nil
}

// change reads what is there and turns it into want in one transaction, and reads again when others changed it
// meanwhile, or when it is not known whether an attempt was carried out: that shows.
func (p *Publisher) change(ctx context.Context, cluster string, want map[string][]byte) error {
	var fence string
	if p.fence != nil {
		var ok bool
		if fence, ok = p.fence(); !ok {
			return ErrFenced
		}
	}
	_, err := zookeeper.Do(ctx, p.conn, func(z *zklib.Conn, _ bool) (struct{}, error) {
		for range attempts {
			have, err := p.read(z, cluster)
			if err != nil {
				return struct{}{}, err
			}
			ops := difference(have, want, p.conn.ACL())
			if len(ops) == 0 {
				return struct{}{}, nil
			}
			// Two transactions that begin from the same state need not touch the same members: each could add a master of
			// its own. So every one raises the version of the cluster's node, and fails where that has been raised since
			// it was read, before everything below it. When the node itself comes or goes, that serves.
			top := p.path(cluster)
			if is, exists := have[top]; exists && want != nil {
				ops = append(ops, &zklib.SetDataRequest{Path: top, Data: is.data, Version: is.version})
			}
			err = apply(z, fence, ops)
			if !overtaken(err) {
				return struct{}{}, err
			}
		}
		return struct{}{}, fmt.Errorf("others changed it %d times meanwhile: is there a second scheduler?", attempts)
	})
	return err
}

func apply(z *zklib.Conn, fence string, ops []any) error {
	if fence == "" {
		_, err := z.Multi(ops...)
		return err
	}
	results, err := z.Multi(slices.Insert(ops, 0, any(&zklib.CheckVersionRequest{Path: fence, Version: -1}))...)
	if len(results) > 0 && errors.Is(results[0].Error, zklib.ErrNoNode) {
		return ErrFenced
	}
	return err
}

// overtaken: what was read is no longer so.
func overtaken(err error) bool {
	return errors.Is(err, zklib.ErrNoNode) || errors.Is(err, zklib.ErrNodeExists) || errors.Is(err, zklib.ErrBadVersion) ||
		errors.Is(err, zklib.ErrNotEmpty)
}

// read is everything below a cluster, top down; empty when it is not there. It syncs first: a server that lags behind
// would show what was there before another process' last change.
func (p *Publisher) read(z *zklib.Conn, cluster string) (published, error) {
	have := published{}
	if _, err := z.Sync(p.path(cluster)); err != nil {
		return nil, err
	}
	var walk func(path string) error
	walk = func(path string) error {
		data, stat, err := z.Get(path)
		if errors.Is(err, zklib.ErrNoNode) { // gone meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		have[path] = node{data, stat.Version}
		children, _, err := z.Children(path)
		if err != nil && !errors.Is(err, zklib.ErrNoNode) {
			return err
		}
		for _, child := range children {
			if err := walk(path + "/" + child); err != nil {
				return err
			}
		}
		return nil
	}
	return have, walk(p.path(cluster))
}

// difference is the operations that turn have into want: deletions first and from the leaves, then creations from the
// root. Directories, whose wanted content is nil, are left as they are.
func difference(have published, want map[string][]byte, acl []zklib.ACL) []any {
	var ops []any
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(have))) {
		if _, wanted := want[path]; !wanted {
			ops = append(ops, &zklib.DeleteRequest{Path: path, Version: have[path].version})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		data := want[path]
		switch is, exists := have[path]; {
		case !exists:
			ops = append(ops, &zklib.CreateRequest{Path: path, Data: data, Acl: acl})
		case data != nil && !sameMember(is.data, data):
			ops = append(ops, &zklib.SetDataRequest{Path: path, Data: data, Version: is.version})
		}
	}
	return ops
}

// sameMember leaves alone what the original wrote with other spaces.
func sameMember(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := discovery.DecodeServerSet(a)
	y, errY := discovery.DecodeServerSet(b)
	sameShard := (x.Shard == nil) == (y.Shard == nil) && (x.Shard == nil || *x.Shard == *y.Shard)
	return errX == nil && errY == nil && x.Host == y.Host && x.Port == y.Port && sameShard
}
