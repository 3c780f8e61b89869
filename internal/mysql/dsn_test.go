package mysql

import (
	"strings"
	"testing"
)

func TestErrorsShowNoDSN(t *testing.T) {
	for _, dsn := range []string{
		"aosc:geheim", "aosc:geheim@tcp(h:1)", "aosc:geheim/er@tcp(h:1", "aosc:geheim/er", "geheim/aoscdb", "a:b@tcp(h:1)/d?timeout=geheim",
		"a:b@tcp(h:1)/d?parseTime=geheim", "a:b@tcp(h:1)/d?loc=geheim", "a:b@tcp(geheim/d", "a:b@tcp(h:1)/d?tls=geheim", "aosc:x@geheim(h)/d/%zz",
		"a:b@tcp(h:1)/geheim%zz",
	} {
		_, err := ParseDSN(dsn)
		_, openErr := OpenDSN(dsn)
		if err == nil {
			t.Logf("%s is no error", dsn)
			continue
		}
		if strings.Contains(err.Error(), "geheim") || strings.Contains(openErr.Error(), "geheim") {
			t.Errorf("%s: %v; %v", dsn, err, openErr)
		}
	}
}
