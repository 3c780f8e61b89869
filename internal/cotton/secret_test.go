package cotton_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
		_, err := cotton.ReadAdminKeys(path)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%d bytes, mode %o: %v, want %q", len(tc.text), tc.mode, err, tc.want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cotton.ReadAdminKeys(path); err == nil || !strings.Contains(err.Error(), "/dev/urandom") {
		t.Errorf("a missing key: %v", err)
	}
	key := cotton.AdminKey("0123456789abcdef")
	seen := map[string]bool{}
	for _, account := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
		for _, id := range []cotton.Identity{{Cluster: "c0"}, {Cluster: "c1"}, {Cluster: "c0", Incarnation: "a"}, {Cluster: "c0", Incarnation: "b"}, {Cluster: "c1", Incarnation: "a"}} {
			p := key.Password(id, account)
			if seen[p] || len(p) != 32 || p != key.Password(id, account) {
				t.Errorf("password %q of %s in %v", p, account, id)
			}
			seen[p] = true
		}
	}
	if shown := fmt.Sprintf("%v %s %#v %+v", key, key, key, struct{ K cotton.AdminKey }{key}); strings.Contains(shown, "0123") {
		t.Errorf("the key is shown: %s", shown)
	}
}

// TestFormerPasswords: what an earlier release derived is what it was, and is tried last, for clusters that it made alone.
func TestFormerPasswords(t *testing.T) {
	key := cotton.AdminKey("0123456789abcdef")
	if got, want := key.Password(cotton.Identity{Cluster: "c0"}, "cotton_admin"), "w2RCnoTuozVrJ9EofHhcjPEngUJ1FM-W"; got != want {
		t.Errorf("the former password is %q, want %q", got, want)
	}
	next := cotton.AdminKey("fedcba9876543210")
	id := cotton.Identity{Cluster: "c0", Incarnation: "i"}
	if got := (cotton.AdminKeys{next, key}).Passwords(id, "cotton_admin"); !slices.Equal(got, []string{next.Password(id, "cotton_admin"), key.Password(id, "cotton_admin")}) {
		t.Errorf("passwords %q", got)
	}
	id.Former = true
	if got := (cotton.AdminKeys{key}).Passwords(id, "cotton_admin"); len(got) != 2 || got[1] != key.Password(cotton.Identity{Cluster: "c0"}, "cotton_admin") {
		t.Errorf("passwords %q", got)
	}
}

// TestKeyFile: a file of one key is that key to the byte; a file of several keeps their order, and is refused for what is not a key.
func TestKeyFile(t *testing.T) {
	one, err := cotton.ParseAdminKeys([]byte("0123456789abcdef\n"))
	if err != nil || len(one) != 1 || string(one[0]) != "0123456789abcdef\n" {
		t.Fatalf("%v, %v", one, err)
	}
	keys := cotton.AdminKeys{cotton.AdminKey("fedcba9876543210"), one[0]}
	again, err := cotton.ParseAdminKeys(keys.Format())
	if err != nil || !again.Equal(keys) || again.Equal(cotton.AdminKeys{keys[1], keys[0]}) {
		t.Errorf("%q: %v, %v", keys.Format(), again.IDs(), err)
	}
	if ids := keys.IDs(); ids[0] == ids[1] || len(ids[0]) != 8 {
		t.Errorf("ids %q", ids)
	}
	for text, want := range map[string]string{
		"cotton-admin-keys/1\n": "0 keys", "cotton-admin-keys/1\n!!\n": "line 2", "cotton-admin-keys/1\nAAAA\n": "3 bytes",
		string(keys.Format()) + strings.SplitN(string(keys.Format()), "\n", 3)[1] + "\n": "twice",
	} {
		if _, err := cotton.ParseAdminKeys([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestKeyring: a file is taken up anew when it changes; one that has none of the keys in use, or cannot be read, changes nothing.
func TestKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	a, b := cotton.AdminKey("0123456789abcdef"), cotton.AdminKey("fedcba9876543210")
	write := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a)
	ring, err := cotton.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		text    []byte
		changed bool
		want    cotton.AdminKeys
		err     string
	}{
		{a, false, cotton.AdminKeys{a}, ""},
		{b, false, cotton.AdminKeys{a}, "none of the keys"},
		{cotton.AdminKeys{a, b}.Format(), true, cotton.AdminKeys{a, b}, ""},
		{[]byte("short"), false, cotton.AdminKeys{a, b}, "5 bytes"},
		{cotton.AdminKeys{b, a}.Format(), true, cotton.AdminKeys{b, a}, ""},
		{b, true, cotton.AdminKeys{b}, ""},
	} {
		write(step.text)
		changed, err := ring.Refresh()
		if changed != step.changed || !ring.Keys().Equal(step.want) || (err == nil) != (step.err == "") || err != nil && !strings.Contains(err.Error(), step.err) {
			t.Errorf("step %d: %v, %v, %v", i, changed, ring.Keys().IDs(), err)
		}
	}
}

func TestParseTask(t *testing.T) {
	const good = `{"schema":1,"cluster":"c","member":1,"server_id":1,"host":"h","port":1,"admin_keyfile":"/k"}`
	if task, err := cotton.ParseTask([]byte(good)); err != nil || task.Cluster != "c" || task.AdminKeyfile != "/k" {
		t.Errorf("%+v, %v", task, err)
	}
	for text, want := range map[string]string{
		"": "task's data", "{}": "lacks", strings.Replace(good, `"schema":1`, `"schema":3`, 1): "update the executor",
		strings.Replace(good, `"schema":1`, `"schema":2`, 1):       "lacks incarnation",
		strings.Replace(good, `"server_id":1`, `"server_id":0`, 1): "lacks",
	} {
		if _, err := cotton.ParseTask([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
