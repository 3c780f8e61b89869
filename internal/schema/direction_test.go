package schema_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// directed is a change and what replication makes of it. Definitions are what stands between the parentheses.
type directed struct {
	name   string
	before string // columns and keys behind "id int PRIMARY KEY", or a whole CREATE TABLE
	alter  string // clauses
	order  schema.Order
	needs  []string
	rows   []string // before anything is altered
	// What the source does while the two differ: old while it has the old definition, new while it has the new one.
	old, new []string
	// otherOK: the opposite order, or one that is never taken, leaves these rows equal in the end: what is wrong is so meanwhile (a new
	// member of an ENUM reads as '' where it is not known), or with other rows.
	otherOK bool
}

var (
	nl         = []string{schema.NeedNonLossy}
	nlUnsigned = []string{schema.NeedNonLossy, schema.NeedUnsigned}
	usual      = []string{"INSERT INTO t (id, a) VALUES (10, 10)", "UPDATE t SET a = a + 50 WHERE id = 1", "DELETE FROM t WHERE id = 2"}
)

func and(statements ...string) []string { return slices.Concat(usual, statements) }

func members(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("'m%d'", i))
	}
	return strings.Join(all, ",")
}

const (
	whole    = "CREATE TABLE t (id int NOT NULL, u int NOT NULL, a int, PRIMARY KEY (id), UNIQUE KEY uu (u))"
	either   = schema.EitherFirst
	replicas = schema.ReplicasFirst
	primary  = schema.PrimaryFirst
	noOrder  = schema.NeverRolling
)

