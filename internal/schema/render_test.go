package schema_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/schema/pairs"
	"github.com/aosc/aosc/internal/testkit"
)

// A file in git needs nobody's permission to be materialised. Whatever stands in it, only its CREATE TABLE is run.
func TestTextRunsNothingElse(t *testing.T) {
	srv := testkit.FreshServer(t, map[string]string{"general_log": "1", "log_output": "TABLE"})
	database := testkit.Database(t, srv)
	env := envOf(t, srv, database)
	secret := mysql.QuoteIdents(database, "secret")
	testkit.Exec(t, srv, "CREATE TABLE "+secret+" (v varchar(99))", "INSERT INTO "+secret+" VALUES ('the secret')")
	for _, text := range []string{
		"CREATE TABLE t (id int) /*!999999 ' */ SELECT v FROM " + secret + " /*' */",
		"CREATE TABLE t (id int) /*!999999 ` */ AS SELECT v FROM " + secret + " /*` */",
		"CREATE TABLE t (id int) /*!999999 \" */ SELECT v FROM " + secret + " FOR UPDATE /*\" */",
		"CREATE TABLE t (id int) /*!50000 SELECT v FROM " + secret + " */",
		"CREATE TABLE t (id int) /*!SELECT v FROM " + secret + " */",
		"CREATE TABLE t (id int) /*M! ' */ SELECT v FROM " + secret + " /*' */",
		"CREATE TABLE t (id int) /*!999999 /* */ SELECT v FROM " + secret + " /* */ */",
		"CREATE TABLE t (id int DEFAULT ((SELECT v FROM " + secret + ")))",
		"CREATE TABLE t (id int, CHECK (id IN (TABLE " + secret + ")))",
		"CREATE TABLE t (id int) COMMENT='\\' /*!50000 '*/ SELECT v FROM " + secret,
		"CREATE TABLE t (id int) COMMENT=\"\\\" /*!50000 \"*/ SELECT v FROM " + secret,
		"CREATE TABLE t (id int) --/**/1 SELECT v FROM " + secret,
	} {
		for _, mode := range []string{env.SQLMode, "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"} {
			e := env
			e.SQLMode = mode
			f, err := (&schema.Materialiser{}).Form(t.Context(), srv.DB(), desired("t", text), e)
			if err == nil && strings.Contains(f.Text, "`v`") || err != nil && strings.Contains(err.Error(), "the secret") {
				t.Errorf("sql_mode %s: %s\nbecame %s %v", mode, text, f.Text, err)
			}
		}
	}
	// What the server was given: no SELECT of that table, and no version comment but those that are our own.
	rows, err := srv.DB().QueryContext(t.Context(), "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE command_type = 'Query' "+
		"AND argument LIKE 'CREATE TABLE t%' OR command_type = 'Query' AND argument LIKE 'CREATE TABLE `t`%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var ran string
		if err := rows.Scan(&ran); err != nil {
			t.Fatal(err)
		}
		outside := schema.OutsideQuotes(ran)
		if strings.Contains(outside, "SELECT") || strings.Contains(outside, "/*") {
			t.Errorf("the server was given %s", ran)
		}
	}
}

