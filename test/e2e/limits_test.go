package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// I3, I8: two of every daemon, two workers for each of two hosts, two alters at once. Sampled every 20 ms, from the tables and
// from the processes, there is never more at work than the tier's limits, never two on one instance; and all finish.
func TestTwoOfEverything(t *testing.T) {
	t.Parallel()
	const limit, perHost = 3, 2
	var clusters []*mysqld.Cluster
	for range 5 {
		clusters = append(clusters, testkit.FreshCluster(t, 1, mysqld.ReplicaOptions{}, nil))
	}
	s := newPlace(t, func(t *aoscdb.Tier) { t.MaxRunning, t.MaxRunningPerHost = limit, perHost }, clusters...)
	for _, c := range clusters[3:] {
		s.Hosts[c.Primary] = "localhost" // another name is another host
	}
	s.WriteInventory()
	s.Fill(site.Plain, 3000)
	s.Fill(site.Plain, 50)
	second := strings.Replace(site.Plain, "tabla1", "tabla2", 1)
	for _, c := range clusters {
		for _, database := range s.Databases {
			s.In(c.Primary, database, second)
		}
	}
	for range 2 {
		for _, name := range site.Names[:4] {
			s.Daemon(name, "")
		}
		for _, host := range []string{"127.0.0.1", "localhost"} {
			s.Daemon("oscworker", "", "--host="+host)
		}
	}
	watch := s.sample(limit, perHost)
	first := s.Repo.Commit(map[string]string{"schemas/udb/tabla1.sql": site.Copied, "schemas/udb/tabla2.sql": strings.Replace(site.Copied, "tabla1", "tabla2", 1)}, "both")
	s.Allow("tabla1")
	s.Allow("tabla2")
	s.Finished("tabla1", first)
	s.Finished("tabla2", first)
	most := watch()
	t.Logf("%d samples; at most %d of %d rows of running_alters, %d workers with a row, %d copies at once", most.samples, most.counted, limit, most.working, most.copies)
	if most.counted != limit || most.copies < 2 {
		t.Error("the limit was never reached: this proves nothing")
	}
	s.MustHave("tabla1", site.Copied)
	s.MustHave("tabla2", strings.Replace(site.Copied, "tabla1", "tabla2", 1))
	s.Clean("tabla1", "tabla2")
	if n := s.Ask("SELECT COUNT(*) FROM events WHERE what = 'finished'"); n != "2" {
		t.Errorf("I8: %s times finished, want once for each alter", n)
	}
}

// peak is the most of everything that was seen at once.
type peak struct{ samples, counted, working, copies int }

// sample watches the limits until the returned function is called.
func (s *place) sample(limit, perHost int) func() peak {
	s.T.Helper()
	ctx, cancel := context.WithCancel(s.T.Context())
	var most peak
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now, err := s.look(ctx, perHost)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				s.T.Error(err)
				return
			}
			if now.counted > limit || now.working > limit || now.copies > limit {
				s.T.Errorf("I3: the limit is %d: %+v", limit, now)
			}
			most.samples++
			most.counted, most.working, most.copies = max(most.counted, now.counted), max(most.working, now.working), max(most.copies, now.copies)
		}
	})
	stop := sync.OnceValue(func() peak {
		cancel()
		watching.Wait()
		return most
	})
	s.T.Cleanup(func() { stop() })
	return stop
}

// look is one sample: the scheduler's word, the rows on the instances, and the copies under way. The servers are asked one after the other,
// and on a busy machine one alter ends and another begins meanwhile. So they are asked twice: what is there both times was there at once.
func (s *place) look(ctx context.Context, perHost int) (peak, error) {
	var now peak
	err := s.Store.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM running_alters").Scan(&now.counted)
	if err != nil {
		return now, err
	}
	first, err := s.underWay(ctx)
	if err != nil {
		return now, err
	}
	second, err := s.underWay(ctx)
	if err != nil {
		return now, err
	}
	byHost, byServer := map[string]int{}, map[string]int{}
	for what := range first {
		if !second[what] {
			continue
		}
		if what.copy {
			now.copies++
		} else {
			now.working++
		}
		host, server := fmt.Sprintf("%s, copies: %v", what.host, what.copy), fmt.Sprintf("%s, copies: %v", what.server, what.copy)
		byHost[host]++
		byServer[server]++
		if byServer[server] > 1 {
			return now, fmt.Errorf("I3: %d at once on %s", byServer[server], server)
		}
		if byHost[host] > perHost {
			return now, fmt.Errorf("I3: %d at once on host %q, the limit is %d", byHost[host], host, perHost)
		}
	}
	return now, nil
}

// work is a row that a worker has, or a copy.
type work struct {
	host, server, what string
	copy               bool
}

// underWay asks every primary what is being done there.
func (s *place) underWay(ctx context.Context) (map[work]bool, error) {
	found := map[work]bool{}
	for _, c := range s.Clusters {
		for copies, query := range map[bool]string{
			false: "SELECT CONCAT(table_name, owner, `try`) FROM aosc.aosc_osc_ww WHERE status = 'RUNNING'",
			true: "SELECT CONCAT(table_schema, table_name, create_time) FROM information_schema.tables WHERE table_name IN ('_tabla1_gho', " +
				"'_tabla2_gho')",
		} {
			rows, err := c.Primary.DB().QueryContext(ctx, query)
			if err != nil && absent(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for rows.Next() {
				w := work{host: s.Hosts[c.Primary], server: c.Primary.Addr().String(), copy: copies}
				if err := rows.Scan(&w.what); err != nil {
					rows.Close()
					return nil, err
				}
				found[w] = true
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}
