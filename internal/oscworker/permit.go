package oscworker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/permit"
)

const (
	// judgeEvery is from one look at the permission to the next. A copy takes up to a second to stop.
	judgeEvery = 500 * time.Millisecond
	// judgeFresh is how old the last answer may be where a database is begun.
	judgeFresh = 2 * time.Second
)

// word is what stands between the work and going on: the operator's osc_priv, and the tables' permission.
type word struct {
	priv    osc.Priv       // of aosc_osc_ww
	verdict permit.Verdict // of the central tables
	at      time.Time      // of verdict: when aoscdb was asked, the last time that it answered
	cutOver string         // of aosc_osc_ww
	said    aoscdb.Permission
	err     error     // of the newest question
	away    time.Time // when aoscdb was first asked in vain; zero while it answers
}

// setWord brings the operator's word on the instance to the work.
func (j *job) setWord(row aoscdb.OSCRow) {
	j.mu.Lock()
	j.word.priv, j.word.cutOver = osc.Priv(row.OSCPriv), row.CutOver
	j.mu.Unlock()
	j.obeyWord()
}

// terms are what the tables say besides going on, pausing and stopping. What was said last holds while aoscdb is away; its clock goes on.
func (j *job) terms(w word, now time.Time) osc.Terms {
	if w.at.IsZero() {
		return osc.Terms{Gate: "aoscdb has not said yet whether it may be swapped in"}
	}
	tier := w.said.Tiers[j.inst.Tier]
	clock := w.said.Now.Add(now.Sub(w.at))
	return osc.Terms{Gate: permit.Gate(clock, w.cutOver, w.said.Allowed, tier), Limits: j.d.cfg.limits(tier)}
}

// obeyWord gives the work the stricter of both words.
func (j *job) obeyWord() {
	j.mu.Lock()
	w := j.word
	j.mu.Unlock()
	j.control.SetTerms(j.terms(w, time.Now()))
	switch {
	case w.priv == osc.PrivStop:
		j.control.Set(osc.PrivStop)
	case w.priv != osc.PrivOK && w.priv != "":
		j.progress.paused("osc_priv is " + string(w.priv))
		j.control.Set(osc.PrivPause)
	case w.verdict.Answer == permit.Pause:
		j.progress.paused(w.verdict.Reason)
		j.control.Set(osc.PrivPause)
	default:
		j.control.Set(osc.PrivOK)
	}
}

// watchPermission asks aoscdb, apart from what is asked of the instance: one of them away must not keep the other's word
// from the work.
func (j *job) watchPermission(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		j.judge(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watchInventory ends the work on an instance that is taken out of the inventory. It asks by itself: which instances a pass of the
// daemon serves cannot be told where this worker is for that one alone. Without an answer nothing is concluded.
func (j *job) watchInventory(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tiers, err := j.d.Inventory.Tiers(ctx)
		if err == nil && !listed(tiers, j.inst) {
			j.breakOff(fmt.Errorf("%w: the inventory does not list the instance in tier %s", errForbidden, j.inst.Tier))
			return
		}
	}
}

// listed tells whether an instance is in the tier that it was altered for.
func listed(tiers []fleet.Tier, inst fleet.Instance) bool {
	return slices.ContainsFunc(tiers, func(t fleet.Tier) bool {
		return t.Name == inst.Tier && slices.ContainsFunc(t.Instances(), func(i fleet.Instance) bool { return i.Addr() == inst.Addr() })
	})
}

// judge asks whether the alter may go on, and makes the work obey. Without an answer the database at hand goes on, and
// no other is begun: see untilPermitted.
func (j *job) judge(work context.Context) {
	ctx, cancel := context.WithTimeout(work, j.d.cfg.Timeout)
	defer cancel()
	asked := time.Now()
	p, err := j.d.Store.Permission(ctx, j.inst.Tier, j.table)
	if work.Err() != nil {
		return
	}
	j.sayAway(asked, err)
	j.mu.Lock()
	if j.word.err = err; err != nil {
		j.mu.Unlock()
		return
	}
	b := permit.Begun{Host: j.inst.Host, Port: j.inst.Port, Group: j.inst.Tier, Table: j.table, Blob: j.row.DesiredBlob, AllowUnsafe: j.unsafe}
	// The answer may have been read as soon as it was asked for.
	j.word.verdict, j.word.said, j.word.at = permit.Judge(b, p), p, asked
	v := j.word.verdict
	j.mu.Unlock()
	if v.Answer == permit.Stop {
		j.breakOff(fmt.Errorf("%w: %s", errForbidden, v.Reason))
		return
	}
	j.obeyWord()
}

// sayAway says, once for each time, that aoscdb does not answer: what runs on meanwhile, and how to stop it; and that it answers
// again.
func (j *job) sayAway(asked time.Time, err error) {
	j.mu.Lock()
	since := j.word.away
	switch {
	case err == nil:
		j.word.away = time.Time{}
	case since.IsZero():
		j.word.away = asked
	}
	j.mu.Unlock()
	switch {
	case err != nil && since.IsZero():
		j.log.Warn("aoscdb does not answer: what is under way is altered to its end, no other database is begun",
			"under_way", names(j.progress.underWay()), "stop_it_by", j.stoppedBy(), "error", err)
	case err == nil && !since.IsZero():
		j.log.Info("aoscdb answers again", "away", time.Since(since).Round(time.Second))
	}
	note := ""
	if err != nil {
		note = "aoscdb does not answer: this database is altered to its end, no other is begun; stop it by " + j.stoppedBy()
	}
	j.progress.noted(note)
}

// stoppedBy says how an operator stops the work while aoscdb is away.
func (j *job) stoppedBy() string {
	var ways []string
	if j.tier.StatusStore != aoscdb.StoreCentral {
		ways = append(ways, "osc_priv='STOP' in aosc.aosc_osc_ww of the instance")
	}
	if file := j.d.cfg.StopFile; file != "" {
		ways = append(ways, fmt.Sprintf("a line %s in %s on the worker's machine", j.inst.Addr(), file))
	}
	if len(ways) == 0 {
		return "SIGTERM to the worker"
	}
	return strings.Join(ways, ", or ")
}

// awaitWord says why no database may be begun now, "" when one may.
func (j *job) awaitWord() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if time.Since(j.word.at) <= judgeFresh {
		return ""
	}
	if j.word.err != nil {
		return fmt.Sprintf("aoscdb does not say whether it is still permitted: %v", j.word.err)
	}
	return "aoscdb is asked whether it is still permitted"
}

