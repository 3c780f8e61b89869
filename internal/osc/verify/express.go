package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// class is a family of types whose values are compared in one way.
type class int

const (
	classOther class = iota
	classInt
	classDecimal
	classFloat
	classText
	classBinary
	classMoment // date, datetime, timestamp
	classTime
	classEnum
	classSet
	classBit
	classJSON
)

func (c Column) class() class {
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		return classInt
	case "decimal":
		return classDecimal
	case "float", "double":
		return classFloat
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		return classText
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return classBinary
	case "date", "datetime", "timestamp":
		return classMoment
	case "time":
		return classTime
	case "enum":
		return classEnum
	case "set":
		return classSet
	case "bit":
		return classBit
	case "json":
		return classJSON
	}
	return classOther // spatial types, vector, and what comes after them
}

// numeric tells whether values of c are exact numbers.
func (c Column) numeric() bool {
	k := c.class()
	return k == classInt || k == classDecimal || k == classBit
}

// labelled tells whether values of c are text on the outside.
func (c Column) labelled() bool {
	k := c.class()
	return k == classText || k == classEnum || k == classSet
}

// long tells whether values of c are hashed one by one. The concatenation of a row must stay far below
// max_allowed_packet: beyond it the server makes NULL of it, and every such row would seem equal.
func (c Column) long() bool {
	switch c.class() {
	case classText, classBinary:
		return c.Length > 255
	case classJSON, classOther:
		return true
	}
	return false
}

// pair are the expressions, over the original's and the copy's row, whose values are equal exactly when the copy holds
// what the original does. They are of a-z, A-Z, 0-9, '-', '+', '.', ':' and space, or NULL: nothing in them can be taken
// for the separator of a row.
type pair struct{ original, copy string }

// expressions compares original column o with column n of the copy. lossy says that a loss in this column was
// permitted: then o's value is first narrowed to what n can hold.
//
// Without lossy nothing is narrowed: a value that does not fit n must come out as a difference, even though
// gh-ost's INSERT IGNORE has cut it without a word.
func expressions(o, n Column, lossy bool) pair {
	oc, nc := mysql.QuoteIdent(o.Name), mysql.QuoteIdent(n.Name)
	if o.Type == n.Type && o.Charset == n.Charset {
		p := pair{sameType(o, oc), sameType(n, nc)}
		if lossy && o.Nullable && !n.Nullable {
			p.original = "COALESCE(" + p.original + ", " + sameType(n, implicitDefault(n)) + ")"
		}
		return p
	}
	if lossy {
		oc = narrowed(o, n, oc)
	}
	p := differentTypes(o, n, oc, nc)
	if lossy && o.class() == classText && n.numeric() {
		p = pair{exact(n, oc), exact(n, bitNumber(n, nc))} // however it is written
	}
	if lossy && o.Nullable && !n.Nullable {
		p.original = "COALESCE(" + p.original + ", " + differentTypes(n, n, implicitDefault(n), nc).original + ")"
	}
	return p
}

// sameType renders expression e of type c where both sides have that type: nothing needs converting.
func sameType(c Column, e string) string {
	switch c.class() {
	case classInt, classDecimal, classMoment, classTime:
		return e
	case classBit:
		return e + "+0"
	case classFloat:
		return "CAST(" + e + " AS DOUBLE)" // FLOAT prints six digits, its value has more
	case classEnum, classSet:
		return utf8Hex(e, false)
	case classJSON:
		return document(e)
	}
	if c.long() {
		return digest(e)
	}
	return "HEX(" + e + ")"
}

