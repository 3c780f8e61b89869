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
	case dataRefused(err), mysql.IsNumber(err, errBinlogCacheFull):
		return true
	}
	return errors.Is(err, errChildEnded) && finalText(err.Error())
}

// errBinlogCacheFull is ER_TRANS_CACHE_FULL: one statement, one chunk or one row is more than max_binlog_cache_size.
const errBinlogCacheFull uint16 = 1197

// childError is how the driver renders an error of the server, within what gh-ost says of it.
var childError = regexp.MustCompile(`Error ([0-9]{4})(?: \([0-9A-Z]{5}\))?: `)

// childFinal are the errors of the server that end a copy for good: gh-ost has tried the same statement for a minute by then.
var childFinal = []uint16{mysql.ErrBadNull, mysql.ErrDupEntry, mysql.ErrDataOutOfRange, mysql.ErrDataTruncated, mysql.ErrTruncatedWrongValue,
	mysql.ErrWrongValueForField, mysql.ErrDataTooLong, mysql.ErrCheckViolated, mysql.ErrNoPartitionForValue, mysql.ErrNoReferencedRow2,
	errInvalidNull, errNoDefault, errInvalidJSON, errBinlogCacheFull, mysql.ErrParse, mysql.ErrBadField, mysql.ErrTooBigRowsize, mysql.ErrTooLongKey}

// childSays are gh-ost's own words for what will be so at the next try.
var childSays = []string{
	"No shared unique key can be found",
	"No PRIMARY nor UNIQUE key found in table",
	"because of SQL warnings",
	"Warnings detected during DML event application",
}

// finalText judges what a gh-ost child said last.
func finalText(text string) bool {
	for _, m := range childError.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[1], 10, 16)
		if err == nil && slices.Contains(childFinal, uint16(n)) {
			return true
		}
	}
	return slices.ContainsFunc(childSays, func(words string) bool { return strings.Contains(text, words) })
}
