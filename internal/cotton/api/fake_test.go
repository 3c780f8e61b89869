package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/framework"
)

// fakeFramework keeps clusters in memory and places them at once, on agents of its own. It refuses what the real one
// refuses.
type fakeFramework struct {
	mu       sync.Mutex
	clusters map[string]framework.View
	health   framework.Health
	broken   error  // what every call fails with
	known    string // the one backup that there is, of cluster c0
	asked    int    // backups that were asked for
	requests []string
	draining []framework.Draining
}

func newFake() *fakeFramework {
	return &fakeFramework{clusters: map[string]framework.View{}, health: framework.Health{Ready: true, Leading: true, Connected: true, FrameworkID: "f-1"}}
}

func (f *fakeFramework) Create(_ context.Context, spec cotton.Spec) (cotton.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return cotton.Record{}, f.broken
	}
	if err := spec.Validate(); err != nil {
		return cotton.Record{}, err
	}
	if _, ok := f.clusters[spec.Name]; ok {
		return cotton.Record{}, framework.ErrExists
	}
	if spec.BackupID != "" && spec.BackupID != f.known {
		return cotton.Record{}, &cotton.InvalidError{Field: "backup_id", Problem: fmt.Sprintf("Unknown backup %q: %v", spec.BackupID, framework.ErrNoBackups)}
	}
	v := framework.View{Record: cotton.Record{Spec: spec, State: cotton.StateRunning, Primary: 1, Epoch: 1}, Promise: "as asked"}
	for id := 1; id <= spec.Nodes; id++ {
		m := cotton.Member{ID: id, Phase: cotton.PhaseRunning, Hostname: "agent1", Host: "127.0.0.1", Rack: "a", Port: 31000 + id, TaskState: "TASK_RUNNING"}
		e := discovery.Endpoint{ID: id, Host: m.Host, Port: m.Port}
		role := "replica"
		if id == 1 {
			role, v.Endpoints.Primary = "primary", &e
		} else {
			v.Endpoints.Replicas = append(v.Endpoints.Replicas, e)
		}
		v.Record.Members = append(v.Record.Members, m)
		v.Instances = append(v.Instances, framework.Instance{Member: m, Name: v.Record.MemberName(id), Role: role, Writable: id == 1})
	}
	f.clusters[spec.Name] = v
	return v.Record, nil
}

func (f *fakeFramework) Delete(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.clusters[name]; !ok {
		return framework.ErrUnknown
	}
	delete(f.clusters, name)
	return f.broken
}

func (f *fakeFramework) Clusters(context.Context) ([]framework.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var views []framework.View
	for _, v := range f.clusters {
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b framework.View) int { return strings.Compare(a.Record.Spec.Name, b.Record.Spec.Name) })
	return views, f.broken
}

func (f *fakeFramework) Cluster(_ context.Context, name string) (framework.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.clusters[name]
	if !ok {
		return v, framework.ErrUnknown
	}
	return v, nil
}

func (f *fakeFramework) Why(_ context.Context, name string) (framework.Wait, error) {
	if _, err := f.Cluster(context.Background(), name); err != nil {
		return framework.Wait{}, err
	}
	return framework.Wait{Cluster: name, Members: []int{2}, OffersSeen: 7, Refusals: []cotton.Refusal{
		{Cluster: name, Member: 2, AgentID: "S1", Hostname: "agent1", Reason: "mem 100 MB of 512"}}}, nil
}

func (f *fakeFramework) Endpoints(_ context.Context, name string) (framework.Endpoints, error) {
	v, err := f.Cluster(context.Background(), name)
	return v.Endpoints, err
}

