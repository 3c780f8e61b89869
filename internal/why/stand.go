package why

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

// SilentAfter is the age at which a worker's last word counts as old. It speaks every five seconds at least.
const SilentAfter = 15 * time.Second

// Stand is how one alter stands on one instance: what its worker last said, and how old that is.
type Stand struct {
	State string // one word for people
	Code  Code
	Why   string // why it does not move, "" when it does
	Slow  string // why it moves slowly

	Percentage float64 // 0 to 100
	Database   string  // the one at work
	Engine     string
	RowsCopied uint64
	RowsTotal  uint64 // an estimate
	RowsPerS   float64
	ETA        time.Duration  // 0 = unknown
	Lag        *time.Duration // of the copy behind the binary log, nil = unknown
	Age        time.Duration  // of the worker's word
	Old        bool           // the figures are from before the worker, or the instance, fell silent
}

// DatabaseProgress is one entry of aosc_osc_ww.detail.
type DatabaseProgress struct {
	Database   string   `json:"database"`
	Engine     string   `json:"engine"`
	State      string   `json:"state"`
	Percentage float64  `json:"percentage"`
	RowsCopied uint64   `json:"rows_copied"`
	RowsTotal  uint64   `json:"rows_total"`
	RowsPerS   float64  `json:"rows_per_s"`
	ETASeconds float64  `json:"eta_s"`
	LagSeconds *float64 `json:"lag_s"`
	Detail     string   `json:"detail"`
	Workers    int      `json:"workers"`
}

// Databases decodes aosc_osc_ww.detail; none when there is none or it is not readable.
func Databases(row *aoscdb.OSCRow) []DatabaseProgress {
	if row == nil || row.Detail == "" {
		return nil
	}
	var out []DatabaseProgress
	if json.Unmarshal([]byte(row.Detail), &out) != nil {
		return nil
	}
	return out
}

// StandOf judges a row of running_alters by what its instance said; asked is false when nobody asked it: then the row itself
// has what the scheduler saw last. now is aoscdb's clock.
func StandOf(now time.Time, run aoscdb.RunningAlter, look Look, asked bool) Stand {
	switch {
	case asked && look.Err != nil:
		s := central(now, run)
		s.State, s.Code, s.Old = "unknown", Unreachable, true
		s.Why = fmt.Sprintf("the instance does not answer: %v", look.Err)
		return s
	case run.OSCStatus == aoscdb.RunDone:
		return Stand{State: "done", Code: Going, Percentage: 100}
	case run.OSCStatus == aoscdb.RunReady:
		return ready(look)
	case !asked:
		s := central(now, run)
		s.judge("no sign of life from its worker", run.LastUpdated)
		return s
	case look.Row == nil:
		s := central(now, run)
		s.State, s.Code, s.Old = "unknown", WorkerLost, true
		s.Why = "its row in aosc_osc_ww is gone: no worker is at work on it"
		return s
	}
	return live(look.Row)
}

// ready is a row that no worker has begun. What the instance shows as DONE, FAILED or RUNNING is of another run.
func ready(look Look) Stand {
	s := Stand{State: "queued", Code: Queued}
	if r := look.Row; r != nil && r.Status == aoscdb.OSCWaiting && r.OSCPriv != aoscdb.PrivOK {
		s.State, s.Code = "stopped", OSCPriv
		if r.OSCPriv == aoscdb.PrivPause {
			s.State = "paused"
		}
		s.Why = fmt.Sprintf("osc_priv is %s on the instance: OK lets it begin", r.OSCPriv)
	} else if r != nil && r.Status == aoscdb.OSCWaiting && r.Error != "" {
		s.State, s.Code, s.Why = "given back", Order, "its worker gave it back and tries again within seconds: "+r.Error
	}
	return s
}

// central is what the scheduler wrote down.
func central(now time.Time, run aoscdb.RunningAlter) Stand {
	s := Stand{State: run.State, Why: run.Note, Percentage: run.Percentage, RowsCopied: run.RowsCopied, RowsTotal: run.RowsTotal,
		RowsPerS: run.RowsPerS, ETA: seconds(run.ETAS), Age: max(0, now.Sub(run.LastUpdated))}
	if run.LagS != nil {
		lag := seconds(*run.LagS)
		s.Lag = &lag
	}
	if s.State == "" {
		s.State = "running"
	}
	return s
}

