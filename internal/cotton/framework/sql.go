package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// userPrivileges are what the cluster's user gets: all that applications, schema changes and replication clients need,
// nothing that would let it open a replica for writes, or change our accounts (those have SYSTEM_USER).
var userPrivileges = []string{
	"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES",
	"LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER", "CREATE USER",
	"SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "REPLICATION SLAVE", "SESSION_VARIABLES_ADMIN",
	// Not RELOAD, with which a client can RESET BINARY LOGS AND GTIDS and so cut off every replica.
	"FLUSH_TABLES", "FLUSH_STATUS", "FLUSH_OPTIMIZER_COSTS", "FLUSH_USER_RESOURCES",
}

// createUser makes the cluster's user from a hash; done again it changes nothing. The last statement is what hasUser
// looks for. The grants on the server's own tables are taken away: they hold everybody's privileges (partial_revokes). In a
// restored cluster an account of that name may be there, locked, with another password: it becomes this one.
func createUser(ctx context.Context, db *sql.DB, user, hash string, restored bool) error {
	account := mysql.QuoteString(user) + "@'%'"
	identified := ""
	if hash != "" {
		identified = " IDENTIFIED WITH caching_sha2_password AS " + mysql.QuoteString(hash)
	}
	statements := []string{
		"CREATE USER IF NOT EXISTS " + account + identified,
		"GRANT " + strings.Join(userPrivileges, ", ") + " ON *.* TO " + account + " WITH GRANT OPTION",
		"REVOKE INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, TRIGGER, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT ON mysql.* FROM " + account,
	}
	if restored && hash != "" {
		statements = append(statements, "ALTER USER "+account+" DISCARD OLD PASSWORD", "ALTER USER "+account+identified+" ACCOUNT UNLOCK")
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the cluster's user %s: %w", user, err) // without the statement: it holds the hash
		}
	}
	return nil
}

// hasUser tells whether createUser was done to the end.
func hasUser(ctx context.Context, db *sql.DB, user, hash string) (bool, error) {
	var n int
	err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM mysql.user WHERE user = ? AND host = '%' AND user_attributes->'$.Restrictions' IS NOT NULL"+
		" AND account_locked = 'N' AND authentication_string = IF(? = '', authentication_string, ?)", user, hash, hash).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for the cluster's user %s: %w", user, err)
	}
	return n > 0, nil
}

// dataMB is the size of everything in InnoDB's files but the server's own tables.
func dataMB(ctx context.Context, db *sql.DB) (int64, error) {
	var mb sql.NullFloat64
	err := db.QueryRowContext(ctx, "SELECT SUM(file_size) / 1048576 FROM information_schema.innodb_tablespaces WHERE space_type = 'Single'").Scan(&mb)
	if err != nil {
		return 0, fmt.Errorf("measure the data: %w", err)
	}
	return int64(mb.Float64), nil
}

// cloneFrom replaces all data of a server by a donor's. The server ends itself when it is done, so a lost connection is
// the usual answer.
func cloneFrom(ctx context.Context, db *sql.DB, donor mysql.SourceOptions) error {
	// Without an authority the donor's certificate is not looked at: only for one that an earlier release launched.
	if _, err := db.ExecContext(ctx, "SET GLOBAL clone_valid_donor_list = "+mysql.QuoteString(donor.Addr.String())+
		", GLOBAL clone_ssl_ca = "+mysql.QuoteString(donor.VerifyBy)); err != nil {
		return fmt.Errorf("clone from %s: %w", donor.Addr, err)
	}
	statement := fmt.Sprintf("CLONE INSTANCE FROM %s@%s:%d IDENTIFIED BY %s REQUIRE SSL", mysql.QuoteString(donor.User),
		mysql.QuoteString(donor.Addr.Host), donor.Addr.Port, mysql.QuoteString(donor.Password))
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("clone from %s: %w", donor.Addr, err) // without the statement: it holds the password
	}
	return nil
}

// cloneState is the state of the last clone into this server, empty when there was none.
func cloneState(ctx context.Context, db *sql.DB) (state, problem string, err error) {
	// One that was killed in the middle says In Progress for ever.
	err = db.QueryRowContext(ctx, `SELECT IF(state = 'In Progress' AND begin_time < NOW(3) - INTERVAL variable_value SECOND, 'Failed', state),
		COALESCE(NULLIF(error_message, ''), 'the server ended in the middle of it')
		FROM performance_schema.clone_status, performance_schema.global_status WHERE variable_name = 'Uptime'`).Scan(&state, &problem)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", nil
	}
	return state, problem, err
}
