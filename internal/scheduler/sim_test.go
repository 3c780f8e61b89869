package scheduler

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
)

// simScheduler is a scheduler process: it stands by, leads, loses its lease, leads again.
func simScheduler(p *simProc) {
	w := p.w
	cfg := Config{Rules: Rules{
		StartTimeout: 20 * time.Second, HeartbeatTimeout: 20 * time.Second,
		RetryBackoff: time.Second, RetryBackoffMax: 4 * time.Second, MaxTries: 1000,
	}, Timeout: time.Hour, Rest: time.Second, FanOut: 1}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for p.turn() == nil {
		if w.centralDown || w.now.Before(w.leaseEnds) && w.lease.Holder != p.name {
			continue
		}
		lease := aoscdb.Lease{Name: "scheduler", Holder: p.name, Epoch: w.lease.Epoch + 1}
		w.lease, w.leaseEnds = lease, w.now.Add(10*time.Second)
		w.log("%s LEADS, epoch %d", p.name, lease.Epoch)
		d := newDaemon(simCentral{p}, simServers{p}, simCentral{p}, lease, cfg, log, newMetrics(prometheus.NewRegistry()))
		for d.Pass(context.Background()) == nil {
			if p.turn() != nil || w.lease != lease || w.centralDown {
				break
			}
			w.leaseEnds = w.now.Add(10 * time.Second)
		}
	}
}

// simWorker is an oscworker process. It does to the tables what the real one does, in its order.
func simWorker(p *simProc) {
	w := p.w
	addrs := w.sortedAddrs()
	for p.turn() == nil {
		a := addrs[w.rng.IntN(len(addrs))]
		for _, k := range []AlterKey{tabla1, tabla2} {
			if row := w.osc[simRow{a, k}]; row != nil && (row.Status == aoscdb.OSCWaiting || row.Status == aoscdb.OSCRunning) {
				if simWork(p, simRow{a, k}) != nil {
					return
				}
			}
		}
	}
}

// simWork is one attempt at one row. An error means that the process died.
func simWork(p *simProc, at simRow) error {
	w := p.w
	if w.lock[at.addr] != nil {
		return nil
	}
	w.lock[at.addr] = p
	defer func() { w.lock[at.addr] = nil }() // the end of a process frees it too
	seen := w.osc[at]
	if seen == nil || seen.Status != aoscdb.OSCWaiting && seen.Status != aoscdb.OSCRunning {
		return nil
	}
	read := *seen
	if err := p.turn(); err != nil {
		return err
	}
	row := w.osc[at]
	if row == nil || row.Status != read.Status || row.Owner != read.Owner || row.Try != read.Try {
		return nil
	}
	row.Status, row.Owner, row.LastUpdate = aoscdb.OSCRunning, p.name, w.now
	row.Try++
	if failed := w.failures[at]; row.Try <= failed && w.broken == "" {
		w.broken = fmt.Sprintf("I8: %s on %s is run as try %d, and %d failed", at.key.Table, at.addr, row.Try, failed)
	}
	if err := p.turn(); err != nil {
		return err
	}
	mine := func() bool { r := w.osc[at]; return r == row && r.Owner == p.name && r.Status == aoscdb.OSCRunning }
	giveBack := func() error {
		if err := p.turn(); err != nil {
			return err
		}
		if r := w.running[at.addr]; r != nil && !w.centralDown && alterOf(*r) == at.key && r.OSCStatus == aoscdb.RunRunning {
			w.requeue(r) // Unclaim
		}
		if err := p.turn(); err != nil {
			return err
		}
		if mine() {
			row.Status, row.Owner, row.LastUpdate = aoscdb.OSCWaiting, "", w.now
		}
		return nil
	}
	// Claim.
	r := w.running[at.addr]
	if w.centralDown || r == nil || alterOf(*r) != at.key || r.OSCStatus == aoscdb.RunDone || w.alters[at.key].Status != aoscdb.AlterIPR {
		if err := giveBack(); err != nil {
			return err
		}
		if !w.centralDown && w.running[at.addr] == nil && w.osc[at] != nil && w.osc[at].Status == aoscdb.OSCWaiting {
			delete(w.osc, at)
		}
		return nil
	}
	claimed := w.now
	r.OSCStatus, r.StartedAt, r.LastUpdated = aoscdb.RunRunning, &claimed, w.now
	if !w.myTurn(at) {
		return giveBack()
	}
	w.begin(p, at)
	end := func() { delete(w.altering, at.addr); w.log("%s ends on %s", p.name, at.addr) }
	turns := w.rng.IntN(8)
	if w.chance(20) {
		turns += 100 // long enough for the world to change around it
	}
	for ; turns > 0; turns-- {
		if err := p.turn(); err != nil {
			end()
			return err
		}
		if !mine() { // the row went under it: it aborts
			end()
			return nil
		}
		row.LastUpdate, row.Percentage = w.now, row.Percentage+1
	}
	end()
	switch w.rng.IntN(4) {
	case 0:
		return giveBack()
	case 1:
		if mine() {
			row.Status, row.LastUpdate, row.Error = aoscdb.OSCFailed, w.now, "lock wait timeout"
			if w.alters[at.key].Status == aoscdb.AlterIPR { // what fails on HOLD is not tried again
				w.failures[at]++
			}
		}
		return nil
	}
	w.finish(at)
	if err := p.turn(); err != nil {
		return err // altered, but nobody was told
	}
	if mine() {
		row.Status, row.LastUpdate = aoscdb.OSCDone, w.now
	}
	return nil
}

