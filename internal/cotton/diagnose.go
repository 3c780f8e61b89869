package cotton

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Code names a diagnosis; codes are for programs and do not change.
type Code string

const (
	PrimaryDead        Code = "primary_dead"
	PrimaryEmpty       Code = "primary_empty"
	PrimaryBehind      Code = "primary_behind"
	PrimarySilent      Code = "primary_silent"
	PrimaryIsolated    Code = "primary_isolated"
	PrimaryStalled     Code = "primary_stalled"
	PrimaryUnreachable Code = "primary_unreachable"
	CommitsWait        Code = "commits_wait"
)

// Diagnosis is what is wrong with the primary.
type Diagnosis struct {
	Code Code `json:"code"`
	// Certain is whether it is known, rather than inferred from silence (I11).
	Certain bool   `json:"certain"`
	Text    string `json:"text"`
}

// diagnosis is a row of the table of what can be wrong with a primary.
type diagnosis struct {
	code        Code
	description string
	certain     bool
	failover    bool   // calls for another primary
	excludes    []Code // that follow from it, and are not told
	match       func(d *deciding, p Seen) (detail string, is bool)
}

// isolatedFor is how long replicas must have been deaf to a primary that answers us before it counts as cut off from
// them: longer than they take to connect again.
const isolatedFor = 8 * time.Second

// stalledFor is how long no small write to the primary's volume must have succeeded before its disk counts as gone. A disk
// that is merely busy takes seconds at times, and something is committed meanwhile. A server that found its disk full waits for a
// minute before it tries again.
const stalledFor = 8 * time.Second

// idleStalledFor is the same for a primary to which nobody wrote before, either: nobody waits, as far as is known.
const idleStalledFor = 30 * time.Second

// stalled tells whether nothing can be committed on an open primary for its disk's sake.
func (s Seen) stalled() bool {
	limit := stalledFor
	if s.now() && s.Idle > s.Stalled+stalledFor {
		limit = idleStalledFor
	}
	return s.Writable() && s.Stalled >= limit && (!s.now() || s.Idle >= limit)
}

// diagnoses are ordered by how much they say: the first that calls for a failover is its reason.
var diagnoses = []diagnosis{
	{
		PrimaryDead, "mysqld of the primary has ended, or its task", true, true,
		[]Code{PrimarySilent, PrimaryUnreachable, CommitsWait, PrimaryIsolated},
		func(d *deciding, p Seen) (string, bool) {
			m, _ := d.Member(d.Primary)
			return fmt.Sprintf("the primary %s is down: %s", d.MemberName(d.Primary), down(*m, p)), !p.TaskLives
		},
	},
	{
		PrimaryEmpty, "the primary answers, closed, and has executed nothing: its data are lost", true, true,
		[]Code{CommitsWait},
		func(d *deciding, p Seen) (string, bool) {
			return fmt.Sprintf("the primary %s has lost its data: it has executed nothing", d.MemberName(d.Primary)),
				p.now() && !p.Writable() && d.Founded && p.Replica == nil && p.Busy == "" && p.Server.GTIDExecuted == ""
		},
	},
	{
		PrimaryBehind, "the primary answers, closed, and lacks transactions that it gave to a replica: it is an older copy of itself", true, true,
		[]Code{CommitsWait},
		(*deciding).behind,
	},
	{
		PrimarySilent, "the primary cannot be reached, and none of its replicas hears it", false, true,
		[]Code{PrimaryUnreachable, CommitsWait},
		(*deciding).silent,
	},
	{
		PrimaryIsolated, "the primary answers, its replicas do not hear it: commits wait for ever", false, true,
		[]Code{CommitsWait},
		(*deciding).isolated,
	},
	{
		PrimaryStalled, "the primary answers, and its disk does not, or is full: nothing can be committed", true, true,
		nil,
		func(d *deciding, p Seen) (string, bool) {
			return fmt.Sprintf("the primary %s commits nothing: no write to its volume has succeeded for %s, says its executor: %s", d.MemberName(d.Primary),
				p.Stalled.Round(time.Second), cmp.Or(p.VolumeError, "one hangs")), p.stalled()
		},
	},
	{
		PrimaryUnreachable, "the primary does not answer us; that says nothing of it while a replica may hear it", false, false,
		[]Code{CommitsWait},
		func(d *deciding, p Seen) (string, bool) {
			return fmt.Sprintf("the primary %s does not answer: %v", d.MemberName(d.Primary), p.Err), !p.now()
		},
	},
	{
		CommitsWait, "no replica acknowledges, so commits wait", true, false, nil,
		func(d *deciding, p Seen) (string, bool) {
			return fmt.Sprintf("no replica acknowledges: commits on %s wait", d.MemberName(d.Primary)),
				d.Spec.Policy == PolicyLossless && p.Writable() && p.SemiSync.Clients < d.AcksWanted()
		},
	},
}

