package preflight

import (
	"testing"
)

func TestChildren(t *testing.T) {
	f := good()
	refuses(t, Children, f, "")
	f.Children = 2
	refuses(t, Children, f, "2 foreign keys of other tables refer")
}
