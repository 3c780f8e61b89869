package mysql_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

func TestClassify(t *testing.T) {
	query := func(infos ...string) (events []mysql.LoggedEvent) {
		for _, info := range infos {
			events = append(events, mysql.LoggedEvent{Type: "Query", Info: info})
		}
		return events
	}
	rows := []mysql.LoggedEvent{{Type: "Query", Info: "BEGIN"}, {Type: "Table_map", Info: "table_id: 85 (d.t)"}, {Type: "Write_rows",
		Info: "table_id: 85"},
		{Type: "Xid", Info: "COMMIT /* xid=1 */"}}
	const nothing, data, commit, rollback = mysql.LoggedNothing, mysql.LoggedData, mysql.LoggedXACommit, mysql.LoggedXARollback
	for _, tc := range []struct {
		name   string
		events []mysql.LoggedEvent
		want   mysql.LoggedKind
		xid    string
	}{
		{"an empty transaction", query("BEGIN", "COMMIT"), nothing, ""},
		{"nothing at all is not known to be empty", nil, data, ""},
		{"rows", rows, data, ""},
		{"the beginning of a transaction", query("BEGIN"), data, ""},
		{"a transaction that ends as an XA one", append(query("XA START X'61',X'',1"), mysql.LoggedEvent{Type: "XA_prepare",
			Info: "XA PREPARE X'61',X'',1"}), data, ""},
		{"compressed", []mysql.LoggedEvent{{Type: "Transaction_payload", Info: "compression='ZSTD'"}}, data, ""},
		{"FLUSH", query("FLUSH STATUS"), nothing, ""},
		{"in lower case, with a default database", query("use `a``b; c`; flush  tables"), nothing, ""},
		{"FLUSH of a table", query("FLUSH TABLES d.t"), nothing, ""},
		{"with a comment", query("/* ApplicationName=x */ /**/ FLUSH TABLES"), nothing, ""},
		{"with a comment that is executed", query("/*!80000 DROP TABLE d.t */ FLUSH TABLES"), data, ""},
		{"with a hint", query("/*+ x */ FLUSH TABLES"), data, ""},
		{"a comment without an end", query("/* FLUSH TABLES"), data, ""},
		{"something that begins alike", query("FLUSHED TABLES"), data, ""},
		{"a histogram", query("ANALYZE TABLE d.t UPDATE HISTOGRAM ON id"), nothing, ""},
		{"local", query("ANALYZE LOCAL TABLE d.t"), nothing, ""},
		{"OPTIMIZE", query("OPTIMIZE TABLE d.t"), nothing, ""},
		{"REPAIR", query("repair table t"), nothing, ""},
		{"DDL", query("ALTER TABLE d.t ADD b INT /* xid=9 */"), data, ""},
		{"a statement that has FLUSH in it", query("DROP TABLE `FLUSH TABLES`"), data, ""},
		{"a database of that name", query("use `x`; DROP TABLE t /* FLUSH */"), data, ""},
		{"two statements", query("FLUSH STATUS", "DROP TABLE t"), data, ""},
		{"another event", []mysql.LoggedEvent{{Type: "Unknown", Info: "FLUSH STATUS"}}, data, ""},
		{"XA COMMIT", query("XA COMMIT X'6631',X'',1"), commit, "X'6631', X'', 1"},
		{"XA ROLLBACK", query("use `d`; XA ROLLBACK X'00FF27',X'62',7"), rollback, "X'00ff27', X'62', 7"},
		{"XA COMMIT of an empty xid", query("XA COMMIT X'',X'',0"), commit, "X'', X'', 0"},
		{"XA COMMIT with something after it", query("XA COMMIT X'61',X'',1 ONE PHASE"), data, ""},
		{"XA COMMIT of no number", query("XA COMMIT X'61',X'',99999999999999999999"), data, ""},
		{"XA COMMIT as a client writes it", query("XA COMMIT 'a'"), data, ""},
	} {
		kind, xid := mysql.Classify(tc.events)
		if got := xid.ID(); kind != tc.want || tc.xid != "" && got != tc.xid {
			t.Errorf("%s: %s %s, want %s %s", tc.name, kind, got, tc.want, tc.xid)
		}
	}
}

