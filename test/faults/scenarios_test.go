package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
)

// scenario is one fault. inject returns once it is over, or undone.
type scenario struct {
	number  string // of the list in docs/faults.md
	name    string
	short   bool // runs in every test, not only in make faults
	zk      bool // the store and the discovery are in ZooKeeper
	cuts    bool // ports are cut off
	disk    bool // agents have small disks of their own
	volumes bool // agents' volumes are on block devices of their own
	// replaces: who is away for replaceAfter is replaced, and there is a fourth agent for that.
	replaces bool
	policy   cotton.Policy // empty = lossless
	person   string        // what the cluster asks a person for at the end, instead of being well again
	// mayAsk is what the cluster may ask a person for instead: it depends on what was under way as the fault struck.
	mayAsk  string
	changes int // of primary that are right at most
	gap     time.Duration
	inject  func(*run)
	end     func(*run, v1.Cluster) // what must be true besides, once all is well again; nil = nothing
}

// Bounds of write gaps are for a busy machine: what is right is measured by benchmarks.
const (
	noGap  = 8 * time.Second
	anyGap = 0
)

var scenarios = slices.Concat(broken, planned, agents, sequences)

// broken are faults of machines, processes, networks and disks.
var broken = []scenario{
	{number: "2", name: "kill -9 of the primary", short: true, changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		r.kill(r.primary)
	}},
	{number: "1", name: "kill -9 of the primary's executor", changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		r.s.Signal(r.s.Executor(r.primary.TaskID), syscall.SIGKILL)
	}},
	{number: "3", name: "primary frozen for 30 s", changes: 1, gap: 60 * time.Second, inject: func(r *run) {
		r.freeze(r.primary, 30*time.Second)
	}},
	{number: "4", name: "primary isolated for 30 s, agent and port", cuts: true, changes: 1, gap: 60 * time.Second, inject: func(r *run) {
		heal := cottonkit.Cut(r.t, r.primary.Port)
		r.lose(r.primary.Agent)
		r.hold(30 * time.Second)
		heal()
		r.find(r.primary.Agent)
	}},
	{number: "4", name: "primary's port cut off for 30 s, agent there", cuts: true, changes: 1, gap: 60 * time.Second, inject: func(r *run) {
		heal := cottonkit.Cut(r.t, r.primary.Port)
		r.hold(30 * time.Second)
		heal()
	}},
	// Without a replica its commits go on after a second: nothing fences it but its executor, when the lease has run out. What it
	// told clients until then is not thrown away.
	{number: "4", name: "available: primary isolated for 40 s, agent and port", cuts: true, policy: cotton.PolicyAvailable, changes: 1, gap: 30 * time.Second,
		person: "clients may have been told of", inject: func(r *run) {
			onItsMachine := r.local(r.primary)
			heal := cottonkit.Cut(r.t, r.primary.Port)
			r.lose(r.primary.Agent)
			onItsMachine("CREATE DATABASE told_alone")
			r.hold(40 * time.Second)
			heal()
			r.find(r.primary.Agent)
		}},
	// Whether writes that no replica received were acknowledged cannot be known: they are kept, and an operator decides.
	{number: "2", name: "available: kill -9 of the primary", policy: cotton.PolicyAvailable,
		mayAsk: "clients may have been told of", changes: 1, gap: 30 * time.Second, inject: func(r *run) {
			r.kill(r.primary)
		}},
	{number: "5", name: "primary cut off from its replicas alone for 40 s", cuts: true, changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		heal := cottonkit.CutFrom(r.t, r.bindReceivers(r.primary, r.replicas...), r.primary.Port)
		r.hold(40 * time.Second)
		heal()
	}},
	{number: "6", name: "primary killed while both replicas hang for 10 s", changes: 1, inject: func(r *run) {
		for _, i := range r.replicas {
			r.s.Signal(r.s.Mysqld(i.TaskID), syscall.SIGSTOP)
		}
		r.kill(r.primary)
		r.hold(10 * time.Second)
		r.thaw(r.replicas...)
	}},
	{number: "6", name: "primary killed while one replica hangs for 10 s", changes: 1, inject: func(r *run) {
		r.s.Signal(r.s.Mysqld(r.replicas[0].TaskID), syscall.SIGSTOP)
		r.kill(r.primary)
		r.hold(10 * time.Second)
		r.thaw(r.replicas[0])
	}},
	{number: "7", name: "scheduler frozen for 20 s", gap: noGap, inject: func(r *run) {
		r.s.Signal(r.sched.Pid(), syscall.SIGSTOP)
		r.hold(20 * time.Second)
		r.s.Signal(r.sched.Pid(), syscall.SIGCONT)
	}},
	{number: "7", name: "scheduler killed, back after 20 s", short: true, gap: noGap, inject: func(r *run) {
		r.restartScheduler(20 * time.Second)
	}},
	{number: "8", name: "new primary killed as soon as it is published", changes: 2, inject: func(r *run) {
		r.kill(r.primary)
		if next, ok := r.nextPrimary(); ok {
			r.kill(next)
		}
	}},
	{number: "9", name: "a replica killed 300 ms into the failover", changes: 2, inject: func(r *run) {
		r.kill(r.primary)
		r.hold(300 * time.Millisecond)
		r.kill(r.replicas[0])
	}},
	{number: "10", name: "primary frozen 5 s, running 4 s, four times", changes: 4, inject: func(r *run) {
		for range 4 {
			if pid := r.s.Mysqld(r.primary.TaskID); pid != 0 {
				r.s.Signal(pid, syscall.SIGSTOP)
				r.hold(5 * time.Second)
				r.s.Signal(pid, syscall.SIGCONT)
			}
			r.hold(4 * time.Second)
		}
	}},
	{number: "11", name: "scheduler killed 500 ms into a failover", changes: 1, inject: func(r *run) {
		r.kill(r.primary)
		r.hold(500 * time.Millisecond)
		r.restartScheduler(0)
	}},
	{number: "12", name: "ZooKeeper frozen for 30 s", zk: true, gap: noGap, inject: func(r *run) {
		r.s.ZK.Servers[0].Pause()
		r.hold(30 * time.Second)
		r.s.ZK.Servers[0].Resume()
		r.reviveScheduler()
	}},
	{number: "13", name: "primary killed, ZooKeeper frozen 300 ms later for 10 s", zk: true, changes: 1, inject: func(r *run) {
		r.kill(r.primary)
		r.hold(300 * time.Millisecond)
		r.s.ZK.Servers[0].Pause()
		r.hold(10 * time.Second)
		r.s.ZK.Servers[0].Resume()
		r.reviveScheduler()
	}},
	{number: "13", name: "scheduler frozen 300 ms into a failover, a standby takes over", zk: true, changes: 1, inject: func(r *run) {
		standby := r.s.Standby()
		r.hold(2 * time.Second)
		r.kill(r.primary)
		r.hold(300 * time.Millisecond)
		r.s.Signal(r.sched.Pid(), syscall.SIGSTOP)
		r.until(convergeLimit, "the standby leads", func() bool { return standby.Says("subscribed to Mesos") })
		r.s.Signal(r.sched.Pid(), syscall.SIGCONT)
		r.until(convergeLimit, "the one before has ended", r.sched.Ended)
		r.sched = standby
	}},
	{number: "15", name: "replica with unapplied relay log killed, then the primary", changes: 1, inject: func(r *run) {
		release := r.block(r.replicas[0])
		r.hold(2 * time.Second)
		r.kill(r.replicas[0])
		release()
		r.kill(r.primary)
	}},
	{number: "16", name: "torn relay log of a replica", changes: 0, inject: func(r *run) {
		r.tearRelayLog(r.replicas[0])
	}},
	{number: "17", name: "applier of a replica fails, then the primary is killed", changes: 1, inject: func(r *run) {
		r.write(r.replicas[0], "SET SESSION sql_log_bin = 0", "DROP TABLE "+r.load.table())
		r.hold(2 * time.Second)
		r.kill(r.primary)
	}},
	// What the primary has in its binary log, and nobody received, is errant when it is back; the one that could follow has defective data.
	{number: "17", name: "applier of a replica fails, then the primary is killed with commits that nobody received", cuts: true, changes: 1,
		gap: 30 * time.Second, inject: func(r *run) {
			r.write(r.replicas[0], "SET SESSION sql_log_bin = 0", "DROP TABLE "+r.load.table())
			heal := cottonkit.CutFrom(r.t, r.bindReceivers(r.primary, r.replicas...), r.primary.Port)
			r.hold(time.Second)
			r.kill(r.primary)
			heal()
		}},
	{number: "18", name: "disk of the primary full for 20 s", disk: true, changes: 1, inject: func(r *run) {
		free := r.s.FillDisk(r.t, r.primary.Agent)
		r.hold(20 * time.Second)
		free()
	}},
	{number: "18", name: "disk of the primary stalled for 30 s", volumes: true, changes: 1, gap: 25 * time.Second, inject: func(r *run) {
		heal := r.s.StallVolumes(r.t, r.primary.Agent)
		r.hold(30 * time.Second)
		heal()
	}},
	{number: "18", name: "file system of the primary read-only for 20 s", volumes: true, changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		repair := r.s.BreakVolumes(r.primary.Agent)
		r.hold(20 * time.Second)
		var err error
		if !r.until(time.Minute, "the file system is repaired", func() bool { err = repair(); return err == nil }) {
			r.bad("at last: %v", err)
		}
	}},
	{number: "21", name: "errant transaction on a replica", short: true, gap: noGap, inject: func(r *run) {
		r.write(r.replicas[0], "CREATE DATABASE errant")
	}},
	{number: "22", name: "replica killed while it is cloned", gap: noGap, inject: func(r *run) {
		r.cloneAnew(r.replicas[0])
		r.kill(r.replicas[0])
		_ = r.limitClones(r.replicas[0], 0) // of the one that was killed there is none
	}},
	{number: "22", name: "donor killed while a replica is cloned", changes: 1, inject: func(r *run) {
		r.cloneAnew(r.replicas[0])
		r.kill(r.primary)
		_ = r.limitClones(r.replicas[0], 0)
	}},
	{number: "23", name: "two failovers without a write", changes: 2, inject: func(r *run) {
		r.load.w.Stop()
		defer r.revive()
		r.kill(r.primary)
		next, ok := r.nextPrimary()
		if !ok {
			return
		}
		r.until(convergeLimit, "the cluster is well after the first failover", func() bool {
			_, problem := healthy(r.t.Context(), r.s, r.pool, clusterName)
			return problem == ""
		})
		r.kill(next)
	}},
	{number: "24", name: "agent of the primary killed, back after 3 s", gap: noGap, inject: func(r *run) {
		r.do(r.s.Mini.KillAgent(r.primary.Agent))
		r.hold(3 * time.Second)
		r.do(r.s.Mini.StartAgent(r.primary.Agent))
	}},
	{number: "24", name: "kill -9 of a replica", gap: noGap, inject: func(r *run) {
		r.kill(r.replicas[0])
	}},
	{number: "24", name: "kill -9 of a replica's executor", gap: noGap, inject: func(r *run) {
		r.s.Signal(r.s.Executor(r.replicas[0].TaskID), syscall.SIGKILL)
	}},
	{number: "25", name: "agent of the primary lost from sight for 20 s", changes: 1, inject: func(r *run) {
		r.lose(r.primary.Agent)
		r.hold(20 * time.Second)
		r.find(r.primary.Agent)
	}},
	{number: "25", name: "agent of a replica lost from sight for 20 s", gap: noGap, inject: func(r *run) {
		r.lose(r.replicas[0].Agent)
		r.hold(20 * time.Second)
		r.find(r.replicas[0].Agent)
	}},
	{number: "27", name: "no Mesos master leads for 15 s, the primary killed meanwhile", changes: 1, inject: func(r *run) {
		r.s.Mini.Standby("")
		r.hold(2 * time.Second)
		r.kill(r.primary)
		r.hold(13 * time.Second)
		r.s.Mini.Lead()
	}},
}

