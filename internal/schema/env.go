package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// DBEnv is all that decides what a definition becomes in one database of one server. Databases of equal DBEnv give
// the same Form for the same text.
type DBEnv struct {
	Version            string // @@version
	Charset, Collation string // defaults of the database
	SQLMode            string // @@global.sql_mode
}

// ReadDBEnvs reads the DBEnv of each database in one query. A database that does not exist is absent from the result.
func ReadDBEnvs(ctx context.Context, db *sql.DB, databases []string) (map[string]DBEnv, error) {
	envs := make(map[string]DBEnv, len(databases))
	if len(databases) == 0 {
		return envs, nil
	}
	args := make([]any, len(databases))
	for i, d := range databases {
		args[i] = d
	}
	rows, err := db.QueryContext(ctx, "SELECT schema_name, @@version, default_character_set_name, default_collation_name, @@global.sql_mode "+
		"FROM information_schema.schemata WHERE schema_name IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
	if err != nil {
		return nil, fmt.Errorf("read the character sets of %d databases: %w", len(databases), err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var e DBEnv
		if err := rows.Scan(&name, &e.Version, &e.Charset, &e.Collation, &e.SQLMode); err != nil {
			return nil, err
		}
		envs[name] = e
	}
	return envs, rows.Err()
}

// Querier is what a question needs: *sql.DB, *sql.Conn or *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// showSettings make SHOW CREATE TABLE print the same for the same table on every server, whatever its operator has set: names quoted,
// nothing left out, nothing added. The default of a TIMESTAMP is printed in the session's time zone: in the server's own it is what
// somebody wrote there. The variables after the version comment exist from that version on.
const showSettings = "SET SESSION sql_mode = '', time_zone = @@GLOBAL.time_zone, sql_quote_show_create = 1, " +
	"show_create_table_verbosity = 0, " +
	"show_create_table_skip_secondary_engine = 0 /*!80030 , show_gipk_in_create_table_and_information_schema = 1 */"

// ShowSession prepares a connection for ShowCreate.
func ShowSession(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, showSettings); err != nil {
		return fmt.Errorf("prepare a session for SHOW CREATE TABLE: %w", err)
	}
	return nil
}

// ShowCreate is SHOW CREATE TABLE. For a text that can be compared, q must be a connection prepared by ShowSession. Of
// a view it is the CREATE VIEW. A missing table is an error for which mysql.IsNoSuchTable or mysql.IsNoSuchDatabase
// holds.
func ShowCreate(ctx context.Context, q Querier, database, table string) (string, error) {
	name := mysql.QuoteIdents(database, table)
	rows, err := q.QueryContext(ctx, "SHOW CREATE TABLE "+name)
	if err != nil {
		return "", fmt.Errorf("SHOW CREATE TABLE %s: %w", name, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", fmt.Errorf("SHOW CREATE TABLE %s: %w", name, err)
	}
	var text string
	fields := make([]any, len(columns)) // two of a table, four of a view
	for i := range fields {
		fields[i] = new(sql.RawBytes)
	}
	if rows.Next() && len(fields) > 1 {
		fields[1] = &text
		err = rows.Scan(fields...)
	}
	if err = errors.Join(err, rows.Err()); err != nil {
		return "", fmt.Errorf("SHOW CREATE TABLE %s: %w", name, err)
	}
	return text, nil
}
