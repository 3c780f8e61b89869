package keyed

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// progressFormat is the version of what stands in a progress table. Progress of another format is thrown away.
const progressFormat = 1

// ProgressComment is the comment of a progress table.
const ProgressComment = "progress of a copy by aosc"

// Rows of a progress table. Those of chunks follow.
const (
	rowFence = 0 // the token of the run that may write
	rowHead  = 1
	rowChunk = 10
)

// head is what a progress table says besides chunks.
type head struct {
	Format   int       `json:"format"`
	From     string    `json:"from"` // Request.From
	To       string    `json:"to"`
	Clauses  string    `json:"clauses"`
	Lossy    []string  `json:"lossy"`
	Settings string    `json:"settings"` // what decides values
	Key      string    `json:"key"`      // by which rows are matched
	Ghost    string    `json:"ghost"`    // its definition, as a hash
	Began    time.Time `json:"began"`
	// Before is what was executed before anything was copied: every chunk has it.
	Before string `json:"before"`
	// Position is what of the log is applied: a copy that goes on reads all that is not in it.
	Position string `json:"position"`
	// Executed is what the server that wrote this had executed at that moment. All of it must be there where the copy goes on.
	Executed string `json:"executed"`
	// Prefix: chunks up to this one are done, and have no rows of their own any more.
	Prefix mark   `json:"prefix"`
	Copied uint64 `json:"copied"` // rows of the prefix
}

// mark is a point up to which all is copied.
type mark struct {
	ID   int   `json:"id"` // of the last chunk
	High value `json:"high"`
	End  bool  `json:"end"` // it was the last one of the table
}

// done is a chunk that is committed. IDs are in the order of the key.
type done struct {
	id   int
	span span
	rows uint64
}

// Saved is the progress of an earlier run of a copy.
type Saved struct {
	head
	chunks []done
	broken string // why it cannot be read
}

// Copied is how many rows it has.
func (s *Saved) Copied() uint64 {
	n := s.head.Copied
	for _, c := range s.chunks {
		n += c.rows
	}
	return n
}

// Source is the From of the table that was copied: what it must still be for the progress to be worth anything.
func (s *Saved) Source() string { return s.From }

// Find reads a progress table; nil when there is none, or the table of that name is something else.
func Find(ctx context.Context, db *sql.DB, database, table string) (*Saved, error) {
	var comment string
	err := db.QueryRowContext(ctx, "SELECT table_comment FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
		database, table).Scan(&comment)
	if errors.Is(err, sql.ErrNoRows) || err == nil && comment != ProgressComment {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the progress of an earlier copy: %w", err)
	}
	s, err := readSaved(ctx, db, mysql.QuoteIdents(database, table))
	if mysql.IsNoSuchTable(err) {
		return nil, nil
	}
	return s, err
}

func readSaved(ctx context.Context, q querier, table string) (*Saved, error) {
	rows, err := q.QueryContext(ctx, "SELECT id, low, high, moved, value FROM "+table+" WHERE id > ? ORDER BY id", rowFence)
	if mysql.IsNumber(err, mysql.ErrBadField) {
		return &Saved{broken: "it is of another version"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the progress of an earlier copy: %w", err)
	}
	defer rows.Close()
	s := &Saved{broken: "nothing was copied yet"}
	for rows.Next() {
		var id int
		var low, high, text string
		var moved uint64
		if err := rows.Scan(&id, &low, &high, &moved, &text); err != nil {
			return nil, fmt.Errorf("read the progress of an earlier copy: %w", err)
		}
		if id >= rowChunk {
			s.chunks = append(s.chunks, done{id - rowChunk, span{value(low), value(high)}, moved})
			continue
		}
		if err := json.Unmarshal([]byte(text), &s.head); err != nil {
			return &Saved{broken: "it cannot be read: " + err.Error()}, nil
		}
		s.broken = ""
	}
	if s.broken == "" && s.Format != progressFormat {
		s.broken = fmt.Sprintf("it is of format %d, this version reads %d", s.Format, progressFormat)
	}
	if s.broken == "" && s.Prefix.ID == 0 && len(s.chunks) == 0 {
		s.broken = "nothing was copied yet"
	}
	return s, rows.Err()
}

// where is the server on which a copy would go on, as far as progress depends on it.
type where struct {
	settings string
	ghost    string // definition, "" = missing
	executed mysql.GTIDSet
	purged   mysql.GTIDSet
}

// Judge tells why a copy cannot go on from what an earlier run has done, "" when it can.
func (s *Saved) Judge(ctx context.Context, req Request) (reason string, err error) {
	if s.broken != "" {
		return s.broken, nil
	}
	w, err := lookAround(ctx, req)
	if err != nil {
		return "", err
	}
	return s.stale(req, w), nil
}

// stale is the decision about progress that could be read, on what was read.
func (s *Saved) stale(req Request, w where) string {
	position, err := mysql.ParseGTIDSet(s.Position)
	if err != nil {
		return "its position cannot be read: " + err.Error()
	}
	executed, err := mysql.ParseGTIDSet(s.Executed)
	if err != nil {
		return "its position cannot be read: " + err.Error()
	}
	switch {
	case s.From != req.From:
		return "the table is no longer what was copied"
	case s.To != req.To || s.Clauses != req.Clauses:
		return "the table is to become something else"
	case !slices.Equal(s.Lossy, lossyList(req)):
		return "other losses are permitted"
	case w.ghost == "":
		return "the copy itself is gone"
	case s.Ghost != w.ghost:
		return "the copy was altered"
	case s.Settings != w.settings:
		return fmt.Sprintf("the server's settings were others (%s)", difference(s.Settings, w.settings))
	case !w.executed.Contains(executed):
		return fmt.Sprintf("it speaks of transactions that this server does not have (%s): they were lost with a former primary",
			executed.Subtract(w.executed))
	case !executed.Contains(position):
		return "its position is beyond what was executed"
	case !position.Contains(w.purged):
		return fmt.Sprintf("binary logs are purged that would have to be read (%s)", w.purged.Subtract(position))
	}
	if _, err := gaps(s.Prefix, s.chunks); err != nil {
		return err.Error()
	}
	return ""
}

// difference names the first setting that differs.
func difference(a, b string) string {
	as, bs := strings.Split(a, "; "), strings.Split(b, "; ")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return as[i] + ", now " + bs[i]
		}
	}
	return "another number of them"
}

