package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// clockTable is a lease table in memory, judged by one clock as the real one is by the database's.
type clockTable struct {
	mu      sync.Mutex
	holder  string
	epoch   uint64
	expires time.Time
	// renew, when set, comes before each renewal: it may wait, fail it, or lose its answer.
	renew func(ctx context.Context, n int) (lost bool, err error)
	n     int
}

func (c *clockTable) Acquire(_ context.Context, _, holder string, ttl time.Duration) (uint64, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder != "" && c.holder != holder && time.Now().Before(c.expires) {
		return c.epoch, false, nil
	}
	c.epoch++
	c.holder, c.expires = holder, time.Now().Add(ttl)
	return c.epoch, true, nil
}

func (c *clockTable) Renew(ctx context.Context, _, holder string, epoch uint64, ttl time.Duration) (bool, error) {
	c.mu.Lock()
	c.n++
	n, hook := c.n, c.renew
	c.mu.Unlock()
	if hook != nil {
		if lost, err := hook(ctx, n); err != nil {
			if lost {
				c.prolong(holder, epoch, ttl)
			}
			return false, err
		}
	}
	return c.prolong(holder, epoch, ttl), nil
}

func (c *clockTable) prolong(holder string, epoch uint64, ttl time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder != holder || c.epoch != epoch || !time.Now().Before(c.expires) {
		return false
	}
	c.expires = time.Now().Add(ttl)
	return true
}

func (c *clockTable) Release(_ context.Context, _, holder string, epoch uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder == holder && c.epoch == epoch {
		c.expires = time.Now()
	}
	return nil
}

func (c *clockTable) LeaseHolder(context.Context, string) (string, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holder, c.expires, nil
}

func (c *clockTable) expiry() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expires
}

