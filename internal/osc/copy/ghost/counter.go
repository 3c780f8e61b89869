package ghost

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// counterMargin is how many ids may be consumed between the last look at a table's counter and the swap, which gh-ost makes in a session
// of its own. As many are passed over. It is no more than a thousandth of those that are left.
const counterMargin = 1000

// largestID are the largest values of the types of an AUTO_INCREMENT column.
var largestID = map[string]uint64{"tinyint": math.MaxInt8, "smallint": math.MaxInt16, "mediumint": 1<<23 - 1, "int": math.MaxInt32,
	"bigint": math.MaxInt64}

// counterOf is where the counter of the copy has to stand when that of the table stands at next.
func counterOf(next uint64, dataType string, unsigned bool) uint64 {
	largest, ok := largestID[dataType]
	if !ok {
		return next // of a float: nobody can tell what is left
	}
	if unsigned {
		largest = 2*largest + 1
	}
	if next >= largest {
		return next
	}
	return next + min(counterMargin, (largest-next)/1000)
}

// keepCounter sets the AUTO_INCREMENT counter of the copy. gh-ost sets it when it makes the copy, and rows that are committed meanwhile
// move it; ids of transactions that were rolled back would come again.
func (c *run) keepCounter(ctx context.Context) error {
	session := mysql.Session{LockWaitTimeout: c.LockWaitTimeout}
	err := mysql.WithSession(ctx, c.DB, session, func(ctx context.Context, conn *sql.Conn) error {
		next, err := mysql.NextID(ctx, conn, c.Database, c.Table)
		if err != nil || !next.Valid {
			return err
		}
		has, err := mysql.NextID(ctx, conn, c.Database, c.Names.Ghost)
		if err != nil || !has.Valid {
			return err // the new definition has no such column
		}
		var dataType, columnType string
		err = conn.QueryRowContext(ctx, "SELECT data_type, column_type FROM information_schema.columns "+
			"WHERE table_schema = ? AND table_name = ? AND extra LIKE '%auto_increment%'", c.Database, c.Names.Ghost).Scan(&dataType,
			&columnType)
		if err != nil {
			return err
		}
		want := counterOf(next.V, strings.ToLower(dataType), strings.Contains(strings.ToLower(columnType), "unsigned"))
		if want <= has.V {
			return nil
		}
		_, err = conn.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s AUTO_INCREMENT = %d", mysql.QuoteIdents(c.Database, c.Names.Ghost), want))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the AUTO_INCREMENT counter: %w", err)
	}
	return nil
}
