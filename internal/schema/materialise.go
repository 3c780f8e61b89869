package schema

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// FormVersion is part of every cache key: it changes when Normalise gives another form for the same table, so that a
// new release never compares its forms with an old one's. Whoever stores hashes must forget them when it changes.
const FormVersion = 3

// FormCache keeps forms beyond this process. aoscdb implements it.
type FormCache interface {
	Get(ctx context.Context, blob string, env DBEnv) (Form, bool, error)
	Put(ctx context.Context, blob string, env DBEnv, f Form) error
}

// Materialiser turns desired texts into the form the server itself gives them. The zero value works; it is safe for
// concurrent use and must not be copied.
type Materialiser struct {
	Cache FormCache // nil = this process's memory only
	// Account gives, for a server, connections of the account that texts are run by; nil = the ones that are handed in. An
	// account that has nothing but the scratch schemas (ScratchPrefix) keeps every text from everything else.
	Account func(*sql.DB) (*sql.DB, error)
	// Limit is how long one text may take, 0 = draftLimit: a table of thousands of partitions takes minutes, and all others of the tier
	// wait for it.
	Limit time.Duration

	mu   sync.Mutex
	memo generations
	slow map[formKey]time.Time // took longer than Limit, not to be tried before
}

const (
	draftLimit = 2 * time.Minute
	// slowAgain is when a text that took too long is tried again.
	slowAgain = time.Hour
)

// DDLError is the server's refusal of a desired text. Trying again cannot help: the file must be corrected.
type DDLError struct {
	Desired Desired
	Number  uint16 // MySQL's error number
	Err     error
}

func (e *DDLError) Error() string {
	return fmt.Sprintf("MySQL refuses %s at commit %s: %v", e.Desired.Path, clipCommit(e.Desired.Commit), e.Err)
}

// Unwrap gives the driver's error.
func (e *DDLError) Unwrap() error { return e.Err }

// TextError is an error that one text met with and another would not, but no verdict on the text: a privilege that it takes, a disk
// that is full. It may pass.
type TextError struct {
	Desired Desired
	Err     error
}

func (e *TextError) Error() string {
	text := fmt.Sprintf("%s at commit %s could not be tried: %v", e.Desired.Path, clipCommit(e.Desired.Commit), e.Err)
	if mysql.IsAccessDenied(e.Err) {
		text += ": grant the account that on `aosc\\_scratch\\_%`.* (a FOREIGN KEY takes REFERENCES), or change the text"
	}
	return text
}

// Unwrap gives the driver's error.
func (e *TextError) Unwrap() error { return e.Err }

// OfText tells whether an error of Form or Forms is about that text alone: a *DDLError or a *TextError.
func OfText(err error) bool {
	var ddl *DDLError
	var text *TextError
	return errors.As(err, &ddl) || errors.As(err, &text)
}

func clipCommit(s string) string { return s[:min(len(s), 12)] }

// Form is the form that a database of env gives to d. db must be a server of env.Version that takes DDL; it is asked
// only when neither this process nor the Cache knows the answer. The error is d.Problem, a *DDLError, or that of a server
// that could not be asked.
func (m *Materialiser) Form(ctx context.Context, db *sql.DB, d Desired, env DBEnv) (Form, error) {
	forms, errs := m.Forms(ctx, db, []Desired{d}, env)
	if err := errs[d.Table]; err != nil {
		return Form{}, err
	}
	return forms[d.Table], nil
}

