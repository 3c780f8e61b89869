package mysql

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	driver "github.com/go-sql-driver/mysql"
)

// Defaults of Options.
const (
	DefaultConnectTimeout = 5 * time.Second
	DefaultMaxOpen        = 4
	// idleTime closes connections nobody used for a while: with thousands of instances idle ones add up, on both ends.
	idleTime = time.Minute
)

// Options tune a connection pool. The zero value is right for asking questions.
type Options struct {
	DB             string        // default database, none when empty
	ConnectTimeout time.Duration // for the whole of dial, TLS, handshake and session set-up; 0 = 5 s
	ReadTimeout    time.Duration // of one read from the socket; 0 = none, the caller's context decides
	MaxOpen        int           // connections open at most; 0 = 4
	Params         map[string]string
	// Params are session variables set on each new connection, name to SQL expression (`"1"`, `"'READ-COMMITTED'"`).
}

// sessionSQLMode keeps the server's own sql_mode (an operator expects DDL to behave as it does by hand) except for the
// modes that change how text is quoted: with them SHOW CREATE TABLE prints other quotes and literals of ours would
// be read wrongly. The combination modes imply ANSI_QUOTES and would bring it back, so they go too; the other modes
// they stand for are listed by the server one by one and stay. No function of newer versions is used: a server that is
// too old must get as far as being told so.
const sessionSQLMode = `TRIM(BOTH ',' FROM REPLACE(REPLACE(REPLACE(CONCAT(',', @@GLOBAL.sql_mode, ','), ',ANSI_QUOTES,', ','), ',ANSI,', ','), ',NO_BACKSLASH_ESCAPES,', ','))`

// Open prepares a pool of connections to one server. It does not touch the network: the first query does. Sessions are
// utf8mb4 in UTC, see sessionSQLMode for their sql_mode. The error is one of configuration.
func Open(a Addr, c Credentials, o Options) (*sql.DB, error) {
	return openAt(a.String(), func(context.Context) (Addr, error) { return a, nil }, c, o, false)
}

// OpenDSN is Open for a DSN of github.com/go-sql-driver/mysql ("user:password@tcp(host:port)/db?tls=preferred"). What
// the DSN says of time-outs and session variables wins over the defaults. The error never shows the DSN: it holds a
// password.
func OpenDSN(dsn string) (*sql.DB, error) {
	cfg, err := ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("bad DSN: %w", err)
	}
	return open(cfg, Options{ConnectTimeout: cfg.Timeout, ReadTimeout: cfg.ReadTimeout, Params: cfg.Params})
}

// VerifyDSN is a DSN whose server is verified by these authorities, PEM, before anything is sent to it; within this process.
func VerifyDSN(dsn string, pem []byte) (string, error) {
	cfg, err := ParseDSN(dsn)
	if err != nil {
		return "", fmt.Errorf("bad DSN: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return "", errors.New("the authorities that the server of the DSN is to be verified by are no PEM certificates")
	}
	name := fmt.Sprintf("ca-%x", sha256.Sum256(pem))
	if err := driver.RegisterTLSConfig(name, &tls.Config{RootCAs: roots}); err != nil {
		return "", err
	}
	cfg.TLS, cfg.TLSConfig, cfg.AllowFallbackToPlaintext = nil, name, false
	return cfg.FormatDSN(), nil
}

// OpenMoving is Open for a server that may become another one, such as whoever is the primary of a cluster: each new
// connection asks locate where to. A connection on which a write is refused because the server is read-only is given up
// and the statement is tried on another, so that a pool follows a switchover; nothing was done by then. An error of locate
// is a *ConnectError with the name.
func OpenMoving(name string, locate func(context.Context) (Addr, error), c Credentials, o Options) (*sql.DB, error) {
	return openAt(name, locate, c, o, true)
}

func openAt(name string, locate func(context.Context) (Addr, error), c Credentials, o Options, rejectReadOnly bool) (*sql.DB, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName, cfg.User = "tcp", name, o.DB, c.User
	cfg.RejectReadOnly = rejectReadOnly
	complete(cfg, &o)
	return pool(&dialer{name: name, locate: locate, account: c, cfg: cfg, timeout: o.ConnectTimeout}, o), nil
}

func open(cfg *driver.Config, o Options) (*sql.DB, error) {
	complete(cfg, &o)
	inner, err := driver.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("connection settings for %s: %w", cfg.Addr, err)
	}
	return pool(&connector{inner: inner, addr: cfg.Addr, timeout: o.ConnectTimeout}, o), nil
}

