package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	driver "github.com/go-sql-driver/mysql"
)

// Server is what a mysqld says of itself.
type Server struct {
	Version                      Version
	UUID, Hostname               string
	Port                         int
	ServerID                     uint32
	ReadOnly, SuperReadOnly      bool
	BinlogFormat                 string // ROW, STATEMENT, MIXED
	BinlogRowImage               string // FULL, MINIMAL, NOBLOB
	BinlogRowValueOptions        string // "" or PARTIAL_JSON
	BinlogTransactionCompression bool
	LogBin, LogReplicaUpdates    bool
	GTIDMode                     string // ON, OFF, ...
	GTIDExecuted, GTIDPurged     string // see ParseGTIDSet
	SQLMode                      string // the global one, unlike that of our sessions
	Charset, Collation           string // defaults of new databases
	Datadir                      string
	LowerCaseTableNames          int
	EventScheduler               string // ON, OFF, DISABLED
}

// ReadServer asks a server what it is, in one round trip (one more per variable that an older server calls by another
// name). A server that is not supported is an *UnsupportedError; Version is set all the same.
func ReadServer(ctx context.Context, db *sql.DB) (Server, error) {
	return readServer(ctx, db, slices.Clone(serverVariables))
}

// readServer changes vars to what the server has.
func readServer(ctx context.Context, db *sql.DB, vars []variable) (Server, error) {
	for range 2*len(vars) + 1 {
		s, err := selectServer(ctx, db, vars)
		if err == nil {
			return s, s.Version.Supported()
		}
		if !IsNumber(err, ErrUnknownSystemVariable) {
			return Server{}, fmt.Errorf("read the server's variables: %w", err)
		}
		if !substitute(vars, err) {
			return refusedServer(ctx, db, err)
		}
	}
	return Server{}, errors.New("read the server's variables: it keeps refusing variables it was no longer asked for")
}

// substitute replaces the variable that err complains of by its older name or its stand-in; false when there is none.
func substitute(vars []variable, err error) bool {
	var my *driver.MySQLError
	if !errors.As(err, &my) {
		return false
	}
	for i, v := range vars {
		// The text may be in any language, but the name is always quoted in it.
		if v.name == "" || !strings.Contains(my.Message, "'"+v.name+"'") {
			continue
		}
		switch {
		case v.older != "":
			vars[i] = variable{name: v.older, missing: v.missing}
		case v.missing != "":
			vars[i] = variable{missing: v.missing}
		default:
			return false
		}
		return true
	}
	return false
}

// refusedServer finds out why a server lacks a variable that every supported one has.
func refusedServer(ctx context.Context, db *sql.DB, cause error) (Server, error) {
	var text string
	if err := db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&text); err != nil {
		return Server{}, fmt.Errorf("read the server's version: %w", err)
	}
	v, err := ParseVersion(text)
	if err == nil {
		err = v.Supported()
	}
	if err == nil {
		err = fmt.Errorf("read the variables of MySQL %s: %w", text, cause)
	}
	return Server{Version: v}, err
}

func selectServer(ctx context.Context, db *sql.DB, vars []variable) (Server, error) {
	exprs := make([]string, len(vars))
	for i, v := range vars {
		exprs[i] = v.missing
		if v.name != "" {
			exprs[i] = "@@GLOBAL." + v.name
		}
	}
	var s Server
	var version string
	err := db.QueryRowContext(ctx, "SELECT "+strings.Join(exprs, ", ")).Scan(
		&version, &s.UUID, &s.Hostname, &s.Port, &s.ServerID, &s.ReadOnly, &s.SuperReadOnly,
		&s.BinlogFormat, &s.BinlogRowImage, &s.BinlogRowValueOptions, &s.BinlogTransactionCompression,
		&s.LogBin, &s.LogReplicaUpdates, &s.GTIDMode, &s.GTIDExecuted, &s.GTIDPurged,
		&s.SQLMode, &s.Charset, &s.Collation, &s.Datadir, &s.LowerCaseTableNames, &s.EventScheduler)
	if err != nil {
		return s, err
	}
	// The server breaks long sets into lines.
	s.GTIDExecuted = strings.ReplaceAll(s.GTIDExecuted, "\n", "")
	s.GTIDPurged = strings.ReplaceAll(s.GTIDPurged, "\n", "")
	s.Version, err = ParseVersion(version)
	return s, err
}
