package cotton

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// TestDecideSeed: the first primary of a restored cluster is the member that has the backup's data, and nobody else: an
// empty cluster that looks restored is never made.
func TestDecideSeed(t *testing.T) {
	empty := func(member int) Seen {
		return Seen{Member: member, TaskLives: true, Answered: true, Server: mysql.Server{ReadOnly: true, SuperReadOnly: true}}
	}
	restored := empty(1)
	restored.Server.GTIDExecuted = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1-9"
	silent := restored
	silent.Err = errors.New("silent")
	following := restored
	following.Replica = &mysql.ReplicaStatus{}
	for _, c := range []struct {
		what   string
		seen   []Seen
		choose bool
		says   string
	}{
		{"restored", []Seen{restored, empty(2)}, true, ""},
		{"not up yet", []Seen{empty(2)}, false, "is not restored into r0-1; ibdata1 is damaged"},
		{"silent", []Seen{silent, empty(2)}, false, "is not restored"},
		{"empty", []Seen{empty(1), empty(2)}, false, "is not as a new member should be"},
		{"follows somebody", []Seen{following, empty(2)}, false, "is not as a new member should be"},
	} {
		r := Record{Spec: Spec{Name: "r0", Nodes: 2, Policy: PolicyAvailable, BackupID: "c0-20260102T030405Z"}, State: StateCreating,
			Members: []Member{{ID: 1, Phase: PhaseRunning, Failure: "ibdata1 is damaged"}, {ID: 2, Phase: PhaseRunning}}}
		d := Decide(r, c.seen, Limits{})
		chosen := len(d.Actions) == 1 && d.Actions[0].Kind == ActChoose && d.Actions[0].Member == 1
		if chosen != c.choose || !chosen && len(d.Actions) != 0 || !strings.Contains(strings.Join(d.Problems, "; "), c.says) {
			t.Errorf("%s: %+v, %v", c.what, d.Actions, d.Problems)
		}
	}
}

func TestBackupPolicy(t *testing.T) {
	for field, p := range map[string]*BackupPolicy{
		"":                       {Every: time.Hour, Keep: 1, BinlogInterval: time.Minute},
		"backup.every":           {Every: time.Second, Keep: 1, BinlogInterval: time.Second},
		"backup.keep":            {Every: time.Hour, BinlogInterval: time.Minute},
		"backup.binlog_interval": {Every: time.Hour, Keep: 1, BinlogInterval: 2 * time.Hour},
	} {
		s := Spec{Name: "c0", User: "a", Nodes: 1, Size: Size{CPUs: 1, MemMB: 512, DiskMB: 1024}, Backup: p}
		err := s.Validate()
		var wrong *InvalidError
		if errors.As(err, &wrong); (err == nil) != (field == "") || wrong != nil && wrong.Field != field {
			t.Errorf("%+v: %v, want it to be of %q", p, err, field)
		}
	}
	if err := (Spec{Name: "c0", User: "a", Nodes: 1, Size: Size{CPUs: 1, MemMB: 512, DiskMB: 1024}, RestoreTo: "latest"}).Validate(); err == nil {
		t.Error("a moment without a backup")
	}
}
