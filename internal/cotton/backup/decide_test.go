package backup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// world is a running cluster of three with a policy, whose primary is member 1, and a backup of an hour ago.
func world(edit func(*State)) State {
	s := State{
		Record: cotton.Record{
			Spec:  cotton.Spec{Name: "c0", Nodes: 3, CreatedAt: noon.Add(-48 * time.Hour), Backup: &cotton.BackupPolicy{Every: 24 * time.Hour, Keep: 2, BinlogInterval: 5 * time.Minute}},
			State: cotton.StateRunning, Primary: 1, Founded: true, Epoch: 3,
		},
		Facts: map[int]cotton.BackupFacts{}, Since: noon.Add(-time.Hour), Now: noon, ArchiveOrdered: noon.Add(-time.Minute),
	}
	for id := 1; id <= 3; id++ {
		s.Record.Members = append(s.Record.Members, cotton.Member{ID: id, Phase: cotton.PhaseRunning, TaskID: fmt.Sprint("t", id)})
		seen := cotton.Seen{Member: id, TaskLives: true, Answered: true, Server: mysql.Server{UUID: ua, GTIDExecuted: short("a:1-50"), SuperReadOnly: id != 1, ReadOnly: id != 1}}
		if id != 1 {
			zero := int64(0)
			seen.Replica = &mysql.ReplicaStatus{IORunning: "Yes", SQLRunning: "Yes", SecondsBehind: &zero}
		}
		s.Seen = append(s.Seen, seen)
	}
	s.Facts[2] = cotton.BackupFacts{ArchivedAt: noon.Add(-time.Minute)}
	s.Archiver = 2
	s.Listing.Backups = []Manifest{copyOf(s, noon.Add(-time.Hour), "a:1-40")}
	s.Listing.Logs = []Log{ours(s, archived("l1", "a:1-30", "a:31-45", 0, 1))}
	if edit != nil {
		edit(&s)
	}
	return s
}

func copyOf(s State, at time.Time, gtids string) Manifest {
	return Manifest{Format: Format, ID: NewID("c0", at), Cluster: "c0", Origin: s.Record.Origin(), OrderedAt: at, CopiedAt: at, GTIDsFrom: short(gtids), GTIDsTo: short(gtids), Version: "9.7.4"}
}

func ours(s State, l Log) Log {
	l.Origin = s.Record.Origin()
	return l
}

