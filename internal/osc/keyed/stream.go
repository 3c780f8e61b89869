package keyed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wait"
)

const (
	// heartbeat is how often the server says that nothing happened; a connection silent for much longer is dead.
	heartbeat   = 500 * time.Millisecond
	silence     = 10 * time.Second
	cacheEvents = 64 // read ahead of the reader: events may be of a megabyte each
	reconnects  = 30 * time.Second
)

// source is where a stream comes from.
type source struct {
	addr           mysql.Addr
	user, password string
	tls            *tls.Config
	serverID       uint32
	logger         *slog.Logger
}

// LostError says that changes of the table cannot be followed any further: what was copied so far is worth nothing.
type LostError struct{ Reason string }

func (e *LostError) Error() string { return "the changes of the table cannot be followed: " + e.Reason }

func lost(format string, args ...any) error { return &LostError{fmt.Sprintf(format, args...)} }

// stream reads the binary log from a GTID set on, and hands on the keys of the table's changed rows.
type stream struct {
	src     source
	table   about
	columns int // of the table
	parts   []part
	out     func(context.Context, change) error

	assembly *assembly
	inside   bool // between BEGIN and its end
	outer    *decoder

	mu     sync.Mutex
	seen   mysql.GTIDSet // whole transactions read, those it began with included
	latest time.Time     // when the last event was written, as the server says; of the moment when there are none
	news   chan struct{} // closed when seen grows
}

func newStream(src source, table about, columns int, parts []part, from mysql.GTIDSet, out func(context.Context, change) error,
	unknown func(gtid, xid string) error) *stream {
	return &stream{src: src, table: table, columns: columns, parts: parts, out: out, assembly: newAssembly(unknown), seen: from,
		news: make(chan struct{})}
}

// run reads until ctx ends, or the log cannot be followed. A broken connection is made again: what was read in part comes again.
func (s *stream) run(ctx context.Context) error {
	broken := time.Time{}
	for {
		before := s.position()
		err := s.connection(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var l *LostError
		if errors.As(err, &l) {
			return err
		}
		var my *gomysql.MyError
		if errors.As(err, &my) { // the server's own words: purged logs, no privilege
			return lost("the server says: %v", err)
		}
		if broken.IsZero() || !s.position().Equal(before) {
			broken = time.Now()
		}
		if time.Since(broken) > reconnects {
			return fmt.Errorf("the binary log of %s could not be read for %v: %w", s.src.addr, reconnects, err)
		}
		s.src.logger.Warn("the connection that reads the binary log is broken, it is made again", "error", err)
		s.assembly.cut()
		s.inside = false
		if err := wait.For(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// connection is one connection's time.
func (s *stream) connection(ctx context.Context) error {
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: s.src.serverID, Flavor: gomysql.MySQLFlavor, Host: s.src.addr.Host, Port: uint16(s.src.addr.Port),
		User: s.src.user, Password: s.src.password, TLSConfig: s.src.tls, RawModeEnabled: true, HeartbeatPeriod: heartbeat,
		DisableRetrySync: true, DiscardGTIDSet: true, EventCacheCount: cacheEvents, Logger: slog.New(slog.DiscardHandler), Localhost: "aosc",
		Dialer: (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 5 * time.Second}).DialContext, Option: patient,
	})
	defer syncer.Close()
	events, err := syncer.StartSyncGTID(wireSet{s.position()})
	if err != nil {
		return err
	}
	s.outer = newDecoder()
	for {
		e, err := next(ctx, events)
		if err != nil {
			return err
		}
		if err := s.raw(ctx, s.outer, e.RawData); err != nil {
			return err
		}
	}
}

// patient keeps the server from giving up on us while we read nothing, because the keys read so far are not applied yet: a large
// transaction would begin anew each time.
func patient(c *client.Conn) error {
	_, err := c.Execute("SET SESSION net_write_timeout = 86400")
	return err
}

// next is the next event. The server says something every heartbeat, so that silence is a dead connection.
func next(ctx context.Context, events *replication.BinlogStreamer) (*replication.BinlogEvent, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, silence, fmt.Errorf("the server has sent nothing for %v", silence))
	defer cancel()
	e, err := events.GetEvent(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return e, err
}

// position is what has been read whole.
func (s *stream) position() mysql.GTIDSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// passed waits until everything in set has been read and handed on.
func (s *stream) passed(ctx context.Context, set mysql.GTIDSet) error {
	for {
		s.mu.Lock()
		seen, news := s.seen, s.news
		s.mu.Unlock()
		if seen.Contains(set) {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("the binary log has been read up to %s, not yet all of %s: %w", seen, set.Subtract(seen), context.Cause(ctx))
		}
	}
}

// age is how old the last event was when it was read.
func (s *stream) written(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = at
}

func (s *stream) lag() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest.IsZero() {
		return 0
	}
	return max(time.Since(s.latest), 0)
}

// hand passes changes on. Only what has been taken counts as seen.
func (s *stream) hand(ctx context.Context, changes []change) error {
	for _, c := range changes {
		if err := s.out(ctx, c); err != nil {
			return err
		}
		if !c.done {
			continue
		}
		one, err := mysql.ParseGTIDSet(c.gtid)
		if err != nil {
			return lost("%v", err)
		}
		s.mu.Lock()
		s.seen = s.seen.Union(one)
		close(s.news)
		s.news = make(chan struct{})
		s.mu.Unlock()
	}
	return nil
}

