package checksum

import (
	"context"
	"time"
)

// watchHead keeps the newest snapshot until ctx ends. It is apart from the ticks because a remote repository may take its
// time, and instances are to be checked against the last known head meanwhile.
func (d *Daemon) watchHead(ctx context.Context) {
	every := time.NewTicker(headEvery)
	defer every.Stop()
	for {
		_ = d.readHead(ctx) // kept, the next tick reports it
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// readHead reads the head of the repository once. A failure leaves the snapshot as it was.
func (d *Daemon) readHead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	commit, err := d.Repo.Head(ctx)
	if err != nil {
		d.noteHead(err)
		return err
	}
	snap, err := d.Repo.Snapshot(ctx, commit)
	if err != nil {
		d.noteHead(err)
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.snap, d.headErr = snap, nil
	return nil
}

func (d *Daemon) noteHead(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.headErr = err
}
