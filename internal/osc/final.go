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
var rowsRefused = []uint16{mysql.ErrBadNull, mysql.ErrDupEntry, mysql.ErrDataOutOfRange, mysql.ErrDataTruncated, mysql.ErrTruncatedWrongValue,
	mysql.ErrWrongValueForField, mysql.ErrDataTooLong, mysql.ErrCheckViolated, mysql.ErrNoPartitionForValue, mysql.ErrNoReferencedRow2,
	errInvalidNull, errNoDefault, errInvalidJSON, errInvalidJSONPath, errInvalidCharacters, errCannotConvert, errWrongGeometry, errExpressionRange,
	errWrongForFunction, errFunctionalTruncated, errFunctionalRange, errAutoIncrement}

// definitionRefused are its errors about the new definition as such, which an empty copy need not have shown. Not among them is what
// another alter of the tier may mend: the parent of a foreign key that is missing.
var definitionRefused = []uint16{mysql.ErrParse, mysql.ErrSyntax, mysql.ErrBadField, mysql.ErrTooBigRowsize, mysql.ErrTooLongKey, mysql.ErrTooLongIdent,
	mysql.ErrKeyColumnMissing, mysql.ErrUnknownStorageEngine, mysql.ErrPartitionKeyFields, errInvalidDefault, errTooManyKeys, errWrongAutoKey,
	errBlobDefault, errBlobKey, errPrimaryNull, errUnknownCharset, errUnknownCollation, errEngineDisabled, errIndexColumnTooLong}

// privilegeLacks are its errors about what the account may do. A wrong password is not among them: it may be about to be changed.
var privilegeLacks = []uint16{mysql.ErrDBAccessDenied, mysql.ErrTableAccessDenied, mysql.ErrColumnAccessDenied, mysql.ErrSpecificAccessDenied}

// serverFinal are all of them.
var serverFinal = slices.Concat(rowsRefused, definitionRefused, privilegeLacks, []uint16{errBinlogCacheFull})

// Numbers that only an ALTER over rows, or a definition that was proven elsewhere, gives.
const (
	errInvalidDefault      uint16 = 1067 // ER_INVALID_DEFAULT
	errTooManyKeys         uint16 = 1069 // ER_TOO_MANY_KEYS
	errWrongAutoKey        uint16 = 1075 // ER_WRONG_AUTO_KEY
	errBlobDefault         uint16 = 1101 // ER_BLOB_CANT_HAVE_DEFAULT
	errUnknownCharset      uint16 = 1115 // ER_UNKNOWN_CHARACTER_SET
	errInvalidNull         uint16 = 1138 // ER_INVALID_USE_OF_NULL
	errBlobKey             uint16 = 1170 // ER_BLOB_KEY_WITHOUT_LENGTH
	errPrimaryNull         uint16 = 1171 // ER_PRIMARY_CANT_HAVE_NULL
	errBinlogCacheFull     uint16 = 1197 // ER_TRANS_CACHE_FULL: a statement, a chunk or a row is more than max_binlog_cache_size
	errUnknownCollation    uint16 = 1273 // ER_UNKNOWN_COLLATION
	errInvalidCharacters   uint16 = 1300 // ER_INVALID_CHARACTER_STRING
	errNoDefault           uint16 = 1364 // ER_NO_DEFAULT_FOR_FIELD
	errWrongForFunction    uint16 = 1411 // ER_WRONG_VALUE_FOR_TYPE
	errWrongGeometry       uint16 = 1416 // ER_CANT_CREATE_GEOMETRY_OBJECT
	errAutoIncrement       uint16 = 1467 // ER_AUTOINC_READ_FAILED: no number is left
	errExpressionRange     uint16 = 1690 // ER_DATA_OUT_OF_RANGE, of an expression
	errIndexColumnTooLong  uint16 = 1709 // ER_INDEX_COLUMN_TOO_LONG
	errInvalidJSON         uint16 = 3140 // ER_INVALID_JSON_TEXT
	errInvalidJSONPath     uint16 = 3141 // ER_INVALID_JSON_TEXT_IN_PARAM
	errEngineDisabled      uint16 = 3161 // ER_DISABLED_STORAGE_ENGINE
	errFunctionalTruncated uint16 = 3751 // ER_DATA_TRUNCATED_FUNCTIONAL_INDEX
	errFunctionalRange     uint16 = 3752 // ER_VALUE_OUT_OF_RANGE_FUNCTIONAL_INDEX
	errCannotConvert       uint16 = 3854 // ER_CANNOT_CONVERT_STRING
)

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
