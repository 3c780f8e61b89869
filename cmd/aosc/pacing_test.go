package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/aosc/aosc/aoscdb"
)

// TestPacing: the flags of the limits reach the tier, and what no worker could obey is refused.
func TestPacing(t *testing.T) {
	for _, c := range []struct{ args, want, refused string }{
		{"", "threads 100, commit 500 ms, history 1000000, redo 80 %", ""},
		{"--max-lag 500ms --max-threads-running 60 --max-commit-time 20ms --max-history-list 0 --max-redo-age 0",
			"lag 500ms, threads 60, commit 20 ms", ""},
		{"--max-lag 100ms", "", "less than 200 ms"},
		{"--max-redo-age 101", "", "percentage"},
		{"--max-threads-running=-1", "", "negative"},
		{"--cut-over-window nights", "", "want"},
	} {
		f, tier := pflag.NewFlagSet("set", pflag.ContinueOnError), aoscdb.NewTier("udb")
		flags := pacingFlags(f, tier)
		if err := f.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		f.Visit(func(flag *pflag.Flag) { flags[flag.Name](&tier) })
		err := checkPacing(tier)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", c.args, err)
		}
		if got := pacingText(tier); err == nil && got != c.want {
			t.Errorf("%s: %s", c.args, got)
		}
	}
}