// down says why an instance does not run: by its executor's word, else by Mesos'.
func down(m Member, s Seen) string {
	return cmp.Or(s.Down, strings.TrimSpace(fmt.Sprintf("%s %s", m.Phase, m.TaskState)))
}

// behind: see PrimaryBehind. An errant transaction of a replica does not make the primary an old copy.
func (d *deciding) behind(p Seen) (string, bool) {
	if !p.now() || p.Writable() || p.Replica != nil || !d.Founded || p.Busy != "" || len(d.Lineage) == 0 {
		return "", false
	}
	executed, err := mysql.ParseGTIDSet(p.Server.GTIDExecuted)
	if err != nil || executed.Empty() {
		return "", false
	}
	if base, err := d.Acknowledged(); err == nil && !executed.Contains(base) {
		return fmt.Sprintf("the primary %s lacks what was acknowledged before: %s", d.MemberName(d.Primary), base.Subtract(executed)), true
	}
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || m.Relieved || !s.now() {
			continue
		}
		if theirs, err := received(s); err == nil {
			if more := theirs.Subtract(executed).Subtract(d.errantIn(theirs)); !more.Empty() {
				return fmt.Sprintf("the primary %s lacks transactions that %s has: %s", d.MemberName(d.Primary), d.MemberName(m.ID), more), true
			}
		}
	}
	return "", false
}

// silent: a primary is as good as dead when nobody hears it: neither we, for a while, nor any replica that we can ask. A
// port at which nobody listens needs no while.
func (d *deciding) silent(p Seen) (string, bool) {
	if p.now() || !p.Refused && p.Silent < d.lim.Silence {
		return "", false
	}
	asked := 0
	for _, m := range d.Members {
		s := d.seen[m.ID]
		if m.ID == d.Primary || !s.now() || s.Busy != "" {
			continue
		}
		if d.hears(s) {
			return "", false
		}
		asked++
	}
	return fmt.Sprintf("the primary %s has not answered for %s (%v), and none of %d replicas hears it", d.MemberName(d.Primary),
		p.Silent.Round(100*time.Millisecond), p.Err, asked), asked > 0
}

// isolated: the primary takes writes and cannot commit them, since enough replicas are cut off from it, and not from us. What
// it counts as connected itself says nothing: it does not notice a replica whose packets are dropped. A primary that has
// just been opened is given the time to be found again.
func (d *deciding) isolated(p Seen) (string, bool) {
	if !p.now() || p.Open < isolatedFor || d.Spec.Policy != PolicyLossless || !d.Founded {
		return "", false
	}
	cut := 0
	for _, id := range d.Ackers() {
		if s := d.seen[id]; s.now() && s.Busy == "" && s.cutOff() {
			cut++
		}
	}
	return fmt.Sprintf("the primary %s answers, but %d replicas have not heard it for %s: it cannot commit", d.MemberName(d.Primary), cut,
		isolatedFor), cut > 0 && cut >= d.Need()
}

// cutOff tells whether a replica has tried to connect for a while, and has heard nothing for isolatedFor, as far as it or we
// know. One that is connected may be receiving a single long transaction.
func (s Seen) cutOff() bool {
	if s.Replica == nil || s.Replica.IORunning != "Connecting" || s.Deaf < deaf {
		return false
	}
	return s.Deaf >= isolatedFor || s.Heard != nil && *s.Heard >= isolatedFor
}

