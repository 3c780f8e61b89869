package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SourceOptions is where and how a replica follows. Positions are always found by GTID.
type SourceOptions struct {
	Addr           Addr
	User, Password string
	// SSL encrypts the connection. Without it the source's RSA key is asked for, which caching_sha2_password needs.
	SSL bool
	// VerifyBy is a file of authorities, on the replica's side, by which the source's certificate is verified, for the host
	// that is connected to, before anything secret is sent; relative to the data directory. Empty = not verified.
	VerifyBy string
	// ConnectRetry is the pause between attempts to connect, whole seconds; 0 = the server's default (60 s).
	ConnectRetry time.Duration
	// RetryCount is how many attempts are made; 0 = the server's default (10 from 8.4 on: 10 minutes, then it gives up).
	RetryCount int
	// HeartbeatPeriod is how often an idle source shows that it lives, in milliseconds at best; 0 = half of
	// replica_net_timeout. A replica notices a silent source only after replica_net_timeout.
	HeartbeatPeriod time.Duration
	// Delay holds back applying, whole seconds.
	Delay time.Duration
	// Repoint changes where a replica that follows by GTID already receives from, and nothing that its applier would have to
	// be stopped for: what was received is kept and applied on. Delay is left as it is.
	Repoint bool
}

func (o SourceOptions) statement() string {
	clauses := []string{
		"SOURCE_HOST = " + QuoteString(o.Addr.Host),
		"SOURCE_PORT = " + strconv.Itoa(o.Addr.Port),
		"SOURCE_USER = " + QuoteString(o.User),
		"SOURCE_PASSWORD = " + QuoteString(o.Password),
	}
	if !o.Repoint {
		clauses = append(clauses, "SOURCE_AUTO_POSITION = 1")
	}
	if o.SSL {
		clauses = append(clauses, "SOURCE_SSL = 1", "SOURCE_SSL_CA = "+QuoteString(o.VerifyBy),
			"SOURCE_SSL_VERIFY_SERVER_CERT = "+oneIf(o.VerifyBy != ""))
	} else {
		clauses = append(clauses, "SOURCE_SSL = 0", "GET_SOURCE_PUBLIC_KEY = 1")
	}
	if o.ConnectRetry > 0 {
		clauses = append(clauses, "SOURCE_CONNECT_RETRY = "+wholeSeconds(o.ConnectRetry))
	}
	if o.RetryCount > 0 {
		clauses = append(clauses, "SOURCE_RETRY_COUNT = "+strconv.Itoa(o.RetryCount))
	}
	if o.HeartbeatPeriod > 0 {
		clauses = append(clauses, fmt.Sprintf("SOURCE_HEARTBEAT_PERIOD = %.3f", o.HeartbeatPeriod.Seconds()))
	}
	if o.Delay > 0 && !o.Repoint {
		clauses = append(clauses, "SOURCE_DELAY = "+wholeSeconds(o.Delay))
	}
	return "CHANGE REPLICATION SOURCE TO " + strings.Join(clauses, ", ")
}

// ChangeSource points a server at a source, by GTID. The receiver must be stopped (ErrReplicaMustStop). With the
// applier stopped too, the server throws away its relay log: transactions received from a source that is gone would be
// lost with it (I1). To repoint after a failure, stop only the receiver and leave the applier running.
func ChangeSource(ctx context.Context, db *sql.DB, o SourceOptions) error {
	// The statement holds a password: it must not be part of the error.
	return exec(ctx, db, o.statement(), "set the replication source to "+o.Addr.String())
}

// StartReplica starts receiving and applying.
func StartReplica(ctx context.Context, db *sql.DB) error {
	return exec(ctx, db, "START REPLICA", "start replication")
}

// StartReceiver starts receiving from the source.
func StartReceiver(ctx context.Context, db *sql.DB) error {
	return exec(ctx, db, "START REPLICA IO_THREAD", "start receiving from the source")
}

