package preflight

import (
	"testing"
)

func TestParents(t *testing.T) {
	f := good()
	refuses(t, Parents, f, "")
	f.Parents = 1
	refuses(t, Parents, f, "the table has 1 foreign keys")
}