// diagnose finds what is wrong with the primary, and begins a failover if that is what it calls for and it is possible.
// It returns true when it did.
func (d *deciding) diagnose() bool {
	p := d.seen[d.Primary]
	var excluded []Code
	cause := ""
	for _, row := range diagnoses {
		text, is := row.match(d, p)
		if !is || slices.Contains(excluded, row.code) {
			continue
		}
		excluded = append(excluded, row.excludes...)
		d.out.Diagnoses = append(d.out.Diagnoses, Diagnosis{row.code, row.certain, text})
		d.problem("%s", text)
		if row.failover && cause == "" {
			cause = text
		}
	}
	if cause == "" {
		return false
	}
	if why := d.noFailover(); why != "" {
		d.problem("no failover: %s", why)
		return false
	}
	d.out.Transition = &Transition{Kind: BeginFailover, Note: cause, Waited: d.waiting(p)}
	return true
}

// lastWord is how old the last answer of a primary that died may be to speak for its end: two looks.
const lastWord = 3 * time.Second

// waiting tells whether the commits of a primary that surely died waited for a replica to its end.
func (d *deciding) waiting(p Seen) bool {
	if p.Foreign > 0 && !d.semiSyncRight(p) { // somebody outside may have let them go on
		return false
	}
	limit := lastWord
	if d.Spec.Policy != PolicyLossless {
		limit = fallBack / 2 // later than that it may have gone on alone
	}
	return !p.TaskLives && p.Answered && p.Silent < limit && (d.Spec.Policy == PolicyLossless || p.SemiSync.Active && p.SemiSync.Clients > 0)
}

// startGrace is how long a scheduler that has just started waits for a primary whose task is being launched: after an
// outage of everything its replicas may merely be quicker.
const startGrace = 20 * time.Second

// noFailover says why another member must not become the primary now, empty when it may.
func (d *deciding) noFailover() string {
	if d.Spec.Policy == PolicySingle || len(d.Members) < 2 {
		return "there is nothing to fail over to"
	}
	if last := d.LastFailover(); d.lim.Cooldown > 0 && !last.IsZero() && d.Change == nil {
		if left := d.lim.Cooldown - d.lim.Now.Sub(last); left > 0 {
			return fmt.Sprintf("the last one was %s ago; the next is not before %s has passed", d.lim.Now.Sub(last).Round(time.Second), d.lim.Cooldown)
		}
	}
	m, _ := d.Member(d.Primary)
	if p := d.seen[d.Primary]; m.Phase != PhaseRunning && !p.Answered && p.Silent < startGrace {
		return fmt.Sprintf("it is being started again (%s), as all of the cluster may be: it has %s", m.Phase, (startGrace - p.Silent).Round(time.Second))
	}
	var reached int
	for _, id := range d.Ackers() {
		if s := d.seen[id]; s.now() && s.Busy == "" && d.witness(id) {
			reached++
		}
	}
	if need := d.Need(); reached < need {
		return fmt.Sprintf("%d of the %d replicas that may have acknowledged writes answer, and for all of them; %d are needed to be sure that "+
			"none is lost; bring one more back, or wait for the primary's return", reached, len(d.Ackers()), need)
	}
	if why := d.tooManyRounds(); why != "" {
		return why
	}
	return d.nobodyFits()
}

// A failover that was begun and taken back so many times in a row is not begun again for a while: whatever makes it fail is still there.
const (
	maxRounds  = 3
	roundsRest = 10 * time.Minute
)

// tooManyRounds ends a loop of failovers that are begun and taken back. One whose primary is surely down is never taken back.
func (d *deciding) tooManyRounds() string {
	if d.Change != nil || !d.seen[d.Primary].TaskLives {
		return ""
	}
	n := 0
	for _, c := range slices.Backward(d.History) {
		if c.Kind != Failover || !c.Taken || c.From != d.Primary || d.lim.Now.Sub(c.Ended) > roundsRest {
			break
		}
		n++
	}
	if n < maxRounds {
		return ""
	}
	return fmt.Sprintf("%d failovers in a row were begun and taken back within %s; the reasons are in `cotton log %s`. The next one is not before that time has "+
		"passed; `cotton failover %s --accept-loss` goes on with whoever answers and has most", n, roundsRest, d.Spec.Name, d.Spec.Name)
}
