package mysql_test

import (
	"testing"

	"github.com/aosc/aosc/internal/mysql"
)

func TestGTIDPrefixAndBeyond(t *testing.T) {
	const a, b = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
	set := func(text string) mysql.GTIDSet {
		s, err := mysql.ParseGTIDSet(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct{ set, of, prefix, beyond string }{
		{"", "", "", ""},
		{a + ":7", a + ":5", a + ":1-7", a + ":7"},
		{a + ":1-5", a + ":5", a + ":1-5", ""},
		{a + ":1-3:7-9," + b + ":4", a + ":8", a + ":1-9," + b + ":1-4", a + ":9"},
		{b + ":1-9", a + ":8", b + ":1-9", ""},
		{a + ":x:3", a + ":x:1", a + ":x:1-3", a + ":x:3"},
	} {
		if got := set(c.set).Prefix(); !got.Equal(set(c.prefix)) {
			t.Errorf("prefix of %q: %s, want %s", c.set, got, c.prefix)
		}
		if got := set(c.set).Beyond(set(c.of)); !got.Equal(set(c.beyond)) {
			t.Errorf("%q beyond %q: %s, want %s", c.set, c.of, got, c.beyond)
		}
	}
}
