package permit

import (
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		window, at string
		want       bool
	}{
		{"", "2026-03-04T12:00:00Z", true},
		// In winter Madrid is an hour before UTC.
		{"Mon-Fri 02:00-05:00 Europe/Madrid", "2026-03-04T00:59:59Z", false},
		{"Mon-Fri 02:00-05:00 Europe/Madrid", "2026-03-04T01:00:00Z", true},
		{"Mon-Fri 02:00-05:00 Europe/Madrid", "2026-03-04T03:59:59Z", true},
		{"Mon-Fri 02:00-05:00 Europe/Madrid", "2026-03-04T04:00:00Z", false},
		{"Mon-Fri 02:00-05:00 Europe/Madrid", "2026-03-07T02:00:00Z", false}, // Saturday
		{"Mon-Fri 02:00-05:00 Europe/Madrid", "2026-07-01T00:30:00Z", true},  // in summer two
		{"mon-fri 02:00-05:00 Europe/Madrid", "2026-03-04T02:00:00Z", true},
		{"Saturday,Sun 22:00-04:00 UTC", "2026-03-07T23:00:00Z", true},
		{"Sat,Sun 22:00-04:00 UTC", "2026-03-09T03:59:00Z", true},  // Monday, the end of Sunday's
		{"Sat,Sun 22:00-04:00 UTC", "2026-03-07T03:00:00Z", false}, // Saturday: Friday's does not open
		{"Sat,Sun 22:00-04:00 UTC", "2026-03-09T22:30:00Z", false},
		{"Fri-Mon 00:00-24:00 UTC", "2026-03-08T12:00:00Z", true},
		{"Fri-Mon 00:00-24:00 UTC", "2026-03-10T00:00:00Z", false},
		{"02:00-05:00 UTC", "2026-03-07T02:30:00Z", true},
		{" 02:00-05:00   UTC ", "2026-03-07T05:30:00Z", false},
		// The hour from two to three is not there on 29 March.
		{"02:00-03:00 Europe/Madrid", "2026-03-29T00:59:59Z", false},
		{"02:00-03:00 Europe/Madrid", "2026-03-29T01:00:00Z", false},
	} {
		w, err := ParseWindow(c.window)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Open(moment(t, c.at)); got != c.want {
			t.Errorf("%q at %s: %v", c.window, c.at, got)
		}
	}
	for _, bad := range []string{"nights", "02:00-05:00", "Mon 02:00 UTC", "Mon-Fry 02:00-05:00 UTC", "Mon 02:00-25:00 UTC",
		"Mon 02:00-02:00 UTC",
		"Mon 02:00-05:00 Mars/Olympus", "Mon 02:00-05:00 Local", "Mon 24:00-05:00 UTC", "Mon 2-5 UTC"} {
		if w, err := ParseWindow(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, w)
		}
	}
}

func TestGate(t *testing.T) {
	night, day := moment(t, "2026-03-04T03:00:00Z"), moment(t, "2026-03-04T12:00:00Z")
	for _, c := range []struct {
		name               string
		at                 time.Time
		word, allowed, win string
		says               string // "" = open
	}{
		{"nothing said", day, "AUTO", "auto", "", ""},
		{"an instance that has no such column", day, "", "auto", "", ""},
		{"manual", day, "AUTO", "manual", "", "aosc cutover udb t"},
		{"manual, GO", day, "GO", "manual", "", ""},
		{"WAIT", day, "WAIT", "auto", "", "WAIT"},
		{"in the window", night, "AUTO", "auto", "02:00-05:00 UTC", ""},
		{"out of it", day, "AUTO", "auto", "02:00-05:00 UTC", "closed"},
		{"out of it, GO", day, "GO", "auto", "02:00-05:00 UTC", ""},
		{"manual in the window", night, "AUTO", "manual", "02:00-05:00 UTC", "manual"},
		{"a window nobody understands", night, "AUTO", "auto", "at night", "cannot be understood"},
	} {
		got := Gate(c.at, c.word, &aoscdb.AllowedAlter{Group: "udb", Table: "t", CutOver: c.allowed}, aoscdb.Tier{Group: "udb",
			CutOverWindow: c.win})
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if got := Gate(day, "AUTO", nil, aoscdb.Tier{Group: "udb"}); got != "" { // permission is Judge's matter
		t.Errorf("revoked: %q", got)
	}
}
