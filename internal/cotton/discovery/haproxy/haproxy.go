package haproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/aosc/aosc/internal/cotton/discovery"
)

// Config of the file.
type Config struct {
	File string // what HAProxy reads
	Bind string // address that HAProxy listens on; empty = 127.0.0.1
	// FirstPort and LastPort bound the ports given to clusters, two each.
	FirstPort, LastPort int
	// Changed is called after the file has changed, to have HAProxy read it; may be nil. When it fails Publish does, and
	// it is called again with the next Publish.
	Changed func(ctx context.Context) error
}

// Publisher keeps the file.
type Publisher struct {
	cfg Config

	mu       sync.Mutex
	clusters map[string]Cluster
	untold   bool // the file has changed since Changed last succeeded
}

var _ discovery.Publisher = (*Publisher)(nil)

// Open reads what an earlier process has written.
func Open(cfg Config) (*Publisher, error) {
	if cfg.Bind == "" {
		cfg.Bind = "127.0.0.1"
	}
	if err := validEndpoint(discovery.Endpoint{Host: cfg.Bind, Port: 1}); err != nil {
		return nil, fmt.Errorf("HAProxy configuration: bind address %q is not one", cfg.Bind)
	}
	if cfg.FirstPort < 1 || cfg.LastPort > 65535 || cfg.FirstPort >= cfg.LastPort {
		return nil, fmt.Errorf("HAProxy configuration: ports %d to %d are no range of two and more from 1 to 65535", cfg.FirstPort, cfg.LastPort)
	}
	p := &Publisher{cfg: cfg}
	config, err := os.ReadFile(cfg.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("HAProxy configuration: %w", err)
	}
	if len(config) > 0 && !bytes.HasPrefix(config, []byte(fileHeader)) {
		return nil, fmt.Errorf("HAProxy configuration %s was not written by cotton: move it away, or name another file", cfg.File)
	}
	if p.clusters, err = parse(config); err != nil {
		return nil, fmt.Errorf("HAProxy configuration %s: %w: remove it, and every cluster gets new ports", cfg.File, err)
	}
	return p, nil
}

// Ports are where HAProxy takes connections to a cluster; ok is false when it is not known.
func (p *Publisher) Ports(cluster string) (write, read int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.clusters[cluster]
	return c.WritePort, c.ReadPort, ok
}

// Publish writes the file when anything differs. A cluster keeps the ports that it was given first.
func (p *Publisher) Publish(ctx context.Context, cluster string, primary *discovery.Endpoint, replicas []discovery.Endpoint) error {
	if cluster == "" {
		return errors.New("HAProxy configuration: a cluster without a name")
	}
	for _, e := range endpoints(primary, replicas) {
		if err := validEndpoint(e); err != nil {
			return fmt.Errorf("HAProxy configuration: cluster %s: %w", cluster, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c, known := p.clusters[cluster]
	if !known {
		var err error
		if c.WritePort, c.ReadPort, err = p.freePorts(); err != nil {
			return fmt.Errorf("HAProxy configuration: cluster %s: %w", cluster, err)
		}
	}
	c.Primary, c.Replicas = primary, sorted(replicas)
	next := maps.Clone(p.clusters)
	next[cluster] = c
	return p.write(ctx, next)
}

func endpoints(primary *discovery.Endpoint, replicas []discovery.Endpoint) []discovery.Endpoint {
	if primary == nil {
		return replicas
	}
	return append([]discovery.Endpoint{*primary}, replicas...)
}

// Remove takes a cluster out; its ports are free again.
func (p *Publisher) Remove(ctx context.Context, cluster string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := maps.Clone(p.clusters)
	delete(next, cluster)
	return p.write(ctx, next)
}

// freePorts is the lowest pair that no cluster has; p.mu is held.
func (p *Publisher) freePorts() (write, read int, err error) {
	taken := map[int]bool{}
	for _, c := range p.clusters {
		taken[c.WritePort], taken[c.ReadPort] = true, true
	}
	var free []int
	for port := p.cfg.FirstPort; port <= p.cfg.LastPort && len(free) < 2; port++ {
		if !taken[port] {
			free = append(free, port)
		}
	}
	if len(free) < 2 {
		return 0, 0, fmt.Errorf("no two ports are free from %d to %d: widen the range", p.cfg.FirstPort, p.cfg.LastPort)
	}
	return free[0], free[1], nil
}

// write makes the file say next, if it does not already, and has HAProxy told; p.mu is held.
func (p *Publisher) write(ctx context.Context, next map[string]Cluster) error {
	config := Render(p.cfg.Bind, next)
	is, err := os.ReadFile(p.cfg.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("HAProxy configuration: %w", err)
	}
	if !slices.Equal(hash(is), hash(config)) {
		if err := replace(p.cfg.File, config); err != nil {
			return fmt.Errorf("HAProxy configuration: %w", err)
		}
		p.untold = true
	}
	p.clusters = next
	if p.untold && p.cfg.Changed != nil {
		if err := p.cfg.Changed(ctx); err != nil {
			return fmt.Errorf("HAProxy configuration %s is written, but HAProxy could not be told: %w", p.cfg.File, err)
		}
	}
	p.untold = false
	return nil
}

// hash is what a configuration says of itself: the same hash is the same configuration, and hand-made changes are left
// alone until a cluster changes.
func hash(config []byte) []byte {
	for line := range bytes.Lines(config) {
		if h, ok := bytes.CutPrefix(line, []byte(hashPrefix)); ok {
			return h
		}
	}
	return nil
}

// replace writes beside the file and renames, so that HAProxy never reads half of it.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
