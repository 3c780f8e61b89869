package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	driver "github.com/go-sql-driver/mysql"
)

// MySQL's error numbers used anywhere in the project, by the server's own names (`perror <number>`).
const (
	ErrCantCreateTable       uint16 = 1005 // ER_CANT_CREATE_TABLE
	ErrDBCreateExists        uint16 = 1007 // ER_DB_CREATE_EXISTS
	ErrDBDropExists          uint16 = 1008 // ER_DB_DROP_EXISTS: cannot drop, does not exist
	ErrGetErrno              uint16 = 1030 // ER_GET_ERRNO: the storage engine failed
	ErrTooManyConnections    uint16 = 1040 // ER_CON_COUNT_ERROR
	ErrDBAccessDenied        uint16 = 1044 // ER_DBACCESS_DENIED_ERROR
	ErrAccessDenied          uint16 = 1045 // ER_ACCESS_DENIED_ERROR
	ErrNoDB                  uint16 = 1046 // ER_NO_DB_ERROR: none selected
	ErrBadNull               uint16 = 1048 // ER_BAD_NULL_ERROR
	ErrBadDB                 uint16 = 1049 // ER_BAD_DB_ERROR: unknown database
	ErrTableExists           uint16 = 1050 // ER_TABLE_EXISTS_ERROR
	ErrBadTable              uint16 = 1051 // ER_BAD_TABLE_ERROR: unknown table in DROP
	ErrServerShutdown        uint16 = 1053 // ER_SERVER_SHUTDOWN
	ErrBadField              uint16 = 1054 // ER_BAD_FIELD_ERROR: unknown column
	ErrTooLongIdent          uint16 = 1059 // ER_TOO_LONG_IDENT
	ErrDupFieldname          uint16 = 1060 // ER_DUP_FIELDNAME
	ErrDupKeyname            uint16 = 1061 // ER_DUP_KEYNAME
	ErrDupEntry              uint16 = 1062 // ER_DUP_ENTRY
	ErrParse                 uint16 = 1064 // ER_PARSE_ERROR
	ErrInvalidDefault        uint16 = 1067 // ER_INVALID_DEFAULT
	ErrTooManyKeys           uint16 = 1069 // ER_TOO_MANY_KEYS
	ErrTooLongKey            uint16 = 1071 // ER_TOO_LONG_KEY
	ErrKeyColumnMissing      uint16 = 1072 // ER_KEY_COLUMN_DOES_NOT_EXITS
	ErrWrongAutoKey          uint16 = 1075 // ER_WRONG_AUTO_KEY
	ErrCantDropField         uint16 = 1091 // ER_CANT_DROP_FIELD_OR_KEY
	ErrNoSuchThread          uint16 = 1094 // ER_NO_SUCH_THREAD
	ErrBlobDefault           uint16 = 1101 // ER_BLOB_CANT_HAVE_DEFAULT
	ErrWrongDBName           uint16 = 1102 // ER_WRONG_DB_NAME
	ErrWrongTableName        uint16 = 1103 // ER_WRONG_TABLE_NAME
	ErrUnknown               uint16 = 1105 // ER_UNKNOWN_ERROR
	ErrRecordFileFull        uint16 = 1114 // ER_RECORD_FILE_FULL: "the table is full", the disk usually is
	ErrUnknownCharset        uint16 = 1115 // ER_UNKNOWN_CHARACTER_SET
	ErrTooBigRowsize         uint16 = 1118 // ER_TOO_BIG_ROWSIZE
	ErrUDFExists             uint16 = 1125 // ER_UDF_EXISTS, of INSTALL PLUGIN too: it is installed already
	ErrHostIsBlocked         uint16 = 1129 // ER_HOST_IS_BLOCKED
	ErrHostNotPrivileged     uint16 = 1130 // ER_HOST_NOT_PRIVILEGED
	ErrInvalidNull           uint16 = 1138 // ER_INVALID_USE_OF_NULL
	ErrTableAccessDenied     uint16 = 1142 // ER_TABLEACCESS_DENIED_ERROR
	ErrColumnAccessDenied    uint16 = 1143 // ER_COLUMNACCESS_DENIED_ERROR
	ErrSyntax                uint16 = 1149 // ER_SYNTAX_ERROR
	ErrNoSuchTable           uint16 = 1146 // ER_NO_SUCH_TABLE
	ErrAbortingConnection    uint16 = 1152 // ER_ABORTING_CONNECTION
	ErrNetRead               uint16 = 1158 // ER_NET_READ_ERROR
	ErrNetReadInterrupted    uint16 = 1159 // ER_NET_READ_INTERRUPTED
	ErrNetWrite              uint16 = 1160 // ER_NET_ERROR_ON_WRITE
	ErrNetWriteInterrupted   uint16 = 1161 // ER_NET_WRITE_INTERRUPTED
	ErrBlobKey               uint16 = 1170 // ER_BLOB_KEY_WITHOUT_LENGTH
	ErrPrimaryNull           uint16 = 1171 // ER_PRIMARY_CANT_HAVE_NULL
	ErrNewAbortingConn       uint16 = 1184 // ER_NEW_ABORTING_CONNECTION
	ErrUnknownSystemVariable uint16 = 1193 // ER_UNKNOWN_SYSTEM_VARIABLE
	ErrBinlogCacheFull       uint16 = 1197 // ER_TRANS_CACHE_FULL: a statement, a chunk or a row is more than max_binlog_cache_size
	ErrNotReplica            uint16 = 1200 // ER_BAD_REPLICA: not configured as one
	ErrTooManyUserConns      uint16 = 1203 // ER_TOO_MANY_USER_CONNECTIONS
	ErrLockWaitTimeout       uint16 = 1205 // ER_LOCK_WAIT_TIMEOUT, of row locks and metadata locks
	ErrLockDeadlock          uint16 = 1213 // ER_LOCK_DEADLOCK
	ErrCannotAddForeign      uint16 = 1215 // ER_CANNOT_ADD_FOREIGN
	ErrRowIsReferenced       uint16 = 1217 // ER_ROW_IS_REFERENCED
	ErrUserLimitReached      uint16 = 1226 // ER_USER_LIMIT_REACHED
	ErrSpecificAccessDenied  uint16 = 1227 // ER_SPECIFIC_ACCESS_DENIED_ERROR: a privilege is missing
	ErrNotSupportedYet       uint16 = 1235 // ER_NOT_SUPPORTED_YET
	ErrDataOutOfRange        uint16 = 1264 // ER_WARN_DATA_OUT_OF_RANGE
	ErrDataTruncated         uint16 = 1265 // WARN_DATA_TRUNCATED
	ErrUnknownCollation      uint16 = 1273 // ER_UNKNOWN_COLLATION
	ErrUnknownStorageEngine  uint16 = 1286 // ER_UNKNOWN_STORAGE_ENGINE
	ErrOptionPrevents        uint16 = 1290 // ER_OPTION_PREVENTS_STATEMENT: --read-only and others
	ErrTruncatedWrongValue   uint16 = 1292 // ER_TRUNCATED_WRONG_VALUE
	ErrInvalidCharacters     uint16 = 1300 // ER_INVALID_CHARACTER_STRING
	ErrQueryInterrupted      uint16 = 1317 // ER_QUERY_INTERRUPTED: KILL QUERY
	ErrNoDefault             uint16 = 1364 // ER_NO_DEFAULT_FOR_FIELD
	ErrDivisionByZero        uint16 = 1365 // ER_DIVISION_BY_ZERO
	ErrWrongValueForField    uint16 = 1366 // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
	ErrDataTooLong           uint16 = 1406 // ER_DATA_TOO_LONG
	ErrWrongForFunction      uint16 = 1411 // ER_WRONG_VALUE_FOR_TYPE
	ErrWrongGeometry         uint16 = 1416 // ER_CANT_CREATE_GEOMETRY_OBJECT
	ErrRowIsReferenced2      uint16 = 1451 // ER_ROW_IS_REFERENCED_2
	ErrNoReferencedRow2      uint16 = 1452 // ER_NO_REFERENCED_ROW_2
	ErrAutoIncrement         uint16 = 1467 // ER_AUTOINC_READ_FAILED: no number is left
	ErrPartitionKeyFields    uint16 = 1503 // ER_UNIQUE_KEY_NEED_ALL_FIELDS_IN_PF
	ErrNoPartitionForValue   uint16 = 1526 // ER_NO_PARTITION_FOR_GIVEN_VALUE
	ErrExpressionRange       uint16 = 1690 // ER_DATA_OUT_OF_RANGE, of an expression
	ErrIndexColumnTooLong    uint16 = 1709 // ER_INDEX_COLUMN_TOO_LONG
	ErrMalformedGTIDSet      uint16 = 1772 // ER_MALFORMED_GTID_SET_SPECIFICATION
	ErrPurgedRequiredGTIDs   uint16 = 1789 // ER_SOURCE_HAS_PURGED_REQUIRED_GTIDS
	ErrReadOnlyTransaction   uint16 = 1792 // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
	ErrOnlineLogTooBig       uint16 = 1799 // ER_INNODB_ONLINE_LOG_TOO_BIG
	ErrFKCannotOpenParent    uint16 = 1824 // ER_FK_CANNOT_OPEN_PARENT
	ErrReadOnlyMode          uint16 = 1836 // ER_READ_ONLY_MODE: InnoDB itself is read-only
	ErrAlterNotSupported     uint16 = 1845 // ER_ALTER_OPERATION_NOT_SUPPORTED
	ErrAlterNotSupportedWhy  uint16 = 1846 // ER_ALTER_OPERATION_NOT_SUPPORTED_REASON
	ErrQueryTimeout          uint16 = 3024 // ER_QUERY_TIMEOUT: max_execution_time
	ErrUserLockDeadlock      uint16 = 3058 // ER_USER_LOCK_DEADLOCK
	ErrReplicaMustStop       uint16 = 3081 // ER_REPLICA_CHANNEL_MUST_STOP
	ErrInvalidJSON           uint16 = 3140 // ER_INVALID_JSON_TEXT
	ErrInvalidJSONPath       uint16 = 3141 // ER_INVALID_JSON_TEXT_IN_PARAM
	ErrEngineDisabled        uint16 = 3161 // ER_DISABLED_STORAGE_ENGINE
	ErrServerIsntAvailable   uint16 = 3168 // ER_SERVER_ISNT_AVAILABLE
	ErrSessionKilled         uint16 = 3169 // ER_SESSION_WAS_KILLED
	ErrLockNowait            uint16 = 3572 // ER_LOCK_NOWAIT
	ErrFunctionalTruncated   uint16 = 3751 // ER_DATA_TRUNCATED_FUNCTIONAL_INDEX
	ErrFunctionalRange       uint16 = 3752 // ER_VALUE_OUT_OF_RANGE_FUNCTIONAL_INDEX
	ErrCheckViolated         uint16 = 3819 // ER_CHECK_CONSTRAINT_VIOLATED
	ErrCannotConvert         uint16 = 3854 // ER_CANNOT_CONVERT_STRING
	ErrSchemaReadOnly        uint16 = 3989 // ER_SCHEMA_READ_ONLY: ALTER SCHEMA ... READ ONLY=1
	ErrMustChangePassword    uint16 = 1820 // ER_MUST_CHANGE_PASSWORD
	ErrAccountLocked         uint16 = 3118 // ER_ACCOUNT_HAS_BEEN_LOCKED
	ErrClientTimeout         uint16 = 4031 // ER_CLIENT_INTERACTION_TIMEOUT: wait_timeout passed
	ErrMaxRowVersion         uint16 = 4092 // ER_INNODB_MAX_ROW_VERSION: no more INSTANT until a rebuild
	ErrInstantMaxFields      uint16 = 4158 // ER_INNODB_INSTANT_ADD_NOT_SUPPORTED_MAX_FIELDS
)

