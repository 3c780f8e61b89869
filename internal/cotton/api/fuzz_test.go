package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/backup/dir"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/cotton/store"
)

// real is the fake with what the real framework makes of odd requests: its backup store, its plans of operations.
type real struct {
	*fakeFramework
	backups backup.Store
	changed int
}

func (f *real) Backups(ctx context.Context, name string) ([]framework.Recoverable, []string, error) {
	l, err := f.backups.List(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if _, err := f.Cluster(ctx, name); err != nil && len(l.Backups) == 0 {
		return nil, nil, err
	}
	return nil, nil, nil
}

func (f *real) Create(ctx context.Context, spec cotton.Spec) (cotton.Record, error) {
	r, err := f.fakeFramework.Create(ctx, spec)
	if err != nil {
		return r, err
	}
	f.changed++
	data, err := store.EncodeCluster(r)
	if err != nil {
		return r, fmt.Errorf("what was accepted cannot be stored: %w", err)
	}
	if _, err := store.DecodeCluster(spec.Name, data); err != nil {
		return r, fmt.Errorf("what was accepted cannot be read: %w", err)
	}
	need := cotton.Want{Cluster: spec.Name, Member: 1, Size: spec.Size, Scalars: spec.Scalars, Constraints: spec.Constraints}
	if p := cotton.Place([]cotton.Offer{{AgentID: "a", Hostname: "a", Free: cotton.Amounts{}}}, []cotton.Want{need}, time.Now()); len(p.Assignments) > 0 {
		return r, fmt.Errorf("%+v is placed on an agent that has nothing", need)
	}
	for name, amount := range spec.Scalars {
		if !(amount >= 0.001 && amount <= 1<<50) {
			return r, fmt.Errorf("scalar %s=%g is not one that Mesos can count", name, amount)
		}
	}
	return r, nil
}

func (f *real) Switchover(ctx context.Context, name string, o framework.SwitchoverOptions) (cotton.Transition, error) {
	if o.MaxLag < 0 || o.Within < 0 || o.MaxLag > 1000*time.Hour || o.Within > 1000*time.Hour {
		return cotton.Transition{}, fmt.Errorf("a time that nobody asked for: %+v", o)
	}
	t, err := f.fakeFramework.Switchover(ctx, name, o)
	if err == nil && !o.DryRun {
		f.changed++
	}
	return t, err
}

func (f *real) Operate(ctx context.Context, name string, req cotton.Request, dryRun bool) (framework.Planned, error) {
	v, err := f.Cluster(ctx, name)
	if err != nil {
		return framework.Planned{}, err
	}
	for set := range req.Set {
		if strings.ContainsAny(set, "\n\x00 =") {
			return framework.Planned{}, fmt.Errorf("the setting %q reached the framework", set)
		}
	}
	p, t, err := cotton.PlanOperation(v.Record, nil, cotton.Room{Places: 1}, req, time.Now())
	if err != nil {
		return framework.Planned{}, err
	}
	if !dryRun {
		f.changed++
	}
	return framework.Planned{Cluster: name, Text: t.Note, Plan: p, Operation: t.Op}, nil
}

func (f *real) Delete(ctx context.Context, name string) error {
	f.changed++
	return f.fakeFramework.Delete(ctx, name)
}

func (f *real) ForceDelete(ctx context.Context, name string) error { return f.Delete(ctx, name) }

// FuzzRoutes: whatever is asked, no panic and no 5xx; a refusal is JSON that says what is wrong, and has changed nothing.
func FuzzRoutes(f *testing.F) {
	for _, method := range []string{"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "BREW"} {
		for _, path := range []string{"/clusters", "/clusters/c0", "/clusters/c9/why", "/clusters/c0/backups", "/agents", "/health", "/", "*",
			"/clusters/..%2f../backups", "/clusters/%00", "/clusters/%00/backups", "/clusters//c0", "/clusters/../clusters", "/clusters/%ff/endpoints",
			"/clusters/c0/history?x=1", "/haproxy.cfg", "/clusters/" + strings.Repeat("n", 300) + "/backups", "/clusters/c0%2fwhy"} {
			f.Add(method, path, "application/json", "")
		}
	}
	for path, bodies := range map[string][]string{
		"/clusters/c1": {`{"cluster_user":"app"}`, `{"cluster_user":"app","scalars":{"cpus":1e308}}`, `{"cluster_user":"app","scalars":{"ssd":1e-9}}`,
			`{"cluster_user":"app","size":{"cpus":1e308,"mem":"1gb","disk":"1gb"}}`, `{"cluster_user":"app","size":"1/1gb/7999999999gb"}`,
			`{"cluster_user":"a\u0000b\n"}`, `{"cluster_user":"app","nodes":1e3}`, `{"cluster_user":"app","backup":{"every":"1e9h","keep":-1}}`,
			`{"cluster_user":"app","backup":{"every":"24h","keep":99999999}}`, `[]`, `null`, `{"cluster_user":null}`, `{"cluster_user":"app"}{}`, "\xff",
			`{"cluster_user":"app","labels":{"a":"b"},"config":{"max_connections":"5"},"constraints":{"rack":"a|b"},"policy":"single","restore_to":"latest"}`},
		"/clusters/c0/switchover": {`{"to":2}`, `{"max_lag_seconds":9223372036854775807}`, `{"within_seconds":9223372037}`, `{"to":-1}`, `{"why":"\u2028"}`},
		"/clusters/c0/replace":    {`{"member":2}`, `{"member":-1}`, `{"member":99999999999999999999}`, `{"member":2,"discard":true,"in_place":true}`},
		"/clusters/c0/scale":      {`{"nodes":5}`, `{"nodes":-1}`, `{"nodes":9223372036854775807}`, `{"nodes":1,"policy":"x"}`},
		"/clusters/c0/restart":    {`{}`, `{"member":9}`, `{"member":-9}`},
		"/clusters/c0/configure":  {`{"set":{"max_connections":"9"}}`, `{"set":{"\n":"9"}}`, `{"unset":["\u0000"]}`},
		"/clusters/c0/upgrade":    {`{"package":"mysql-8.4"}`, `{"package":"\u0000"}`},
		"/clusters/c0/cancel":     {`{}`, ``},
		"/clusters/c0/failover":   {`{"accept_loss":true}`, `{"accept_loss":false}`},
		"/clusters/c0/backups":    {`{}`, ``},
		"/agents/agent1/drain":    {`{"undo":true}`, `{"why":"x"}`},
		"/agents/%00/drain":       {`{"undo":true}`, `{}`},
		"/agents/a%2fb/drain":     {`{"undo":true}`},
	} {
		for _, body := range bodies {
			f.Add("POST", path, "application/json", body)
		}
	}
	for _, form := range []string{"cluster_user=app&num_nodes=3", "cluster_user=%00", "num_nodes=99999999999999999999", "a=%zz", "cluster_user=a&cluster_user=b", "size=1e308/1/1"} {
		f.Add("POST", "/clusters/c1", "application/x-www-form-urlencoded", form)
	}
	f.Add("DELETE", "/clusters/c0", "application/x-www-form-urlencoded", "password=x&force=maybe")
	f.Add("DELETE", "/clusters/c0", "application/json", `{"password":"x","force":true}`)
	backups, err := dir.Open("dir:" + f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target, contentType, body string) {
		raw := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", method, target, contentType, len(body), body)
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			t.Skip() // net/http itself answers it
		}
		r.RemoteAddr = "127.0.0.1:1"
		fake := &real{fakeFramework: newFake(), backups: backups}
		if _, err := fake.fakeFramework.Create(t.Context(), cotton.Spec{Name: "c0", User: "app", Nodes: 3, Policy: cotton.PolicyLossless,
			Size: cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 1024}}); err != nil {
			t.Fatal(err)
		}
		log := &lockedBuffer{}
		w := httptest.NewRecorder()
		api.New(api.Config{
			Framework: fake, OpenWrites: true, DefaultSize: cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 2048},
			Sizes:      map[string]cotton.Size{"small": {CPUs: 0.5, MemMB: 512, DiskMB: 1024}},
			Packages:   map[string]string{"mysql-8.4": "https://repo.internal/mysql-8.4.tar.gz"},
			ClusterURL: func(name string) string { return "zk://127.0.0.1:2181/cotton/discover/" + name },
			Log:        slog.New(slog.NewTextHandler(log, nil)),
		}).ServeHTTP(w, r)
		answered(t, w.Result(), fake.changed, log.String())
	})
}

