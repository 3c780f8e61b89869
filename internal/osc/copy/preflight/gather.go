package preflight

import (
	"context"
	"database/sql"
	"fmt"
	"unicode/utf8"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
)

// Gather asks the server. Change, Columns, Lossy, Copied and Recorded are the caller's to fill in. bytes are the table's, taken the names
// that the copy will use.
func Gather(ctx context.Context, db *sql.DB, database, table string, taken []string, bytes uint64) (Facts, error) {
	f := Facts{Database: database, Table: table, Taken: taken, Need: CopyNeeds(bytes)}
	var err error
	if f.Server, err = mysql.ReadServer(ctx, db); err != nil {
		return f, err
	}
	if f.Original, err = verify.ReadTable(ctx, db, database, table); err != nil {
		return f, err
	}
	err = db.QueryRowContext(ctx, `
		SELECT CURRENT_USER(),
		  (SELECT COALESCE(MAX(engine), '') FROM information_schema.tables WHERE table_schema = ? AND table_name = ?),
		  (SELECT COUNT(*) FROM information_schema.triggers WHERE event_object_schema = ? AND event_object_table = ?),
		  (SELECT COUNT(*) FROM information_schema.referential_constraints WHERE unique_constraint_schema = ? AND referenced_table_name = ?),
		  (SELECT COUNT(*) FROM information_schema.referential_constraints WHERE constraint_schema = ? AND table_name = ?)`,
		database, table, database, table, database, table, database, table).
		Scan(&f.User, &f.Engine, &f.Triggers, &f.Children, &f.Parents)
	if err != nil {
		return f, fmt.Errorf("read engine, triggers and foreign keys: %w", err)
	}
	if f.Grants, err = Grants(ctx, db); err != nil {
		return f, fmt.Errorf("read the account's grants: %w", err)
	}
	if f.Beside, err = readBeside(ctx, db, f); err != nil {
		return f, fmt.Errorf("look for tables in the copy's way: %w", err)
	}
	if f.Zone, err = ReadZone(ctx, db); err != nil {
		return f, err
	}
	if f.Sessions, err = ReadSessions(ctx, db); err != nil {
		return f, err
	}
	f.Free, f.FreeSeen = FreeSpace(f.Server)
	return f, nil
}

// Grants are the lines of SHOW GRANTS of the account that db connects as.
func Grants(ctx context.Context, db *sql.DB) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var grants []string
	for rows.Next() {
		var g string
		if err := rows.Scan(&g); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, rows.Err()
}

// readBeside looks with LIKE, as one of the engines does: an underscore in a name stands for any character.
func readBeside(ctx context.Context, db *sql.DB, f Facts) ([]Beside, error) {
	query := "SELECT table_name, table_type, COALESCE(engine, ''), COALESCE(table_comment, '') FROM information_schema.tables " +
		"WHERE table_schema = ? AND (table_name LIKE ?"
	args := []any{f.Database, f.Table}
	for _, name := range f.Taken {
		if !utf8.ValidString(name) {
			return nil, nil // not a name at all: refused for that
		}
		query, args = query+" OR table_name LIKE ?", append(args, name)
	}
	rows, err := db.QueryContext(ctx, query+")", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Beside
	for rows.Next() {
		var b Beside
		if err := rows.Scan(&b.Name, &b.Kind, &b.Engine, &b.Comment); err != nil {
			return nil, err
		}
		found = append(found, b)
	}
	return found, rows.Err()
}
