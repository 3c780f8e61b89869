package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LoggedEvent is an event of a binary log, as SHOW BINLOG EVENTS tells it.
type LoggedEvent struct{ Type, Info string }

// LoggedKind is what the events of a transaction do.
type LoggedKind string

const (
	LoggedNothing    LoggedKind = "nothing"     // changes no row and no definition: an empty transaction, FLUSH, ANALYZE
	LoggedXACommit   LoggedKind = "XA COMMIT"   // commits what was prepared, and logged, before
	LoggedXARollback LoggedKind = "XA ROLLBACK" // rolls it back
	LoggedData       LoggedKind = "data"        // anything else
)

// LoggedTransaction is what a server logged under one GTID.
type LoggedTransaction struct {
	GTID string
	Kind LoggedKind
	XID  PreparedXA // of XA COMMIT and XA ROLLBACK
	Text string     // the statement, or the first events; shortened, for people
}

var (
	// loggedXA is how the server writes an XA COMMIT and an XA ROLLBACK, however a client wrote it.
	loggedXA = regexp.MustCompile(`^XA (COMMIT|ROLLBACK) X'([0-9A-Fa-f]*)',X'([0-9A-Fa-f]*)',(-?[0-9]+)$`)
	// loggedUse stands before a statement whose session had a default database.
	loggedUse = regexp.MustCompile("^use `(?:[^`]|``)*`; ")
	// loggedIdle are statements that are logged and change neither a row nor a definition. REPAIR leaves an InnoDB table as it is, and of
	// a damaged MyISAM table, which is no copy any more, what can be read.
	loggedIdle = regexp.MustCompile(`(?i)^(?:FLUSH|(?:ANALYZE|OPTIMIZE|REPAIR)\s+(?:(?:NO_WRITE_TO_BINLOG|LOCAL)\s+)?TABLES?)\b`)
)

// Classify tells what a transaction does by all of its events, the one with the GTID left out.
func Classify(events []LoggedEvent) (LoggedKind, PreparedXA) {
	if len(events) == 2 && events[0] == (LoggedEvent{"Query", "BEGIN"}) && events[1] == (LoggedEvent{"Query", "COMMIT"}) {
		return LoggedNothing, PreparedXA{}
	}
	if len(events) != 1 || events[0].Type != "Query" {
		return LoggedData, PreparedXA{}
	}
	statement := loggedUse.ReplaceAllString(events[0].Info, "")
	if m := loggedXA.FindStringSubmatch(statement); m != nil {
		format, err := strconv.ParseInt(m[4], 10, 64)
		if err != nil {
			return LoggedData, PreparedXA{}
		}
		return LoggedKind("XA " + m[1]), PreparedXA{FormatID: format, Global: strings.ToLower(m[2]), Branch: strings.ToLower(m[3])}
	}
	if loggedIdle.MatchString(withoutComment(statement)) {
		return LoggedNothing, PreparedXA{}
	}
	return LoggedData, PreparedXA{}
}

// withoutComment leaves out comments at the beginning of a statement that the server does not execute.
func withoutComment(statement string) string {
	for {
		statement = strings.TrimSpace(statement)
		if !strings.HasPrefix(statement, "/*") || strings.HasPrefix(statement, "/*!") || strings.HasPrefix(statement, "/*+") {
			return statement
		}
		_, rest, ok := strings.Cut(statement[len("/*"):], "*/")
		if !ok {
			return statement
		}
		statement = rest
	}
}

// loggedText is what a transaction did, for people.
func loggedText(events []LoggedEvent) string {
	const longest = 120
	var parts []string
	for _, e := range events {
		if e.Type == "Query" {
			parts = append(parts, strings.Join(strings.Fields(loggedUse.ReplaceAllString(e.Info, "")), " "))
		} else {
			parts = append(parts, e.Type)
		}
	}
	text := strings.ToValidUTF8(strings.Join(parts, ", "), "?")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}

// ErrNotLogged is returned by ReadLogged for transactions that are in no binary log of the server: purged, or never logged there.
var ErrNotLogged = errors.New("not in the binary logs")

const (
	// maxLoggedBytes bounds the binary logs that ReadLogged reads.
	maxLoggedBytes = 2 << 30
	// keptEvents of a transaction are enough to classify it: whatever has more changes data.
	keptEvents = 4
)

