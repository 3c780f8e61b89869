package operate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
)

// Selection names what a pause, resume or stop is about.
type Selection struct {
	Group, Table string
	// Instances restricts it to these instances and leaves the alter itself alone; empty means the whole alter.
	Instances []mysql.Addr
	// By is written to the history.
	By string
}

// ErrNoAlter: the selection names no current alter.
var ErrNoAlter = errors.New("no such alter in current_alters")

// Done is what a pause, stop or resume has changed.
type Done struct {
	Alter     string       // what became of the alter itself, "" = it stays as it was
	Lasts     string       // why a pause or a stop does not last by itself, "" = it does
	Instances []mysql.Addr // whose osc_priv was set
	Asked     int          // instances that have a row of the alter, or were named
	Anew      []mysql.Addr // where the alter waited between two tries, and is begun at once
}

// Pause throttles the running copies in place and, when the whole alter is meant, holds it so that nothing new starts.
func (d *Desk) Pause(ctx context.Context, s Selection) (Done, error) {
	return d.set(ctx, s, aoscdb.PrivPause, "paused")
}

// Stop aborts the running copies, which leave nothing behind (I5), and holds the alter when all of it is meant.
func (d *Desk) Stop(ctx context.Context, s Selection) (Done, error) {
	return d.set(ctx, s, aoscdb.PrivStop, "stopped")
}

// Resume gives OK to the selected instances and takes the alter off HOLD when the operator had put it there. Where it waits
// between two tries it is begun at once.
func (d *Desk) Resume(ctx context.Context, s Selection) (Done, error) {
	return d.set(ctx, s, aoscdb.PrivOK, "resumed")
}

func (d *Desk) set(ctx context.Context, s Selection, priv, word string) (Done, error) {
	var done Done
	alter, err := d.Store.CurrentAlter(ctx, s.Group, s.Table)
	if errors.Is(err, aoscdb.ErrNotFound) {
		return done, fmt.Errorf("%s.%s: %w; `aosc status` lists the current ones", s.Group, s.Table, ErrNoAlter)
	}
	if err != nil {
		return done, err
	}
	waiting, err := d.betweenTries(ctx, s)
	if err != nil {
		return done, err
	}
	// The alter first: between the two steps nothing new may start.
	if len(s.Instances) == 0 {
		if done.Alter, err = d.hold(ctx, alter, priv, word, s.By); err != nil {
			return done, err
		}
		if priv != aoscdb.PrivOK {
			done.Lasts = wouldNotLast(alter)
		}
		if done.Alter != "" {
			if err := d.Store.Event(ctx, aoscdb.Event{Actor: s.By, Group: s.Group, Table: s.Table, What: word, Detail: done.Alter}); err != nil {
				return done, err
			}
		}
	}
	// A stop or pause of the whole alter has put it on HOLD, which needs no word on an instance where nothing is queued.
	at := waiting
	if priv != aoscdb.PrivOK && len(s.Instances) == 0 {
		at = nil
	}
	done.Instances, done.Asked, err = d.setPriv(ctx, s, priv, at)
	if priv == aoscdb.PrivOK && len(waiting) > 0 {
		done.Anew = waiting
		if _, anewErr := d.Store.TryAnew(ctx, s.Group, s.Table, waiting); anewErr != nil {
			err = errors.Join(err, anewErr)
		}
	}
	for _, a := range done.Instances {
		e := aoscdb.Event{Actor: s.By, Group: s.Group, Table: s.Table, Host: a.Host, Port: a.Port, What: word, Detail: "osc_priv=" + priv}
		if eventErr := d.Store.Event(ctx, e); eventErr != nil {
			err = errors.Join(err, eventErr)
		}
	}
	return done, err
}

