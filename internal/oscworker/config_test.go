package oscworker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/daemon"
)

// printConfig runs the daemon as far as its configuration.
func printConfig(t *testing.T, flags ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	args := append([]string{"--print-config", "--aoscdb-dsn=root@tcp(127.0.0.1:3306)/aoscdb", "--schemas-repo=/repo", "--inventory=/inventory"}, flags...)
	err := daemon.Execute(t.Context(), Spec(), args, &out, &errs)
	return out.String(), err
}

func TestConfiguration(t *testing.T) {
	text, err := printConfig(t)
	if err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for _, want := range []string{"retention: 24h", "max-lag: 1.5s", "chunk-size: 1000"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for flag, want := range map[string]string{
		"--oscworker-control=3s":            "osc_priv must be obeyed",
		"--oscworker-lock-wait-timeout=10s": "the application's queries would wait",
		"--oscworker-poll=1ms":              "oscworker.poll",
		"--oscworker-chunk-size=1":          "oscworker.chunk-size",
		"--oscworker-retention=-1s":         "oscworker.retention",
	} {
		if _, err := printConfig(t, flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", flag, err, want)
		}
	}
}
