package aoscdb

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/aosc/aosc/internal/mysql"
)

// LockName is the name of a named lock (GET_LOCK) for a purpose, the same in all daemons of this aoscdb. Any account of a server may take
// any name, without a privilege, and would stop whoever needs the lock: so names are made of a secret that is stored here.
func (s *Store) LockName(ctx context.Context, purpose string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lockSecret == "" {
		err := s.db.QueryRowContext(ctx, "SELECT value FROM secrets WHERE name = 'locks'").Scan(&s.lockSecret)
		if err != nil {
			return "", wrap(err, "read how the named locks of this aoscdb are called (if it is of an earlier release: aosc init)")
		}
	}
	return lockName(s.lockSecret, purpose), nil
}

// lockName fits the server's 64 characters.
func lockName(secret, purpose string) string {
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte(purpose))
	return "aosc." + hex.EncodeToString(sum.Sum(nil)[:16])
}

// WorkerLock is the name of the lock a worker holds on an instance while it alters there (I3). Whoever finds it free knows that nothing is
// being altered.
func (s *Store) WorkerLock(ctx context.Context, a mysql.Addr) (string, error) {
	return s.LockName(ctx, "worker "+a.String())
}
