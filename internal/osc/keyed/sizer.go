package keyed

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

const (
	// ChunkTime is how long a chunk should take at full pace.
	ChunkTime  = 100 * time.Millisecond
	chunkFirst = 1000
	// chunkBytes is what a chunk has at least. A server that is busy takes ChunkTime for a few statements, whatever they do: chunks must
	// not get ever smaller for it.
	chunkBytes = 128 << 10
)

// sizes bound chunks, in rows.
type sizes struct{ least, most int }

// sizesOf are those of a table whose rows have so many bytes, 0 = not known.
func sizesOf(rowBytes uint64, most int) sizes {
	least := 1
	if rowBytes > 0 {
		least = int(max(chunkBytes/rowBytes, 1))
	}
	return sizes{min(least, most), most}
}

// first is the size to begin with.
func (s sizes) first() int { return min(chunkFirst, s.most) }

// next is how many rows the next chunk should have, after one of size rows took a time: nearer to the one it should take, by a factor of
// 2 at most upwards and of 4 downwards. A chunk that was cut short by the end of the table says little.
func (s sizes) next(size int, took, should time.Duration) int {
	took = max(took, time.Millisecond)
	next := int(float64(size) * float64(should) / float64(took))
	return min(max(min(max(next, size/4), size*2), s.least), s.most)
}

// sizeOf is how many rows a table has, and of how many bytes, as the storage engine estimates them at this moment.
func sizeOf(ctx context.Context, db *sql.DB, database, table string) (rows, rowBytes uint64, err error) {
	err = mysql.WithSession(ctx, db, mysql.Session{}, func(ctx context.Context, conn *sql.Conn) error {
		defer mysql.Discard(conn)
		if err := mysql.FreshStatistics(ctx, conn); err != nil {
			return err
		}
		return conn.QueryRowContext(ctx, "SELECT COALESCE(table_rows, 0), COALESCE(avg_row_length, 0) FROM information_schema.tables "+
			"WHERE table_schema = ? AND table_name = ?", database, table).Scan(&rows, &rowBytes)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the size of %s: %w", mysql.QuoteIdents(database, table), err)
	}
	return rows, rowBytes, nil
}
