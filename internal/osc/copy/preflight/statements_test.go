package preflight

import (
	"testing"
)

func TestStatements(t *testing.T) {
	f := good()
	refuses(t, Statements, f, "")
	f.Sessions = []Setting{{7, "binlog_row_image", "MINIMAL"}, {8, "binlog_format", "STATEMENT"}}
	refuses(t, Statements, f, "connection 8 has set binlog_format=STATEMENT")
}
