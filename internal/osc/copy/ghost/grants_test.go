package ghost

import (
	"strings"
	"testing"
)

func TestCheckGrants(t *testing.T) {
	f := good()
	refuses(t, checkGrants, f, "")
	f.Grants = []string{"GRANT USAGE ON *.* TO `osc`@`%`"}
	refuses(t, checkGrants, f, "REPLICATION SLAVE")
}

func TestGrants(t *testing.T) {
	tables := "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, LOCK TABLES, TRIGGER ON "
	for _, c := range []struct {
		name    string
		grants  []string
		missing string
	}{
		{"all", []string{"GRANT ALL PRIVILEGES ON *.* TO `u`@`%`"}, ""},
		{"by the book", []string{"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`", tables + "`db_1`.* TO `u`@`%`"}, ""},
		{"tables everywhere", []string{tables + "*.* TO `u`@`%`", "GRANT SUPER, REPLICATION SLAVE ON *.* TO `u`@`%`"}, ""},
		{"escaped database", []string{"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`",
			"GRANT ALL PRIVILEGES ON `db\\_1`.* TO `u`@`%`"}, ""},
		{"another database", []string{"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`",
			"GRANT ALL PRIVILEGES ON `db2`.* TO `u`@`%`"}, "`db_1`.*"},
		{"no replication", []string{tables + "*.* TO `u`@`%`"}, "REPLICATION CLIENT ON *.*; REPLICATION SLAVE ON *.*"},
		{"by a role", []string{"GRANT USAGE ON *.* TO `u`@`%`", "GRANT `dba`@`%` TO `u`@`%`"}, "does not see roles"},
	} {
		got := grantsRefusal(c.grants, "db_1", "u@%")
		if (got == "") != (c.missing == "") || !strings.Contains(got, c.missing) {
			t.Errorf("%s: %q, want one with %q", c.name, got, c.missing)
		}
	}
}
