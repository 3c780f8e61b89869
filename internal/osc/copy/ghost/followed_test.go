package ghost

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/verify"
)

func TestCheckFollowed(t *testing.T) {
	f := good()
	f.Original.Columns[0].Generated = true
	refuses(t, checkFollowed, f, "") // it is not known what the copy will be
	f.Copied = &verify.Table{Columns: good().Original.Columns}
	refuses(t, checkFollowed, f, "column id is generated")
}

func TestFollowed(t *testing.T) {
	for _, c := range []struct {
		o, n    verify.Column
		zone    preflight.Zone
		refused string
	}{
		{verify.Column{DataType: "int", Type: "int"}, verify.Column{DataType: "bigint", Type: "bigint"}, preflight.Zone{}, ""},
		{verify.Column{DataType: "set", Type: "set('a','b')"}, verify.Column{DataType: "set", Type: "set('a','b','c')"}, preflight.Zone{}, ""},
		{verify.Column{DataType: "set", Type: "set('a','b')"}, verify.Column{DataType: "set", Type: "set('b','a')"}, preflight.Zone{}, "members"},
		{verify.Column{DataType: "set", Type: "set('a','b')"}, verify.Column{DataType: "varchar", Type: "varchar(9)"}, preflight.Zone{},
			"members"},
		{verify.Column{DataType: "int", Type: "int", Generated: true}, verify.Column{DataType: "int", Type: "int"}, preflight.Zone{},
			"generated"},
		{verify.Column{DataType: "int", Type: "int"}, verify.Column{DataType: "int", Type: "int", Generated: true}, preflight.Zone{}, ""},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "datetime", Type: "datetime"},
			preflight.Zone{Global: "SYSTEM", System: "UTC"}, ""},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "datetime", Type: "datetime"},
			preflight.Zone{Global: "SYSTEM", System: "CET"}, "time_zone"},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "datetime", Type: "datetime"},
			preflight.Zone{Global: "Europe/London", System: "UTC"}, "time_zone"},
		{verify.Column{DataType: "timestamp", Type: "timestamp"}, verify.Column{DataType: "timestamp", Type: "timestamp(6)"},
			preflight.Zone{Global: "CET", System: ""}, ""},
	} {
		c.o.Name, c.n.Name = "c", "c"
		got := followed(verify.Table{Columns: []verify.Column{c.o}}, verify.Table{Columns: []verify.Column{c.n}}, c.zone)
		if (got == "") != (c.refused == "") || !strings.Contains(got, c.refused) {
			t.Errorf("%s to %s in %v: %q, want one with %q", c.o.Type, c.n.Type, c.zone, got, c.refused)
		}
	}
}
