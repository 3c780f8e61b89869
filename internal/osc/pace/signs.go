package pace

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// answer is how long a primary may take to say how busy it is.
const answer = 2 * time.Second

// Signs reads the signs of one primary. What the account may not read, or the server does not have, is said once and left out.
type Signs struct {
	DB  *sql.DB
	Log *slog.Logger

	closed map[string]bool  // readings that are left out
	before map[string]waits // what commits had waited for at the last sample
}

// waits are counters of the server, which only grow until it is restarted.
type waits struct {
	count uint64
	took  time.Duration
}

// Read takes a sample of those signs that have a limit.
func (s *Signs) Read(ctx context.Context, l Limits) Sample {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	sample := Sample{}
	now := map[string]waits{}
	for _, r := range []struct {
		name string
		want bool
		read func(context.Context) error
	}{
		{"global status", l.Threads > 0 || l.RedoPct > 0 || l.Commit > 0, func(ctx context.Context) error { return s.status(ctx, &sample, now) }},
		{"history list length", l.History > 0, func(ctx context.Context) error { return s.history(ctx, &sample) }},
		{"commit latency", l.Commit > 0, func(ctx context.Context) error { return s.files(ctx, now) }},
	} {
		if !r.want || s.closed[r.name] {
			continue
		}
		err := r.read(ctx)
		switch {
		case err == nil:
		case mysql.Number(err) != 0 || errors.Is(err, sql.ErrNoRows):
			if s.closed == nil {
				s.closed = map[string]bool{}
			}
			s.closed[r.name] = true
			s.Log.Warn("a sign of the primary cannot be read, the copy is not paced by it", "sign", r.name, "error", err)
		default:
			sample.Silent = fmt.Errorf("%s: %w", r.name, err)
		}
	}
	if l.Commit > 0 {
		sample.Commit = commitTime(s.before, now)
		s.before = now
	}
	sample.At = time.Now()
	return sample
}

// commitTime is what one commit waited for since the last sample, nil when there was none: its records on disk in the redo log and in the
// binary log, one after the other, and the acknowledgement of a replica.
func commitTime(before, now map[string]waits) *time.Duration {
	var all time.Duration
	seen := false
	for name, n := range now {
		b, ok := before[name]
		if ok && n.count > b.count && n.took >= b.took {
			all += (n.took - b.took) / time.Duration(n.count-b.count)
			seen = true
		}
	}
	if !seen {
		return nil
	}
	return &all
}

// status reads the status variables.
func (s *Signs) status(ctx context.Context, sample *Sample, now map[string]waits) error {
	rows, err := s.DB.QueryContext(ctx, `SELECT LOWER(variable_name), variable_value FROM performance_schema.global_status WHERE variable_name IN (
		'Threads_running', 'Innodb_redo_log_current_lsn', 'Innodb_redo_log_checkpoint_lsn', 'Innodb_redo_log_capacity_resized',
		'Rpl_semi_sync_source_tx_waits', 'Rpl_semi_sync_source_tx_wait_time', 'Rpl_semi_sync_master_tx_waits',
			'Rpl_semi_sync_master_tx_wait_time')`)
	if err != nil {
		return err
	}
	defer rows.Close()
	value := map[string]float64{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return err
		}
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			value[name] = v
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if threads, ok := value["threads_running"]; ok {
		sample.Threads = &threads
	}
	if capacity := value["innodb_redo_log_capacity_resized"]; capacity > 0 {
		age := 100 * (value["innodb_redo_log_current_lsn"] - value["innodb_redo_log_checkpoint_lsn"]) / capacity
		sample.RedoPct = &age
	}
	for _, word := range []string{"source", "master"} {
		if waited, ok := value["rpl_semi_sync_"+word+"_tx_wait_time"]; ok {
			now["semisync"] = waits{uint64(value["rpl_semi_sync_"+word+"_tx_waits"]), time.Duration(waited) * time.Microsecond}
		}
	}
	return nil
}

// files reads how long the logs' writes to disk took: they are what the server times as neither read nor write.
func (s *Signs) files(ctx context.Context, now map[string]waits) error {
	rows, err := s.DB.QueryContext(ctx, `SELECT event_name, count_misc, sum_timer_misc DIV 1000 FROM performance_schema.file_summary_by_event_name
		WHERE event_name IN ('wait/io/file/innodb/innodb_log_file', 'wait/io/file/sql/binlog')`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var w waits
		if err := rows.Scan(&name, &w.count, &w.took); err != nil {
			return err
		}
		now[name] = w
	}
	return rows.Err()
}

func (s *Signs) history(ctx context.Context, sample *Sample) error {
	var length uint64
	err := s.DB.QueryRowContext(ctx, "SELECT `count` FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'").Scan(&length)
	if err == nil {
		sample.History = &length
	}
	return err
}
