package operate

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/why"
)

// Only returns the view restricted to a tier, or to one table of a tier.
func (v View) Only(names ...string) View {
	group, table := named(names)
	other := others(group, table)
	v.Alters = slices.DeleteFunc(slices.Clone(v.Alters), func(a Alter) bool { return other(a.Group, a.Table) })
	v.Finished = slices.DeleteFunc(slices.Clone(v.Finished), func(f aoscdb.FinishedAlter) bool { return other(f.Group, f.Table) })
	v.Tiers = slices.DeleteFunc(slices.Clone(v.Tiers), func(t aoscdb.Tier) bool { return other(t.Group, table) })
	return v
}

// Progress shows successive views: as live bars on a terminal, else as a line whenever something changed. What it shows was
// read from a server, or is marked with its age.
type Progress struct {
	out    io.Writer
	bars   *mpb.Progress
	runs   map[why.RunKey]*shown
	alters map[why.AlterKey]time.Time // shown, and since when
	lines  map[string]string
	last   time.Time // of the last view, by this machine's clock
	away   time.Time // since when aoscdb is, zero = it answers
}

// shown is a run on the display.
type shown struct {
	since      time.Time // aoscdb's clock at the first view with it
	percentage float64
	said       string       // what was last printed of it
	bar        *mpb.Bar     // nil without a terminal
	note       atomic.Value // string
}

// NewProgress writes to out; live asks for bars, which only a terminal can show.
func NewProgress(out io.Writer, live bool) *Progress {
	p := &Progress{out: out, runs: map[why.RunKey]*shown{}, alters: map[why.AlterKey]time.Time{}, lines: map[string]string{}}
	if live {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return p
}

// Show brings the display to v.
func (p *Progress) Show(v View) {
	if !p.away.IsZero() {
		p.line("aoscdb", fmt.Sprintf("is back, it was away for %v", time.Since(p.away).Round(time.Second)))
		p.away = time.Time{}
	}
	p.last = time.Now()
	for _, d := range v.Daemons {
		switch {
		case d.Bad():
			p.line("daemon "+d.Name, d.String())
		case p.lines["daemon "+d.Name] != "":
			p.line("daemon "+d.Name, "does its work again")
		}
	}
	for _, t := range v.Tiers {
		if !t.Enabled {
			p.line("tier "+t.Group, "is off (tiers.enabled = 0)")
		} else if p.lines["tier "+t.Group] != "" {
			p.line("tier "+t.Group, "is on")
		}
	}
	seen, current := map[why.RunKey]bool{}, map[why.AlterKey]bool{}
	for _, a := range v.Alters {
		k := why.AlterKey{Group: a.Group, Table: a.Table}
		current[k] = true
		if p.alters[k].IsZero() {
			p.alters[k] = v.At
		}
		p.line(a.Group+"."+a.Table, Headline(a))
		for _, r := range a.Runs {
			seen[keyOf(r.RunningAlter)] = true
			p.run(v, r)
		}
	}
	for k, s := range p.runs {
		if !seen[k] {
			p.ended(v, k, s)
		}
	}
	for k, since := range p.alters {
		if !current[k] {
			p.line(k.Group+"."+k.Table, outcome(v, k, since))
			delete(p.alters, k)
		}
	}
}

// Away shows that aoscdb does not answer: what is on the display is as old as the last view.
func (p *Progress) Away(err error) {
	if p.away.IsZero() {
		p.away = time.Now()
	}
	last := "no data yet"
	if !p.last.IsZero() {
		last = "last data of " + p.last.Format(time.TimeOnly)
	}
	p.line("aoscdb", fmt.Sprintf("away since %s, %s: %v", p.away.Format(time.TimeOnly), last, err))
	for _, s := range p.runs {
		s.note.Store("as of " + p.last.Format(time.TimeOnly) + ", aoscdb is away")
	}
}

// Headline is an alter in a line: what is known of it, and why it does not run.
func Headline(a Alter) string {
	text := a.Status
	if a.Targets >= 0 {
		text += fmt.Sprintf(", %d targets", a.Targets)
		if a.Unknowns > 0 {
			text += fmt.Sprintf(", %d unknown", a.Unknowns)
		}
	}
	if a.Why.Waits() {
		return text + "; waits: " + a.Why.Reason.String()
	}
	return text + "; " + a.Why.Text
}

// Figures are what is known of the progress of a run, each marked as old where it is.
func Figures(r Run) string {
	text := ""
	if r.Stand.RowsTotal > 0 {
		text = fmt.Sprintf("%d of %d rows", r.Stand.RowsCopied, max(r.Stand.RowsTotal, r.Stand.RowsCopied))
	}
	if !r.Old && r.Stand.RowsPerS > 0 {
		text += fmt.Sprintf(", %.0f rows/s", r.Stand.RowsPerS)
	}
	if !r.Old && r.ETA > 0 {
		text += fmt.Sprintf(", ETA %v", r.ETA.Round(time.Second))
	}
	if !r.Old && r.Lag != nil {
		text += fmt.Sprintf(", lag %.1fs", r.Lag.Seconds())
	}
	if r.Old {
		text += fmt.Sprintf(" as of %v ago", r.Age.Round(time.Second))
	}
	return text
}

func (p *Progress) run(v View, r Run) {
	k := keyOf(r.RunningAlter)
	s := p.runs[k]
	if s == nil {
		s = &shown{since: v.At}
		p.runs[k] = s
	}
	s.percentage = r.Stand.Percentage
	note := r.Stand.State
	if r.Slow != "" {
		note += ", " + r.Slow
	}
	if r.Why.Waits() && r.Why.Text != "" {
		note += ", " + r.Why.Text
	}
	if p.bars == nil {
		// A log wants to see that it moves, not every tenth of a percent, nor every second of an age.
		if said := fmt.Sprintf("%d %v %s", int(s.percentage)/5, r.Old, note); said != s.said {
			s.said = said
			p.print(runName(k), fmt.Sprintf("%5.1f %% %s, %s", s.percentage, Figures(r), note))
		}
		return
	}
	if s.bar == nil {
		s.note.Store("")
		s.bar = p.bars.AddBar(10000,
			mpb.PrependDecorators(decor.Name(Plain(runName(k)), decor.WCSyncSpaceR), decor.Percentage(decor.WCSyncSpace)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return Plain(s.note.Load().(string)) })))
	}
	s.note.Store(Figures(r) + " " + note)
	s.bar.SetCurrent(min(9999, int64(s.percentage*100)))
}