// myTurn is the worker's own look at the order in its cluster: a failover may have come since it was queued.
func (w *simWorld) myTurn(at simRow) bool {
	cluster := w.clusterOf(at.addr)
	primary := w.primary[cluster]
	if w.tiers["udb"].Ordering == aoscdb.OrderingPrimary {
		return primary == at.addr || w.isOK[simRow{primary, at.key}]
	}
	for _, i := range w.fleet.Clusters[cluster].Instances {
		if primary == at.addr && i.Addr() != at.addr && !w.isOK[simRow{i.Addr(), at.key}] {
			return false
		}
	}
	return true
}

// finish makes the alter true: on the whole cluster where replication carries it.
func (w *simWorld) finish(at simRow) {
	w.isOK[at], w.seenOK[at] = true, true
	delete(w.failures, at)
	if w.tiers["udb"].Ordering != aoscdb.OrderingPrimary || w.primary[w.clusterOf(at.addr)] != at.addr {
		return
	}
	for _, i := range w.fleet.Clusters[w.clusterOf(at.addr)].Instances {
		w.isOK[simRow{i.Addr(), at.key}] = w.chance(90) || w.isOK[simRow{i.Addr(), at.key}] // now and then a replica drifts
	}
}

// checksum and collect are the other daemons, each in one step.
func (w *simWorld) checksum(a mysql.Addr) {
	begin := w.now
	w.now = w.now.Add(time.Millisecond)
	end := w.now
	for k := range w.alters {
		w.seenOK[simRow{a, k}] = w.isOK[simRow{a, k}]
	}
	w.passes[a] = aoscdb.Pass{Host: a.Host, Port: a.Port, Group: "udb", StartedAt: &begin, FinishedAt: &end}
}

func (w *simWorld) collect() {
	w.now = w.now.Add(time.Millisecond)
	for k, alter := range w.alters {
		at := w.now
		alter.CollectedAt = &at
		for _, a := range w.sortedAddrs() {
			p, judged := w.passes[a]
			delete(w.targets[k], a)
			if judged && p.StartedAt.After(*alter.PinnedAt) && !w.seenOK[simRow{a, k}] {
				w.targets[k][a] = true
			}
		}
	}
}

// trouble is what an unkind world does.
func (w *simWorld) trouble() {
	addrs := w.sortedAddrs()
	switch a := addrs[w.rng.IntN(len(addrs))]; w.rng.IntN(8) {
	case 0:
		w.cut[a] = !w.cut[a]
	case 1:
		w.centralDown = w.chance(20)
	case 2:
		c := w.clusterOf(a)
		if w.primary[c] != a {
			w.log("FAILOVER of %s from %s to %s", c.Cluster, w.primary[c], a)
			w.primary[c] = a
		}
	case 3, 4:
		p := w.procs[w.rng.IntN(len(w.procs))]
		w.log("KILL %s", p.name)
		p.dead = true
	case 5:
		p := w.procs[w.rng.IntN(len(w.procs))]
		p.stop = w.rng.IntN(200)
		w.log("STOP %s", p.name)
	case 6:
		for _, k := range []AlterKey{tabla1, tabla2} {
			if w.chance(30) {
				w.hold(k)
				w.log("operator: HOLD %s", k.Table)
			}
		}
	case 7:
		for _, k := range []AlterKey{tabla1, tabla2} {
			w.alters[k].Status = aoscdb.AlterIPR
		}
	}
}