// Number is the MySQL error number of err, 0 when it is not an error sent by a server.
func Number(err error) uint16 {
	var my *driver.MySQLError
	if errors.As(err, &my) {
		return my.Number
	}
	return 0
}

// IsNumber tells whether a server sent err with one of these numbers.
func IsNumber(err error, numbers ...uint16) bool {
	n := Number(err)
	return n != 0 && slices.Contains(numbers, n)
}

// IsNoSuchTable: the table does not exist (DROP TABLE has a number of its own for it).
func IsNoSuchTable(err error) bool { return IsNumber(err, ErrNoSuchTable, ErrBadTable) }

// IsNoSuchDatabase: the database does not exist.
func IsNoSuchDatabase(err error) bool { return IsNumber(err, ErrBadDB, ErrDBDropExists) }

// IsLockWaitTimeout: a row lock or metadata lock could not be taken in time; trying again later may help.
func IsLockWaitTimeout(err error) bool { return IsNumber(err, ErrLockWaitTimeout, ErrLockNowait) }

// IsReadOnly: the server, the database or the transaction takes no writes. ErrOptionPrevents is shared by several
// options, told apart only by the option's name in the text.
func IsReadOnly(err error) bool {
	if IsNumber(err, ErrReadOnlyTransaction, ErrReadOnlyMode, ErrSchemaReadOnly) {
		return true
	}
	var my *driver.MySQLError
	return errors.As(err, &my) && my.Number == ErrOptionPrevents && strings.Contains(my.Message, "read-only")
}

