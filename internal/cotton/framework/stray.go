package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

var (
	faultAdopt = fault.Register("cotton.adopt.before",
		"a member's errant transactions are known, the primary has executed none of them yet")
	faultAdoptOne = fault.Register("cotton.adopt.one", "the primary has executed one of a member's errant transactions")
	faultAdopted  = fault.Register("cotton.adopt.executed", "the primary has executed a member's errant transactions, which is not stored")
)

const (
	// straysLimit bounds the reading of a member's binary logs.
	straysLimit = 30 * time.Second
	// straysTries is how often it is tried when the member does not answer.
	straysTries = 3
)

// strays is what is known, or being found out, of a member's errant transactions.
type strays struct {
	cotton.Strays
	tries int
	again time.Time // not before; zero = what is known is final
}

// inspect adds to what was seen of members what their errant transactions are. Binary logs are read in the background: they may be long.
func (d *driver) inspect(ctx context.Context, r cotton.Record, seen []cotton.Seen) {
	unknown := cotton.UnknownOf(r, seen)
	prepared := false
	for i := range seen {
		s := &seen[i]
		s.Strays, s.Prepared = nil, nil
		if set, any := unknown[s.Member]; any {
			s.Strays = d.straysOf(ctx, r, s.Member, set)
			prepared = prepared || s.Strays.Ends()
		} else {
			d.forgetStrays(s.Member)
		}
	}
	if !prepared {
		return
	}
	for i := range seen {
		if s := &seen[i]; s.Member == r.Primary && s.Err == nil {
			s.Prepared = d.preparedOnPrimary(ctx, r)
		}
	}
}

// straysOf is what is known of a member's errant transactions; what is not is begun to be read.
func (d *driver) straysOf(ctx context.Context, r cotton.Record, member int, set mysql.GTIDSet) *cotton.Strays {
	d.mu.Lock()
	defer d.mu.Unlock()
	memo := d.memo(member)
	known := memo.strays
	now := time.Now()
	switch {
	case known != nil && known.Reading:
		return new(known.Strays)
	case known == nil || !known.Of.Contains(set):
		known = &strays{}
	case known.again.IsZero():
		return new(known.Strays)
	case now.Before(known.again):
		return &cotton.Strays{Of: set, Reading: true}
	}
	reading := &strays{Strays: cotton.Strays{Of: set, Reading: true}, tries: known.tries + 1}
	memo.strays = reading
	d.running.Go(func() {
		list, err := d.readStrays(ctx, r, member, set)
		d.mu.Lock()
		defer d.mu.Unlock()
		defer d.c.poke()
		is := &strays{Strays: cotton.Strays{Of: set, List: list}, tries: reading.tries}
		if err != nil {
			d.f.cfg.Log.Warn("a member's errant transactions are not known", "cluster", r.Spec.Name, "member", member, "tries", is.tries, "error",
				err)
			is.Problem = err.Error()
			if mysql.IsConnection(err) && is.tries < straysTries {
				is.again = time.Now().Add(time.Second)
			}
		}
		if memo.strays == reading { // else it has been cloned meanwhile
			memo.strays = is
		}
	})
	return new(reading.Strays)
}

// forgetStrays drops what is known of a member's errant transactions: once it is cloned it numbers others with the same GTIDs.
func (d *driver) forgetStrays(member int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if memo := d.memos[member]; memo != nil {
		memo.strays = nil
	}
}

func (d *driver) readStrays(ctx context.Context, r cotton.Record, member int, set mysql.GTIDSet) ([]mysql.LoggedTransaction, error) {
	ctx, cancel := context.WithTimeout(ctx, straysLimit)
	defer cancel()
	m, ok := r.Member(member)
	if !ok {
		return nil, fmt.Errorf("%d is not a member", member)
	}
	db, err := d.db(*m)
	if err != nil {
		return nil, err
	}
	list, err := mysql.ReadLogged(ctx, db, set)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("reading the binary logs of %s took longer than %s", r.MemberName(member), straysLimit)
	}
	return list, err
}

// preparedOnPrimary are the XA transactions that are prepared on the primary; nil when it does not say.
func (d *driver) preparedOnPrimary(ctx context.Context, r cotton.Record) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, d.f.cfg.ProbeTimeout)
	defer cancel()
	db, err := d.primaryDB(r)
	if err != nil {
		return nil
	}
	ids, err := preparedIDs(ctx, db)
	if err != nil {
		d.f.cfg.Log.Warn("it is not known what is prepared on the primary", "cluster", r.Spec.Name, "error", err)
		return nil
	}
	return ids
}

// preparedIDs are the XA transactions that are prepared on a server, by PreparedXA.ID.
func preparedIDs(ctx context.Context, db *sql.DB) (map[string]bool, error) {
	list, err := mysql.Prepared(ctx, db)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, x := range list {
		ids[x.ID()] = true
	}
	return ids, nil
}

// adopt has the primary execute a member's errant transactions, under the GTIDs that they have. What was prepared is ended only once the
// member has applied all that the primary had executed when it still had it prepared: then both mean the same transaction. Any step may be
// lost: the same GTID is never executed twice, and what the primary has executed under another member's number is stored with the next
// look.
func (d *driver) adopt(ctx context.Context, r cotton.Record, m cotton.Member) error {
	seen := d.c.seenNow()
	list := cotton.Adoptable(r, seen, m.ID)
	if len(list) == 0 || r.Change != nil {
		return errUnchanged
	}
	primary, err := d.primaryDB(r)
	if err != nil {
		return err
	}
	member, err := d.db(m)
	if err != nil {
		return err
	}
	if s := (cotton.Strays{List: list}); s.Ends() {
		prepared, err := preparedIDs(ctx, primary)
		if err != nil {
			return err
		}
		if err := mysql.CatchUp(ctx, member, primary, waitStep); err != nil {
			if errors.Is(err, mysql.ErrNotApplied) {
				return errUnchanged
			}
			return err
		}
		for _, t := range list {
			if t.Kind != mysql.LoggedNothing && !prepared[t.XID.ID()] {
				return errUnchanged // ended meanwhile: what to do is decided anew
			}
		}
	}
	fault.Point(faultAdopt)
	var set mysql.GTIDSet
	var failed error
	var done []mysql.LoggedTransaction
	for _, t := range list {
		if failed = mysql.ExecuteAs(ctx, primary, t); failed != nil {
			break
		}
		one, err := mysql.ParseGTIDSet(t.GTID)
		if err != nil {
			return err
		}
		set, done = set.Union(one), append(done, t)
		fault.Point(faultAdoptOne)
	}
	if len(done) == 0 {
		return failed
	}
	fault.Point(faultAdopted)
	d.f.cfg.Log.Info("the primary has executed what a closed member had numbered", "cluster", r.Spec.Name, "member", m.ID, "transactions",
		set.String(), "of", len(list))
	err = d.f.change(ctx, d.c, func(stored *cotton.Record) error {
		if stored.Epoch != r.Epoch || stored.Primary != r.Primary {
			return errUnchanged
		}
		return stored.Adopted(m.ID, set, done, d.f.clock.now())
	})
	return errors.Join(failed, err)
}
