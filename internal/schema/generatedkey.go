package schema

import (
	"slices"
	"strings"
)

// What sql_generate_invisible_primary_key adds to a table without a primary key (manual 15.1.24.11). SHOW CREATE TABLE does not
// tell it from one that somebody wrote out in the same words.
const (
	generatedColumn = "`my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */"
	generatedKey    = "PRIMARY KEY (`my_row_id`)"
)

// The primary key that a server generates is nobody's: whoever wrote the text of a table without a primary key does not know it, and
// nothing of ours may drop it. So a desired form without a primary key also describes the table that has such a key beside it: a table
// that is there is compared WithoutGeneratedKey, and planned towards WithGeneratedKeyOf it.

// Keyless tells whether a table of this form may have a generated primary key beside what the form says: it has no primary key, nor
// what the server takes for a reason not to generate one (an AUTO_INCREMENT column, a column of that name).
func (f Form) Keyless() bool {
	t, ok := f.parts()
	return ok && t.keyless()
}

func (t *parts) keyless() bool {
	return len(t.primary) == 0 && !slices.ContainsFunc(t.columns, func(c string) bool {
		toks, err := lex(c)
		if err != nil || len(toks) == 0 || strings.EqualFold(c[:toks[0].end], "`my_row_id`") {
			return true
		}
		return slices.ContainsFunc(toks, func(t token) bool { return t.kind == word && strings.EqualFold(c[t.start:t.end], "AUTO_INCREMENT") })
	})
}

// HasPrimaryKey tells whether the form has a primary key, generated or not.
func (f Form) HasPrimaryKey() bool {
	t, ok := f.parts()
	return !ok || len(t.primary) > 0
}

// WithoutGeneratedKey is the form less a generated primary key; the form itself where it has none.
func (f Form) WithoutGeneratedKey() Form {
	t, ok := f.parts()
	if !ok {
		return f
	}
	at := t.generated()
	if at < 0 {
		return f
	}
	t.columns, t.primary = slices.Delete(t.columns, at, at+1), nil
	return t.form(f)
}

// WithGeneratedKeyOf is the form with the generated primary key that the table current has, at the place where it has it; the form
// itself where current has none, or f is not Keyless.
func (f Form) WithGeneratedKeyOf(current Form) Form {
	if !strings.Contains(current.Text, generatedKey) {
		return f // most: nothing need be parsed
	}
	t, ok := f.parts()
	of, okOf := current.parts()
	if !ok || !okOf || !t.keyless() {
		return f
	}
	at := of.generated()
	if at < 0 {
		return f
	}
	// Behind the same column as now, wherever that is then; where it is dropped, behind the one before.
	place := 0
	for i := at - 1; i >= 0 && place == 0; i-- {
		place = 1 + slices.IndexFunc(t.columns, func(c string) bool { return columnName(c) == columnName(of.columns[i]) })
	}
	t.columns, t.primary = slices.Insert(t.columns, place, generatedColumn), []string{generatedKey}
	return t.form(f)
}

// WithGeneratedKey is the form that a table gets which is made of a text of this form while sql_generate_invisible_primary_key is ON.
// generated is false where the server would refuse to make it so: a key of its own is in no partitioning function, and only InnoDB has it.
func (f Form) WithGeneratedKey() (form Form, generated bool) {
	t, ok := f.parts()
	if !ok || !t.keyless() || !strings.Contains(t.options, "ENGINE=InnoDB") || strings.Contains(t.options, "PARTITION BY") {
		return f, false
	}
	t.columns, t.primary = slices.Insert(t.columns, 0, generatedColumn), []string{generatedKey}
	return t.form(f), true
}

// generated is the index of the column of a generated primary key, -1 for none.
func (t *parts) generated() int {
	if len(t.primary) != 1 || t.primary[0] != generatedKey {
		return -1
	}
	return slices.Index(t.columns, generatedColumn)
}

// columnName is the name of a column's definition, as compared.
func columnName(def string) string {
	toks, err := lex(def)
	if err != nil || len(toks) == 0 {
		return def
	}
	return strings.ToLower(def[:toks[0].end])
}

// parts takes a normal form apart; false for what is none (a view).
func (f Form) parts() (*parts, bool) {
	toks, err := lex(f.Text)
	if err != nil {
		return nil, false
	}
	t, err := split(&cursor{text: f.Text, toks: toks})
	return t, err == nil
}

// form puts the parts together; else is what it is where they cannot be read again.
func (t *parts) form(otherwise Form) Form {
	f, err := Normalise(t.String())
	if err != nil {
		return otherwise
	}
	return f
}
