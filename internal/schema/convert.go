package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// loss is one way in which values of a column may not survive a change of its type.
type loss struct {
	code, detail string
	where        string // rows whose value does not survive; "" = it cannot be told, or all
	strict       bool   // strict SQL refuses such a value: only an ALTER that is not strict makes something of it
}

// convert tells what may be lost when the type of a column goes from c to d. Nothing is, and nothing is returned, when
// every value of c is the same value in d.
func convert(c, d *column) []loss {
	from, to := c.family(), d.family()
	switch {
	case c.typ == "json" && d.typ == "json", c.typ == "year" && d.typ == "year", c.typ == "date" && d.typ == "date":
		return nil
	case from == stringFamily && to == stringFamily:
		return convertStrings(c, d)
	case from == memberFamily && c.typ == d.typ:
		return convertMembers(c, d)
	case from == spatialFamily && to == spatialFamily:
		return convertSpatial(c, d)
	case numeric(from) && numeric(to):
		return convertNumbers(c, d)
	case from == timeFamily && to == timeFamily:
		return convertTimes(c, d)
	case from == bitFamily && to == bitFamily:
		return one(max(d.length, 1) < max(c.length, 1), NarrowColumn, "not every number fits", fmt.Sprintf("%s + 0 > %d", c.sql(), uint64(1)<<max(d.length, 1)-1))
	case c.typ == "vector" && d.typ == "vector":
		return one(d.length < c.length, NarrowColumn, "vectors of more dimensions do not fit", fmt.Sprintf("VECTOR_DIM(%s) > %d", c.sql(), d.length))
	case to == stringFamily && d.charset != "binary":
		return toString(c, d)
	case from == stringFamily && c.charset != "binary":
		if losses, known := fromText(c, d); known {
			return losses
		}
	case from == intFamily:
		if losses, known := fromWhole(c, d); known {
			return losses
		}
	}
	return []loss{{code: ConvertColumn, detail: "not every value means the same there", where: ""}}
}

func one(is bool, code, detail, where string) []loss {
	if !is {
		return nil
	}
	return []loss{{code: code, detail: detail, where: where}}
}

type family int

const (
	otherFamily   family = iota
	intFamily            // tinyint ... bigint
	decimalFamily        // decimal
	floatFamily          // float, double
	bitFamily
	stringFamily // char, varchar, text, binary, varbinary, blob
	memberFamily // enum, set
	timeFamily   // date, time, datetime, timestamp
	spatialFamily
)

var families = map[string]family{
	"tinyint": intFamily, "smallint": intFamily, "mediumint": intFamily, "int": intFamily, "integer": intFamily, "bigint": intFamily,
	"year":    intFamily,
	"decimal": decimalFamily, "numeric": decimalFamily, "float": floatFamily, "double": floatFamily, "real": floatFamily, "bit": bitFamily,
	"char": stringFamily, "varchar": stringFamily, "tinytext": stringFamily, "text": stringFamily, "mediumtext": stringFamily,
	"longtext": stringFamily, "binary": stringFamily, "varbinary": stringFamily, "tinyblob": stringFamily, "blob": stringFamily,
	"mediumblob": stringFamily, "longblob": stringFamily,
	"enum": memberFamily, "set": memberFamily,
	"date": timeFamily, "time": timeFamily, "datetime": timeFamily, "timestamp": timeFamily,
	"geometry": spatialFamily, "point": spatialFamily, "linestring": spatialFamily, "polygon": spatialFamily, "multipoint": spatialFamily,
	"multilinestring": spatialFamily, "multipolygon": spatialFamily, "geometrycollection": spatialFamily, "geomcollection": spatialFamily,
}

func (c *column) family() family { return families[c.typ] }

func numeric(f family) bool { return f == intFamily || f == decimalFamily || f == floatFamily }

// textual columns have a character set.
func (c *column) textual() bool {
	return c.family() == stringFamily || c.family() == memberFamily
}

