package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit/writer"
)

// servers is the demo's fleet: aoscdb and two clusters.
type servers struct {
	dir      string
	aoscdb   *mysqld.Server
	clusters []*mysqld.Cluster
}

// place is one database of the demo.
type place struct {
	name    string
	cluster int
	kind    seedKind
	primary *sql.DB
}

// places are the databases and how each starts.
func (s *servers) places() []place {
	kinds := []seedKind{seedOld, seedOld, seedMissing, seedOld, seedAlready, seedOld}
	out := make([]place, len(kinds))
	for i, kind := range kinds {
		cluster := i / 3
		out[i] = place{name: fmt.Sprintf("dbid%d", i+1), cluster: cluster, kind: kind, primary: s.clusters[cluster].Primary.DB()}
	}
	return out
}

// relaxed settings: the demo is about tables, not about how quickly this disk syncs. Semi-sync keeps two copies.
var relaxed = map[string]string{"innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0", "innodb_buffer_pool_size": "256M", "innodb_redo_log_capacity": "256M"}

func startServers(ctx context.Context, dir string) (*servers, error) {
	s := &servers{dir: dir}
	install, err := mysqld.Find(ctx)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	s.clusters = make([]*mysqld.Cluster, 2)
	group.Go(func() (err error) {
		s.aoscdb, err = mysqld.Start(ctx, mysqld.Options{Install: install, Dir: filepath.Join(dir, "aoscdb")})
		return err
	})
	for i := range s.clusters {
		group.Go(func() (err error) {
			s.clusters[i], err = mysqld.StartCluster(ctx, mysqld.ClusterOptions{
				Replicas: 1,
				Replica:  mysqld.ReplicaOptions{SemiSync: true},
				Server: func(member int) mysqld.Options {
					return mysqld.Options{Install: install, Dir: filepath.Join(dir, fmt.Sprintf("udb-%d-%d", i+1, member+1)), Config: relaxed}
				},
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, s.stop(context.WithoutCancel(ctx)))
	}
	return s, os.WriteFile(s.inventoryPath(), []byte(s.inventory()), 0o644)
}

func (s *servers) inventoryPath() string { return filepath.Join(s.dir, "inventory.yaml") }

func (s *servers) aoscdbDSN() string { return s.aoscdb.DSN("aoscdb") }

// inventory is the YAML an operator would write.
func (s *servers) inventory() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tiers:\n  %s:\n    databases: \"dbid%%\"\n    clusters:\n", tierName)
	for i, c := range s.clusters {
		fmt.Fprintf(&b, "      - name: udb-%d\n        instances:\n", i+1)
		for j, m := range c.Servers() {
			fmt.Fprintf(&b, "          - {host: %s, port: %d, datacenter: %s, rack: %c}\n", m.Addr().Host, m.Addr().Port, []string{"east", "west"}[j%2], 'a'+j)
		}
	}
	return b.String()
}

// seed makes the databases, fills their tables and waits until the replicas have it all. It returns the writers that own
// the rows, by database.
func (s *servers) seed(ctx context.Context, rows int) (map[string]*writer.Writer, error) {
	writers := map[string]*writer.Writer{}
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range s.clusters {
		var mine []*writer.Writer
		for _, p := range s.places() {
			if p.cluster != i {
				continue
			}
			if err := seed(ctx, p.primary, p.name, p.kind); err != nil {
				return nil, errors.Join(err, group.Wait())
			}
			if p.kind != seedMissing {
				writers[p.name] = newWriter(p.primary, p.name)
				mine = append(mine, writers[p.name])
			}
		}
		group.Go(func() error {
			for _, w := range mine {
				if err := w.Seed(ctx, rows); err != nil {
					return err
				}
			}
			return c.Sync(ctx)
		})
	}
	return writers, group.Wait()
}

func (s *servers) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for _, c := range s.clusters {
		if c != nil {
			errs = append(errs, c.Stop(ctx))
		}
	}
	if s.aoscdb != nil {
		errs = append(errs, s.aoscdb.Stop(ctx))
	}
	return errors.Join(errs...)
}
