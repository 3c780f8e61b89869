package main

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"udb", "tabla1", "tabla2", "customers", "订单"}
	for name, want := range map[string]string{
		"ubd": "udb", "tabal1": "tabla1", "tabla": "tabla1", "custmers": "customers", "custommers": "customers", "订单x": "订单",
		"something else": "", "": "",
	} {
		if got, ok := nearest(name, known); got != want || ok != (want != "") {
			t.Errorf("nearest(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}} {
		if got := distance(c.a, c.b); got != c.want || distance(c.b, c.a) != got {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
