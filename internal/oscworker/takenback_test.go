package oscworker

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// I6: allow_unsafe is read before the planning, which takes minutes where there are many databases. Taken back in that time, nothing is
// dropped, not even by an ALTER that takes no time: an answer to "may it go on" that was asked before the plans were known does not
// count.
func TestAllowUnsafeTakenBackWhilePlanning(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil, testkit.Lend(t, 2))
	for range 3 {
		f.database(tablePlain, 10)
	}
	f.allow(strings.Replace(tablePlain, "payload varchar(100) NOT NULL, ", "", 1))
	f.central("UPDATE allowed_alters SET allow_unsafe = 1")
	f.queue(f.primary)
	// The databases are looked up after the permission is read, and wait for this.
	err := mysql.WithSession(t.Context(), f.primary.DB(), mysql.Session{NoBinlog: true}, func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, "LOCK TABLES aosc.aosc_local_status WRITE"); err != nil {
			return err
		}
		f.worker("w1", nil)
		testkit.Eventually(t, patience, "the planning waits", func() bool {
			return testkit.Ask(t, f.primary, "SELECT COUNT(*) FROM performance_schema.processlist WHERE state LIKE 'Waiting for table%' "+
				"AND info LIKE '%aosc_local_status%'") != "0"
		})
		f.central("UPDATE allowed_alters SET allow_unsafe = 0")
		_, err := conn.ExecContext(ctx, "UNLOCK TABLES")
		return err
	})
	f.do(err)
	f.awaitLog("w1", "allow_unsafe was taken back")
	f.mustHave(f.primary, tablePlain)
	if h := f.history("stopped"); !strings.Contains(h, "altered 0 of 3") {
		t.Errorf("the history: %q", h)
	}
}
