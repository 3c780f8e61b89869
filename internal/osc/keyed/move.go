package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
)

// mover builds and runs the statements that move rows from the table to the ghost.
type mover struct {
	original, ghost verify.Table
	key             key
	from, to        string                               // the tables' names for statements
	columns         string                               // of the ghost that are given values
	selected        string                               // and what they are given
	fence           func(context.Context, session) error // fails when the ghost is another run's
}

// newMover pairs columns by name. What the ghost generates itself is left out; a column that the table has not gets its default, and
// one whose default is the time gets that of the beginning, as from an ALTER. lossy are columns (lower case) whose loss is permitted:
// they, and no others, are narrowed to what the new type holds.
func newMover(o, n verify.Table, k key, lossy map[string]bool, began time.Time) (*mover, error) {
	m := &mover{original: o, ghost: n, key: k, from: mysql.QuoteIdents(o.Database, o.Name), to: mysql.QuoteIdents(n.Database, n.Name)}
	var columns, selected []string
	for _, nc := range n.Columns {
		if nc.Generated {
			continue
		}
		oc, ok := o.Column(nc.Name)
		value := mysql.QuoteIdent(oc.Name)
		switch {
		case !ok && nc.DefaultsToNow:
			value = fmt.Sprintf("FROM_UNIXTIME(%d.%06d)", began.Unix(), began.Nanosecond()/1000)
			if nc.Fraction == 0 {
				value = fmt.Sprintf("FROM_UNIXTIME(%d)", began.Unix())
			}
		case !ok:
			continue
		case lossy[strings.ToLower(oc.Name)]:
			var err error
			if value, err = verify.Narrow(oc, nc); err != nil {
				return nil, err
			}
		}
		if ok && nc.DataType == "json" && oc.DataType != "json" && oc.Charset == "" || labels(oc) && nc.DataType == "json" {
			// ALTER TABLE reads the text of such a value as JSON. The server assigns it to no JSON column by itself.
			value = "CAST(CONCAT(" + value + ") AS JSON)"
		}
		columns, selected = append(columns, mysql.QuoteIdent(nc.Name)), append(selected, value)
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("%s and its copy have no column in common", m.from)
	}
	m.columns, m.selected = strings.Join(columns, ", "), strings.Join(selected, ", ")
	return m, nil
}

// labels tells whether a column's values are members of a list.
func labels(c verify.Column) bool { return c.DataType == "enum" || c.DataType == "set" }

// uniques tells whether the ghost has unique keys other than the one that rows are found by, or finds rows in another way than the
// table: then rows of other keys can be in a row's way.
func (m *mover) uniques() bool {
	for _, u := range m.ghost.Keys {
		if u.Name != m.key.index {
			return true
		}
	}
	return !m.key.alike()
}

// insert moves the rows under a condition.
func (m *mover) insert(condition string) string {
	return fmt.Sprintf("INSERT %s INTO %s (%s) SELECT %s FROM %s FORCE INDEX (%s) WHERE %s", Marker, m.to, m.columns, m.selected, m.from,
		mysql.QuoteIdent(m.key.name), condition)
}

// remove deletes the ghost's rows of some keys.
func (m *mover) remove(keys []value) string {
	return fmt.Sprintf("DELETE %s FROM %s USING %s FORCE INDEX (%s) WHERE %s", Marker, m.to, m.to, mysql.QuoteIdent(m.key.index),
		m.key.among(ghost, keys))
}

// boundary finds the key that ends a chunk of so many rows after low; no row = the last chunk.
func (m *mover) boundary(low value, size int) string {
	return fmt.Sprintf("SELECT %s FROM %s FORCE INDEX (%s) WHERE %s ORDER BY %s LIMIT 1 OFFSET %d", m.key.reads(original, ""), m.from,
		mysql.QuoteIdent(m.key.name), m.key.condition(original, span{low: low}), m.key.order(), size-1)
}

// querier is what can be asked: a connection.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// values reads keys.
func (m *mover) values(ctx context.Context, q querier, query string) ([]value, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []value
	for rows.Next() {
		texts := make([]string, len(m.key.parts))
		into := make([]any, len(texts))
		for i := range texts {
			into[i] = &texts[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		out = append(out, valueOf(texts))
	}
	return out, rows.Err()
}

// FitError says that a row does not fit the new definition.
type FitError struct {
	Table, Key string
	Err        error
}

func (e *FitError) Error() string {
	return fmt.Sprintf("a row of %s does not fit the new definition, %s: %v", e.Table, e.Key, e.Err)
}

func (e *FitError) Unwrap() error { return e.Err }

// misfit tells whether the server refused a row for its values.
func misfit(err error) bool {
	return mysql.IsNumber(err, mysql.ErrBadNull, mysql.ErrInvalidNull, mysql.ErrDataOutOfRange, mysql.ErrDataTruncated,
		mysql.ErrTruncatedWrongValue,
		mysql.ErrWrongValueForField, mysql.ErrDataTooLong, mysql.ErrCheckViolated, mysql.ErrNoPartitionForValue, mysql.ErrNoDefault,
		mysql.ErrInvalidJSON,
		mysql.ErrCannotConvert, mysql.ErrInvalidJSONPath, mysql.ErrDivisionByZero, mysql.ErrFunctionalTruncated, mysql.ErrExpressionRange)
}

// passing tells whether another try may succeed: two of our own sessions were in each other's way.
func passing(err error) bool {
	return mysql.IsLockWaitTimeout(err) || mysql.IsNumber(err, mysql.ErrLockDeadlock)
}

var atRow = regexp.MustCompile(`at row (\d+)`)

// unfit names the row that did not fit among those under a condition, as well as the server's message allows.
func (m *mover) unfit(ctx context.Context, q querier, condition string, err error) error {
	fit := &FitError{Table: m.from, Key: "under " + condition, Err: err}
	if found := atRow.FindStringSubmatch(err.Error()); found != nil {
		n, _ := strconv.Atoi(found[1]) // digits; too many of them find no row
		query := fmt.Sprintf("SELECT %s FROM %s FORCE INDEX (%s) WHERE %s ORDER BY %s LIMIT 1 OFFSET %d", m.key.reads(original, ""), m.from,
			mysql.QuoteIdent(m.key.name), condition, m.key.order(), max(n-1, 0))
		if keys, err := m.values(ctx, q, query); err == nil && len(keys) == 1 {
			fit.Key = m.key.describe(keys[0])
		}
	}
	fit.Key = abridged(fit.Key)
	return fit
}
