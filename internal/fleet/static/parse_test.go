package static

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/fleet"
)

// The example of the documentation, with what may be left out left out.
const example = `
tiers:
  udb:
    databases: "dbid%"
    clusters:
      - name: udb-1
        instances:
          - {host: 127.0.0.1, port: 13306, datacenter: east, rack: a}
          - {host: 127.0.0.1, port: 13307, datacenter: west, rack: b}
      - name: udb-2
        instances:
          - host: "::1"
            port: 13306
          - host: db9.example.com
  adb:
    databases: shard\_%
    clusters:
`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Tier{
		{Name: "udb", Databases: "dbid%", Clusters: []fleet.Cluster{
			{Tier: "udb", Name: "udb-1", Instances: []fleet.Instance{
				{Tier: "udb", Cluster: "udb-1", Host: "127.0.0.1", Port: 13306, Datacenter: "east", Rack: "a"},
				{Tier: "udb", Cluster: "udb-1", Host: "127.0.0.1", Port: 13307, Datacenter: "west", Rack: "b"},
			}},
			{Tier: "udb", Name: "udb-2", Instances: []fleet.Instance{
				{Tier: "udb", Cluster: "udb-2", Host: "::1", Port: 13306},
				{Tier: "udb", Cluster: "udb-2", Host: "db9.example.com", Port: 3306},
			}},
		}},
		{Name: "adb", Databases: `shard\_%`},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if s := got[0].Clusters[1].Instances[0].String(); s != "[::1]:13306" {
		t.Errorf("an IPv6 instance is written %s", s)
	}
}

// One set of defaults for many instances: aliases work.
func TestParseAlias(t *testing.T) {
	got, err := Parse([]byte("tiers:\n  a: {databases: &p \"x%\", clusters: []}\n  b: {databases: *p, clusters: []}\n"))
	if err != nil || len(got) != 2 || got[1].Databases != "x%" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	cluster := func(instances string) string {
		return "tiers:\n  udb:\n    databases: \"d%\"\n    clusters:\n      - name: c1\n        instances:\n" + instances
	}
	for _, c := range []struct{ name, text, line, says string }{
		{"empty", "", "line 1:", "empty"},
		{"only a comment", "# nothing\n", "line 1:", "empty"},
		{"not yaml", "tiers:\n  udb: [\n", "line 2:", "YAML"},
		{"two documents", "tiers: {}\n---\ntiers: {}\n", "", "several"},
		{"no tiers", "{}\n", "line 1:", "tiers is missing"},
		{"list of tiers", "tiers:\n  - udb\n", "line 2:", "mapping"},
		{"unknown key at the top", "tiers: {}\ntires: {}\n", "line 2:", `unknown key "tires"`},
		{"unknown key of a tier", "tiers:\n  udb:\n    databases: x\n    database: y\n", "line 4:", `unknown key "database"`},
		{"unknown key of an instance", cluster("          - host: a\n            prot: 1\n"), "line 8:", `unknown key "prot", known are host, port`},
		{"tier twice", "tiers:\n  udb: {databases: x}\n  adb: {databases: x}\n  udb: {databases: y}\n", "line 4:", "udb is already given on line 2"},
		{"tier twice but for case", "tiers:\n  udb: {databases: x}\n  UDB: {databases: y}\n", "line 3:", "tier UDB is already defined on line 2"},
		{"tier name with a slash", "tiers:\n  ../x: {databases: x}\n", "line 2:", "no name for a tier"},
		{"tier name too long", "tiers:\n  " + strings.Repeat("x", 65) + ": {databases: x}\n", "line 2:", "at most 64"},
		{"no databases", "tiers:\n  udb: {clusters: []}\n", "line 2:", "databases is missing"},
		{"empty databases", "tiers:\n  udb: {databases: \"\"}\n", "line 2:", "databases is empty"},
		{"databases is a list", "tiers:\n  udb:\n    databases: [a, b]\n", "line 3:", "want a text"},
		{"clusters is a mapping", "tiers:\n  udb:\n    databases: x\n    clusters: {a: b}\n", "line 4:", "want a list"},
		{"cluster without name", "tiers:\n  udb:\n    databases: x\n    clusters:\n      - instances: []\n", "line 5:", "name is missing"},
		{"cluster without instances", cluster("          []\n"), "line 5:", "no instances"},
		{"cluster twice, in another tier", cluster("          - host: a\n") + "  adb:\n    databases: y\n    clusters:\n      - {name: C1, instances: [{host: b}]}\n",
			"line 11:", "cluster C1 is already defined on line 5"},
		{"instance twice", cluster("          - {host: a, port: 3306}\n          - host: A\n"), "line 8:", "A:3306 is already listed on line 7"},
		{"host missing", cluster("          - port: 1\n"), "line 7:", "host is missing"},
		{"host with a port", cluster("          - host: a:3306\n"), "line 7:", "not a host"},
		{"host with a path", cluster("          - host: a/b\n"), "line 7:", "not a host"},
		{"host not ascii", cluster("          - host: dömäne\n"), "line 7:", "not a host"},
		{"host too long", cluster("          - host: " + strings.Repeat("h", 256) + "\n"), "line 7:", "not a host"},
		{"port a word", cluster("          - {host: a, port: mysql}\n"), "line 7:", `port "mysql"`},
		{"port too high", cluster("          - {host: a, port: 65536}\n"), "line 7:", "65535"},
		{"datacenter too long", cluster("          - {host: a, datacenter: " + strings.Repeat("d", 65) + "}\n"), "line 7:", "longer than 64"},
		{"instance is a text", cluster("          - a:3306\n"), "line 7:", "mapping"},
		{"an alias of what contains it", "tiers: &t\n  udb: *t\n", "line 2:", "unknown key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.text))
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			if !strings.Contains(err.Error(), c.line) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q, want it to say %q and %q", err, c.line, c.says)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("tiers: &t\n  udb: *t\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		tiers, err := Parse(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, tier := range tiers {
			for _, i := range tier.Instances() {
				if i.Host == "" || i.Port < 1 || i.Port > 65535 || seen[i.String()] {
					t.Errorf("accepted the instance %+v", i)
				}
				seen[i.String()] = true
			}
		}
	})
}
