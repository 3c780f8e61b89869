package resources

import (
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func reserved(r Resource, role string) Resource {
	principal := "p"
	value := "c1"
	r.Reservations = append(append([]Reservation(nil), r.Reservations...),
		Reservation{Dynamic: true, Role: role, Principal: &principal, Labels: []Label{{Key: "cluster", Value: &value}}})
	return r
}

func withVolume(r Resource, id string) Resource {
	r.Volume = &Volume{ID: id, ContainerPath: "data"}
	return r
}

func TestPlusMinus(t *testing.T) {
	disk := NewScalar("disk", 512)
	for name, c := range map[string]struct {
		have, take List
		rest       string // empty when have does not hold take
	}{
		"scalar":                   {List{NewScalar("cpus", 4)}, List{NewScalar("cpus", 0.1)}, "cpus:3.9"},
		"tenths leave no rest":     {List{}.Plus(NewScalar("cpus", 0.1), NewScalar("cpus", 0.2)), List{NewScalar("cpus", 0.3)}, "none"},
		"too much":                 {List{NewScalar("cpus", 4)}, List{NewScalar("cpus", 4.001)}, ""},
		"other name":               {List{NewScalar("cpus", 4)}, List{NewScalar("mem", 1)}, ""},
		"port in the middle":       {List{NewRanges("ports", Range{1, 9})}, List{NewRanges("ports", Range{5, 5})}, "ports:[1-4, 6-9]"},
		"ports that are no more":   {List{NewRanges("ports", Range{1, 4}, Range{6, 9})}, List{NewRanges("ports", Range{4, 6})}, ""},
		"ports touch and join":     {List{}.Plus(NewRanges("ports", Range{1, 4}), NewRanges("ports", Range{5, 9})), List{NewRanges("ports", Range{4, 5})}, "ports:[1-3, 6-9]"},
		"reserved is other":        {List{NewScalar("cpus", 4)}, List{reserved(NewScalar("cpus", 1), "demo")}, ""},
		"reserved for another":     {List{reserved(NewScalar("cpus", 4), "a")}, List{reserved(NewScalar("cpus", 1), "b")}, ""},
		"reserved":                 {List{NewScalar("cpus", 1), reserved(NewScalar("cpus", 4), "a")}, List{reserved(NewScalar("cpus", 4), "a")}, "cpus:1"},
		"a volume is one thing":    {List{withVolume(reserved(disk, "a"), "v")}, List{withVolume(reserved(NewScalar("disk", 100), "a"), "v")}, ""},
		"a volume is not its disk": {List{withVolume(reserved(disk, "a"), "v")}, List{reserved(disk, "a")}, ""},
		"volumes do not merge":     {List{}.Plus(withVolume(disk, "v"), withVolume(disk, "v")), List{withVolume(disk, "v")}, "disk[v:data]:512"},
		"set":                      {List{{Name: "zones", Kind: Set, Items: []string{"a", "b"}}}, List{{Name: "zones", Kind: Set, Items: []string{"a"}}}, "zones:{b}"},
		"set without the item":     {List{{Name: "zones", Kind: Set, Items: []string{"a", "b"}}}, List{{Name: "zones", Kind: Set, Items: []string{"c"}}}, ""},
		"both of two must fit":     {List{NewScalar("cpus", 1)}, List{NewScalar("cpus", 0.6), NewScalar("cpus", 0.6)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.have.Text("")
			rest, ok := c.have.Minus(c.take...)
			want := c.rest
			if want == "none" {
				want = ""
			}
			if ok != (c.rest != "") || ok && rest.Text("") != want {
				t.Errorf("%s without %s is %q, %t; want %q", before, c.take.Text(""), rest.Text(""), ok, c.rest)
			}
			if after := c.have.Text(""); after != before {
				t.Errorf("arithmetic changed its operand from %s to %s", before, after)
			}
			if ok {
				if back := rest.Plus(c.take...); !back.Contains(c.have...) || !c.have.Contains(back...) {
					t.Errorf("put together again it is %s, not %s", back.Text(""), before)
				}
			}
		})
	}
}

func TestCommon(t *testing.T) {
	volume := withVolume(reserved(NewScalar("disk", 512), "a"), "v")
	for name, c := range map[string]struct {
		a, b List
		want string
	}{
		"less of the one":     {List{NewScalar("cpus", 4)}, List{NewScalar("cpus", 2.4)}, "cpus:2.4"},
		"less of the other":   {List{NewScalar("cpus", 1)}, List{NewScalar("cpus", 2.4)}, "cpus:1"},
		"not what is alike":   {List{NewScalar("cpus", 1), reserved(NewScalar("cpus", 1), "a")}, List{NewScalar("cpus", 2)}, "cpus:1"},
		"ports":               {List{NewRanges("ports", Range{1, 9})}, List{NewRanges("ports", Range{3, 4}, Range{8, 12})}, "ports:[3-4, 8-9]"},
		"items":               {List{{Name: "zones", Kind: Set, Items: []string{"a", "b"}}}, List{{Name: "zones", Kind: Set, Items: []string{"b", "c"}}}, "zones:{b}"},
		"a volume":            {List{volume}, List{volume}, volume.Text("")},
		"a volume and a disk": {List{volume}, List{volume.WithoutVolume()}, ""},
		"nothing":             {List{NewScalar("cpus", 1)}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.a.Text("") + c.b.Text("")
			if got := c.a.Common(c.b).Text(""); got != c.want {
				t.Errorf("common is %q, want %q", got, c.want)
			}
			if after := c.a.Text("") + c.b.Text(""); after != before {
				t.Errorf("arithmetic changed its operands from %s to %s", before, after)
			}
		})
	}
}

func TestProtoRoundTrip(t *testing.T) {
	list := List{}.Plus(NewScalar("cpus", 1.5), NewRanges("ports", Range{31000, 31099}), reserved(NewScalar("mem", 256), "a/b"),
		withVolume(reserved(NewScalar("disk", 64), "a"), "v"), Resource{Name: "zones", Kind: Set, Items: []string{"x"}})
	for _, format := range []Format{Refined, Operator, PreRefinement} {
		back, err := FromProto(list.ToProto("demo", format))
		if err != nil {
			t.Fatal(err)
		}
		if back.Text("") != list.Text("") {
			t.Errorf("format %d gives\n%s\nof\n%s", format, back.Text(""), list.Text(""))
		}
	}
}

func TestFromProtoRefuses(t *testing.T) {
	scalar := mesos.SCALAR
	for name, r := range map[string]mesos.Resource{
		"no type":   {Name: "cpus"},
		"no value":  {Name: "cpus", Type: &scalar},
		"negative":  {Name: "cpus", Type: &scalar, Scalar: &mesos.Value_Scalar{Value: -1}},
		"revocable": {Name: "cpus", Type: &scalar, Scalar: &mesos.Value_Scalar{Value: 1}, Revocable: &mesos.Resource_RevocableInfo{}},
	} {
		if list, err := FromProto([]mesos.Resource{r}); err == nil {
			t.Errorf("%s: taken as %s", name, list.Text(""))
		}
	}
}

func TestParsePorts(t *testing.T) {
	for in, want := range map[string]string{
		"31000-31099": "ports:[31000-31099]", "80,443": "ports:[80-80, 443-443]", "1-3, 4-6": "ports:[1-6]",
		"": "", "9-1": "", "x": "", "70000": "",
	} {
		rr, err := ParsePorts(in)
		if (err == nil) != (want != "") || err == nil && NewRanges("ports", rr...).Text("") != want {
			t.Errorf("%q gives %v, %v; want %q", in, rr, err, want)
		}
	}
}
