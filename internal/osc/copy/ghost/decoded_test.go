package ghost

import (
	"errors"
	"testing"
)

func TestCheckDecoded(t *testing.T) {
	f := good()
	refuses(t, checkDecoded, f, "")
	f.Change.Ghost = errors.New("column j is JSON")
	refuses(t, checkDecoded, f, "column j is JSON")
}
