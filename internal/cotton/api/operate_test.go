package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// withCluster is an API with cluster c0 of three.
func withCluster(t *testing.T, change ...func(*api.Config)) *bench {
	t.Helper()
	b := serve(t, change...)
	if _, err := b.fake.Create(t.Context(), cotton.Spec{Name: "c0", User: "app", Nodes: 3, Policy: cotton.PolicyLossless,
		Size: cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 1024}}); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOperations(t *testing.T) {
	for _, tc := range []struct {
		path, body string
		status     int
		want       string // what the framework was asked, or the code and a part of the message
	}{
		{"/clusters/c0/switchover", "", 202, "switchover c0 {To:0 Why: DryRun:false MaxLag:0s Within:0s}"},
		{"/clusters/c0/switchover", `{"to":2,"max_lag_seconds":5,"within_seconds":20,"why":"w"}`, 202, "switchover c0 {To:2 Why:w DryRun:false MaxLag:5s Within:20s}"},
		{"/clusters/c0/switchover", `{"to":2,"dry_run":true}`, 200, "switchover c0 {To:2 Why: DryRun:true MaxLag:0s Within:0s}"},
		{"/clusters/c0/switchover", `{"to":1}`, 409, "refused switchover of cluster c0 is refused: c0-1 is the primary already"},
		{"/clusters/c0/switchover", `{"within_seconds":-1}`, 400, "invalid -1: want 0 to 86400"},
		{"/clusters/c9/switchover", ``, 404, "not_found Cluster 'c9' not found"},
		{"/clusters/c0/replace", `{"member":2,"in_place":true,"discard":true,"why":"w"}`, 202, "replace c0 dry=false 2 0 true true map[] [] <nil> w"},
		{"/clusters/c0/replace", `{}`, 400, "invalid is needed"},
		{"/clusters/c0/replace", `{"member":"2"}`, 400, "invalid a string is not expected here"},
		{"/clusters/c0/replace", `{"number":2}`, 400, "invalid unknown field"},
		{"/clusters/c0/scale", `{"nodes":5,"policy":"lossless","dry_run":true}`, 200, "scale c0 dry=true 0 5 lossless false false map[] [] <nil>"},
		{"/clusters/c0/restart", `{"member":3}`, 202, "restart c0 dry=false 3 0 false false map[] [] <nil>"},
		{"/clusters/c0/restart", "", 202, "restart c0 dry=false 0 0 false false map[] [] <nil>"},
		{"/clusters/c0/configure", `{"set":{"max_connections":"9"},"unset":["a"]}`, 202, "configure c0 dry=false 0 0 false false map[max_connections:9] [a] <nil>"},
		{"/clusters/c0/configure", `{}`, 400, "invalid nothing is to be set"},
		{"/clusters/c0/configure", `{"set":{"a\nb":"9"}}`, 400, "invalid"},
		{"/clusters/c0/configure", `{"set":{"a":"9"},"unset":["a"]}`, 400, `invalid "a" is to be set, too`},
		{"/clusters/c0/upgrade", `{"package":"mysql-8.4"}`, 202, "upgrade c0 dry=false 0 0 false false map[] [] https://repo.internal/mysql-8.4.tar.gz 8.4"},
		{"/clusters/c0/upgrade", `{"package":"https://evil"}`, 400, "invalid Unknown package"},
		{"/clusters/c0/cancel", ``, 409, "refused cancel of cluster c0 is refused: nothing is under way"},
		{"/clusters/c0/restart", `{"why":"a\u0000b"}`, 400, "invalid the text is too long or has control characters"},
		{"/clusters/c9/restart", ``, 404, "not_found"},
		{"/agents/agent1/drain", `{"why":"disk"}`, 202, "drain agent1 {Undo:false Why:disk DryRun:false}"},
		{"/agents/agent1/drain", `{"undo":true}`, 202, "drain agent1 {Undo:true Why: DryRun:false}"},
		{"/agents/agent7/drain", ``, 400, "invalid agent: is the hostname of no agent"},
	} {
		t.Run(tc.path+" "+tc.body, func(t *testing.T) {
			b := withCluster(t)
			a := b.send(t, "POST", tc.path, tc.body, asJSON)
			if a.status != tc.status {
				t.Fatalf("%d %s, want %d", a.status, a.body, tc.status)
			}
			got := strings.Join(b.fake.requests, "\n")
			if tc.status >= 400 {
				if got != "" {
					t.Errorf("a refused request reached the framework: %s", got)
				}
				f := a.failureOf(t)
				got = f.Code + " " + f.Message
			}
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestOperationShown(t *testing.T) {
	b := withCluster(t)
	planned := into[v1.Planned](t, b.send(t, "POST", "/clusters/c0/replace", `{"member":2,"why":"a test"}`, asJSON))
	if planned.ID != 7 || planned.What != "replace c0-2" || len(planned.Steps) != 1 || planned.DryRun {
		t.Errorf("%+v", planned)
	}
	c := into[v1.Cluster](t, b.send(t, "GET", "/clusters/c0", ""))
	if op := c.Operation; op == nil || op.Waits != "patience" || op.What != "replace c0-2" || op.Why != "a test" {
		t.Errorf("%+v", op)
	}
	if f := b.send(t, "POST", "/clusters/c0/scale", `{"nodes":5}`, asJSON); f.status != 409 || f.failureOf(t).Code != v1.CodeRefused {
		t.Errorf("%d %s", f.status, f.body)
	}
	if a := b.send(t, "POST", "/clusters/c0/cancel", "", asJSON); a.status != 202 {
		t.Errorf("%d %s", a.status, a.body)
	}
	v := b.fake.clusters["c0"]
	began := time.Unix(1e9, 0).UTC()
	v.Record.History = []cotton.Change{{Kind: cotton.Failover, Step: cotton.StepPromote, From: 1, To: 2, Began: began, Ended: began.Add(1300 * time.Millisecond),
		Log: []cotton.Step{{At: began, Step: "freeze", Note: "dead"}, {At: began.Add(time.Second), Step: "promote"}}}}
	b.fake.clusters["c0"] = v
	h := into[v1.History](t, b.send(t, "GET", "/clusters/c0/history", ""))
	if len(h.Operations) != 1 || h.Operations[0].Result != "canceled" || h.Operations[0].Waits != "" || h.Operation != nil {
		t.Errorf("%+v", h)
	}
	if c := h.Changes; len(c) != 1 || c[0].From != "c0-1" || c[0].To != "c0-2" || c[0].Log[0].TookMS != 1000 || c[0].Log[1].AfterMS != 1000 || c[0].Log[1].TookMS != 300 {
		t.Errorf("%+v", c)
	}
	if a := b.send(t, "GET", "/clusters/c9/history", ""); a.status != 404 {
		t.Errorf("%d", a.status)
	}
	b.send(t, "POST", "/agents/agent1/drain", "", asJSON)
	agents := into[v1.Agents](t, b.send(t, "GET", "/agents", ""))
	if len(agents.Draining) != 1 || agents.Draining[0].Left[0].Instance != "c0-1" || len(agents.LeftBehind) != 1 || agents.LeftBehind[0].Agent != "agent9" {
		t.Errorf("%+v", agents)
	}
	if w := agents.Withheld; len(w) != 1 || w[0].Hostname != "agent9" || w[0].State != "drained" ||
		w[0].Text != "agent agent9 is drained at Mesos (DRAIN_AGENT): it is not offered before REACTIVATE_AGENT" {
		t.Errorf("%+v", w)
	}
}

// TestOperationsNeedWrite: what changes a cluster needs a token that may write, what shows it one that may read.
func TestOperationsNeedWrite(t *testing.T) {
	path, tokens := tokensFile(t)
	loaded, err := api.LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	b := withCluster(t, func(c *api.Config) { c.Tokens = loaded })
	bearer := func(role api.Role) string { return "Authorization: Bearer " + tokens[role] }
	for _, path := range []string{
		"/clusters/c0/switchover", "/clusters/c0/replace", "/clusters/c0/scale", "/clusters/c0/restart", "/clusters/c0/configure", "/clusters/c0/upgrade",
		"/clusters/c0/cancel", "/agents/agent1/drain",
	} {
		if a := b.send(t, "POST", path, "", asJSON, bearer(api.RoleRead)); a.status != 403 {
			t.Errorf("%s: %d", path, a.status)
		}
		if a := b.send(t, "GET", path, "", bearer(api.RoleWrite)); a.status != 405 {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
	for _, path := range []string{"/clusters/c0/history", "/agents"} {
		if a := b.send(t, "GET", path, "", bearer(api.RoleRead)); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
		if a := b.send(t, "GET", path, ""); a.status != 401 {
			t.Errorf("%s without a token: %d", path, a.status)
		}
	}
	if len(b.fake.requests) != 0 {
		t.Errorf("the framework was asked: %v", b.fake.requests)
	}
}

func TestForcedDelete(t *testing.T) {
	for _, tc := range []struct {
		body, kind string
		status     int
		want       string
	}{
		{"password=secret&force=true", asForm, 200, "force c0"},
		{`{"password":"secret","force":true}`, asJSON, 200, "force c0"},
		{"password=secret", asForm, 200, ""},
		{"password=secret&force=false", asForm, 200, ""},
		{"password=secret&force=yes", asForm, 400, ""},
		{"password=wrong&force=true", asForm, 403, ""},
	} {
		b := serve(t)
		if a := b.send(t, "POST", "/clusters/c0", "cluster_user=app&cluster_password=secret", asForm); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		a := b.send(t, "DELETE", "/clusters/c0", tc.body, tc.kind)
		if got := strings.Join(b.fake.requests, ""); a.status != tc.status || got != tc.want {
			t.Errorf("%s: %d %s, asked %q", tc.body, a.status, a.body, got)
		}
	}
}
