package aoscdb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aosc/aosc/internal/mysql"
)

// maxIdent is how many characters an identifier may have.
const maxIdent = 64

// ViewName is the name of the view that lists the targets of an alter, as in the original: alter_<group>_<table>. A name
// that no server would take (over 64 characters, or letters outside of the basic plane) is shortened with a hash.
func ViewName(group, table string) string {
	name := "alter_" + group + "_" + table
	plain := strings.Map(func(r rune) rune {
		if r > 0xFFFF || r == 0 || r == utf8.RuneError {
			return '_'
		}
		return r
	}, name)
	if plain == name && utf8.RuneCountInString(name) <= maxIdent && !strings.HasSuffix(name, " ") {
		return name
	}
	// The separator makes ("a_b", "c") and ("a", "b_c") differ here, where nothing else tells them apart.
	sum := sha256.Sum256([]byte(group + "\x00" + table))
	hash := hex.EncodeToString(sum[:8])
	return clip(plain, maxIdent-1-len(hash)) + "_" + hash
}

// pair is the key of an alter.
type pair struct{ Group, Table string }

// RefreshView makes sure that the view of an alter exists. Its rows come from alter_targets by themselves. The view is
// DDL, so no lease can fence it: but whoever makes it makes the same.
func (s *Store) RefreshView(ctx context.Context, group, table string) error {
	name := ViewName(group, table)
	shared, err := s.namesakes(ctx, name, pair{group, table})
	if err == nil {
		err = s.makeView(ctx, name, append([]pair{{group, table}}, shared...))
	}
	return wrap(err, "make view %s in %s", mysql.QuoteIdent(name), s)
}

// DropView removes the view of an alter. One that is not there is no error.
func (s *Store) DropView(ctx context.Context, group, table string) error {
	name := ViewName(group, table)
	shared, err := s.namesakes(ctx, name, pair{group, table})
	switch {
	case err != nil:
	case len(shared) > 0:
		err = s.makeView(ctx, name, shared)
	default:
		s.setView(name, "")
		_, err = exec(ctx, s.db, "DROP VIEW IF EXISTS "+mysql.QuoteIdent(name))
	}
	return wrap(err, "drop view %s in %s", mysql.QuoteIdent(name), s)
}

// namesakes are the other current alters with a view of the same name: ("a_b", "c") and ("a", "b_c") have one. The name
// is the original's, so it stays; the view then lists the targets of both.
func (s *Store) namesakes(ctx context.Context, name string, but pair) ([]pair, error) {
	pairs, err := list(ctx, s.db, func(p *pair) []any { return []any{&p.Group, &p.Table} },
		"SELECT `group`, table_name FROM current_alters ORDER BY `group`, table_name")
	var out []pair
	for _, p := range pairs {
		if p != but && ViewName(p.Group, p.Table) == name {
			out = append(out, p)
		}
	}
	return out, err
}

// makeView creates or replaces the view, unless this process made it so before and it is still there.
func (s *Store) makeView(ctx context.Context, name string, pairs []pair) error {
	conditions := make([]string, len(pairs))
	for i, p := range pairs {
		conditions[i] = fmt.Sprintf("(`group` = %s AND table_name = %s)", mysql.QuoteString(p.Group), mysql.QuoteString(p.Table))
	}
	// With INVOKER the view outlives the account that made it.
	statement := "CREATE OR REPLACE SQL SECURITY INVOKER VIEW " + mysql.QuoteIdent(name) + " (host, port) AS " +
		"SELECT host, port FROM alter_targets WHERE " + strings.Join(conditions, " OR ")
	if s.view(name) == statement {
		var there int
		err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.views "+
			"WHERE table_schema = DATABASE() AND table_name = ?", name).Scan(&there)
		if err != nil || there > 0 {
			return err
		}
	}
	if _, err := exec(ctx, s.db, statement); err != nil {
		return err
	}
	s.setView(name, statement)
	return nil
}

func (s *Store) view(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.views[name]
}

func (s *Store) setView(name, statement string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if statement == "" {
		delete(s.views, name)
		return
	}
	s.views[name] = statement
}
