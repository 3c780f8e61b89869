package faults

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
)

// healthy says what keeps a cluster from being as it should be, as its servers themselves say; empty when nothing does.
func healthy(ctx context.Context, s *cottonkit.Site, pool *mysql.Pool, name string) (v1.Cluster, string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := s.Client.Cluster(ctx, name)
	if err != nil {
		return c, err.Error()
	}
	if !cottonkit.Complete(c) {
		return c, fmt.Sprintf("state %s, primary %+v, problems %q", c.State, c.Endpoints.Primary, c.Problems)
	}
	primary, replicas, ok := cottonkit.Primary(c)
	if !ok {
		return c, "no primary is published"
	}
	db, err := pool.DB(cottonkit.Addr(primary))
	if err != nil {
		return c, err.Error()
	}
	e, err := mysql.ReadExposure(ctx, db)
	switch {
	case err != nil:
		return c, fmt.Sprintf("primary %d: %v", primary.ID, err)
	case !e.Open():
		return c, fmt.Sprintf("primary %d is published and closed (I10)", primary.ID)
	case c.Policy != "single" && (!e.SemiSync || e.Acknowledgers < len(replicas)):
		return c, fmt.Sprintf("primary %d: semi-sync %v, %d of %d replicas acknowledge", primary.ID, e.SemiSync, e.Acknowledgers, len(replicas))
	}
	for _, r := range replicas {
		if problem := follows(ctx, pool, r, primary); problem != "" {
			return c, fmt.Sprintf("instance %d: %s", r.ID, problem)
		}
	}
	return c, ""
}

func follows(ctx context.Context, pool *mysql.Pool, r, primary v1.Instance) string {
	db, err := pool.DB(cottonkit.Addr(r))
	if err != nil {
		return err.Error()
	}
	e, err := mysql.ReadExposure(ctx, db)
	if err != nil {
		return err.Error()
	}
	if !e.SuperReadOnly {
		return "it is not super_read_only"
	}
	status, err := mysql.ReadReplicaStatus(ctx, db)
	switch {
	case err != nil:
		return err.Error()
	case status == nil || status.Source != cottonkit.Addr(primary):
		return "it does not follow the primary"
	case !status.Receiving() || status.SQLRunning != "Yes":
		return fmt.Sprintf("receiver %s %s, applier %s %s", status.IORunning, status.IOError, status.SQLRunning, status.SQLError)
	}
	return ""
}

// verify holds all instances of a healthy cluster, to which nobody writes any more, against the ledger (I1), against each
// other, and their transactions against the primary's (I7). It returns what is wrong, and how many operations are lost.
func verify(ctx context.Context, pool *mysql.Pool, c v1.Cluster, l *load) (lost uint64, problems []string) {
	ctx, cancel := context.WithTimeout(ctx, cottonkit.Patience)
	defer cancel()
	primary, replicas, ok := cottonkit.Primary(c)
	if !ok {
		return 0, []string{"there is no primary to check"}
	}
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	db, err := pool.DB(cottonkit.Addr(primary))
	if err != nil {
		return 0, []string{err.Error()}
	}
	server, err := mysql.ReadServer(ctx, db)
	if err != nil {
		return 0, []string{err.Error()}
	}
	all, err := mysql.ParseGTIDSet(server.GTIDExecuted)
	if err != nil {
		return 0, []string{err.Error()}
	}
	sum := ""
	for _, i := range append([]v1.Instance{primary}, replicas...) {
		db, err := pool.DB(cottonkit.Addr(i))
		if err != nil {
			bad("%v", err)
			continue
		}
		if err := mysql.WaitForGTID(ctx, db, all, time.Minute); err != nil {
			bad("instance %d does not catch up: %v; %s", i.ID, err, standing(ctx, db, pool, primary))
			continue
		}
		report, err := l.w.Check(ctx, db)
		if err != nil {
			bad("instance %d: %v", i.ID, err)
			continue
		}
		if err := report.Err(); err != nil {
			bad("I1: instance %d: %v", i.ID, err)
			lost = max(lost, report.Difference())
		}
		if problem := sameAs(ctx, pool, i, all, l.table(), &sum); problem != "" {
			bad("instance %d: %s", i.ID, problem)
		}
	}
	return lost, problems
}

// standing says what a replica that does not catch up is at, and what its source sends to whom.
func standing(ctx context.Context, replica *sql.DB, pool *mysql.Pool, primary v1.Instance) string {
	var at strings.Builder
	if status, err := mysql.ReadReplicaStatus(ctx, replica); err == nil && status != nil {
		fmt.Fprintf(&at, "receiver %s, applier %s, received %s, executed %s, errors %q %q", status.IORunning, status.SQLRunning, status.Retrieved,
			status.Executed, status.IOError, status.SQLError)
	}
	source, err := pool.DB(cottonkit.Addr(primary))
	if err != nil {
		return at.String()
	}
	for name, db := range map[string]*sql.DB{"replica": replica, "source": source} {
		rows, err := db.QueryContext(ctx, "SELECT CONCAT_WS(' ', name, processlist_command, processlist_time, processlist_state) "+
			"FROM performance_schema.threads WHERE processlist_command LIKE 'Binlog Dump%' OR name LIKE '%replica%' OR name LIKE '%worker%'")
		if err != nil {
			continue
		}
		for rows.Next() {
			var line string
			if rows.Scan(&line) == nil {
				fmt.Fprintf(&at, "; %s: %s", name, line)
			}
		}
		rows.Close()
	}
	return at.String()
}

// sameAs holds an instance's transactions against the primary's, and its rows against the first one's.
func sameAs(ctx context.Context, pool *mysql.Pool, i v1.Instance, all mysql.GTIDSet, table string, sum *string) string {
	db, err := pool.DB(cottonkit.Addr(i))
	if err != nil {
		return err.Error()
	}
	server, err := mysql.ReadServer(ctx, db)
	if err != nil {
		return err.Error()
	}
	mine, err := mysql.ParseGTIDSet(server.GTIDExecuted)
	if err != nil {
		return err.Error()
	}
	if errant := mine.Subtract(all); !errant.Empty() {
		return "I7: errant transactions " + errant.String()
	}
	var name, checksum string
	if err := db.QueryRowContext(ctx, "CHECKSUM TABLE "+table).Scan(&name, &checksum); err != nil {
		return err.Error()
	}
	if *sum == "" {
		*sum = checksum
	}
	if checksum != *sum {
		return fmt.Sprintf("CHECKSUM TABLE is %s, the primary's is %s", checksum, *sum)
	}
	return ""
}

// held tells whether Mesos has what a cluster consists of, and nothing else: one task, one reservation and one volume for each
// instance (I8, I9).
func (r *run) held(c v1.Cluster) {
	var problem string
	if !r.until(30*time.Second, "Mesos has what the cluster consists of", func() bool {
		tasks, reserved, err := r.s.Held(r.t.Context())
		if err != nil {
			problem = err.Error()
			return false
		}
		volumes := slices.Sorted(maps.Values(reserved))
		slices.Sort(tasks)
		var wantTasks, wantVolumes []string
		for _, i := range c.Instances {
			wantTasks, wantVolumes = append(wantTasks, i.TaskID), append(wantVolumes, i.VolumeID)
		}
		slices.Sort(wantTasks)
		slices.Sort(wantVolumes)
		problem = fmt.Sprintf("tasks %q, volumes %q; it has %q and %q", tasks, volumes, wantTasks, wantVolumes)
		return slices.Equal(tasks, wantTasks) && slices.Equal(volumes, wantVolumes)
	}) {
		r.bad("at last: %s", problem)
	}
}
