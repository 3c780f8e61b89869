package ghost

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/github/gh-ost/go/base"
	"github.com/github/gh-ost/go/logic"
	"github.com/openark/golib/log"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// Fault points of the child process.
var (
	faultStarted = fault.Register("osc.child.started", "the child has its orders, gh-ost has made nothing yet")
	faultCopying = fault.Register("osc.child.copying", "passed at each status of a child that copies rows")
	faultCutover = fault.Register("osc.child.cutover", "passed at each status of a child within the cut-over")
)

// Exit codes of the child. They only help a person reading a log.
const (
	exitFailed   = 1
	exitOrphaned = 3
)

// gh-ost sleeps a whole second between retries. One of the things it retries is to look for its RENAME while the table is
// locked, so each second there is a second in which the application waits. It retries for as long as it would, more often.
const (
	retryEvery = 50 * time.Millisecond
	retriesFor = time.Minute
	// A change that does not fit fails each time, and meanwhile a cut-over under way holds the table.
	retriesForWarnings = 3 * time.Second
)

// BatchSize is how many changes gh-ost applies in one transaction at most.
const BatchSize = 100

// statusEvery is how often a child tells its status.
const statusEvery = 100 * time.Millisecond

// Main is the child process: it reads a Spec from in, runs gh-ost and writes Status lines to out until it is done. It dies
// at once when in ends, because then the parent has died: nobody is left to verify, stop or clean up.
//
// It must have the process for itself: gh-ost ends it by os.Exit at will, writes to os.Stdout and keeps global state.
func Main(ctx context.Context, in io.Reader, out io.Writer) int {
	orders := bufio.NewReader(in)
	line, err := orders.ReadBytes('\n')
	if err != nil {
		fmt.Fprintln(os.Stderr, "ghost-child is started by an oscworker, which writes its orders to standard input:", err)
		return exitFailed
	}
	var spec Spec
	if err := json.Unmarshal(line, &spec); err != nil {
		fmt.Fprintln(os.Stderr, "orders of ghost-child:", err)
		return exitFailed
	}
	go func() {
		_, _ = io.Copy(io.Discard, orders) // returns when the parent is gone, whatever the error
		os.Exit(exitOrphaned)
	}()
	go func() {
		<-ctx.Done()
		os.Exit(exitFailed)
	}()
	// gh-ost prints its status to os.Stdout each second; out is ours alone.
	os.Stdout = os.Stderr
	fault.Point(faultStarted)
	return migrate(spec, out)
}

// migrate runs gh-ost and reports while it runs.
func migrate(spec Spec, out io.Writer) int {
	r := &reporter{out: json.NewEncoder(out)}
	logic.RetrySleepFn = func(d time.Duration) { time.Sleep(min(d, retryEvery)) }
	mc, err := newContext(spec)
	if err != nil {
		r.send(Status{Phase: PhaseFailed, Error: err.Error()})
		return exitFailed
	}
	if err := correct(spec, mc); err != nil {
		r.send(Status{Phase: PhaseFailed, Error: err.Error()})
		return exitFailed
	}
	finished, reported := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(reported)
		r.watch(mc, finished)
	}()
	err = logic.NewMigrator(mc, "aosc").Migrate()
	close(finished)
	<-reported
	if err != nil {
		r.send(Status{Phase: PhaseFailed, Error: err.Error()})
		return exitFailed
	}
	r.send(Status{Phase: PhaseFinished, RowsCopied: mc.GetTotalRowsCopied()})
	return 0
}

// correct puts gh-ost's one statement right that may not work on this server.
func correct(spec Spec, mc *base.MigrationContext) error {
	if !spec.ReadableProcesslist {
		return nil
	}
	if !spec.TLS {
		correctStatements(nil)
		return nil
	}
	secure, err := newRelay(mc.InspectorConnectionConfig.TLSConfig())
	if err != nil {
		return err
	}
	correctStatements(secure)
	return nil
}

