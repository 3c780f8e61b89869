package executor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
)

// limit says how long each rung of the ladder may take: to close by SQL, and to close once the clients' sessions have been
// ended. Zero skips the rung.
type limit struct{ alone, killed time.Duration }

// fenceLimits are of a fence: a new primary waits for it.
var fenceLimits = limit{500 * time.Millisecond, 500 * time.Millisecond}

// within shortens the limits to what is left; with nothing left both rungs are skipped.
func (l limit) within(left time.Duration) limit {
	if all := l.alone + l.killed; left < all {
		left = max(left, 0)
		return limit{left / 2, left / 2}
	}
	return l
}

var errNoServer = errors.New("there is no server yet")

// close makes the server super_read_only, or kills it: then it comes back so. It returns how it was closed, only once it
// was seen closed or dead.
//
// Semi-synchronous replication is never switched off for that: sessions that wait for an acknowledgement hold
// super_read_only up, and would commit what no replica has. A server with such sessions is killed.
func (i *instance) close(ctx context.Context, l limit, why string) (how string, err error) {
	server, starting := i.process()
	if server == nil {
		return "", errNoServer
	}
	if ended(server) {
		return dead, nil
	}
	if l.alone > 0 {
		how, err := i.closeBySQL(ctx, server.DB(), l)
		if err == nil {
			i.guard.note(why)
			return how, nil
		}
		switch {
		case ended(server):
			return dead, nil
		case starting && errors.Is(err, syscall.ECONNREFUSED): // it does not listen yet
			return "mysqld is starting, closed", nil
		}
		i.x.cfg.Log.Warn("mysqld does not close: killing it", "instance", i.id, "why", why, "error", err)
	}
	fault.Point(faultKill)
	i.guard.expectKill(why)
	if err := server.Kill(); err != nil {
		return "", fmt.Errorf("kill mysqld, which does not close: %w", err)
	}
	return "mysqld was killed", nil
}

// dead is how a server was closed that does not run: it comes back closed.
const dead = "mysqld does not run"

func ended(s *mysqld.Server) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// closeBySQL returns nil only when the server says that it is super_read_only. The statement goes on in the server when we
// give up waiting: no commit begins while it waits.
func (i *instance) closeBySQL(ctx context.Context, db *sql.DB, l limit) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.alone+l.killed)
	defer cancel()
	e, err := mysql.ReadExposure(ctx, db)
	if err != nil {
		return "", err
	}
	if e.Closed() {
		return "it was closed", nil
	}
	set := make(chan error, 1)
	go func() { set <- mysql.SetSuperReadOnly(ctx, db, true) }()
	timer := time.NewTimer(l.alone)
	defer timer.Stop()
	how := "super_read_only"
	select {
	case err = <-set:
	case <-timer.C:
		killed, killErr := i.clearWay(ctx, db)
		if killErr != nil {
			cancel()
			<-set
			return "", killErr
		}
		how = fmt.Sprintf("super_read_only, after %d sessions were ended", killed)
		err = <-set
	}
	if err != nil {
		return "", err
	}
	if e, err = mysql.ReadExposure(ctx, db); err != nil {
		return "", err
	}
	if !e.Closed() {
		return "", errors.New("it was opened again at once by somebody else")
	}
	if err := mysql.StopEvents(ctx, db); err != nil { // it writes nothing any more; the scheduler does it otherwise
		i.x.cfg.Log.Warn("a closed server still runs events", "instance", i.id, "error", err)
	}
	return how, nil
}

// clearWay ends the clients' sessions, unless some wait for an acknowledgement.
func (i *instance) clearWay(ctx context.Context, db *sql.DB) (int, error) {
	e, err := mysql.ReadExposure(ctx, db)
	if err != nil {
		return 0, err
	}
	if e.Waiting > 0 {
		return 0, fmt.Errorf("%d sessions wait for an acknowledgement of a replica", e.Waiting)
	}
	return mysql.KillClients(ctx, db, cotton.AdminAccount, cotton.ReplicationAccount)
}