func lossyList(req Request) []string {
	list := []string{}
	for c, is := range req.Lossy {
		if is {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return list
}

func lookAround(ctx context.Context, req Request) (w where, err error) {
	if w.ghost, err = ghostDefinition(ctx, req); err != nil {
		return w, err
	}
	if w.settings, err = valueSettings(ctx, req.DB); err != nil {
		return w, err
	}
	var executed, purged string
	if err := req.DB.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged").Scan(&executed, &purged); err != nil {
		return w, fmt.Errorf("read gtid_executed: %w", err)
	}
	if w.executed, err = mysql.ParseGTIDSet(executed); err != nil {
		return w, err
	}
	w.purged, err = mysql.ParseGTIDSet(purged)
	return w, err
}

var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// ghostDefinition is the ghost's, less its counter, as a hash; "" when there is no ghost.
func ghostDefinition(ctx context.Context, req Request) (hash string, err error) {
	err = withSession(ctx, req.DB, func(ctx context.Context, conn *sql.Conn) error {
		var name, text string
		err := conn.QueryRowContext(ctx, "SHOW CREATE TABLE "+mysql.QuoteIdents(req.Database, req.Ghost)).Scan(&name, &text)
		if mysql.IsNoSuchTable(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the definition of the copy: %w", err)
		}
		sum := sha256.Sum256([]byte(counter.ReplaceAllString(text, "")))
		hash = hex.EncodeToString(sum[:16])
		return nil
	})
	return hash, err
}

// valueSettings is what decides values in sessions that move rows, as text.
func valueSettings(ctx context.Context, db *sql.DB) (text string, err error) {
	err = withSession(ctx, db, func(ctx context.Context, conn *sql.Conn) error {
		if err := conn.QueryRowContext(ctx, "SELECT "+mysql.ValueSettings()).Scan(&text); err != nil {
			return fmt.Errorf("read the settings that decide values: %w", err)
		}
		return nil
	})
	return text, err
}

// gap is a range that no committed chunk covers, between chunks that are.
type gap struct {
	id   int
	span span
}

// gaps are the ranges that are not copied between those that are: their chunks were under way when a run ended. What comes after the last
// chunk is no gap.
func gaps(from mark, chunks []done) ([]gap, error) {
	sorted := slices.Clone(chunks)
	slices.SortFunc(sorted, func(a, b done) int { return cmp.Compare(a.id, b.id) })
	var out []gap
	at := from
	for _, c := range sorted {
		if c.id <= at.ID || at.End {
			return nil, errors.New("its chunks contradict each other")
		}
		if c.span.low != at.High {
			if c.id == at.ID+1 {
				return nil, errors.New("its chunks contradict each other")
			}
			out = append(out, gap{at.ID + 1, span{at.High, c.span.low}})
		}
		at = mark{c.id, c.span.high, c.span.high == ""}
	}
	return out, nil
}

// reached is how far the last committed chunk goes.
func reached(from mark, chunks []done) mark {
	for _, c := range chunks {
		if c.id > from.ID {
			from = mark{c.id, c.span.high, c.span.high == ""}
		}
	}
	return from
}

// describeKey tells keys that match rows in the same way from others.
func describeKey(k key) string {
	texts := make([]string, 0, len(k.parts)+1)
	texts = append(texts, k.name+" by "+k.index)
	for _, p := range k.parts {
		text := strings.ToLower(p.original.Name) + " " + p.original.Type + " " + p.original.Collation
		if p.descending {
			text += " desc"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