// ReadLogged reads transactions from a server's binary logs, in their order there; the newest logs first. Only logs that have any of them
// are read. The account needs REPLICATION SLAVE and REPLICATION CLIENT. Bound it by ctx, too.
func ReadLogged(ctx context.Context, db *sql.DB, set GTIDSet) ([]LoggedTransaction, error) {
	failed := func(err error) ([]LoggedTransaction, error) {
		return nil, fmt.Errorf("read the transactions %s from the binary logs: %w", set, err)
	}
	logs, err := BinaryLogs(ctx, db)
	if err != nil {
		return failed(err)
	}
	var all []LoggedTransaction
	var read int64
	rest := set
	for i := len(logs) - 1; i >= 0 && !rest.Empty(); i-- {
		before, err := previousGTIDs(ctx, db, logs[i].Name)
		if err != nil {
			return failed(err)
		}
		here := rest.Subtract(before)
		if here.Empty() {
			continue
		}
		if read += logs[i].Size; read > maxLoggedBytes {
			return failed(fmt.Errorf("more than %d MB would have to be read", maxLoggedBytes>>20))
		}
		found, err := readLog(ctx, db, logs[i].Name, here)
		if err != nil {
			return failed(err)
		}
		all = slices.Concat(found, all)
		rest = rest.Subtract(here)
	}
	var got GTIDSet
	for _, t := range all {
		one, err := ParseGTIDSet(t.GTID)
		if err != nil {
			return failed(err)
		}
		got = got.Union(one)
	}
	if lacks := set.Subtract(got); !lacks.Empty() {
		return all, fmt.Errorf("%s: %w", lacks, ErrNotLogged)
	}
	return all, nil
}

// previousGTIDs is what a server had executed when it began a binary log.
func previousGTIDs(ctx context.Context, db *sql.DB, log string) (set GTIDSet, err error) {
	found := false
	err = binlogEvents(ctx, db, log, " LIMIT 4", func(e LoggedEvent) (bool, error) {
		if e.Type != "Previous_gtids" {
			return true, nil
		}
		found = true
		var err error
		set, err = ParseGTIDSet(strings.ReplaceAll(e.Info, "\n", ""))
		return false, err
	})
	if err == nil && !found {
		err = fmt.Errorf("binary log %s does not say what was executed before it", log)
	}
	return set, err
}

// readLog reads transactions of one binary log, until it has all of them.
func readLog(ctx context.Context, db *sql.DB, log string, set GTIDSet) (found []LoggedTransaction, err error) {
	var events []LoggedEvent // of the transaction at hand, if it is wanted
	var gtid string
	rest := set
	end := func() {
		if gtid != "" {
			kind, xid := Classify(events)
			found = append(found, LoggedTransaction{GTID: gtid, Kind: kind, XID: xid, Text: loggedText(events)})
		}
		gtid, events = "", nil
	}
	err = binlogEvents(ctx, db, log, "", func(e LoggedEvent) (bool, error) {
		switch {
		case strings.HasPrefix(e.Type, "Gtid"), e.Type == "Anonymous_Gtid", e.Type == "Rotate", e.Type == "Stop":
			end()
			if rest.Empty() {
				return false, nil
			}
			one, err := gtidOf(e)
			if err == nil && !one.Empty() && set.Contains(one) {
				gtid, rest = one.String(), rest.Subtract(one)
			}
			return true, err
		}
		if gtid != "" && len(events) < keptEvents {
			events = append(events, e)
		}
		return true, nil
	})
	end()
	return found, err
}

// gtidOf reads "SET @@SESSION.GTID_NEXT= '...'"; it is empty for any other event.
func gtidOf(e LoggedEvent) (GTIDSet, error) {
	_, text, ok := strings.Cut(e.Info, "GTID_NEXT= '")
	if text = strings.TrimSuffix(text, "'"); !ok || text == "ANONYMOUS" {
		return GTIDSet{}, nil
	}
	return ParseGTIDSet(text)
}

