package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
)

const (
	observeEvery = 100 * time.Millisecond
	observeLimit = 500 * time.Millisecond
)

// sample is what one instance said: between began and ended.
type sample struct {
	began, ended time.Time
	err          error
	open         bool // for writes of clients
	able         bool // open, and a commit would return: it waits for nobody, or for no more than are there
	uuid, gtids  string
}

// publication is what the API said.
type publication struct {
	at      time.Time
	primary int // instance id; 0 = none, or no answer
}

// observer looks at every instance and at the API ten times a second, each on its own; at instances that are added, from when
// they are published.
type observer struct {
	ctx  context.Context
	stop context.CancelFunc
	over sync.WaitGroup
	pool *mysql.Pool

	mu        sync.Mutex
	samples   map[int][]sample // by instance id
	published []publication
}

func observe(s *cottonkit.Site, c v1.Cluster) (*observer, error) {
	o := &observer{pool: s.AdminPool(mysql.Options{ConnectTimeout: observeLimit, MaxOpen: 2}), samples: map[int][]sample{}}
	o.ctx, o.stop = context.WithCancel(context.Background())
	for _, i := range c.Instances {
		if err := o.watch(i.ID, cottonkit.Addr(i)); err != nil {
			return nil, errors.Join(err, o.end())
		}
	}
	o.over.Go(func() {
		every(o.ctx, func() {
			limited, cancel := context.WithTimeout(o.ctx, observeLimit)
			defer cancel()
			p := publication{at: time.Now()}
			e, err := s.Client.Endpoints(limited, c.Name)
			if err == nil && e.Primary != nil {
				p.primary = e.Primary.ID
			}
			for _, r := range e.Replicas { // who is added serves as a replica first
				if err := o.watch(r.ID, mysql.Addr{Host: r.Host, Port: r.Port}); err != nil {
					s.T.Error(err)
				}
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			o.published = append(o.published, p)
		})
	})
	return o, nil
}

// watch looks at an instance until the end, unless that is done already.
func (o *observer) watch(id int, at mysql.Addr) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, watched := o.samples[id]; watched {
		return nil
	}
	db, err := o.pool.DB(at)
	if err != nil {
		return err
	}
	o.samples[id] = []sample{}
	o.over.Go(func() {
		every(o.ctx, func() {
			limited, cancel := context.WithTimeout(o.ctx, observeLimit)
			defer cancel()
			o.keep(id, look(limited, db))
		})
	})
	return nil
}

func every(ctx context.Context, do func()) {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		do()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look asks one instance: one cheap statement, and its status only while it is open.
func look(ctx context.Context, db *sql.DB) (s sample) {
	s.began = time.Now()
	defer func() { s.ended = time.Now() }()
	var readOnly, semiSync bool
	var acks int
	s.err = db.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only, @@GLOBAL.rpl_semi_sync_source_enabled, "+
		"@@GLOBAL.rpl_semi_sync_source_wait_for_replica_count, @@server_uuid, @@GLOBAL.gtid_executed").Scan(&readOnly, &semiSync, &acks, &s.uuid,
		&s.gtids)
	s.gtids = strings.ReplaceAll(s.gtids, "\n", "")
	// One that is about to close shows super_read_only while it waits for commits under way.
	if s.open = s.err == nil && !readOnly; !s.open {
		return s
	}
	if !semiSync {
		s.able = true
		return s
	}
	rows, err := db.QueryContext(ctx, "SHOW GLOBAL STATUS WHERE variable_name IN ('Rpl_semi_sync_source_status', 'Rpl_semi_sync_source_clients')")
	if err != nil {
		s.err = err
		return s
	}
	defer rows.Close()
	active, clients := false, 0
	for rows.Next() {
		var name, value string
		if s.err = rows.Scan(&name, &value); s.err != nil {
			return s
		}
		switch strings.ToLower(name) {
		case "rpl_semi_sync_source_status":
			active = value == "ON"
		case "rpl_semi_sync_source_clients":
			clients, _ = strconv.Atoi(value)
		}
	}
	s.err, s.able = rows.Err(), !active || clients >= acks
	return s
}

func (o *observer) keep(id int, s sample) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.samples[id] = append(o.samples[id], s)
}

func (o *observer) end() error {
	o.stop()
	o.over.Wait()
	return o.pool.Close()
}

// twoAble finds moments at which two instances were able to commit (I2). Samples of two instances are not of one moment:
// it counts only if one was able in two samples, one after the other, and the other in a sample in between.
func twoAble(samples map[int][]sample) []string {
	var found []string
	for a, list := range samples {
		for n := 1; n < len(list); n++ {
			before, after := list[n-1], list[n]
			if !before.able || !after.able {
				continue
			}
			for b, others := range samples {
				if a == b {
					continue
				}
				for _, s := range others {
					if s.able && !s.began.Before(before.ended) && !s.ended.After(after.began) {
						found = append(found, fmt.Sprintf("instances %d and %d at %s", a, b, s.began.Format("15:04:05.000")))
					}
				}
			}
		}
	}
	return found
}

// misled is the longest time in which the API told clients of one instance while another one took writes (I10).
func misled(published []publication, samples map[int][]sample) (longest time.Duration) {
	var since time.Time
	for _, p := range published {
		other := p.primary != 0 && ableAt(samples, p.at) != 0 && ableAt(samples, p.at) != p.primary
		switch {
		case !other:
			since = time.Time{}
		case since.IsZero():
			since = p.at
		}
		if !since.IsZero() {
			longest = max(longest, p.at.Sub(since))
		}
	}
	return longest
}

// ableAt is the instance that was last seen able before a time; 0 when none was within a second.
func ableAt(samples map[int][]sample, at time.Time) int {
	who, when := 0, at.Add(-time.Second)
	for id, list := range samples {
		for n := len(list) - 1; n >= 0; n-- {
			if list[n].ended.After(at) {
				continue
			}
			if list[n].able && list[n].ended.After(when) {
				who, when = id, list[n].ended
			}
			break
		}
	}
	return who
}
