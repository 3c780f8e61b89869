package api_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
)

// The original's form routes: its parameters, status codes and texts, so that its clients and scripts work unchanged.
func TestOriginalRoutes(t *testing.T) {
	b := serve(t)
	a := b.send(t, "POST", "/clusters/c0", "cluster_user=app&num_nodes=3", asForm)
	created := into[map[string]string](t, a)
	if a.status != 200 || len(created) != 2 || created["cluster_url"] != "zk://127.0.0.1:2181/cotton/discover/c0" {
		t.Fatalf("created: %d %s", a.status, a.body)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9]{21}$`).MatchString(created["cluster_password"]) {
		t.Errorf("the generated password %q is not 21 letters and digits", created["cluster_password"])
	}
	spec := b.fake.spec(t, "c0")
	if spec.User != "app" || spec.Nodes != 3 || spec.Size != (cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 2048}) || spec.Policy != cotton.PolicyLossless {
		t.Errorf("stored: %+v", spec)
	}
	if !mysql.CheckPassword(spec.PasswordHash, created["cluster_password"]) {
		t.Errorf("what is stored, %q, is not the server's hash of the password", spec.PasswordHash)
	}

	for _, c := range []struct {
		what, method, path, body string
		status                   int
		message                  string
	}{
		{"name taken", "POST", "/clusters/c0", "cluster_user=app", 409, "Cluster 'c0' already exists"},
		{"name taken comes before bad fields", "POST", "/clusters/c0", "num_nodes=x", 409, "Cluster 'c0' already exists"},
		{"no user", "POST", "/clusters/c1", "num_nodes=1", 400, "Invalid user name: "},
		{"no body", "POST", "/clusters/c1", "", 400, "Invalid user name: "},
		{"user with a quote", "POST", "/clusters/c1", "cluster_user=a%27b", 400, "Invalid user name: a'b"},
		{"zero nodes", "POST", "/clusters/c1", "cluster_user=u&num_nodes=0", 400, "Invalid number of cluster nodes: 0"},
		{"nodes below zero", "POST", "/clusters/c1", "cluster_user=u&num_nodes=-1", 400, "Invalid number of cluster nodes: -1"},
		{"too many nodes", "POST", "/clusters/c1", "cluster_user=u&num_nodes=1000000", 400, "Invalid number of cluster nodes: 1000000"},
		{"nodes no number", "POST", "/clusters/c1", "cluster_user=u&num_nodes=three", 400, "Invalid number of cluster nodes: three"},
		{"size no JSON", "POST", "/clusters/c1", `cluster_user=u&size=[1]`, 400, "'size' should be a JSON dictionary with keys 'cpus', 'mem' and 'disk'"},
		{"size lacks a key", "POST", "/clusters/c1", `cluster_user=u&size={"cpus":1,"mem":"1gb"}`, 400, "'size' should be a JSON dictionary with keys 'cpus', 'mem' and 'disk'"},
		{"size too small", "POST", "/clusters/c1", `cluster_user=u&size={"cpus":1,"mem":"1mb","disk":"1gb"}`, 400, "Instance 'size' too small: mem 1 MB: want at least 256"},
		{"a backup", "POST", "/clusters/c1", "cluster_user=u&backup_id=b1", 400, `Unknown backup "b1"`},
		{"unknown size", "POST", "/clusters/c1", "cluster_user=u&size=huge", 400, `Unknown size "huge"`},
		{"wrong password", "DELETE", "/clusters/c0", "password=wrong", 403, "No permission to kill cluster c0"},
		{"no password", "DELETE", "/clusters/c0", "", 403, "No permission to kill cluster c0"},
		{"no such cluster", "DELETE", "/clusters/c9", "password=x", 404, "Cluster 'c9' not found"},
	} {
		a := b.send(t, c.method, c.path, c.body, asForm)
		if f := a.failureOf(t); a.status != c.status || f.Message != c.message {
			t.Errorf("%s: %d %q, want %d %q", c.what, a.status, f.Message, c.status, c.message)
		}
	}
	if len(b.fake.clusters) != 1 {
		t.Errorf("a refused request left something behind: %v", b.fake.clusters)
	}

	a = b.send(t, "DELETE", "/clusters/c0", "password="+created["cluster_password"], asForm)
	if a.status != 200 || strings.TrimSpace(a.body) != `{"cluster_url":"zk://127.0.0.1:2181/cotton/discover/c0"}` {
		t.Errorf("deleted: %d %s", a.status, a.body)
	}
	if len(b.fake.clusters) != 0 {
		t.Error("it was not deleted")
	}
}

// All the ways in which the original's form says a size.
func TestSizes(t *testing.T) {
	b := serve(t)
	for i, c := range []struct {
		text string
		want cotton.Size
	}{
		{``, cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 2048}},
		{`small`, cotton.Size{CPUs: 0.5, MemMB: 512, DiskMB: 1024}},
		{`{"cpus":2.5,"mem":"1gb","disk":"3G"}`, cotton.Size{CPUs: 2.5, MemMB: 1024, DiskMB: 3072}},
		{`{"cpus":"1","mem":"524288KB","disk":"1T"}`, cotton.Size{CPUs: 1, MemMB: 512, DiskMB: 1 << 20}},
		{`{"cpus":1,"mem":"536870913","disk":1073741824}`, cotton.Size{CPUs: 1, MemMB: 513, DiskMB: 1024}},
		{`2/4gb/10gb`, cotton.Size{CPUs: 2, MemMB: 4096, DiskMB: 10240}},
	} {
		name := fmt.Sprintf("c%d", i)
		a := b.send(t, "POST", "/clusters/"+name, "cluster_user=u&size="+c.text, asForm)
		if a.status != 200 {
			t.Errorf("size %s: %d %s", c.text, a.status, a.body)
			continue
		}
		if got := b.fake.spec(t, name).Size; got != c.want {
			t.Errorf("size %s is %+v, want %+v", c.text, got, c.want)
		}
	}
	for _, text := range []string{
		`{}`, `{"cpus":1,"mem":"1gb","disk":"1gb","gpus":1}`, `{"cpus":"many","mem":"1gb","disk":"1gb"}`, `{"cpus":-1,"mem":"1gb","disk":"1gb"}`,
		`{"cpus":1,"mem":"1.5gb","disk":"1gb"}`, `{"cpus":1,"mem":"1 parsec","disk":"1gb"}`, `{"cpus":1,"mem":"99999999999tb","disk":"1gb"}`,
		`{"cpus":1,"mem":null,"disk":"1gb"}`, `{"cpus":NaN,"mem":"1gb","disk":"1gb"}`, `1/2`, `"small"`, `1/1gb/`,
	} {
		a := b.send(t, "POST", "/clusters/bad", "cluster_user=u&size="+text, asForm)
		if f := a.failureOf(t); a.status != 400 || f.Field != "size" {
			t.Errorf("size %s: %d %+v, want 400 on size", text, a.status, f)
		}
	}
}

func TestCreateByJSON(t *testing.T) {
	b := serve(t)
	a := b.send(t, "POST", "/clusters/c1", `{"cluster_user":"app","cluster_password":"s3cret äö","nodes":2,"size":"large","policy":"available",
		"labels":{"tier":"udb"},"config":{"max_connections":"500"},"package":"mysql-8.4","scalars":{"ssd":1},"constraints":{"rack":"a|b"},"sidecars":true}`, asJSON)
	if a.status != 201 || a.header.Get("Location") != "/clusters/c1" || into[v1.Created](t, a).Password != "s3cret äö" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	spec := b.fake.spec(t, "c1")
	if spec.Nodes != 2 || spec.Size.CPUs != 4 || spec.Policy != cotton.PolicyAvailable || spec.Labels["tier"] != "udb" || spec.Config["max_connections"] != "500" ||
		spec.Package != "https://repo.internal/mysql-8.4.tar.gz" || spec.Scalars["ssd"] != 1 || spec.Constraints["rack"] != "a|b" || !spec.Sidecars {
		t.Errorf("stored: %+v", spec)
	}
	if !mysql.CheckPassword(spec.PasswordHash, "s3cret äö") {
		t.Error("the given password is not the cluster's")
	}
	if a := b.send(t, "POST", "/clusters/c2", `{"cluster_user":"app"}`, asJSON); a.status != 201 || b.fake.spec(t, "c2").Nodes != 1 {
		t.Errorf("with a user only: %d %s", a.status, a.body)
	}

	many := strings.Repeat(`"k`+"%d"+`":"v",`, 65)
	numbers := make([]any, 65)
	for i := range numbers {
		numbers[i] = i
	}
	for _, c := range []struct{ what, body, field, says string }{
		{"no JSON", `cluster_user=app`, "", "not JSON"},
		{"half", `{"cluster_user":`, "", "not JSON"},
		{"two documents", `{"cluster_user":"a"}{"cluster_user":"b"}`, "", "goes on"},
		{"an array", `[]`, "", "array"},
		{"unknown field", `{"cluster_user":"a","node":3}`, "node", "unknown field"},
		{"wrong type", `{"cluster_user":"a","nodes":"three"}`, "nodes", "string"},
		{"nodes with a fraction", `{"cluster_user":"a","nodes":1.5}`, "nodes", "number"},
		{"no nodes", `{"cluster_user":"a","nodes":0}`, "num_nodes", "Invalid number of cluster nodes: 0"},
		{"no user", `{"nodes":1}`, "cluster_user", "Invalid user name"},
		{"unknown size", `{"cluster_user":"a","size":"huge"}`, "size", `Unknown size "huge"`},
		{"bad size", `{"cluster_user":"a","size":{"cpus":1}}`, "size", "'size' should be"},
		{"unknown policy", `{"cluster_user":"a","policy":"hopeful"}`, "policy", "hopeful"},
		{"lossless alone", `{"cluster_user":"a","nodes":2,"policy":"lossless"}`, "policy", "3 nodes"},
		{"unknown package", `{"cluster_user":"a","package":"https://evil.example/mysqld"}`, "package", "Unknown package"},
		{"label name", `{"cluster_user":"a","labels":{"a b":"c"}}`, "labels", "is not a name"},
		{"label value", `{"cluster_user":"a","labels":{"a":"b\nc"}}`, "labels.a", "control characters"},
		{"a line for my.cnf", `{"cluster_user":"a","config":{"a":"b\nplugin_load=evil.so"}}`, "config.a", "control characters"},
		{"an option with a section", `{"cluster_user":"a","config":{"]\n[mysqld":"1"}}`, "config", "is not a name"},
		{"an option that would run code", `{"cluster_user":"a","config":{"plugin-load":"evil.so"}}`, "config", "is refused"},
		{"too many labels", `{"cluster_user":"a","labels":{` + strings.TrimSuffix(fmt.Sprintf(many, numbers...), ",") + `}}`, "labels", "more than 64"},
		{"scalar amount", `{"cluster_user":"a","scalars":{"ssd":-1}}`, "scalars.ssd", "positive"},
		{"constraint name", `{"cluster_user":"a","constraints":{"a b":"x"}}`, "constraints", "is not a name"},
		{"constraint value", `{"cluster_user":"a","constraints":{"rack":"a|"}}`, "constraints.rack", "one of the values is empty"},
		{"scalar name", `{"cluster_user":"a","scalars":{"'":1}}`, "scalars", "is not a name"},
		{"a backup that nobody can restore", `{"cluster_user":"a","backup_id":"b1"}`, "backup_id", "no backup store"},
		{"password with a line end", `{"cluster_user":"a","cluster_password":"geheim\n"}`, "cluster_password", "Invalid password"},
		{"password too long", `{"cluster_user":"a","cluster_password":"` + strings.Repeat("geheim", 50) + `"}`, "cluster_password", "Invalid password"},
	} {
		a := b.send(t, "POST", "/clusters/bad", c.body, asJSON)
		f := a.failureOf(t)
		if a.status != 400 || f.Code != v1.CodeInvalid || f.Field != c.field || !strings.Contains(f.Message+f.Detail, c.says) {
			t.Errorf("%s: %d %+v, want 400 on %q saying %q", c.what, a.status, f, c.field, c.says)
		}
		if strings.Contains(a.body, "geheim") {
			t.Errorf("%s: the password is in the answer: %s", c.what, a.body)
		}
	}
	if len(b.fake.clusters) != 2 {
		t.Error("a refused request left something behind")
	}
}

// Bad names are refused by every route, whatever layer meets them first, and reach the store by none.
func TestNames(t *testing.T) {
	b := serve(t)
	for _, name := range []string{"a%2Fb", "a%27b", "a%22b", "a%20b", "%2e%2e%2fetc", "a..b", "-a", ".a", "%00", "a%0ab", "%3Cb%3E", strings.Repeat("a", 65), "%C3%A4"} {
		for _, body := range []string{"cluster_user=app", `{"cluster_user":"app"}`} {
			kind := asForm
			if body[0] == '{' {
				kind = asJSON
			}
			a := b.send(t, "POST", "/clusters/"+name, body, kind)
			if f := a.failureOf(t); a.status != 400 || f.Field != "name" {
				t.Errorf("POST %s: %d %+v", name, a.status, f)
			}
		}
		for _, path := range []string{"", "/endpoints", "/why"} {
			a := b.send(t, "GET", "/clusters/"+name+path, "")
			if f := a.failureOf(t); a.status != 404 || f.Code != v1.CodeNotFound {
				t.Errorf("GET %s%s: %d %+v", name, path, a.status, f)
			}
		}
	}
	if a := b.send(t, "POST", "/clusters/"+strings.Repeat("a", 64), "cluster_user=app", asForm); a.status != 200 {
		t.Errorf("64 characters: %d %s", a.status, a.body)
	}
	if len(b.fake.clusters) != 1 {
		t.Errorf("stored: %v", b.fake.clusters)
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	b := serve(t)
	big := strings.Repeat("x", 10<<20)
	for _, c := range []struct {
		what, method, path, body string
		header                   []string
		status                   int
		code                     string
	}{
		{"10 MB", "POST", "/clusters/c", big, []string{asForm}, 413, v1.CodeTooLarge},
		{"10 MB of JSON", "POST", "/clusters/c", big, []string{asJSON}, 413, v1.CodeTooLarge},
		{"10 MB to delete", "DELETE", "/clusters/c", big, []string{asForm}, 413, v1.CodeTooLarge},
		{"unknown route", "GET", "/nonsense", "", nil, 404, v1.CodeNotFound},
		{"the typo of the original's guide", "DELETE", "/cluster/c", "password=x", []string{asForm}, 404, v1.CodeNotFound},
		{"root", "GET", "/", "", nil, 404, v1.CodeNotFound},
		{"deeper", "GET", "/clusters/a/b/c", "", nil, 404, v1.CodeNotFound},
		{"method", "PUT", "/clusters/c", "", nil, 405, v1.CodeMethod},
		{"method of the list", "POST", "/clusters", "", nil, 405, v1.CodeMethod},
		{"XML", "POST", "/clusters/c", "<a/>", []string{"Content-Type: text/xml"}, 415, v1.CodeMediaType},
		{"nonsense as type", "POST", "/clusters/c", "a", []string{"Content-Type: ;;"}, 415, v1.CodeMediaType},
		{"parameters in the address", "POST", "/clusters/c?cluster_user=app&cluster_password=x", "", []string{asForm}, 400, v1.CodeInvalid},
		{"misspelt parameter", "POST", "/clusters/c", "cluster_user=a&num_node=3", []string{asForm}, 400, v1.CodeInvalid},
		{"parameter twice", "POST", "/clusters/c", "cluster_user=a&cluster_user=b", []string{asForm}, 400, v1.CodeInvalid},
		{"bad escape", "POST", "/clusters/c", "cluster_user=%zz", []string{asForm}, 400, v1.CodeInvalid},
		{"a form of another site", "POST", "/clusters/c", "cluster_user=a", []string{asForm, "Origin: http://evil.example"}, 403, v1.CodeForbidden},
		{"a fetch of another site", "POST", "/clusters/c", "cluster_user=a", []string{asForm, "Sec-Fetch-Site: cross-site"}, 403, v1.CodeForbidden},
		{"a name rebound to 127.0.0.1", "GET", "/clusters", "", []string{"Host: evil.example"}, 403, v1.CodeForbidden},
	} {
		a := b.send(t, c.method, c.path, c.body, c.header...)
		if f := a.failureOf(t); a.status != c.status || f.Code != c.code {
			t.Errorf("%s: %d %+v, want %d %s", c.what, a.status, f, c.status, c.code)
		}
	}
	if allow := b.send(t, "PUT", "/clusters/c", "").header.Get("Allow"); allow != "DELETE, GET, POST" {
		t.Errorf("Allow: %q", allow)
	}
	if len(b.fake.clusters) != 0 {
		t.Errorf("something was made: %v", b.fake.clusters)
	}
}

// A body whose length is not announced is bounded, too.
func TestBodyOfUnknownLength(t *testing.T) {
	b := serve(t)
	body := struct{ io.Reader }{strings.NewReader(strings.Repeat(" ", 3<<20))} // what is no strings.Reader is sent in chunks
	r, err := http.NewRequestWithContext(t.Context(), "POST", b.URL+"/clusters/c", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := b.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 413 || r.ContentLength != 0 {
		t.Errorf("%d for a body of length %d, want 413", response.StatusCode, r.ContentLength)
	}
}

func TestNotReady(t *testing.T) {
	b := serve(t)
	b.fake.health = framework.Health{Problem: "waiting for the leader lock"}
	for _, body := range []string{"cluster_user=app", "nonsense"} {
		a := b.send(t, "POST", "/clusters/c0", body, asForm)
		f := a.failureOf(t)
		if a.status != 503 || f.Message != "Service unavailable. Try again later" || f.Detail != "waiting for the leader lock" || a.header.Get("Retry-After") == "" {
			t.Errorf("create: %d %+v", a.status, f)
		}
	}
	b.fake.broken = framework.ErrNotReady
	if a := b.send(t, "GET", "/clusters", ""); a.status != 503 || a.failureOf(t).Code != v1.CodeUnavailable {
		t.Errorf("list: %d %s", a.status, a.body)
	}
	a := b.send(t, "GET", "/health", "")
	if h := into[v1.Health](t, a); a.status != 200 || h.Ready || h.Problem != "waiting for the leader lock" {
		t.Errorf("health: %d %s", a.status, a.body)
	}
}

// What nobody foresaw is told to the log, not to the client.
func TestUnforeseenErrors(t *testing.T) {
	b := serve(t)
	b.fake.broken = errors.New("write /var/lib/cotton/clusters/c0: no space left on device")
	a := b.send(t, "POST", "/clusters/c0", "cluster_user=app&cluster_password=geheim", asForm)
	if f := a.failureOf(t); a.status != 500 || f.Code != v1.CodeInternal || strings.Contains(a.body, "/var/lib") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if log := b.log.String(); !strings.Contains(log, "no space left") || strings.Contains(log, "geheim") {
		t.Errorf("the log says %q", log)
	}
}

// The name was free when it was looked at, and taken when it was stored.
func TestTwoCreateAtOnce(t *testing.T) {
	b := serve(t)
	b.fake.broken = framework.ErrExists
	if a := b.send(t, "POST", "/clusters/c0", "cluster_user=app", asForm); a.status != 409 || a.failureOf(t).Message != "Cluster 'c0' already exists" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestLooking(t *testing.T) {
	b := serve(t)
	if a := b.send(t, "GET", "/clusters", ""); a.status != 200 || strings.TrimSpace(a.body) != `{"clusters":[]}` {
		t.Errorf("none: %d %s", a.status, a.body)
	}
	for _, name := range []string{"c1", "c0"} {
		if a := b.send(t, "POST", "/clusters/"+name, `{"cluster_user":"app","cluster_password":"geheim","nodes":3,"labels":{"tier":"udb"},"package":"mysql-8.4"}`, asJSON); a.status != 201 {
			t.Fatal(a.body)
		}
	}
	a := b.send(t, "GET", "/clusters", "")
	if list := into[v1.Clusters](t, a); len(list.Clusters) != 2 || list.Clusters[0].Name != "c0" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("list: %s", a.body)
	}
	a = b.send(t, "GET", "/clusters/c0", "")
	c := into[v1.Cluster](t, a)
	if c.State != "running" || c.Labels["tier"] != "udb" || len(c.Instances) != 3 || c.Endpoints.Primary.Port != 31001 || len(c.Endpoints.Replicas) != 2 ||
		c.Instances[1].Role != "replica" || c.Instances[1].ServerID != 2 || c.Instances[1].Host != "127.0.0.1" || c.Instances[1].Agent != "agent1" || c.Instances[1].Rack != "a" || c.Package != "mysql-8.4" || c.Promise == "" || c.Policy != "lossless" {
		t.Errorf("show: %s", a.body)
	}
	if a := b.send(t, "GET", "/clusters/c0/endpoints", ""); into[v1.Endpoints](t, a).Primary.Port != 31001 {
		t.Errorf("endpoints: %s", a.body)
	}
	if a := b.send(t, "GET", "/clusters/c0/why", ""); into[v1.Why](t, a).Refusals[0].Reason != "mem 100 MB of 512" {
		t.Errorf("why: %s", a.body)
	}
	if a := b.send(t, "GET", "/haproxy.cfg", ""); a.body != "# clusters\n" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("haproxy: %s", a.body)
	}
	if a := b.send(t, "HEAD", "/clusters", ""); a.status != 200 {
		t.Errorf("HEAD: %d", a.status)
	}
	for _, page := range []string{"/healthz", "/readyz", "/metrics"} {
		if a := b.send(t, "GET", page, ""); a.body != "page "+page {
			t.Errorf("%s: %d %s", page, a.status, a.body)
		}
	}
	// None of the above may show a secret: neither a page nor the log.
	all := b.log.String()
	for _, path := range []string{"/clusters", "/clusters/c0", "/clusters/c0/endpoints", "/clusters/c0/why", "/haproxy.cfg", "/health"} {
		all += b.send(t, "GET", path, "").body
	}
	if hash := b.fake.spec(t, "c0").PasswordHash; strings.Contains(all, "geheim") || strings.Contains(all, hash) || strings.Contains(all, "repo.internal") {
		t.Errorf("a secret is shown: %s", all)
	}
}

// What is asked for is told as it is now: nothing by a scheduler that does not know, and nothing twice after a deletion.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := serve(t, func(c *api.Config) { c.Metrics = registry })
	value := func(name string) (float64, bool) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue(), true
			}
		}
		return 0, false
	}
	wants := func(when string, want map[string]float64) {
		t.Helper()
		for name, n := range want {
			if got, ok := value(name); !ok || got != n {
				t.Errorf("%s: %s is %v (told: %v), want %v", when, name, got, ok, n)
			}
		}
	}
	wants("at first", map[string]float64{"cotton_requested_cpus": 0})
	b.send(t, "POST", "/clusters/c0", "cluster_user=app&cluster_password=geheim&num_nodes=3&size=0.5/512mb/1gb", asForm)
	b.send(t, "POST", "/clusters/c1", "cluster_user=app", asForm)
	wants("with two", map[string]float64{"cotton_requested_cpus": 2.5, "cotton_requested_mem_mb": 2048, "cotton_requested_disk_mb": 5120,
		"cotton_requested_instances": 4, "cotton_serving_instances": 4})
	for range 2 {
		b.send(t, "DELETE", "/clusters/c0", "password=geheim", asForm)
	}
	wants("after one was deleted twice", map[string]float64{"cotton_requested_cpus": 1, "cotton_requested_instances": 1})
	b.fake.broken = framework.ErrNotReady
	if _, told := value("cotton_requested_cpus"); told {
		t.Error("a standby says that nothing was asked for")
	}
}

func TestTokens(t *testing.T) {
	path, tokens := tokensFile(t)
	loaded, err := api.LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	b := serve(t, func(c *api.Config) { c.Tokens = loaded })
	bearer := func(token string) string { return "Authorization: Bearer " + token }
	read, write := bearer(tokens[api.RoleRead]), bearer(tokens[api.RoleWrite])
	for _, c := range []struct {
		what, method, path, token string
		status                    int
	}{
		{"no token", "GET", "/clusters", "", 401},
		{"no token, metrics", "GET", "/metrics", "", 401},
		{"no token, create", "POST", "/clusters/c0", "", 401},
		{"wrong token", "GET", "/clusters", bearer("nonsense"), 401},
		{"the hash as token", "GET", "/clusters", bearer(strings.Repeat("0", 64)), 401},
		{"another scheme", "GET", "/clusters", "Authorization: Basic " + tokens[api.RoleRead], 401},
		{"empty token", "GET", "/clusters", "Authorization: Bearer ", 401},
		{"reader reads", "GET", "/clusters", read, 200},
		{"reader creates", "POST", "/clusters/c0", read, 403},
		{"reader deletes", "DELETE", "/clusters/c0", read, 403},
		{"writer creates", "POST", "/clusters/c0", write, 200},
		{"writer reads", "GET", "/clusters/c0", write, 200},
		{"writer without the password", "DELETE", "/clusters/c0", write, 403},
		{"health needs none", "GET", "/healthz", "", 200},
		{"nor does readiness", "GET", "/readyz", "", 200},
		{"other hosts may ask", "GET", "/clusters", read + "\nHost: cotton.internal", 200},
	} {
		header := []string{asForm}
		for _, line := range strings.Split(c.token, "\n") {
			if line != "" {
				header = append(header, line)
			}
		}
		body := ""
		if c.method == "POST" {
			body = "cluster_user=app"
		}
		a := b.send(t, c.method, c.path, body, header...)
		if a.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.what, a.status, a.body, c.status)
		}
		if a.status >= 400 {
			a.failureOf(t)
		}
		if a.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: does not say that a token is wanted", c.what)
		}
	}
	log := b.log.String()
	if !strings.Contains(log, "may-write") {
		t.Errorf("the log does not say who created: %s", log)
	}
	for _, token := range tokens {
		if strings.Contains(log, token) {
			t.Errorf("a token is in the log: %s", log)
		}
	}
}
