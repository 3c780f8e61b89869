package schema

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

const (
	// ScratchPrefix begins the name of every scratch schema. They are nobody's data: fleet and checksum skip them.
	ScratchPrefix = "aosc_scratch_"
	// scratchLock begins the name of the lock that tells a scratch schema in use from one a dead daemon left.
	scratchLock = "aosc.scratch."
	// dropTimeout bounds the clean-up, which goes on when the caller's context has ended.
	dropTimeout = 15 * time.Second
	// staleTimeout is how long a draft waits for what dead owners left to be dropped.
	staleTimeout = 5 * time.Second
	// scratchLockWait bounds the wait for a metadata lock: nothing in a scratch schema has to wait for anybody, and who waits for a lock
	// keeps others waiting behind it.
	scratchLockWait = 5 * time.Second
)

// scratchSuffix is what follows ScratchPrefix: at random, or a connection's number in earlier releases.
var scratchSuffix = regexp.MustCompile(`^[0-9a-f]{1,20}$`)

// WithScratch runs fn with an empty schema of its own: the default database of the connection that fn gets, with the character set,
// collation and sql_mode of env, the server's own values, foreign keys not checked and nothing written
// to the binary log (I7). The schema is dropped afterwards, whatever happened; one that a killed daemon left behind is
// dropped by the next call (I5). The server must take DDL: one that is super_read_only refuses it, for which
// mysql.IsReadOnly holds.
func WithScratch(ctx context.Context, db *sql.DB, env DBEnv, fn func(ctx context.Context, conn *sql.Conn, schemaName string) error) error {
	session := mysql.Session{NoBinlog: true, NoForeignKeyChecks: true, SQLMode: &env.SQLMode, ServerValues: true,
		LockWaitTimeout: scratchLockWait}
	return mysql.WithSession(ctx, db, session, func(ctx context.Context, conn *sql.Conn) (err error) {
		name, err := openScratch(ctx, db, conn, env)
		if name != "" {
			defer func() { err = errors.Join(err, dropScratch(ctx, db, conn, name)) }()
		}
		if err != nil {
			return fmt.Errorf("make a scratch schema: %w", err)
		}
		return fn(ctx, conn, name)
	})
}

// openScratch drops what dead owners left, and creates the schema of this connection. The name is returned as soon as
// there may be something to drop.
func openScratch(ctx context.Context, db *sql.DB, conn *sql.Conn, env DBEnv) (string, error) {
	// At random: any account may take any named lock, and nobody must be able to take ours beforehand.
	suffix := hex.EncodeToString(binary.BigEndian.AppendUint64(nil, rand.Uint64()))
	var got sql.NullBool
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", scratchLock+suffix).Scan(&got); err != nil {
		return "", err
	}
	if !got.Bool {
		return "", fmt.Errorf("the lock %s%s is held by another connection", scratchLock, suffix)
	}
	if err := dropStale(ctx, db, conn); err != nil {
		return "", err
	}
	name := ScratchPrefix + suffix
	_, err := conn.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET "+mysql.QuoteIdent(env.Charset)+" COLLATE "+mysql.QuoteIdent(env.Collation))
	if err != nil {
		return "", err
	}
	_, err = conn.ExecContext(ctx, "USE "+name)
	return name, err
}

// dropStale drops scratch schemas whose owner's lock is free. What takes long (thousands of partitions) the server goes on with by
// itself, and nobody waits for it: it is done over another connection, which keeps the lock.
func dropStale(ctx context.Context, db *sql.DB, conn *sql.Conn) error {
	suffixes, err := scratchSuffixes(ctx, conn)
	if err != nil || len(suffixes) == 0 {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, staleTimeout)
	defer cancel()
	err = mysql.WithSession(limited, db, mysql.Session{NoBinlog: true, LockWaitTimeout: scratchLockWait}, func(ctx context.Context,
		conn *sql.Conn) error {
		for _, suffix := range suffixes {
			if err := dropOne(ctx, conn, suffix); err != nil {
				return err
			}
		}
		return nil
	})
	if ctx.Err() == nil && limited.Err() != nil {
		return nil
	}
	return err
}

// scratchSuffixes are those of the scratch schemas that are there.
func scratchSuffixes(ctx context.Context, conn *sql.Conn) ([]string, error) {
	rows, err := conn.QueryContext(ctx, "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE ?",
		strings.ReplaceAll(ScratchPrefix, "_", `\_`)+"%")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var suffixes []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if suffix := strings.TrimPrefix(name, ScratchPrefix); scratchSuffix.MatchString(suffix) {
			suffixes = append(suffixes, suffix)
		}
	}
	return suffixes, rows.Err()
}

func dropOne(ctx context.Context, conn *sql.Conn, suffix string) error {
	lock := scratchLock + suffix
	var got sql.NullBool
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", lock).Scan(&got); err != nil || !got.Bool {
		return err // its owner lives
	}
	defer conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", lock) // else the end of the connection frees it
	_, err := conn.ExecContext(ctx, "DROP DATABASE IF EXISTS "+ScratchPrefix+suffix)
	return err
}

// dropScratch drops the schema, over another connection where fn has ended with this one's (a cancelled query closes it).
func dropScratch(ctx context.Context, db *sql.DB, conn *sql.Conn, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	drop := "DROP DATABASE IF EXISTS " + name
	if _, err := conn.ExecContext(ctx, drop); err == nil {
		return nil
	}
	err := mysql.WithSession(ctx, db, mysql.Session{NoBinlog: true, LockWaitTimeout: scratchLockWait}, func(ctx context.Context,
		conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, drop)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop the scratch schema %s (the next use of this server tries again): %w", name, err)
	}
	return nil
}
