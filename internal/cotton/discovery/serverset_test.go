package discovery_test

import (
	"reflect"
	"testing"

	"github.com/aosc/aosc/internal/cotton/discovery"
)

// TestServerSet: the bytes that the original's clients know, field for field.
func TestServerSet(t *testing.T) {
	shard := 0
	for want, e := range map[string]discovery.Endpoint{
		`{"serviceEndpoint":{"host":"h1","port":31000},"additionalEndpoints":{},"status":"ALIVE"}`:           {Host: "h1", Port: 31000},
		`{"serviceEndpoint":{"host":"h1","port":31000},"additionalEndpoints":{},"status":"ALIVE","shard":0}`: {Host: "h1", Port: 31000, Shard: &shard},
	} {
		got, err := discovery.EncodeServerSet(e)
		if err != nil || string(got) != want {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
		back, err := discovery.DecodeServerSet(got)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("decoded again: %+v, %v; want %+v", back, err, e)
		}
	}
	// As Python writes it.
	e, err := discovery.DecodeServerSet([]byte(`{"status": "ALIVE", "additionalEndpoints": {"aux": {"host": "h", "port": 1}}, "serviceEndpoint": {"host": "h2", "port": 3306}}`))
	if err != nil || e.Host != "h2" || e.Port != 3306 {
		t.Errorf("%+v, %v", e, err)
	}
	for _, bad := range []string{"", "null", "{}", `{"serviceEndpoint":{"host":"h"}}`, "garbage"} {
		if _, err := discovery.DecodeServerSet([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a member", bad)
		}
	}
}
