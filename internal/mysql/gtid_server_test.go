package mysql_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// The server is the judge of what a set is: what it refuses we refuse, what it takes we write as it does, except for
// what looks cut off, which it takes.
func TestParseGTIDSetAsTheServer(t *testing.T) {
	server := testkit.Server(t)
	for text, normal := range mysql.GTIDTexts() {
		if strings.Contains(text, "tag") && !server.Version().TaggedGTIDs() {
			continue
		}
		var theirs string
		err := server.DB().QueryRowContext(t.Context(), "SELECT GTID_SUBTRACT(?, '')", text).Scan(&theirs)
		if err != nil {
			if !mysql.IsNumber(err, mysql.ErrMalformedGTIDSet) {
				t.Fatal(err)
			}
			theirs = "!"
		}
		theirs = strings.ReplaceAll(theirs, "\n", "")
		if normal != theirs && (normal != "?" || theirs == "!") {
			t.Errorf("%q: the server reads %q, our table says %q", text, theirs, normal)
		}
	}
}

// randomGTIDs writes a set badly: out of order, overlapping, with tags in between.
func randomGTIDs(r *rand.Rand, tags bool) string {
	var parts []string
	for range r.IntN(7) {
		part := []string{"3e11fa47-71ca-11e1-9e33-c80aa9429562", "a0000000-0000-0000-0000-00000000000b"}[r.IntN(2)]
		for range 1 + r.IntN(4) {
			if tags && r.IntN(3) == 0 {
				part += ":" + []string{"x", "Y", "_z"}[r.IntN(3)]
			}
			first := 1 + r.IntN(40)
			part += ":" + strconv.Itoa(first)
			if r.IntN(2) == 0 {
				part += "-" + strconv.Itoa(first+r.IntN(12))
			}
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ",")
}

// Subtract and Contains are the server's GTID_SUBTRACT and GTID_SUBSET, on sets of every shape.
func TestGTIDAlgebraAsTheServer(t *testing.T) {
	server := testkit.Server(t)
	r := rand.New(rand.NewPCG(3, 4))
	for range 1500 {
		a, b := randomGTIDs(r, server.Version().TaggedGTIDs()), randomGTIDs(r, server.Version().TaggedGTIDs())
		var difference, union string
		var subset bool
		err := server.DB().QueryRowContext(t.Context(), "SELECT GTID_SUBTRACT(?, ?), GTID_SUBTRACT(CONCAT(?, ',', ?), ''), GTID_SUBSET(?, ?)",
			a, b, a, b, b, a).Scan(&difference, &union, &subset)
		if err != nil {
			t.Fatalf("%q and %q: %v", a, b, err)
		}
		setA, errA := mysql.ParseGTIDSet(a)
		setB, errB := mysql.ParseGTIDSet(b)
		if errA != nil || errB != nil {
			t.Fatalf("%q: %v, %q: %v", a, errA, b, errB)
		}
		if got := setA.Subtract(setB).String(); got != strings.ReplaceAll(difference, "\n", "") {
			t.Fatalf("%q less %q: %q, the server says %q", a, b, got, difference)
		}
		if got := setA.Union(setB).String(); got != strings.ReplaceAll(union, "\n", "") {
			t.Fatalf("%q and %q: %q, the server says %q", a, b, got, union)
		}
		if got := setA.Contains(setB); got != subset {
			t.Fatalf("%q in %q: %v, the server says %v", b, a, got, subset)
		}
	}
}
