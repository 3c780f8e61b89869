package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// reservedDatabases never belong to a tier whatever its pattern: the server's own, and this software's.
var reservedDatabases = map[string]bool{"mysql": true, "sys": true, "ndbinfo": true, "aosc": true, "aoscdb": true}

// IsReservedDatabase tells whether a database can belong to no tier: mysql, sys, *_schema, aosc, aoscdb, aosc_scratch*.
// Case does not matter: with lower_case_table_names=2 a server keeps the case a name was written in.
func IsReservedDatabase(name string) bool {
	name = strings.ToLower(name)
	return reservedDatabases[name] || strings.HasSuffix(name, "_schema") || strings.HasPrefix(name, "aosc_scratch")
}

// Databases lists the databases of a server that match a tier's LIKE pattern (with \ as the escape), reserved ones left
// out, sorted by name.
func Databases(ctx context.Context, db *sql.DB, pattern string) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE ? ORDER BY schema_name", pattern)
	if err != nil {
		return nil, fmt.Errorf("list the databases like %q: %w", pattern, err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list the databases like %q: %w", pattern, err)
		}
		if !IsReservedDatabase(name) {
			names = append(names, name)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the databases like %q: %w", pattern, err)
	}
	return names, nil
}
