package copy

import (
	"errors"
	"slices"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// Final tells whether another try of the same run is pointless: only another schema, other rows, settings or permission
// help. It is the one place that says so, for errors of the planner and of the server; an engine's own errors have a
// method Final. What is not known is not final.
func Final(err error) bool {
	var refused *RefusedError
	var differs *VerifyError
	var ddl *schema.DDLError
	var diff *schema.DiffError
	var proof *schema.ProofError
	switch {
	case err == nil:
		return false
	case errors.As(err, &refused), errors.As(err, &differs), errors.As(err, &ddl), errors.As(err, &diff), errors.As(err, &proof):
		return true
	case mysql.IsNumber(err, serverFinal...):
		return true
	}
	var own interface{ Final() bool }
	return errors.As(err, &own) && own.Final()
}

// FinalNumber is Final for the number of an error of the server's.
func FinalNumber(n uint16) bool { return slices.Contains(serverFinal, n) }

// RowsRefused: the server refused a statement because of the rows, or of what is in other tables.
func RowsRefused(err error) bool { return mysql.IsNumber(err, rowsRefused...) }

// rowsRefused are the server's errors about values: of the rows, in the new definition, or in other tables.
var rowsRefused = []uint16{mysql.ErrBadNull, mysql.ErrDupEntry, mysql.ErrDataOutOfRange, mysql.ErrDataTruncated,
	mysql.ErrTruncatedWrongValue,
	mysql.ErrWrongValueForField, mysql.ErrDataTooLong, mysql.ErrCheckViolated, mysql.ErrNoPartitionForValue, mysql.ErrNoReferencedRow2,
	mysql.ErrInvalidNull, mysql.ErrNoDefault, mysql.ErrInvalidJSON, mysql.ErrInvalidJSONPath, mysql.ErrInvalidCharacters,
	mysql.ErrCannotConvert, mysql.ErrWrongGeometry, mysql.ErrExpressionRange,
	mysql.ErrWrongForFunction, mysql.ErrFunctionalTruncated, mysql.ErrFunctionalRange, mysql.ErrAutoIncrement}

// definitionRefused are its errors about the new definition as such, which an empty copy need not have shown. Not among them is what
// another alter of the tier may mend: the parent of a foreign key that is missing.
var definitionRefused = []uint16{mysql.ErrParse, mysql.ErrSyntax, mysql.ErrBadField, mysql.ErrTooBigRowsize, mysql.ErrTooLongKey,
	mysql.ErrTooLongIdent,
	mysql.ErrKeyColumnMissing, mysql.ErrUnknownStorageEngine, mysql.ErrPartitionKeyFields, mysql.ErrInvalidDefault, mysql.ErrTooManyKeys,
	mysql.ErrWrongAutoKey,
	mysql.ErrBlobDefault, mysql.ErrBlobKey, mysql.ErrPrimaryNull, mysql.ErrUnknownCharset, mysql.ErrUnknownCollation,
	mysql.ErrEngineDisabled, mysql.ErrIndexColumnTooLong}

// privilegeLacks are its errors about what the account may do. A wrong password is not among them: it may be about to be changed.
var privilegeLacks = []uint16{mysql.ErrDBAccessDenied, mysql.ErrTableAccessDenied, mysql.ErrColumnAccessDenied,
	mysql.ErrSpecificAccessDenied}

// serverFinal are all of them.
var serverFinal = slices.Concat(rowsRefused, definitionRefused, privilegeLacks, []uint16{mysql.ErrBinlogCacheFull})
