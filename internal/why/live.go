package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
)

// Liveness is what the heartbeats say of one daemon: of the process in the best state, where there are several.
type Liveness struct {
	Name    string
	For     string    // what it is needed for, "" = everything
	Alive   bool      // a process was heard of a moment ago
	Seen    time.Time // last heartbeat, zero = never
	Stopped bool      // it ended as it was asked to
	Holder  string
	Error   string // why it does not do its work
	Note    string // what people should know of it although it does
	Others  int    // live processes that serve other instances
}

// trouble says that the daemon does not do its work.
func (l Liveness) trouble() (Reason, bool) {
	of := ""
	if l.For != "" {
		of = " for " + l.For
	}
	switch {
	case l.Alive && l.Error == "":
		return Reason{}, false
	case l.Alive:
		return because(DaemonFailing, "the %s fails: %s", l.Name, l.Error), true
	case l.Seen.IsZero() && l.Others > 0:
		return because(DaemonDown, "no %s serves %s: those that live (%d) serve others", l.Name, l.For, l.Others), true
	case l.Seen.IsZero():
		return because(DaemonDown, "the %s is down: none%s has ever been seen", l.Name, of), true
	case l.Stopped:
		return because(DaemonDown, "the %s is down%s: it was stopped at %s (%s)", l.Name, of, stamp(l.Seen), l.Holder), true
	}
	return because(DaemonDown, "the %s is down%s: last seen at %s (%s)", l.Name, of, stamp(l.Seen), l.Holder), true
}

// String is the state for a list of daemons.
func (l Liveness) String() string {
	if r, bad := l.trouble(); bad {
		return r.Text
	}
	text := fmt.Sprintf("the %s lives: last seen at %s (%s)", l.Name, stamp(l.Seen), l.Holder)
	if l.Note != "" {
		text += "; " + l.Note
	}
	return text
}

// Bad reports whether the daemon does not do its work.
func (l Liveness) Bad() bool { _, bad := l.trouble(); return bad }

// Daemons is how each of the five daemons is, whatever it serves.
func Daemons(t aoscdb.WhyTables) []Liveness {
	f := indexed(t)
	var out []Liveness
	for _, name := range []string{aoscdb.DaemonChecksum, aoscdb.DaemonBrain, aoscdb.DaemonCollector, aoscdb.DaemonScheduler,
		aoscdb.DaemonOSCWorker} {
		out = append(out, f.live(name, ""))
	}
	return out
}

// live is the liveness of a daemon as a whole; with a tier, of those that serve something of it.
func (f *facts) live(name, tier string) Liveness {
	l := f.best(name, func(s Serves) bool { return tier == "" || s.Tier == "" || s.Tier == tier })
	if tier != "" && l.Others > 0 {
		l.For = "tier " + tier
	}
	return l
}

// serving is the liveness of a daemon for one instance.
func (f *facts) serving(name, tier string, addr mysql.Addr) Liveness {
	l := f.best(name, func(s Serves) bool { return s.covers(tier, addr) })
	if !l.Alive {
		l.For = addr.String()
	}
	return l
}

// rank orders processes: one that does its work, one that stands by, one that fails, one that is down.
func rank(d aoscdb.DaemonRow, alive bool) int {
	switch {
	case !alive:
		return 0
	case d.Error != "":
		return 1
	case strings.HasPrefix(d.Note, "standing by"):
		return 2
	}
	return 3
}

// best picks the process that is best off, of equals the one seen last.
func (f *facts) best(name string, serves func(Serves) bool) Liveness {
	out, top := Liveness{Name: name}, -1
	for _, d := range f.daemonsOf[name] {
		alive := d.StoppedAt == nil && f.Now.Sub(d.SeenAt) <= aoscdb.DownAfter
		if !serves(d.serves) {
			if alive {
				out.Others++
			}
			continue
		}
		if r := rank(d.DaemonRow, alive); r > top || r == top && d.SeenAt.After(out.Seen) {
			out, top = Liveness{Name: name, Alive: alive, Seen: d.SeenAt, Stopped: d.StoppedAt != nil, Holder: d.Holder, Error: d.Error,
				Note: d.Note, Others: out.Others}, r
		}
	}
	return out
}

// Serves is what a process is restricted to; the zero value is everything.
type Serves struct {
	Tier, Host string
	Instances  []string // host:port
}

// String is the text for daemons.serves, "" for everything.
func (s Serves) String() string {
	var parts []string
	if s.Tier != "" {
		parts = append(parts, "tier="+s.Tier)
	}
	if s.Host != "" {
		parts = append(parts, "host="+s.Host)
	}
	if len(s.Instances) > 0 {
		parts = append(parts, "instance="+strings.Join(s.Instances, ","))
	}
	return strings.Join(parts, " ")
}

// ParseServes reads what String has written. What it does not know restricts nothing.
func ParseServes(text string) Serves {
	var s Serves
	for _, part := range strings.Fields(text) {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "tier":
			s.Tier = value
		case "host":
			s.Host = value
		case "instance":
			s.Instances = strings.Split(value, ",")
		}
	}
	return s
}

func (s Serves) covers(tier string, a mysql.Addr) bool {
	return (s.Tier == "" || s.Tier == tier) && (s.Host == "" || s.Host == a.Host) &&
		(len(s.Instances) == 0 || slices.Contains(s.Instances, a.String()))
}