func (r *run) do(err error) {
	if err != nil {
		r.bad("the fault could not be made: %v", err)
	}
}

// kill ends an instance's mysqld as a crash does.
func (r *run) kill(i v1.Instance) {
	var pid int
	if r.until(30*time.Second, "mysqld of "+i.Name+" runs", func() bool { pid = r.s.Mysqld(r.task(i)); return pid != 0 }) {
		r.s.Signal(pid, syscall.SIGKILL)
	}
}

// task is an instance's present task.
func (r *run) task(i v1.Instance) string { return r.now(i).TaskID }

// now is an instance as the API has it; as it was before, if that does not answer.
func (r *run) now(i v1.Instance) v1.Instance {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
	defer cancel()
	if c, err := r.s.Client.Cluster(ctx, clusterName); err == nil {
		for _, now := range c.Instances {
			if now.ID == i.ID {
				return now
			}
		}
	}
	return i
}

// freeze stops an instance's mysqld for a while; its executor may end it meanwhile.
func (r *run) freeze(i v1.Instance, d time.Duration) {
	pid := r.s.Mysqld(i.TaskID)
	r.s.Signal(pid, syscall.SIGSTOP)
	r.hold(d)
	r.s.Signal(pid, syscall.SIGCONT)
}

func (r *run) thaw(list ...v1.Instance) {
	for _, i := range list {
		if pid := r.s.Mysqld(r.task(i)); pid != 0 {
			r.s.Signal(pid, syscall.SIGCONT)
		}
	}
}