var directions = []directed{
	{name: "add a column at the end", before: "a int", alter: "ADD c int", order: replicas, new: and("INSERT INTO t (id, a, c) VALUES (11, 1, 7)")},
	{name: "add a column, constant default", before: "a int", alter: "ADD c int NOT NULL DEFAULT 5", order: replicas, new: and("INSERT INTO t (id, a, c) VALUES (11, 1, 7)")},
	{name: "add a column, negative default", before: "a int", alter: "ADD c decimal(4,1) NOT NULL DEFAULT -1.5", order: replicas, new: and("INSERT INTO t (id, a, c) VALUES (11, 1, 7)")},
	{name: "add a virtual column", before: "a int", alter: "ADD c int AS (a * 2) VIRTUAL", order: replicas, otherOK: true},
	{name: "add a stored column", before: "a int", alter: "ADD c int AS (a * 2) STORED", order: replicas, otherOK: true},
	{name: "add an invisible column", before: "a int", alter: "ADD c int DEFAULT 3 INVISIBLE", order: replicas, new: and("INSERT INTO t (id, a, c) VALUES (11, 1, 7)")},
	{name: "add a column, NOT NULL without default", before: "a int", alter: "ADD c int NOT NULL", order: replicas, new: []string{"INSERT INTO t (id, a, c) VALUES (11, 1, 7)"}},
	{name: "add a column, DEFAULT CURRENT_TIMESTAMP", before: "a int", alter: "ADD c datetime(6) DEFAULT CURRENT_TIMESTAMP(6)", order: noOrder},
	{name: "add a column, ON UPDATE CURRENT_TIMESTAMP", before: "a int", alter: "ADD c timestamp(6) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(6)", order: noOrder, otherOK: true},
	{name: "add a column, DEFAULT (uuid())", before: "a int", alter: "ADD c char(36) DEFAULT (uuid())", order: noOrder},
	{name: "add a column, AUTO_INCREMENT", before: "a int", alter: "ADD c int NOT NULL AUTO_INCREMENT, ADD KEY k (c)", order: noOrder},
	{name: "add a column in the middle", before: "a int", alter: "ADD c int AFTER id", order: noOrder},
	{name: "drop in the middle, other types", before: "a int, b varchar(9)", alter: "DROP a", order: noOrder, old: []string{"INSERT INTO t (id, b) VALUES (10, 'x')"}},
	{name: "drop in the middle, same type", before: "a int, b int", alter: "DROP a", order: noOrder, old: []string{"INSERT INTO t (id, b) VALUES (10, 7)"}},
	{name: "reorder, same type", before: "a int, b int", alter: "MODIFY b int AFTER id", order: noOrder, old: []string{"INSERT INTO t (id, a, b) VALUES (10, 1, 2)"}},
	{name: "drop the last column", before: "a int, b int", alter: "DROP b", order: either, old: and("INSERT INTO t (id, a, b) VALUES (11, 1, 2)"), new: usual},
	{name: "rename in place", before: "a int, b int", alter: "RENAME COLUMN b TO z", order: either, old: and("INSERT INTO t (id, a, b) VALUES (11, 1, 2)"), new: and("INSERT INTO t (id, a, z) VALUES (11, 1, 2)")},
	{name: "add an index", before: "a int", alter: "ADD KEY k (a)", order: either},
	{name: "drop an index", before: "a int, KEY k (a)", alter: "DROP KEY k", order: either},
	{name: "add a functional index", before: "a int", alter: "ADD KEY k ((a + 1))", order: either},
	{name: "row format and comments", before: "a int", alter: "MODIFY a int COMMENT 'x', ROW_FORMAT=COMPRESSED", order: either},
	{name: "collation of a column", before: "a varchar(9)", alter: "MODIFY a varchar(9) COLLATE utf8mb4_general_ci", order: either},
	{name: "coarser collation under UNIQUE", before: "a varchar(9) COLLATE utf8mb4_bin, UNIQUE KEY u (a)", alter: "MODIFY a varchar(9) COLLATE utf8mb4_general_ci", order: primary,
		old: []string{"INSERT INTO t (id, a) VALUES (10, 'x'), (11, 'X')"}, new: usual},
	{name: "PARTITION BY HASH", before: "a int", alter: "PARTITION BY HASH (id) PARTITIONS 3", order: either},
	{name: "REMOVE PARTITIONING", before: "CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY HASH (id) PARTITIONS 3", alter: "REMOVE PARTITIONING", order: either},
	{name: "RANGE that has all", before: "a int", alter: "PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (5), PARTITION q VALUES LESS THAN MAXVALUE)", order: either},
	{name: "RANGE that lacks values", before: "a int", alter: "PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (100))", order: primary, old: and("INSERT INTO t (id, a) VALUES (100, 1)"), new: usual},
	{name: "one more RANGE", before: "CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (100))", alter: "ADD PARTITION (PARTITION q VALUES LESS THAN (200))",
		order: replicas, new: and("INSERT INTO t (id, a) VALUES (100, 1)")},
	{name: "no RANGE any more", before: "CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (100))", alter: "REMOVE PARTITIONING", order: replicas, new: and("INSERT INTO t (id, a) VALUES (100, 1)")},
	{name: "another primary key", before: whole, alter: "DROP PRIMARY KEY, DROP KEY uu, ADD PRIMARY KEY (u), ADD UNIQUE KEY i (id)", order: either,
		rows: []string{"INSERT INTO t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)"}, old: []string{"INSERT INTO t VALUES (10, 10, 10)", "UPDATE t SET a = 7, u = 70 WHERE id = 1", "DELETE FROM t WHERE id = 2"}},
	{name: "ENUM appends", before: "a enum('1','2','3')", alter: "MODIFY a enum('1','2','3','4')", order: replicas, otherOK: true, old: []string{"INSERT INTO t (id, a) VALUES (10, '3')"}, new: []string{"INSERT INTO t (id, a) VALUES (10, '4')"}},
	{name: "ENUM inserts", before: "a enum('1','2','3')", alter: "MODIFY a enum('0','1','2','3')", order: noOrder, old: []string{"INSERT INTO t (id, a) VALUES (10, '3')"}},
	{name: "ENUM drops its last", before: "a enum('1','2','3','4')", alter: "MODIFY a enum('1','2','3')", order: primary, old: []string{"INSERT INTO t (id, a) VALUES (10, '4')", "DELETE FROM t WHERE id = 1"}, new: []string{"INSERT INTO t (id, a) VALUES (10, '3')"}},
	{name: "ENUM grows to two bytes", before: "a enum(" + members(255) + ")", alter: "MODIFY a enum(" + members(256) + ")", order: replicas, needs: nl, rows: []string{"INSERT INTO t (id, a) VALUES (1, 'm1'), (2, 'm2')"},
		old: []string{"INSERT INTO t (id, a) VALUES (10, 'm3')"}, new: []string{"INSERT INTO t (id, a) VALUES (10, 'm255')"}},
	{name: "SET appends", before: "a set('1','2','3')", alter: "MODIFY a set('1','2','3','4')", order: replicas, otherOK: true, old: []string{"INSERT INTO t (id, a) VALUES (10, '3')"}, new: []string{"INSERT INTO t (id, a) VALUES (10, '4')"}},
	{name: "SET grows to two bytes", before: "a set(" + members(8) + ")", alter: "MODIFY a set(" + members(9) + ")", order: replicas, needs: nl, rows: []string{"INSERT INTO t (id, a) VALUES (1, 'm1'), (2, 'm2')"},
		old: []string{"INSERT INTO t (id, a) VALUES (10, 'm3')"}, new: []string{"INSERT INTO t (id, a) VALUES (10, 'm8')"}},
	{name: "INT to BIGINT", before: "a int", alter: "MODIFY a bigint", order: replicas, needs: nl, new: and("INSERT INTO t (id, a) VALUES (11, 3000000000)")},
	{name: "INT to BIGINT, the key", before: "a int", alter: "MODIFY id bigint NOT NULL", order: replicas, needs: nl},
	{name: "FLOAT to DOUBLE", before: "a float", alter: "MODIFY a double", order: replicas, needs: nl},
	{name: "DECIMAL grows", before: "a decimal(6,2)", alter: "MODIFY a decimal(10,3)", order: replicas, needs: nl},
	{name: "CHAR grows", before: "a char(5)", alter: "MODIFY a char(9)", order: replicas, needs: nl},
	{name: "VARCHAR grows in place", before: "a varchar(10)", alter: "MODIFY a varchar(40)", order: replicas, needs: nl},
	{name: "CHAR to VARCHAR", before: "a char(9)", alter: "MODIFY a varchar(9)", order: replicas, otherOK: true, needs: nl},
	{name: "VARCHAR to TEXT", before: "a varchar(20)", alter: "MODIFY a text", order: replicas, needs: nl},
	{name: "TEXT to MEDIUMTEXT", before: "a text", alter: "MODIFY a mediumtext", order: replicas, needs: nl},
	{name: "VARBINARY grows", before: "a varbinary(10)", alter: "MODIFY a varbinary(40)", order: replicas, needs: nl},
	{name: "BLOB grows", before: "a tinyblob", alter: "MODIFY a blob", order: replicas, needs: nl},
	{name: "utf8mb3 to utf8mb4", before: "a varchar(9) CHARACTER SET utf8mb3", alter: "MODIFY a varchar(9) CHARACTER SET utf8mb4", order: replicas, needs: nl, old: and("INSERT INTO t (id, a) VALUES (11, 'ж')"), new: and("INSERT INTO t (id, a) VALUES (11, '😀')")},
	{name: "utf8mb3 to utf8mb4 under UNIQUE", before: "a varchar(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci, UNIQUE KEY u (a)", alter: "MODIFY a varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", order: replicas, needs: nl,
		old: and("INSERT INTO t (id, a) VALUES (11, 'ж')"), new: and("INSERT INTO t (id, a) VALUES (11, '😀')")},
	{name: "UNSIGNED grows", before: "a int unsigned", alter: "MODIFY a bigint unsigned", order: replicas, needs: nlUnsigned, old: and("INSERT INTO t (id, a) VALUES (11, 3000000000)"), new: and("INSERT INTO t (id, a) VALUES (11, 30000000000)")},
	{name: "signed to UNSIGNED", before: "a int", alter: "MODIFY a int unsigned", order: noOrder, old: []string{"INSERT INTO t (id, a) VALUES (10, -5)"}, new: []string{"INSERT INTO t (id, a) VALUES (10, 3000000000)"}},
	{name: "UNSIGNED to signed", before: "a int unsigned", alter: "MODIFY a bigint", order: noOrder, old: []string{"INSERT INTO t (id, a) VALUES (10, 3000000000)"}, new: []string{"INSERT INTO t (id, a) VALUES (10, -5)"}},
	{name: "latin1 to utf8mb4", before: "a varchar(9) CHARACTER SET latin1", alter: "MODIFY a varchar(9) CHARACTER SET utf8mb4", order: noOrder, old: []string{"INSERT INTO t (id, a) VALUES (10, 'é')"}},
	{name: "BIGINT to INT", before: "a bigint", alter: "MODIFY a int", order: primary, needs: nl, old: and("INSERT INTO t (id, a) VALUES (11, 3000000000)"), new: usual},
	{name: "VARCHAR shrinks", before: "a varchar(300)", alter: "MODIFY a varchar(10)", order: primary, needs: nl, old: and("INSERT INTO t (id, a) VALUES (11, REPEAT('x', 20))"), new: usual},
	{name: "TEXT to VARCHAR", before: "a text", alter: "MODIFY a varchar(100)", order: primary, needs: nl, old: and("INSERT INTO t (id, a) VALUES (11, REPEAT('x', 200))"), new: usual},
	{name: "DATETIME to DATETIME(6)", before: "a int, d datetime", alter: "MODIFY d datetime(6)", order: noOrder, old: []string{"INSERT INTO t (id, d) VALUES (10, '2020-01-01 00:00:00')"}},
	{name: "TIMESTAMP to DATETIME", before: "a int, d timestamp NULL", alter: "MODIFY d datetime", order: noOrder, old: []string{"INSERT INTO t (id, d) VALUES (10, '2020-01-01 00:00:00')"}},
	{name: "DATE to DATETIME", before: "a int, d date", alter: "MODIFY d datetime", order: noOrder, old: []string{"INSERT INTO t (id, d) VALUES (10, '2020-01-01')"}},
	{name: "JSON to TEXT", before: "a int, d json", alter: "MODIFY d longtext", order: noOrder, old: []string{"INSERT INTO t (id, d) VALUES (10, '{}')"}},
	{name: "NULL to NOT NULL", before: "a int", alter: "MODIFY a int NOT NULL", order: primary, old: []string{"INSERT INTO t (id, a) VALUES (10, NULL)"}, new: usual},
	{name: "NOT NULL to NULL", before: "a int NOT NULL", alter: "MODIFY a int", order: replicas, new: []string{"INSERT INTO t (id, a) VALUES (10, NULL)"}},
	{name: "ADD UNIQUE", before: "a int", alter: "ADD UNIQUE KEY u (a)", order: primary, old: []string{"INSERT INTO t (id, a) VALUES (10, 3)"}, new: usual},
	{name: "ADD CHECK", before: "a int", alter: "ADD CONSTRAINT c CHECK (a < 100)", order: primary, old: and("INSERT INTO t (id, a) VALUES (11, 100)"), new: usual},
	{name: "DROP UNIQUE", before: "a int, UNIQUE KEY u (a)", alter: "DROP KEY u", order: replicas, new: []string{"INSERT INTO t (id, a) VALUES (10, 3)"}},
	{name: "DROP CHECK", before: "a int, CONSTRAINT c CHECK (a < 100)", alter: "DROP CHECK c", order: replicas, new: and("INSERT INTO t (id, a) VALUES (11, 100)")},
	{name: "no primary key, AUTO_INCREMENT added", before: "CREATE TABLE t (id int, a int)", alter: "ADD k int NOT NULL AUTO_INCREMENT PRIMARY KEY", order: noOrder, otherOK: true},
	{name: "another default", before: "a int, b int DEFAULT 1", alter: "ALTER b SET DEFAULT 2", order: either, needs: []string{schema.NeedFull}},
	{name: "wider and stricter", before: "a int, b int", alter: "MODIFY a bigint, MODIFY b int NOT NULL", order: noOrder,
		rows: []string{"INSERT INTO t (id, a, b) VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)"}, old: []string{"INSERT INTO t (id, a) VALUES (10, 1)"}, new: []string{"INSERT INTO t (id, a, b) VALUES (10, 3000000000, 1)"}},
	{name: "wider and looser", before: "a int NOT NULL", alter: "MODIFY a bigint, ADD c int", order: replicas, needs: nl, new: []string{"INSERT INTO t (id, a, c) VALUES (10, NULL, 1)"}},
}