// live is what the instance's own row says.
func live(r *aoscdb.OSCRow) Stand {
	s := Stand{Percentage: r.Percentage, Age: max(0, r.ReadAt.Sub(r.LastUpdate))}
	switch r.Status {
	case aoscdb.OSCDone:
		return Stand{State: "done", Code: Going, Percentage: 100}
	case aoscdb.OSCFailed:
		s.State, s.Code, s.Old = "failed", Backoff, true
		s.Why = fmt.Sprintf("try %d failed: %s", r.Try, r.Error)
		return s
	case aoscdb.OSCWaiting:
		s.State, s.Code = "given back", Queued
		s.Why = "its worker gave it back; the scheduler queues it again"
		if r.OSCPriv != aoscdb.PrivOK {
			s.State, s.Code, s.Why = "stopped", OSCPriv, fmt.Sprintf("osc_priv is %s on the instance: OK lets it begin", r.OSCPriv)
		}
		return s
	}
	s.State = "running"
	at := s.databases(Databases(r))
	if at != nil {
		s.State, s.Why = at.State, at.Detail
	}
	s.judge("no sign of life from worker "+r.Owner, r.LastUpdate)
	return s
}

// databases sums up the databases, and returns the one at work.
func (s *Stand) databases(all []DatabaseProgress) *DatabaseProgress {
	var at *DatabaseProgress
	for i, d := range all {
		s.RowsCopied += d.RowsCopied
		s.RowsTotal += d.RowsTotal
		if at == nil && d.State != "done" && d.State != "waiting" {
			at = &all[i]
		}
	}
	if at == nil {
		return nil
	}
	s.Database, s.Engine, s.RowsPerS, s.ETA = at.Database, at.Engine, at.RowsPerS, seconds(at.ETASeconds)
	if at.LagSeconds != nil {
		lag := seconds(*at.LagSeconds)
		s.Lag = &lag
	}
	if at.RowsPerS > 0 && s.RowsTotal > s.RowsCopied && at.State == "copying" {
		s.ETA = seconds(float64(s.RowsTotal-s.RowsCopied) / at.RowsPerS)
	}
	return at
}

// judge turns state and detail of a run at work into the code.
func (s *Stand) judge(silent string, heard time.Time) {
	detail := s.Why
	switch {
	case s.Age > SilentAfter:
		s.Code, s.Old = WorkerLost, true
		s.Why = fmt.Sprintf("%s since %s; it was %s", silent, stamp(heard), s.State)
		s.State = "silent"
	case s.State == "throttled":
		s.Code, s.Why = Throttled, "the copy is throttled: "+or(detail, "no reason is given")
	case s.State == "paused":
		s.Code, s.Why = pauseCode(detail), "it pauses in place: "+or(detail, "no reason is given")
	case s.State == "at the gate":
		s.Code, s.Why = Gate, "the copy is verified and caught up, and waits at the gate: "+or(detail, "no reason is given")
	case s.State == "altering" && strings.Contains(detail, "lock"), s.State == "cutting over" && strings.HasPrefix(detail, "waits"):
		s.Code, s.Why = Lock, s.State+": "+detail
	default:
		s.Code, s.Why = Going, ""
		if strings.HasPrefix(detail, "slowed down") {
			s.Slow = detail
		}
	}
}

// pauseCode tells the reasons of permit.Judge and of osc_priv apart.
func pauseCode(detail string) Code {
	switch {
	case strings.HasPrefix(detail, "osc_priv"):
		return OSCPriv
	case strings.HasPrefix(detail, "max_running"):
		return Limit
	case strings.HasPrefix(detail, "HOLD"):
		return Hold
	case strings.HasPrefix(detail, "tier ") && strings.Contains(detail, "not enabled"):
		return TierDisabled
	}
	return Paused
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
