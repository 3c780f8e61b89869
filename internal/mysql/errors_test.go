package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	driver "github.com/go-sql-driver/mysql"
)

func driverError(number uint16, message string) error {
	return fmt.Errorf("wrapped: %w", &driver.MySQLError{Number: number, Message: message})
}

func TestErrorPredicates(t *testing.T) {
	const readOnly = "The MySQL server is running with the --super-read-only option so it cannot execute this statement"
	const grants = "The MySQL server is running with the --skip-grant-tables option so it cannot execute this statement"
	predicates := map[string]func(error) bool{
		"table": IsNoSuchTable, "database": IsNoSuchDatabase, "lock": IsLockWaitTimeout, "read-only": IsReadOnly,
		"denied": IsAccessDenied, "alter": IsUnsupportedAlter, "syntax": IsSyntax, "connection": IsConnection,
	}
	for _, c := range []struct {
		err  error
		want string // the one predicate that holds
	}{
		{nil, ""},
		{errors.New("x"), ""},
		{driverError(ErrNoSuchTable, ""), "table"},
		{driverError(ErrBadTable, ""), "table"},
		{driverError(ErrBadDB, ""), "database"},
		{driverError(ErrLockWaitTimeout, ""), "lock"},
		{driverError(ErrOptionPrevents, readOnly), "read-only"},
		{driverError(ErrOptionPrevents, grants), ""},
		{driverError(ErrReadOnlyTransaction, ""), "read-only"},
		{driverError(ErrAccessDenied, ""), "denied"},
		{driverError(ErrSpecificAccessDenied, ""), "denied"},
		{driverError(ErrAlterNotSupported, ""), "alter"},
		{driverError(ErrAlterNotSupportedWhy, ""), "alter"},
		{driverError(ErrMaxRowVersion, ""), "alter"},
		{driverError(ErrParse, ""), "syntax"},
		{driverError(ErrTooManyConnections, ""), "connection"},
		{driverError(ErrServerShutdown, ""), "connection"},
		{driverError(ErrSessionKilled, ""), "connection"},
		{driverError(ErrQueryInterrupted, ""), ""}, // the statement was killed, the server is well
		{driverError(ErrDupEntry, ""), ""},
		{sqldriver.ErrBadConn, "connection"},
		{driver.ErrInvalidConn, "connection"},
		{sql.ErrConnDone, "connection"},
		{sql.ErrNoRows, ""},
		{io.ErrUnexpectedEOF, "connection"},
		{context.DeadlineExceeded, "connection"},
		{context.Canceled, ""},
		{&ConnectError{"h:1", &net.OpError{Op: "dial", Err: errors.New("no route")}}, "connection"},
		{&ConnectError{"h:1", driverError(ErrAccessDenied, "")}, "denied"},
		{&ConnectError{"h:1", fmt.Errorf("given up: %w", context.Canceled)}, ""},
	} {
		for name, holds := range predicates {
			if got := holds(c.err); got != (name == c.want) {
				t.Errorf("%s of %v: %v", name, c.err, got)
			}
		}
	}
	if IsNumber(errors.New("x"), 0) {
		t.Error("an error without number has number 0")
	}
}
