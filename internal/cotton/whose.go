package cotton

import (
	"slices"

	"github.com/aosc/aosc/internal/mysql"
)

// Whose a transaction is. Everything that has to tell a client's write from a stray one asks here, so that the diagnosis, the
// election and the repair of replicas never answer differently.
//
// A server numbers what is written on it with its own server_uuid; only gtid_next gives another one. So a transaction
//   - that is in Base, or numbered by the present primary, was given out by a primary: it may have been acknowledged;
//   - that carries the server_uuid of another member, and is not in Base, was either written on a member that takes no writes, or is
//     what a former primary had more than its successor: nobody was told that it is safe. It is errant (I7);
//   - that carries a UUID of no member came through a primary, from a client that sets gtid_next: it counts as acknowledged.

// Acknowledged is the lower bound of what was acknowledged: see Record.Base.
func (r Record) Acknowledged() (mysql.GTIDSet, error) { return mysql.ParseGTIDSet(r.Base) }

// RaiseBase adds to what an election must find.
func (r *Record) RaiseBase(set mysql.GTIDSet) error {
	base, err := r.Acknowledged()
	if err != nil {
		return err
	}
	r.Base = base.Union(set).String()
	return nil
}

// Errant are those transactions of a set that nobody was told are safe, as far as the record and these servers tell.
func Errant(r Record, seen []Seen, set mysql.GTIDSet) mysql.GTIDSet {
	d := decidingOn(r, seen, Limits{})
	return d.errantIn(set)
}

func (d *deciding) errantIn(set mysql.GTIDSet) (errant mysql.GTIDSet) {
	base, err := d.Acknowledged()
	if err != nil || len(d.Lineage) == 0 {
		return errant // nothing is known of who numbered what: nothing is given up
	}
	rest := set.Subtract(base)
	for _, uuid := range d.memberUUIDs() {
		if d.numbersNow(uuid) || d.Base == "" && slices.Contains(d.Lineage, uuid) {
			continue // a record of an earlier release has no base yet: what any primary numbered counts
		}
		errant = errant.Union(rest.Subtract(rest.Without(uuid)))
	}
	return errant
}

// fromPrimaries are those transactions of a set that a primary gave out, this one or one before it, acknowledged or not.
func (d *deciding) fromPrimaries(set mysql.GTIDSet) mysql.GTIDSet {
	for _, uuid := range d.memberUUIDs() {
		if !d.numbersNow(uuid) && !slices.Contains(d.Lineage, uuid) {
			set = set.Without(uuid)
		}
	}
	return set
}

// memberUUIDs are those of all servers that are, or were primaries while they were, members.
func (d *deciding) memberUUIDs() []string {
	all := slices.Clone(d.Lineage)
	for _, m := range d.Members {
		if s := d.seen[m.ID]; s.Answered && s.Server.UUID != "" && !slices.Contains(all, s.Server.UUID) {
			all = append(all, s.Server.UUID)
		}
	}
	return all
}

// numbersNow tells whether a server_uuid is the present primary's: that of the server that answers, or the one that was stored last,
// before the server was opened.
func (d *deciding) numbersNow(uuid string) bool {
	p := d.seen[d.Primary]
	return p.Answered && uuid == p.Server.UUID || len(d.Lineage) > 0 && uuid == d.Lineage[len(d.Lineage)-1]
}
