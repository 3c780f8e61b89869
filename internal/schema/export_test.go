package schema

import "strings"

// OutsideQuotes is a statement as the server was given it, less what stands in quotes.
func OutsideQuotes(sql string) string {
	toks, err := lex(sql)
	if err != nil {
		return sql
	}
	var b strings.Builder
	end := 0
	for _, t := range toks {
		b.WriteString(sql[end:t.start]) // comments
		if t.kind != str && t.kind != ident {
			b.WriteString(sql[t.start:t.end])
		}
		end = t.end
	}
	return b.String() + sql[end:]
}