func (c directed) create() string {
	if strings.HasPrefix(c.before, "CREATE") {
		return c.before
	}
	return "CREATE TABLE t (id int PRIMARY KEY, " + c.before + ")"
}

// duo is a source and its replica.
type duo struct {
	t               *testing.T
	source, replica *mysqld.Server
}

// TestDirectionOnServers holds DirectionOf against two servers: every change in both orders, with and without the settings it is
// said to need, under writes while the two differ. Whatever is called safe must end with equal rows.
func TestDirectionOnServers(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{}, map[string]string{"innodb_flush_method": "nosync", "innodb_doublewrite": "OFF"})
	d := &duo{t, c.Primary, c.Replicas[0]}
	var lines []string
	for _, x := range directions {
		t.Run(x.name, func(t *testing.T) { lines = append(lines, d.measure(t, x)) })
	}
	t.Logf("change | replicas first | primary first | DirectionOf\n%s", strings.Join(lines, "\n"))
}

const okay = "ok"

// measure runs one change in both orders and compares what comes out with what DirectionOf says.
func (d *duo) measure(t *testing.T, x directed) string {
	var of schema.Direction
	found := map[bool]string{}
	for _, replicaFirst := range []bool{true, false} {
		allowed := x.order == either || x.order == replicas && replicaFirst || x.order == primary && !replicaFirst
		set := x.needs
		if len(set) == 0 {
			set = nl // what breaks without a conversion is safe; the worst is what goes on with one
			if allowed {
				set = nil
			}
		}
		of, found[replicaFirst] = d.try(t, x, replicaFirst, set)
		switch got := found[replicaFirst]; {
		case allowed && got != okay:
			t.Errorf("replica first: %v, %v: %s", replicaFirst, set, got)
		case !allowed && got == okay && !x.otherOK:
			t.Errorf("replica first: %v, %v: it does no harm", replicaFirst, set)
		}
		if allowed && len(x.needs) > 0 {
			var less []string
			if len(x.needs) > 1 {
				less = x.needs[:1]
				slices.Sort(less)
			}
			_, without := d.try(t, x, replicaFirst, less)
			if without == okay {
				t.Errorf("replica first: %v: it does not need %v", replicaFirst, x.needs)
			}
			found[replicaFirst] += fmt.Sprintf(" (with %v: %s)", less, without)
		}
	}
	if of.Order != x.order || !slices.Equal(of.Needs, x.needs) {
		t.Errorf("DirectionOf says %s, needs %v: %s; want %s, needs %v", of.Order, of.Needs, of.Why, x.order, x.needs)
	}
	return fmt.Sprintf("%s | %s | %s | %s %v", x.name, found[true], found[false], of.Order, of.Needs)
}

