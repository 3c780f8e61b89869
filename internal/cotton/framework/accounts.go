package framework

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// userPrivileges are what the cluster's user gets on all databases: what an application needs. Everything else is withheld, each
// for a reason (docs/decisions/019): CREATE USER and CREATE ROLE make accounts that take the place of cotton's own; RELOAD and
// FLUSH_* write transactions of its own to a replica's binary log; with REPLICATION SLAVE an outside server acknowledges in the
// members' place; SESSION_VARIABLES_ADMIN sets gtid_next.
var userPrivileges = []string{
	"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES",
	"LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER",
	"SHOW DATABASES", "PROCESS", "REPLICATION CLIENT",
}

// pipelinePrivileges are what the user of a cluster that belongs to a tier of the pipeline gets besides: a schema change reads the
// binary log, and its bookkeeping stays out of it.
var pipelinePrivileges = []string{"REPLICATION SLAVE", "SESSION_VARIABLES_ADMIN"}

// userRestrictions are taken away again on the server's own databases. mysql holds everybody's password hashes and, on a
// replica, the password of the replication account.
var userRestrictions = map[string][]string{
	"mysql": {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES",
		"LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER"},
	"sys": {"INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES",
		"LOCK TABLES", "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER"},
	"performance_schema": {"INSERT", "UPDATE", "DELETE", "DROP", "LOCK TABLES"},
}

func privilegesOf(s cotton.Spec) []string {
	if s.Labels["tier"] == "" {
		return userPrivileges
	}
	return slices.Concat(userPrivileges, pipelinePrivileges)
}

// createUser makes the cluster's user from a hash, with the privileges that it is to have and no others; done again it changes
// nothing. In a restored cluster an account of that name may be there, locked, with another password: it becomes this one.
func createUser(ctx context.Context, db *sql.DB, spec cotton.Spec, restored bool) error {
	account, identified := mysql.QuoteString(spec.User)+"@'%'", ""
	if spec.PasswordHash != "" {
		identified = " IDENTIFIED WITH caching_sha2_password AS " + mysql.QuoteString(spec.PasswordHash)
	}
	statements := []string{"CREATE USER IF NOT EXISTS " + account + identified}
	if restored && spec.PasswordHash != "" {
		statements = append(statements, "ALTER USER "+account+" DISCARD OLD PASSWORD", "ALTER USER "+account+identified+" ACCOUNT UNLOCK")
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the cluster's user %s: %w", spec.User, err) // without the statement: it holds the hash
		}
	}
	return narrowUser(ctx, db, spec)
}

// narrowUser gives the cluster's user what it is to have, and takes away what it has besides.
func narrowUser(ctx context.Context, db *sql.DB, spec cotton.Spec) error {
	account, want := mysql.QuoteString(spec.User)+"@'%'", privilegesOf(spec)
	has, err := readGrants(ctx, db, spec.User)
	if err != nil {
		return err
	}
	var statements []string
	extra := slices.DeleteFunc(slices.Clone(has.global), func(p string) bool { return p == "USAGE" || slices.Contains(want, p) })
	if len(extra) > 0 {
		statements = append(statements, "REVOKE "+strings.Join(extra, ", ")+" ON *.* FROM "+account)
	}
	statements = append(statements, "GRANT "+strings.Join(want, ", ")+" ON *.* TO "+account+" WITH GRANT OPTION")
	for _, database := range slices.Sorted(maps.Keys(userRestrictions)) {
		statements = append(statements, "REVOKE "+strings.Join(userRestrictions[database], ", ")+" ON "+mysql.QuoteIdent(database)+".* FROM "+account)
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("set the privileges of the cluster's user %s: %s: %w", spec.User, statement, err)
		}
	}
	return nil
}

