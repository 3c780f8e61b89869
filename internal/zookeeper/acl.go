package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"
)

// Access says who may do what with the nodes that a connection makes. It takes effect where the address names a user: without
// one everybody may do everything.
type Access int

const (
	// Private: the user alone.
	Private Access = iota
	// Published: everybody reads, the user alone writes.
	Published
)

// acl is what nodes are made with.
func (a Access) acl(u URL) []zk.ACL {
	if u.User == "" {
		return zk.WorldACL(zk.PermAll)
	}
	acl := zk.DigestACL(zk.PermAll, u.User, u.Password)
	if a == Published {
		acl = append(acl, zk.WorldACL(zk.PermRead)...)
	}
	return acl
}

// Protect gives a node and all below it the access that new nodes of this connection get: what was made without a user, or by an
// earlier release. Without a user it changes nothing. It tells how many nodes it changed.
func (c *Conn) Protect(ctx context.Context, path string) (changed int, err error) {
	if c.url.User == "" {
		return 0, nil
	}
	return c.protect(ctx, path)
}

// ProtectRoot does the same for the node of the address alone, where everybody may do everything with it: who may delete there
// may delete what is below.
func (c *Conn) ProtectRoot(ctx context.Context) error {
	if c.url.User == "" || c.url.Path == "" {
		return nil
	}
	acl, err := c.readACL(ctx, c.url.Path)
	if err != nil || !slices.Equal(acl, zk.WorldACL(zk.PermAll)) {
		return err
	}
	return c.setACL(ctx, c.url.Path, Published.acl(c.url))
}

func (c *Conn) protect(ctx context.Context, path string) (changed int, err error) {
	have, err := c.readACL(ctx, path)
	if err != nil || have == nil {
		return 0, err
	}
	if !sameACL(have, c.acl) {
		if err := c.setACL(ctx, path, c.acl); err != nil {
			return 0, err
		}
		changed++
	}
	children, err := Do(ctx, c, func(z *zk.Conn, _ bool) ([]string, error) {
		names, _, err := z.Children(path)
		if errors.Is(err, zk.ErrNoNode) {
			err = nil
		}
		return names, err
	})
	if err != nil {
		return changed, fmt.Errorf("list %s in %s: %w", path, c.url, err)
	}
	for _, name := range children {
		n, err := c.protect(ctx, path+"/"+name)
		if changed += n; err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// readACL is nil for a node that is not there.
func (c *Conn) readACL(ctx context.Context, path string) ([]zk.ACL, error) {
	acl, err := Do(ctx, c, func(z *zk.Conn, _ bool) ([]zk.ACL, error) {
		acl, _, err := z.GetACL(path)
		if errors.Is(err, zk.ErrNoNode) {
			return nil, nil
		}
		return acl, err
	})
	if err != nil {
		return nil, fmt.Errorf("read who may use %s in %s: %w", path, c.url, err)
	}
	return acl, nil
}

func (c *Conn) setACL(ctx context.Context, path string, acl []zk.ACL) error {
	_, err := Do(ctx, c, func(z *zk.Conn, _ bool) (struct{}, error) {
		_, err := z.SetACL(path, acl, -1)
		if errors.Is(err, zk.ErrNoNode) {
			err = nil
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("set who may use %s in %s: %w", path, c.url, err)
	}
	return nil
}

// sameACL compares what may come in any order.
func sameACL(a, b []zk.ACL) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x zk.ACL) bool { return !slices.Contains(b, x) })
}