// try makes the table on both, alters one, writes on the source, alters the other, and compares.
func (d *duo) try(t *testing.T, x directed, replicaFirst bool, set []string) (schema.Direction, string) {
	t.Helper()
	ctx := t.Context()
	image, conversions := "FULL", slices.Clone(set)
	if slices.Contains(x.needs, schema.NeedFull) {
		conversions = nil
		if !slices.Contains(set, schema.NeedFull) {
			image = "MINIMAL"
		}
	}
	testkit.Exec(t, d.replica, "SET GLOBAL replica_type_conversions = "+mysql.QuoteString(strings.Join(conversions, ",")))
	database := testkit.Database(t, d.source)
	rows := x.rows
	if rows == nil {
		rows = []string{"INSERT INTO t (id, a) VALUES (1, 1), (2, 2), (3, 3)"}
	}
	if err := d.run(ctx, d.source, database, mysql.Session{}, append([]string{x.create()}, rows...)...); err != nil {
		t.Fatal(err)
	}
	if why := d.sync(); why != "" {
		t.Fatal(why)
	}
	before := d.form(database, d.source)
	first, second, writes := d.source, d.replica, x.new
	if replicaFirst {
		first, second, writes = d.replica, d.source, x.old
	}
	if writes == nil {
		if writes = x.old; writes == nil {
			writes = usual
		}
	}
	unlogged := mysql.Session{NoBinlog: true}
	alter := "ALTER TABLE t " + x.alter
	if err := d.run(ctx, first, database, unlogged, alter); err != nil {
		t.Fatal(err)
	}
	of := schema.DirectionOf(before, d.form(database, first))
	if err := d.run(ctx, d.source, database, mysql.Session{}, append([]string{"SET SESSION binlog_row_image = " + image}, writes...)...); err != nil {
		t.Fatalf("writes: %v", err)
	}
	if why := d.sync(); why != "" {
		return of, why
	}
	if err := d.run(ctx, second, database, unlogged, alter); err != nil {
		return of, fmt.Sprintf("stuck: the second cannot be altered (%d)", mysql.Number(err))
	}
	if a, b := d.data(ctx, d.source, database), d.data(ctx, d.replica, database); a != b {
		return of, "wrong"
	}
	return of, okay
}

