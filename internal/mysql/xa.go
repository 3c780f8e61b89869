package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// PreparedXA is a prepared XA transaction, as the server names it.
type PreparedXA struct {
	FormatID       int64
	Global, Branch string // in hexadecimal, lower case
}

// ID is how statements name it.
func (x PreparedXA) ID() string {
	return fmt.Sprintf("X'%s', X'%s', %d", x.Global, x.Branch, x.FormatID)
}

// Prepared lists a server's prepared XA transactions. The account needs XA_RECOVER_ADMIN.
func Prepared(ctx context.Context, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}) ([]PreparedXA, error) {
	rows, err := db.QueryContext(ctx, "XA RECOVER CONVERT XID")
	if err != nil {
		return nil, fmt.Errorf("list prepared XA transactions: %w", err)
	}
	defer rows.Close()
	var list []PreparedXA
	for rows.Next() {
		var x PreparedXA
		var global, branch int
		var data string
		if err := rows.Scan(&x.FormatID, &global, &branch, &data); err != nil {
			return nil, fmt.Errorf("list prepared XA transactions: %w", err)
		}
		data = strings.ToLower(strings.TrimPrefix(data, "0x"))
		if len(data) != 2*(global+branch) {
			return nil, fmt.Errorf("list prepared XA transactions: the xid %q is not of %d and %d bytes", data, global, branch)
		}
		x.Global, x.Branch = data[:2*global], data[2*global:]
		list = append(list, x)
	}
	return list, rows.Err()
}

// DiscardPrepared rolls all prepared XA transactions of a server back, unlogged. It is for a server whose data are about to be replaced: CLONE
// waits for such transactions without end. It tells how many there were.
func DiscardPrepared(ctx context.Context, db *sql.DB) (int, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, fmt.Errorf("roll prepared XA transactions back: %w", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SET SESSION sql_log_bin = 0"); err != nil {
		return 0, fmt.Errorf("roll prepared XA transactions back: %w", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "SET SESSION sql_log_bin = 1")
	list, err := Prepared(ctx, conn)
	if err != nil {
		return 0, err
	}
	for _, x := range list {
		if _, err := conn.ExecContext(ctx, "XA ROLLBACK "+x.ID()); err != nil {
			return 0, fmt.Errorf("roll the prepared XA transaction %s back: %w", x.ID(), err)
		}
	}
	return len(list), nil
}