// StopReceiver stops receiving; what was received goes on being applied. From then on this replica acknowledges
// nothing to a semi-synchronous source, which is what fences that source.
func StopReceiver(ctx context.Context, db *sql.DB) error {
	return exec(ctx, db, "STOP REPLICA IO_THREAD", "stop receiving from the source")
}

// StopReplica stops receiving and applying; it waits for the transaction being applied, but not for the rest of one that
// was received in part only.
func StopReplica(ctx context.Context, db *sql.DB) error {
	if err := StopReceiver(ctx, db); err != nil {
		return err
	}
	if err := endTorn(ctx, db); err != nil {
		return err
	}
	return exec(ctx, db, "STOP REPLICA", "stop replication")
}

// ResetReplicaAll makes a stopped replica forget its source and throw away its relay log: it is no replica any more.
// Drain the relay log first (WaitForGTID of Retrieved), or acknowledged transactions may be lost (I1).
func ResetReplicaAll(ctx context.Context, db *sql.DB) error {
	return exec(ctx, db, "RESET REPLICA ALL", "forget the replication source")
}

// SetReadOnly sets read_only: accounts without CONNECTION_ADMIN can no longer write. Off also ends super_read_only. It
// waits for commits under way and for explicit table locks; ctx bounds the wait.
func SetReadOnly(ctx context.Context, db *sql.DB, on bool) error {
	return exec(ctx, db, "SET GLOBAL read_only = "+onOff(on), "set read_only "+onOff(on))
}

// SetSuperReadOnly sets super_read_only: nobody can write but replication. On implies read_only; off leaves read_only
// as it is. It waits as SetReadOnly does.
func SetSuperReadOnly(ctx context.Context, db *sql.DB, on bool) error {
	return exec(ctx, db, "SET GLOBAL super_read_only = "+onOff(on), "set super_read_only "+onOff(on))
}

// ErrNotApplied is returned by WaitForGTID when time was up first.
var ErrNotApplied = errors.New("transactions not applied in time")

// WaitForGTID waits until a server has executed every transaction of the set, at most timeout (to the millisecond).
// The error when that passes wraps ErrNotApplied and names what is missing.
func WaitForGTID(ctx context.Context, db *sql.DB, set GTIDSet, timeout time.Duration) error {
	seconds := max(timeout, time.Millisecond).Seconds() // 0 would wait without limit
	var timedOut bool
	err := db.QueryRowContext(ctx, "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", set.String(),
		strconv.FormatFloat(seconds, 'f', 3, 64)).Scan(&timedOut)
	if err != nil {
		return fmt.Errorf("wait for transactions %s: %w", set, err)
	}
	if !timedOut {
		return nil
	}
	var missing string
	if err := db.QueryRowContext(ctx, "SELECT GTID_SUBTRACT(?, @@GLOBAL.gtid_executed)", set.String()).Scan(&missing); err != nil {
		return fmt.Errorf("%w: waited %v for %s: %w", ErrNotApplied, timeout, set, err)
	}
	return fmt.Errorf("%w: after %v still without %s", ErrNotApplied, timeout, strings.ReplaceAll(missing, "\n", ""))
}

// CatchUp returns when a replica has applied all that the primary had committed at the time of the call, after at most
// timeout; see WaitForGTID.
func CatchUp(ctx context.Context, replica, primary *sql.DB, timeout time.Duration) error {
	committed, err := GTIDExecuted(ctx, primary)
	if err != nil {
		return fmt.Errorf("ask the primary what it has committed: %w", err)
	}
	return WaitForGTID(ctx, replica, committed, timeout)
}

