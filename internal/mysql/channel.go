package mysql

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
)

// ChannelSecrets is how a replica logs in to its source.
type ChannelSecrets struct {
	VerifyBy string // file of the authorities; empty = the source's certificate is not verified
	sum      [32]byte
}

// Password tells whether it is the one that the replica uses.
func (c ChannelSecrets) Password(password string) bool {
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], c.sum[:]) == 1
}

// ReadChannelSecrets is nil for a server that follows nobody.
func ReadChannelSecrets(ctx context.Context, db *sql.DB) (*ChannelSecrets, error) {
	var password, ca sql.NullString
	var verify bool
	err := db.QueryRowContext(ctx, "SELECT user_password, ssl_ca, ssl_verify_server_cert FROM mysql.slave_master_info WHERE channel_name = ''").
		Scan(&password, &ca, &verify)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read how the replica logs in to its source: %w", err)
	}
	c := &ChannelSecrets{sum: sha256.Sum256([]byte(password.String))}
	if verify {
		c.VerifyBy = ca.String
	}
	return c, nil
}