// What is rendered is the text: no pair, in no sql_mode, becomes another table than the text itself, run by hand.
func TestRenderingLosesNothing(t *testing.T) {
	t.Parallel()
	srv := testkit.FreshServer(t, map[string]string{"innodb_flush_method": "nosync", "innodb_doublewrite": "OFF"})
	base := envOf(t, srv, testkit.Database(t, srv))
	type text struct{ name, table, sql string }
	var texts []text
	for _, p := range pairs.All() {
		texts = append(texts, text{p.Name + " (before)", p.TableName(), p.Before}, text{p.Name + " (after)", p.TableName(), p.After})
	}
	for i, s := range []string{
		"create table if not exists t (id int /*!80023 INVISIBLE */, a int) /*!50100 PARTITION BY HASH (id) PARTITIONS 3 */",
		"create table t (id int /*!999999 NOT NULL, b int */ , a int /*!40000 NOT NULL*/) -- the end",
		"create table t (a varchar(20) default 'x''y\\'z\\\\' comment \"a \"\"quoted\"\" 'word' \\n \\\" /*!50000 no */ -- \", b decimal(5,2) default -1.50, c double default 1e-3, d int default - /* x */ -5)",
		"create table t (a varchar(20) default 'a' 'b' \"c\", b char(3) default _latin1'x' , c bit(4) default b'0101', d binary(2) default x'4142', e int default 0x10)",
		"create table t (j json, k int as (j->'$.a') virtual, l varchar(9) as (j->>'$.b') stored, check (k<>3 and k!=4 and not k<=>5))",
		"create table t (a int default (1--1), b int default (1 - -1), c int default (2*/**/3), d int default (7 div/**/2), `e``f` int, `g\"h` int)",
		"create table t (a text, b int default (a like '5\\%' escape '|'), c varchar(9) default (concat('a', 'b')) , d varchar(9) default ('a' || 'b'))",
		"create table t (a int) comment '\\\\' engine=InnoDB /* c */ default charset=latin1 # end\n;;",
		"create table t (a enum('x','y''z','\\\\'), s set(\"a\",'b') default 'a,b', n national varchar(9) default n'x', `имя` varchar(9) default 'ж😀')",
	} {
		texts = append(texts, text{fmt.Sprintf("written %d", i), "t", s})
	}
	differ := 0
	for _, mode := range []string{base.SQLMode, "PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE"} {
		env := base
		env.SQLMode = mode
		for _, x := range texts {
			if env.SQLMode != base.SQLMode && !strings.ContainsAny(x.sql, "\"'\\|!") {
				continue // it has nothing that a sql_mode would change
			}
			want, wantErr := byHand(t, srv, env, x.table, x.sql)
			got, err := (&schema.Materialiser{}).Form(t.Context(), srv.DB(), desired(x.table, x.sql), env)
			switch {
			case wantErr != nil && err == nil && strings.Contains(mode, "NO_BACKSLASH_ESCAPES") && mysql.IsSyntax(wantErr):
				continue // the server cannot read again what it has itself printed of an expression: 'it\'s'
			case wantErr != nil && err == nil:
				t.Errorf("%s, sql_mode %s: the server refuses the text (%v), and takes what is rendered: %s", x.name, mode, wantErr, got.Text)
			case wantErr == nil && err != nil:
				t.Errorf("%s, sql_mode %s: what is rendered is refused: %v\n%s", x.name, mode, err, x.sql)
			case wantErr == nil && got != want:
				t.Errorf("%s, sql_mode %s: by hand\n%s\nrendered\n%s", x.name, mode, want.Text, got.Text)
			default:
				continue
			}
			differ++
		}
	}
	t.Logf("%d texts, %d differ", len(texts), differ)
}

// byHand runs the very text, as a person would.
func byHand(t *testing.T, srv *mysqld.Server, env schema.DBEnv, table, text string) (f schema.Form, err error) {
	t.Helper()
	fail := schema.WithScratch(t.Context(), srv.DB(), env, func(ctx context.Context, conn *sql.Conn, name string) error {
		if _, err = conn.ExecContext(ctx, text); err != nil {
			return nil
		}
		if err := schema.ShowSession(ctx, conn); err != nil {
			return err
		}
		shown, e := schema.ShowCreate(ctx, conn, name, table)
		if e != nil {
			return e
		}
		f, err = schema.Normalise(shown)
		return nil
	})
	if fail != nil {
		t.Fatal(fail)
	}
	return f, err
}

