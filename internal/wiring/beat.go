package wiring

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/why"
)

// heart writes this process's heartbeat to aoscdb, and with it the answers to "why is it not running": every daemon that
// lives can give them, so whichever is down, another says so.
type heart struct {
	store *aoscdb.Store
	env   *daemon.Env
	row   aoscdb.DaemonRow
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// beatTimeout bounds one heartbeat: a hung aoscdb must not keep a daemon from ending.
const beatTimeout = 5 * time.Second

func startHeart(ctx context.Context, env *daemon.Env, store *aoscdb.Store) *heart {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &heart{store: store, env: env, stop: stop, row: aoscdb.DaemonRow{
		Name: env.Name, Holder: env.Holder, Serves: servesOf(env.Config).String(), Version: daemon.Version()}}
	h.done.Go(func() { h.beat(ctx) })
	return h
}

// servesOf is what the keys of InstanceKeys restrict this process to.
func servesOf(v *viper.Viper) why.Serves {
	return why.Serves{Tier: v.GetString("tier"), Host: v.GetString("host"), Instances: v.GetStringSlice("instance")}
}

func (h *heart) beat(ctx context.Context) {
	tick := time.NewTicker(aoscdb.BeatEvery)
	defer tick.Stop()
	failing := false
	for {
		err := h.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			h.env.Log.Warn("heartbeat not written, will be tried again", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *heart) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	row := h.row
	note, err := h.env.Ready()
	switch row.Note = note; {
	case errors.Is(err, daemon.ErrStarting):
		row.Note = err.Error()
	case err != nil:
		row.Error = err.Error()
	}
	if err := h.store.Beat(ctx, row); err != nil {
		return err
	}
	return h.store.PublishWhy(ctx, why.Rows)
}

// close ends the heartbeats and says that this was meant.
func (h *heart) close() {
	h.stop()
	h.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	if err := h.store.BeatStopped(ctx, h.row.Name, h.row.Holder); err != nil {
		h.env.Log.Warn("the end is not written to daemons", "error", err)
	}
}
