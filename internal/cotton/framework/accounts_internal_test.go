package framework

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestUser: the cluster's user has what an application needs and nothing with which it could lock cotton out, read its
// passwords, write to a closed member or acknowledge in a member's place; a user with the privileges of earlier releases is
// narrowed, once.
func TestUser(t *testing.T) {
	server := testkit.FreshServer(t, map[string]string{"partial_revokes": "ON", "skip_name_resolve": "ON"})
	ctx, db := t.Context(), server.DB()
	run := func(db *sql.DB, statements ...string) {
		t.Helper()
		for _, s := range statements {
			if _, err := db.ExecContext(ctx, s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	run(db, "CREATE USER cotton_admin IDENTIFIED BY 'x'", "GRANT ALL ON *.* TO cotton_admin WITH GRANT OPTION",
		"CREATE USER cotton_repl IDENTIFIED BY 'x'", "GRANT REPLICATION SLAVE, SYSTEM_USER ON *.* TO cotton_repl", "CREATE USER colleague IDENTIFIED BY 'x'")
	hash, err := mysql.HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	spec := cotton.Spec{Name: "c", User: "app", PasswordHash: hash}
	// As earlier releases made it.
	run(db, "CREATE USER app IDENTIFIED WITH caching_sha2_password AS "+mysql.QuoteString(hash),
		"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW, "+
			"CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER, CREATE USER, SHOW DATABASES, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE, SESSION_VARIABLES_ADMIN, "+
			"FLUSH_TABLES, FLUSH_STATUS, FLUSH_OPTIMIZER_COSTS, FLUSH_USER_RESOURCES ON *.* TO app WITH GRANT OPTION",
		"REVOKE INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, TRIGGER, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT ON mysql.* FROM app")
	for _, labels := range []map[string]string{nil, {"tier": "udb"}, nil} {
		spec.Labels = labels
		if has, err := hasUser(ctx, db, spec); has || err != nil {
			t.Errorf("labels %v: a user with other privileges counts as made: %v, %v", labels, has, err)
		}
		for range 2 {
			if err := createUser(ctx, db, spec, false); err != nil {
				t.Fatal(err)
			}
			if has, err := hasUser(ctx, db, spec); !has || err != nil {
				g, _ := readGrants(ctx, db, "app")
				t.Errorf("labels %v: not made: %v; %+v", labels, err, g)
			}
		}
	}
	app, err := mysql.Open(server.Addr(), mysql.Credentials{User: "app", Password: "secret", TLS: "skip-verify"}, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	run(app, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)", "CREATE VIEW d.v AS SELECT * FROM d.t",
		"CREATE EVENT d.e ON SCHEDULE EVERY 1 DAY DO DELETE FROM d.t WHERE a = 0", "ANALYZE TABLE d.t", "LOCK TABLES d.t WRITE", "UNLOCK TABLES",
		"GRANT SELECT, INSERT ON d.* TO colleague", "SHOW REPLICA STATUS", "SELECT * FROM sys.version", "SELECT COUNT(*) FROM performance_schema.threads")
	table := "\n| as the cluster's user | |\n|---|---|\n"
	for _, s := range []string{
		"CREATE USER 'cotton_admin'@'127.0.0.1' IDENTIFIED BY 'x'", "CREATE USER 'cotton_repl'@'127.0.0.1' IDENTIFIED BY 'x'",
		"CREATE USER 'COTTON_ADMIN'@'%' IDENTIFIED BY 'x'", "CREATE ROLE 'cotton_admin'@'127.0.0.1'", "RENAME USER colleague TO 'cotton_admin'@'127.0.0.1'",
		"ALTER USER 'cotton_admin'@'%' ACCOUNT LOCK", "ALTER USER 'cotton_repl'@'%' IDENTIFIED BY 'x'", "DROP USER 'cotton_admin'@'%'", "ALTER USER colleague ACCOUNT LOCK",
		"SELECT user_password FROM mysql.slave_master_info", "SELECT authentication_string FROM mysql.user", "UPDATE mysql.user SET super_priv = 'Y'",
		"DROP DATABASE sys", "DROP VIEW sys.version", "DROP DATABASE mysql", "UPDATE performance_schema.threads SET instrumented = 'NO'",
		"FLUSH STATUS", "FLUSH TABLES", "FLUSH OPTIMIZER_COSTS", "FLUSH USER_RESOURCES", "FLUSH PRIVILEGES", "FLUSH LOGS", "FLUSH TABLES WITH READ LOCK",
		"SET SESSION gtid_next = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1'", "SET SESSION sql_log_bin = 0", "BINLOG 'AAAA'", "SHOW BINLOG EVENTS",
		"SHOW REPLICAS", "SET GLOBAL super_read_only = OFF", "SET PERSIST max_connections = 1", "KILL 1", "XA RECOVER", "RESET BINARY LOGS AND GTIDS", "STOP REPLICA",
		"GRANT ALL ON *.* TO app", "GRANT SELECT ON mysql.* TO colleague", "GRANT REPLICATION SLAVE ON *.* TO colleague", "SHUTDOWN",
		"CLONE LOCAL DATA DIRECTORY '/nonexistent/x'", "INSTALL COMPONENT 'file://component_validate_password'", "SET RESOURCE GROUP SYS_default",
	} {
		_, err := app.ExecContext(ctx, s)
		table += fmt.Sprintf("| %s | %v |\n", s, err)
		if err == nil {
			t.Errorf("the cluster's user may: %s", s)
		}
	}
	t.Log(table)
	// What it could grant to others is no more than it has.
	run(app, "GRANT SELECT, DROP ON *.* TO colleague")
	colleague, err := mysql.Open(server.Addr(), mysql.Credentials{User: "colleague", Password: "x", TLS: "skip-verify"}, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer colleague.Close()
	for _, s := range []string{"SELECT user_password FROM mysql.slave_master_info", "DROP DATABASE sys"} {
		if _, err := colleague.ExecContext(ctx, s); err == nil {
			t.Errorf("somebody that the cluster's user gave its privileges to may: %s", s)
		}
	}
}

// TestShadows: accounts that take the place of cotton's are found and removed, and cotton's own unlocked.
func TestShadows(t *testing.T) {
	server := testkit.FreshServer(t, nil)
	ctx, db := t.Context(), server.DB()
	for _, s := range []string{"CREATE USER cotton_admin IDENTIFIED BY 'x'", "CREATE USER cotton_repl IDENTIFIED BY 'x' ACCOUNT LOCK",
		"CREATE USER 'cotton_admin'@'127.0.0.1' IDENTIFIED BY 'y'", "CREATE USER 'cotton_repl'@'10.%' IDENTIFIED BY 'y'", "CREATE USER COTTON_ADMIN IDENTIFIED BY 'y'",
		"CREATE USER cottoneer"} {
		if _, err := db.ExecContext(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	foreign, locked, err := shadows(ctx, db)
	if err != nil || len(foreign) != 3 || len(locked) != 1 {
		t.Errorf("found %v, %v, %v", foreign, locked, err)
	}
	if err := endShadows(ctx, db, foreign, locked); err != nil {
		t.Fatal(err)
	}
	if foreign, locked, err = shadows(ctx, db); err != nil || len(foreign)+len(locked) != 0 {
		t.Errorf("left %v, %v, %v", foreign, locked, err)
	}
	if got := testkit.Ask(t, server, "SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'cotton%'"); got != "3" {
		t.Errorf("%s accounts are left, want cotton_admin, cotton_repl and cottoneer", got)
	}
}
