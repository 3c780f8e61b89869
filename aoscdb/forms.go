package aoscdb

import (
	"context"
	"errors"

	"github.com/aosc/aosc/internal/schema"
)

// FormCache keeps canonical forms in canonical_forms, so that a desired text is materialised once for all daemons, not
// once for each. The table is a cache: emptying it costs time only.
type FormCache struct{ store *Store }

var _ schema.FormCache = (*FormCache)(nil)

// FormCache is the cache in the central database.
func (s *Store) FormCache() *FormCache { return &FormCache{store: s} }

// Get returns the canonical form of a blob in an environment, and whether it is known.
func (c *FormCache) Get(ctx context.Context, blob string, env schema.DBEnv) (schema.Form, bool, error) {
	form, err := one(ctx, c.store.db, func(f *schema.Form) []any { return []any{&f.Text, &f.Hash} },
		"SELECT canonical, hash FROM canonical_forms "+
			"WHERE `blob` = ? AND server_version = ? AND charset = ? AND collation = ? AND sql_mode = ?",
		blob, env.Version, env.Charset, env.Collation, env.SQLMode)
	if errors.Is(err, ErrNotFound) {
		return schema.Form{}, false, nil
	}
	return form, err == nil, wrap(err, "read canonical_forms of %s", c.store)
}

// Put stores the canonical form of a blob in an environment.
func (c *FormCache) Put(ctx context.Context, blob string, env schema.DBEnv, f schema.Form) error {
	_, err := exec(ctx, c.store.db, "INSERT INTO canonical_forms "+
		"(`blob`, server_version, charset, collation, sql_mode, canonical, hash) VALUES (?, ?, ?, ?, ?, ?, ?) AS new "+
		"ON DUPLICATE KEY UPDATE canonical = new.canonical, hash = new.hash, made_at = NOW()",
		blob, env.Version, env.Charset, env.Collation, env.SQLMode, f.Text, f.Hash)
	return wrap(err, "write canonical_forms of %s", c.store)
}