// An error of one text is that text's alone, whatever it is: the other tables of the tier are judged all the same.
func TestErrorIsTheTextsAlone(t *testing.T) {
	srv := testkit.FreshServer(t, nil)
	env := envOf(t, srv, testkit.Database(t, srv))
	testkit.Exec(t, srv, "CREATE USER checker IDENTIFIED BY 'x'", "GRANT SESSION_VARIABLES_ADMIN ON *.* TO checker",
		"GRANT CREATE, DROP, SELECT, INDEX, ALTER ON `aosc\\_scratch\\_%`.* TO checker")
	db, err := mysql.Open(srv.Addr(), mysql.Credentials{User: "checker", Password: "x"}, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	texts := map[string]string{
		"fine":      "CREATE TABLE fine (id int PRIMARY KEY)",
		"merge":     "CREATE TABLE `merge` (id int) ENGINE=MERGE UNION=(mysql.user)",
		"directory": "CREATE TABLE directory (id int) DATA DIRECTORY='/nowhere/at/all'",
		"far":       "CREATE TABLE far (id int) ENGINE=FEDERATED CONNECTION='mysql://u:p@127.0.0.1:1/a/b'",
		"child":     "CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES fine (id))",
		"space":     "CREATE TABLE space (id int) TABLESPACE nowhere",
		"nonsense":  "CREATE TABLE nonsense (id strange)",
		"zz":        "CREATE TABLE zz (id int PRIMARY KEY, a varchar(9))",
	}
	var ds []schema.Desired
	for table, text := range texts {
		ds = append(ds, desired(table, text))
	}
	slices.SortFunc(ds, func(a, b schema.Desired) int { return strings.Compare(a.Table, b.Table) })
	forms, errs := (&schema.Materialiser{}).Forms(t.Context(), db, ds, env)
	for table := range texts {
		f, good := forms[table]
		t.Logf("%s: %v", table, errs[table])
		switch table {
		case "fine", "zz":
			if !good {
				t.Errorf("%s is not judged: %v", table, errs[table])
			}
		default:
			if good {
				t.Errorf("%s became %s", table, f.Text)
			}
			if !schema.OfText(errs[table]) {
				t.Errorf("%s: the error is not of the text: %v", table, errs[table])
			}
			if !strings.Contains(errs[table].Error(), "schemas/udb/"+table+".sql") {
				t.Errorf("%s: the error does not name the file: %v", table, errs[table])
			}
		}
	}
	if ddl := (*schema.DDLError)(nil); errors.As(errs["child"], &ddl) || !strings.Contains(errs["child"].Error(), "REFERENCES") {
		t.Errorf("a missing privilege is mended by a grant, not by another text: %v", errs["child"])
	}
}

// A default that the server would not take today is no reason to refuse a table that has it (WordPress' are made so).
func TestZeroDateDefaults(t *testing.T) {
	srv := testkit.Server(t)
	env := envOf(t, srv, testkit.Database(t, srv))
	if !strings.Contains(env.SQLMode, "NO_ZERO_DATE") {
		t.Fatalf("sql_mode %s", env.SQLMode)
	}
	const (
		before = "CREATE TABLE b00 (id bigint unsigned NOT NULL AUTO_INCREMENT, post_date datetime NOT NULL DEFAULT '0000-00-00 00:00:00', d date NOT NULL DEFAULT '2020-00-00', PRIMARY KEY (id)"
		after  = before + ", guid varchar(255) NOT NULL DEFAULT '')"
		added  = before + ", late datetime NOT NULL DEFAULT '0000-00-00 00:00:00')"
		moved  = "CREATE TABLE b00 (id bigint unsigned NOT NULL AUTO_INCREMENT, post_date datetime NOT NULL DEFAULT '0000-00-00 00:00:00', d date NOT NULL DEFAULT '2021-00-00', PRIMARY KEY (id))"
	)
	form := func(text string) schema.Form {
		f, err := (&schema.Materialiser{}).Form(t.Context(), srv.DB(), desired("b00", text), env)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	current := form(before + ")")
	for _, c := range []struct{ name, text, refused string }{
		{"a column beside", after, ""},
		{"a new one", added, "late"},
		{"another one", moved, "`d`"},
	} {
		want := form(c.text)
		err := schema.ZeroDefaults(current, want, env)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := schema.ZeroDefaults(schema.Form{}, form(after), env); err == nil {
		t.Error("a new table takes them")
	}
	env.SQLMode = "STRICT_ALL_TABLES"
	if err := schema.ZeroDefaults(schema.Form{}, form(after), env); err != nil {
		t.Errorf("this server takes them: %v", err)
	}
	var ddl *schema.DDLError
	if _, err := (&schema.Materialiser{}).Form(t.Context(), srv.DB(), desired("b", "CREATE TABLE b (a int DEFAULT 'x')"), env); !errors.As(err, &ddl) {
		t.Errorf("an invalid default: %v", err)
	}
}