// differentTypes renders values of o and n in the terms they have in common. oExpr and nExpr need not be columns.
func differentTypes(o, n Column, oExpr, nExpr string) pair {
	ok, nk := o.class(), n.class()
	switch {
	case nk == classFloat || ok == classFloat && (n.numeric() || nk == classFloat):
		return floats(o, n, oExpr, nExpr)
	case o.numeric() && n.numeric():
		return exactNumbers(o, n, oExpr, nExpr)
	case n.numeric() && (ok == classEnum || ok == classSet):
		return pair{oExpr + "+0", nExpr + "+0"}
	case nk == classEnum && o.numeric():
		return pair{bitNumber(o, oExpr) + "+0", nExpr + "+0"}
	case n.numeric() && ok == classText:
		return pair{guarded(n, oExpr), exact(n, bitNumber(n, nExpr))}
	case nk == classMoment && (ok == classMoment || ok == classText):
		return moments(o, n, oExpr, nExpr)
	case nk == classTime && (ok == classTime || ok == classText):
		return pair{"CAST(" + oExpr + " AS TIME(6))", "CAST(" + nExpr + " AS TIME(6))"}
	case ok == classSet && nk == classSet && oExpr == mysql.QuoteIdent(o.Name):
		return sets(o, n, oExpr, nExpr)
	case ok == classBinary || nk == classBinary:
		return bytesOf(o, n, oExpr, nExpr)
	case nk == classJSON && ok != classBinary && ok != classJSON:
		text := oExpr
		if ok != classText {
			text = "CONCAT(" + bitNumber(o, oExpr) + ")"
		}
		return pair{"IF(JSON_VALID(" + text + "), " + document("CAST("+text+" AS JSON)") + ", IF(" + oExpr +
			" IS NULL, NULL, 'invalid'))", document(nExpr)}
	case nk == classText || n.labelled() && o.labelled():
		return texts(o, n, oExpr, nExpr)
	}
	return pair{digest("CAST(" + oExpr + " AS BINARY)"), digest("CAST(" + nExpr + " AS BINARY)")}
}

// exact is e as a decimal with the scale of n.
func exact(n Column, e string) string { return fmt.Sprintf("CAST(%s AS DECIMAL(65,%d))", e, n.Scale) }

// exactNumbers compares at the larger of both scales, so that a digit lost is a difference.
func exactNumbers(o, n Column, oExpr, nExpr string) pair {
	wide := Column{Scale: max(o.Scale, n.Scale)}
	return pair{exact(wide, bitNumber(o, oExpr)), exact(wide, bitNumber(n, nExpr))}
}

func bitNumber(c Column, e string) string {
	if c.class() == classBit {
		return "(" + e + "+0)"
	}
	return e
}

// guarded renders text that is to become a number: one that is written otherwise than such a number shows itself. It changes with its type,
// which is a loss of its own.
func guarded(n Column, text string) string {
	written := "^(0|-?[1-9][0-9]*)$"
	if n.Scale > 0 {
		written = fmt.Sprintf("^-?(0|[1-9][0-9]*)([.][0-9]{1,%d})?$", n.Scale)
	}
	return fmt.Sprintf("IF(%[1]s IS NULL OR REGEXP_LIKE(CONVERT(%[1]s USING utf8mb4), '%[2]s', 'c'), %[3]s, %[4]s)", text, written,
		exact(n, text), utf8Hex(text, true))
}

func floats(o, n Column, oExpr, nExpr string) pair {
	value := bitNumber(o, oExpr)
	switch {
	case n.DataType == "float" && n.class() == classFloat:
		// What a FLOAT holds of a number is not a loss to be found: an ALTER would do the same.
		return pair{"CAST(CAST(" + value + " AS FLOAT) AS DOUBLE)", "CAST(" + nExpr + " AS DOUBLE)"}
	case n.class() == classFloat:
		return pair{"CAST(" + value + " AS DOUBLE)", "CAST(" + nExpr + " AS DOUBLE)"}
	}
	return pair{exact(n, value), exact(n, bitNumber(n, nExpr))}
}

// moments compares points in time. A DATETIME is in the server's time zone when it becomes a TIMESTAMP, and back.
func moments(o, n Column, oExpr, nExpr string) pair {
	as := func(c Column, e string) string { return "CAST(" + e + " AS DATETIME(6))" }
	original := as(o, oExpr)
	switch {
	case o.DataType != "timestamp" && n.DataType == "timestamp":
		original = "CONVERT_TZ(" + original + ", @@GLOBAL.time_zone, '+00:00')"
	case o.DataType == "timestamp" && n.DataType != "timestamp":
		original = "CONVERT_TZ(" + original + ", '+00:00', @@GLOBAL.time_zone)"
	}
	return pair{as(n, original), as(n, nExpr)}
}

