package mysql

import (
	"database/sql"
	"errors"
	"sync"
)

// Pool keeps one *sql.DB per server, all with the same account and options. It is safe for concurrent use.
type Pool struct {
	cred Credentials
	opts Options

	mu     sync.Mutex
	dbs    map[Addr]*sql.DB
	closed bool
}

// ErrPoolClosed is returned by Pool.DB after Close.
var ErrPoolClosed = errors.New("connection pool is closed")

// NewPool makes an empty pool; nothing is connected until it is used.
func NewPool(c Credentials, o Options) *Pool {
	return &Pool{cred: c, opts: o, dbs: map[Addr]*sql.DB{}}
}

// DB returns the pool's *sql.DB for a server. The pool owns it: do not close it.
func (p *Pool) DB(a Addr) (*sql.DB, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrPoolClosed
	}
	if db, ok := p.dbs[a]; ok {
		return db, nil
	}
	db, err := Open(a, p.cred, p.opts)
	if err != nil {
		return nil, err
	}
	p.dbs[a] = db
	return db, nil
}

// AddrOf is the server that a *sql.DB of this pool is for, false when it is none of its own.
func (p *Pool) AddrOf(db *sql.DB) (Addr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, own := range p.dbs {
		if own == db {
			return a, true
		}
	}
	return Addr{}, false
}

// As is the pool's counterpart of a *sql.DB of another pool: the same server, this pool's account.
func (p *Pool) As(other *Pool, db *sql.DB) (*sql.DB, error) {
	a, ok := other.AddrOf(db)
	if !ok {
		return nil, errors.New("the server of a connection is not known, so that no other account can be used on it")
	}
	return p.DB(a)
}

// Credentials are those the pool connects with.
func (p *Pool) Credentials() Credentials { return p.cred }

// Close closes every connection. Queries under way fail.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for _, db := range p.dbs {
		errs = append(errs, db.Close())
	}
	clear(p.dbs)
	return errors.Join(errs...)
}