// Forms is Form of many tables of one tier, with one scratch schema for all. Each table is in exactly one of the two
// results. A text that is refused does not stop the others.
func (m *Materialiser) Forms(ctx context.Context, db *sql.DB, ds []Desired, env DBEnv) (map[string]Form, map[string]error) {
	forms, errs := make(map[string]Form, len(ds)), map[string]error{}
	key := env
	key.Version += "/" + strconv.Itoa(FormVersion)
	var todo []Desired
	for _, d := range ds {
		if d.Problem != nil {
			errs[d.Table] = d.Problem
		} else if f, ok := m.known(ctx, d, key); ok {
			forms[d.Table] = f
		} else if err := m.rests(d, key); err != nil {
			errs[d.Table] = err
		} else {
			todo = append(todo, d)
		}
	}
	if len(todo) == 0 {
		return forms, errs
	}
	if m.Account != nil {
		own, err := m.Account(db)
		if err != nil {
			for _, d := range todo {
				errs[d.Table] = err
			}
			return forms, errs
		}
		db = own
	}
	var err error
	for rest := todo; len(rest) > 0; {
		var slow bool
		err = WithScratch(ctx, db, env, func(ctx context.Context, conn *sql.Conn, schemaName string) error {
			for len(rest) > 0 {
				d := rest[0]
				rest = rest[1:]
				f, err := m.draft(ctx, db, conn, d, schemaName, env, key)
				switch {
				case OfText(err):
					errs[d.Table] = err
				case err != nil:
					return fmt.Errorf("materialise %s: %w", d.Path, err)
				default:
					forms[d.Table] = f
					m.remember(ctx, d, key, f)
				}
				if slow = errors.Is(err, errSlow); slow {
					return err // the connection is gone
				}
			}
			return nil
		})
		if !slow {
			break
		}
		err = nil
	}
	for _, d := range todo {
		if _, ok := forms[d.Table]; !ok && errs[d.Table] == nil {
			errs[d.Table] = err
		}
	}
	return forms, errs
}

// errSlow: a text took longer than the limit.
var errSlow = errors.New("it takes too long")

// draft is materialise within the limit. What takes longer is given up with its connection, and is not tried again for a while: the server
// makes all partitions before it looks whether it was killed, and the next use of the server drops them.
func (m *Materialiser) draft(ctx context.Context, db *sql.DB, conn *sql.Conn, d Desired, schemaName string, env, key DBEnv) (Form, error) {
	limit := cmp.Or(m.Limit, draftLimit)
	tooSlow := &TextError{Desired: d, Err: fmt.Errorf("%w: more than %v (has it thousands of partitions?)", errSlow, limit)}
	var id int64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return Form{}, err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f, err := materialise(limited, conn, d, schemaName, env)
	if err == nil || ctx.Err() != nil || limited.Err() == nil {
		return f, err
	}
	m.mu.Lock()
	if m.slow == nil {
		m.slow = map[formKey]time.Time{}
	}
	m.slow[formKey{d.Blob, key}] = time.Now().Add(slowAgain)
	m.mu.Unlock()
	kill, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	if _, err := db.ExecContext(kill, fmt.Sprintf("KILL %d", id)); err != nil && !mysql.IsNumber(err, mysql.ErrNoSuchThread) {
		return Form{}, errors.Join(tooSlow, err)
	}
	return Form{}, tooSlow
}

// rests says of a text that took too long why it is not tried now, nil when it may be.
func (m *Materialiser) rests(d Desired, key DBEnv) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, slow := m.slow[formKey{d.Blob, key}]
	switch {
	case !slow:
		return nil
	case time.Now().After(until):
		delete(m.slow, formKey{d.Blob, key})
		return nil
	}
	return &TextError{Desired: d, Err: fmt.Errorf("%w: it is tried again at %s", errSlow, until.UTC().Format(time.TimeOnly+" UTC"))}
}

type formKey struct {
	blob string
	env  DBEnv
}

