package osc

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// Final tells whether another try of the same run is pointless: only another schema, other rows, settings or permission
// help. It is the one place that says so, for errors of the planner, of the server and of gh-ost alike. What is not
// known is not final.
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
	return errors.Is(err, errChildEnded) && finalText(err.Error())
}

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

// childError is how the driver renders an error of the server, within what gh-ost says of it.
var childError = regexp.MustCompile(`Error ([0-9]{4})(?: \([0-9A-Z]{5}\))?: `)

// childSays are gh-ost's own words for what will be so at the next try.
var childSays = []string{
	"No shared unique key can be found",
	"No PRIMARY nor UNIQUE key found in table",
	"because of SQL warnings",
	"Warnings detected during DML event application",
}

// finalText judges what a gh-ost child said last. It has tried the same statement for a minute by then.
func finalText(text string) bool {
	for _, m := range childError.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[1], 10, 16)
		if err == nil && slices.Contains(serverFinal, uint16(n)) {
			return true
		}
	}
	return slices.ContainsFunc(childSays, func(words string) bool { return strings.Contains(text, words) })
}
