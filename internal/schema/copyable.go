package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// copyable says why no copy engine can be used for a change, nil when one can.
func copyable(a, b *table, c *Change) error {
	if err := oneCopy(a, b, c); err != nil {
		return err
	}
	for _, f := range c.Findings {
		if f.Code == Generated && a.byName[strings.ToLower(f.Column)].virtual {
			return fmt.Errorf("column %s starts or stops being computed: a copy cannot tell its values", f.Column)
		}
	}
	if why := a.lostKey(b); why != "" {
		return errors.New(why)
	}
	return nil
}

// oneCopy says why a change is not one that a copy of one table makes.
func oneCopy(a, b *table, c *Change) error {
	if len(a.foreignKeys)+len(b.foreignKeys) > 0 {
		return errors.New("the table has foreign keys: they would be lost, or point at the old table")
	}
	if c.copied == nil {
		return errors.New("it takes several ALTER TABLE statements: commit the change of partitions by itself")
	}
	return nil
}

// lostKey says why no key of a tells the rows of its copy b apart, "" when one does. The copy need not have the key: it is given an index
// over the same columns for the time.
func (a *table) lostKey(b *table) string {
	var gone []string
	for _, k := range a.keys {
		if !k.identifies(a) {
			continue
		}
		i := slices.IndexFunc(k.parts, func(p keyPart) bool { return b.byName[p.column] == nil })
		if i < 0 {
			return ""
		}
		gone = append(gone, fmt.Sprintf("of key %s column %s is dropped", k.name, a.byName[k.parts[i].column].name))
	}
	if gone == nil {
		return "no unique key over NOT NULL columns is in the table before and after: rows could not be told apart. Let MySQL itself make " +
			"the change, which " +
			"blocks writes (direct_max_rows at least the table's rows)"
	}
	return "rows could not be told apart: " + strings.Join(gone, ", ") + ". Commit the new key first, and drop the column once it is there"
}

// sharesKey tells whether both tables have a unique key over the same NOT NULL columns, none of them a float or an
// expression.
func sharesKey(a, b *table) bool {
	return slices.ContainsFunc(a.keys, func(k *key) bool {
		return k.identifies(a) && slices.ContainsFunc(b.keys, func(l *key) bool {
			return l.identifies(b) && slices.EqualFunc(k.parts, l.parts, func(p, q keyPart) bool { return p.column == q.column })
		})
	})
}

func (k *key) identifies(t *table) bool {
	return k.unique && !slices.ContainsFunc(k.parts, func(p keyPart) bool {
		c := t.byName[p.column]
		return c == nil || p.expr != nil || p.prefix > 0 || c.nullable || c.family() == floatFamily || c.virtual
	})
}

// ghostCharsets are those of which gh-ost 1.1.8 can read the bytes in the binary log (go/sql/types.go: latin1 is decoded,
// everything else taken for UTF-8).
var ghostCharsets = []string{"", "binary", "ascii", "latin1", "utf8", "utf8mb3", "utf8mb4"}

// ghostable says why gh-ost in particular must not do the copy. It inserts what it reads, and then applies what the binary log says
// changed meanwhile, with IGNORE; both must mean the same in either table, and no row may be in another's way.
func ghostable(a, b *table, c *Change) error {
	const instead = "; set the tier's copy_engine to 'keyed', which moves all values within the server"
	if err := oneCopy(a, b, c); err != nil {
		return err
	}
	for _, f := range c.Findings {
		if f.collation != "" {
			return fmt.Errorf("of the unique key %s %s: rows that differ now may be equal then, and one that is written during the copy would "+
				"be lost. "+
				"Let MySQL itself make the change, which blocks writes (direct_max_rows at least the table's rows), or choose a collation that "+
				"keeps apart "+
				"what differs now (of utf8mb3_general_ci: utf8mb4_general_ci)", f.Column, f.collation)
		}
		switch f.Code {
		case Unique:
			return fmt.Errorf("it adds the unique key %s: rows that clash with one written during the copy would be lost: commit the key by "+
				"itself", f.Column)
		case EnumReorder:
			return fmt.Errorf("column %s gets its members in another order: the binary log knows them by number", f.Column)
		case Generated:
			return fmt.Errorf("column %s starts or stops being computed: a copy cannot tell its values", f.Column)
		}
	}
	if !sharesKey(a, b) {
		return errors.New("no unique key over NOT NULL columns is in the table before and after: rows could not be told apart")
	}
	for _, d := range b.columns {
		c := a.byName[d.key]
		if c == nil || c.generated || d.generated {
			continue
		}
		if why := decodedColumn(c, d); why != "" {
			return errors.New(why + instead)
		}
	}
	for _, t := range []*table{a, b} {
		for _, c := range t.columns {
			if c.family() == stringFamily && !slices.Contains(ghostCharsets, c.charset) {
				return fmt.Errorf("gh-ost cannot read the %s column %s in the binary log"+instead, c.charset, c.name)
			}
		}
	}
	return nil
}