// complete fills in the defaults, and what all our sessions have in common.
func complete(cfg *driver.Config, o *Options) {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = DefaultMaxOpen
	}
	cfg.Timeout = o.ConnectTimeout
	cfg.ReadTimeout = o.ReadTimeout
	cfg.ParseTime = true
	cfg.Loc = time.UTC
	cfg.InterpolateParams = true // one round trip per statement, and placeholders in any statement
	cfg.Collation = "utf8mb4_0900_ai_ci"
	cfg.Logger = &driver.NopLogger{} // every failure is also returned
	params := map[string]string{"time_zone": "'+00:00'", "sql_mode": sessionSQLMode}
	maps.Copy(params, o.Params)
	cfg.Params = params
}

func pool(c sqldriver.Connector, o Options) *sql.DB {
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(o.MaxOpen)
	db.SetMaxIdleConns(o.MaxOpen)
	db.SetConnMaxIdleTime(idleTime)
	return db
}

// connector bounds the whole of connecting. The driver bounds only the dial, and a stopped mysqld (SIGSTOP, a hung
// disk) still accepts connections through the kernel's backlog and then never says a word.
type connector struct {
	inner   sqldriver.Connector
	addr    string
	timeout time.Duration
}

func (c *connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.inner.Connect(dialCtx)
	if err != nil {
		awaitEnd(dialCtx)
		if ctx.Err() == nil && dialCtx.Err() != nil {
			err = fmt.Errorf("no answer within %v: %w", c.timeout, err)
		}
		return nil, &ConnectError{Addr: c.addr, Err: err}
	}
	return conn, nil
}

// awaitEnd waits for the end of a context whose deadline has passed. The dialer takes its deadline from the context and keeps
// it by a timer of its own, so "i/o timeout" can arrive a moment before ctx.Err() says why: callers would
// take the end of their own time for a fault of the server.
func awaitEnd(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
}

func (c *connector) Driver() sqldriver.Driver { return c.inner.Driver() }

// dialer connects to wherever the server is at that moment, as whoever the account is at that moment.
type dialer struct {
	name    string
	locate  func(context.Context) (Addr, error)
	account Credentials
	cfg     *driver.Config // without address, password and TLS
	timeout time.Duration
	last    atomic.Pointer[string] // password that was accepted last
}

func (d *dialer) Connect(ctx context.Context) (sqldriver.Conn, error) {
	locateCtx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	addr, err := d.locate(locateCtx)
	if err != nil {
		return nil, &ConnectError{Addr: d.name, Err: err}
	}
	cfg := d.cfg.Clone()
	cfg.Addr = addr.String()
	if cfg.TLS, cfg.AllowFallbackToPlaintext, err = d.account.tlsConfig(addr); err != nil {
		return nil, &ConnectError{Addr: cfg.Addr, Err: err}
	}
	var conn sqldriver.Conn
	for _, password := range d.passwords() {
		cfg.Passwd = password
		inner, openErr := driver.NewConnector(cfg)
		if openErr != nil {
			return nil, &ConnectError{Addr: cfg.Addr, Err: openErr}
		}
		if conn, err = (&connector{inner: inner, addr: cfg.Addr, timeout: d.timeout}).Connect(ctx); err == nil {
			d.last.Store(&password)
			return conn, nil
		}
		if !IsNumber(err, ErrAccessDenied) {
			break
		}
	}
	return nil, err
}

// passwords are those to try. That which was accepted last comes first: a login that fails is noted by the server.
func (d *dialer) passwords() []string {
	all := d.account.passwords()
	last := d.last.Load()
	if last == nil || len(all) < 2 {
		return all
	}
	if i := slices.Index(all, *last); i > 0 {
		all = append([]string{*last}, slices.Delete(slices.Clone(all), i, i+1)...)
	}
	return all
}

func (d *dialer) Driver() sqldriver.Driver { return driver.MySQLDriver{} }

// IsUnproven tells whether a server could not prove who it is: nothing secret was sent to it.
func IsUnproven(err error) bool {
	var chain *tls.CertificateVerificationError
	var host x509.HostnameError
	return errors.As(err, &chain) || errors.As(err, &host) || errors.Is(err, driver.ErrNoTLS)
}

// ConnectError says that no session could be made with a server: unreachable, hung, or it refused us.
type ConnectError struct {
	Addr string
	Err  error
}

func (e *ConnectError) Error() string { return "connect to MySQL at " + e.Addr + ": " + e.Err.Error() }

// Unwrap gives the driver's error, a *driver.MySQLError when the server itself refused.
func (e *ConnectError) Unwrap() error { return e.Err }
