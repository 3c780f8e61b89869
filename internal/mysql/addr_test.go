package mysql

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseAddr(t *testing.T) {
	for _, c := range []struct {
		text string
		want Addr
	}{
		{"127.0.0.1:3306", Addr{"127.0.0.1", 3306}},
		{"db1.example.com:65535", Addr{"db1.example.com", 65535}},
		{"[::1]:13306", Addr{"::1", 13306}},
	} {
		got, err := ParseAddr(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s read as %v, %v", c.text, got, err)
		}
		if got.String() != c.text {
			t.Errorf("%s written as %s", c.text, got)
		}
	}
	for _, text := range []string{"", "db1", ":3306", "db1:", "db1:0", "db1:65536", "db1:mysql", "::1:3306", "db1:-1"} {
		if got, err := ParseAddr(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q read as %v, %v", text, got, err)
		}
	}
}

func TestCredentialsHideThePassword(t *testing.T) {
	c := Credentials{User: "osc", Password: "geheim", TLS: "required"}
	for _, format := range []string{"%s", "%v", "%+v", "%#v"} {
		text := fmt.Sprintf(format, c)
		if strings.Contains(text, "geheim") || !strings.Contains(text, "osc") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(Addr{"127.0.0.1", 1}, Credentials{TLS: "maybe"}, Options{}); err == nil || !strings.Contains(err.Error(), "skip-verify") {
		t.Errorf("an unknown TLS mode: %v", err)
	}
	for _, dsn := range []string{"root:geheim@tcp(127.0.0.1:3306)", "root:geheim@bad", "root:geheim@tcp(h:1)/d?tls=geheim2"} {
		if _, err := OpenDSN(dsn); err == nil || strings.Contains(err.Error(), "geheim@") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}
