package executor

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

// probeFile is what is written to the volume again and again, to see that it takes writes.
const probeFile = "writable"

// volumeProbe writes a few bytes to the volume every now and then, down to the disk. A server whose disk does not answer goes
// on to answer queries, and is heard by its replicas: only somebody who writes finds out.
type volumeProbe struct {
	mu    sync.Mutex
	began time.Time // of the write under way; zero = none is
	err   error     // of the last one
}

// run probes until ctx ends. It may come back late: what hangs in a write cannot be called off.
func (p *volumeProbe) run(ctx context.Context, dir string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		p.begin()
		p.end(probe(filepath.Join(dir, probeFile)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func probe(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(time.Now().Format(time.RFC3339Nano)); err != nil {
		return err
	}
	return f.Sync()
}

func (p *volumeProbe) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Now()
}

func (p *volumeProbe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.err = time.Time{}, err
}

// hangs is for how long the write under way has taken.
func (p *volumeProbe) hangs(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		return 0
	}
	return now.Sub(p.began)
}

// facts adds what is known of the volume.
func (p *volumeProbe) facts(f *cotton.Facts) {
	f.WriteMillis = p.hangs(f.At).Milliseconds()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		f.WriteError = p.err.Error()
	}
}