// answered checks what every answer must be.
func answered(t *testing.T, a *http.Response, changed int, log string) {
	t.Helper()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case a.StatusCode >= 500:
		t.Fatalf("%d %s\n%s", a.StatusCode, text, log)
	case a.StatusCode >= 300 && a.StatusCode < 400:
		t.Fatalf("%d to %s: the API redirects nobody", a.StatusCode, a.Header.Get("Location"))
	case !json.Valid(text):
		t.Fatalf("%d %q is not JSON", a.StatusCode, text)
	case a.StatusCode < 400:
		return
	case changed != 0:
		t.Fatalf("%d %s, and something was changed", a.StatusCode, text)
	}
	var f v1.Failure
	if err := json.Unmarshal(text, &f); err != nil || f.Error.Code == "" || f.Error.Message == "" {
		t.Fatalf("%d %q does not say what is wrong", a.StatusCode, text)
	}
	if len(text) > 8<<10 {
		t.Fatalf("an error of %d bytes", len(text))
	}
}

// FuzzSize: a size is refused, or is one that can be counted.
func FuzzSize(f *testing.F) {
	for _, text := range []string{"small", "1/512mb/2gb", `{"cpus":1,"mem":"1gb","disk":"1gb"}`, "NaN/1/1", "Inf/1gb/1gb", "1e308/1gb/1gb", "1/9223372036854775807/1gb",
		"1/8796093022207tb/1gb", "1/4000000tb/1gb", "1/1gb/4000000tb", "0x1p-3/1gb/1gb", `{"cpus":"-0","mem":1,"disk":1}`, "1/+1gb/1gb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := v1.ParseSize(text)
		if err != nil || s.Name != "" {
			return
		}
		if !(s.CPUs > 0) || math.IsInf(s.CPUs, 0) || s.MemMB <= 0 || s.DiskMB <= 0 {
			t.Fatalf("%q is %+v", text, s)
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back v1.Size
		if err := json.Unmarshal(again, &back); err != nil || back != s {
			t.Fatalf("%q is %+v, written as %s, read as %+v: %v", text, s, again, back, err)
		}
		err = cotton.Spec{Name: "c", User: "u", Nodes: 1, Size: cotton.Size{CPUs: s.CPUs, MemMB: s.MemMB, DiskMB: s.DiskMB}}.Validate()
		var invalid *cotton.InvalidError
		if err == nil && (s.CPUs > 1<<20 || s.MemMB > 1<<30 || s.DiskMB > 1<<40) || err != nil && !errors.As(err, &invalid) {
			t.Fatalf("%+v: %v", s, err)
		}
	})
}