// binlogEvents gives the events of a binary log to fn until it returns false.
func binlogEvents(ctx context.Context, db *sql.DB, log, limit string, fn func(LoggedEvent) (bool, error)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the rows are closed: what is not wanted is not waited for
	rows, err := db.QueryContext(ctx, "SHOW BINLOG EVENTS IN "+QuoteString(log)+limit)
	if err != nil {
		return fmt.Errorf("SHOW BINLOG EVENTS IN %s: %w", log, err)
	}
	defer func() {
		cancel()
		_ = rows.Close()
	}()
	var name, position, server, end sql.RawBytes
	for rows.Next() {
		var kind, info sql.RawBytes
		if err := rows.Scan(&name, &position, &kind, &server, &end, &info); err != nil {
			return fmt.Errorf("SHOW BINLOG EVENTS IN %s: %w", log, err)
		}
		if more, err := fn(LoggedEvent{string(kind), string(info)}); err != nil || !more {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("SHOW BINLOG EVENTS IN %s: %w", log, err)
	}
	return nil
}

// ErrGTIDOwned is returned by ExecuteAs while another session executes that transaction.
var ErrGTIDOwned = errors.New("another session is executing it")

// ExecuteAs executes on an open primary what another server has logged under a GTID of its own, under that same GTID: afterwards both
// have it. What changes nothing becomes an empty transaction. One that the primary has executed already is left alone. While the primary's
// commits wait for an acknowledgement, so does this.
func ExecuteAs(ctx context.Context, db *sql.DB, t LoggedTransaction) error {
	failed := func(err error) error { return fmt.Errorf("execute %s (%s) on the primary: %w", t.GTID, t.Text, err) }
	one, err := ParseGTIDSet(t.GTID)
	if err != nil {
		return failed(err)
	}
	if one.Count() != 1 {
		return failed(errors.New("it is not one transaction"))
	}
	var statements []string
	switch t.Kind {
	case LoggedNothing:
		statements = []string{"BEGIN", "COMMIT"}
	case LoggedXACommit, LoggedXARollback:
		statements = []string{string(t.Kind) + " " + t.XID.ID()}
	default:
		return failed(errors.New("it changes data"))
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	var done, closed bool
	var owned string
	err = conn.QueryRowContext(ctx, "SELECT GTID_SUBSET(?, @@GLOBAL.gtid_executed), @@GLOBAL.super_read_only, @@GLOBAL.gtid_owned",
		one.String()).Scan(&done, &closed, &owned)
	switch {
	case err != nil:
		return failed(err)
	case done:
		return nil
	case closed:
		return failed(errors.New("the server is closed for writes"))
	case ownedBy(owned, one):
		return failed(ErrGTIDOwned)
	}
	defer Discard(conn) // whatever happened, nobody else inherits gtid_next
	for _, statement := range append([]string{"SET SESSION gtid_next = " + QuoteString(one.String())}, statements...) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return failed(err)
		}
	}
	return nil
}

var gtidOwner = regexp.MustCompile(`#[0-9]+`)

// ownedBy tells whether gtid_owned has a transaction. A text that cannot be read may have it.
func ownedBy(owned string, one GTIDSet) bool {
	set, err := parseOwned(owned)
	return err != nil || !set.Subtract(one).Equal(set)
}

// parseOwned reads gtid_owned, "uuid:1#7:2#8, ...": transactions, each with the session that executes it.
func parseOwned(owned string) (GTIDSet, error) {
	return ParseGTIDSet(gtidOwner.ReplaceAllString(strings.ReplaceAll(owned, "\n", ""), ""))
}

// ErrUnderWay is returned by WaitForUnderWay when time was up first.
var ErrUnderWay = errors.New("commits are under way")

// underWayPause is the time between two looks at what is under way. It is short: a commit that waits for nobody takes less.
const underWayPause = 10 * time.Millisecond

// WaitForUnderWay returns once all transactions that had a GTID at the time of the call, and were not in gtid_executed yet, are over:
// whatever was released to its client, or is about to be, is in gtid_executed then. A commit is in gtid_owned from before it is written
// to the binary log until it is in gtid_executed; while it waits for the acknowledgement of a replica it is under way, and so is what a
// session has set gtid_next for. The error when timeout passes wraps ErrUnderWay and names what still is.
func WaitForUnderWay(ctx context.Context, db *sql.DB, timeout time.Duration) error {
	owned := func() (GTIDSet, error) {
		var text string
		if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_owned").Scan(&text); err != nil {
			return GTIDSet{}, fmt.Errorf("ask what is being committed: %w", err)
		}
		set, err := parseOwned(text)
		if err != nil {
			return set, fmt.Errorf("ask what is being committed: %w", err)
		}
		return set, nil
	}
	began, err := owned()
	tick := time.NewTicker(underWayPause)
	defer tick.Stop()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	for err == nil && !began.Empty() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("%w: after %s %s is not over yet", ErrUnderWay, timeout, began)
		case <-tick.C:
		}
		var now GTIDSet
		now, err = owned()
		began = began.Subtract(began.Subtract(now))
	}
	return err
}
