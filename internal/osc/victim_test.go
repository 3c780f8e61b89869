package osc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// victimCommand makes the test binary a worker that runs one alter and is killed on the way.
const victimCommand = "osc-victim"

type victimOrders struct {
	Target    Target
	Text      string
	Settings  Settings
	Leftovers string // file
}

func victimMain() int {
	var o victimOrders
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx := context.Background()
	pool := mysql.NewPool(mysql.Credentials{User: "root"}, mysql.Options{})
	defer pool.Close()
	r := &Runner{Pool: pool, Leftovers: &memory{path: o.Leftovers}, Child: []string{os.Args[0], ChildCommand}, Token: "victim"}
	db, err := pool.DB(o.Target.Addr)
	if err == nil {
		var p Plan
		d := schema.Desired{Tier: o.Target.Tier, Table: o.Target.Table, Blob: o.Text, Text: o.Text}
		if p, err = NewPlanner(pool, &schema.Materialiser{}).Plan(ctx, db, db, o.Target, d, o.Settings); err == nil {
			_, err = r.Run(ctx, p, o.Settings, NewControl(), nil)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// victim runs an alter in a process of its own, with a fault armed, and returns how that process ended.
func (b *bench) victim(text, arm string) (err error, output string) {
	b.t.Helper()
	orders, err := json.Marshal(victimOrders{Target: b.target("t"), Text: text, Settings: b.settings, Leftovers: b.leftovers.path})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], victimCommand)
	cmd.Env = append(os.Environ(), fault.EnvVar+"="+arm)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(orders), &out, &out
	cmd.WaitDelay = 5 * time.Second
	return cmd.Run(), out.String()
}

func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// newVictimBench has its leftovers in a file.
func newVictimBench(t *testing.T, srv *mysqld.Server) *bench {
	b := newBench(t, srv)
	b.leftovers.path = filepath.Join(t.TempDir(), "leftovers")
	return b
}

// clean calls Clean until nothing is live any more, as a worker does each minute.
func (b *bench) clean() {
	b.t.Helper()
	testkit.Eventually(b.t, testkit.Patience, "the dead run is cleaned up", func() bool {
		if _, err := b.runner.Clean(b.t.Context(), "c1", b.db, nil); err != nil {
			b.t.Fatal(err)
		}
		rows, _ := b.leftovers.List(b.t.Context(), "c1")
		return !anyLive(rows)
	})
}

// TestWorkerKilled: SIGKILL of the worker at each named point, then a clean-up: I5, the table is as it was and nothing is
// beside it, or the alter was through; I1, no row is lost; I8, another run completes it.
func TestWorkerKilled(t *testing.T) {
	srv := testkit.Server(t)
	for point, through := range map[string]bool{
		faultRecorded: false, "osc.ghost.started": false, "osc.ghost.copying": false, "osc.verify.before": false, "osc.verify.after": false,
		"osc.cutover.before": false, "osc.cutover.after": true, faultConcludeDone: true,
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newVictimBench(t, srv)
			b.exec(oldT)
			b.fill("t", 2000)
			before, rows := b.form("t"), b.sum("t")
			if err, out := b.victim(newT, point+"=kill"); !killed(err) {
				t.Fatalf("not killed at %s: %v\n%s", point, err, out)
			}
			b.clean()
			if through {
				b.onlyOldKept(rows)
			} else {
				b.untouched("t", before)
			}
			if now := b.sum("t"); now != rows {
				t.Errorf("I1: rows %s, before %s", now, rows)
			}
			if through {
				if p := b.plan("t", newT); p.Engine != EngineNone {
					t.Errorf("I8: planned %s", p.Engine)
				}
				return
			}
			b.run("t", newT, EngineGhost)
			if now := b.sum("t"); now != rows {
				t.Errorf("I1: rows %s, before %s", now, rows)
			}
		})
	}
}

// onlyOldKept checks that the user's old data, and nothing else, is kept beside the table.
func (b *bench) onlyOldKept(rows string) {
	b.t.Helper()
	if all := b.tables(); len(all) != 2 || all[0] != "_t_del" {
		b.t.Errorf("tables %v, want t and _t_del", all)
	} else if old := b.sum("_t_del"); old != rows {
		b.t.Errorf("the old table has %s, had %s", old, rows)
	}
	left, _ := b.leftovers.List(b.t.Context(), "c1")
	if len(left) != 1 || left[0].State != LeftoverKeep || time.Until(left[0].KeepUntil) < b.settings.Retention-time.Minute {
		b.t.Errorf("records %+v, want the old table kept for %v", left, b.settings.Retention)
	}
}

// TestChildKilled: SIGKILL of the child at its points. The worker lives, notices, and leaves nothing behind; a child that
// dies within the cut-over may have got through.
func TestChildKilled(t *testing.T) {
	srv := testkit.Server(t)
	for _, point := range []string{"osc.child.started", "osc.child.copying", "osc.child.cutover"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newVictimBench(t, srv)
			b.exec(oldT)
			b.fill("t", 2000)
			before, rows := b.form("t"), b.sum("t")
			err, out := b.victim(newT, point+"=kill")
			if b.form("t").Hash == before.Hash {
				if err == nil || !strings.Contains(out, "gh-ost ended") {
					t.Errorf("the worker ended with %v, %s", err, out)
				}
				b.untouched("t", before)
			} else if err != nil || point != "osc.child.cutover" {
				t.Errorf("I5: altered although the child was killed at %s: %v %s", point, err, out)
			} else {
				b.onlyOldKept(rows)
			}
			if now := b.sum("t"); now != rows {
				t.Errorf("I1: rows %s, before %s", now, rows)
			}
		})
	}
}

// TestRunAfterKill: a run does not need Clean, it clears the way by itself.
func TestRunAfterKill(t *testing.T) {
	t.Parallel()
	b := newVictimBench(t, testkit.Server(t))
	b.exec(oldT)
	b.fill("t", 2000)
	rows := b.sum("t")
	if err, out := b.victim(newT, "osc.verify.after=kill"); !killed(err) {
		t.Fatalf("not killed: %v\n%s", err, out)
	}
	b.run("t", newT, EngineGhost)
	b.onlyOldKept(rows)
}

// TestDirectKilled: killed around a direct ALTER the table has either form, and another run completes it.
func TestDirectKilled(t *testing.T) {
	srv := testkit.Server(t)
	for _, point := range []string{faultDirectBefore, faultDirectAfter} {
		t.Run(point, func(t *testing.T) {
			b := newVictimBench(t, srv)
			b.exec(oldT)
			b.fill("t", 50)
			rows := b.sum("t")
			if err, out := b.victim(newT, point+"=kill"); !killed(err) {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			p := b.plan("t", newT)
			if want := map[string]Engine{faultDirectBefore: EngineDirect, faultDirectAfter: EngineNone}[point]; p.Engine != want {
				t.Errorf("planned %s, want %s", p.Engine, want)
			}
			if _, err := b.runner.Run(t.Context(), p, b.settings, NewControl(), nil); err != nil {
				t.Fatal(err)
			}
			if now := b.sum("t"); now != rows {
				t.Errorf("I1: rows %s, before %s", now, rows)
			}
			b.untouched("t", p.Desired)
		})
	}
}
