package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
)

// sequences are faults that strike one after the other, where what the first one left behind decides what the second one does, and
// writes to members that should take none.
var sequences = []scenario{
	{number: "31", name: "replica cut off from the others, primary's machine lost, successor killed", cuts: true, changes: manyChanges, inject: func(r *run) {
		r.loneReplica(func(successor, lone v1.Instance) {
			r.kill(successor)
			r.neverOpen(lone, 20*time.Second)
		})
	}},
	{number: "31", name: "replica cut off from the others, primary's machine lost, for 40 s", cuts: true, changes: manyChanges, inject: func(r *run) {
		r.loneReplica(func(_, lone v1.Instance) { r.neverOpen(lone, 40*time.Second) })
	}},
	{number: "32", name: "XA COMMIT on a replica, then the primary is killed", changes: 1, inject: func(r *run) { r.commitOnReplica() }, end: (*run).xaKept},
	{number: "33", name: "FLUSH on both replicas, one of them a former primary, as the primary is killed", changes: manyChanges, inject: func(r *run) {
		r.switchover(v1.Switchover{})
		r.refresh()
		for _, i := range r.replicas {
			r.admin(i, "FLUSH STATUS")
		}
		r.kill(r.primary)
	}},
	{number: "33", name: "FLUSH on a replica", gap: noGap, inject: func(r *run) { r.admin(r.replicas[0], "FLUSH STATUS", "FLUSH TABLES", "FLUSH USER_RESOURCES") }},
	{number: "34", name: "writes with GTIDs of another system, received by one replica, then the primary is killed", changes: 1, inject: func(r *run) {
		r.foreign(r.replicas[0], r.replicas[1])
	}, end: (*run).foreignKept},
	{number: "36", name: "replica with a replication filter, then the primary is killed", changes: manyChanges, inject: func(r *run) {
		r.admin(r.replicas[0], "STOP REPLICA SQL_THREAD", "CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE = ('load\\_db.%')", "START REPLICA SQL_THREAD")
		r.hold(2 * time.Second)
		r.kill(r.primary)
	}},
	{number: "37", name: "both replicas delayed by 90 s, the primary frozen", changes: 1, gap: 40 * time.Second, inject: func(r *run) {
		for _, i := range r.replicas {
			r.admin(i, "STOP REPLICA SQL_THREAD", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 90", "START REPLICA SQL_THREAD")
		}
		r.hold(3 * time.Second)
		r.freeze(r.primary, 60*time.Second)
		for _, i := range r.replicas { // one that was not frozen has it still
			r.undelay(i)
		}
	}},
	{number: "37", name: "FLUSH TABLES WITH READ LOCK held on both replicas, the primary frozen", changes: 1, gap: 50 * time.Second, inject: func(r *run) {
		var locks []func()
		for _, i := range r.replicas {
			locks = append(locks, r.block(i))
		}
		r.hold(2 * time.Second)
		r.freeze(r.primary, 60*time.Second)
		for _, release := range locks {
			release()
		}
	}},
	{number: "38", name: "server outside acknowledges, both replicas cut off from the primary, its machine lost", cuts: true,
		changes: manyChanges, inject: func(r *run) {
			r.outsideAcknowledges()
		}},
}

// manyChanges is for faults in which a change of primary may begin, and be taken back, more than once: each counts.
const manyChanges = 12

// loneReplica cuts one replica off from the other members, not from the scheduler, has writes acknowledged without it, takes the
// primary's machine away, and goes on once the other replica was elected.
func (r *run) loneReplica(then func(successor, lone v1.Instance)) {
	successor, lone := r.replicas[0], r.replicas[1]
	address := r.bindReceivers(r.primary, lone)
	healSource := cottonkit.CutFrom(r.t, address, r.primary.Port)
	healSuccessor := cottonkit.CutFrom(r.t, address, successor.Port)
	cut := time.Now()
	r.until(convergeLimit, "writes are acknowledged without the lone replica", func() bool { return r.load.acknowledged(cut) > warmUp })
	healPrimary := cottonkit.Cut(r.t, r.primary.Port)
	r.lose(r.primary.Agent)
	if next, ok := r.nextPrimary(); ok {
		if next.ID != successor.ID {
			r.bad("I1: %s was elected, which has not received what was acknowledged", next.Name)
		}
		then(next, lone)
	}
	healSource()
	healSuccessor()
	healPrimary()
	r.find(r.primary.Agent)
}

// outsideAcknowledges has a server that is no member receive from the primary, and acknowledge, under an account that may replicate; then
// the
// replicas receive nothing for a while, and the primary's machine is lost.
func (r *run) outsideAcknowledges() {
	r.admin(r.primary, "CREATE USER IF NOT EXISTS outside IDENTIFIED BY 'o'", "GRANT REPLICATION SLAVE ON *.* TO outside")
	outside, err := mysqld.Start(r.t.Context(), mysqld.Options{Config: map[string]string{"rpl_semi_sync_replica_enabled": "ON"}})
	if err != nil {
		r.do(err)
		return
	}
	defer func() { r.do(outside.Remove()) }()
	// It begins with what the primary has: of a primary that was cloned nobody gets what came before.
	if db, err := r.pool.DB(cottonkit.Addr(r.primary)); err != nil {
		r.do(err)
	} else if has, err := mysql.GTIDExecuted(r.t.Context(), db); err != nil {
		r.do(err)
	} else {
		for _, statement := range []string{"RESET BINARY LOGS AND GTIDS", "SET GLOBAL gtid_purged = " + mysql.QuoteString(has.String())} {
			_, err := outside.DB().ExecContext(r.t.Context(), statement)
			r.do(err)
		}
	}
	r.do(mysql.ChangeSource(r.t.Context(), outside.DB(), mysql.SourceOptions{Addr: cottonkit.Addr(r.primary), SSL: true, User: "outside",
		Password:     "o",
		ConnectRetry: time.Second, RetryCount: 1000}))
	_, err = outside.DB().ExecContext(r.t.Context(), "START REPLICA IO_THREAD")
	r.do(err)
	r.until(10*time.Second, "the server outside is found out", func() bool {
		c, err := r.s.Client.Cluster(r.t.Context(), clusterName)
		return err == nil && slices.ContainsFunc(c.Problems, func(p string) bool {
			return strings.Contains(p,
				"from outside the cluster acknowledge")
		})
	})
	address := r.bindReceivers(r.primary, r.replicas...)
	r.hold(2 * time.Second)
	healReplicas := cottonkit.CutFrom(r.t, address, r.primary.Port)
	r.hold(4 * time.Second)
	healPrimary := cottonkit.Cut(r.t, r.primary.Port)
	r.lose(r.primary.Agent)
	r.nextPrimary()
	r.find(r.primary.Agent)
	r.hold(8 * time.Second) // it is closed meanwhile: connections that are dead and not known to be so count as able to acknowledge
	healReplicas()
	healPrimary()
}

// neverOpen looks for a while whether an instance is opened for writes, which it must not be.
func (r *run) neverOpen(i v1.Instance, d time.Duration) {
	db, err := r.pool.DB(cottonkit.Addr(i))
	r.do(err)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); err == nil && time.Now().Before(end); <-tick.C {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		var closed bool
		if db.QueryRowContext(ctx, "SELECT @@read_only").Scan(&closed) == nil && !closed {
			r.bad("I1: %s is open for writes, and lacks what was acknowledged", i.Name)
			d = 0
		}
		cancel()
		if d == 0 {
			return
		}
	}
}

