// Package fault lets a test put a crash between any two steps. Code names its dangerous places with Point; the
// environment variable AOSC_FAULT says at which of them this process dies or hangs:
//
//	AOSC_FAULT="osc.cutover.before=kill"            SIGKILL itself when it gets there
//	AOSC_FAULT="osc.copy.chunk=kill@3,x=hang"       at the third pass of that place; hang at the place x
//
// Actions: kill (SIGKILL, nothing is cleaned up), hang (the goroutine blocks until the process is killed, the others
// run on), exit (os.Exit(1): deferred functions do not run, the operating system closes what was open).
//
// Without the variable a Point costs one comparison. With a malformed one the process ends at once: a test that
// believes it tests a crash must not pass without one.
package fault

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// EnvVar is the environment variable that arms fault points. Child processes inherit it, with counts of their own.
const EnvVar = "AOSC_FAULT"

type action string

const (
	actionKill action = "kill"
	actionHang action = "hang"
	actionExit action = "exit"
)

// armed is one entry of EnvVar.
type armed struct {
	point  string
	action action
	pass   int64 // the pass at which it goes off, from 1
	passes atomic.Int64
}

// faults is written at start-up only; nil in any process that is not under test.
var faults = mustParse(os.Getenv(EnvVar))

var (
	registerMu sync.Mutex
	registered = map[string]string{}
)

// Register declares a fault point with a line of explanation, for Names. Call it in a package variable:
//
//	var _ = fault.Register("osc.cutover.before", "copied and verified, tables not yet swapped")
//
// It returns the name. It panics when the name is taken: two places under one name would hide one from the tests.
func Register(name, explanation string) string {
	registerMu.Lock()
	defer registerMu.Unlock()
	if _, taken := registered[name]; taken {
		panic("fault: point " + name + " is registered twice")
	}
	registered[name] = explanation
	return name
}

// Names lists the registered points of this binary, sorted.
func Names() []string {
	registerMu.Lock()
	defer registerMu.Unlock()
	return slices.Sorted(maps.Keys(registered))
}

// Explanation is what Register was told of a point, "" when there is no such point.
func Explanation(name string) string {
	registerMu.Lock()
	defer registerMu.Unlock()
	return registered[name]
}

// Active is the value of EnvVar, for a warning at start-up; "" when nothing is armed.
func Active() string {
	if faults == nil {
		return ""
	}
	return os.Getenv(EnvVar)
}

// Point is a place where a test may want this process to die. It returns unless it is armed.
func Point(name string) {
	if faults == nil {
		return
	}
	for _, f := range faults {
		if f.point == name && f.passes.Add(1) == f.pass {
			f.fire()
		}
	}
}

// fire never returns. It says so on stderr first: a test waits for that line to know that a hang has begun.
func (f *armed) fire() {
	fmt.Fprintf(os.Stderr, "fault point %s: %s\n", f.point, f.action)
	switch f.action {
	case actionExit:
		os.Exit(1)
	case actionKill:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // cannot fail: it is our own process
	}
	for {
		time.Sleep(time.Hour) // not select{}: with no other goroutine left, the runtime would end the process
	}
}

func mustParse(spec string) []*armed {
	list, err := parse(spec)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", EnvVar, err)
		os.Exit(2)
	}
	return list
}

// parse reads "name=action[@pass][,...]"; nil for nothing.
func parse(spec string) ([]*armed, error) {
	var list []*armed
	for entry := range strings.SplitSeq(spec, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, what, ok := strings.Cut(entry, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q: want name=kill, name=hang or name=exit, with @N for the Nth pass", entry)
		}
		f := &armed{point: name, pass: 1}
		do, pass, counted := strings.Cut(what, "@")
		if counted {
			n, err := strconv.ParseInt(pass, 10, 64)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%q: the pass after @ must be a number from 1 on", entry)
			}
			f.pass = n
		}
		switch f.action = action(do); f.action {
		case actionKill, actionHang, actionExit:
		default:
			return nil, fmt.Errorf("%q: unknown action %q, want kill, hang or exit", entry, do)
		}
		list = append(list, f)
	}
	return list, nil
}
