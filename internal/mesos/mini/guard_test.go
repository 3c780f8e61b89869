package mini

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestGuard: without the secret nobody gets an answer that tells or does anything, and no page of a browser does even with it.
func TestGuard(t *testing.T) {
	var secret, dir string
	m := start(t, func(c *Config) {
		var err error
		if secret, err = Secret(c.Dir); err != nil {
			t.Fatal(err)
		}
		c.Secret, dir = secret, c.Dir
	})
	if again, err := Secret(dir); err != nil || again != secret {
		t.Errorf("the secret of a second start: %q, %v", again, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, SecretFile(dir): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	answer := func(url, secret string, change func(*http.Request)) int {
		t.Helper()
		body := `{"type":"GET_VERSION"}`
		if strings.HasSuffix(url, "/api/v1/executor") && strings.HasPrefix(url, m.AgentURL("agent1")) && !strings.Contains(url, "/x/") {
			body = `{"type":"SUBSCRIBE","framework_id":{"value":"f"},"executor_id":{"value":"e1"},"subscribe":{}}`
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if secret != "" {
			req.SetBasicAuth("cotton", secret)
		}
		if change != nil {
			change(req)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	var urls []string
	for _, path := range []string{"/api/v1", "/master/api/v1", "/api/v1/scheduler", "/teardown", "/master/teardown", "/state", "/version",
		"/redirect", "/nothing",
		"/api/v1/executor", "/api/v1/health", "/api/v1/x/api/v1/executor", "/health/x", "//health/../state"} {
		urls = append(urls, m.URL()+path)
	}
	for _, path := range []string{"/api/v1", "/slave(1)/api/v1", "/api/v1/executor", "/slave(1)/api/v1/executor", "/nothing",
		"/api/v1/health", "/api/v1/x/api/v1/executor"} {
		urls = append(urls, m.AgentURL("agent1")+path)
	}
	for _, url := range urls {
		for _, given := range []string{"", "guess"} {
			if got := answer(url, given, nil); got != http.StatusUnauthorized {
				t.Errorf("%s with secret %q: %d", url, given, got)
			}
		}
		bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer guess") }
		if got := answer(url, "", bearer); got != http.StatusUnauthorized {
			t.Errorf("%s with a token that nobody was given: %d", url, got)
		}
		for name, change := range map[string]func(*http.Request){
			"Host":   func(r *http.Request) { r.Host = "evil.example:5050" },
			"Origin": func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
			"null":   func(r *http.Request) { r.Header.Set("Origin", "null") },
			"Fetch":  func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		} {
			if got := answer(url, secret, change); got != http.StatusForbidden {
				t.Errorf("%s from another site (%s): %d", url, name, got)
			}
		}
	}
	for _, url := range []string{m.URL() + "/api/v1", m.AgentURL("agent1") + "/api/v1"} {
		if got := answer(url, secret, nil); got != http.StatusOK {
			t.Errorf("%s with the secret: %d", url, got)
		}
	}
	one, other := executorKey{"f", "e1"}, executorKey{"f", "e2"}
	if executorToken(secret, one) == executorToken(secret, other) {
		t.Error("one executor's token is another's")
	}
}

// TestOneDirectoryOneMini: a second one in the same directory is refused, and the first goes on.
func TestOneDirectoryOneMini(t *testing.T) {
	m := start(t, nil)
	second, err := Start(context.Background(), m.cfg)
	if err == nil {
		second.Stop(context.Background())
		t.Fatal("a second one was started in the same directory")
	}
	if !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("refused with %v", err)
	}
	if m.AgentURL("agent1") == "" {
		t.Error("the first one lost its agents")
	}
	if err := m.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	third, err := Start(context.Background(), m.cfg)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := third.StopAll(context.Background()); err != nil {
		t.Error(err)
	}
}
