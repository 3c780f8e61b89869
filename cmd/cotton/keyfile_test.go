package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
)

// TestKeyfile: the three steps of a rotation, each of which keeps the file's mode; a second rotation does not begin in the first.
func TestKeyfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	old := cotton.AdminKey("0123456789abcdef\n")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	var next cotton.AdminKey
	for _, step := range []struct {
		do   string
		want func(cotton.AdminKeys) bool
	}{
		{"show", func(ks cotton.AdminKeys) bool { return ks.Equal(cotton.AdminKeys{old}) }},
		{"add", func(ks cotton.AdminKeys) bool {
			next = ks[len(ks)-1]
			return len(ks) == 2 && ks.Equal(cotton.AdminKeys{old, next}) && next.ID() != old.ID()
		}},
		{"use", func(ks cotton.AdminKeys) bool { return ks.Equal(cotton.AdminKeys{next, old}) }},
		{"drop", func(ks cotton.AdminKeys) bool { return ks.Equal(cotton.AdminKeys{next}) }},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"keyfile", step.do, path}, &out, io.Discard); err != nil {
			t.Fatalf("%s: %v", step.do, err)
		}
		keys, err := cotton.ReadAdminKeys(path)
		if err != nil || !step.want(keys) || !strings.HasPrefix(out.String(), keys[0].ID()+" is used\n") {
			t.Errorf("%s: %v, %v, said %q", step.do, keys.IDs(), err, out.String())
		}
		if step.do == "add" {
			if err := run(t.Context(), []string{"keyfile", "add", path}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "end the rotation") {
				t.Errorf("a second rotation begins in the first: %v", err)
			}
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
