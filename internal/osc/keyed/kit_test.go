package keyed

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// patience bounds what a test waits for, on a machine with much else to do.
const patience = 3 * time.Minute

// kit is one database on one server.
type kit struct {
	testing.TB
	addr     mysql.Addr
	cred     mysql.Credentials
	db       *sql.DB
	database string
}

var databases atomic.Int64

// newKit makes a database on the server that the tests of the package share, or on a running one that AOSC_SERVER names (root, without
// a password), so that a test can be repeated quickly.
func newKit(t testing.TB) *kit {
	t.Helper()
	k := &kit{TB: t, database: fmt.Sprintf("keyed%d", databases.Add(1)), cred: mysql.Credentials{User: "root"}}
	var err error
	if running := os.Getenv("AOSC_SERVER"); running != "" {
		k.addr, err = mysql.ParseAddr(running)
	} else {
		srv := testkit.Server(t)
		k.addr, k.cred = srv.Addr(), srv.Credentials()
	}
	if err != nil {
		t.Fatal(err)
	}
	if k.db, err = mysql.Open(k.addr, k.cred, mysql.Options{MaxOpen: 40}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.db.Close() })
	for _, s := range []string{"DROP DATABASE IF EXISTS ", "CREATE DATABASE "} {
		if _, err := k.db.ExecContext(t.Context(), s+k.database); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// session is one connection in the kit's database, until end.
func (k *kit) session() (conn *sql.Conn, end func()) {
	k.Helper()
	conn, err := k.db.Conn(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	end = func() {
		mysql.Discard(conn)
		conn.Close()
	}
	if _, err := conn.ExecContext(k.Context(), "USE "+mysql.QuoteIdent(k.database)); err != nil {
		end()
		k.Fatal(err)
	}
	return conn, end
}

// exec runs statements on one connection, in the kit's database.
func (k *kit) exec(statements ...string) {
	k.Helper()
	conn, end := k.session()
	defer end()
	for _, s := range statements {
		if _, err := conn.ExecContext(k.Context(), s); err != nil {
			k.Fatalf("%s: %v", s, err)
		}
	}
}

// transaction runs statements in one, again when the server has chosen it as the victim of a deadlock, as applications do: the comparison
// reads rows that differ under a lock.
func (k *kit) transaction(statements ...string) {
	k.Helper()
	conn, end := k.session()
	defer end()
	all := slices.Concat([]string{"START TRANSACTION"}, statements, []string{"COMMIT"})
	for i := 0; i < len(all); i++ {
		_, err := conn.ExecContext(k.Context(), all[i])
		switch {
		case mysql.IsNumber(err, mysql.ErrLockDeadlock):
			k.Logf("%s: %v; once more", all[i], err)
			i = -1
		case err != nil:
			k.Fatalf("%s: %v", all[i], err)
		}
	}
}

// rows reads a query whole, as text.
func (k *kit) rows(query string) []string {
	k.Helper()
	conn, end := k.session()
	defer end()
	rows, err := conn.QueryContext(k.Context(), query)
	if err != nil {
		k.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		k.Fatal(err)
	}
	var out []string
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			k.Fatal(err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			if texts[i] = "NULL"; v.Valid {
				texts[i] = strconv.Quote(v.String)
			}
		}
		out = append(out, strings.Join(texts, " "))
	}
	if err := rows.Err(); err != nil {
		k.Fatal(err)
	}
	return out
}

// request asks for a copy of table t.
func (k *kit) request(clauses string) Request {
	log := slog.New(slog.NewTextHandler(k.Output(), nil))
	return Request{DB: k.db, Addr: k.addr, User: k.cred.User, Password: k.cred.Password, ServerID: serverID(),
		Database: k.database, Table: "t", Ghost: "_t_gho", Old: "_t_del", Clauses: clauses, Workers: 3, MaxChunk: 500,
		LockWaitTimeout: 2 * time.Second, Retries: 50, Logger: log,
		Phase: func(phase, detail string) { k.Logf("%s %s %s", time.Now().Format("05.000"), phase, detail) }}
}

// serverID is a random one, in the upper half.
func serverID() uint32 {
	var id [4]byte
	_, _ = rand.Read(id[:]) // it never fails
	return binary.BigEndian.Uint32(id[:]) | 1<<31
}

// requestOf asks for a copy whose progress is noted.
func requestOf(db *sql.DB, addr mysql.Addr, o orders) Request {
	return Request{DB: db, Addr: addr, User: "root", ServerID: serverID(), Database: o.Database, Table: "t", Ghost: "_t_gho", Old: "_t_del",
		Progress: "_t_ghc", From: "from", To: "to", Clauses: o.Clauses, Workers: o.Workers, MaxChunk: o.MaxChunk,
		LockWaitTimeout: 2 * time.Second, Retries: 50, Gate: paced(o.Pace), Logger: slog.New(slog.DiscardHandler)}
}

// copy makes a copy and swaps.
func (k *kit) copy(req Request) error {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), patience)
	defer cancel()
	c, err := New(ctx, req)
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// seeded is a source of random numbers whose seed is printed; AOSC_SEED repeats one.
func seeded(t testing.TB) *mathrand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("AOSC_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("AOSC_SEED=%d", seed)
	return mathrand.New(mathrand.NewPCG(seed, 1))
}

// load writes to table t (id, v, n) until it is stopped, and knows what was acknowledged.
type load struct {
	k     *kit
	stop  chan struct{}
	group sync.WaitGroup
	mu    sync.Mutex
	model map[int64]string // v of each row
	count int
	rest  time.Duration // of each writer between transactions
	once  sync.Once
}