// TestExecuteAs: what a closed replica has numbered is read from its binary logs, executed by the primary under the same GTIDs, and passed
// over by the replica when it comes back to it; all have the same rows and the same GTIDs then, without an applier that stands still.
func TestExecuteAs(t *testing.T) {
	ctx := t.Context()
	c := testkit.FreshCluster(t, 3, mysqld.ReplicaOptions{SemiSync: true, SuperReadOnly: true}, nil)
	p, closed, other := c.Primary.DB(), c.Replicas[0].DB(), c.Replicas[1].DB()
	run(t, p, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	for i, xid := range []string{"'commit'", "'rollback','b',7", "X'00ff27','',3"} {
		conn, err := p.Conn(ctx)
		check(t, err)
		for _, s := range []string{"XA START " + xid, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", i), "XA END " + xid, "XA PREPARE " + xid} {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
		check(t, conn.Close())
	}
	check(t, c.Sync(ctx))
	before := executed(t, closed)
	conn, err := closed.Conn(ctx)
	check(t, err)
	defer conn.Close()
	for _, s := range []string{"USE d", "XA COMMIT 'commit'", "FLUSH LOCAL STATUS", "FLUSH STATUS", "FLUSH BINARY LOGS",
		"XA ROLLBACK 'rollback','b',7",
		"ANALYZE TABLE t UPDATE HISTOGRAM ON id", "SET gtid_next = 'aaaaaaaa-0000-4000-8000-000000000000:t1:5'", "COMMIT",
		"SET gtid_next = AUTOMATIC",
		"FLUSH BINARY LOGS", "XA COMMIT X'00ff27','',3"} {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	run(t, p, "INSERT INTO d.t VALUES (100)")
	check(t, mysql.CatchUp(ctx, closed, p, patience))
	errant := executed(t, closed).Subtract(executed(t, p))
	list, err := mysql.ReadLogged(ctx, closed, errant)
	check(t, err)
	var kinds []string
	for _, l := range list {
		kinds = append(kinds, string(l.Kind))
	}
	if got, want := strings.Join(kinds, ", "), "XA COMMIT, nothing, XA ROLLBACK, nothing, nothing, XA COMMIT"; got != want {
		t.Fatalf("%s, want %s: %+v", got, want, list)
	}
	rows, err := mysql.ReadLogged(ctx, closed, executed(t, p).Subtract(before))
	if err != nil || len(rows) != 1 || rows[0].Kind != mysql.LoggedData || !strings.Contains(rows[0].Text, "Write_rows") {
		t.Errorf("a row: %+v, %v", rows, err)
	}
	if list, err := mysql.ReadLogged(ctx, p, errant); !errors.Is(err, mysql.ErrNotLogged) || len(list) != 0 {
		t.Errorf("on a server that never had them: %+v, %v", list, err)
	}

	if err := mysql.ExecuteAs(ctx, other, list[0]); err == nil || !strings.Contains(err.Error(), "closed for writes") {
		t.Errorf("on a closed server: %v", err)
	}
	unknown := list[0]
	unknown.XID.Global = "ff"
	if err := mysql.ExecuteAs(ctx, p, unknown); err == nil || executed(t, p).Contains(errant) {
		t.Errorf("of an xid that is not prepared: %v", err)
	}
	if err := mysql.ExecuteAs(ctx, p, rows[0]); err == nil {
		t.Error("what changes data is executed")
	}
	owner, err := p.Conn(ctx)
	check(t, err)
	if _, err := owner.ExecContext(ctx, "SET gtid_next = "+mysql.QuoteString(list[1].GTID)); err != nil {
		t.Fatal(err)
	}
	if err := mysql.ExecuteAs(ctx, p, list[1]); !errors.Is(err, mysql.ErrGTIDOwned) {
		t.Errorf("while another session executes it: %v", err)
	}
	if _, err := owner.ExecContext(ctx, "ROLLBACK"); err != nil { // an empty transaction of that number
		t.Fatal(err)
	}
	check(t, owner.Close())
	for _, l := range append(list, list...) { // a second time it is left alone
		check(t, mysql.ExecuteAs(ctx, p, l))
	}
	run(t, p, "INSERT INTO d.t VALUES (101)")
	check(t, c.Sync(ctx))
	for _, s := range c.Servers() {
		if got := testkit.Ask(t, s, "SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t"); got != "0,2,100,101" {
			t.Errorf("%s has the rows %s", s.Addr(), got)
		}
		if got := executed(t, s.DB()); !got.Equal(executed(t, p)) {
			t.Errorf("%s has executed %s, the primary %s", s.Addr(), got, executed(t, p))
		}
		if prepared, err := mysql.Prepared(ctx, s.DB()); len(prepared) > 0 || err != nil {
			t.Errorf("%s: still prepared: %v, %v", s.Addr(), prepared, err)
		}
	}
	if st := status(t, closed); st.SQLRunning != "Yes" || !st.Receiving() {
		t.Errorf("the closed one stands still: %+v", st)
	}
}