// IsAccessDenied: the account, its password, its host or a privilege. Trying again does not help.
func IsAccessDenied(err error) bool {
	return IsNumber(err, ErrDBAccessDenied, ErrAccessDenied, ErrHostNotPrivileged, ErrTableAccessDenied,
		ErrColumnAccessDenied, ErrSpecificAccessDenied)
}

// IsUnsupportedAlter: this ALTER cannot be done with the ALGORITHM or LOCK that was asked for; another may do it.
func IsUnsupportedAlter(err error) bool {
	return IsNumber(err, ErrAlterNotSupported, ErrAlterNotSupportedWhy, ErrMaxRowVersion, ErrInstantMaxFields)
}

// IsSyntax: the server's parser refused the statement.
func IsSyntax(err error) bool { return IsNumber(err, ErrParse, ErrSyntax) }

// IsConnection tells whether err says nothing of the statement but that the server could not be asked or its answer
// did not arrive: unreachable, hung until a deadline, gone away, shutting down, out of connections. Whether a statement
// was done is then unknown (I11). A context cancelled by ourselves is not among them.
func IsConnection(err error) bool {
	switch {
	case err == nil:
		return false
	case IsNumber(err, ErrTooManyConnections, ErrServerShutdown, ErrHostIsBlocked, ErrAbortingConnection, ErrNetRead,
		ErrNetReadInterrupted, ErrNetWrite, ErrNetWriteInterrupted, ErrNewAbortingConn, ErrTooManyUserConns,
		ErrUserLimitReached, ErrServerIsntAvailable, ErrSessionKilled, ErrClientTimeout):
		return true
	case Number(err) != 0, errors.Is(err, context.Canceled):
		return false
	}
	for _, e := range []error{sqldriver.ErrBadConn, driver.ErrInvalidConn, sql.ErrConnDone, context.DeadlineExceeded,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED} {
		if errors.Is(err, e) {
			return true
		}
	}
	var netErr net.Error
	return errors.As(err, &netErr)
}
