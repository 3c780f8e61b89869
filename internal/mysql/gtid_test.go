package mysql

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

const (
	uuidA = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	uuidB = "a0000000-0000-0000-0000-00000000000b"
)

func mustGTIDs(t *testing.T, text string) GTIDSet {
	t.Helper()
	s, err := ParseGTIDSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// gtidTexts are sets as people and servers write them, with the server's normal form; "!" = refused, "?" = refused though
// the server takes it. gtid_server_test.go holds the same table against a real server.
var gtidTexts = []struct{ text, normal string }{
	{"", ""},
	{" \n", ""},
	{",", ""},
	{uuidA + ":1", uuidA + ":1"},
	{uuidA + ":1-1", uuidA + ":1"},
	{strings.ToUpper(uuidA) + ":1-5", uuidA + ":1-5"},
	{strings.ReplaceAll(uuidA, "-", "") + ":1-5", uuidA + ":1-5"},
	{"{" + uuidA + "}:1-5", uuidA + ":1-5"},
	{uuidA + ":1-5:6-9", uuidA + ":1-9"},
	{uuidA + ":6-9:1-4", uuidA + ":1-4:6-9"},
	{uuidA + ":1-5:3-7:20", uuidA + ":1-7:20"},
	{uuidA + ":5-3", ""},
	{uuidA + ":5-3:7", uuidA + ":7"},
	{uuidB + ":1," + uuidA + ":2", uuidA + ":2," + uuidB + ":1"},
	{uuidA + ":1," + uuidA + ":3", uuidA + ":1:3"},
	{" " + uuidA + " : 1 - 3 : 7 ,\n" + uuidB + ":1 ", uuidA + ":1-3:7," + uuidB + ":1"},
	{"," + uuidA + ":1,,", uuidA + ":1"},
	{uuidA + ":9223372036854775806", uuidA + ":9223372036854775806"},
	{uuidA + ":1-9223372036854775806", uuidA + ":1-9223372036854775806"},
	{uuidA + ":00012", uuidA + ":12"},
	// Tags, from 8.3 on.
	{uuidA + ":tag:1-3", uuidA + ":tag:1-3"},
	{uuidA + ":1-3:tag:1-3", uuidA + ":1-3:tag:1-3"},
	{uuidA + ":Tag_1:1-3:TAG_1:5", uuidA + ":tag_1:1-3:5"},
	{uuidA + ":zz:1:aa:2:7," + uuidA + ":4", uuidA + ":4:aa:2:7:zz:1"},
	{uuidA + ": tag : 1", uuidA + ":tag:1"},
	{uuidA + ":_:1", uuidA + ":_:1"},
	{uuidA + ":tag:3-2", ""},
	{uuidA + ":" + strings.Repeat("a", 32) + ":1", uuidA + ":" + strings.Repeat("a", 32) + ":1"},
	{uuidA + ":tag:1," + uuidB + ":tag:1", uuidA + ":tag:1," + uuidB + ":tag:1"},
	// Refused.
	{"x", "!"},
	{uuidA, "?"},
	{uuidA + ":", "!"},
	{uuidA + "::1", "!"},
	{uuidA + ":0", "!"},
	{uuidA + ":-1", "!"},
	{uuidA + ":1-", "!"},
	{uuidA + ":1-0", "?"},
	{uuidA + ":+1", "!"},
	{uuidA + ":1-2-3", "!"},
	{uuidA + ":1 2", "!"},
	{uuidA + ":1.5", "!"},
	{uuidA + ":9223372036854775807", "!"},
	{uuidA + ":99999999999999999999", "!"},
	{uuidA[1:] + ":1", "!"},
	{uuidA + "0:1", "!"},
	{"{" + uuidA + ":1", "!"},
	{strings.Replace(uuidA, "-", "", 1) + ":1", "!"},
	{uuidA + ":1;" + uuidB + ":1", "!"},
	{uuidA + ":1 " + uuidB + ":1", "!"},
	{uuidA + ":tag", "?"},
	{uuidA + ":1:tag", "?"},
	{uuidA + ":tag:tug:1", "?"},
	{uuidA + ":ta-g:1", "!"},
	{uuidA + ":täg:1", "?"},
	{uuidA + ":" + strings.Repeat("a", 33) + ":1", "!"},
}

func TestParseGTIDSet(t *testing.T) {
	for _, c := range gtidTexts {
		got := "!"
		s, err := ParseGTIDSet(c.text)
		if err == nil {
			got = s.String()
		}
		if got != strings.ReplaceAll(c.normal, "?", "!") {
			t.Errorf("%q read as %q (%v), want %q", c.text, got, err, c.normal)
		}
	}
}

func TestGTIDSetWithout(t *testing.T) {
	s := mustGTIDs(t, uuidA+":1-5:tag:1,"+uuidB+":1")
	if got := s.Without(strings.ToUpper(uuidA)).String(); got != uuidB+":1" {
		t.Errorf("got %s", got)
	}
	if got := s.Without("nobody"); !got.Equal(s) {
		t.Errorf("got %s", got)
	}
	if s.Without(uuidA).Without(uuidB).Empty() != true {
		t.Error("not empty without both")
	}
}

// model is a GTID set as a plain set of transactions: the slow truth that the intervals are held against.
type model map[string]bool

func randomGTIDs(r *rand.Rand) (GTIDSet, model) {
	m := model{}
	var parts []string
	for range r.IntN(6) {
		source := []string{uuidA, uuidB, uuidA + ":x", uuidB + ":y"}[r.IntN(4)]
		first := 2 + r.IntN(20) // "2-1" is a legal way to say nothing
		last := first + r.IntN(8) - 1
		parts = append(parts, source+":"+strconv.Itoa(first)+"-"+strconv.Itoa(last))
		for n := first; n <= last; n++ {
			m[source+"/"+strconv.Itoa(n)] = true
		}
	}
	s, err := ParseGTIDSet(strings.Join(parts, ","))
	if err != nil {
		panic(err)
	}
	return s, m
}

// modelOf expands a set's text back into single transactions.
func modelOf(t *testing.T, s GTIDSet) model {
	t.Helper()
	m := model{}
	for source, list := range s.sets {
		name := formatUUID(source.uuid)
		if source.tag != "" {
			name += ":" + source.tag
		}
		for i, iv := range list {
			if iv.first > iv.last || i > 0 && iv.first <= list[i-1].last+1 {
				t.Fatalf("%s: intervals not in normal form", s)
			}
			for n := iv.first; n <= iv.last; n++ {
				m[name+"/"+strconv.FormatInt(n, 10)] = true
			}
		}
	}
	return m
}

func TestGTIDSetAlgebra(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		a, ma := randomGTIDs(r)
		b, mb := randomGTIDs(r)
		textA, textB := a.String(), b.String()
		union, rest := model{}, model{}
		contains := true
		for g := range ma {
			union[g] = true
			if !mb[g] {
				rest[g] = true
			}
		}
		for g := range mb {
			union[g] = true
			contains = contains && ma[g]
		}
		equal := contains && len(ma) == len(mb)
		check := func(what string, got GTIDSet, want model) {
			t.Helper()
			m := modelOf(t, got)
			if len(m) != len(want) || got.Empty() != (len(want) == 0) {
				t.Fatalf("%s of %q and %q is %q", what, a, b, got)
			}
			for g := range want {
				if !m[g] {
					t.Fatalf("%s of %q and %q is %q, without %s", what, a, b, got, g)
				}
			}
			if again := mustGTIDs(t, got.String()); !again.Equal(got) {
				t.Fatalf("%q reads back as %q", got, again)
			}
		}
		check("union", a.Union(b), union)
		check("difference", a.Subtract(b), rest)
		if a.Contains(b) != contains || a.Equal(b) != equal {
			t.Fatalf("%q and %q: Contains %v, Equal %v, want %v, %v", a, b, a.Contains(b), a.Equal(b), contains, equal)
		}
		if a.String() != textA || b.String() != textB {
			t.Fatalf("an operation changed its operands: %q to %q, %q to %q", textA, a, textB, b)
		}
	}
}

func TestGTIDSetZeroValue(t *testing.T) {
	var zero GTIDSet
	s := mustGTIDs(t, uuidA+":1")
	if !zero.Empty() || zero.String() != "" || !zero.Union(s).Equal(s) || !s.Subtract(zero).Equal(s) || !s.Contains(zero) || zero.Contains(s) {
		t.Error("the zero value is not the empty set")
	}
}

func FuzzParseGTIDSet(f *testing.F) {
	for _, c := range gtidTexts {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseGTIDSet(text)
		if err != nil {
			return
		}
		if again, err := ParseGTIDSet(s.String()); err != nil || !again.Equal(s) {
			t.Errorf("%q is %q, which reads back as %q, %v", text, s, again, err)
		}
	})
}
