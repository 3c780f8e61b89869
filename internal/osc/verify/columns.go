package verify

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// Column is what information_schema.columns says of one column.
type Column struct {
	Name      string
	DataType  string // "varchar"
	Type      string // "varchar(20)"
	Charset   string // "" for anything but text
	Collation string
	Length    uint64 // characters of text, bytes of binary
	Precision int    // of decimals
	Scale     int    // of decimals
	Fraction  int    // digits of fractional seconds
	Nullable  bool
	Generated bool
	Stored    bool // a generated column whose values are stored
	Unsigned  bool
	// Expression is what a generated column is computed by.
	Expression string
	// DefaultsToNow: its default is the time of the statement.
	DefaultsToNow bool
}

// Key is a unique key of a table.
type Key struct {
	Name      string
	Columns   []string
	Nullable  bool
	Visible   bool
	Functions bool // some part is an expression
	Prefixed  bool // some part is the beginning of a column
	// Descending tells of each column whether the key has it in descending order.
	Descending []bool
}

// Table is the shape of one table. A table without columns does not exist.
type Table struct {
	Database, Name string
	Columns        []Column
	Keys           []Key // unique keys
}

// quoted is the table's name for statements.
func (t Table) quoted() string { return mysql.QuoteIdents(t.Database, t.Name) }

// Column finds a column by name; names of columns do not depend on case.
func (t Table) Column(name string) (Column, bool) {
	for _, c := range t.Columns {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return Column{}, false
}

// Querier is a connection or a pool of them.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ReadTable reads the shape of a table.
func ReadTable(ctx context.Context, q Querier, database, name string) (Table, error) {
	t := Table{Database: database, Name: name}
	var err error
	if t.Columns, err = readColumns(ctx, q, database, name); err != nil {
		return t, fmt.Errorf("read the columns of %s: %w", t.quoted(), err)
	}
	if t.Keys, err = readKeys(ctx, q, database, name); err != nil {
		return t, fmt.Errorf("read the unique keys of %s: %w", t.quoted(), err)
	}
	return t, nil
}

func readColumns(ctx context.Context, q Querier, database, name string) ([]Column, error) {
	rows, err := q.QueryContext(ctx, `
		SELECT column_name, data_type, column_type, COALESCE(character_set_name, ''), COALESCE(collation_name, ''),
		       COALESCE(character_maximum_length, 0), COALESCE(numeric_precision, 0), COALESCE(numeric_scale, 0),
		       COALESCE(datetime_precision, 0), is_nullable = 'YES', COALESCE(generation_expression, ''),
		       extra LIKE '%STORED GENERATED%',
		       COALESCE(column_default, '') LIKE 'CURRENT\_TIMESTAMP%' AND data_type IN ('datetime', 'timestamp')
		  FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position`,
		database, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var columns []Column
	for rows.Next() {
		var c Column
		if err := rows.Scan(&c.Name, &c.DataType, &c.Type, &c.Charset, &c.Collation, &c.Length, &c.Precision,
			&c.Scale, &c.Fraction, &c.Nullable, &c.Expression, &c.Stored, &c.DefaultsToNow); err != nil {
			return nil, err
		}
		c.Generated, c.Expression = c.Expression != "", unescaped(c.Expression)
		c.DataType = strings.ToLower(c.DataType)
		c.Unsigned = strings.Contains(strings.ToLower(c.Type), "unsigned")
		columns = append(columns, c)
	}
	return columns, rows.Err()
}

func readKeys(ctx context.Context, q Querier, database, name string) ([]Key, error) {
	rows, err := q.QueryContext(ctx, `
		SELECT index_name, COALESCE(column_name, ''), nullable = 'YES', is_visible = 'YES', sub_part IS NOT NULL, COALESCE(collation, 'A') = 'D'
		  FROM information_schema.statistics
		 WHERE table_schema = ? AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index`,
		database, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []Key
	for rows.Next() {
		var index, column string
		var nullable, visible, prefixed, descending bool
		if err := rows.Scan(&index, &column, &nullable, &visible, &prefixed, &descending); err != nil {
			return nil, err
		}
		if len(keys) == 0 || keys[len(keys)-1].Name != index {
			keys = append(keys, Key{Name: index, Visible: visible})
		}
		k := &keys[len(keys)-1]
		k.Columns = append(k.Columns, column)
		k.Nullable = k.Nullable || nullable
		k.Functions = k.Functions || column == ""
		k.Prefixed = k.Prefixed || prefixed
		k.Descending = append(k.Descending, descending)
	}
	return keys, rows.Err()
}
