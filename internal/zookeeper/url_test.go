package zookeeper_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/zookeeper"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]zookeeper.URL{
		"zk://h:2181/cotton":          {Servers: []string{"h:2181"}, Path: "/cotton"},
		"zk://a:1,b:2,c/x/y":          {Servers: []string{"a:1", "b:2", "c:2181"}, Path: "/x/y"},
		"zk://h:2181":                 {Servers: []string{"h:2181"}},
		"zk://h:2181/":                {Servers: []string{"h:2181"}},
		"zk://h/cotton/":              {Servers: []string{"h:2181"}, Path: "/cotton"},
		"zk://u:p@h:2181/cotton":      {Servers: []string{"h:2181"}, User: "u", Password: "p", Path: "/cotton"},
		"zk://u:p:q@r@h,i/cotton":     {Servers: []string{"h:2181", "i:2181"}, User: "u", Password: "p:q@r", Path: "/cotton"},
		"zk://u:@h/cotton":            {Servers: []string{"h:2181"}, User: "u", Path: "/cotton"},
		"zk://[::1]:2182,[fe80::1]/x": {Servers: []string{"[::1]:2182", "[fe80::1]:2181"}, Path: "/x"},
		// The original's lstrip("zk://") ate the z and the k of names like these.
		"zk://zookeeper1:2181/zk": {Servers: []string{"zookeeper1:2181"}, Path: "/zk"},
		"zk://kz:2181/k":          {Servers: []string{"kz:2181"}, Path: "/k"},
	} {
		got, err := zookeeper.ParseURL(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestParseURLRefuses: with a reason, and never showing the password.
func TestParseURLRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "want zk://",
		"h:2181/cotton":              "want zk://",
		"http://h:2181/cotton":       "want zk://",
		"zk:/h":                      "want zk://",
		"zk://":                      "host is empty",
		"zk:///cotton":               "host is empty",
		"zk://a,,b/x":                "host is empty",
		"zk://h:port/x":              "port",
		"zk://h:0/x":                 "port",
		"zk://h:65536/x":             "port",
		"zk://:2181/x":               "host:port",
		"zk://a:b:c/x":               "host:port",
		"zk://user@h/x":              "user:password",
		"zk://:hunter2@h/x":          "user:password",
		"zk://u:hunter2@h//x":        "empty, . or ..",
		"zk://u:hunter2@h/a/../b":    "empty, . or ..",
		"zk://u:hunter2@h/a\x00b":    "refuses",
		"zk://u:hunter2/slash@h/x/y": "slash",
	} {
		_, err := zookeeper.ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error with %q and without the password", text, err, want)
		}
	}
}

func TestURLString(t *testing.T) {
	u, err := zookeeper.ParseURL("zk://u:hunter2@a:1,b:2/cotton")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := u.String(), "zk://a:1,b:2/cotton"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := u.Join("discover", "c0"), "/cotton/discover/c0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (zookeeper.URL{}).Join(); got != "/" {
		t.Errorf("root: %s", got)
	}
}
