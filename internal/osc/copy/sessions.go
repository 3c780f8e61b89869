package copy

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Stale is from when a copy that shows its life on a server is dead.
const Stale = 5 * time.Second

// Sessions are the connections on which a copy runs something on one of these tables: statements with one of the markers. A copy names its
// tables with their database; tables of the same name in another database belong to another copy.
func Sessions(ctx context.Context, db *sql.DB, markers []string, database string, tables ...string) ([]uint64, error) {
	list, err := mysql.Processlist(ctx, db)
	if err != nil {
		return nil, err
	}
	var args []any
	located := func(texts []string) string {
		var conditions []string
		for _, t := range texts {
			conditions, args = append(conditions, "LOCATE(?, info) > 0"), append(args, t)
		}
		return "(" + strings.Join(conditions, " OR ") + ")"
	}
	named := make([]string, len(tables))
	for i, t := range tables {
		named[i] = mysql.QuoteIdents(database, t)
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf("SELECT id FROM %s WHERE id <> CONNECTION_ID() AND %s AND %s", list,
		located(markers), located(named)), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []uint64
	for rows.Next() {
		var id uint64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