// refresh reads again who is the primary.
func (r *run) refresh() {
	r.until(convergeLimit, "the cluster is well", func() bool {
		c, problem := healthy(r.t.Context(), r.s, r.pool, clusterName)
		if problem == "" {
			r.primary, r.replicas, _ = cottonkit.Primary(c)
		}
		return problem == ""
	})
}

// admin executes statements as the administrator, who may what no client should.
func (r *run) admin(i v1.Instance, statements ...string) {
	conn := r.session(i)
	if conn == nil {
		return
	}
	for _, statement := range statements {
		if _, err := conn.ExecContext(r.t.Context(), statement); err != nil {
			r.bad("%s on %s: %v", statement, i.Name, err)
		}
	}
	_ = conn.Close()
}

// undelay takes back a delay set by hand, of a member that is a replica still.
func (r *run) undelay(i v1.Instance) {
	db, err := r.pool.DB(cottonkit.Addr(i))
	r.do(err)
	if status, err := mysql.ReadReplicaStatus(r.t.Context(), db); err == nil && status != nil && status.Delay > 0 {
		r.do(mysql.EndDelay(r.t.Context(), db))
	}
}

// commitOnReplica prepares a transaction at the primary and commits it on a replica, as a client does that still holds an address of
// before a switchover.
func (r *run) commitOnReplica() {
	prepare := r.client(r.primary, "CREATE TABLE IF NOT EXISTS load_db.xa (id INT PRIMARY KEY)", "XA START 'f1'", "INSERT INTO load_db.xa VALUES (1)", "XA END 'f1'",
		"XA PREPARE 'f1'")
	if prepare == nil {
		return
	}
	_ = prepare.Raw(func(c any) error { return c.(interface{ Close() error }).Close() })
	_ = prepare.Close()
	db, err := r.pool.DB(cottonkit.Addr(r.replicas[0]))
	r.do(err)
	r.until(time.Minute, "the replica has the prepared transaction", func() bool {
		rows, err := db.QueryContext(r.t.Context(), "XA RECOVER")
		if err != nil {
			return false
		}
		defer rows.Close()
		return rows.Next()
	})
	if conn := r.client(r.replicas[0]); conn != nil {
		_, err := conn.ExecContext(r.t.Context(), "XA COMMIT 'f1'")
		r.t.Logf("XA COMMIT on a replica: %v", err)
		_ = conn.Close()
	}
	r.kill(r.primary)
}

