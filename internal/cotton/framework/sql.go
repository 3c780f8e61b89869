package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/aosc/aosc/internal/mysql"
)

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
