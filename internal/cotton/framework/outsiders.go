package framework

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// outsiders finds out who acknowledges to the primary and is no member: under another account than the members', which nobody else has the
// password of, or a server that was a member once. They are taken off those that acknowledge.
func (d *driver) outsiders(ctx context.Context, db *sql.DB, r cotton.Record, s *cotton.Seen) error {
	all, err := mysql.ReadAcknowledgers(ctx, db)
	if err != nil || len(all) == 0 {
		return err
	}
	members := map[string]bool{}
	seen, _ := d.c.last()
	for _, m := range r.Members {
		members[seen[m.ID].Server.UUID] = true
	}
	own := func(a mysql.Acknowledger) bool { return a.User == cotton.ReplicationAccount && members[a.UUID] }
	if !slices.ContainsFunc(all, func(a mysql.Acknowledger) bool { return !own(a) }) {
		return nil
	}
	ids, err := mysql.ReadServerIDs(ctx, db)
	if err != nil {
		return err
	}
	for _, a := range all {
		id, known := ids[a.UUID]
		isMember := slices.ContainsFunc(r.Members, func(m cotton.Member) bool { return m.ServerID() == id })
		if own(a) || a.User == cotton.ReplicationAccount && (!known || isMember) { // one that has just come is not listed yet
			continue
		}
		s.Outsiders = append(s.Outsiders, a)
	}
	s.SemiSync.Clients = max(s.SemiSync.Clients-len(s.Outsiders), 0)
	return nil
}

// foreign is how many acknowledgements at a primary may have come from outside of the cluster; d.mu is held.
type foreign struct {
	primary int
	most    int // of the last cotton.OutsideFor
	at      time.Time
}

// look takes what was seen of the primary, and notes there what counts from now on.
func (f *foreign) look(s *cotton.Seen, now time.Time) {
	if f.primary != s.Member {
		*f = foreign{primary: s.Member}
	}
	n := len(s.Outsiders)
	switch {
	case s.Err != nil:
	case n >= f.most:
		f.most, f.at = n, now
	case now.Sub(f.at) > cotton.OutsideFor:
		f.most, f.at = n, now
	}
	s.Foreign = f.most
}

// foreignNow is how many acknowledgements more the primary is to ask for.
func (d *driver) foreignNow(r cotton.Record) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.foreign.primary != r.Primary {
		return 0
	}
	return d.foreign.most
}