// newContext does what gh-ost's main() does with its flags, for the one way in which we run it.
func newContext(spec Spec) (*base.MigrationContext, error) {
	mc := base.NewMigrationContext()
	mc.Log.SetLevel(log.INFO)
	mc.DatabaseName, mc.OriginalTableName = spec.Database, spec.Table

	// The text that is run on the copy. AlterStatement stays empty on purpose: gh-ost parses it by regular expressions to
	// find renamed and dropped columns, and finds them in comments and default values too. With nothing to parse,
	// the columns to copy are those both tables have; we never rename.
	mc.AlterStatementOptions = spec.Clauses

	mc.InspectorConnectionConfig.Key.Hostname = spec.Addr.Host
	mc.InspectorConnectionConfig.Key.Port = spec.Addr.Port
	if err := mc.SetConnectionConfig("innodb"); err != nil { // else transaction_isolation="" in the DSN
		return nil, err
	}
	mc.SetConnectionCharset("utf8mb4")
	mc.CliUser, mc.CliPassword = spec.User, spec.Password
	mc.ApplyCredentials()
	if err := setUpTLS(spec, mc); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	mc.SkipPortValidation = spec.SkipPortValidation

	// This server and no other: without it gh-ost climbs from a replica to its source and alters that.
	mc.AssumeMasterHostname = spec.Addr.String()
	mc.AllowedRunningOnMaster = true
	mc.AssumeRBR = true // checked by our preflight; else it restarts replication
	mc.ReplicaServerId = uint(spec.ServerID)

	mc.OkToDropTable = false // a slow drop of the old table kills it after a good cut-over; we drop later
	mc.CutOverType = base.CutOverAtomic
	// A file that always exists postpones the cut-over for ever: it happens when we say Unpostpone, after the verification,
	// and a tidied-up temporary directory cannot bring it about.
	mc.PostponeCutOverFlagFile = os.DevNull
	mc.SkipMetadataLockCheck = spec.SkipMetadataLockCheck
	mc.ServeSocketFile = spec.SocketFile

	mc.AllowZeroInDate = true // what the table holds must fit the copy, as in an ALTER
	mc.ConcurrentCountTableRows = true
	mc.SetHeartbeatIntervalMilliseconds(100)
	mc.ThrottleHTTPIntervalMillis, mc.ThrottleHTTPTimeoutMillis = 100, 1000 // 0 panics
	mc.HooksStatusIntervalSec = 60
	mc.CheckpointIntervalSeconds = 300
	mc.SetChunkSize(int64(spec.ChunkSize))
	mc.SetDMLBatchSize(BatchSize)
	if mc.PanicOnWarnings = spec.PanicOnWarnings; mc.PanicOnWarnings {
		mc.SetDMLBatchSize(1) // it looks at the warnings of the last statement of a batch only
	}
	mc.SetMaxLagMillisecondsThrottleThreshold(spec.MaxLag.Milliseconds())
	retries := retriesFor
	if spec.PanicOnWarnings {
		retries = retriesForWarnings
	}
	mc.SetDefaultNumRetries(int64(retries / retryEvery))
	if err := mc.SetCutOverLockTimeoutSeconds(int64(spec.CutOverLockTimeout.Seconds())); err != nil {
		return nil, err
	}
	if err := mc.SetExponentialBackoffMaxInterval(8); err != nil {
		return nil, err
	}
	if err := mc.ReadThrottleControlReplicaKeys(joinAddrs(spec.Replicas)); err != nil {
		return nil, err
	}
	return mc, nil
}

// setUpTLS has gh-ost verify the server as we do. It reads the authorities from a file.
func setUpTLS(spec Spec, mc *base.MigrationContext) error {
	mc.UseTLS, mc.TLSAllowInsecure = spec.TLS, spec.TLSUnverified
	if spec.TLS && len(spec.CA) > 0 {
		f, err := os.CreateTemp("", "aosc-ca-")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		if _, err = f.Write(spec.CA); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return err
		}
		mc.TLSCACertificate = f.Name()
	}
	return mc.SetupTLS()
}

func joinAddrs(addrs []mysql.Addr) string {
	text := ""
	for i, a := range addrs {
		if i > 0 {
			text += ","
		}
		text += a.String()
	}
	return text
}

// reporter writes Status lines.
type reporter struct {
	mu  sync.Mutex
	out *json.Encoder
}

// send writes one line. A parent that no longer reads has died, which the end of our input tells.
func (r *reporter) send(s Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Ghost = statusMark
	_ = r.out.Encode(s)
}

// watch reports until finished is closed.
func (r *reporter) watch(mc *base.MigrationContext, finished <-chan struct{}) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return
		case <-tick.C:
		}
		s := statusOf(mc)
		r.send(s)
		switch s.Phase {
		case PhaseCopying:
			fault.Point(faultCopying)
		case PhaseCuttingOver:
			fault.Point(faultCutover)
		}
	}
}

// statusOf reads gh-ost's state: only what it keeps for concurrent reading.
func statusOf(mc *base.MigrationContext) Status {
	s := Status{
		RowsCopied: mc.GetTotalRowsCopied(),
		Applied:    atomic.LoadInt64(&mc.TotalDMLEventsApplied),
		Seen:       mc.GetLastHeartbeatOnChangelogTime(),
		Lag:        mc.GetCurrentLagDuration(),
		Phase:      PhaseStarting,
	}
	if eta := mc.GetETADuration(); eta > 0 {
		s.ETA = eta
	}
	s.Throttled, s.Reason, _ = mc.IsThrottled()
	switch {
	case atomic.LoadInt64(&mc.CutOverCompleteFlag) != 0, atomic.LoadInt64(&mc.InCutOverCriticalSectionFlag) != 0:
		s.Phase = PhaseCuttingOver
	case atomic.LoadInt64(&mc.IsPostponingCutOver) != 0:
		s.Phase = PhasePostponed
	case mc.ElapsedRowCopyTime() > 0:
		s.Phase = PhaseCopying
	}
	if s.Phase != PhaseStarting {
		// Written by gh-ost before the copying began, and atomically since.
		s.RowsTotal = atomic.LoadInt64(&mc.RowsEstimate) + atomic.LoadInt64(&mc.RowsDeltaEstimate)
	}
	return s
}
