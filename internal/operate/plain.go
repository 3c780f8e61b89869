package operate

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain is text as it may go to a terminal: what would steer the terminal, or change the order in which letters are shown, is written out
// (\x1b). Much of what is shown comes from others: the text of a committed file within a server's error, names of tables, comments. Nobody
// of them is to clear an operator's screen, or to write over what aosc says.
func Plain(s string) string {
	if strings.IndexFunc(s, steers) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case !steers(r):
			b.WriteString(s[:size])
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[size:]
	}
	return b.String()
}

// steers tells what a terminal obeys in place of showing it. Lines and columns are ours.
func steers(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// PlainWriter writes to w what is Plain.
func PlainWriter(w io.Writer) io.Writer { return plainWriter{w} }

type plainWriter struct{ io.Writer }

func (w plainWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, Plain(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
