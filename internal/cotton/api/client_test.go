package api_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
)

// The client and the server, over TLS and with a token: everything that goes in comes out.
func TestClientRoundTrip(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, 1)
	path, tokens := tokensFile(t)
	loaded, err := api.LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	var config api.Config
	b := serve(t, func(c *api.Config) { c.Tokens = loaded; config = *c; config.Metrics = nil })
	s := run(t, api.Listen{Addr: "127.0.0.1:0", Cert: cert, Key: key}, api.New(config))
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(tokens[api.RoleWrite]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{URLs: []string{s.URL()}, TokenFile: tokenFile, CAFile: cert, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()

	created, err := c.Create(ctx, "c0", v1.Create{User: "app", Nodes: 3, Size: &v1.Size{Resources: v1.Resources{CPUs: 0.25, MemMB: 300, DiskMB: 700}},
		Labels: map[string]string{"tier": "udb"}, Config: map[string]string{"max_connections": "50"}, Scalars: map[string]float64{"ssd": 1}, Constraints: map[string]string{"rack": "a|b"}, Sidecars: true})
	if err != nil || len(created.Password) != 21 {
		t.Fatalf("%+v, %v", created, err)
	}
	got, err := c.Cluster(ctx, "c0")
	if err != nil || got.Size != (v1.Resources{CPUs: 0.25, MemMB: 300, DiskMB: 700}) || got.Labels["tier"] != "udb" || got.Config["max_connections"] != "50" ||
		got.Scalars["ssd"] != 1 || got.Constraints["rack"] != "a|b" || !got.Sidecars || got.Policy != string(cotton.PolicyLossless) {
		t.Errorf("%+v, %v", got, err)
	}
	if waited, err := c.WaitRunning(ctx, "c0"); err != nil || waited.Endpoints.Primary == nil {
		t.Errorf("%+v, %v", waited, err)
	}
	if _, err := c.Create(ctx, "c1", v1.Create{User: "app", Size: &v1.Size{Name: "small"}}); err != nil || b.fake.spec(t, "c1").Size.MemMB != 512 {
		t.Errorf("by a size's name and with no number of nodes: %v", err)
	}
	if list, err := c.Clusters(ctx); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if e, err := c.Endpoints(ctx, "c0"); err != nil || len(e.Replicas) != 2 {
		t.Errorf("%+v, %v", e, err)
	}
	if why, err := c.Why(ctx, "c0"); err != nil || why.OffersSeen != 7 || why.Refusals[0].Hostname != "agent1" {
		t.Errorf("%+v, %v", why, err)
	}
	if h, err := c.Health(ctx); err != nil || !h.Ready {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := c.Create(ctx, "c0", v1.Create{User: "app"}); !client.IsCode(err, v1.CodeExists) {
		t.Errorf("twice: %v", err)
	}
	if err := c.Delete(ctx, "c0", "wrong"); !client.IsCode(err, v1.CodeForbidden) {
		t.Errorf("deleted with a wrong password: %v", err)
	}
	if err := c.Delete(ctx, "c0", created.Password); err != nil {
		t.Error(err)
	}
	if err := c.WaitGone(ctx, "c0"); err != nil {
		t.Error(err)
	}
}
