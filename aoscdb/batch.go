package aoscdb

import "strings"

// batchRows is how many rows one statement carries. It keeps statements well under a megabyte, far below
// max_allowed_packet and the 65,535 placeholders of the protocol.
const batchRows = 1000

// inBatches calls fn with consecutive parts of items, and stops at the first error.
func inBatches[T any](items []T, fn func([]T) error) error {
	for len(items) > 0 {
		n := min(batchRows, len(items))
		if err := fn(items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// rowsOf is n comma-separated rows of c placeholders: "(?,?),(?,?)".
func rowsOf(n, c int) string {
	row := "(" + strings.Repeat("?,", c-1) + "?)"
	return strings.Repeat(row+",", n-1) + row
}
