package cotton

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Accounts that every data directory has. Clients never get them: theirs is the cluster user.
const (
	AdminAccount       = "cotton_admin" // the scheduler's and the executor's; over TLS only
	ReplicationAccount = "cotton_repl"  // of replicas at their source, and of clones at their donor; over TLS only
)

const (
	// minKeyBytes is what a key needs for its passwords not to be guessed.
	minKeyBytes = 16
	// maxKeys of a file: a rotation needs two.
	maxKeys = 8
	// passwordBytes make 32 characters: more, CHANGE REPLICATION SOURCE refuses.
	passwordBytes = 24
)

// AdminKey is a secret that all passwords and certificates of ours are derived from. It lies in a file on the scheduler's
// host and on every agent, so that no password ever travels through Mesos, a label, argv or the store.
type AdminKey []byte

// String keeps the key out of logs.
func (AdminKey) String() string { return "***" }

// GoString keeps the key out of %#v.
func (AdminKey) GoString() string { return "***" }

// ID names a key without telling anything of it.
func (k AdminKey) ID() string {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte("cotton/key-id"))
	return hex.EncodeToString(mac.Sum(nil)[:4])
}

// Identity is what the secrets of a cluster derive from, besides a key.
type Identity struct {
	Cluster string
	// Incarnation tells a cluster from all others that ever had its name; empty for what an earlier release made.
	Incarnation string
	// Former: its accounts may still have the passwords of an earlier release, which derive from the name alone.
	Former bool
}

// Password is that of an account in a cluster: the same on all its members, so that a clone keeps working, and another
// one in every cluster, also in one of the same name.
func (k AdminKey) Password(id Identity, account string) string {
	if id.Incarnation == "" {
		mac := hmac.New(sha256.New, k)
		fmt.Fprintf(mac, "cotton/%s/%s", account, id.Cluster)
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:passwordBytes])
	}
	return base64.RawURLEncoding.EncodeToString(k.derive(passwordBytes, "password", account, id.Cluster, id.Incarnation))
}

// derive makes bytes that are used for one purpose only.
func (k AdminKey) derive(n int, purpose ...string) []byte {
	// The parts hold no zero bytes: names are validated, and an incarnation is made here.
	out, err := hkdf.Key(sha256.New, k, nil, "cotton/2\x00"+strings.Join(purpose, "\x00"), n)
	if err != nil { // of lengths that nobody asks for
		panic(err)
	}
	return out
}

// AdminKeys are the keys of one file. The first is used; the others are still accepted, until they are taken out.
type AdminKeys []AdminKey

// keysHeader begins a file of several keys. A file without it is one key, as a whole.
const keysHeader = "cotton-admin-keys/1\n"

// ReadAdminKeys reads a file of keys. One that others than its owner may read is refused, as ssh does.
func ReadAdminKeys(path string) (AdminKeys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the admin key: %w; make one with `head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read the admin key: %s has mode %04o, others could read it: chmod 600 it", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the admin key: %w", err)
	}
	keys, err := ParseAdminKeys(text)
	if err != nil {
		return nil, fmt.Errorf("read the admin key: %s %w", path, err)
	}
	return keys, nil
}

// ParseAdminKeys reads the contents of a file of keys: one key, or the header and then one key a line, in base64. The error
// goes on after the file's name.
func ParseAdminKeys(text []byte) (AdminKeys, error) {
	list, several := bytes.CutPrefix(text, []byte(keysHeader))
	if !several {
		if len(text) < minKeyBytes {
			return nil, fmt.Errorf("holds %d bytes, want at least %d", len(text), minKeyBytes)
		}
		return AdminKeys{text}, nil
	}
	var keys AdminKeys
	for i, line := range strings.Split(string(list), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: not a key in base64", i+2)
		case len(key) < minKeyBytes:
			return nil, fmt.Errorf("line %d: holds %d bytes, want at least %d", i+2, len(key), minKeyBytes)
		case keys.index(key) >= 0:
			return nil, fmt.Errorf("line %d: this key comes twice", i+2)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("holds %d keys, want 1 to %d", len(keys), maxKeys)
	}
	return keys, nil
}

// Format is the contents of a file with these keys.
func (ks AdminKeys) Format() []byte {
	var b bytes.Buffer
	b.WriteString(keysHeader)
	for _, k := range ks {
		b.WriteString(base64.StdEncoding.EncodeToString(k) + "\n")
	}
	return b.Bytes()
}

func (ks AdminKeys) index(k AdminKey) int {
	return slices.IndexFunc(ks, func(other AdminKey) bool { return hmac.Equal(k, other) })
}

// Equal tells whether both are the same keys in the same order.
func (ks AdminKeys) Equal(other AdminKeys) bool {
	return slices.EqualFunc(ks, other, func(a, b AdminKey) bool { return hmac.Equal(a, b) })
}

// IDs of the keys, that which is used first.
func (ks AdminKeys) IDs() []string {
	var ids []string
	for _, k := range ks {
		ids = append(ids, k.ID())
	}
	return ids
}

// Current is the key that is used.
func (ks AdminKeys) Current() AdminKey { return ks[0] }

// Passwords are all that an account of a cluster may have, the wanted one first.
func (ks AdminKeys) Passwords(id Identity, account string) []string {
	var all []string
	for _, k := range ks {
		all = append(all, k.Password(id, account))
	}
	if id.Former && id.Incarnation != "" {
		for _, k := range ks {
			all = append(all, k.Password(Identity{Cluster: id.Cluster}, account))
		}
	}
	return all
}

// errReplaced refuses keys that nobody else has yet.
var errReplaced = errors.New("holds none of the keys that were in use: the former keys stay in use; " +
	"to rotate, add the new key as the second one first (`cotton keyfile add`)")
