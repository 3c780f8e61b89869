package executor

import (
	"context"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// facts are what is known of the instance from outside of it. Nothing is asked or measured for them: a status that says
// that mysqld ended must not wait for a disk.
func (i *instance) facts() cotton.Facts {
	now := time.Now()
	i.mu.Lock()
	f := cotton.Facts{
		Task: i.id, At: now, Clock: i.clock(now), Up: i.up, Restarts: i.restarts, LastExit: i.lastExit,
		StartedAt: i.startedAt, StartMillis: i.startTook.Milliseconds(), DiskUsedMB: i.disk.used, DiskFreeMB: i.disk.free,
	}
	if i.server != nil {
		f.Version = i.server.Version().String()
		if i.up {
			f.Pid = i.server.Pid()
		}
	}
	backups, own := i.backups, i.secrets
	i.mu.Unlock()
	own.facts(&f)
	f.Backup = backups.known()
	i.guard.facts(&f)
	i.probe.facts(&f)
	return f
}

// tell has the facts sent at once.
func (i *instance) tell() {
	select {
	case i.news <- struct{}{}:
	default:
	}
}

// inform sends the facts, every now and then and when there is news, until ctx ends.
func (i *instance) inform(ctx context.Context) {
	tick := time.NewTicker(i.x.cfg.FactsInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-i.news:
		case <-ctx.Done():
			return
		}
		i.x.sendFacts(ctx, i.facts())
	}
}

// watchPulse asks mysqld every now and then, each time with a deadline. The scheduler is told when it falls silent, or its
// volume takes no writes, again and again while that is so, and when it is over: it then knows that the machine lives and
// the server or the disk hangs.
func (i *instance) watchPulse(ctx context.Context) {
	tick := time.NewTicker(i.x.cfg.Timing.Tick())
	defer tick.Stop()
	stalled, denied := false, denials{}
	for {
		if server, starting := i.process(); server != nil && !starting && i.isUp() && i.guard.due(time.Now()) {
			asked := time.Now()
			limited, cancel := context.WithTimeout(ctx, i.x.cfg.Timing.PulseLimit)
			e, err := mysql.ReadExposure(limited, server.DB(), cotton.ReplicationAccount)
			cancel()
			if ctx.Err() != nil {
				return
			}
			changed := i.guard.look(e, err, asked)
			if denied.seen(err, asked) {
				i.lockedOut(err)
			}
			before := stalled
			if stalled = i.probe.stalled(time.Now()) > i.x.cfg.Timing.PulseLimit; changed || err != nil || stalled || before {
				i.tell()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// disk is what was measured last, in MB.
type disk struct{ used, free int64 }

// measure looks at the volume every now and then; that may take long on a large one, or on a disk that hangs.
func (i *instance) measure(ctx context.Context, dir string) {
	tick := time.NewTicker(i.x.cfg.FactsInterval)
	defer tick.Stop()
	for {
		d := disk{used: treeMB(ctx, dir)}
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil {
			d.free = int64(st.Bavail) * st.Bsize >> 20
		}
		i.mu.Lock()
		first := i.disk == disk{}
		i.disk = d
		i.mu.Unlock()
		if first {
			i.tell()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// treeMB is what the files below dir occupy. Files that vanish meanwhile are as good as counted.
func treeMB(ctx context.Context, dir string) int64 {
	var blocks int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				blocks += st.Blocks
			} else {
				blocks += (info.Size() + 511) / 512
			}
		}
		return nil
	})
	return blocks * 512 >> 20
}
