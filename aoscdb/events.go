package aoscdb

import (
	"context"
)

const eventColumns = "id, at, actor, `group`, table_name, host, port, what, detail, COALESCE(statement, '')"

func (e *Event) fields() []any {
	return []any{&e.ID, &e.At, &e.Actor, &e.Group, &e.Table, &e.Host, &e.Port, &e.What, &e.Detail, &e.Statement}
}

// maxDetail is how many characters of an event's detail or an error are kept: a TEXT takes 65,535 bytes, a character up
// to four of them.
const maxDetail = 16000

// Event appends to the history. ID and At are filled by the database.
func (s *Store) Event(ctx context.Context, e Event) error {
	return wrap(addEvent(ctx, s.db, e), "write event %q to %s", e.What, s)
}

// addEvent appends to the history, in a transaction where q is one.
func addEvent(ctx context.Context, q querier, e Event) error {
	_, err := q.ExecContext(ctx, "INSERT INTO events (actor, `group`, table_name, host, port, what, detail, statement) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?, NULLIF(?, ''))", clip(e.Actor, 255), e.Group, e.Table, e.Host, e.Port, clip(e.What, 64),
		clip(e.Detail, maxDetail), e.Statement)
	return err
}

// RunEnds are the newest events by which an alter on an instance ended, of the last hour, the last one first.
func (s *Store) RunEnds(ctx context.Context, limit int) ([]Event, error) {
	rows, err := list(ctx, s.db, (*Event).fields, "SELECT "+eventColumns+" FROM events "+
		// Of a long history only the end is read.
		"WHERE id > (SELECT GREATEST(COALESCE(MAX(id), 0), 5000) - 5000 FROM (SELECT id FROM events ORDER BY id DESC LIMIT 1) AS newest) "+
		"AND at > NOW(6) - INTERVAL 1 HOUR AND host <> '' "+
		"AND what IN ('done', 'failed', 'withdrawn', 'forgotten', 'stopped', 'given back', 'removed', '"+EventBackOff+"') ORDER BY id DESC "+
		"LIMIT ?", limit)
	return rows, wrap(err, "read how alters ended in %s", s)
}

// History is the newest events, the last one first; of every tier and table where those are "".
func (s *Store) History(ctx context.Context, group, table string, limit int) ([]Event, error) {
	rows, err := list(ctx, s.db, (*Event).fields, "SELECT "+eventColumns+" FROM events "+
		"WHERE (? = '' OR `group` = ?) AND (? = '' OR table_name = ?) ORDER BY id DESC LIMIT ?",
		group, group, table, table, limit)
	return rows, wrap(err, "read the history in %s", s)
}
