package schema

import "fmt"

// decodedColumn tells why gh-ost does not carry a column over as ALTER TABLE does, "" when nothing is known against it. It writes rows
// that change during a copy from values it has decoded from the binary log; what is refused here was seen to come out differently.
// TestGhostIsExact of internal/osc has what was seen to come out the same.
func decodedColumn(c, d *column) string {
	from, to := c.family(), d.family()
	const written = "in rows written during the copy"
	switch {
	case c.typ == "json" || d.typ == "json":
		return fmt.Sprintf("column %s is JSON, which gh-ost decodes and encodes %s: 20.0 becomes 20, decimals, dates and bytes become text",
			d.name, written)
	case (from == decimalFamily || from == floatFamily) && to == stringFamily:
		return fmt.Sprintf("column %s becomes text, as which gh-ost writes other numbers than ALTER TABLE %s: 1.50 becomes 1.5", d.name, written)
	case from == stringFamily && c.charset == "latin1" && to == stringFamily && d.charset != "latin1":
		return fmt.Sprintf("column %s changes from latin1 to %s: gh-ost replaces the bytes 81, 8D, 8F, 90 and 9D %s", d.name, d.charset, written)
	}
	return ""
}
