package executor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// Fault points: between any two steps of closing a server.
var (
	faultOrdered = fault.Register("cotton.executor.fence.ordered", "a fence has come and is remembered, the server is still open")
	faultUnheard = fault.Register("cotton.executor.lease.unheard",
		"the lease ran out, one look found nobody who acknowledges, the server is open")
	faultExpired = fault.Register("cotton.executor.lease.expired", "the lease ran out and nobody acknowledges, the server is still open")
	faultKill    = fault.Register("cotton.executor.close.kill", "the server did not close in time, it is not killed yet")
	faultClosed  = fault.Register("cotton.executor.closed", "the server is closed, the scheduler was not told yet")
)

// guard closes the instance's server when it is told to, and when nobody counts on it any more (R13): a primary on the far
// side of a partition closes itself.
type guard struct {
	i    *instance
	dir  string // the volume
	wake chan struct{}

	limits limit // of a fence

	mu        sync.Mutex
	memory    memory
	written   memory // what the volume holds
	fence     uint64 // a fence that is still to be carried out; 0 = none
	lease     lease
	pulse     pulse
	asked     time.Time     // when the last look began
	killing   bool          // the present process is ended by us
	closedWhy string        // for people
	writing   chan struct{} // closed when the write of memory under way is over; nil = none is
	writes    sync.WaitGroup
}

// lease is for how long the server may stay open without a word of the scheduler.
type lease struct {
	length  time.Duration // 0 = none was ever granted: the server is left alone
	until   time.Time
	reading int64 // of the instance's clock, from which it counts
}

// pulse is what the server answered last.
type pulse struct {
	at         time.Time // of the last answer
	since      time.Time // of the first look at this process, for one that never answered
	answers    bool      // the last look was answered
	exposure   mysql.Exposure
	heard      time.Time // when the last look began that found somebody acknowledging
	unheard    int       // looks in a row, since the lease ended, that found nobody acknowledging
	openBefore bool
}

// silent is for how long the server has not answered.
func (p pulse) silent(now time.Time) time.Duration {
	switch {
	case p.answers:
		return 0
	case p.at.After(p.since):
		return now.Sub(p.at)
	}
	return now.Sub(p.since)
}

// verdict is what a lease calls for.
type verdict int

const (
	leave verdict = iota
	closeIt
	killIt
)

// deadline is when the server is killed at the latest. Where no replica has been seen to acknowledge since the lease ended, it leaves
// time for SIGKILL within what the scheduler counts on, whatever the server does meanwhile: also where it has answered since, and
// hangs while it is being closed. Else it is when its replicas must have given it up themselves.
func (l lease) deadline(p pulse, t cotton.Timing) time.Time {
	if p.heard.Before(l.until) {
		return l.until.Add(t.Close - t.Kill - t.Tick())
	}
	return p.heard.Add(t.Hung)
}

// judge is pure. A server whose replicas acknowledge is never closed, however long the scheduler is away: had another been
// made primary, they would follow that one. What hangs cannot be asked; it is killed before it can wake up open: soon if it
// has hung since before the lease ended, and at its deadline in any case.
func (l lease) judge(p pulse, now time.Time, t cotton.Timing) verdict {
	switch {
	case l.length == 0 || now.Before(l.until) || !p.exposure.Open():
		return leave
	case p.at.Before(l.until) && p.silent(now) >= t.Hung/4, !now.Before(l.deadline(p, t)):
		return killIt
	case p.answers && p.unheard >= t.Looks():
		return closeIt
	}
	return leave
}

// begun is the pulse of a process that was started just now: it starts closed.
func begun(now time.Time) pulse {
	return pulse{since: now, exposure: mysql.Exposure{ReadOnly: true, SuperReadOnly: true}}
}

func newGuard(i *instance) *guard {
	return &guard{i: i, wake: make(chan struct{}, 1), limits: fenceLimits, pulse: begun(time.Now())}
}