func (f *fakeFramework) Backup(_ context.Context, name string) (time.Time, error) {
	if _, err := f.Cluster(context.Background(), name); err != nil {
		return time.Time{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == "" {
		return time.Time{}, framework.ErrNoBackups
	}
	f.asked++
	return backupAt, nil
}

// backupAt is when the one backup was ordered.
var backupAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (f *fakeFramework) Backups(_ context.Context, name string) ([]framework.Recoverable, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.known == "":
		return nil, nil, framework.ErrNoBackups
	case name != "c0":
		return nil, nil, framework.ErrUnknown
	}
	m := backup.Manifest{ID: f.known, Cluster: "c0", OrderedAt: backupAt, CopiedAt: backupAt.Add(time.Second), Member: 2, Role: "replica", Size: 5 << 20, Version: "9.7.4",
		GTIDsFrom: "from", GTIDsTo: "to"}
	return []framework.Recoverable{{Manifest: m, ToGTIDs: "far", ToTime: backupAt.Add(time.Hour)}}, []string{"something is torn"}, nil
}

func (f *fakeFramework) Switchover(_ context.Context, name string, o framework.SwitchoverOptions) (cotton.Transition, error) {
	if _, err := f.Cluster(context.Background(), name); err != nil {
		return cotton.Transition{}, err
	}
	if o.To == 1 {
		return cotton.Transition{}, &cotton.RefusedError{Operation: "switchover", Cluster: name, Why: name + "-1 is the primary already"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, fmt.Sprintf("switchover %s %+v", name, o))
	return cotton.Transition{Kind: cotton.BeginSwitchover, To: max(o.To, 2)}, nil
}

func (f *fakeFramework) Failover(_ context.Context, name, why string, dryRun bool) (string, error) {
	if _, err := f.Cluster(context.Background(), name); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, fmt.Sprintf("failover %s %q %v", name, why, dryRun))
	return "writes that only " + name + "-1 has are lost", nil
}

func (f *fakeFramework) Operate(_ context.Context, name string, req cotton.Request, dryRun bool) (framework.Planned, error) {
	v, err := f.Cluster(context.Background(), name)
	if err != nil {
		return framework.Planned{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, fmt.Sprintf("%s %s dry=%t %s", req.Kind, name, dryRun, strings.Join(strings.Fields(fmt.Sprintln(
		req.Member, req.Nodes, req.Policy, req.InPlace, req.Discard, req.Set, req.Unset, req.Package, req.Version, req.Why)), " ")))
	if v.Record.Operation != nil {
		return framework.Planned{}, &cotton.RefusedError{Operation: string(req.Kind), Cluster: name, Why: "another one is under way"}
	}
	op := &cotton.Operation{ID: 7, Kind: req.Kind, Member: req.Member, Nodes: req.Nodes, Why: req.Why}
	p := framework.Planned{Cluster: name, Text: op.Text(v.Record), Plan: cotton.Plan{Steps: []string{"do it"}}}
	if !dryRun {
		p.Operation, v.Record.Operation, v.Waits = op, op, "patience"
		op.Log = []cotton.Step{{Step: "begin"}}
		f.clusters[name] = v
	}
	return p, nil
}

func (f *fakeFramework) Cancel(_ context.Context, name string, _ bool) (framework.Planned, error) {
	v, err := f.Cluster(context.Background(), name)
	switch {
	case err != nil:
		return framework.Planned{}, err
	case v.Record.Operation == nil:
		return framework.Planned{}, &cotton.RefusedError{Operation: "cancel", Cluster: name, Why: "nothing is under way"}
	}
	op := *v.Record.Operation
	op.Result = cotton.ResultCanceled
	v.Record.Operation, v.Record.Operations = nil, append(v.Record.Operations, op)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clusters[name] = v
	return framework.Planned{Cluster: name, Text: "cancel", Operation: &op}, nil
}

func (f *fakeFramework) ForceDelete(ctx context.Context, name string) error {
	f.mu.Lock()
	f.requests = append(f.requests, "force "+name)
	f.mu.Unlock()
	return f.Delete(ctx, name)
}

func (f *fakeFramework) Drain(_ context.Context, hostname string, o framework.DrainOptions) (framework.Draining, error) {
	if hostname != "agent1" {
		return framework.Draining{}, &cotton.InvalidError{Field: "agent", Problem: "is the hostname of no agent"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, fmt.Sprintf("drain %s %+v", hostname, o))
	d := framework.Draining{Hostname: hostname, Left: []framework.DrainLeft{{Cluster: "c0", Name: "c0-1", Member: 1, Steps: []string{"do it"}}}}
	f.draining = []framework.Draining{d}
	return d, nil
}

func (f *fakeFramework) Drainings(context.Context) []framework.Draining {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.draining
}

func (f *fakeFramework) Withheld() []cotton.Withheld {
	return []cotton.Withheld{{AgentID: "S9", Hostname: "agent9", State: cotton.WithheldDrained}}
}

func (f *fakeFramework) LeftBehind() []cotton.LeftBehind {
	return []cotton.LeftBehind{{Cluster: "gone", Abandoned: cotton.Abandoned{Member: 2, Hostname: "agent9", VolumeID: "v9", ResourceID: "r9"}}}
}

func (f *fakeFramework) Health() framework.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

func (f *fakeFramework) spec(t *testing.T, name string) cotton.Spec {
	t.Helper()
	v, err := f.Cluster(t.Context(), name)
	if err != nil {
		t.Fatalf("cluster %s: %v", name, err)
	}
	return v.Record.Spec
}

// bench is an API over a fake framework.
type bench struct {
	*httptest.Server
	fake *fakeFramework
	log  *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func serve(t *testing.T, change ...func(*api.Config)) *bench {
	t.Helper()
	b := &bench{fake: newFake(), log: &lockedBuffer{}}
	registry := prometheus.NewRegistry()
	c := api.Config{
		Framework:   b.fake,
		Sizes:       map[string]cotton.Size{"small": {CPUs: 0.5, MemMB: 512, DiskMB: 1024}, "large": {CPUs: 4, MemMB: 8192, DiskMB: 102400}},
		DefaultSize: cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 2048},
		Packages:    map[string]string{"mysql-8.4": "https://repo.internal/mysql-8.4.tar.gz"},
		ClusterURL:  func(name string) string { return "zk://127.0.0.1:2181/cotton/discover/" + name },
		HAProxy:     func() ([]byte, error) { return []byte("# clusters\n"), nil },
		Daemon:      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page "+r.URL.Path) }),
		Log:         slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics:     registry,
		OpenWrites:  true,
	}
	for _, f := range change {
		f(&c)
	}
	b.Server = httptest.NewServer(api.New(c))
	t.Cleanup(b.Close)
	return b
}

type answer struct {
	status int
	body   string
	header http.Header
}

// send sends a request; header is "Name: value" lines.
func (b *bench) send(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	response, err := b.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, string(text), response.Header}
}

const (
	asForm = "Content-Type: application/x-www-form-urlencoded"
	asJSON = "Content-Type: application/json"
)

// failureOf reads the body that every refusal must have.
func (a answer) failureOf(t *testing.T) v1.Error {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	var f v1.Failure
	if err := decoder.Decode(&f); err != nil || f.Error.Code == "" || f.Error.Message == "" || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %q is not the body of a failure: %v", a.status, a.header.Get("Content-Type"), a.body, err)
	}
	return f.Error
}

func into[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	return v
}

// tokensFile writes a file of tokens and returns its path and a token per role.
func tokensFile(t *testing.T) (path string, tokens map[api.Role]string) {
	t.Helper()
	tokens = map[api.Role]string{}
	text := "# made for a test\n\n"
	for _, role := range []api.Role{api.RoleRead, api.RoleWrite} {
		token, line, err := api.NewToken(role, "may-"+role.String())
		if err != nil {
			t.Fatal(err)
		}
		tokens[role] = token
		text += line
	}
	path = filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, tokens
}
