// Package schema turns git and servers into comparable table definitions.
package schema

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

var errPending = errors.New("not built yet")

type RepoConfig struct {
	URL, Branch, Cache, Dir string
}
type Repo struct{ PollInterval time.Duration }

func OpenRepo(ctx context.Context, cfg RepoConfig) (*Repo, error) { return nil, errPending }
func (r *Repo) Head(ctx context.Context) (string, error)          { return "", errPending }
func (r *Repo) Snapshot(ctx context.Context, commit string) (*Snapshot, error) {
	return nil, errPending
}

// Pinned loads one table's text by blob: at commit, or, where a force-push lost that commit, at the head.
func (r *Repo) Pinned(ctx context.Context, commit, tier, table, blob string) (Desired, error) {
	return Desired{}, errPending
}

type Desired struct {
	Tier, Table, Path, Blob, Commit, Text string
	Problem                               error
}
type Snapshot struct {
	Commit, Author string
	When           time.Time
	Message        string
	Tiers          map[string]map[string]Desired
}

func (s *Snapshot) Table(tier, table string) (Desired, bool) {
	d, ok := s.Tiers[tier][table]
	return d, ok
}
func ParseDesired(path, text string) (table string, err error) { return "", errPending }

type Form struct{ Text, Hash string }

func Normalise(showCreate string) (Form, error) { return Form{}, errPending }

type DBEnv struct{ Version, Charset, Collation, SQLMode string }

func ReadDBEnvs(ctx context.Context, db *sql.DB, databases []string) (map[string]DBEnv, error) {
	return nil, errPending
}

type FormCache interface {
	Get(ctx context.Context, blob string, env DBEnv) (Form, bool, error)
	Put(ctx context.Context, blob string, env DBEnv, f Form) error
}
type Materialiser struct{ Cache FormCache }

func (m *Materialiser) Form(ctx context.Context, db *sql.DB, d Desired, env DBEnv) (Form, error) {
	return Form{}, errPending
}
func (m *Materialiser) Forms(ctx context.Context, db *sql.DB, ds []Desired, env DBEnv) (map[string]Form, map[string]error) {
	return nil, nil
}

// DDLError is the server's refusal of a desired text.
type DDLError struct {
	Tier, Table string
	Number      uint16
	Err         error
}

func (e *DDLError) Error() string { return e.Err.Error() }
func (e *DDLError) Unwrap() error { return e.Err }

func WithScratch(ctx context.Context, db *sql.DB, env DBEnv, fn func(ctx context.Context, conn *sql.Conn, schemaName string) error) error {
	return errPending
}

type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
type Ref struct{ Database, Table string }

func ShowCreate(ctx context.Context, q Querier, database, table string) (string, error) {
	return "", errPending
}
func CurrentForms(ctx context.Context, db *sql.DB, refs []Ref) (map[Ref]Form, error) {
	return nil, errPending
}

// EachCurrent is CurrentForms one by one, for callers that keep only the hash.
func EachCurrent(ctx context.Context, db *sql.DB, refs []Ref, fn func(Ref, Form) error) error {
	return errPending
}

// DataCheck tells whether the data of one table makes a Finding real.
type DataCheck struct {
	What, Partition, Where, GroupBy string
}

// SQL returns one row when data would be lost, none when not.
func (c DataCheck) SQL(database, table string) string { return "" }

type Finding struct {
	Code           string
	Column, Detail string
	Check          *DataCheck
}
type Change struct {
	Empty     bool
	Clauses   string
	Statement func(database, table string) string
	Findings  []Finding
	Copyable  error
}

// Statements are the ALTERs of the change in order; modifiers ("ALGORITHM=INSTANT") may be empty. Some partition
// changes need more than one.
func (c Change) Statements(database, table, modifiers string) []string { return nil }

// CopyClauses are the clauses for a copy made by CREATE TABLE copyTable LIKE table.
func (c Change) CopyClauses(copyTable string) string { return "" }

func Diff(current, desired Form, version string) (Change, error) { return Change{}, errPending }

type Proof struct {
	Instant, Inplace, Rebuilds, BuildsIndex bool
	Result                                  Form
	Copy                                    error // why a copy through CREATE TABLE LIKE does not give the desired form, nil when proven
}

func Prove(ctx context.Context, db *sql.DB, env DBEnv, current, desired Form, c Change) (Proof, error) {
	return Proof{}, errPending
}

type ProofError struct {
	Table, Want, Got string
}

func (e *ProofError) Error() string { return e.Table }

// AlterSQLMode is the sql_mode every ALTER of a Change must run under.
const AlterSQLMode = "STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"
