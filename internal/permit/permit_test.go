package permit

import (
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

func TestJudge(t *testing.T) {
	begun := Begun{Host: "h1", Port: 3306, Group: "udb", Table: "t", Blob: "b1"}
	run := func(host, group string, minute int) aoscdb.RunningAlter {
		at := time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)
		return aoscdb.RunningAlter{Host: host, Port: 3306, Group: group, Table: "t", Datacenter: "dc", OSCStatus: aoscdb.RunRunning, StartedAt: &at}
	}
	for _, c := range []struct {
		name   string
		change func(*Begun, *aoscdb.Permission)
		want   Answer
		says   string
	}{
		{"nothing changed", func(*Begun, *aoscdb.Permission) {}, GoOn, ""},
		{"revoked", func(_ *Begun, p *aoscdb.Permission) { p.Allowed = nil }, Stop, "revoked"},
		{"no current alter", func(_ *Begun, p *aoscdb.Permission) { p.Alter = nil }, Stop, "current_alters"},
		{"no tier", func(_ *Begun, p *aoscdb.Permission) { delete(p.Tiers, "udb") }, Stop, "tiers"},
		{"HOLD by hand", func(_ *Begun, p *aoscdb.Permission) { p.Alter.Status = aoscdb.AlterHold }, Stop, "HOLD by operator"},
		{"HOLD by the brain", func(_ *Begun, p *aoscdb.Permission) {
			p.Alter.Status, p.Alter.HoldBy, p.Alter.Reason = aoscdb.AlterHold, aoscdb.HoldBrain, "does not parse"
		}, Stop, "does not parse"},
		{"HOLD by a worker elsewhere: what runs may go on", func(_ *Begun, p *aoscdb.Permission) {
			p.Alter.Status, p.Alter.HoldBy = aoscdb.AlterHold, aoscdb.HoldWorker
		}, GoOn, ""},
		{"aosc pause", func(_ *Begun, p *aoscdb.Permission) {
			p.Alter.Status, p.Alter.HoldBy, p.Alter.HoldHow = aoscdb.AlterHold, aoscdb.HoldOperator, aoscdb.HoldPause
		}, Pause, "HOLD by operator"},
		{"a pause that the brain has made its own HOLD", func(_ *Begun, p *aoscdb.Permission) {
			p.Alter.Status, p.Alter.HoldBy, p.Alter.HoldHow = aoscdb.AlterHold, aoscdb.HoldBrain, aoscdb.HoldPause
		}, Stop, "HOLD by brain"},
		{"another commit", func(_ *Begun, p *aoscdb.Permission) { p.Alter.DesiredHash = "b2" }, Stop, "superseded"},
		{"allow_unsafe taken back", func(b *Begun, _ *aoscdb.Permission) { b.AllowUnsafe = true }, Stop, "allow_unsafe"},
		{"allow_unsafe still there", func(b *Begun, p *aoscdb.Permission) { b.AllowUnsafe, p.Allowed.AllowUnsafe = true, true }, GoOn, ""},
		{"custom, not listed", func(_ *Begun, p *aoscdb.Permission) {
			p.Allowed.ServerList = aoscdb.ServersCustom
			p.Custom = []aoscdb.CustomServer{{Host: "h1", Port: 3307}}
		}, Stop, "custom_servers"},
		{"custom, listed", func(_ *Begun, p *aoscdb.Permission) {
			p.Allowed.ServerList = aoscdb.ServersCustom
			p.Custom = []aoscdb.CustomServer{{Host: "h1", Port: 3306}}
		}, GoOn, ""},
		{"not enabled", func(_ *Begun, p *aoscdb.Permission) { p.Tiers["udb"] = aoscdb.Tier{Group: "udb", MaxRunning: 1} }, Pause, "not enabled"},
		{"revoked and not enabled", func(_ *Begun, p *aoscdb.Permission) { p.Allowed = nil; p.Tiers["udb"] = aoscdb.Tier{} }, Stop, "revoked"},
		{"max_running 0", tier(func(t *aoscdb.Tier) { t.MaxRunning = 0 }), Pause, "max_running of tier udb is 0"},
		{"lowered, another was begun before", func(_ *Begun, p *aoscdb.Permission) { p.Running = append(p.Running, run("h2", "udb", 1)) }, Pause, "max_running"},
		{"lowered, this was begun before", func(_ *Begun, p *aoscdb.Permission) { p.Running = append(p.Running, run("h2", "udb", 9)) }, GoOn, ""},
		{"another tier's does not count", func(_ *Begun, p *aoscdb.Permission) { p.Running = append(p.Running, run("h2", "other", 1)) }, GoOn, ""},
		{"per host, of all tiers", func(_ *Begun, p *aoscdb.Permission) {
			r := run("h1", "other", 1)
			r.Port = 3307
			p.Running = append(p.Running, r)
		}, Pause, "max_running_per_host on h1 is 1"},
		{"per datacenter", func(b *Begun, p *aoscdb.Permission) {
			p.Running = append(p.Running, run("h2", "udb", 1))
			tier(func(t *aoscdb.Tier) { t.MaxRunning, t.MaxRunningPerDatacenter = 9, 1 })(b, p)
		}, Pause, "max_running_per_datacenter"},
		{"READY takes no place from what runs", func(_ *Begun, p *aoscdb.Permission) {
			r := run("h2", "udb", 1)
			r.OSCStatus = aoscdb.RunReady
			p.Running = append(p.Running, r)
		}, GoOn, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := begun
			p := aoscdb.Permission{
				Allowed: &aoscdb.AllowedAlter{ServerList: aoscdb.ServersDefault},
				Alter:   &aoscdb.CurrentAlter{Status: aoscdb.AlterIPR, DesiredHash: "b1"},
				Tiers:   map[string]aoscdb.Tier{"udb": aoscdb.NewTier("udb"), "other": aoscdb.NewTier("other")},
				Running: []aoscdb.RunningAlter{run("h1", "udb", 5)},
			}
			c.change(&b, &p)
			if got := Judge(b, p); got.Answer != c.want || !strings.Contains(got.Reason, c.says) || (got.Reason == "") != (c.want == GoOn) {
				t.Errorf("%+v, want %s with %q", got, c.want, c.says)
			}
		})
	}
}

func tier(change func(*aoscdb.Tier)) func(*Begun, *aoscdb.Permission) {
	return func(_ *Begun, p *aoscdb.Permission) {
		t := p.Tiers["udb"]
		change(&t)
		p.Tiers["udb"] = t
	}
}
