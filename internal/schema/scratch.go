package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
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
)

// WithScratch runs fn with an empty schema of its own, named after the connection that fn gets: the default database of
// that connection, with the character set, collation and sql_mode of env, foreign keys not checked and nothing written
// to the binary log (I7). The schema is dropped afterwards, whatever happened; one that a killed daemon left behind is
// dropped by the next call (I5). The server must take DDL: one that is super_read_only refuses it, for which
// mysql.IsReadOnly holds.
func WithScratch(ctx context.Context, db *sql.DB, env DBEnv, fn func(ctx context.Context, conn *sql.Conn, schemaName string) error) error {
	session := mysql.Session{NoBinlog: true, NoForeignKeyChecks: true, SQLMode: &env.SQLMode}
	return mysql.WithSession(ctx, db, session, func(ctx context.Context, conn *sql.Conn) (err error) {
		name, err := openScratch(ctx, conn, env)
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
func openScratch(ctx context.Context, conn *sql.Conn, env DBEnv) (string, error) {
	var id int64
	var got sql.NullBool
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID(), GET_LOCK(CONCAT(?, CONNECTION_ID()), 0)", scratchLock).Scan(&id, &got); err != nil {
		return "", err
	}
	if !got.Bool {
		return "", fmt.Errorf("the lock %s%d is held by another connection", scratchLock, id)
	}
	if err := dropStale(ctx, conn, id); err != nil {
		return "", err
	}
	name := ScratchPrefix + strconv.FormatInt(id, 10)
	_, err := conn.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET "+mysql.QuoteIdent(env.Charset)+" COLLATE "+mysql.QuoteIdent(env.Collation))
	if err != nil {
		return "", err
	}
	_, err = conn.ExecContext(ctx, "USE "+name)
	return name, err
}

// dropStale drops scratch schemas whose owner's lock is free. That of this connection's own id is one left before the
// server was restarted.
func dropStale(ctx context.Context, conn *sql.Conn, own int64) error {
	rows, err := conn.QueryContext(ctx, "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE ?",
		strings.ReplaceAll(ScratchPrefix, "_", `\_`)+"%")
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		if id, err := strconv.ParseInt(strings.TrimPrefix(name, ScratchPrefix), 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	for _, id := range ids {
		if err := dropOne(ctx, conn, id, id == own); err != nil {
			return err
		}
	}
	return nil
}

func dropOne(ctx context.Context, conn *sql.Conn, id int64, ours bool) error {
	lock := scratchLock + strconv.FormatInt(id, 10)
	if !ours {
		var got sql.NullBool
		if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", lock).Scan(&got); err != nil || !got.Bool {
			return err // its owner lives
		}
		defer conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", lock) // else the end of the connection frees it
	}
	_, err := conn.ExecContext(ctx, "DROP DATABASE IF EXISTS "+ScratchPrefix+strconv.FormatInt(id, 10))
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
	err := mysql.WithSession(ctx, db, mysql.Session{NoBinlog: true}, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, drop)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop the scratch schema %s (the next use of this server tries again): %w", name, err)
	}
	return nil
}