// bytesOf compares as bytes. BINARY(n) is padded with zero bytes, so trailing ones say nothing where the types differ.
func bytesOf(o, n Column, oExpr, nExpr string) pair {
	raw := func(c Column, e string) string {
		e = "CAST(" + e + " AS BINARY)"
		if o.DataType == "binary" || n.DataType == "binary" {
			e = "TRIM(TRAILING _binary x'00' FROM " + e + ")"
		}
		return e
	}
	if o.long() || n.long() {
		return pair{digest(raw(o, oExpr)), digest(raw(n, nExpr))}
	}
	return pair{"HEX(" + raw(o, oExpr) + ")", "HEX(" + raw(n, nExpr) + ")"}
}

// texts compares as text, whatever the character sets. CHAR loses trailing spaces when it is read.
func texts(o, n Column, oExpr, nExpr string) pair {
	if o.class() == classMoment || o.class() == classTime || o.numeric() || o.class() == classFloat || o.class() == classJSON {
		oExpr = "CONCAT(" + bitNumber(o, oExpr) + ")"
	}
	if o.DataType == "char" || n.DataType == "char" {
		oExpr, nExpr = "TRIM(TRAILING ' ' FROM "+oExpr+")", "TRIM(TRAILING ' ' FROM "+nExpr+")"
	}
	long := o.long() || n.long()
	return pair{utf8Hex(oExpr, long), utf8Hex(nExpr, long)}
}