func (r *run) lose(agent string) { r.do(r.s.Mini.LoseAgent(agent)) }
func (r *run) find(agent string) { r.do(r.s.Mini.StartAgent(agent)) }

// nextPrimary waits for another primary to be published.
func (r *run) nextPrimary() (next v1.Instance, ok bool) {
	ok = r.until(convergeLimit, "another primary is published", func() bool {
		c, err := r.s.Client.Cluster(r.t.Context(), clusterName)
		if err != nil {
			return false
		}
		var published bool
		next, _, published = cottonkit.Primary(c)
		return published && next.ID != r.primary.ID
	})
	return next, ok
}

// restartScheduler kills the scheduler and starts another after a while.
func (r *run) restartScheduler(after time.Duration) {
	r.do(r.sched.Kill())
	r.hold(after)
	r.sched = r.s.Scheduler("")
	r.s.Ready()
}

// reviveScheduler does what a supervisor does: a scheduler that lost its lock has ended, and is started again.
func (r *run) reviveScheduler() {
	ready := func() bool {
		ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
		defer cancel()
		h, err := r.s.Client.Health(ctx)
		return err == nil && h.Ready
	}
	r.until(convergeLimit, "a scheduler leads", func() bool {
		if r.sched.Ended() {
			r.sched = r.s.Scheduler("")
		}
		return ready()
	})
}

