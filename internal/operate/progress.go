package operate

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Only returns the view restricted to a tier, or to one table of a tier.
func (v View) Only(names ...string) View {
	keep := v.Alters[:0:0]
	for _, a := range v.Alters {
		if len(names) > 0 && a.Group != names[0] || len(names) > 1 && a.Table != names[1] {
			continue
		}
		keep = append(keep, a)
	}
	v.Alters = keep
	return v
}

// Progress shows successive views: as live bars on a terminal, else as a line whenever something changed.
type Progress struct {
	out   io.Writer
	bars  *mpb.Progress
	known map[string]*bar
	lines map[string]string
}

type bar struct {
	bar  *mpb.Bar
	note atomic.Value // string
}

// NewProgress writes to out; live asks for bars, which only a terminal can show.
func NewProgress(out io.Writer, live bool) *Progress {
	p := &Progress{out: out, known: map[string]*bar{}, lines: map[string]string{}}
	if live {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return p
}

// Show brings the display to v.
func (p *Progress) Show(v View) {
	seen := map[string]bool{}
	for _, a := range v.Alters {
		name := a.Group + "." + a.Table
		head := fmt.Sprintf("%s %s", a.Status, a.Reason)
		if a.Targets >= 0 {
			head += fmt.Sprintf(" %d targets, %d unknown", a.Targets, a.Unknowns)
		}
		p.line(name, head)
		for _, r := range a.Runs {
			id := fmt.Sprintf("%s %s %s:%d", name, r.Cluster, r.Host, r.Port)
			seen[id] = true
			p.run(id, r)
		}
	}
	for id, b := range p.known {
		if !seen[id] && b != nil {
			b.note.Store("done")
			b.bar.SetTotal(b.bar.Current(), true)
			delete(p.known, id)
		}
	}
}

func (p *Progress) run(id string, r Run) {
	note := r.State()
	for _, d := range r.Databases() {
		if d.State != "done" && d.State != "waiting" {
			note = fmt.Sprintf("%s, %s %s by %s", note, d.Database, d.State, d.Engine)
			break
		}
	}
	if p.bars == nil {
		// A log wants to see that it moves, not every tenth of a percent.
		p.line(id, fmt.Sprintf("%3d %% %s", int(r.Percentage())/5*5, note))
		return
	}
	b, ok := p.known[id]
	if !ok {
		b = &bar{}
		b.note.Store("")
		b.bar = p.bars.AddBar(10000,
			mpb.PrependDecorators(decor.Name(id, decor.WCSyncSpaceR), decor.Percentage(decor.WCSyncSpace)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.note.Load().(string) })))
		p.known[id] = b
	}
	b.note.Store(note)
	b.bar.SetCurrent(min(9999, int64(r.Percentage()*100)))
}

// line prints a text line once per change; on a terminal above the bars.
func (p *Progress) line(id, text string) {
	if p.lines[id] == text {
		return
	}
	p.lines[id] = text
	out := p.out
	if p.bars != nil {
		out = p.bars
	}
	fmt.Fprintf(out, "%s  %-44s %s\n", time.Now().Format(time.TimeOnly), id, text)
}

// Close ends the display and leaves what was shown on the screen.
func (p *Progress) Close() {
	for _, b := range p.known {
		b.bar.Abort(false)
	}
	if p.bars != nil {
		p.bars.Wait()
	}
}
