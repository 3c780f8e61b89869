package ghost

import (
	"testing"

	"github.com/aosc/aosc/internal/osc/verify"
)

func TestCheckComparable(t *testing.T) {
	f := good()
	f.Lossy = map[string]bool{"id": true}
	refuses(t, checkComparable, f, "") // it is not known what the copy will be
	f.Copied = &verify.Table{Columns: []verify.Column{{Name: "id", DataType: "geometry", Type: "geometry"}}}
	refuses(t, checkComparable, f, "could not be verified")
	f.Lossy = nil
	refuses(t, checkComparable, f, "")
}