// hold puts the alter on the operator's HOLD, or takes it off. A HOLD of the brain stays the brain's to lift; a worker's
// HOLD is the operator's to lift, and resume is how. It says what became of the alter, "" = nothing.
func (d *Desk) hold(ctx context.Context, a aoscdb.CurrentAlter, priv, word, by string) (string, error) {
	switch {
	case priv != aoscdb.PrivOK && wouldNotLast(a) == "":
		how := aoscdb.HoldStop
		if priv == aoscdb.PrivPause {
			how = aoscdb.HoldPause
		}
		if a.Status == aoscdb.AlterHold && a.HoldBy == aoscdb.HoldOperator && (a.HoldHow != aoscdb.HoldPause || how == aoscdb.HoldPause) {
			return "", nil // it is so already
		}
		return "put on HOLD: " + how, d.Store.OperatorHold(ctx, a.Group, a.Table, fmt.Sprintf("%s by %s", word, by), how)
	case priv == aoscdb.PrivOK && a.Status == aoscdb.AlterHold && a.HoldBy != aoscdb.HoldBrain:
		return fmt.Sprintf("taken off the HOLD of %s: %s", cmp.Or(a.HoldBy, aoscdb.HoldOperator), a.Reason),
			d.Store.OperatorResume(ctx, a.Group, a.Table)
	case priv == aoscdb.PrivOK && a.Status == aoscdb.AlterHold:
		return "", fmt.Errorf("%s.%s is held by the brain, which lifts it once the reason is gone: %s", a.Group, a.Table, a.Reason)
	}
	return "", nil
}

// wouldNotLast says why an operator's word about the whole alter would not last, "" when it does.
func wouldNotLast(a aoscdb.CurrentAlter) string {
	switch {
	case a.Status == aoscdb.AlterDone:
		return "it is DONE, nothing is altered now; a check that finds a difference sends it back to work"
	case a.Status == aoscdb.AlterHold && a.HoldBy == aoscdb.HoldBrain:
		return "it is on HOLD by brain, which lifts that by itself once the reason is gone: " + a.Reason
	}
	return ""
}

// betweenTries are the selected instances where the alter failed and is to be tried again.
func (d *Desk) betweenTries(ctx context.Context, s Selection) ([]mysql.Addr, error) {
	retries, err := d.Store.Retries(ctx)
	if err != nil {
		return nil, err
	}
	running, err := d.Store.RunningAlters(ctx)
	if err != nil {
		return nil, err
	}
	var out []mysql.Addr
	for _, r := range retries {
		a := mysql.Addr{Host: r.Host, Port: r.Port}
		underWay := slices.ContainsFunc(running, func(x aoscdb.RunningAlter) bool {
			return x.Host == r.Host && x.Port == r.Port && x.Group == r.Group && x.Table == r.Table
		})
		if r.Group == s.Group && r.Table == s.Table && !underWay && (len(s.Instances) == 0 || slices.Contains(s.Instances, a)) {
			out = append(out, a)
		}
	}
	return out, nil
}

// setPriv writes osc_priv on every selected instance that has a row of the alter, queued or running or, in waiting, of a try that
// failed. Instances that fail are named in the error, the others are done. asked is how many have a row.
func (d *Desk) setPriv(ctx context.Context, s Selection, priv string, waiting []mysql.Addr) (done []mysql.Addr, asked int, err error) {
	running, err := d.Store.RunningAlters(ctx)
	if err != nil {
		return nil, 0, err
	}
	tiers, err := d.tiers(ctx)
	if err != nil {
		return nil, 0, err
	}
	want := map[mysql.Addr]bool{}
	for _, a := range s.Instances {
		want[a] = true
	}
	var addrs []mysql.Addr
	for _, r := range running {
		a := mysql.Addr{Host: r.Host, Port: r.Port}
		if r.Group == s.Group && r.Table == s.Table && (len(want) == 0 || want[a]) {
			addrs = append(addrs, a)
			delete(want, a)
		}
	}
	for _, a := range waiting {
		addrs = append(addrs, a)
		delete(want, a)
	}
	results := mysql.FanOut(ctx, addrs, d.FanOut, d.Timeout, func(ctx context.Context, a mysql.Addr) (bool, error) {
		store, err := d.status(tiers, s.Group, a)
		if err != nil {
			return false, err
		}
		return store.SetPriv(ctx, a.Host, a.Port, s.Group, s.Table, priv)
	})
	var errs []error
	for _, r := range results {
		switch {
		case r.Err != nil:
			errs = append(errs, fmt.Errorf("set osc_priv=%s for %s.%s on %s: %w", priv, s.Group, s.Table, r.Item, r.Err))
		case r.Value:
			done = append(done, r.Item)
		}
	}
	for _, a := range s.Instances {
		if want[a] {
			errs = append(errs, fmt.Errorf("%s has no alter of %s.%s queued or running", a, s.Group, s.Table))
		}
	}
	return done, len(addrs), errors.Join(errs...)
}