func runName(k why.RunKey) string { return fmt.Sprintf("%s.%s %s", k.Group, k.Table, k.Addr) }

// ended shows how a run ended that running_alters does not have any more. Only the history can say that it is done.
func (p *Progress) ended(v View, k why.RunKey, s *shown) {
	delete(p.runs, k)
	note, done := fmt.Sprintf("ended at %.1f %%, the history does not say how", s.percentage), false
	if e, ok := v.Ends[k]; ok && !e.At.Before(s.since) {
		done = e.What == "done"
		note = "done, " + e.Detail
		if !done {
			note = fmt.Sprintf("%s at %.1f %%: %s", e.What, s.percentage, e.Detail)
		}
	}
	p.line(runName(k), note)
	if s.bar == nil {
		return
	}
	s.note.Store(note)
	if done {
		s.bar.SetCurrent(10000)
	} else {
		s.bar.Abort(false)
	}
}

// outcome is how an alter ended that is neither allowed nor current any more.
func outcome(v View, k why.AlterKey, since time.Time) string {
	for _, f := range v.Finished {
		if f.Group == k.Group && f.Table == k.Table && !f.FinishedAt.Before(since.Truncate(time.Second)) {
			return Outcome(f)
		}
	}
	return "is no longer allowed, and never was admitted"
}

// Outcome is a row of finished_alters in words: a withdrawn alter is no success.
func Outcome(f aoscdb.FinishedAlter) string {
	if f.Outcome == aoscdb.OutcomeFinished {
		return fmt.Sprintf("finished: %d instances checked, %d checks passed", f.Targets, f.Tries)
	}
	return fmt.Sprintf("WITHDRAWN (%s), not finished; %d instances needed it", f.Outcome, f.Targets)
}

// line prints a text line once per change; on a terminal above the bars.
func (p *Progress) line(id, text string) {
	if p.lines[id] == text {
		return
	}
	p.lines[id] = text
	p.print(id, text)
}

func (p *Progress) print(id, text string) {
	text = strings.ReplaceAll(text, "\n", "; ") // an error may be of several lines
	out := p.out
	if p.bars != nil {
		out = p.bars
	}
	fmt.Fprintf(out, "%s  %-44s %s\n", time.Now().Format(time.TimeOnly), Plain(id), Plain(text))
}

// Close ends the display and leaves what was shown on the screen.
func (p *Progress) Close() {
	for _, s := range p.runs {
		if s.bar != nil {
			s.bar.Abort(false)
		}
	}
	if p.bars != nil {
		p.bars.Wait()
	}
}
