package keyed

import (
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight/checktest"
	"github.com/aosc/aosc/internal/osc/verify"
)

func TestCheckShape(t *testing.T) {
	f := good()
	checktest.Refuses(t, checkShape, f, "")
	f.Copied = &verify.Table{Columns: []verify.Column{{Name: "ID", DataType: "bigint", Type: "bigint"}}} // found by an index of the copy's own
	checktest.Refuses(t, checkShape, f, "")
	f.Copied = &verify.Table{Columns: []verify.Column{{Name: "id", DataType: "varchar", Type: "varchar(20)", Charset: "utf8mb4"}}}
	checktest.Refuses(t, checkShape, f, "direct_max_rows")
}
