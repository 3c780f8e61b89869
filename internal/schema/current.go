package schema

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/internal/mysql"
)

// Ref names a table of a server.
type Ref struct{ Database, Table string }

func (r Ref) String() string { return mysql.QuoteIdents(r.Database, r.Table) }

// CurrentForms reads the normal forms of tables as they are. A table that does not exist is absent from the result.
// What stands under a table's name but is none (a view), or what Normalise cannot read, gets its own text as its form:
// it equals no desired form, and Diff says why. Equal texts share their memory.
func CurrentForms(ctx context.Context, db *sql.DB, refs []Ref) (map[Ref]Form, error) {
	forms := make(map[Ref]Form, len(refs))
	err := EachCurrent(ctx, db, refs, func(r Ref, f Form) error {
		forms[r] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return forms, nil
}

const (
	// showWorkers is how many connections read at once where there are many tables. SHOW CREATE TABLE is mostly
	// the server's CPU; two keep a core busy while the other side works, and leave the pool room.
	showWorkers = 2
	showBatch   = 64 // tables a worker takes at a time
)

// EachCurrent is CurrentForms for callers that keep less than the texts: fn gets each table that exists, in no order,
// one call at a time. An error of fn ends it: it is the last call.
func EachCurrent(ctx context.Context, db *sql.DB, refs []Ref, fn func(Ref, Form) error) error {
	s := &shower{fn: fn, known: map[string]Form{}}
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan []Ref)
	for range min(showWorkers, (len(refs)+showBatch-1)/showBatch) {
		g.Go(func() error {
			// ShowSession changes the connection for good: WithSession throws it away.
			mode := ""
			return mysql.WithSession(ctx, db, mysql.Session{SQLMode: &mode}, func(ctx context.Context, conn *sql.Conn) error {
				if err := ShowSession(ctx, conn); err != nil {
					return err
				}
				for batch := range work {
					for _, r := range batch {
						if err := s.show(ctx, conn, r); err != nil {
							return err
						}
					}
				}
				return nil
			})
		})
	}
	g.Go(func() error {
		defer close(work)
		for len(refs) > 0 {
			n := min(showBatch, len(refs))
			select {
			case work <- refs[:n]:
				refs = refs[n:]
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

// shower hands forms to fn. Tables of the same text, which most are where hundreds of databases share a schema, are
// normalised once.
type shower struct {
	mu    sync.Mutex
	fn    func(Ref, Form) error
	ended error           // what fn returned: it is not called again
	known map[string]Form // by SHOW CREATE TABLE less the counter
}

func (s *shower) show(ctx context.Context, conn *sql.Conn, r Ref) error {
	text, err := ShowCreate(ctx, conn, r.Database, r.Table)
	if mysql.IsNoSuchTable(err) || mysql.IsNoSuchDatabase(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil { // by what another connection brought
		s.ended = s.fn(r, s.form(text))
	}
	return s.ended
}

// maxKnown bounds the memory of one EachCurrent.
const maxKnown = 1024

func (s *shower) form(text string) Form {
	if f, ok := s.known[text]; ok {
		return f
	}
	f, err := Normalise(text)
	if err != nil {
		sum := sha256.Sum256([]byte(text))
		f = Form{Text: text, Hash: hex.EncodeToString(sum[:])}
	}
	// AUTO_INCREMENT counters make many texts of one form: let the equal ones share their memory.
	if same, ok := s.known[f.Hash+f.Text]; ok {
		f = same
	}
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[text], s.known[f.Hash+f.Text] = f, f
	return f
}

// CurrentForm is CurrentForms of one table; false when it does not exist.
func CurrentForm(ctx context.Context, db *sql.DB, database, table string) (Form, bool, error) {
	ref := Ref{database, table}
	forms, err := CurrentForms(ctx, db, []Ref{ref})
	if err != nil {
		return Form{}, false, fmt.Errorf("read the definition of %s: %w", ref, err)
	}
	f, ok := forms[ref]
	return f, ok, nil
}
