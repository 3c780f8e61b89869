package preflight

import "testing"

func TestStrict(t *testing.T) {
	f := good()
	refuses(t, Strict, f, "")
	f.Strict = []string{"convert_column a: only numbers of its range fit"}
	refuses(t, Strict, f, "Correct these rows first")
}
