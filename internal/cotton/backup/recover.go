package backup

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Latest, as a target, is all that is archived.
const Latest = "latest"

// Target is the moment that a restore is to reach. The zero value is that of the copy itself.
type Target struct {
	Latest bool
	// Time: all that was committed until then, as the logs have it; nothing from the first later transaction on.
	Time time.Time
	// GTIDs: until the server has executed all of them. Named one by one or as a whole gtid_executed.
	GTIDs mysql.GTIDSet
}

// ParseTarget reads what a user asks for: empty, "latest", a time as in RFC 3339, or GTIDs.
func ParseTarget(text string) (Target, error) {
	switch {
	case text == "":
		return Target{}, nil
	case text == Latest:
		return Target{Latest: true}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return Target{Time: at}, nil
	}
	set, err := mysql.ParseGTIDSet(text)
	if err != nil || set.Empty() {
		return Target{}, fmt.Errorf("%.100q is no moment to restore to: want a time such as 2026-01-02T15:04:05Z, GTIDs such as those of @@gtid_executed, or %s", text, Latest)
	}
	return Target{GTIDs: set}, nil
}

// CopyOnly tells whether no log is needed.
func (t Target) CopyOnly() bool { return !t.Latest && t.Time.IsZero() && t.GTIDs.Empty() }

func (t Target) String() string {
	switch {
	case t.Latest:
		return Latest
	case !t.Time.IsZero():
		return t.Time.UTC().Format(time.RFC3339Nano)
	}
	return t.GTIDs.String()
}

// ErrUnreachable: the copy and the logs do not lead to the target.
var ErrUnreachable = errors.New("cannot be reached from this backup")

// Recovery is what is applied to a copy to reach a target.
type Recovery struct {
	Logs []Log // in order; none when the copy is at the target
	// Until is where the last log is left: after all of these transactions, or before the first of them.
	Until  mysql.GTIDSet
	Before bool
	// Least and Most are what must have been executed at the end, and what must not be exceeded.
	Least, Most mysql.GTIDSet
}

// Check says whether a target can be reached, as far as the manifest and the entries of the logs tell; a Recovery is
// worked out once a server has said what exactly the copy has.
func Check(m Manifest, logs []Log, t Target) error {
	c, err := m.chain(logs)
	if err != nil {
		return err
	}
	from, err := mysql.ParseGTIDSet(m.GTIDsFrom)
	if err != nil {
		return err
	}
	to, err := mysql.ParseGTIDSet(m.GTIDsTo)
	if err != nil {
		return err
	}
	c.Covered = c.Covered.Union(to)
	switch {
	case !t.Time.IsZero():
		return c.reachesTime(m, t)
	case !t.GTIDs.Empty():
		return c.reaches(from, t)
	}
	return nil
}

func (c Chain) reaches(copied mysql.GTIDSet, t Target) error {
	if newer := copied.Beyond(t.GTIDs); !newer.Empty() {
		return fmt.Errorf("the copy has %s already, which is later: take an older backup: %w", newer, ErrUnreachable)
	}
	if missing := t.GTIDs.Subtract(c.Covered); !missing.Empty() {
		return fmt.Errorf("the archive ends before it: %s are not in it, the last there are %s: %w", missing, c.Covered, ErrUnreachable)
	}
	if other := copied.Subtract(t.GTIDs.Prefix()); copied.Contains(t.GTIDs) && !other.Empty() {
		return fmt.Errorf("the copy has all of it, and %s besides: name them, too, or take an older backup: %w", other, ErrUnreachable)
	}
	return nil
}

// reachesTime wants a transaction beyond the time as the proof that the archive has all before it.
func (c Chain) reachesTime(m Manifest, t Target) error {
	if t.Time.Before(m.CopiedAt) {
		return fmt.Errorf("the copy was ended at %s only: take an older backup: %w", m.CopiedAt.Format(time.RFC3339Nano), ErrUnreachable)
	}
	var last time.Time
	for _, l := range c.Logs {
		if l.LastAt.After(last) {
			last = l.LastAt
		}
	}
	if !last.After(t.Time) {
		until := "nothing after the copy is archived"
		if !last.IsZero() {
			until = "the last archived transaction is of " + last.Format(time.RFC3339Nano)
		}
		return fmt.Errorf("%s, so what was committed until %s may be missing; %q restores all there is: %w", until, t, Latest, ErrUnreachable)
	}
	return nil
}

