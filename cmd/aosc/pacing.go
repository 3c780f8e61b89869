package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/permit"
)

// pacingFlags defines the flags of the limits that pace copies. It gives what each of them changes.
func pacingFlags(f *pflag.FlagSet, def aoscdb.Tier) map[string]func(*aoscdb.Tier) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	lag := f.Duration("max-lag", ms(def.MaxLagMS), "a copy rests while a replica lags more; 0 = as oscworker.max-lag says")
	threads := f.Int("max-threads-running", def.MaxThreadsRunning, "while Threads_running of the primary is more; 0 = not looked at")
	commit := f.Duration("max-commit-time", ms(def.MaxCommitMS), "while a commit on the primary waits longer; 0 = not looked at")
	history := f.Uint64("max-history-list", def.MaxHistoryList, "while the primary's history list is longer; 0 = not looked at")
	redo := f.Int("max-redo-age", def.MaxRedoAgePct, "while the checkpoint age is more percent of the redo log; 0 = not looked at")
	window := f.String("cut-over-window", def.CutOverWindow, "copies are swapped in only then: "+permit.WindowForm+"; empty = at any time")
	return map[string]func(*aoscdb.Tier){
		"max-lag":             func(t *aoscdb.Tier) { t.MaxLagMS = int(lag.Milliseconds()) },
		"max-threads-running": func(t *aoscdb.Tier) { t.MaxThreadsRunning = *threads },
		"max-commit-time":     func(t *aoscdb.Tier) { t.MaxCommitMS = int(commit.Milliseconds()) },
		"max-history-list":    func(t *aoscdb.Tier) { t.MaxHistoryList = *history },
		"max-redo-age":        func(t *aoscdb.Tier) { t.MaxRedoAgePct = *redo },
		"cut-over-window":     func(t *aoscdb.Tier) { t.CutOverWindow = *window },
	}
}

// leastLag is the finest lag that is measured: how far replicas are is asked five times a second.
const leastLag = 200

func checkPacing(t aoscdb.Tier) error {
	switch {
	case t.MaxLagMS < 0 || t.MaxThreadsRunning < 0 || t.MaxCommitMS < 0:
		return errors.New("limits cannot be negative")
	case t.MaxLagMS > 0 && t.MaxLagMS < leastLag:
		return fmt.Errorf("max-lag: less than %d ms cannot be measured", leastLag)
	case t.MaxRedoAgePct < 0 || t.MaxRedoAgePct > 100:
		return errors.New("max-redo-age: want a percentage, 0 to 100")
	}
	_, err := permit.ParseWindow(t.CutOverWindow)
	return err
}

// pacingText lists the limits that are set.
func pacingText(t aoscdb.Tier) string {
	var out []string
	say := func(set bool, format string, args ...any) {
		if set {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	say(t.MaxLagMS > 0, "lag %v", time.Duration(t.MaxLagMS)*time.Millisecond)
	say(t.MaxThreadsRunning > 0, "threads %d", t.MaxThreadsRunning)
	say(t.MaxCommitMS > 0, "commit %d ms", t.MaxCommitMS)
	say(t.MaxHistoryList > 0, "history %d", t.MaxHistoryList)
	say(t.MaxRedoAgePct > 0, "redo %d %%", t.MaxRedoAgePct)
	return strings.Join(out, ", ")
}