// stopFile looks whether the operator has stopped this instance at the worker's machine, by a file that needs no database:
// one host:port to a line, a host for all of its instances, or * for all. "" = no; else why.
func (d *Daemon) stopFile(a mysql.Addr) string {
	if d.cfg.StopFile == "" {
		return ""
	}
	text, err := os.ReadFile(d.cfg.StopFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ""
	case err != nil:
		return fmt.Sprintf("the stop file cannot be read: %v", err) // who cannot be understood is obeyed
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "*" || strings.EqualFold(line, a.String()) || strings.EqualFold(line, a.Host) {
			return fmt.Sprintf("the file %s on the worker's machine names it (%s)", d.cfg.StopFile, line)
		}
	}
	return ""
}

// checkStopFile ends the work when the operator says so.
func (w *watcher) checkStopFile() {
	if why := w.d.stopFile(w.inst.Addr()); why != "" {
		w.breakOff(fmt.Errorf("%w: %s", errStopFile, why))
	}
}

// summary says for the history what was altered on the instance, and what was not.
func (j *job) summary() string {
	altered, left := j.progress.split()
	all := len(altered) + len(left)
	if all == 0 {
		return "nothing was begun"
	}
	text := fmt.Sprintf("altered %d of %d databases", len(altered), all)
	if len(altered) > 0 {
		text += ": " + names(altered)
	}
	if len(left) > 0 {
		text += "; not altered: " + names(left)
	}
	return text
}

// names lists databases, the first of very many.
func names(list []string) string {
	const most = 100
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// losesData tells whether one of the plans needs allow_unsafe.
func losesData(plans []osc.Plan) bool {
	for _, p := range plans {
		if len(p.Facts.Loses) > 0 {
			return true
		}
	}
	return false
}

// alterEvent is the ALTER that ran, for the history.
func (j *job) alterEvent() aoscdb.Event {
	detail, statement := j.summary(), j.statement()
	if statement != "" {
		detail += "; by " + statement
	}
	return aoscdb.Event{Actor: "oscworker " + j.d.Owner, Group: j.inst.Tier, Table: j.table, Host: j.inst.Host, Port: j.inst.Port,
		What: "altered", Detail: detail, Statement: statement}
}

// statement is what ran on the databases that are altered: databases of one tier may differ, and so do their ALTERs.
func (j *job) statement() string {
	altered, _ := j.progress.split()
	var out []string
	for _, database := range altered {
		if sql := j.sql[database]; sql != "" && !slices.Contains(out, sql) {
			out = append(out, sql)
		}
	}
	return strings.Join(out, ";\n")
}
