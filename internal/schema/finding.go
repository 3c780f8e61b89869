package schema

import (
	"context"
	"fmt"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/aosc/aosc/internal/mysql"
)

// Codes of findings.
const (
	DropColumn    = "drop_column"    // a column and its values go away
	Rename        = "rename"         // what looks like a rename would be a drop and an empty new column
	NarrowColumn  = "narrow_column"  // values may not fit any more
	ConvertColumn = "convert_column" // values become something else
	CharsetLoss   = "charset_loss"   // characters may not exist in the new character set
	EnumReorder   = "enum_reorder"   // members of an enum or set get other numbers
	NotNull       = "not_null"       // NULLs are in the way
	Unique        = "unique"         // duplicates are in the way
	CheckAdded    = "check"          // rows that violate a new CHECK are in the way
	ForeignKey    = "foreign_key"    // foreign keys are added, dropped or changed
	DropPartition = "drop_partition" // a partition and its rows go away
	Repartition   = "repartition"    // rows may fit no partition of the new layout
	DropPrimary   = "drop_primary"   // the table is left without a primary key
	Generated     = "generated"      // a column's values become computed, or stop being so
	EngineChange  = "engine"         // the table leaves InnoDB: no transactions, no crash safety
)

// Finding is one thing about a change that may lose data or needs a person's word.
type Finding struct {
	Code   string // one of the constants above
	Column string // or key, constraint or partition it is about
	Detail string // for people
	// Check tells whether the rows of a table make it real; nil when it is, whatever the rows.
	Check *DataCheck

	// Strict: strict SQL refuses such values. A copy is made in it, whatever loss is permitted.
	Strict bool

	collation string // of Unique: the key is there already, and this is how it compares its columns otherwise
}

func (f Finding) String() string {
	if f.Column == "" {
		return f.Code + ": " + f.Detail
	}
	return f.Code + " " + f.Column + ": " + f.Detail
}

// DataCheck asks a table for a row that makes a finding real. It scans the table when no key helps.
type DataCheck struct {
	Where     string // condition on rows
	GroupBy   string // groups of more than one row are what is looked for
	Partition string // only this partition is looked at
	Rows      bool   // a second row is looked for
}

// SQL selects one row when the finding is real, and none when it is moot.
func (c DataCheck) SQL(database, table string) string {
	var b strings.Builder
	b.WriteString("SELECT 1 FROM " + mysql.QuoteIdents(database, table))
	if c.Partition != "" {
		b.WriteString(" PARTITION (" + mysql.QuoteIdent(c.Partition) + ")")
	}
	if c.Where != "" {
		b.WriteString(" WHERE " + c.Where)
	}
	switch {
	case c.GroupBy != "":
		b.WriteString(" GROUP BY " + c.GroupBy + " HAVING COUNT(*) > 1 LIMIT 1")
	case c.Rows:
		b.WriteString(" LIMIT 1, 1")
	default:
		b.WriteString(" LIMIT 1")
	}
	return b.String()
}

// Real asks a table whether the finding is real. q's session needs the utf8mb4 connection of package mysql.
func (f Finding) Real(ctx context.Context, q Querier, database, table string) (bool, error) {
	if f.Check == nil {
		return true, nil
	}
	rows, err := q.QueryContext(ctx, f.Check.SQL(database, table))
	if err != nil {
		return false, fmt.Errorf("check %s for %s (%s): %w", mysql.QuoteIdents(database, table), f.Code, f.Column, err)
	}
	defer rows.Close()
	real := rows.Next()
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("check %s for %s (%s): %w", mysql.QuoteIdents(database, table), f.Code, f.Column, err)
	}
	return real, nil
}

