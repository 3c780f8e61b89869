package ghost

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
)

// beating tells whether a changelog has had a heartbeat lately, by the server's clock.
func beating(ctx context.Context, db *sql.DB, database string, names copy.Names) (bool, error) {
	var age sql.NullInt64
	// hint is a column of this engine's changelog, and not of what other engines keep under that name.
	err := db.QueryRowContext(ctx, "SELECT TIMESTAMPDIFF(SECOND, MAX(IF(hint IS NULL, NULL, last_update)), NOW()) FROM "+
		mysql.QuoteIdents(database, names.Changelog)).Scan(&age)
	if mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err) || mysql.IsNumber(err, mysql.ErrBadField) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the heartbeat of a copy: %w", err)
	}
	return age.Valid && time.Duration(age.Int64)*time.Second < copy.Stale, nil
}
