package schema

import (
	"fmt"
	"math"
)

// textBytes is how many bytes a value of the types without a length holds.
var textBytes = map[string]int64{
	"tinytext": 1<<8 - 1, "text": 1<<16 - 1, "mediumtext": 1<<24 - 1, "longtext": 1<<32 - 1,
	"tinyblob": 1<<8 - 1, "blob": 1<<16 - 1, "mediumblob": 1<<24 - 1, "longblob": 1<<32 - 1,
}

// maxLen is the most bytes a character takes (SHOW CHARACTER SET); 1 where it is not listed.
var maxLen = map[string]int64{
	"utf8mb4": 4, "utf16": 4, "utf16le": 4, "utf32": 4, "gb18030": 4, "utf8mb3": 3, "utf8": 3, "ujis": 3, "eucjpms": 3,
	"big5": 2, "gbk": 2, "sjis": 2, "cp932": 2, "euckr": 2, "gb2312": 2, "ucs2": 2,
}

func (c *column) maxLen() int64 { return max(maxLen[c.charset], 1) }

// sized columns have a length in characters (in bytes for binary ones); the others are limited by bytes.
func (c *column) sized() bool { _, text := textBytes[c.typ]; return !text }

func (c *column) size() int64 {
	if c.length < 0 {
		return 1 // char and binary without a length
	}
	return int64(c.length)
}

// maxChars is how many characters always fit.
func (c *column) maxChars() int64 {
	if c.sized() {
		return c.size()
	}
	return textBytes[c.typ] / c.maxLen()
}

// maxBytes is how many bytes a value may have, in the column's character set.
func (c *column) maxBytes() int64 {
	if c.sized() {
		return c.size() * c.maxLen()
	}
	return textBytes[c.typ]
}

// tooLong is the condition that a text does not fit the column.
func (c *column) tooLong(sql string) string {
	if c.sized() {
		return fmt.Sprintf("CHAR_LENGTH(%s) > %d", sql, c.size())
	}
	if c.charset != "binary" {
		sql = "CONVERT(" + sql + " USING " + c.charset + ")"
	}
	return fmt.Sprintf("LENGTH(%s) > %d", sql, textBytes[c.typ])
}

// convertStrings is for char, varchar, text and their binary counterparts.
func convertStrings(c, d *column) []loss {
	from, to := c.charset == "binary", d.charset == "binary"
	switch {
	case from && to:
		return convertBytes(c, d)
	case to:
		return charToBytes(c, d)
	case from:
		return bytesToChar(c, d)
	}
	var out []loss
	if !includes(d.charset, c.charset) {
		out = append(out, loss{code: CharsetLoss, detail: "characters that " + d.charset + " does not have are replaced",
			where: fmt.Sprintf("CAST(CONVERT(CONVERT(%[1]s USING %[2]s) USING utf8mb4) AS BINARY) <> CAST(CONVERT(%[1]s USING utf8mb4) AS "+
				"BINARY)", c.sql(), d.charset)})
	}
	if !fits(c, d) {
		out = append(out, loss{code: NarrowColumn, detail: "longer values do not fit", where: d.tooLong(c.sql())})
	}
	if d.typ == "char" && c.typ != "char" {
		out = append(out, loss{code: NarrowColumn, detail: "trailing spaces are lost", where: c.sql() + ` LIKE '% '`})
	}
	return out
}

// fits tells whether every value of c is short enough for d.
func fits(c, d *column) bool {
	if d.sized() {
		return c.sized() && c.size() <= d.size() || !c.sized() && c.maxBytes() <= d.size()
	}
	if c.charset == d.charset || d.maxLen() == 1 {
		return c.maxBytes() <= d.maxBytes()
	}
	chars := c.maxBytes() // a character takes a byte at least
	if c.sized() {
		chars = c.size()
	}
	return chars > math.MaxInt64/4 || chars*d.maxLen() <= d.maxBytes()
}

// convertBytes is for binary, varbinary and blob. binary pads with zero bytes, which are then part of the value.
func convertBytes(c, d *column) []loss {
	if d.typ == "binary" && (c.typ != "binary" || c.size() != d.size()) {
		return []loss{{code: NarrowColumn, detail: "values of another length are padded or do not fit", where: fmt.Sprintf("LENGTH(%s) <> %d",
			c.sql(), d.size())}}
	}
	return one(c.maxBytes() > d.maxBytes(), NarrowColumn, "longer values do not fit", fmt.Sprintf("LENGTH(%s) > %d", c.sql(), d.maxBytes()))
}

func charToBytes(c, d *column) []loss {
	if d.typ == "binary" {
		return []loss{{code: ConvertColumn, detail: "text becomes bytes padded with zeros", where: ""}}
	}
	return one(c.maxBytes() > d.maxBytes(), NarrowColumn, "longer values do not fit", fmt.Sprintf("LENGTH(%s) > %d", c.sql(), d.maxBytes()))
}

func bytesToChar(c, d *column) []loss {
	out := []loss{{code: CharsetLoss, detail: "bytes that are no " + d.charset + " do not fit", where: fmt.Sprintf(
		"%[1]s IS NOT NULL AND NOT COALESCE(CAST(CONVERT(CONVERT(CONVERT(%[1]s USING %[2]s) USING utf8mb4) USING %[2]s) AS BINARY) = CAST(%[1]s AS BINARY), FALSE)",
		c.sql(), d.charset)}}

	if !d.sized() && c.maxBytes() > d.maxBytes() || d.sized() && c.maxBytes() > d.size() {
		out = append(out, loss{code: NarrowColumn, detail: "longer values do not fit", where: d.tooLong("CONVERT(" + c.sql() + " USING " +
			d.charset + ")")})
	}
	if d.typ == "char" {
		out = append(out, loss{code: NarrowColumn, detail: "trailing spaces are lost", where: c.sql() + ` LIKE '% '`})
	}
	return out
}

// includes tells whether every character of one set is in another. Unknown pairs are not.
func includes(charset, other string) bool {
	switch {
	case charset == other, other == "ascii" && charset != "swe7" && charset != "binary", fullUnicode(charset):
		return true
	case charset == "utf8mb3", charset == "utf8", charset == "ucs2":
		return !fullUnicode(other) // every older set is within the first plane
	}
	return false
}

func fullUnicode(charset string) bool {
	switch charset {
	case "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
		return true
	}
	return false
}