// revive starts another load, after the first was stopped.
func (r *run) revive() {
	first := r.load
	first.end()
	r.earlier = append(r.earlier, first)
	var err error
	if !r.until(convergeLimit, "it can be written again", func() bool {
		var l *load
		if l, err = startLoad(r.s, clusterName); err == nil {
			r.load = l
		}
		return err == nil
	}) {
		r.bad("at last: %v", err)
	}
}

var bound int // how many times bindReceivers was called: each has another address, since replicas stay bound

// bindReceivers has replicas receive from an address from which nobody else connects, so that they can be cut off from the
// primary while the scheduler, its executor and clients are not.
func (r *run) bindReceivers(primary v1.Instance, replicas ...v1.Instance) (address string) {
	bound++
	address = fmt.Sprintf("127.0.%d.9", bound)
	for _, i := range replicas {
		conn := r.session(i)
		if conn == nil {
			return address
		}
		for _, statement := range []string{"STOP REPLICA IO_THREAD", "CHANGE REPLICATION SOURCE TO SOURCE_BIND = '" + address + "'", "START REPLICA IO_THREAD"} {
			_, err := conn.ExecContext(r.t.Context(), statement)
			r.do(err)
		}
		_ = conn.Close()
		var problem string
		if !r.until(convergeLimit, "the replica follows from an address of its own", func() bool {
			problem = follows(r.t.Context(), r.pool, i, primary)
			return problem == ""
		}) {
			r.bad("at last: %s", problem)
		}
	}
	return address
}

// session is a connection of the administrator to an instance.
func (r *run) session(i v1.Instance) *sql.Conn {
	db, err := r.pool.DB(cottonkit.Addr(i))
	r.do(err)
	if err != nil {
		return nil
	}
	conn, err := db.Conn(r.t.Context())
	r.do(err)
	return conn
}

// local returns a client on an instance's own machine, which needs no port.
func (r *run) local(i v1.Instance) (execute func(statement string)) {
	var socket string
	if conn := r.session(i); conn != nil {
		r.do(conn.QueryRowContext(r.t.Context(), "SELECT @@socket").Scan(&socket))
		_ = conn.Close()
	}
	return func(statement string) {
		db, err := sql.Open("mysql", cottonkit.App.User+":"+cottonkit.App.Password+"@unix("+socket+")/")
		if err == nil {
			_, err = db.ExecContext(r.t.Context(), statement)
			err = errors.Join(err, db.Close())
		}
		r.do(err)
	}
}

