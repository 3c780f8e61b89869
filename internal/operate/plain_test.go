package operate

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/aoscdb"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"udb.tabla1\tőß 表\n":               "udb.tabla1\tőß 表\n",
		"\x1b[2J\x1b[Hall is well\r\a\x7f": `\x1b[2J\x1b[Hall is well\x0d\x07\x7f`,
		"c1 \u009b2J, order \u202ex":       `c1 \u009b2J, order \u202ex`,
		"no UTF-8 \xff\x00":                "no UTF-8 \xff" + `\x00`,
	} {
		if got := Plain(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
		var out bytes.Buffer
		if n, err := fmt.Fprint(PlainWriter(&out), in); err != nil || n != len(in) || out.String() != want {
			t.Errorf("%q is written as %q (%d, %v)", in, &out, n, err)
		}
	}
}

// A reason comes from a server, which quotes a committed file.
func TestProgressSteersNoTerminal(t *testing.T) {
	v := copying(t, func(r *aoscdb.OSCRow) { r.Owner = "w" })
	v.Alters[0].Why.Text = "syntax error near '\x1b[2J\x1b[Hfinished'"
	var out bytes.Buffer
	p := NewProgress(&out, false)
	p.Show(v)
	p.Close()
	if s := out.String(); strings.Contains(s, "\x1b") || !strings.Contains(s, `\x1b[2J`) {
		t.Errorf("shown: %q", s)
	}
}

// TestProgressIsALineEach: an error of several lines is shown as one.
func TestProgressIsALineEach(t *testing.T) {
	v := copying(t, func(r *aoscdb.OSCRow) { r.Owner = "w" })
	v.Alters[0].Why.Text = "named lock lost\nend what the copy left running"
	var out bytes.Buffer
	p := NewProgress(&out, false)
	p.Show(v)
	p.Close()
	if s := out.String(); !strings.Contains(s, "named lock lost; end what the copy left running") {
		t.Errorf("shown: %q", s)
	}
}