// recall reads what the former executor remembered on the volume; run comes after it. Orders may have come meanwhile: an
// older one is dropped now. A memory that cannot be read keeps no server down: what obeying an older order can do is to
// close a server that should be open.
func (g *guard) recall(dir string) {
	m, err := readMemory(dir)
	if err != nil {
		g.i.x.cfg.Log.Error("older orders may be obeyed", "instance", g.i.id, "error", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dir, g.written = dir, m
	if g.memory.Epoch < m.Epoch {
		g.memory, g.fence, g.lease = m, 0, lease{}
	}
	g.memory.Fenced = m.Fenced
	if g.lease.length == 0 {
		g.lease.length, g.memory.Lease = m.Lease, m.Lease
	}
	g.pulse.since = time.Now()
}

// order takes an order; it never waits. The error says why it is not obeyed.
func (g *guard) order(o cotton.Order, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.Epoch < g.memory.Epoch {
		return fmt.Errorf("an order %q of epoch %d came after one of epoch %d", o.Kind, o.Epoch, g.memory.Epoch)
	}
	switch o.Kind {
	case cotton.OrderLease:
		if err := g.renew(o, now); err != nil {
			return err
		}
		if g.fence < o.Epoch { // since that fence it has become the primary, or the change was taken back
			g.fence = 0
		}
	case cotton.OrderFence:
		g.fence = o.Epoch
	case cotton.OrderBackup, cotton.OrderArchive: // others carry them out
	default:
		return fmt.Errorf("an order %q is not known: update the executor on this agent", o.Kind)
	}
	g.memory.Epoch = o.Epoch
	g.rouse()
	return nil
}

// renew takes a lease. It counts from when the executor read its clock for the facts that the order answers: one that was long on its
// way renews nothing that the scheduler does not count on any more. g.mu is held.
func (g *guard) renew(o cotton.Order, now time.Time) error {
	if o.Lease <= 0 {
		return fmt.Errorf("a lease of %s", o.Lease)
	}
	from := now
	switch {
	case o.Reading == cotton.Unread: // it grants nothing: the facts that it asks for do
		return nil
	case o.Reading != 0:
		from = g.i.readAt(o.Reading)
		switch age := now.Sub(from); {
		case o.Reading < 0 || age < 0:
			return fmt.Errorf("a lease from %d ms on by a clock that is at %d ms", o.Reading, g.i.clock(now))
		case age >= o.Lease:
			return fmt.Errorf("a lease of %s came %s after the question that it answers", o.Lease, age)
		case o.Reading < g.lease.reading:
			return fmt.Errorf("a lease from %d ms on came after one from %d ms on", o.Reading, g.lease.reading)
		}
	}
	g.lease, g.pulse.unheard, g.memory.Lease = lease{o.Lease, from.Add(o.Lease), o.Reading}, 0, o.Lease
	return nil
}

// run carries out orders until ctx ends. It begins when the server has been started for the first time.
func (g *guard) run(ctx context.Context) {
	defer g.writes.Wait()
	tick := time.NewTicker(g.i.x.cfg.Timing.Tick())
	defer tick.Stop()
	for {
		epoch := g.ordered()
		g.remember(epoch != 0) // a lease that ends waits for no disk
		if epoch != 0 {
			g.carryOut(ctx, epoch)
		} else {
			g.enforce(ctx)
		}
		select {
		case <-g.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// rememberLimit is how long a fence waits for the volume to take note of it.
const rememberLimit = time.Second

// remember has what is new written to the volume, and waits for that a little if it is told to: a volume that takes no writes, or
// does not answer, must not keep a fence from being carried out.
func (g *guard) remember(wait bool) {
	g.mu.Lock()
	if g.memory == g.written || g.writing != nil {
		g.mu.Unlock()
		return
	}
	m, done := g.memory, make(chan struct{})
	g.writing = done
	g.mu.Unlock()
	g.writes.Go(func() {
		if err := m.write(g.dir); err != nil {
			g.i.x.cfg.Log.Error("an executor that is started anew will not know of the last order", "instance", g.i.id, "error", err)
		}
		g.mu.Lock()
		g.written, g.writing = m, nil // also when it failed: it is not tried again until something changes
		g.mu.Unlock()
		close(done)
		g.rouse()
		g.i.tell() // the scheduler builds on what it knows to have arrived: a lease, too
	})
	if !wait {
		return
	}
	timer := time.NewTimer(rememberLimit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// rouse has run look at once.
func (g *guard) rouse() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *guard) ordered() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fence
}

// carryOut fences: it ends when the server was seen closed or dead, and says so at once. One that cannot be closed now is
// tried again.
func (g *guard) carryOut(ctx context.Context, epoch uint64) {
	fault.Point(faultOrdered)
	begun := time.Now()
	how, err := g.i.close(ctx, g.limits, fmt.Sprintf("fenced under epoch %d", epoch))
	log := g.i.x.cfg.Log.With("instance", g.i.id, "epoch", epoch, "took", time.Since(begun))
	if err != nil {
		log.Error("the server cannot be fenced, it is tried again", "error", err)
		return
	}
	log.Warn("fenced", "how", how)
	fault.Point(faultClosed)
	g.mu.Lock()
	g.memory.Fenced = epoch
	if g.fence == epoch { // no newer one meanwhile
		g.fence = 0
	}
	g.lease.until = time.Time{} // opened again, it has one from then on
	g.mu.Unlock()
	g.remember(true)
	g.i.tell() // also when it was told before: messages are lost
}

// enforce closes a server that nobody counts on.
func (g *guard) enforce(ctx context.Context) {
	g.mu.Lock()
	now := time.Now()
	t := g.i.x.cfg.Timing
	what, silent := g.lease.judge(g.pulse, now, t), g.pulse.silent(now)
	over, left := now.Sub(g.lease.until), g.lease.deadline(g.pulse, t).Sub(now)
	g.mu.Unlock()
	if what == leave || !g.i.isUp() {
		return
	}
	why := fmt.Sprintf("the scheduler's lease ended %s ago and no replica acknowledges", over.Round(time.Millisecond))
	limits := limit{t.Alone, t.Killed}.within(left)
	if what == killIt {
		why = fmt.Sprintf("the scheduler's lease ended %s ago and mysqld has not answered for %s", over.Round(time.Millisecond), silent.Round(time.Millisecond))
		limits = limit{}
	}
	fault.Point(faultExpired)
	how, err := g.i.close(ctx, limits, why)
	log := g.i.x.cfg.Log.With("instance", g.i.id, "why", why)
	if err != nil {
		log.Error("the server does not close, it is tried again", "error", err)
		return
	}
	log.Warn("closed the server", "how", how)
	fault.Point(faultClosed)
	g.mu.Lock()
	// Until another look sees it open: then by somebody whose lease is on its way.
	g.pulse.exposure.ReadOnly, g.pulse.exposure.SuperReadOnly, g.pulse.openBefore, g.pulse.unheard = true, true, false, 0
	g.pulse.at = time.Now()
	g.mu.Unlock()
	g.i.tell()
}

// due tells whether mysqld is to be asked: every now and then, and at once while it is about to be closed by its lease.
func (g *guard) due(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	urgent := g.lease.length > 0 && now.After(g.lease.until) && g.pulse.exposure.Open() && (g.pulse.at.Before(g.lease.until) || g.pulse.unheard > 0)
	return urgent || now.Sub(g.asked) >= g.i.x.cfg.Timing.Pulse
}

// look takes what the server answered, or did not, when it was asked at that time.
func (g *guard) look(e mysql.Exposure, err error, asked time.Time) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = asked
	p := &g.pulse
	changed = p.answers != (err == nil)
	if p.answers = err == nil; err != nil {
		return changed
	}
	if e.Open() && !p.openBefore && g.lease.length > 0 {
		// Opened since the last look, by somebody whose next lease is on its way.
		g.lease.until = maxTime(g.lease.until, maxTime(p.at, p.since).Add(g.lease.length))
	}
	p.at, p.exposure, p.openBefore = asked, e, e.Open()
	if e.Acknowledged() {
		p.heard = asked
	}
	if p.unheard++; e.Acknowledged() || asked.Before(g.lease.until) {
		p.unheard = 0
	}
	if p.unheard == 1 && g.lease.length > 0 && e.Open() {
		fault.Point(faultUnheard)
	}
	return changed
}

// restarted forgets what the former process was: the new one is closed.
func (g *guard) restarted(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.killing = false
	g.pulse = begun(now)
}

// expectKill notes that the process is about to be ended by us: that is no crash.
func (g *guard) expectKill(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.killing, g.closedWhy = true, why
}

// ownKill tells, once, whether the process that ended was ended by us, and why.
func (g *guard) ownKill() (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.killing
	g.killing = false
	return g.closedWhy, was
}

// mayWait tells whether sessions may wait for an acknowledgement on a server that cannot be asked, by what it said last. On one that is
// closed none does: super_read_only is set only once they have ended.
func (g *guard) mayWait() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.pulse.exposure
	return e.SemiSync && !e.Closed()
}

func (g *guard) note(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closedWhy = why
}

// facts adds what the guard knows.
func (g *guard) facts(f *cotton.Facts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f.Epoch, f.FencedEpoch, f.ClosedWhy = g.memory.Epoch, g.memory.Fenced, g.closedWhy
	f.Answers = g.pulse.answers && f.Up
	f.SilentMillis = g.pulse.silent(f.At).Milliseconds()
	f.LeaseMillis = g.lease.length.Milliseconds()
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