// raw deals with one event as it came over the wire.
func (s *stream) raw(ctx context.Context, d *decoder, data []byte) error {
	e, err := d.decode(data, s.wanted)
	if err != nil {
		return err
	}
	switch body := e.Event.(type) {
	case *replication.GTIDEvent:
		return s.begin(ctx, body, e.Header)
	case *replication.GtidTaggedLogEvent:
		return s.begin(ctx, &body.GTIDEvent, e.Header)
	case *replication.QueryEvent:
		return s.query(ctx, body)
	case *replication.XIDEvent:
		s.inside = false
		return s.hand(ctx, s.assembly.end())
	case *replication.RowsEvent:
		if d.wanted {
			return s.rows(ctx, d, body, e.Header.EventType == replication.PARTIAL_UPDATE_ROWS_EVENT)
		}
	case *replication.BeginLoadQueryEvent, *replication.ExecuteLoadQueryEvent:
		return lost("somebody loads a file with binlog_format=STATEMENT, whose rows nobody can tell")
	}
	switch e.Header.EventType {
	case replication.TRANSACTION_PAYLOAD_EVENT:
		return d.payload(data, func(inner *decoder, data []byte) error { return s.raw(ctx, inner, data) })
	case replication.XA_PREPARE_LOG_EVENT:
		s.inside = false
		changes, err := s.assembly.prepare(onePhase(data))
		if err != nil {
			return &LostError{err.Error()}
		}
		return s.hand(ctx, changes)
	case replication.INCIDENT_EVENT:
		return lost("the server has noted that its binary log may lack changes (LOST_EVENTS)")
	case replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2:
		s.written(time.Now())
	}
	return nil
}

// onePhase reads the flag of an XA_PREPARE_LOG_EVENT: it was XA COMMIT ... ONE PHASE.
func onePhase(data []byte) bool {
	return len(data) > replication.EventHeaderSize && data[replication.EventHeaderSize] != 0
}

func (s *stream) wanted(database, table []byte) bool {
	return s.table.is(string(database), string(table))
}

// begin is the GTID of a transaction.
func (s *stream) begin(ctx context.Context, e *replication.GTIDEvent, h *replication.EventHeader) error {
	if h.EventType == replication.ANONYMOUS_GTID_EVENT {
		return lost("the server writes transactions without GTIDs")
	}
	id, err := uuid.FromBytes(e.SID)
	if err != nil {
		return lost("%v", err)
	}
	gtid := id.String()
	if e.Tag != "" {
		gtid += ":" + e.Tag
	}
	s.written(time.Unix(int64(h.Timestamp), 0))
	if e.ImmediateCommitTimestamp > 0 {
		s.written(time.UnixMicro(int64(e.ImmediateCommitTimestamp)))
	}
	s.inside = false
	return s.hand(ctx, s.assembly.begin(fmt.Sprintf("%s:%d", gtid, e.GNO)))
}

// query is a statement in the log: what brackets transactions, and what is no row event.
func (s *stream) query(ctx context.Context, e *replication.QueryEvent) error {
	text := string(e.Query)
	switch text {
	case "BEGIN":
		s.inside = true
		return nil
	case "COMMIT":
		s.inside = false
		return s.hand(ctx, s.assembly.end())
	}
	v, xid, why := judge(s.table, string(e.Schema), text)
	var changes []change
	var err error
	switch v {
	case verdictLost:
		return &LostError{why}
	case verdictXAStart:
		s.inside = true
		s.assembly.start(xid)
	case verdictXACommit, verdictXARollback:
		changes, err = s.assembly.resolve(xid, v == verdictXACommit)
	case verdictNothing:
		if !s.inside {
			changes = s.assembly.end() // DDL ends its transaction by itself
		}
	}
	if err != nil {
		return err
	}
	return s.hand(ctx, changes)
}

// partSize is from how many keys on a transaction under way hands them on.
const partSize = 1000

// rows notes the keys of a row event of the table: before and after.
func (s *stream) rows(ctx context.Context, d *decoder, e *replication.RowsEvent, partial bool) error {
	if int(e.ColumnCount) != s.columns {
		return lost("the table had %d columns when its copy began, and has %d in the binary log: somebody altered it", s.columns, e.ColumnCount)
	}
	before := image{types: e.Table.ColumnType, metas: e.Table.ColumnMeta}
	after := before
	after.partial = partial
	update := partial || e.Type() == replication.EnumRowsEventTypeUpdate
	for data := d.rows; len(data) > 0; {
		old, has, n, err := before.keyIn(data, e.ColumnBitmap1, s.parts)
		if err != nil {
			return lost("%v", err)
		}
		data = data[n:]
		if err := s.note(old, has); err != nil {
			return err
		}
		if !update {
			continue
		}
		changed, has, n, err := after.keyIn(data, e.ColumnBitmap2, s.parts)
		if err != nil {
			return lost("%v", err)
		}
		data = data[n:]
		for i := range changed { // with binlog_row_image=MINIMAL the after image has only what was changed
			if !has[i] {
				changed[i] = old[i]
			}
		}
		s.assembly.add(valueOf(changed))
	}
	return s.hand(ctx, s.assembly.part(partSize))
}

// note takes the key of a row that must have all of it.
func (s *stream) note(texts []string, has []bool) error {
	for i := range has {
		if !has[i] {
			return lost("a row was logged without its key column %s: some session has binlog_row_image=%s, and the key had its default; "+
				"set binlog_row_image=FULL", s.parts[i].original.Name, "MINIMAL")
		}
	}
	s.assembly.add(valueOf(texts))
	return nil
}

// joined is a set of single GTIDs as one text.
func joined(gtids []string) string { return strings.Join(gtids, ",") }