// Plan works out how to get to a target from a server that has executed copied. open reads a log; it is asked for where the
// entries do not tell, for a target of time.
func Plan(m Manifest, copied mysql.GTIDSet, logs []Log, t Target, open func(Log) (io.ReadCloser, error)) (Recovery, error) {
	if t.CopyOnly() {
		return Recovery{Least: copied, Most: copied}, nil
	}
	c, err := ChainFrom(m.Origin, copied, logs)
	if err != nil {
		return Recovery{}, err
	}
	switch {
	case !t.Time.IsZero():
		if err := c.reachesTime(m, t); err != nil {
			return Recovery{}, err
		}
		return c.untilTime(copied, t.Time, open)
	case !t.GTIDs.Empty():
		if err := c.reaches(copied, t); err != nil {
			return Recovery{}, err
		}
		return c.untilGTIDs(copied, t.GTIDs), nil
	}
	return Recovery{Logs: c.Logs, Until: c.Covered.Subtract(copied), Least: c.Covered, Most: c.Covered}, nil
}

func (c Chain) untilGTIDs(copied, target mysql.GTIDSet) Recovery {
	r := Recovery{Until: target.Subtract(copied), Least: copied.Union(target), Most: copied}
	for i, l := range c.Logs {
		if r.Most.Contains(target) {
			break
		}
		r.Logs = append(r.Logs, l)
		r.Most = c.after(i)
	}
	return r
}

// after is what a server has after the log at i.
func (c Chain) after(i int) mysql.GTIDSet {
	if i+1 < len(c.befores) {
		return c.befores[i+1]
	}
	return c.Covered
}

// untilTime looks for the first transaction that is too late and not executed yet.
func (c Chain) untilTime(copied mysql.GTIDSet, until time.Time, open func(Log) (io.ReadCloser, error)) (Recovery, error) {
	var r Recovery
	for i, l := range c.Logs {
		r.Logs = append(r.Logs, l)
		if !l.LastAt.After(until) {
			continue
		}
		late, before, err := firstAfter(l, c.befores[i], until, open)
		if err != nil {
			return Recovery{}, err
		}
		if late.Empty() {
			continue
		}
		r.Until, r.Before, r.Least = late, true, c.befores[i].Union(before)
		r.Most = r.Least
		if copied.Contains(r.Least) { // the first transaction after the copy is too late already
			r.Logs = nil
		}
		return r, nil
	}
	return Recovery{}, fmt.Errorf("no transaction after %s is archived: %w", until, ErrUnreachable)
}

// firstAfter finds the first transaction of a log that was committed after a time and is not in executed, and what the log
// has before it.
func firstAfter(l Log, executed mysql.GTIDSet, until time.Time, open func(Log) (io.ReadCloser, error)) (late, before mysql.GTIDSet, err error) {
	r, err := open(l)
	if err != nil {
		return late, before, err
	}
	defer r.Close()
	contents, err := Scan(r, func(t Transaction) error {
		if !t.At.After(until) {
			return nil
		}
		one, err := mysql.ParseGTIDSet(t.GTID())
		if err != nil || executed.Contains(one) {
			return err
		}
		late = one
		return errStop
	})
	if err != nil && !errors.Is(err, errStop) {
		return late, before, fmt.Errorf("archived log %s: %w", l.Name, err)
	}
	if late.Empty() {
		return late, before, nil
	}
	return late, contents.GTIDs, nil
}

// Reach is what can be restored from a backup at the most: the transactions, and when the last of them was committed, zero
// when nothing after the copy is archived.
func Reach(m Manifest, logs []Log) (mysql.GTIDSet, time.Time, error) {
	c, err := m.chain(logs)
	if err != nil {
		return mysql.GTIDSet{}, time.Time{}, err
	}
	var last time.Time
	for _, l := range c.Logs {
		if l.LastAt.After(last) {
			last = l.LastAt
		}
	}
	return c.Covered, last, nil
}