// write does to a replica what nobody should.
func (r *run) write(i v1.Instance, statements ...string) {
	conn := r.session(i)
	if conn == nil {
		return
	}
	all := append(append([]string{"SET GLOBAL super_read_only = OFF"}, statements...), "SET GLOBAL super_read_only = ON", "SET SESSION sql_log_bin = 1")
	for _, statement := range all {
		if _, err := conn.ExecContext(r.t.Context(), statement); err != nil {
			r.bad("%s: %v", statement, err)
		}
	}
	_ = conn.Close()
}

// block keeps an instance from applying anything until it is released, or ends.
func (r *run) block(i v1.Instance) (release func()) {
	conn := r.session(i)
	if conn == nil {
		return func() {}
	}
	_, err := conn.ExecContext(r.t.Context(), "FLUSH TABLES WITH READ LOCK")
	r.do(err)
	return func() {
		_ = conn.Raw(func(c any) error { return c.(interface{ Close() error }).Close() })
		_ = conn.Close()
	}
}

// cloneAnew makes it necessary to clone a replica, slowly enough to be disturbed, and returns once that has begun.
func (r *run) cloneAnew(i v1.Instance) {
	r.do(r.limitClones(i, 2))
	r.write(i, "CREATE DATABASE errant")
	if !r.until(time.Minute, "the replica is cloned", func() bool { return r.cloning(i) }) {
		r.bad("its sessions: %s", r.sessions(i))
	}
}

// sessions are what an instance is busy with, for people.
func (r *run) sessions(i v1.Instance) string {
	db, err := r.pool.DB(cottonkit.Addr(i))
	if err != nil {
		return err.Error()
	}
	var text sql.NullString
	err = db.QueryRowContext(r.t.Context(), `SELECT GROUP_CONCAT(CONCAT_WS(' ', name, processlist_command, processlist_time, processlist_state, LEFT(processlist_info, 100)) SEPARATOR '; ')
		FROM performance_schema.threads WHERE processlist_command <> 'Sleep' AND (processlist_state IS NOT NULL OR processlist_info IS NOT NULL)`).Scan(&text)
	return fmt.Sprint(text.String, err)
}

// limitClones sets how fast an instance is cloned from the primary, in MB/s; 0 = no limit. A server that starts anew has
// none.
func (r *run) limitClones(i v1.Instance, mb int) error {
	var errs []error
	for _, name := range []string{"clone_max_network_bandwidth", "clone_max_data_bandwidth"} {
		for _, on := range []v1.Instance{i, r.primary} {
			db, err := r.pool.DB(cottonkit.Addr(on))
			if err == nil {
				_, err = db.ExecContext(r.t.Context(), "SET GLOBAL "+name+" = "+strconv.Itoa(mb))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// cloning tells whether an instance's data are being replaced at this moment.
func (r *run) cloning(i v1.Instance) bool {
	db, err := r.pool.DB(cottonkit.Addr(i))
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
	defer cancel()
	var state string
	return db.QueryRowContext(ctx, "SELECT state FROM performance_schema.clone_status").Scan(&state) == nil && state == "In Progress"
}

// tearRelayLog cuts the last relay log of an instance in the middle of an event. Its executor is frozen meanwhile, so that
// it does not start the server too early.
func (r *run) tearRelayLog(i v1.Instance) {
	db, err := r.pool.DB(cottonkit.Addr(i))
	r.do(err)
	var datadir string
	r.do(db.QueryRowContext(r.t.Context(), "SELECT @@datadir").Scan(&datadir))
	release := r.block(i) // so that something is left to apply
	r.hold(time.Second)
	executor, server := r.s.Executor(i.TaskID), r.s.Mysqld(i.TaskID)
	r.s.Signal(executor, syscall.SIGSTOP)
	r.s.Signal(server, syscall.SIGKILL)
	release()
	r.until(time.Minute, "mysqld is dead", func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(server), "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	files, _ := filepath.Glob(filepath.Join(datadir, "relay.[0-9]*"))
	if len(files) == 0 {
		r.bad("no relay log in %s", datadir)
	} else if info, err := os.Stat(files[len(files)-1]); err != nil {
		r.bad("%v", err)
	} else {
		r.do(os.Truncate(files[len(files)-1], info.Size()-15))
	}
	r.s.Signal(executor, syscall.SIGCONT)
}
