package writer

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/aosc/aosc/internal/mysql"
)

// seedBatch rows go in one statement: quick, and far below max_allowed_packet.
const seedBatch = 2000

// Seed fills the table with n rows, which then belong to the ledger. It comes before Start.
func (w *Writer) Seed(ctx context.Context, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range w.shards {
		rows := n / len(w.shards)
		if i < n%len(w.shards) {
			rows++
		}
		group.Go(func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			for rows > 0 {
				batch := min(rows, seedBatch)
				if err := w.seed(ctx, s, batch); err != nil {
					return fmt.Errorf("fill %s: %w", w.table, err)
				}
				rows -= batch
			}
			return nil
		})
	}
	return group.Wait()
}

func (w *Writer) seed(ctx context.Context, s *shard, rows int) error {
	args := make([]any, 0, 2*rows)
	from := len(s.states)
	for index := from; index < from+rows; index++ {
		id := s.id(index)
		args = append(args, id, Payload(id, 1))
	}
	query := "INSERT INTO " + w.table + " (" + mysql.QuoteIdent(w.o.ID) + ", " + mysql.QuoteIdent(w.o.Version) + ", " +
		mysql.QuoteIdent(w.o.Payload) + ") VALUES " + strings.TrimSuffix(strings.Repeat("(?, 1, ?), ", rows), ", ")
	if _, err := w.o.DB().ExecContext(ctx, query, args...); err != nil {
		return err
	}
	for index := from; index < from+rows; index++ {
		s.states = append(s.states, 1)
		s.live = append(s.live, index)
	}
	return nil
}