func TestDecide(t *testing.T) {
	old := func(s *State) { s.Listing.Backups = []Manifest{copyOf(*s, noon.Add(-25*time.Hour), "a:1-40")} }
	for _, c := range []struct {
		what     string
		edit     func(*State)
		copy     int // member
		archive  int
		remove   string
		problems string // parts, separated by |
	}{
		{what: "all is well, and nothing is due"},
		{what: "no policy: nothing by itself", edit: func(s *State) { s.Record.Spec.Backup, s.Listing = nil, Listing{} }},
		{what: "no policy: on request", edit: func(s *State) {
			s.Record.Spec.Backup, s.Listing, s.Record.BackupAskedAt = nil, Listing{}, noon.Add(-time.Minute)
		}, copy: 2},
		{what: "a request that was met", edit: func(s *State) { s.Record.BackupAskedAt = noon.Add(-2 * time.Hour) }},
		{what: "there is none yet", edit: func(s *State) { s.Listing = Listing{} }, copy: 2},
		{what: "those of an earlier cluster of the name are none", edit: func(s *State) { s.Listing.Backups[0].Origin = "before" }, copy: 2},
		{what: "old enough", edit: old, copy: 2},
		{what: "so old that people should know", edit: func(s *State) { s.Listing.Backups = []Manifest{copyOf(*s, noon.Add(-50*time.Hour), "a:1-40")} }, copy: 2, problems: "older than twice"},
		{what: "one is under way", edit: func(s *State) { old(s); s.Facts[3] = cotton.BackupFacts{ID: "x", Copying: true} }},
		{what: "it was just ordered", edit: func(s *State) { old(s); s.Ordered = Ordered{"x", 2, noon.Add(-time.Second)} }},
		{what: "ordered, and never heard of", edit: func(s *State) { old(s); s.Ordered = Ordered{"x", 2, noon.Add(-time.Minute)} }, copy: 2},
		{what: "this scheduler has just begun", edit: func(s *State) { old(s); s.Since = noon.Add(-time.Second) }},
		{what: "it has just begun, and somebody may be at it", edit: func(s *State) {
			old(s)
			s.Since, s.Listing.Unfinished = noon.Add(-time.Minute), []string{NewID("c0", noon.Add(-time.Hour))}
		}},
		{what: "it has just begun: what may be in work for long is not removed", edit: func(s *State) {
			s.Since, s.Listing.Unfinished = noon.Add(-time.Minute), []string{NewID("c0", noon.Add(-3*time.Hour))}
		}},
		{what: "it failed a moment ago", edit: func(s *State) {
			old(s)
			s.Failures, s.FailedMember, s.FailedAt = 1, 2, noon.Add(-time.Second)
			s.Facts[2] = cotton.BackupFacts{Failed: "disk full"}
		}, problems: "by c0-2 failed, 1 in a row|disk full"},
		{what: "it failed, now by another", edit: func(s *State) { old(s); s.Failures, s.FailedMember, s.FailedAt = 1, 2, noon.Add(-time.Minute) }, copy: 3, problems: "failed"},
		{what: "the replicas are gone: the primary", edit: func(s *State) { old(s); s.Seen[1].Err, s.Seen[2].Busy = errors.New("silent"), "clone" }, copy: 1},
		{what: "a replica far behind is worse than the primary", edit: func(s *State) {
			old(s)
			far := int64(3600)
			s.Seen[1].Replica, s.Seen[2].Replica = &mysql.ReplicaStatus{IORunning: "Yes", SQLRunning: "Yes", SecondsBehind: &far}, nil
		}, copy: 1},
		{what: "one with a history of its own is not copied", edit: func(s *State) { old(s); s.Seen[1].Server.GTIDExecuted = short("a:1-50,b:1") }, copy: 3},
		{what: "nobody can", edit: func(s *State) {
			old(s)
			for i := range s.Seen {
				s.Seen[i].Err = errors.New("silent")
			}
		}, problems: "no member can be copied now"},
		{what: "being deleted", edit: func(s *State) { old(s); s.Record.State = cotton.StateDeleting }},
		{what: "the primary is being changed", edit: func(s *State) { old(s); s.Record.Change = &cotton.Change{} }},

		{what: "logs are due", edit: func(s *State) { s.ArchiveOrdered = noon.Add(-6 * time.Minute) }, archive: 2},
		{what: "the same member goes on", edit: func(s *State) { s.ArchiveOrdered, s.Archiver = noon.Add(-6*time.Minute), 3 }, archive: 3},
		{what: "it is gone: another goes on", edit: func(s *State) { s.ArchiveOrdered, s.Seen[1].TaskLives = noon.Add(-6*time.Minute), false }, archive: 3},
		{what: "it failed: another goes on", edit: func(s *State) {
			s.ArchiveOrdered = noon.Add(-6 * time.Minute)
			s.Facts[2] = cotton.BackupFacts{ArchivedAt: noon.Add(-time.Minute), ArchiveFailed: "no room"}
		}, archive: 3, problems: "c0-2 could not archive|no room"},
		{what: "it has purged what is not archived: another goes on", edit: func(s *State) {
			s.ArchiveOrdered, s.Seen[1].Server.GTIDPurged = noon.Add(-6*time.Minute), short("a:1-47")
		}, archive: 3},
		{what: "all have: a gap, a new copy", edit: func(s *State) {
			s.ArchiveOrdered = noon.Add(-6 * time.Minute)
			for i := range s.Seen {
				s.Seen[i].Server.GTIDPurged = short("a:1-47")
			}
		}, copy: 2, problems: "purged binary logs after|a new copy is made"},
		{what: "all that answer have, and one does not answer: unknown", edit: func(s *State) {
			s.Seen[0].Server.GTIDPurged, s.Seen[1].Server.GTIDPurged, s.Seen[2].Err = short("a:1-47"), short("a:1-47"), errors.New("silent")
		}},
		{what: "a log is missing in the middle", edit: func(s *State) {
			s.Listing.Logs = append(s.Listing.Logs, ours(*s, archived("l3", "a:1-46", "a:47-48", 2, 3)))
		}, copy: 2, problems: "do not continue"},
		{what: "archived, and lost by the cluster since: no part of its history", edit: func(s *State) {
			s.Listing.Logs = append(s.Listing.Logs, ours(*s, archived("l3", "b:1", "b:2", 2, 3)))
		}},
		{what: "no log for long", edit: func(s *State) { s.Facts[2] = cotton.BackupFacts{ArchivedAt: noon.Add(-30 * time.Minute)} }, problems: "no binary log was archived for 30m0s"},

		{what: "more than are kept, and logs that none of them needs", edit: func(s *State) {
			s.Listing.Backups = []Manifest{copyOf(*s, noon.Add(-3*time.Hour), "a:1-20"), copyOf(*s, noon.Add(-2*time.Hour), "a:1-33"), copyOf(*s, noon.Add(-time.Hour), "a:1-40")}
			s.Listing.Logs = append(s.Listing.Logs, ours(*s, archived("l0", "a:1-10", "a:11-30", -1, 0)))
		}, remove: "c0-20260102T090000Z l0"},
		{what: "the last one stays, however few are kept", edit: func(s *State) { s.Record.Spec.Backup.Keep = 0 }},
		{what: "what somebody who died has left", edit: func(s *State) {
			s.Listing.Unfinished = []string{NewID("c0", noon.Add(-3*time.Hour)), NewID("c0", noon.Add(-time.Hour))}
		},
			remove: "c0-20260102T090000Z"},
		{what: "one that takes long is not that", edit: func(s *State) {
			s.Listing.Unfinished = []string{NewID("c0", noon.Add(-3*time.Hour))}
			s.Facts[2] = cotton.BackupFacts{ID: s.Listing.Unfinished[0], Copying: true, ArchivedAt: noon}
		}},
		{what: "damaged manifests are told", edit: func(s *State) { s.Listing.Damaged = []string{"x/manifest.json is torn"} }, problems: "is torn"},
	} {
		s := world(c.edit)
		d := Decide(s)
		if d.Copy.Member != c.copy || d.Archive != c.archive || strings.Join(slices.Concat(d.Remove, d.RemoveLogs), " ") != c.remove {
			t.Errorf("%s: copy %+v, archive %d, remove %v %v; want %d, %d, %q", c.what, d.Copy, d.Archive, d.Remove, d.RemoveLogs, c.copy, c.archive, c.remove)
		}
		if (d.Copy.Member == 1) != (d.Role == "primary") {
			t.Errorf("%s: role %q", c.what, d.Role)
		}
		text := strings.Join(d.Problems, "; ")
		for part := range strings.SplitSeq(c.problems, "|") {
			if !strings.Contains(text, part) || c.problems == "" && text != "" {
				t.Errorf("%s: problems %q, want %q", c.what, text, part)
			}
		}
	}
}
