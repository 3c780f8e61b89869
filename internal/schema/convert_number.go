package schema

import (
	"fmt"
	"math/big"
	"strings"
)

var intBits = map[string]uint{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}

// intRange is the smallest and the largest value of an integer column.
func (c *column) intRange() (lo, hi string) {
	if c.typ == "year" {
		return "0", "2155"
	}
	bits := intBits[c.typ]
	one := big.NewInt(1)
	if c.unsigned {
		top := new(big.Int).Lsh(one, bits)
		return "0", top.Sub(top, one).String()
	}
	top := new(big.Int).Lsh(one, bits-1)
	return "-" + top.String(), new(big.Int).Sub(top, one).String()
}

// precision and decimals are the digits of a decimal: all of them, and those behind the point.
func (c *column) precision() int {
	if c.length < 0 {
		return 10
	}
	return c.length
}

func (c *column) decimals() int { return max(c.scale, 0) }

// limits are the smallest and largest value of an integer or decimal column, as numbers.
func (c *column) limits() (lo, hi *big.Rat) {
	lo, hi = new(big.Rat), new(big.Rat)
	if c.family() == intFamily {
		a, b := c.intRange()
		lo.SetString(a)
		hi.SetString(b)
		return lo, hi
	}
	nines := strings.Repeat("9", c.precision()) + "e-" + itoa(c.decimals())
	hi.SetString(nines)
	if !c.unsigned {
		lo.Neg(hi)
	}
	return lo, hi
}

// mantissa is the number of bits of an integer that a float column keeps.
func (c *column) mantissa() uint {
	if c.typ == "float" {
		return 24
	}
	return 53
}

func convertNumbers(c, d *column) []loss {
	if losses, known := fromWhole(c, d); known && c.family() == intFamily {
		return losses
	}
	if d.typ == "year" {
		return []loss{{code: ConvertColumn, detail: "only years fit", where: ""}}
	}
	switch from, to := c.family(), d.family(); {
	case from == floatFamily && to == floatFamily:
		return convertFloats(c, d)
	case from == floatFamily:
		return []loss{{code: ConvertColumn, detail: "approximate values are rounded", where: ""}}
	case to == floatFamily:
		return toFloat(c, d)
	}
	return convertExact(c, d)
}

// convertExact is for integers and decimals.
func convertExact(c, d *column) []loss {
	var where []string
	clo, chi := c.limits()
	dlo, dhi := d.limits()
	if d.decimals() < c.decimals() {
		where = append(where, fmt.Sprintf("%s <> ROUND(%s, %d)", c.sql(), c.sql(), d.decimals()))
	}
	// What rounding does not touch is compared with whole limits: 99.95 in decimal(3,1) is caught above.
	if clo.Cmp(dlo) < 0 {
		where = append(where, c.sql()+" < "+number(dlo, d.decimals()))
	}
	if chi.Cmp(dhi) > 0 {
		where = append(where, c.sql()+" > "+number(dhi, d.decimals()))
	}
	return one(len(where) > 0, NarrowColumn, "not every number fits", strings.Join(where, " OR "))
}

func number(r *big.Rat, decimals int) string { return r.FloatString(decimals) }

func toFloat(c, d *column) []loss {
	if c.family() == decimalFamily && (c.decimals() > 0 || d.length >= 0) {
		return []loss{{code: ConvertColumn, detail: "exact values become approximate", where: ""}}
	}
	limit := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), d.mantissa()))
	lo, hi := c.limits()
	if d.length < 0 && hi.Cmp(limit) <= 0 && new(big.Rat).Neg(lo).Cmp(limit) <= 0 && (!d.unsigned || lo.Sign() >= 0) {
		return nil
	}
	l := limit.FloatString(0)
	where := c.sql() + " NOT BETWEEN -" + l + " AND " + l
	if d.unsigned && lo.Sign() < 0 {
		where += " OR " + c.sql() + " < 0"
	}
	if d.length >= 0 { // float(M,D)
		where = ""
	}
	return []loss{{code: NarrowColumn, detail: "large numbers become approximate", where: where}}
}

func convertFloats(c, d *column) []loss {
	var out []loss
	if c.typ == "double" && d.typ == "float" {
		out = append(out, loss{code: NarrowColumn, detail: "values lose precision", where: c.sql() + " <> CAST(" + c.sql() + " AS FLOAT)"})
	}
	if d.unsigned && !c.unsigned {
		out = append(out, loss{code: NarrowColumn, detail: "negative values do not fit", where: c.sql() + " < 0"})
	}
	if d.scale >= 0 && (c.scale < 0 || d.scale < c.scale || d.length-d.scale < c.length-c.scale) {
		out = append(out, loss{code: NarrowColumn, detail: "values are rounded or do not fit", where: ""})
	}
	return out
}
