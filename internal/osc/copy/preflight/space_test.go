package preflight

import (
	"testing"
)

func TestSpace(t *testing.T) {
	f := good()
	refuses(t, Space, f, "")
	f.Free = 9 << 30
	refuses(t, Space, f, "10.0 GiB, 9.0 GiB are free in /data")
}
