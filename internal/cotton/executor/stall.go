package executor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

const (
	// probeFile is written to the volume again and again, to see that it takes writes.
	probeFile = "writable"
	// probeBytes are a page of InnoDB's.
	probeBytes = 16 << 10
)

// volumeProbe writes a little to the volume every now and then, down to the disk. A server whose disk does not answer, or is
// full, goes on to answer queries, and is heard by its replicas: only somebody who writes finds out.
type volumeProbe struct {
	mu    sync.Mutex
	since time.Time // when the first write began of those that did not succeed since one did; zero = the last one did
	err   error     // of the last one
}

// run probes until ctx ends. It may come back late: what hangs in a write cannot be called off.
func (p *volumeProbe) run(ctx context.Context, dir string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		p.begin(time.Now())
		p.end(probe(filepath.Join(dir, probeFile)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// probe makes a new file and has it take the place of the one before: one that is written over needs no room.
func probe(path string) (err error) {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

func (p *volumeProbe) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		p.since = now
	}
}

func (p *volumeProbe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err = err; err == nil {
		p.since = time.Time{}
	}
}

// stalled is for how long no write has succeeded.
func (p *volumeProbe) stalled(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return 0
	}
	return now.Sub(p.since)
}

// facts adds what is known of the volume.
func (p *volumeProbe) facts(f *cotton.Facts) {
	f.StalledMillis = p.stalled(f.At).Milliseconds()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		f.WriteError = p.err.Error()
	}
	if path := (*fs.PathError)(nil); errors.As(p.err, &path) {
		f.WriteError = path.Err.Error() // the path is long, and always the same
	}
}
