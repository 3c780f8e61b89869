package schema

import (
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// fromText is for text that becomes something else. Two questions are asked of the rows: which texts the server refuses, and which it takes
// and writes otherwise from then on ('007', '1.50' as a whole number, 'A' for a member 'a'). Nothing is lost where both are in no row.
func fromText(c, d *column) ([]loss, bool) {
	text := "CONVERT(" + c.sql() + " USING utf8mb4)"
	switch to := d.family(); {
	case d.typ == "json":
		return []loss{{code: ConvertColumn, detail: "only valid JSON fits", where: "NOT JSON_VALID(" + text + ")", strict: true}}, true
	case to == intFamily && d.typ != "year", to == decimalFamily:
		return textToNumber(text, d), true
	case d.typ == "date", d.typ == "datetime":
		return textToDate(text, d), true
	case d.typ == "time":
		return textToTime(text, d), true
	case d.typ == "enum":
		return textToMember(text, d), true
	}
	return nil, false
}

// Texts of numbers as the server reads them, and as it writes them.
const (
	readsAsNumber = `^ *[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[-+]?[0-9]+)? *$`
	wholeNumber   = `^(0|-?[1-9][0-9]*)$`
)

func textToNumber(text string, d *column) []loss {
	lo, hi := d.limits()
	written := wholeNumber
	if d.decimals() > 0 {
		written = fmt.Sprintf(`^-?(0|[1-9][0-9]*)([.][0-9]{1,%d})?$`, d.decimals())
	}
	value := fmt.Sprintf("CAST(%s AS DECIMAL(65,%d))", text, d.decimals())
	return []loss{
		{code: ConvertColumn, detail: "only numbers of its range fit", strict: true, where: fmt.Sprintf(
			"NOT REGEXP_LIKE(%s, '%s', 'i') OR %s < %s OR %[3]s > %[5]s", text, readsAsNumber, value, number(lo, d.decimals()),
			number(hi, d.decimals()))},
		{code: ConvertColumn, detail: "numbers that are written otherwise change their text: zeros in front, fractions, exponents, spaces",
			where: fmt.Sprintf("NOT REGEXP_LIKE(%s, '%s', 'c')", text, written)},
	}
}

func textToDate(text string, d *column) []loss {
	fits := fmt.Sprintf("REGEXP_LIKE(%s, '^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?)?$', 'c')", text)
	moment := "CAST(" + text + " AS DATETIME(6))"
	out := []loss{{code: ConvertColumn, detail: "only dates, with or without a time of day, fit", strict: true,
		where: fmt.Sprintf("%s IS NOT NULL AND (NOT %s OR %s IS NULL)", text, fits, moment)}}
	switch {
	case d.typ == "date":
		out = append(out, loss{code: NarrowColumn, detail: "the time of day is lost", where: fits + " AND " + moment + " <> CAST(" + moment +
			" AS DATE)"})
	case d.length < 6:
		out = append(out, loss{code: NarrowColumn, detail: "fractions of a second are rounded",
			where: fits + " AND " + fractionLost(moment, max(d.length, 0))})
	}
	return out
}

func textToTime(text string, d *column) []loss {
	const hours = `-?([0-9]{2}|[0-7][0-9]{2}|8[0-2][0-9]|83[0-8])`
	fits := fmt.Sprintf("REGEXP_LIKE(%s, '^%s:[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?$', 'c')", text, hours)
	out := []loss{{code: ConvertColumn, detail: "only times fit", strict: true, where: "NOT " + fits}}
	if d.length < 6 {
		out = append(out, loss{code: NarrowColumn, detail: "fractions of a second are rounded",
			where: fits + " AND " + fractionLost("CAST("+text+" AS TIME(6))", max(d.length, 0))})
	}
	return out
}

func textToMember(text string, d *column) []loss {
	var members, exact []string
	for _, v := range d.values {
		members = append(members, mysql.QuoteString(v))
		exact = append(exact, "CAST("+mysql.QuoteString(v)+" AS BINARY)")
	}
	in := fmt.Sprintf("CONVERT(%s USING %s) COLLATE %s IN (%s)", text, d.charset, d.collation, strings.Join(members, ", "))
	return []loss{
		{code: ConvertColumn, detail: "only its members fit", strict: true, where: "NOT (" + in + ")"},
		{code: ConvertColumn, detail: "texts that only compare as members do become those",
			where: in + " AND CAST(" + text + " AS BINARY) NOT IN (" + strings.Join(exact, ", ") + ")"},
	}
}

// fromWhole is for whole numbers that become JSON, members of an ENUM, or years.
func fromWhole(c, d *column) ([]loss, bool) {
	switch {
	case d.typ == "json" && !c.def.Type.Zerofill:
		return nil, true
	case d.typ == "enum":
		members := strings.Join(quoteAll(d.values), ", ")
		return []loss{
			{code: ConvertColumn, detail: fmt.Sprintf("only numbers of members, 1 to %d, fit", len(d.values)), strict: true,
				where: fmt.Sprintf("%s NOT BETWEEN 1 AND %d", c.sql(), len(d.values))},
			{code: ConvertColumn, detail: "numbers become the members of these numbers, whose text is another one",
				where: fmt.Sprintf("CONCAT(%s + 0) <> ELT(%s, %s)", c.sql(), c.sql(), members)},
		}, true
	case d.typ == "year" && c.typ != "year":
		return []loss{{code: ConvertColumn, detail: "only years from 1901 to 2155, and 0, fit", strict: true,
			where: fmt.Sprintf("%[1]s <> 0 AND %[1]s NOT BETWEEN 1901 AND 2155", c.sql())}}, true
	}
	return nil, false
}
