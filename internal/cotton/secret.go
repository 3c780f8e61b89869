package cotton

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
)

// Accounts that every data directory has. Clients never get them: theirs is the cluster user.
const (
	AdminAccount       = "cotton_admin" // the scheduler's and the executor's
	ReplicationAccount = "cotton_repl"  // of replicas at their source, and of clones at their donor; over TLS only
)

// minKeyBytes is what a key needs for its passwords not to be guessed.
const minKeyBytes = 16

// passwordBytes make 32 characters: more, CHANGE REPLICATION SOURCE refuses.
const passwordBytes = 24

// AdminKey is the secret that all passwords of ours are derived from. It lies in a file on the scheduler's host and on
// every agent, so that no password ever travels through Mesos, a label, argv or the store.
type AdminKey []byte

// String keeps the key out of logs.
func (AdminKey) String() string { return "***" }

// GoString keeps the key out of %#v.
func (AdminKey) GoString() string { return "***" }

// ReadAdminKey reads the key's file. One that others than its owner may read is refused, as ssh does.
func ReadAdminKey(path string) (AdminKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the admin key: %w; make one with `head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read the admin key: %s has mode %04o, others could read it: chmod 600 it", path, mode)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the admin key: %w", err)
	}
	if len(key) < minKeyBytes {
		return nil, fmt.Errorf("read the admin key: %s holds %d bytes, want at least %d", path, len(key), minKeyBytes)
	}
	return key, nil
}

// Password is that of an account in a cluster: the same on all its members, so that a clone keeps working, and another
// one in every cluster.
func (k AdminKey) Password(account, cluster string) string {
	mac := hmac.New(sha256.New, k)
	fmt.Fprintf(mac, "cotton/%s/%s", account, cluster)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:passwordBytes])
}
