package scheduler

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/daemon"
)

func TestConfiguration(t *testing.T) {
	printConfig := func(flags ...string) (string, error) {
		var out, errs bytes.Buffer
		args := append([]string{"--print-config", "--aoscdb-dsn=root@tcp(127.0.0.1:3306)/aoscdb", "--schemas-repo=/repo", "--inventory=/inventory"}, flags...)
		err := daemon.Execute(t.Context(), Spec(), args, &out, &errs)
		return out.String(), err
	}
	text, err := printConfig()
	if err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for _, want := range []string{"start-timeout: 5m", "max-run-time: 168h", "max-tries: 5"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for flag, want := range map[string]string{
		"--scheduler-retry-backoff-max=2s":  "shorter than scheduler.retry-backoff",
		"--scheduler-follow=1m":             "living workers would be reported as dead",
		"--scheduler-heartbeat-timeout=1s":  "scheduler.heartbeat-timeout",
		"--scheduler-max-tries=0":           "scheduler.max-tries",
		"--scheduler-lease-ttl=10ms":        "scheduler.lease-ttl",
		"--scheduler-interval=notaduration": "scheduler-interval",
	} {
		if _, err := printConfig(flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", flag, err, want)
		}
	}
}
