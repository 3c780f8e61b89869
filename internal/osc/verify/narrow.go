package verify

import (
	"fmt"

	"github.com/aosc/aosc/internal/mysql"
)

// Narrow is the expression of column o's value as n will hold it, for a column in which the operator permitted a loss: numbers are
// clamped, strings cut, fractions rounded, unknown labels emptied, NULLs replaced where n takes none.
func Narrow(o, n Column) (string, error) {
	e := mysql.QuoteIdent(o.Name)
	if !narrowable(o, n) {
		return "", fmt.Errorf("values of column %s are lost from %s to %s, which may be, but what becomes of them is not known: "+
			"correct them first", o.Name, o.Type, n.Type)
	}
	if o.Type != n.Type || o.Charset != n.Charset {
		e = narrowed(o, n, e)
	}
	if o.Nullable && !n.Nullable {
		e = "COALESCE(" + e + ", " + implicitDefault(n) + ")"
	}
	return e, nil
}