// findings judges a change by its two ends; the names of CHECKs are aligned. Only what happens to partitions depends on
// the ALTERs.
func findings(a, b *table, alters []*sqlparser.AlterTable) []Finding {
	var out []Finding
	out = append(out, columnFindings(a, b)...)
	out = append(out, keyFindings(a, b)...)
	out = append(out, constraintFindings(a, b)...)
	out = append(out, partitionFindings(a, b, alters)...)
	if a.engine == "innodb" && b.engine != a.engine {
		out = append(out, Finding{Code: EngineChange, Detail: "the table leaves InnoDB for " + b.engine})
	}
	return out
}

func columnFindings(a, b *table) []Finding {
	var out []Finding
	for _, c := range a.columns {
		d, kept := b.byName[c.key]
		switch {
		case kept:
			out = append(out, changedColumn(c, d)...)
		case c.generated:
			// Nothing is lost that is not in other columns.
		default:
			out = append(out, Finding{Code: DropColumn, Column: c.name, Detail: "the column and its values are dropped"})
			if to := renamedTo(c, a, b); to != "" {
				out = append(out, Finding{Code: Rename, Column: c.name, Detail: fmt.Sprintf(
					"it looks renamed to %s, but a rename is not told from a drop and an add: the new column would be empty", to)})
			}
		}
	}
	return out
}

// renamedTo is the added column of the same type that a dropped column may have become, "" when there is none.
func renamedTo(c *column, a, b *table) string {
	for _, d := range b.columns {
		if _, had := a.byName[d.key]; !had && !d.generated && d.typeText() == c.typeText() {
			return d.name
		}
	}
	return ""
}

func changedColumn(c, d *column) []Finding {
	var out []Finding
	add := func(code, detail string, check *DataCheck) *Finding {
		out = append(out, Finding{Code: code, Column: c.name, Detail: detail, Check: check})
		return &out[len(out)-1]
	}
	switch {
	case c.generated && d.generated:
		return nil // computed before and after
	case c.generated && c.virtual:
		add(Generated, "it was computed and gets the default instead", nil)
		return out
	case c.generated:
		add(Generated, "its computed values stay as they are and are computed no more", nil)
	case d.generated:
		add(Generated, "its values are replaced by computed ones", nil)
		return out
	}
	for _, l := range convert(c, d) {
		check := &DataCheck{Where: l.where}
		if l.where == "" {
			check = nil
		}
		add(l.code, c.typeText()+" becomes "+d.typeText()+": "+l.detail, check).Strict = l.strict
	}
	if c.nullable && !d.nullable {
		add(NotNull, "it becomes NOT NULL: what is NULL would have to become something else", &DataCheck{Where: c.sql() + " IS NULL"})
	}
	return out
}

func constraintFindings(a, b *table) []Finding {
	var out []Finding
	for name, fk := range a.foreignKeys {
		if now, ok := b.foreignKeys[name]; !ok {
			out = append(out, Finding{Code: ForeignKey, Column: name, Detail: "the foreign key is dropped: nothing keeps the two tables consistent from then on"})
		} else if now != fk {
			out = append(out, Finding{Code: ForeignKey, Column: name, Detail: "the foreign key is changed: rows that break the new one are in the way"})
		}
	}
	for name := range b.foreignKeys {
		if _, ok := a.foreignKeys[name]; !ok {
			out = append(out, Finding{Code: ForeignKey, Column: name, Detail: "a foreign key is added: rows that break it are in the way, and a table with foreign keys cannot be copied any more"})
		}
	}
	sortFindings(out)
	had := map[string]bool{}
	for _, c := range a.checks {
		if c.Enforced {
			had[sqlparser.CanonicalString(c.Expr)] = true
		}
	}
	for _, c := range b.checks {
		if !c.Enforced || had[sqlparser.CanonicalString(c.Expr)] {
			continue
		}
		expr := oneLine(sqlparser.CanonicalString(c.Expr))
		f := Finding{Code: CheckAdded, Detail: "rows must satisfy " + expr}
		if old, ok := a.over(b, c.Expr); ok {
			f.Check = &DataCheck{Where: "NOT (" + old + ")"}
		}
		out = append(out, f)
	}
	return out
}
