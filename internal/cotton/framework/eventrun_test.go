package framework_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// execer is a pool or a session.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

const weird = "d.`we``ird \"q' \xe9v`"

// definition is all of an event but whether it runs.
func definition(t *testing.T, db *sql.DB, name string) string {
	t.Helper()
	var event, mode, zone, text, client, connection, database string
	if err := db.QueryRowContext(t.Context(), "SHOW CREATE EVENT "+name).Scan(&event, &mode, &zone, &text, &client, &connection,
		&database); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	text = strings.NewReplacer(" DISABLE ON REPLICA ", " ", " DISABLE ", " ", " ENABLE ", " ").Replace(text)
	return strings.Join([]string{event, mode, zone, text, client, connection, database}, "|")
}

// TestEvents: the events of the primary go on at its successor, after a failover and after a switchover, as they were defined, and not at
// the former one; one that was disabled stays so, and one without a definer is named.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := newSite(t, "executor", 3)
	f, _ := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(3))
	at := func(id int) mysql.Addr { m := member(v, id); return mysql.Addr{Host: m.Host, Port: m.Port} }
	run := func(e execer, statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := e.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	old := v.Record.Primary
	admin := s.administrator("c0", at(old))
	app := s.open("c0", "app", "secret of c0", at(old))
	const tick = " ON SCHEDULE EVERY 1 SECOND %s DO INSERT INTO d.tick (srv, what) VALUES (@@server_id, '%s')"
	run(app, "CREATE DATABASE d", "CREATE TABLE d.tick (id INT AUTO_INCREMENT PRIMARY KEY, srv INT, what VARCHAR(20), KEY (what, srv))",
		"CREATE EVENT d.on_"+fmt.Sprintf(tick, "", "on"), "CREATE EVENT d.off_"+fmt.Sprintf(tick, "DISABLE", "off"),
		// On a closed server this writes a transaction of the server's own.
		"CREATE EVENT d.histogram ON SCHEDULE EVERY 1 SECOND DO ANALYZE TABLE d.tick UPDATE HISTOGRAM ON id")
	run(admin, "CREATE USER other IDENTIFIED BY 'x'", "GRANT ALL ON d.* TO other",
		"CREATE DEFINER = gone EVENT d.orphan"+fmt.Sprintf(tick, "", "orphan"))
	conn, err := admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run(conn, "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', SESSION time_zone = '+05:00', SESSION character_set_client = "+
		"latin1, "+
		"SESSION collation_connection = latin1_german1_ci",
		"CREATE DEFINER = other EVENT "+weird+" ON SCHEDULE EVERY 1 SECOND STARTS '2020-01-01 00:00:00' COMMENT 'a \\ \xe9' DO INSERT INTO "+
			"d.tick (srv, what) "+
			"VALUES (@@server_id, IF('\xe9' = _utf8mb4 X'C3A9' AND LENGTH('\\') = 1, 'weird', 'changed'))")
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // its session is not to be used again
	readable := strings.ReplaceAll(weird, "\xe9", "é")
	names := []string{"d.on_", "d.off_", "d.histogram", readable, "d.orphan"}
	defined := map[string]string{}
	for _, name := range names {
		defined[name] = definition(t, admin, name)
	}
	count := func(db *sql.DB, srv int, what string) (n int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM d.tick WHERE srv = ? AND what = ?", srv, what).Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	goesOn := func(id int) {
		t.Helper()
		db := s.administrator("c0", at(id))
		for _, what := range []string{"on", "weird"} {
			before := count(db, id, what)
			testkit.Eventually(t, patience, fmt.Sprintf("event %s runs on %d", what, id), func() bool { return count(db, id, what) > before+1 })
		}
	}
	goesOn(old)
	s.await(f, "c0", "it is known which events run", func(v framework.View) bool {
		return len(v.Record.Events.On) == 4 && len(v.Record.Events.Off) == 1
	})

	first, orphaned := old, true
	moved := func(what, problem string) {
		t.Helper()
		v = s.await(f, "c0", "another primary after the "+what, func(v framework.View) bool {
			return v.Record.Primary != old && v.Endpoints.Primary != nil && v.Endpoints.Primary.ID == v.Record.Primary
		})
		next := v.Record.Primary
		goesOn(next)
		v = s.await(f, "c0", "the orphan is named, and nothing else is wrong", func(v framework.View) bool {
			return len(v.Endpoints.Replicas) == 2 && v.Record.Change == nil &&
				(len(v.Problems) == 0 && problem == "" || len(v.Problems) == 1 && problem != "" && contains(v.Problems[0], problem))
		})
		db := s.administrator("c0", at(next))
		for _, name := range names {
			if got := definition(t, db, name); got != defined[name] {
				t.Errorf("after the %s %s is\n%s, it was\n%s", what, name, got, defined[name])
			}
		}
		former := s.administrator("c0", at(old))
		var scheduler, status string
		testkit.Eventually(t, patience, "the former primary has the events of a replica", func() bool {
			err := former.QueryRowContext(t.Context(), "SELECT @@event_scheduler, status FROM information_schema.events WHERE event_name = "+
				"'on_'").Scan(&scheduler, &status)
			return err == nil && scheduler == "OFF" && status == "REPLICA_SIDE_DISABLED"
		})
		before := count(db, old, "on")
		goesOn(next)
		if n := count(db, old, "on"); n != before {
			t.Errorf("after the %s the event runs on the former primary as well", what)
		}
		for _, id := range []string{"off", "changed", "orphan"} {
			for _, m := range v.Record.Members {
				if n := count(db, m.ID, id); n > 0 && (orphaned || id != "orphan") {
					t.Errorf("after the %s %d rows of %s from %d", what, n, id, m.ID)
				}
			}
		}
		s.await(f, "c0", "it is known which events run", func(v framework.View) bool {
			return len(v.Record.Events.On) == 4 && len(v.Record.Events.Off) == 1
		})
		old = next
	}
	if err := syscall.Kill(s.mysqldOf(member(v, old).TaskID), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	moved("failover", "`d`.`orphan` of gone@%")
	third := 0
	for _, m := range v.Record.Members {
		if m.ID != first && m.ID != old {
			third = m.ID
		}
	}
	handOver := func(to int) {
		t.Helper()
		if _, err := f.Switchover(t.Context(), "c0", framework.SwitchoverOptions{To: to}); err != nil {
			t.Fatal(err)
		}
	}
	handOver(third)
	moved("switchover", "`d`.`orphan` of gone@%")

	db := s.administrator("c0", at(old))
	run(db, "CREATE USER gone IDENTIFIED BY 'x'", "GRANT ALL ON d.* TO gone")
	v = s.await(f, "c0", "nothing is wrong once the definer exists", complete(3))
	testkit.Eventually(t, patience, "its event runs", func() bool { return count(db, old, "orphan") > 0 })
	orphaned = false
	handOver(first)
	moved("switchover back", "")
	if len(v.Record.History) != 3 {
		t.Errorf("%d changes of primary", len(v.Record.History))
	}
	for _, m := range v.Record.Members {
		var clones int
		if err := s.administrator("c0", at(m.ID)).QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM performance_schema.clone_status").Scan(&clones); err != nil || clones > 0 {
			t.Errorf("%d was cloned, so it had transactions of its own; %v", m.ID, err)
		}
	}
}