// run lets the processes take n steps in random order. A process that ended is started again.
func (w *simWorld) run(n int, unkind bool, until func() bool) bool {
	addrs := w.sortedAddrs()
	for range n {
		w.now = w.now.Add(time.Duration(w.rng.IntN(200)) * time.Millisecond)
		if unkind && w.chance(2) {
			w.trouble()
		}
		if w.chance(10) {
			w.checksum(addrs[w.rng.IntN(len(addrs))])
		}
		if w.chance(5) {
			w.collect()
		}
		i := w.rng.IntN(len(w.procs))
		p := w.procs[i]
		if p.stop > 0 {
			p.stop--
			continue
		}
		if !w.step(p) {
			w.procs = append(w.procs[:i], w.procs[i+1:]...)
			w.revive(p.name)
		}
		if w.broken != "" || until() {
			return true
		}
	}
	return false
}

func (w *simWorld) revive(name string) {
	if strings.HasPrefix(name, "scheduler") {
		w.start(name, simScheduler)
		return
	}
	w.start(name, simWorker)
}

// heal makes the world kind again.
func (w *simWorld) heal() {
	clear(w.cut)
	w.centralDown = false
	for _, p := range w.procs {
		p.stop = 0
	}
	for _, a := range w.alters {
		a.Status = aoscdb.AlterIPR
	}
}

func (w *simWorld) allOK() bool {
	for _, a := range w.sortedAddrs() {
		for k := range w.alters {
			if !w.isOK[simRow{a, k}] {
				return false
			}
		}
	}
	return len(w.running) == 0
}

// end kills the processes and waits for them.
func (w *simWorld) end() {
	for _, p := range w.procs {
		p.dead = true
		for w.step(p) {
		}
	}
}

// I3, I8, I11: two schedulers and three workers that are killed, stopped and cut off at any step, failovers, aoscdb away,
// an operator who holds and resumes: never more than the limits, never two alters on a cluster, never a primary before
// its replicas in ordering='rolling'. And when the world is kind again, everything gets done.
func TestRandomWorlds(t *testing.T) {
	seeds := []int{156} // found what happens to a scheduler that does not compare started_at
	for seed := range 40 {
		seeds = append(seeds, seed)
	}
	begun, backOffs := 0, 0
	for _, seed := range seeds {
		for _, ordering := range []string{aoscdb.OrderingPrimary, aoscdb.OrderingRolling} {
			w := newSimWorld(uint64(seed), ordering)
			for _, name := range []string{"scheduler1", "scheduler2", "worker1", "worker2", "worker3"} {
				w.revive(name)
			}
			w.run(3000, true, func() bool { return false })
			w.heal()
			done := w.run(30000, false, w.allOK)
			w.end()
			begun, backOffs = begun+w.begun, backOffs+w.backOffs
			if w.broken != "" || !done {
				t.Fatalf("seed %d, ordering %s: %s\n%s", seed, ordering, w.failure(), strings.Join(w.trace[max(0, len(w.trace)-60):], "\n"))
			}
		}
	}
	t.Logf("%d alters begun, %d failed and tried again", begun, backOffs)
	if begun < 20*len(seeds) || backOffs < len(seeds) {
		t.Errorf("only %d alters begun in all: this proves nothing", begun)
	}
}

func (w *simWorld) failure() string {
	if w.broken != "" {
		return w.broken
	}
	var left []string
	for _, a := range w.sortedAddrs() {
		for k := range w.alters {
			if !w.isOK[simRow{a, k}] {
				left = append(left, fmt.Sprintf("%s on %s", k.Table, a))
			}
		}
	}
	for a, r := range w.running {
		left = append(left, fmt.Sprintf("row %s %s %s", r.OSCStatus, r.Table, a))
	}
	return "stuck, not done: " + strings.Join(left, ", ")
}
