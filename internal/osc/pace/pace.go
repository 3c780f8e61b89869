// Package pace decides how fast a copy may go: by how far replicas are behind, and by the signs of its primary. Decide is a pure function
// of samples; Signs reads those of a primary. It changes nothing on a server.
package pace

import (
	"fmt"
	"math"
	"time"
)

// Limits are those of a tier. 0 = the sign is not looked at.
type Limits struct {
	Lag     time.Duration // of any replica
	Threads int           // Threads_running
	Commit  time.Duration // what a commit waits for: the log's writes to disk, and acknowledgements
	History uint64        // length of the history list
	RedoPct int           // checkpoint age, in percent of the redo log's capacity
}

// Replica is how far one replica is.
type Replica struct {
	Name string
	Lag  time.Duration
	Err  error // it does not say
}

// Sample is what was seen at one moment. A nil sign was not seen, and limits nothing.
type Sample struct {
	At       time.Time
	Replicas []Replica
	Silent   error // the primary does not answer
	Threads  *float64
	Commit   *time.Duration
	History  *uint64
	RedoPct  *float64
}

// Full is the pace of a copy that nothing slows.
type Full struct {
	Workers int           // that copy
	Chunk   time.Duration // that one of their statements should take
}

// Pace is how fast a copy may go.
type Pace struct {
	Rest    bool // nothing is copied, applied or compared
	Workers int
	Chunk   time.Duration
	Reason  string // why it rests or is not at its full pace, "" = it is

	stepped time.Time // when Workers, Chunk or Rest last changed
	sampled time.Time
	threads float64       // averaged
	commit  time.Duration // averaged
}

// A sign's load is its value as a share of its limit. The bands are apart, so that a load that stands still moves nothing to and fro:
// past 1 the copy rests, until it is below resume; from brake on it slows down, below ease it gets faster, between them it stays.
const (
	resume = 0.8
	brake  = 0.9
	ease   = 0.7
	// step is the least time between two steps: a slower copy shows in the signs only after a while.
	step = time.Second
	// chunkLeast: a chunk of less time is mostly overhead.
	chunkLeast = 25 * time.Millisecond
	// averaged is over how long signs are averaged that jump from one moment to the next.
	averaged = time.Second
)

// Start is the pace at which a copy begins.
func (f Full) Start() Pace { return Pace{Workers: f.Workers, Chunk: f.Chunk} }

// load is one sign as a share of its limit.
type load struct {
	share float64
	text  string // its value and the limit, for people
}

// Decide is the pace from a sample on, after what it was.
func Decide(was Pace, s Sample, l Limits, f Full) Pace {
	p := was
	p.average(s)
	p.Workers, p.Chunk = min(max(p.Workers, 1), f.Workers), min(max(p.Chunk, min(chunkLeast, f.Chunk)), f.Chunk)
	worst, unknown := p.worst(s, l)
	switch {
	case unknown != "":
		p.rest(s.At, unknown)
	case worst.share > 1:
		p.rest(s.At, worst.text)
	case was.Rest && worst.share > resume:
		p.Reason = worst.text + fmt.Sprintf("; it goes on below %.0f %% of the limit", 100*resume)
	case was.Rest:
		p.Rest, p.stepped = false, s.At
		p.slowed(worst, f)
	case s.At.Sub(p.stepped) < step:
		p.slowed(worst, f)
	case worst.share > brake:
		p.slower(s.At)
		p.slowed(worst, f)
	case worst.share < ease:
		p.faster(s.At, f)
		p.slowed(worst, f)
	default:
		p.slowed(worst, f)
	}
	return p
}

// rest begins a rest, after which the copy goes on at half its pace: the one it had was too fast.
func (p *Pace) rest(now time.Time, why string) {
	if !p.Rest {
		p.Rest, p.stepped = true, now
		p.Workers, p.Chunk = max(p.Workers/2, 1), max(p.Chunk/2, chunkLeast)
	}
	p.Reason = why
}

func (p *Pace) slower(now time.Time) {
	if p.Workers == 1 && p.Chunk <= chunkLeast {
		return
	}
	p.stepped = now
	if p.Workers > 1 {
		p.Workers--
		return
	}
	p.Chunk = max(p.Chunk/2, chunkLeast)
}

func (p *Pace) faster(now time.Time, f Full) {
	if p.Workers == f.Workers && p.Chunk == f.Chunk {
		return
	}
	p.stepped = now
	if p.Chunk < f.Chunk {
		p.Chunk = min(2*p.Chunk, f.Chunk)
		return
	}
	p.Workers++
}

// slowed says why the copy is not at its full pace.
func (p *Pace) slowed(worst load, f Full) {
	if p.Reason = ""; p.Workers == f.Workers && p.Chunk == f.Chunk {
		return
	}
	p.Reason = fmt.Sprintf("slowed down to %d of %d workers, chunks of %v", p.Workers, f.Workers, p.Chunk)
	if worst.share >= ease {
		p.Reason += ": " + worst.text
	}
}

// average takes the sample's share in the averages. A sign that is not seen leaves none: nothing rests for what is long past.
func (p *Pace) average(s Sample) {
	weight := 1.0
	if !p.sampled.IsZero() {
		weight = 1 - math.Exp(-s.At.Sub(p.sampled).Seconds()/averaged.Seconds())
	}
	p.sampled = s.At
	var threads, commit float64
	if s.Threads != nil {
		threads = p.threads + weight*(*s.Threads-p.threads)
	}
	if s.Commit != nil {
		commit = float64(p.commit) + weight*float64(*s.Commit-p.commit)
	}
	p.threads, p.commit = threads, time.Duration(commit)
}

// worst is the sign that is nearest to its limit, or past it; unknown is why that cannot be told.
func (p *Pace) worst(s Sample, l Limits) (worst load, unknown string) {
	look := func(share float64, format string, args ...any) {
		if share >= worst.share {
			worst = load{share, fmt.Sprintf(format, args...)}
		}
	}
	if s.Silent != nil {
		return worst, fmt.Sprintf("the primary does not say how busy it is: %v", s.Silent)
	}
	for _, r := range s.Replicas {
		switch {
		case l.Lag <= 0:
		case r.Err != nil: // I11: it may be far behind
			return worst, fmt.Sprintf("replica %s does not say how far it is: %v", r.Name, r.Err)
		default:
			look(r.Lag.Seconds()/l.Lag.Seconds(), "replica %s lags by %.1fs (limit %v)", r.Name, r.Lag.Seconds(), l.Lag)
		}
	}
	if l.Threads > 0 {
		look(p.threads/float64(l.Threads), "Threads_running is %.0f (limit %d)", p.threads, l.Threads)
	}
	if l.Commit > 0 {
		look(float64(p.commit)/float64(l.Commit), "a commit takes %v (limit %v)", p.commit.Round(100*time.Microsecond), l.Commit)
	}
	if l.History > 0 && s.History != nil {
		look(float64(*s.History)/float64(l.History), "the history list has %d entries (limit %d)", *s.History, l.History)
	}
	if l.RedoPct > 0 && s.RedoPct != nil {
		look(*s.RedoPct/float64(l.RedoPct), "the checkpoint age is %.0f %% of the redo log (limit %d %%)", *s.RedoPct, l.RedoPct)
	}
	return worst, ""
}