// ErrantGTIDs are the transactions that a replica has executed and the primary has not (I7): they were written on the
// replica itself and would break replication or be lost at the next failover.
func ErrantGTIDs(ctx context.Context, replica, primary *sql.DB) (GTIDSet, error) {
	// Of the primary's own transactions a replica may have some first: with lossless semi-sync the primary commits once the
	// replica has received one, and the replica may have applied it by then. They are not errant.
	var theirs, extra, source string
	if err := replica.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&theirs); err != nil {
		return GTIDSet{}, fmt.Errorf("read gtid_executed of the replica: %w", err)
	}
	err := primary.QueryRowContext(ctx, "SELECT GTID_SUBTRACT(?, @@GLOBAL.gtid_executed), @@server_uuid", theirs).Scan(&extra, &source)
	if err != nil {
		return GTIDSet{}, fmt.Errorf("compare the replica's GTIDs with the primary's: %w", err)
	}
	set, err := ParseGTIDSet(extra)
	if err != nil {
		return GTIDSet{}, fmt.Errorf("compare the replica's GTIDs with the primary's: %w", err)
	}
	return set.Without(source), nil
}

func exec(ctx context.Context, db *sql.DB, statement, what string) error {
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

func oneIf(is bool) string {
	if is {
		return "1"
	}
	return "0"
}

// StartApplier starts applying only: nothing is received.
func StartApplier(ctx context.Context, db *sql.DB) error {
	return exec(ctx, db, "START REPLICA SQL_THREAD", "start applying")
}

// EndDelay has a replica apply what it received without waiting, whatever SOURCE_DELAY it was set to. Its receiver must be on, connected
// or not: with both threads stopped the server would throw the relay log away, and acknowledged transactions with it (I1).
func EndDelay(ctx context.Context, db *sql.DB) error {
	status, err := ReadReplicaStatus(ctx, db)
	if err != nil {
		return err
	}
	if status == nil || status.IORunning == "No" {
		return fmt.Errorf("end the delay of replication: its receiver is stopped, so that would throw away what it has received")
	}
	if err := StopApplier(ctx, db); err != nil {
		return err
	}
	if err := exec(ctx, db, "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0", "end the delay of replication"); err != nil {
		return err
	}
	return StartApplier(ctx, db)
}

// StopApplier stops applying, once the transaction being applied is done. What is received is kept.
func StopApplier(ctx context.Context, db *sql.DB) error {
	return exec(ctx, db, "STOP REPLICA SQL_THREAD", "stop applying")
}

// RefetchRelayLog throws away what was received and not applied, and receives it again. It is for a relay log that cannot
// be read; the source must still have all of it, or acknowledged transactions are lost (I1).
func RefetchRelayLog(ctx context.Context, db *sql.DB) error {
	if err := StopReplica(ctx, db); err != nil {
		return err
	}
	if err := exec(ctx, db, "RESET REPLICA", "throw away the relay log"); err != nil {
		return err
	}
	return StartReplica(ctx, db)
}

// ReadReportUser is what a server was told to report as its user, "" for nothing: a place for a word of whoever started it.
func ReadReportUser(ctx context.Context, db *sql.DB) (string, error) {
	var text sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.report_user").Scan(&text); err != nil {
		return "", fmt.Errorf("read report_user: %w", err)
	}
	return text.String, nil
}

// ReadHeard is how long ago a replica received anything from its source, a heartbeat at least, by its own clock; nil when
// it received nothing yet. A replica whose source hangs goes on to call itself connected for replica_net_timeout.
func ReadHeard(ctx context.Context, db *sql.DB) (*time.Duration, error) {
	var micros sql.NullInt64
	// A time that lies ahead was taken before the host's clock was set back: it would say for as long that the source has just been heard.
	// What came since this statement began lies ahead by less than the second that is allowed.
	err := db.QueryRowContext(ctx, `WITH status AS (SELECT last_heartbeat_timestamp AS beat,
				queueing_transaction_start_queue_timestamp AS begun,
				last_queued_transaction_end_queue_timestamp AS done
			FROM performance_schema.replication_connection_status WHERE channel_name = ''),
			heard AS (SELECT beat AS at FROM status UNION ALL SELECT begun FROM status UNION ALL SELECT done FROM status)
		SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), NOW(6)) FROM heard WHERE at <= NOW(6) + INTERVAL 1 SECOND`).Scan(&micros)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask when the source was heard last: %w", err)
	}
	if !micros.Valid {
		return nil, nil
	}
	heard := time.Duration(max(micros.Int64, 0)) * time.Microsecond
	return &heard, nil
}