// sets compares by which members a value has: their order, in which the server prints them, is that of the type.
func sets(o, n Column, oExpr, nExpr string) pair {
	members := func(c Column) []string {
		return strings.Split(strings.TrimSuffix(strings.TrimPrefix(c.Type, "set('"), "')"), "','")
	}
	all := members(o)
	for _, m := range members(n) {
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	render := func(e string) string {
		terms := make([]string, len(all))
		for i, m := range all {
			terms[i] = "(FIND_IN_SET('" + m + "', " + e + ") > 0)"
		}
		return "CONCAT(" + strings.Join(terms, ", ") + ")"
	}
	return pair{render(oExpr), render(nExpr)}
}

// utf8Hex renders text independently of its character set.
func utf8Hex(e string, long bool) string {
	e = "CONVERT(" + e + " USING utf8mb4)"
	if long {
		return digest(e)
	}
	return "HEX(" + e + ")"
}

// document is JSON as text, with what its text does not tell: by its type and the size of its binary form 20.0 as a decimal is told from
// 20.0 as a double, and dates, times and bytes from texts. The size is that of the value within an array: a column's own is what it was
// before it was updated in part.
func document(e string) string {
	return "CONCAT(JSON_TYPE(" + e + "), ':', JSON_STORAGE_SIZE(JSON_ARRAY(" + e + ")), ':', " + digest("CAST("+e+" AS CHAR)") + ")"
}

// digest is SHA-256: MD5() and SHA1() are no longer part of the server since 9.6.
func digest(e string) string { return "SHA2(" + e + ", 256)" }

// narrowable tells whether narrowed knows what becomes of o's values in n.
func narrowable(o, n Column) bool {
	ok, nk := o.class(), n.class()
	switch {
	case o.Type == n.Type && o.Charset == n.Charset:
		return true // only NULLs are lost
	case assigned(o, n):
		return true
	case o.labelled() && n.labelled(), ok == classBinary && nk == classBinary, ok == classTime && nk == classTime:
		return true
	case nk == classText:
		return o.numeric()
	case n.numeric():
		return o.numeric() || ok == classFloat
	case nk == classFloat:
		return o.numeric() || ok == classFloat
	case nk == classMoment:
		return ok == classMoment
	}
	return false
}

// assigned tells whether the server's own conversion is all that becomes of o's values in n: those that do not fit are errors, and others
// come to be written otherwise.
func assigned(o, n Column) bool {
	ok, nk := o.class(), n.class()
	switch ok {
	case classText:
		return n.numeric() || nk == classMoment || nk == classTime || nk == classEnum || nk == classJSON
	case classInt:
		return nk == classEnum || n.DataType == "year" || nk == classJSON
	case classEnum, classSet:
		return n.numeric() || nk == classJSON
	case classFloat:
		return nk == classJSON || nk == classText
	case classDecimal:
		return nk == classJSON
	}
	return false
}

// narrowed is o's value as n will hold it, for columns where the operator permitted the loss. It mirrors what INSERT
// IGNORE does: clamp numbers, cut strings, round fractions, empty unknown labels.
func narrowed(o, n Column, e string) string {
	switch {
	case o.class() == classText && n.class() == classEnum:
		// The member that the text compares as. One that compares as none stays, for the server to refuse.
		labels := strings.TrimSuffix(strings.TrimPrefix(n.Type, "enum("), ")")
		return fmt.Sprintf("COALESCE(ELT(FIELD(CONVERT(%[1]s USING %[2]s) COLLATE %[3]s, %[4]s), %[4]s), %[1]s)", e, n.Charset, n.Collation,
			labels)
	case o.class() == classText && (n.class() == classMoment || n.class() == classTime):
		return narrowedNumber(o, n, e)
	case assigned(o, n):
		return e
	case n.labelled() && o.labelled() && o.Charset != n.Charset:
		e = "CONVERT(" + e + " USING " + n.Charset + ")"
	case n.class() == classText && o.numeric():
		e = "CONCAT(" + bitNumber(o, e) + ")"
	case n.class() == classText && o.class() == classText && o.Length > n.Length:
	default:
		return narrowedNumber(o, n, e)
	}
	if n.class() == classText {
		e = fmt.Sprintf("LEFT(%s, %d)", e, n.Length)
	}
	return knownLabel(n, e)
}

func narrowedNumber(o, n Column, e string) string {
	switch n.class() {
	case classInt:
		if low, high, ok := intRange(n); ok && o.numeric() {
			return fmt.Sprintf("LEAST(GREATEST(ROUND(%s), %s), %s)", bitNumber(o, e), low, high)
		}
	case classDecimal:
		if o.numeric() || o.class() == classFloat {
			return fmt.Sprintf("CAST(%s AS DECIMAL(%d,%d))", bitNumber(o, e), n.Precision, n.Scale)
		}
	case classMoment:
		if n.DataType == "date" {
			return "CAST(" + e + " AS DATE)"
		}
		return "CAST(" + e + " AS DATETIME(" + strconv.Itoa(n.Fraction) + "))"
	case classTime:
		return "CAST(" + e + " AS TIME(" + strconv.Itoa(n.Fraction) + "))"
	case classBinary:
		return fmt.Sprintf("LEFT(CAST(%s AS BINARY), %d)", e, n.Length)
	}
	return knownLabel(n, e)
}

// knownLabel empties what is no label of enum n.
func knownLabel(n Column, e string) string {
	if n.class() != classEnum {
		return e
	}
	labels := strings.TrimSuffix(strings.TrimPrefix(n.Type, "enum("), ")")
	return fmt.Sprintf("IF(%[1]s IS NULL OR %[1]s IN (%[2]s), %[1]s, '')", e, labels)
}

// intRange is what an integer type holds.
func intRange(c Column) (low, high string, ok bool) {
	bits := map[string]uint{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[c.DataType]
	if bits == 0 {
		return "", "", false
	}
	if c.Unsigned {
		return "0", strconv.FormatUint(^uint64(0)>>(64-bits), 10), true
	}
	top := uint64(1) << (bits - 1)
	return "-" + strconv.FormatUint(top, 10), strconv.FormatUint(top-1, 10), true
}

// implicitDefault is what INSERT IGNORE makes of NULL in a column that takes none.
func implicitDefault(c Column) string {
	switch c.class() {
	case classInt, classDecimal, classFloat, classBit:
		return "0"
	case classMoment:
		return "CAST('0000-00-00 00:00:00' AS DATETIME(" + strconv.Itoa(c.Fraction) + "))"
	case classTime:
		return "CAST('00:00:00' AS TIME(" + strconv.Itoa(c.Fraction) + "))"
	case classJSON:
		return "CAST('null' AS JSON)"
	}
	return "''"
}
