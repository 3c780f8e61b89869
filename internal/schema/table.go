package schema

import (
	"cmp"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/aosc/aosc/internal/mysql"
)

// table is a definition as findings need it: character sets resolved, keys and constraints by kind.
type table struct {
	columns     []*column
	byName      map[string]*column // by column.key
	keys        []*key
	foreignKeys map[string]string // name -> definition
	checks      []*sqlparser.CheckConstraintDefinition
	partitions  *sqlparser.PartitionOption
	engine      string // in lower case
}

// column is a column with what it inherits from its table.
type column struct {
	name, key          string // key is the name in lower case: MySQL compares column names without case
	typ                string // int, varchar, ... in lower case
	length, scale      int    // -1 = not given
	unsigned           bool
	charset, collation string // of textual types
	values             []string
	nullable           bool
	generated, virtual bool
	autoIncrement      bool
	srid               int // -1 = none
	def                *sqlparser.ColumnDefinition
}

// key is an index.
type key struct {
	name    string
	primary bool
	unique  bool
	parts   []keyPart
}

// keyPart is a column or its first length characters, or an expression.
type keyPart struct {
	column string // column.key, "" for an expression
	prefix int    // 0 = whole
	expr   sqlparser.Expr
}

func newTable(t *sqlparser.CreateTable) *table {
	out := &table{byName: map[string]*column{}, foreignKeys: map[string]string{}, partitions: t.TableSpec.PartitionOption}
	var charset, collation string
	for _, o := range t.TableSpec.Options {
		switch strings.ToUpper(o.Name) {
		case "CHARSET":
			charset = strings.ToLower(o.String)
		case "COLLATE":
			collation = strings.ToLower(o.String)
		case "ENGINE":
			out.engine = strings.ToLower(o.String)
		}
	}
	collation = resolveCollation(charset, collation, "")
	for _, def := range t.TableSpec.Columns {
		c := newColumn(def, collation)
		out.columns = append(out.columns, c)
		out.byName[c.key] = c
	}
	for _, def := range t.TableSpec.Indexes {
		k := newKey(def)
		out.keys = append(out.keys, k)
		if k.primary {
			for _, p := range k.parts {
				if c := out.byName[p.column]; c != nil {
					c.nullable = false
				}
			}
		}
	}
	for _, c := range t.TableSpec.Constraints {
		if check := checkOf(c); check != nil {
			out.checks = append(out.checks, check)
		} else {
			out.foreignKeys[c.Name.String()] = sqlparser.CanonicalString(c.Details)
		}
	}
	return out
}

func newColumn(def *sqlparser.ColumnDefinition, tableCollation string) *column {
	t, o := def.Type, def.Type.Options
	c := &column{
		name: def.Name.String(), key: def.Name.Lowered(), typ: strings.ToLower(t.Type), length: -1, scale: -1, srid: -1,
		unsigned: t.Unsigned || t.Zerofill, values: enumValues(t.EnumValues), autoIncrement: o.Autoincrement,
		nullable: o.Null == nil || *o.Null, generated: o.As != nil, def: def,
	}
	c.virtual = c.generated && o.Storage != sqlparser.StoredStorage
	if t.Length != nil {
		c.length = *t.Length
	}
	if t.Scale != nil {
		c.scale = *t.Scale
	}
	if o.SRID != nil {
		c.srid = atoi(o.SRID.Val)
	}
	switch {
	case strings.HasSuffix(c.typ, "blob") || strings.HasSuffix(c.typ, "binary"):
		c.charset, c.collation = "binary", "binary"
	case c.textual():
		c.collation = resolveCollation(strings.ToLower(t.Charset.Name), strings.ToLower(o.Collate), tableCollation)
		c.charset = charsetOf(c.collation)
	}
	return c
}

func newKey(def *sqlparser.IndexDefinition) *key {
	k := &key{
		name:    def.Info.Name.String(),
		primary: def.Info.Type == sqlparser.IndexTypePrimary,
		unique:  def.Info.IsUnique(),
	}
	if k.primary {
		k.name = "PRIMARY"
	}
	for _, c := range def.Columns {
		p := keyPart{column: c.Column.Lowered(), expr: c.Expression}
		if c.Length != nil {
			p.prefix = *c.Length
		}
		k.parts = append(k.parts, p)
	}
	return k
}

// sql is the column's name for a query.
func (c *column) sql() string { return mysql.QuoteIdent(c.name) }

// typeText is the type for people, with what decides which values fit.
func (c *column) typeText() string {
	t := *c.def.Type
	t.Options = &sqlparser.ColumnTypeOptions{}
	t.Charset = sqlparser.ColumnCharset{}
	s := oneLine(strings.ToLower(sqlparser.CanonicalString(&t)))
	if len(c.values) > 0 {
		s = c.typ + "(" + strings.Join(quoteAll(c.values), ",") + ")"
	}
	if c.charset != "" && c.charset != "binary" {
		s += " " + c.collation
	}
	return s
}

func quoteAll(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = mysql.QuoteString(v)
	}
	return out
}

func (t *table) primary() *key {
	for _, k := range t.keys {
		if k.primary {
			return k
		}
	}
	return nil
}

// value is what an existing row of a will hold in a column of b, as an expression over a's columns: the column itself, or
// what the server puts into a new one. false when that cannot be told beforehand.
func (a *table) value(c *column) (sqlparser.Expr, bool) {
	if old, ok := a.byName[c.key]; ok && !old.generated && !c.generated {
		return &sqlparser.ColName{Name: c.def.Name}, true
	}
	o := c.def.Type.Options
	switch {
	case c.generated:
		return &sqlparser.ColName{Name: c.def.Name}, false
	case o.Autoincrement:
		return nil, false
	case o.Default != nil && o.DefaultLiteral:
		return o.Default, true
	case o.Default == nil && c.nullable:
		return &sqlparser.NullVal{}, true
	}
	return nil, false
}

// over rewrites an expression over b's columns as one over the rows a has now. false when it cannot be told.
func (a *table) over(b *table, expr sqlparser.Expr) (string, bool) {
	ok := true
	for range len(b.columns) + 1 { // generated columns may refer to earlier ones
		again := false
		expr = sqlparser.Rewrite(sqlparser.CloneExpr(expr), nil, func(cur *sqlparser.Cursor) bool {
			name, isColumn := cur.Node().(*sqlparser.ColName)
			if !isColumn {
				return true
			}
			c := b.byName[name.Name.Lowered()]
			if c == nil {
				ok = false
				return true
			}
			if c.generated {
				cur.Replace(sqlparser.CloneExpr(c.def.Type.Options.As))
				again = true
				return true
			}
			v, known := a.value(c)
			if !known {
				ok = false
			} else if _, same := v.(*sqlparser.ColName); !same {
				cur.Replace(v)
			}
			return true
		}).(sqlparser.Expr)
		if !again || !ok {
			break
		}
	}
	return oneLine(sqlparser.CanonicalString(expr)), ok
}

func sortFindings(f []Finding) {
	slices.SortStableFunc(f, func(a, b Finding) int { return cmp.Compare(a.Column, b.Column) })
}