// startLoad starts writers, each of which has ids of its own; model has the rows there are.
func (k *kit) startLoad(writers int, model map[int64]string) *load {
	return k.startPaced(writers, 0, model)
}

// startPaced is startLoad with a rest between the transactions of each writer.
func (k *kit) startPaced(writers int, rest time.Duration, model map[int64]string) *load {
	l := &load{k: k, stop: make(chan struct{}), model: model, rest: rest}
	k.Cleanup(func() { l.end() })
	shares := make([]map[int64]string, writers)
	for w := range shares {
		shares[w] = map[int64]string{}
	}
	for id, v := range model {
		shares[id%int64(writers)][id] = v
	}
	for w, own := range shares {
		seed := seeded(k)
		l.group.Go(func() { l.write(seed, int64(w), int64(writers), own) })
	}
	return l
}

// end stops the writers and gives what must be in the table.
func (l *load) end() map[int64]string {
	l.once.Do(func() { close(l.stop) })
	l.group.Wait()
	return l.model
}

func (l *load) write(r *mathrand.Rand, w, writers int64, own map[int64]string) {
	conn, err := l.k.db.Conn(l.k.Context())
	if err != nil {
		l.k.Error(err)
		return
	}
	defer conn.Close()
	defer mysql.Discard(conn)
	do := func(query string, args ...any) bool {
		if _, err := conn.ExecContext(l.k.Context(), query, args...); err != nil {
			if l.k.Context().Err() == nil {
				l.k.Errorf("%s: %v", query, err)
			}
			return false
		}
		return true
	}
	if !do("USE "+mysql.QuoteIdent(l.k.database)) || !do("SET SESSION innodb_lock_wait_timeout = 100, "+
		"SESSION transaction_isolation = 'READ-COMMITTED'") {
		return
	}
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-time.After(l.rest):
		}
		if !l.transaction(r, do, w, writers, own, i) {
			return
		}
	}
}

// transaction is one to five changes, committed, rolled back, or as an XA transaction.
func (l *load) transaction(r *mathrand.Rand, do func(string, ...any) bool, w, writers int64, own map[int64]string, i int) bool {
	xa, commit := r.IntN(8) == 0, r.IntN(6) != 0
	id := fmt.Sprintf("'%s-%d-%d'", l.k.database, w, i)
	next := map[int64]string{}
	for k, v := range own {
		next[k] = v
	}
	if begin := "START TRANSACTION"; xa && !do("XA START "+id) || !xa && !do(begin) {
		return false
	}
	changes := 1 + r.IntN(5)
	if r.IntN(60) == 0 {
		changes = 300 // a large one
	}
	for range changes {
		if !l.change(r, do, w, writers, next) {
			return false
		}
	}
	end := map[bool]string{true: "COMMIT", false: "ROLLBACK"}[commit]
	if xa {
		if !do("XA END "+id) || !do("XA PREPARE "+id) || !do("XA "+end+" "+id) {
			return false
		}
	} else if !do(end) {
		return false
	}
	if commit {
		l.mu.Lock()
		defer l.mu.Unlock()
		for k := range own {
			if _, ok := next[k]; !ok {
				delete(own, k)
				delete(l.model, k)
			}
		}
		for k, v := range next {
			own[k], l.model[k] = v, v
		}
	}
	l.count++
	return true
}

func (l *load) change(r *mathrand.Rand, do func(string, ...any) bool, w, writers int64, rows map[int64]string) bool {
	id := r.Int64N(3000)*writers + w
	value := fmt.Sprintf("value %d", r.IntN(1_000_000))
	text := func(id int64) string { return strconv.FormatInt(id, 10) } // right for a key of any type
	_, exists := rows[id]
	switch {
	case !exists:
		rows[id] = value
		return do("INSERT INTO t (id, v, n) VALUES (?, ?, ?)", text(id), value, r.IntN(100))
	case r.IntN(4) == 0:
		delete(rows, id)
		return do("DELETE FROM t WHERE id = ?", text(id))
	case r.IntN(3) == 0:
		to := r.Int64N(3000)*writers + w
		if _, taken := rows[to]; taken {
			return true
		}
		rows[to] = rows[id]
		delete(rows, id)
		return do("UPDATE t SET id = ? WHERE id = ?", text(to), text(id))
	}
	rows[id] = value
	return do("UPDATE t SET v = ? WHERE id = ?", value, text(id))
}

// fill puts n rows into t (id, v, n), ids counted by two.
func (k *kit) fill(n int) map[int64]string {
	k.exec("SET SESSION cte_max_recursion_depth = 10000000",
		fmt.Sprintf("INSERT INTO t (id, v, n) WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < %d) "+
			"SELECT 2 * i, CONCAT('row ', i), i %% 100 FROM s", n))
	model := map[int64]string{}
	for i := range int64(n) {
		model[2*(i+1)] = fmt.Sprintf("row %d", i+1)
	}
	return model
}

// check compares t with a model.
func (k *kit) check(model map[int64]string) {
	k.Helper()
	rows := k.rows("SELECT id, v FROM t")
	got := map[string]bool{}
	for _, r := range rows {
		got[r] = true
	}
	wrong := 0
	for id, v := range model {
		if row := fmt.Sprintf("%q %q", strconv.FormatInt(id, 10), v); !got[row] {
			if wrong++; wrong <= 5 {
				k.Errorf("I1: row %s is missing; there is %v", row, k.rows(fmt.Sprintf("SELECT id, v FROM t WHERE id = %d", id)))
			}
		}
	}
	if len(rows) != len(model) {
		k.Errorf("I1: %d rows, want %d", len(rows), len(model))
	}
}
