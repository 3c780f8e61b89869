package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// numbers are rows for a table whose first column is a number; more than direct_max_rows, so that a copy is needed.
const numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "

// input is one table of the fleet and what somebody commits for it.
type input struct {
	table  string
	before string // statements, separated by ;; and without the table for a new one
	file   string // what is committed; "" = nothing
	words  []string
}

// bad is input that must lead to a HOLD with a reason, and change nothing.
var bad = []input{
	{"unparsable", "CREATE TABLE unparsable (id int PRIMARY KEY)", "CREATE TABLE unparsable (id int PRIMARY KEY,)", []string{"unparsable.sql"}},
	{"two", "CREATE TABLE two (id int PRIMARY KEY)", "CREATE TABLE two (id int PRIMARY KEY, a int); DROP TABLE two", []string{"second statement"}},
	{"misnamed", "CREATE TABLE misnamed (id int PRIMARY KEY)", "CREATE TABLE another (id int PRIMARY KEY)", []string{"another"}},
	{"uncommitted", "CREATE TABLE uncommitted (id int PRIMARY KEY)", "", []string{`no file for table "uncommitted"`}},
	{"selected", "CREATE TABLE selected (id int PRIMARY KEY)", "CREATE TABLE selected AS SELECT 1", []string{"selected.sql"}},
	{"dropped", "CREATE TABLE dropped (id int PRIMARY KEY, a int);;INSERT INTO dropped VALUES (1, 1)",
		"CREATE TABLE dropped (id int PRIMARY KEY)", []string{"lose data", "drop_column a"}},
	{"narrowed", "CREATE TABLE narrowed (id int PRIMARY KEY, a varchar(40));;INSERT INTO narrowed VALUES (1, 'longer than that')",
		"CREATE TABLE narrowed (id int PRIMARY KEY, a varchar(4))", []string{"lose data", "narrow_column a"}},
	{"reordered", "CREATE TABLE reordered (id int PRIMARY KEY, a enum('x','y'));;INSERT INTO reordered VALUES (1, 'x')",
		"CREATE TABLE reordered (id int PRIMARY KEY, a enum('y','x'))", []string{"lose data", "enum_reorder a"}},
	{"renamed", "CREATE TABLE renamed (id int PRIMARY KEY, a int);;INSERT INTO renamed VALUES (1, 1)",
		"CREATE TABLE renamed (id int PRIMARY KEY, b int)", []string{"lose data", "column a"}},
	{"doubled", "CREATE TABLE doubled (id int PRIMARY KEY, a int);;INSERT INTO doubled VALUES (1, 1), (2, 1)",
		"CREATE TABLE doubled (id int PRIMARY KEY, a int, UNIQUE KEY u (a))", []string{"cannot be made", "rows are in the way", "unique"}},
	{"nulls", "CREATE TABLE nulls (id int PRIMARY KEY, a int);;INSERT INTO nulls VALUES (1, NULL)",
		"CREATE TABLE nulls (id int PRIMARY KEY, a int NOT NULL)", []string{"not_null"}},
	{"child", "CREATE TABLE child (id int PRIMARY KEY, a int, KEY a (a), CONSTRAINT up FOREIGN KEY (a) REFERENCES dropped (id));;INSERT INTO child (id) " + numbers + "SELECT i FROM n",
		"CREATE TABLE child (id bigint NOT NULL PRIMARY KEY, a int, KEY a (a), CONSTRAINT up FOREIGN KEY (a) REFERENCES dropped (id))", []string{"oreign key"}},
	{"triggered", "CREATE TABLE triggered (id int PRIMARY KEY, a int);;INSERT INTO triggered " + numbers + "SELECT i, i FROM n;;" +
		"CREATE TRIGGER tr BEFORE INSERT ON triggered FOR EACH ROW SET NEW.a = 1", "CREATE TABLE triggered (id int PRIMARY KEY, a bigint)", []string{"trigger"}},
	{"keyless", "CREATE TABLE keyless (id int, a int);;INSERT INTO keyless " + numbers + "SELECT i, i FROM n",
		"CREATE TABLE keyless (id int, a bigint)", []string{"key"}},
}

// TestBadInput: whatever is committed, the operator is told why it cannot be done, and no table is touched (I5, I6).
func TestBadInput(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, nil, c)
	before := s.inputs(c, bad)
	s.Daemons()
	s.Allow("uncommitted")
	s.SQL("INSERT INTO allowed_alters VALUES ('udbb','tabla1','istvan',NULL,10,'default')")
	for _, in := range bad {
		by := aoscdb.HoldBrain
		if s.heldByWorker(in) {
			by = aoscdb.HoldWorker
		}
		s.Held(in.table, by, in.words...)
	}
	if reason := s.Ask("SELECT reason FROM current_alters WHERE `group` = 'udbb' AND status = 'HOLD'"); !strings.Contains(reason, `"udbb"`) {
		t.Errorf("reason for an unknown tier: %q", reason)
	}
	for _, in := range bad {
		if now := s.contents(c, in.table); now != before[in.table] {
			t.Errorf("%s was\n%s\nis\n%s", in.table, before[in.table], now)
		}
	}
	var tables []string
	for _, in := range bad {
		tables = append(tables, in.table)
	}
	s.Clean(tables...)
}

