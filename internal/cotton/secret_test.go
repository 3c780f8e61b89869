package cotton_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
)

// TestAdminKey: a key that others may read, or that can be guessed, is refused with the way out; its passwords differ by
// account and cluster, fit into CHANGE REPLICATION SOURCE, and never show the key.
func TestAdminKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, tc := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"0123456789abcdef", 0o600, ""},
		{"0123456789abcdef", 0o400, ""},
		{"0123456789abcdef", 0o640, "chmod 600"},
		{"0123456789abcdef", 0o604, "chmod 600"},
		{"0123456789abcde", 0o600, "15 bytes"},
	} {
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tc.mode); err != nil {
			t.Fatal(err)
		}
		_, err := cotton.ReadAdminKey(path)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%d bytes, mode %o: %v, want %q", len(tc.text), tc.mode, err, tc.want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cotton.ReadAdminKey(path); err == nil || !strings.Contains(err.Error(), "/dev/urandom") {
		t.Errorf("a missing key: %v", err)
	}
	key := cotton.AdminKey("0123456789abcdef")
	seen := map[string]bool{}
	for _, account := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
		for _, cluster := range []string{"c0", "c1"} {
			p := key.Password(account, cluster)
			if seen[p] || len(p) != 32 || p != key.Password(account, cluster) {
				t.Errorf("password %q of %s in %s", p, account, cluster)
			}
			seen[p] = true
		}
	}
	if shown := fmt.Sprintf("%v %s %#v %+v", key, key, key, struct{ K cotton.AdminKey }{key}); strings.Contains(shown, "0123") {
		t.Errorf("the key is shown: %s", shown)
	}
}

func TestParseTask(t *testing.T) {
	const good = `{"schema":1,"cluster":"c","member":1,"server_id":1,"host":"h","port":1,"admin_keyfile":"/k"}`
	if task, err := cotton.ParseTask([]byte(good)); err != nil || task.Cluster != "c" || task.AdminKeyfile != "/k" {
		t.Errorf("%+v, %v", task, err)
	}
	for text, want := range map[string]string{
		"": "task's data", "{}": "lacks", strings.Replace(good, `"schema":1`, `"schema":2`, 1): "update the executor",
		strings.Replace(good, `"server_id":1`, `"server_id":0`, 1): "lacks",
	} {
		if _, err := cotton.ParseTask([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