// known asks the memory, then the cache. A cache that does not answer costs a materialisation, nothing more.
func (m *Materialiser) known(ctx context.Context, d Desired, env DBEnv) (Form, bool) {
	k := formKey{d.Blob, env}
	m.mu.Lock()
	f, ok := m.memo.get(k)
	m.mu.Unlock()
	if ok || m.Cache == nil || d.Blob == "" {
		return f, ok && d.Blob != ""
	}
	f, ok, err := m.Cache.Get(ctx, d.Blob, env)
	if err != nil || !ok {
		return Form{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memo.put(k, f)
	return f, true
}

func (m *Materialiser) remember(ctx context.Context, d Desired, env DBEnv, f Form) {
	if d.Blob == "" {
		return
	}
	m.mu.Lock()
	m.memo.put(formKey{d.Blob, env}, f)
	m.mu.Unlock()
	if m.Cache != nil {
		_ = m.Cache.Put(ctx, d.Blob, env, f) // made again by the next daemon
	}
}

// materialise creates one table in the scratch schema and reads it back. For an error of the text OfText holds; any other is
// about the server.
func materialise(ctx context.Context, conn *sql.Conn, d Desired, schemaName string, env DBEnv) (Form, error) {
	statement, err := Render(d.Text, env)
	if err != nil {
		return Form{}, &DDLError{Desired: d, Err: err}
	}
	err = create(ctx, conn, statement.SQL, statement.Mode)
	if mysql.IsNumber(err, errInvalidDefault) {
		// Perhaps a zero date, which a table may have from a time when the server took them. Whether this one may is for
		// ZeroDefaults to say.
		if create(ctx, conn, statement.SQL, zeroDates(statement.Mode)) == nil {
			err = nil
		}
	}
	if err != nil {
		return Form{}, judgeText(ctx, d, err)
	}
	f, err := showForm(ctx, conn, schemaName, d.Table)
	if err != nil {
		return Form{}, err
	}
	// A table's foreign keys and checks would take their names from the next.
	_, err = conn.ExecContext(ctx, "DROP TABLE "+mysql.QuoteIdents(schemaName, d.Table))
	return f, err
}

// errInvalidDefault is ER_INVALID_DEFAULT.
const errInvalidDefault uint16 = 1067

// judgeText tells an error of a text from one of the server.
func judgeText(ctx context.Context, d Desired, err error) error {
	switch {
	case mysql.Number(err) == 0, mysql.IsConnection(err), mysql.IsReadOnly(err), ctx.Err() != nil:
		return err
	case mysql.IsAccessDenied(err), mysql.IsLockWaitTimeout(err), mysql.IsNumber(err, mysql.ErrLockDeadlock, mysql.ErrRecordFileFull,
		mysql.ErrGetErrno, mysql.ErrQueryInterrupted, mysql.ErrQueryTimeout):
		return &TextError{Desired: d, Err: err}
	}
	return &DDLError{Desired: d, Number: mysql.Number(err), Err: err}
}

// create runs the CREATE TABLE of a Statement on a connection whose default database it is for.
func create(ctx context.Context, conn *sql.Conn, statement, mode string) error {
	if err := CreateSession(ctx, conn, mode); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, statement)
	return err
}

// CreateSession prepares a connection to run a Statement so that it becomes what Materialiser says it does: under the server's
// own sql_mode, which its author had in mind, and without the primary key that sql_generate_invisible_primary_key would add
// to what the text says.
func CreateSession(ctx context.Context, conn *sql.Conn, sqlMode string) error {
	if _, err := conn.ExecContext(ctx, "SET SESSION sql_mode = "+mysql.QuoteString(sqlMode)+createSettings); err != nil {
		return fmt.Errorf("prepare a session for CREATE TABLE: %w", err)
	}
	return nil
}

// createSettings is what a session that creates a table needs besides its sql_mode.
const createSettings = " /*!80030 , SESSION sql_generate_invisible_primary_key = 0 */"

func showForm(ctx context.Context, conn *sql.Conn, schemaName, table string) (Form, error) {
	if err := ShowSession(ctx, conn); err != nil {
		return Form{}, err
	}
	text, err := ShowCreate(ctx, conn, schemaName, table)
	if err != nil {
		return Form{}, err
	}
	return Normalise(text)
}

// generations is a cache of bounded size: when the young half is full the old half is forgotten.
type generations struct{ young, old map[formKey]Form }

const generationSize = 2048

func (g *generations) get(k formKey) (Form, bool) {
	if f, ok := g.young[k]; ok {
		return f, true
	}
	f, ok := g.old[k]
	if ok {
		g.put(k, f)
	}
	return f, ok
}

func (g *generations) put(k formKey, f Form) {
	if len(g.young) >= generationSize {
		g.young, g.old = nil, g.young
	}
	if g.young == nil {
		g.young = map[formKey]Form{}
	}
	g.young[k] = f
}