// heldByWorker waits until a table is on HOLD and tells whether that is the worker's.
func (s *place) heldByWorker(in input) bool {
	s.T.Helper()
	var by string
	s.Eventually(site.Patience, in.table+" is on HOLD", func() bool {
		by = s.Ask("SELECT hold_by FROM current_alters WHERE table_name = ? AND status = 'HOLD'", in.table)
		return by != ""
	})
	return by == aoscdb.HoldWorker
}

// hard is input that is unusual and must simply work; all but one by a copy.
var hard = []input{
	{"everything", "CREATE TABLE everything (id int NOT NULL AUTO_INCREMENT, a int NOT NULL, s int AS (a * 2) STORED, v int AS (a + 1) " +
		"VIRTUAL, j text, " +
		"e enum('it''s','b') DEFAULT 'b', PRIMARY KEY (id), KEY f ((a + 1)), KEY hidden (a) INVISIBLE, CONSTRAINT positive CHECK (a > 0));;" +
		"INSERT INTO everything (a, j) " + numbers + "SELECT i, JSON_OBJECT('n', i, 's', '漢😀') FROM n",
		"CREATE TABLE everything (id bigint NOT NULL AUTO_INCREMENT, a bigint NOT NULL, s int AS (a * 2) STORED, v int AS (a + 1) VIRTUAL, " +
			"j text, " +
			"e enum('it''s','b') DEFAULT 'b', PRIMARY KEY (id), KEY f ((a + 1)), KEY hidden (a) INVISIBLE, CONSTRAINT positive CHECK (a > 0))", nil},
	{"parts", "CREATE TABLE parts (id int NOT NULL, a int, PRIMARY KEY (id)) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN MAXVALUE);;" +
		"INSERT INTO parts " + numbers + "SELECT i, i FROM n",
		"CREATE TABLE parts (id int NOT NULL, a bigint, PRIMARY KEY (id)) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN MAXVALUE)", nil},
	{strings.Repeat("x", 64), "CREATE TABLE " + strings.Repeat("x", 64) + " (id int PRIMARY KEY, `select` int);;INSERT INTO " + strings.Repeat("x", 64) + " " + numbers + "SELECT i, i FROM n",
		"CREATE TABLE " + strings.Repeat("x", 64) + " (id int PRIMARY KEY, `select` bigint)", nil},
	{"order by", "CREATE TABLE `order by` (`group` int PRIMARY KEY, `a b` int);;INSERT INTO `order by` " + numbers + "SELECT i, i FROM n",
		"CREATE TABLE `order by` (`group` int PRIMARY KEY, `a b` bigint)", nil},
	{"tablá漢", "CREATE TABLE `tablá漢` (id int PRIMARY KEY, `ñ` varchar(20));;INSERT INTO `tablá漢` " + numbers + "SELECT i, '😀' FROM n",
		"CREATE TABLE `tablá漢` (id int PRIMARY KEY, `ñ` text)", nil},
	{"it's a `table`", "CREATE TABLE `it's a ``table``` (id int PRIMARY KEY, `\"` int);;INSERT INTO `it's a ``table``` VALUES (1, 1)",
		"CREATE TABLE `it's a ``table``` (id int PRIMARY KEY, `\"` bigint)", nil},
}

// TestHardInput: generated columns, partitions, CHECK constraints, functional and invisible indexes, names of every
// kind, all the way through the pipeline, with what the tables hold (I1, I4).
func TestHardInput(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, nil, c)
	before := s.inputs(c, hard)
	s.Daemons()
	commit := s.Repo.Head()
	var tables []string
	for _, in := range hard {
		s.Finished(in.table, commit)
		s.MustHave(in.table, in.file)
		rows := func(contents string) string { return strings.SplitN(contents, "\n", 2)[0] }
		if now := s.contents(c, in.table); rows(now) != rows(before[in.table]) {
			t.Errorf("I1: %s had %s, has %s", in.table, rows(before[in.table]), rows(now))
		}
		tables = append(tables, in.table)
	}
	s.Clean(tables...)
}

// inputs makes the tables, commits the files, allows them all, and returns what the tables hold.
func (s *place) inputs(c *mysqld.Cluster, list []input) map[string]string {
	s.T.Helper()
	database := s.Fill("", 0)
	files, contents := map[string]string{}, map[string]string{}
	for _, in := range list {
		s.In(c.Primary, database, strings.Split(in.before, ";;")...)
		if in.file != "" {
			files["schemas/udb/"+in.table+".sql"] = in.file + ";\n"
		}
		contents[in.table] = s.contents(c, in.table)
	}
	s.Repo.Commit(files, "all at once")
	for _, in := range list {
		if in.file != "" {
			s.Allow(in.table)
		}
	}
	return contents
}

// contents are a table's rows as a checksum, and its definition.
func (s *place) contents(c *mysqld.Cluster, table string) string {
	s.T.Helper()
	name := mysql.QuoteIdents("dbid1", table)
	columns := testkit.Ask(s.T, c.Primary, "SELECT GROUP_CONCAT(CONCAT('`', REPLACE(column_name, '`', '``'), '`') ORDER BY ordinal_position) "+
		"FROM information_schema.columns WHERE table_schema = 'dbid1' AND table_name = ?", table)
	rows := testkit.Ask(s.T, c.Primary, fmt.Sprintf("SELECT CONCAT(COUNT(*), ' rows, ', COALESCE(SUM(CRC32(CONCAT_WS('#', %s))), 0)) FROM %s", columns, name))
	var unused, definition string
	s.Do(c.Primary.DB().QueryRowContext(s.T.Context(), "SHOW CREATE TABLE "+name).Scan(&unused, &definition))
	return rows + "\n" + definition
}