// xaKept: what a client was told to be committed is there on every member, and where it was told that it is not, it can be committed now.
func (r *run) xaKept(c v1.Cluster) {
	primary, replicas, _ := cottonkit.Primary(c)
	if conn := r.client(primary); conn != nil {
		_, err := conn.ExecContext(r.t.Context(), "XA COMMIT 'f1'")
		r.t.Logf("XA COMMIT on the primary afterwards: %v", err)
		_ = conn.Close()
	}
	r.everywhere(append(replicas, primary), "SELECT COUNT(*) FROM load_db.xa WHERE id = 1", 1, "the row of the XA transaction")
	r.admin(primary, "DROP TABLE load_db.xa")
}

// everywhere waits for a query to give a number on every instance.
func (r *run) everywhere(on []v1.Instance, query string, want int, what string) {
	for _, i := range on {
		var got int
		var err error
		if !r.until(time.Minute, what+" is on "+i.Name, func() bool {
			db, e := r.pool.DB(cottonkit.Addr(i))
			if err = e; e == nil {
				err = db.QueryRowContext(r.t.Context(), query).Scan(&got)
			}
			return err == nil && got == want
		}) {
			r.bad("I1: %s: %d of %d on %s: %v", what, got, want, i.Name, err)
		}
	}
}

const foreignRows = 20

// foreign writes what another system numbered, as mysqlbinlog piped into mysql does, while one replica receives nothing, and kills the primary.
func (r *run) foreign(receives, hangs v1.Instance) {
	conn := r.session(r.primary)
	if conn == nil {
		return
	}
	defer conn.Close()
	exec := func(statement string) {
		if _, err := conn.ExecContext(r.t.Context(), statement); err != nil && !errors.Is(err, sql.ErrConnDone) {
			r.bad("%s: %v", statement, err)
		}
	}
	exec("CREATE TABLE IF NOT EXISTS load_db.foreigners (id INT PRIMARY KEY)")
	exec("TRUNCATE load_db.foreigners")
	r.everywhere([]v1.Instance{receives, hangs}, "SELECT COUNT(*) FROM load_db.foreigners", 0, "the empty table")
	pid := r.s.Mysqld(r.task(hangs))
	r.s.Signal(pid, syscall.SIGSTOP)
	uuid := fmt.Sprintf("%08x-0000-4000-8000-000000000000", uint32(time.Now().UnixNano()))
	for n := range foreignRows {
		exec(fmt.Sprintf("SET gtid_next = '%s:%d'", uuid, n+1))
		exec(fmt.Sprintf("INSERT INTO load_db.foreigners VALUES (%d)", n))
	}
	exec("SET gtid_next = AUTOMATIC")
	r.kill(r.primary)
	r.s.Signal(pid, syscall.SIGCONT)
}

func (r *run) foreignKept(c v1.Cluster) {
	primary, replicas, _ := cottonkit.Primary(c)
	r.everywhere(append(replicas, primary), "SELECT COUNT(*) FROM load_db.foreigners", foreignRows, "what another system numbered")
	if slices.ContainsFunc(r.problems, func(p string) bool { return strings.HasPrefix(p, "I1") }) {
		r.t.Logf("the primary was %s, it is %s", r.primary.Name, primary.Name)
	}
}
