package operate

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/why"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// copying is a view of one copy, as its worker's row says.
func copying(t *testing.T, change func(*aoscdb.OSCRow)) View {
	t.Helper()
	row := aoscdb.OSCRow{Host: "db1", Port: 3306, Group: "udb", Table: "t", Status: "RUNNING", OSCPriv: "OK", Owner: "w1", ReadAt: now,
		LastUpdate: now,
		Percentage: 43, Detail: `[{"database":"d","engine":"gh-ost","state":"copying",` +
			`"rows_copied":43,"rows_total":100,"rows_per_s":2,"lag_s":0.5}]`}
	change(&row)
	tables := aoscdb.WhyTables{Now: now,
		Tiers:   []aoscdb.Tier{aoscdb.NewTier("udb")},
		Allowed: []aoscdb.AllowedAlter{{Group: "udb", Table: "t", AllowedBy: "istvan"}},
		Current: []aoscdb.CurrentAlter{{Group: "udb", Table: "t", Status: "IPR", PinnedAt: &now, CollectedAt: &now, Targets: 1}},
		Running: []aoscdb.RunningAlter{{Host: "db1", Port: 3306, Group: "udb", Table: "t", OSCStatus: "RUNNING"}},
	}
	k := why.RunKey{AlterKey: why.AlterKey{Group: "udb", Table: "t"}, Addr: mysql.Addr{Host: "db1", Port: 3306}}
	alters := assemble(tables, map[why.RunKey]why.Look{k: {Row: &row}})
	if len(alters) != 1 || len(alters[0].Runs) != 1 {
		t.Fatalf("%+v, want one alter with one run", alters)
	}
	return View{At: now, Alters: alters}
}

// gone is the view after the run has left running_alters, with what the history says of it.
func gone(what, detail string) View {
	v := View{At: now.Add(time.Minute), Ends: map[why.RunKey]aoscdb.Event{}}
	if what != "" {
		k := why.RunKey{AlterKey: why.AlterKey{Group: "udb", Table: "t"}, Addr: mysql.Addr{Host: "db1", Port: 3306}}
		v.Ends[k] = aoscdb.Event{What: what, Detail: detail, At: now.Add(time.Second)}
	}
	return v
}

// Only what the history calls done is shown as done, with bars and without.
func TestOnlyDoneIsDone(t *testing.T) {
	old := gone("done", "in 3s")
	for k, e := range old.Ends {
		e.At = now.Add(-time.Minute)
		old.Ends[k] = e
	}
	for name, c := range map[string]struct {
		then View
		done bool
		says string
	}{
		"done":                         {gone("done", "in 3s"), true, "done, in 3s"},
		"stopped":                      {gone("stopped", "revoked"), false, "stopped at 43.0 %: revoked"},
		"withdrawn":                    {gone("withdrawn", "the tier is not enabled"), false, "withdrawn at 43.0 %"},
		"forgotten, its instance left": {gone("forgotten", "the instance left the inventory"), false, "forgotten at 43.0 %"},
		"the history says nothing":     {gone("", ""), false, "ended at 43.0 %, the history does not say how"},
		"the history knows only of an earlier run": {old, false, "the history does not say how"},
	} {
		for _, live := range []bool{false, true} {
			var out bytes.Buffer
			p := NewProgress(&out, live)
			p.Show(copying(t, func(*aoscdb.OSCRow) {}))
			var bar interface {
				Completed() bool
				Aborted() bool
			}
			var note *shown
			for _, s := range p.runs {
				note = s
				if s.bar != nil {
					bar = s.bar
				}
			}
			p.Show(c.then)
			if !strings.Contains(p.lines["udb.t db1:3306"], c.says) {
				t.Errorf("%s: %q does not say %q", name, p.lines["udb.t db1:3306"], c.says)
			}
			if bar != nil && (bar.Completed() != c.done || bar.Aborted() == c.done) {
				t.Errorf("%s: completed %v, aborted %v, %q", name, bar.Completed(), bar.Aborted(), note.note.Load())
			}
			p.Close()
		}
	}
}

// What is shown of progress, and how old figures are marked.
func TestFigures(t *testing.T) {
	run := func(change func(*aoscdb.OSCRow)) Run { return copying(t, change).Alters[0].Runs[0] }
	if got := Figures(run(func(*aoscdb.OSCRow) {})); got != "43 of 100 rows, 2 rows/s, ETA 29s, lag 0.5s" {
		t.Errorf("%q", got)
	}
	silent := run(func(r *aoscdb.OSCRow) { r.LastUpdate = now.Add(-time.Minute) })
	if got := Figures(silent); got != "43 of 100 rows as of 1m0s ago" || silent.Stand.State != "silent" {
		t.Errorf("%q, %s", got, silent.Stand.State)
	}
}

func TestAway(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, false)
	p.Show(copying(t, func(*aoscdb.OSCRow) {}))
	p.Away(errors.New("connection refused"))
	p.Away(errors.New("connection refused"))
	p.Show(copying(t, func(*aoscdb.OSCRow) {}))
	text := out.String()
	if strings.Count(text, "away since") != 1 || !strings.Contains(text, "last data of") || !strings.Contains(text, "is back") {
		t.Errorf("%s", text)
	}
}

// A permission that is not admitted is there, and says what it waits for.
func TestNotAdmittedIsShown(t *testing.T) {
	alters := assemble(aoscdb.WhyTables{Now: now, Allowed: []aoscdb.AllowedAlter{{Group: "udb", Table: "t", AllowedBy: "istvan",
		Priority: 7}}}, nil)
	if len(alters) != 1 || alters[0].Status != StatusAllowed || alters[0].Priority != 7 ||
		!strings.Contains(Headline(alters[0]), "waits for admission") {
		t.Errorf("%+v", alters)
	}
}