func (d *duo) run(ctx context.Context, srv *mysqld.Server, database string, s mysql.Session, statements ...string) error {
	s.DB = database
	return mysql.WithSession(ctx, srv.DB(), s, func(ctx context.Context, conn *sql.Conn) error {
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return errors.Join(errors.New(statement), err)
			}
		}
		return nil
	})
}

func (d *duo) form(database string, srv *mysqld.Server) schema.Form {
	d.t.Helper()
	f, ok, err := schema.CurrentForm(d.t.Context(), srv.DB(), database, "t")
	if err != nil || !ok {
		d.t.Fatalf("no form: %v", err)
	}
	return f
}

// sync waits until the replica has applied all; where its applier stops it says so, and makes the replica go on behind what it
// could not apply.
func (d *duo) sync() string {
	d.t.Helper()
	want := testkit.Ask(d.t, d.source, "SELECT @@GLOBAL.gtid_executed")
	for {
		if testkit.Ask(d.t, d.replica, "SELECT GTID_SUBSET(?, @@GLOBAL.gtid_executed)", want) == "1" {
			return ""
		}
		number := testkit.Ask(d.t, d.replica, "SELECT COALESCE(MAX(IF(w.last_error_number > 0, w.last_error_number, 0)), 0) FROM performance_schema.replication_applier_status_by_worker w")
		running := testkit.Ask(d.t, d.replica, "SELECT MAX(service_state) FROM performance_schema.replication_applier_status")
		if running == "OFF" && number != "0" {
			testkit.Exec(d.t, d.replica, "STOP REPLICA", "RESET BINARY LOGS AND GTIDS", "SET GLOBAL gtid_purged = '"+want+"'", "RESET REPLICA", "START REPLICA")
			return "breaks " + number
		}
		select {
		case <-d.t.Context().Done():
			d.t.Fatal("the replica does not catch up")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// data is every row of the table, as bytes.
func (d *duo) data(ctx context.Context, srv *mysqld.Server, database string) string {
	d.t.Helper()
	names := testkit.Ask(d.t, srv, "SELECT GROUP_CONCAT('`', column_name, '`' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = ?", database)
	rows, err := srv.DB().QueryContext(ctx, "SELECT "+names+" FROM "+mysql.QuoteIdents(database, "t")+" ORDER BY id")
	if err != nil {
		d.t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		d.t.Fatal(err)
	}
	var b strings.Builder
	fields, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range fields {
		into[i] = &fields[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			d.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%v\n", fields)
	}
	return b.String()
}
