package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/schema"
)

const version = "9.7.0"

func normal(t *testing.T, text string) schema.Form {
	t.Helper()
	f, err := schema.Normalise(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func diff(t *testing.T, from, to string) schema.Change {
	t.Helper()
	c, err := schema.Diff(normal(t, from), normal(t, to), version)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDiffEmpty(t *testing.T) {
	text := create("`id` int NOT NULL", "CONSTRAINT `a` CHECK ((`id` > 1))")
	c := diff(t, text, strings.Replace(text, "`a`", "`b`", 1))
	if !c.Empty || c.Clauses != "" || c.Statement("d", "t") != "" || len(c.Statements("d", "t", "")) != 0 || len(c.Findings) != 0 {
		t.Errorf("change is %+v", c)
	}
}

// The text of a change is one line, whatever is in comments and defaults, and the same each time.
func TestDiffText(t *testing.T) {
	from := create("`id` int NOT NULL", "`k1` int", "`k2` int", "`k3` int", "PRIMARY KEY (`id`)", "KEY `c` (`k3`)", "KEY `a` (`k1`)", "KEY `b` (`k2`)")
	to := create("`id` int NOT NULL COMMENT 'it''s\na \"b\" \\\\ c;'", "`k1` int", "`k2` int", "`k3` int", "`n` varchar(9) DEFAULT 'x\\'\\ny'", "PRIMARY KEY (`id`)")
	want := "DROP KEY `a`, DROP KEY `b`, DROP KEY `c`, MODIFY COLUMN `id` int NOT NULL COMMENT 'it''s\\na \"b\" \\\\ c;', ADD COLUMN `n` varchar(9) DEFAULT 'x''\\ny'"
	for range 50 {
		if c := diff(t, from, to); c.Clauses != want {
			t.Fatalf("got  %s\nwant %s", c.Clauses, want)
		}
	}
	c := diff(t, from, to)
	if got := c.Statement("my`db", "t t"); got != "ALTER TABLE `my``db`.`t t` "+want {
		t.Errorf("statement is %s", got)
	}
	if got := c.Statements("d", "t", "ALGORITHM=INSTANT"); len(got) != 1 || got[0] != "ALTER TABLE `d`.`t` ALGORITHM=INSTANT, "+want {
		t.Errorf("statements are %q", got)
	}
}

// PARTITION BY takes no comma before it; what takes several statements says so.
func TestDiffPartitions(t *testing.T) {
	plain := create("`id` int NOT NULL", "PRIMARY KEY (`id`)")
	parts := func(defs string) string {
		return plain + "\n/*!50100 PARTITION BY RANGE (`id`)\n(" + defs + ") */"
	}
	p := func(name, bound string) string {
		return "PARTITION " + name + " VALUES LESS THAN (" + bound + ") ENGINE = InnoDB"
	}
	c := diff(t, plain, parts(p("p0", "10")))
	if got := c.Statements("d", "t", "ALGORITHM=COPY")[0]; !strings.HasPrefix(got, "ALTER TABLE `d`.`t` ALGORITHM=COPY PARTITION BY RANGE (`id`) (PARTITION `p0` ") || strings.Contains(got, "\n") {
		t.Errorf("statement is %q", got)
	}
	c = diff(t, parts(p("p0", "10")+",\n "+p("p1", "20")), parts(p("p1", "20")+",\n "+p("p2", "30")+",\n "+p("p3", "40")))
	if len(c.Steps) != 3 || c.CopyClauses("x") != "" || c.Copyable == nil || c.Statement("d", "t") != strings.Join(c.Statements("d", "t", ""), "; ") {
		t.Errorf("steps are %q, copyable %v", c.Steps, c.Copyable)
	}
	c = diff(t, parts(p("p0", "10")), parts(p("p0", "10")+",\n "+p("p1", "20")+",\n "+p("p2", "30")))
	if len(c.Steps) != 2 || !strings.HasPrefix(c.CopyClauses("x"), "PARTITION BY RANGE") || c.Copyable != nil {
		t.Errorf("steps are %q, copy by %s, %v", c.Steps, c.CopyClauses("x"), c.Copyable)
	}
}

// A copy made by LIKE has its CHECKs under other names, numbered by the order of the old ones.
func TestCopyClauses(t *testing.T) {
	from := create("`a` int NOT NULL", "PRIMARY KEY (`a`)", "CONSTRAINT `zz` CHECK ((`a` > 0))", "CONSTRAINT `Mm` CHECK ((`a` > 9)) /*!80016 NOT ENFORCED */", "CONSTRAINT `b` CHECK ((`a` > 2))")
	to := create("`a` int NOT NULL", "PRIMARY KEY (`a`)", "CONSTRAINT `b` CHECK ((`a` > 2))", "CONSTRAINT `x` CHECK ((`a` > 9))", "CONSTRAINT `zz` CHECK ((`a` > 7))")
	c := diff(t, from, to)
	if want := "DROP CHECK `zz`, ADD CONSTRAINT `zz` CHECK (`a` > 7), ALTER CHECK `Mm` ENFORCED"; c.Clauses != want {
		t.Errorf("clauses are %s", c.Clauses)
	}
	if want := "DROP CHECK `_t_gho_chk_3`, ADD CHECK (`a` > 7), ALTER CHECK `_t_gho_chk_2` ENFORCED"; c.CopyClauses("_t_gho") != want {
		t.Errorf("copy clauses are %s", c.CopyClauses("_t_gho"))
	}
	u := c.UnnamedChecks()
	if want := "DROP CHECK `zz`, ADD CHECK (`a` > 7), ALTER CHECK `Mm` ENFORCED"; u.Clauses != want || u.Statement("d", "t") != "ALTER TABLE `d`.`t` "+want {
		t.Errorf("without names: %s", u.Clauses)
	}
	if !strings.Contains(c.Clauses, "ADD CONSTRAINT `zz`") || c.Statement("d", "t") != "ALTER TABLE `d`.`t` "+c.Clauses {
		t.Error("the change itself lost its names")
	}
}

func TestGhost(t *testing.T) {
	id := "`id` int NOT NULL"
	key := "PRIMARY KEY (`id`)"
	c := diff(t, create(id, "`a` varchar(9) CHARACTER SET koi8r COLLATE koi8r_bin", key), create(id, "`a` varchar(9) CHARACTER SET koi8r COLLATE koi8r_bin", "`b` int", key))
	if c.Copyable != nil || c.Ghost == nil || !strings.Contains(c.Ghost.Error(), "koi8r") {
		t.Errorf("copyable %v, by gh-ost %v", c.Copyable, c.Ghost)
	}
	c = diff(t, create(id, "`a` varchar(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin", key), create(id, "`a` varchar(9)", "`b` blob", key))
	if c.Copyable != nil || c.Ghost != nil {
		t.Errorf("copyable %v, by gh-ost %v", c.Copyable, c.Ghost)
	}
}

// What schemadiff cannot say is an error that names the table, not an empty change.
func TestDiffRefuses(t *testing.T) {
	id := create("`id` int NOT NULL")
	for name, c := range map[string]struct{ to, want string }{
		"unknown syntax":   {create("`id` int NOT NULL FROBNICATED"), "read the desired definition"},
		"nothing to alter": {strings.Replace(id, "ENGINE=InnoDB", "ENGINE=InnoDB AVG_ROW_LENGTH=7", 1), ""},
	} {
		_, err := schema.Diff(normal(t, id), normal(t, c.to), version)
		var refused *schema.DiffError
		if c.want != "" && (!errors.As(err, &refused) || refused.Table != "t" || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The way back drops an option that ALTER cannot drop: no change, so no empty alter that never ends.
	if _, err := schema.Diff(normal(t, strings.Replace(id, "ENGINE=InnoDB", "ENGINE=InnoDB AVG_ROW_LENGTH=7", 1)), normal(t, id), version); err == nil ||
		!strings.Contains(err.Error(), "not in anything that ALTER TABLE can change") {
		t.Errorf("an option that cannot be dropped: %v", err)
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add(create("`id` int NOT NULL", "KEY `a` (`id`)", "CONSTRAINT `a` CHECK ((`id` > _utf8mb4'x'))"))
	f.Add("CREATE TABLE `t` (`a` varchar(9) COLLATE x /*!80000 INVISIBLE */) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=latin1")
	f.Add("CREATE TABLE `t` ((((")
	f.Add("/*!*/ `a` '\\")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = schema.ParseDesired("x.sql", text)
		form, err := schema.Normalise(text)
		if err != nil {
			return
		}
		if again, err := schema.Normalise(form.Text); err == nil && again != form {
			t.Errorf("the form of the form is another:\n%q\n%q", form.Text, again.Text)
		}
	})
}