// hasUser tells whether createUser was done to the end.
func hasUser(ctx context.Context, db *sql.DB, spec cotton.Spec) (bool, error) {
	var n int
	err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM mysql.user WHERE user = ? AND host = '%' AND account_locked = 'N'"+
		" AND authentication_string = IF(? = '', authentication_string, ?)", spec.User, spec.PasswordHash, spec.PasswordHash).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for the cluster's user %s: %w", spec.User, err)
	}
	if n == 0 {
		return false, nil
	}
	has, err := readGrants(ctx, db, spec.User)
	return err == nil && has.equal(spec), err
}

// grants are an account's privileges on all databases, and what is taken away from them on some.
type grants struct {
	global       []string
	option       bool
	restrictions map[string][]string
}

func (g grants) equal(spec cotton.Spec) bool {
	same := func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	return g.option && same(g.global, privilegesOf(spec)) && maps.EqualFunc(g.restrictions, userRestrictions, same)
}

func readGrants(ctx context.Context, db *sql.DB, user string) (g grants, err error) {
	failed := func(err error) (grants, error) {
		return grants{}, fmt.Errorf("read the privileges of the cluster's user %s: %w", user, err)
	}
	rows, err := db.QueryContext(ctx, "SELECT privilege_type, is_grantable FROM information_schema.user_privileges WHERE grantee = ?",
		"'"+user+"'@'%'")
	if err != nil {
		return failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		var privilege, grantable string
		if err := rows.Scan(&privilege, &grantable); err != nil {
			return failed(err)
		}
		g.global, g.option = append(g.global, privilege), grantable == "YES"
	}
	if err := rows.Err(); err != nil {
		return failed(err)
	}
	var text sql.NullString
	err = db.QueryRowContext(ctx, "SELECT user_attributes->'$.Restrictions' FROM mysql.user WHERE user = ? AND host = '%'", user).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return failed(err)
	}
	var restrictions []struct {
		Database   string
		Privileges []string
	}
	if err := json.Unmarshal([]byte(cmp.Or(text.String, "[]")), &restrictions); err != nil {
		return failed(err)
	}
	g.restrictions = map[string][]string{}
	for _, r := range restrictions {
		g.restrictions[r.Database] = r.Privileges
	}
	return g, nil
}

// account of a server.
type account struct {
	user, host string
	locked     bool
}

func (a account) String() string { return mysql.QuoteString(a.user) + "@" + mysql.QuoteString(a.host) }

// shadows are the accounts by which somebody can lock cotton out, or be taken for it: accounts of cotton's names at a host of
// their own, which the server prefers to those at any host, names that differ in case only, and cotton's own, locked.
func shadows(ctx context.Context, db *sql.DB) (foreign, locked []account, err error) {
	rows, err := db.QueryContext(ctx, "SELECT user, host, account_locked = 'Y' OR password_expired = 'Y' FROM mysql.user WHERE LOWER(user) LIKE 'cotton\\_%'")
	if err != nil {
		return nil, nil, fmt.Errorf("look for accounts that take the place of cotton's: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var a account
		if err := rows.Scan(&a.user, &a.host, &a.locked); err != nil {
			return nil, nil, fmt.Errorf("look for accounts that take the place of cotton's: %w", err)
		}
		switch own := (a.user == cotton.AdminAccount || a.user == cotton.ReplicationAccount) && a.host == "%"; {
		case !own:
			foreign = append(foreign, a)
		case a.locked:
			locked = append(locked, a)
		}
	}
	return foreign, locked, rows.Err()
}

// endShadows removes them.
func endShadows(ctx context.Context, db *sql.DB, foreign, locked []account) error {
	for _, a := range foreign {
		if _, err := db.ExecContext(ctx, "DROP USER IF EXISTS "+a.String()); err != nil {
			return fmt.Errorf("drop the account %s, which takes the place of cotton's: %w", a, err)
		}
	}
	for _, a := range locked {
		if _, err := db.ExecContext(ctx, "ALTER USER IF EXISTS "+a.String()+" ACCOUNT UNLOCK PASSWORD EXPIRE NEVER"); err != nil {
			return fmt.Errorf("unlock the account %s: %w", a, err)
		}
	}
	return nil
}
