package verify

import (
	"regexp"
	"slices"
	"strings"
)

// token finds, in a generation expression, names in backticks, strings, words and whatever else.
var token = regexp.MustCompile("`(?:[^`]|``)*`|'(?:[^'\\\\]|\\\\.|'')*'|[A-Za-z_][A-Za-z0-9_]*|.")

// settled are words of expressions whose value no session decides: neither its time zone, nor its sql_mode, nor another of its settings.
// Division is not among them: its digits are the session's.
var settled = strings.Fields(`concat concat_ws upper ucase lower lcase trim ltrim rtrim left right substr substring mid reverse replace repeat
	length octet_length char_length character_length abs sign mod floor ceiling ceil round if ifnull nullif coalesce least greatest
	case when then else end and or not xor is null true false like in between
	json_extract json_unquote json_value json_length json_keys json_contains crc32 md5 sha1 sha sha2 hex unhex
	_utf8mb4 _utf8mb3 _latin1 _ascii _binary cast as signed unsigned date year month dayofmonth day charset char utf8mb4 binary returning`)

// comparedStored tells whether a stored generated column of both tables can be compared: it is computed alike, from columns that are alike,
// and in every session. The value in the original is of the session that wrote the row, that in the copy of the copy's.
func comparedStored(o, n Table, oc, nc Column) bool {
	if !oc.Generated || !oc.Stored || !nc.Stored || oc.Type != nc.Type || oc.Collation != nc.Collation || oc.Expression != nc.Expression {
		return false
	}
	for _, t := range token.FindAllString(nc.Expression, -1) {
		switch {
		case t[0] == '`':
			if !alikeBase(o, n, strings.ReplaceAll(t[1:len(t)-1], "``", "`")) {
				return false
			}
		case t[0] == '\'', strings.Contains(" \t\n(),.+-*<>=!%&|0123456789", t):
		case !slices.Contains(settled, strings.ToLower(t)):
			return false
		}
	}
	return true
}

// alikeBase tells whether a column has the same values in both tables, which every session reads alike: a TIMESTAMP has those of its time
// zone, and CHAR may be read with the spaces at its end.
func alikeBase(o, n Table, name string) bool {
	a, okA := o.Column(name)
	b, okB := n.Column(name)
	return okA && okB && !a.Generated && !b.Generated && a.Type == b.Type && a.Collation == b.Collation &&
		a.DataType != "timestamp" && a.DataType != "char"
}

// unescaped is a generation expression as it is written: information_schema escapes it.
func unescaped(expression string) string {
	var b strings.Builder
	for i := 0; i < len(expression); i++ {
		if expression[i] == '\\' && i+1 < len(expression) {
			i++
		}
		b.WriteByte(expression[i])
	}
	return b.String()
}