// TestLeadStopsBeforeExpiry plays renewals that go wrong in different ways against an exact clock: the work must be told
// to stop while the lease still holds, with a third of the ttl to spare (I8).
func TestLeadStopsBeforeExpiry(t *testing.T) {
	const ttl = 15 * time.Second
	down := errors.New("connection refused")
	cases := map[string]struct {
		renew func(ctx context.Context, n int) (bool, error)
		// stops is when the ctx of fn ends after the lease was taken.
		stops time.Duration
	}{
		"every renewal fails": {
			renew: func(context.Context, int) (bool, error) { return false, down },
			stops: 10 * time.Second,
		},
		"renewals hang until their context ends": {
			renew: func(ctx context.Context, _ int) (bool, error) { <-ctx.Done(); return false, ctx.Err() },
			stops: 10 * time.Second,
		},
		"renewals hang and ignore their context": {
			renew: func(context.Context, int) (bool, error) { time.Sleep(time.Hour); return false, down },
			stops: 10 * time.Second,
		},
		"one good renewal, then none": {
			renew: func(_ context.Context, n int) (bool, error) {
				if n == 1 {
					return false, nil
				}
				return false, down
			},
			stops: 15 * time.Second, // 5 s + two thirds of the ttl
		},
		"a slow good renewal counts from its begin": {
			renew: func(_ context.Context, n int) (bool, error) {
				if n == 1 {
					time.Sleep(4 * time.Second) // asked at 5 s, answered at 9 s
					return false, nil
				}
				return false, down
			},
			stops: 15 * time.Second,
		},
		"a renewal whose answer got lost counts as none": {
			renew: func(context.Context, int) (bool, error) { return true, down },
			stops: 10 * time.Second,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := &clockTable{renew: c.renew}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				begin := time.Now()
				err := Lead(ctx, NewEnv("test", nil, nil), table, "brain", ttl, func(ctx context.Context, l Lease) error {
					<-ctx.Done()
					if got := time.Since(begin); got != c.stops {
						t.Errorf("told to stop after %s, want %s", got, c.stops)
					}
					if left := time.Until(table.expiry()); left < ttl/3 {
						t.Errorf("told to stop %s before the expiry, want at least %s", left, ttl/3)
					}
					cancel() // one round is enough
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestLeadKeepsRenewing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Two failures in a row are bridged: the third try comes in time.
		table := &clockTable{renew: func(_ context.Context, n int) (bool, error) {
			if n%3 != 0 {
				return false, errors.New("connection refused")
			}
			return false, nil
		}}
		env := NewEnv("test", nil, nil)
		err := Lead(t.Context(), env, table, "brain", 15*time.Second, func(ctx context.Context, l Lease) error {
			select {
			case <-ctx.Done():
				t.Error("lost the lease:", context.Cause(ctx))
			case <-time.After(24 * time.Hour):
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if time.Until(table.expiry()) > 0 {
			t.Error("the lease was not given back")
		}
	})
}

// TestLeadOneAtATime runs three processes that start and stop all the time: at no instant do two of them act (I8), and
// each gets its turn.
func TestLeadOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &clockTable{}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var mu sync.Mutex
		acting, rounds, led := 0, 0, map[string]bool{}
		var wg sync.WaitGroup
		for i := range 3 {
			env := NewEnv("test", nil, nil)
			env.Holder = fmt.Sprint("process ", i)
			wg.Go(func() {
				for ctx.Err() == nil {
					work, stop := context.WithTimeout(ctx, time.Duration(7+5*i)*time.Second)
					err := Lead(work, env, table, "brain", 3*time.Second, func(ctx context.Context, l Lease) error {
						mu.Lock()
						acting++
						rounds++
						led[l.Holder] = true
						if acting > 1 {
							t.Error("two processes act at once")
						}
						mu.Unlock()
						<-ctx.Done()
						mu.Lock()
						acting--
						mu.Unlock()
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					stop()
					time.Sleep(time.Second) // as after a crash, before somebody starts it again
				}
			})
		}
		wg.Wait()
		if rounds < 30 || len(led) != 3 {
			t.Errorf("%d rounds by %d processes: the standbys did not take over", rounds, len(led))
		}
	})
}

func TestLeadTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &clockTable{}
		env := NewEnv("test", nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		rounds := 0
		err := Lead(ctx, env, table, "brain", 15*time.Second, func(fctx context.Context, l Lease) error {
			if rounds++; rounds == 2 {
				if l.Epoch != 3 {
					t.Errorf("epoch %d, want 3", l.Epoch)
				}
				cancel()
				return nil
			}
			// Somebody stole it, as after an operator's UPDATE: noticed at the next renewal.
			table.mu.Lock()
			table.holder, table.epoch, table.expires = "thief", 2, time.Now().Add(30*time.Second)
			table.mu.Unlock()
			begin := time.Now()
			<-fctx.Done()
			if took := time.Since(begin); took != 5*time.Second {
				t.Errorf("noticed after %s, want the next renewal at 5s", took)
			}
			return nil
		})
		if err != nil || rounds != 2 {
			t.Errorf("err %v, %d rounds, want nil and 2", err, rounds)
		}
	})
}

func TestLeadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &clockTable{}
		if _, ok, err := table.Acquire(t.Context(), "brain", "db7:4711:cafe", time.Minute); err != nil || !ok {
			t.Fatal(ok, err)
		}
		env := NewEnv("test", nil, nil)
		env.Once = true
		lead := func() error {
			return Lead(t.Context(), env, table, "brain", 15*time.Second, func(context.Context, Lease) error {
				return errors.New("the pass failed")
			})
		}
		err := lead()
		if !errors.Is(err, ErrLeaseHeld) || !contains(err, "brain by db7:4711:cafe until") {
			t.Errorf("got %v, want who holds the lease", err)
		}
		time.Sleep(time.Minute)
		if err := lead(); err == nil || err.Error() != "the pass failed" {
			t.Errorf("got %v, want the error of the pass", err)
		}
		if time.Until(table.expiry()) > 0 {
			t.Error("the lease was not given back")
		}
	})
}

func TestStandbyIsReadyAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &clockTable{holder: "other", epoch: 1, expires: time.Now().Add(time.Hour)}
		env := NewEnv("test", nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- Lead(ctx, env, table, "brain", 15*time.Second, func(context.Context, Lease) error { return nil })
		}()
		synctest.Wait()
		note, err := env.state.get()
		if err != nil || !contains(errors.New(note), "standing by") {
			t.Errorf("readiness %q, %v", note, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
