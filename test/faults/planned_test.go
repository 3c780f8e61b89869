package faults

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
)

// planned are faults of a switchover: what clients do to the primary, and a target that is not ready.
var planned = []scenario{
	{number: "19", name: "switchover while a transaction is open, and a table is locked", changes: 1, gap: noGap, inject: func(r *run) {
		open := r.client(r.primary, "CREATE TABLE IF NOT EXISTS load_db.held (id INT)", "CREATE TABLE IF NOT EXISTS load_db.locked (id INT)",
			"BEGIN", "INSERT INTO load_db.held VALUES (1)")
		locking := r.client(r.primary, "LOCK TABLES load_db.locked WRITE")
		r.switchover(v1.Switchover{})
		for _, conn := range []*sql.Conn{open, locking} {
			if conn == nil {
				continue
			}
			if _, err := conn.ExecContext(r.t.Context(), "COMMIT"); err == nil && conn == open && r.moved() {
				r.bad("a transaction that was open when the primary was handed over could be committed on the old one")
			}
			_ = conn.Close()
		}
	}},
	{number: "19", name: "switchover under FLUSH TABLES WITH READ LOCK", changes: 1, gap: noGap, inject: func(r *run) {
		release := r.block(r.primary)
		r.switchover(v1.Switchover{})
		release()
	}},
	{number: "19", name: "switchover with all connections taken, and clients that come anew all the time", changes: 1, gap: noGap, inject: func(r *run) {
		end := r.crowd(2000)
		r.switchover(v1.Switchover{})
		end()
	}},
	{number: "20", name: "switchover to a target that lags", changes: 0, gap: noGap, inject: func(r *run) {
		release := r.block(r.replicas[0])
		r.hold(4 * time.Second)
		_, err := r.s.Client.Operate(r.t.Context(), clusterName, "switchover", v1.Switchover{To: r.replicas[0].ID, MaxLagSeconds: 2})
		if refused := (*client.Error)(nil); !errors.As(err, &refused) || refused.Reason.Code != v1.CodeRefused {
			r.bad("a switchover to a target that lags was not refused: %v", err)
		}
		release()
	}},
	{number: "20", name: "switchover to a target that does not catch up in time", changes: 2, gap: noGap, inject: func(r *run) {
		release := r.block(r.replicas[0])
		r.hold(2 * time.Second)
		if done := r.switchover(v1.Switchover{To: r.replicas[0].ID, WithinSeconds: 4}); !done.TakenBack {
			r.bad("a switchover to a target that applies nothing was not taken back: %+v", done)
		}
		release()
	}},
}

// switchover hands the primary over, and waits until that is done or taken back.
func (r *run) switchover(asked v1.Switchover) (last v1.Change) {
	ctx, cancel := context.WithTimeout(r.t.Context(), convergeLimit)
	defer cancel()
	before, err := r.s.Client.LastChange(ctx, clusterName)
	if err == nil {
		_, err = r.s.Client.Operate(ctx, clusterName, "switchover", asked)
	}
	if err == nil {
		last, err = r.s.Client.WaitChange(ctx, clusterName, before, nil)
	}
	if err != nil && !last.TakenBack {
		r.bad("switchover: %v", err)
	}
	return last
}

// moved tells whether another instance is published than at the beginning.
func (r *run) moved() bool {
	c, err := r.s.Client.Cluster(r.t.Context(), clusterName)
	r.do(err)
	return err == nil && c.Endpoints.Primary != nil && c.Endpoints.Primary.ID != r.primary.ID
}

// client is a connection of the application to an instance, on which these statements were executed.
func (r *run) client(i v1.Instance, statements ...string) *sql.Conn {
	db, err := r.load.pool.DB(cottonkit.Addr(i))
	r.do(err)
	if err != nil {
		return nil
	}
	conn, err := db.Conn(r.t.Context())
	r.do(err)
	for _, statement := range statements {
		if err == nil {
			_, err = conn.ExecContext(r.t.Context(), statement)
			r.do(err)
		}
	}
	return conn
}

// crowd takes all the connections that the primary has for clients, and has others come anew without a pause, until end: in
// all as many clients as said.
func (r *run) crowd(clients int) (end func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	pool := mysql.NewPool(cottonkit.App, mysql.Options{ConnectTimeout: clientDeadline, MaxOpen: clients})
	db, err := pool.DB(cottonkit.Addr(r.primary))
	r.do(err)
	var held, turned atomic.Int64
	var over sync.WaitGroup
	full := make(chan struct{})
	var once sync.Once
	for range clients {
		over.Go(func() {
			for ctx.Err() == nil {
				conn, err := db.Conn(ctx)
				if err != nil {
					if turned.Add(1); strings.Contains(err.Error(), "Too many connections") {
						once.Do(func() { close(full) })
					}
					continue
				}
				held.Add(1)
				for err == nil { // an idle client, until its session is ended
					select {
					case <-ctx.Done():
						err = ctx.Err()
					case <-time.After(time.Second):
						_, err = conn.ExecContext(ctx, "DO 1")
					}
				}
				conn.Close()
			}
		})
	}
	select {
	case <-full:
	case <-time.After(time.Minute):
		r.bad("the connections of the primary were not exhausted within a minute: %d were made", held.Load())
	}
	return func() {
		cancel()
		over.Wait()
		r.do(pool.Close())
		r.t.Logf("%d connections were made, %d attempts were turned away", held.Load(), turned.Load())
	}
}
