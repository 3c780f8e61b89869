package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
)

// CutOver sets cut_over of the selected rows of aosc_osc_ww: CutOverGo lets the copy of an instance be swapped in as soon as it is ready,
// CutOverWait keeps it at the gate, CutOverAsAllowed takes either back. Instances that fail are named in the error, the others are done.
func (d *Desk) CutOver(ctx context.Context, s Selection, word string) (Done, error) {
	running, err := d.Store.RunningAlters(ctx)
	if err != nil {
		return Done{}, err
	}
	tiers, err := d.tiers(ctx)
	if err != nil {
		return Done{}, err
	}
	var addrs []mysql.Addr
	for _, r := range running {
		a := mysql.Addr{Host: r.Host, Port: r.Port}
		if r.Group == s.Group && r.Table == s.Table && (len(s.Instances) == 0 || slices.Contains(s.Instances, a)) {
			addrs = append(addrs, a)
		}
	}
	results := mysql.FanOut(ctx, addrs, d.FanOut, d.Timeout, func(ctx context.Context, a mysql.Addr) (bool, error) {
		store, err := d.status(tiers, s.Group, a)
		if err != nil {
			return false, err
		}
		return store.SetCutOver(ctx, a.Host, a.Port, s.Group, s.Table, word)
	})
	done := Done{Asked: len(addrs)}
	var errs []error
	for _, r := range results {
		switch {
		case r.Err != nil:
			errs = append(errs, fmt.Errorf("set cut_over=%s for %s.%s on %s: %w", word, s.Group, s.Table, r.Item, r.Err))
		case r.Value:
			done.Instances = append(done.Instances, r.Item)
			errs = append(errs, d.Store.Event(ctx, aoscdb.Event{Actor: s.By, Group: s.Group, Table: s.Table, Host: r.Item.Host, Port: r.Item.Port,
				What: aoscdb.EventCutOver, Detail: "aosc_osc_ww.cut_over=" + word}))
		}
	}
	for _, a := range s.Instances {
		if !slices.Contains(addrs, a) {
			errs = append(errs, fmt.Errorf("%s has no alter of %s.%s queued or running", a, s.Group, s.Table))
		}
	}
	return done, errors.Join(errs...)
}