func convertMembers(c, d *column) []loss {
	var gone []string
	at := map[string]int{}
	for i, v := range d.values {
		at[v] = i
	}
	moved := false
	for i, v := range c.values {
		j, ok := at[v]
		if !ok {
			gone = append(gone, v)
		}
		moved = moved || ok && i != j
	}
	var out []loss
	if len(gone) > 0 {
		where := c.sql() + " IN (" + strings.Join(quoteAll(gone), ", ") + ")"
		if c.typ == "set" {
			var each []string
			for _, v := range gone {
				each = append(each, "FIND_IN_SET("+mysql.QuoteString(v)+", "+c.sql()+")")
			}
			where = strings.Join(each, " OR ")
		}
		out = append(out, loss{code: NarrowColumn, detail: "members removed: " + strings.Join(gone, ", "), where: where})
	}
	if moved {
		out = append(out, loss{code: EnumReorder, detail: "members that stay get other numbers: append new ones at the end", where: ""})
	}
	return out
}

func convertSpatial(c, d *column) []loss {
	var out []loss
	if c.typ != d.typ && d.typ != "geometry" {
		kind := d.typ
		if kind == "geometrycollection" {
			kind = "geomcollection"
		}
		out = append(out, loss{code: NarrowColumn, detail: "only values of type " + d.typ + " fit", where: "ST_GEOMETRYTYPE(" + c.sql() +
			") <> " + mysql.QuoteString(strings.ToUpper(kind))})
	}
	if d.srid >= 0 && d.srid != c.srid {
		out = append(out, loss{code: NarrowColumn, detail: "only values of SRID " + itoa(d.srid) + " fit", where: "ST_SRID(" + c.sql() +
			") <> " + itoa(d.srid)})
	}
	return out
}

// toString tells whether the text of every value of c fits d.
func toString(c, d *column) []loss {
	width := -1
	switch {
	case c.typ == "json":
		return one(d.typ != "longtext", NarrowColumn, "longer documents do not fit", d.tooLong(c.sql()))
	case c.family() == intFamily:
		lo, hi := c.intRange()
		width = max(len(lo), len(hi))
	case c.family() == decimalFamily:
		width = c.precision() + 2
	case c.typ == "enum":
		width = 0
		for _, v := range c.values {
			width = max(width, len([]rune(v)))
		}
	case c.family() == timeFamily:
		width = map[string]int{"date": 10, "time": 10, "datetime": 19, "timestamp": 19}[c.typ]
		if c.length > 0 {
			width += 1 + c.length
		}
	default:
		return []loss{{code: ConvertColumn, detail: "not every value means the same there", where: ""}}
	}
	return one(d.maxChars() < int64(width), NarrowColumn, "longer values do not fit", d.tooLong("CONVERT("+c.sql()+" USING utf8mb4)"))
}

// fractionLost finds values with more digits behind the second than fsp keeps.
func fractionLost(sql string, fsp int) string {
	return "MICROSECOND(" + sql + ") % " + strconv.Itoa(pow10(6-fsp)) + " <> 0"
}

func pow10(n int) int {
	p := 1
	for range n {
		p *= 10
	}
	return p
}

func convertTimes(c, d *column) []loss {
	fsp := func(c *column) int { return max(c.length, 0) }
	switch {
	case c.typ == d.typ:
		return one(fsp(d) < fsp(c), NarrowColumn, "fractions of a second are rounded", fractionLost(c.sql(), fsp(d)))
	case c.typ == "date" && d.typ == "datetime":
		return nil
	case c.typ == "datetime" && d.typ == "date":
		return []loss{{code: NarrowColumn, detail: "the time of day is lost", where: "TIME(" + c.sql() + ") <> '00:00:00'"}}
	case c.typ == "timestamp" && d.typ == "datetime":
		return []loss{{code: ConvertColumn, detail: "moments become the date and time of one time zone", where: ""}}
	case c.typ == "datetime" && d.typ == "timestamp":
		return []loss{{code: ConvertColumn, detail: "dates and times become moments by one time zone, and only those from 1970 to 2038 fit",
			where: ""}}
	}
	return []loss{{code: ConvertColumn, detail: "not every value means the same there", where: ""}}
}

// enumValues takes the quotes off what the parser gives.
func enumValues(quoted []string) []string {
	out := slices.Clone(quoted)
	for i, v := range out {
		out[i] = unescape(v)
	}
	return out
}

// unescape reads a '...' literal; a value without quotes is returned as it is.
func unescape(v string) string {
	if len(v) < 2 || v[0] != '\'' {
		return v
	}
	v = doubleQuotes(v)
	v = strings.ReplaceAll(v[1:len(v)-1], "''", "'")
	return unescaper.Replace(v)
}

var unescaper = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00", `\Z`, "\x1a", `\b`, "\b")

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
