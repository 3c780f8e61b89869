package executor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// startSQL is run by mysqld itself at every start, before anybody can log in: accounts by which somebody has locked cotton
// out are dropped, and cotton's own are unlocked. Nothing of it is logged (I7): each member does it for itself. Passwords are
// left alone.
func startSQL() string {
	own := fmt.Sprintf("(user IN ('%s', '%s') AND host = '%%')", cotton.AdminAccount, cotton.ReplicationAccount)
	lines := []string{"SET SESSION sql_log_bin = 0", "SET SESSION group_concat_max_len = 16777216"}
	for _, s := range []struct{ begin, end, where string }{
		{"DROP USER ", "", "LOWER(user) LIKE 'cotton\\_%' AND NOT " + own},
		{"ALTER USER ", " PASSWORD EXPIRE NEVER ACCOUNT UNLOCK", own + " AND (account_locked = 'Y' OR password_expired = 'Y')"},
	} {
		lines = append(lines,
			"SELECT CONCAT('"+s.begin+"', GROUP_CONCAT(QUOTE(user), '@', QUOTE(host)), '"+s.end+"') INTO @own FROM mysql.user WHERE "+s.where,
			"SET @own = IFNULL(@own, 'DO 0')", "PREPARE own FROM @own", "EXECUTE own", "DEALLOCATE PREPARE own")
	}
	return strings.Join(append(lines, ""), ";\n")
}

// stopEventsSQL has a server show that a statement has stopped its event scheduler: then the scheduler starts it once the server is the
// primary. Where its settings say that no event is to run, it stays off.
const stopEventsSQL = "SET GLOBAL event_scheduler = OFF;\n"

// writeStartSQL writes the statements, and more, onto the volume and returns where, for init_file.
func writeStartSQL(dir, more string) (string, error) {
	path := filepath.Join(dir, "accounts.sql")
	if err := os.WriteFile(path, []byte(startSQL()+more), 0o600); err != nil {
		return "", fmt.Errorf("write what mysqld does to its accounts at a start: %w", err)
	}
	return path, nil
}

const (
	// deniedLimit is how many looks in a row must be denied before mysqld is started again for its accounts.
	deniedLimit = 3
	// deniedAgain is the least time between two such starts: where they do not help, an operator must.
	deniedAgain = 10 * time.Minute
)

// denials counts looks that the server denied to its own executor.
type denials struct {
	inARow int
	ended  time.Time // when mysqld was last ended for that
}

// seen tells whether mysqld is to be started again, now that it answered with err.
func (d *denials) seen(err error, now time.Time) bool {
	if !mysql.IsNumber(err, mysql.ErrAccessDenied, mysql.ErrAccountLocked, mysql.ErrMustChangePassword) {
		d.inARow = 0
		return false
	}
	if d.inARow++; d.inARow < deniedLimit || !d.ended.IsZero() && now.Sub(d.ended) < deniedAgain {
		return false
	}
	d.inARow, d.ended = 0, now
	return true
}

// lockedOut ends a server that no longer lets its executor in: it comes back closed, with its accounts as they should be.
func (i *instance) lockedOut(err error) {
	why := "it does not let cotton in: its accounts are put right at the start"
	i.x.cfg.Log.Error("mysqld is ended: "+why, "instance", i.id, "error", err)
	server, _ := i.process()
	i.guard.expectKill(why)
	if err := server.Kill(); err != nil {
		i.x.cfg.Log.Error("mysqld cannot be ended", "instance", i.id, "error", err)
	}
}
