package ghost

import (
	"testing"
)

func TestCheckNames(t *testing.T) {
	f := good()
	refuses(t, checkNames, f, "")
	f.Original.Columns[0].Name, f.Original.Keys[0].Columns[0] = "a,b", "a,b"
	refuses(t, checkNames, f, "gh-ost cannot handle a name")
}
