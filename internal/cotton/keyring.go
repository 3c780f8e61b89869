package cotton

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Keyring is the keys of a file, which may change while they are used. It is safe for concurrent use.
type Keyring struct {
	path string
	keys atomic.Pointer[AdminKeys]
}

// KeyringEvery is how often a file of keys is read again.
const KeyringEvery = time.Second

// OpenKeyring reads a file of keys.
func OpenKeyring(path string) (*Keyring, error) {
	keys, err := ReadAdminKeys(path)
	if err != nil {
		return nil, err
	}
	r := NewKeyring(keys...)
	r.path = path
	return r, nil
}

// NewKeyring is a ring of keys that are in no file.
func NewKeyring(keys ...AdminKey) *Keyring {
	r := &Keyring{}
	all := AdminKeys(keys)
	r.keys.Store(&all)
	return r
}

// Keys are those of the last look at the file.
func (r *Keyring) Keys() AdminKeys { return *r.keys.Load() }

// Refresh looks at the file again. After an error the former keys stay in use.
func (r *Keyring) Refresh() (changed bool, err error) {
	if r.path == "" {
		return false, nil
	}
	keys, err := ReadAdminKeys(r.path)
	if err != nil {
		return false, err
	}
	before := r.Keys()
	if keys.Equal(before) {
		return false, nil
	}
	// Servers, replication channels and other hosts have the former keys.
	if !slices.ContainsFunc(keys, func(k AdminKey) bool { return before.index(k) >= 0 }) {
		return false, fmt.Errorf("read the admin key: %s %w", r.path, errReplaced)
	}
	r.keys.Store(&keys)
	return true, nil
}

// Follow looks at the file every second until ctx ends; say is told of each change, and of each new trouble.
func (r *Keyring) Follow(ctx context.Context, say func(changed bool, err error)) {
	tick := time.NewTicker(KeyringEvery)
	defer tick.Stop()
	trouble := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := r.Refresh()
		now := ""
		if err != nil {
			now = err.Error()
		}
		if changed || now != "" && now != trouble {
			say(changed, err)
		}
		trouble = now
	}
}
