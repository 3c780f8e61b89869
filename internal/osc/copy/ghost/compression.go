package ghost

import "github.com/aosc/aosc/internal/osc/copy/preflight"

// checkCompression: gh-ost would lose changes in silence.
var checkCompression = preflight.Check{Name: "compression", Why: func(f preflight.Facts) string {
	if !f.Server.BinlogTransactionCompression {
		return ""
	}
	return "binlog_transaction_compression is ON, and gh-ost skips compressed transactions without a word; it must be OFF"
}}
