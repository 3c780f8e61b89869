package cottonapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/fleet"
)

// cottonServer is an API with a list that the test changes.
type cottonServer struct {
	mu     sync.Mutex
	list   v1.Clusters
	status int
	token  string
	asked  int
}

func (c *cottonServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	c.token = r.Header.Get("Authorization")
	w.WriteHeader(c.status)
	_ = json.NewEncoder(w).Encode(c.list)
}

func (c *cottonServer) set(status int, clusters ...v1.Cluster) {
	c.mu.Lock()
	c.status, c.list = status, v1.Clusters{Clusters: clusters}
	c.mu.Unlock()
}

func instance(port int, phase string) v1.Instance {
	return v1.Instance{Host: "db1", Port: port, Rack: "a", Zone: "east", Phase: phase}
}

func open(t *testing.T, name string) *Inventory {
	t.Helper()
	inv, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestTiers(t *testing.T) {
	c := &cottonServer{}
	s := httptest.NewServer(c)
	defer s.Close()
	tier := func(name string) map[string]string { return map[string]string{"tier": name} }
	c.set(200,
		v1.Cluster{Name: "c0", State: "running", Labels: tier("udb"), Instances: []v1.Instance{instance(1, "running"), instance(2, "lost")}},
		v1.Cluster{Name: "c1", State: "running", Labels: map[string]string{"tier": "adb", "databases": "shard%"}, Instances: []v1.Instance{instance(3, "running")}},
		v1.Cluster{Name: "c2", State: "creating", Labels: tier("udb"), Instances: []v1.Instance{instance(4, "launched"), {Phase: "pending"}, instance(5, "removing")}},
		v1.Cluster{Name: "c3", State: "deleting", Labels: tier("udb"), Instances: []v1.Instance{instance(6, "removing")}},
		v1.Cluster{Name: "c4", State: "running", Instances: []v1.Instance{instance(7, "running")}},
	)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inv := open(t, "cotton+"+s.URL+"?databases=dbid%25&token-file="+token)
	got, err := inv.Tiers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := func(tier, cluster string, port int) fleet.Instance {
		return fleet.Instance{Tier: tier, Cluster: cluster, Host: "db1", Port: port, Datacenter: "east", Rack: "a"}
	}
	want := []fleet.Tier{
		{Name: "adb", Databases: "shard%", Clusters: []fleet.Cluster{{Tier: "adb", Name: "c1", Instances: []fleet.Instance{in("adb", "c1", 3)}}}},
		{Name: "udb", Databases: "dbid%", Clusters: []fleet.Cluster{
			// A lost instance is still one: unreachable is unknown, not gone (I11).
			{Tier: "udb", Name: "c0", Instances: []fleet.Instance{in("udb", "c0", 1), in("udb", "c0", 2)}},
			{Tier: "udb", Name: "c2", Instances: []fleet.Instance{in("udb", "c2", 4)}}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if c.token != "Bearer t0ken" {
		t.Errorf("token %q", c.token)
	}
	got[1].Clusters[0].Instances[0].Port = 99
	if again, _ := inv.Tiers(t.Context()); again[1].Clusters[0].Instances[0].Port != 1 || c.asked != 1 {
		t.Errorf("a caller changed the next one's answer, or it was asked %d times within a second", c.asked)
	}
}

// What cannot be asked is an error that names the scheduler, never the last answer and never an empty fleet (I11).
func TestTrouble(t *testing.T) {
	c := &cottonServer{}
	s := httptest.NewServer(c)
	inv := open(t, "cotton+"+s.URL)
	c.set(200, v1.Cluster{Name: "c0", Labels: map[string]string{"tier": "udb"}})
	if tiers, err := inv.Tiers(t.Context()); err != nil || tiers[0].Databases != "%" {
		t.Fatalf("%+v, %v", tiers, err)
	}
	stale := func() {
		inv.mu.Lock()
		inv.asked = time.Now().Add(-time.Hour)
		inv.mu.Unlock()
	}
	for _, break_ := range []func(){func() { c.set(503) }, s.Close} {
		stale()
		break_()
		for range 2 { // also when it has failed a moment ago
			if tiers, err := inv.Tiers(t.Context()); err == nil || !strings.Contains(err.Error(), "cotton+"+s.URL) {
				t.Errorf("%+v, %v", tiers, err)
			}
		}
	}
}

func TestConflictingDatabases(t *testing.T) {
	_, err := tiers([]v1.Cluster{
		{Name: "c0", Labels: map[string]string{"tier": "udb", "databases": "a%"}},
		{Name: "c1", Labels: map[string]string{"tier": "udb", "databases": "b%"}},
	}, "%")
	if err == nil || !strings.Contains(err.Error(), `tier udb: cluster c0 has databases "a%" and cluster c1 "b%"`) {
		t.Error(err)
	}
	none, err := tiers(nil, "%")
	if err != nil || none == nil || len(none) != 0 {
		t.Errorf("no clusters: %v, %v", none, err)
	}
}

func TestOpenRefusals(t *testing.T) {
	for name, says := range map[string]string{
		"inventory.yaml":                            "want cotton+http://",
		"cotton+127.0.0.1:5055":                     "want cotton+http://",
		"cotton+ftp://127.0.0.1:5055":               "want http://host:port",
		"cotton+http://u:geheim@127.0.0.1":          "http://***@127.0.0.1",
		"cotton+http://127.0.0.1/clusters":          "want http://host:port",
		"cotton+http://127.0.0.1?databases=dbid%":   "a % is written %25",
		"cotton+http://127.0.0.1?databases=":        "parameter databases: want one value",
		"cotton+http://127.0.0.1?tier=udb":          `unknown parameter "tier"`,
		"cotton+https://127.0.0.1?ca-file=/nowhere": "/nowhere",
	} {
		_, err := Open(name)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, want it to say %q", name, err, says)
		}
	}
}
