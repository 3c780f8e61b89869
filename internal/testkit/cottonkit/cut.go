package cottonkit

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// cutting is why no port can be cut off; nil when it can.
var cutting error

// setUpNetwork brings the loopback up and makes room for rules before the table of local addresses, which is the first one
// otherwise.
func setUpNetwork() error {
	for _, args := range []string{"link set lo up", "rule add pref 100 lookup local", "rule del pref 0"} {
		if err := ip(args); err != nil {
			return err
		}
	}
	return nil
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Cut drops every packet from and to a TCP port until heal: a server that runs and that nobody reaches, its own executor
// included. Where that cannot be done the test is skipped, with the reason.
func Cut(t testing.TB, port int) (heal func()) {
	t.Helper()
	return drop(t, "ipproto tcp dport "+strconv.Itoa(port), "ipproto tcp sport "+strconv.Itoa(port))
}

// CutFrom is Cut for those who connect to the port from one address.
func CutFrom(t testing.TB, from string, port int) (heal func()) {
	t.Helper()
	return drop(t, "from "+from+" ipproto tcp dport "+strconv.Itoa(port), "to "+from+" ipproto tcp sport "+strconv.Itoa(port))
}

// drop has packets vanish that match a rule.
// cuts counts the rules made: each cut has a preference of its own, since the kernel takes a rule that says less than another one of the same
// preference for that one.
var cuts atomic.Int64

func drop(t testing.TB, rules ...string) (heal func()) {
	t.Helper()
	if cutting != nil {
		t.Skip("no port can be cut off here: ", cutting)
	}
	pref := strconv.FormatInt(10+cuts.Add(1), 10)
	for _, r := range rules {
		if err := ip("rule add pref " + pref + " " + r + " blackhole"); err != nil {
			t.Fatal(err)
		}
	}
	healed := false
	heal = func() {
		if healed {
			return
		}
		healed = true
		for _, r := range rules {
			if err := ip("rule del pref " + pref + " " + r + " blackhole"); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(heal)
	return heal
}

// CanCut tells whether Cut works here.
func CanCut() bool { return cutting == nil }
