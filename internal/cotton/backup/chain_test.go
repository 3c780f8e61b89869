package backup

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

const ua, ub = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb"

// short writes sets as a:1-5,b:2.
func short(text string) string {
	return strings.NewReplacer("a:", ua+":", "b:", ub+":").Replace(text)
}

func set(t *testing.T, text string) mysql.GTIDSet {
	t.Helper()
	s, err := mysql.ParseGTIDSet(short(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

// archived is a log that begins and ends so many minutes after noon.
func archived(name, previous, gtids string, from, to int) Log {
	return Log{Format: Format, Name: name, Cluster: "c0", Origin: "o", Previous: short(previous), GTIDs: short(gtids), FirstAt: minute(from), LastAt: minute(to), Size: 1, SHA256: "x"}
}

func names(logs []Log) string {
	var all []string
	for _, l := range logs {
		all = append(all, l.Name)
	}
	return strings.Join(all, " ")
}

func TestChain(t *testing.T) {
	other := archived("other", "", "b:1-9", 0, 1)
	other.Origin = "another cluster of the name"
	for _, c := range []struct {
		what, from    string
		logs          []Log
		want, covered string
	}{
		{"nothing", "a:1-5", nil, "", "a:1-5"},
		{"one after the other, whatever their order", "a:1-5", []Log{archived("2", "a:1-8", "a:9-12", 2, 3), archived("1", "a:1-3", "a:4-8", 0, 1)}, "1 2", "a:1-12"},
		{"what the copy has is left out", "a:1-8", []Log{archived("1", "a:1-3", "a:4-8", 0, 1), archived("2", "a:1-8", "a:9", 2, 2)}, "2", "a:1-9"},
		{"two members archived the same", "a:1-5", []Log{archived("1", "a:1-5", "a:6-9", 0, 1), archived("2", "a:1-4", "a:5-8", 0, 1), archived("3", "a:1-8", "a:9-11", 1, 2)},
			"1 3", "a:1-11"},
		{"they overlap", "a:1-5", []Log{archived("2", "a:1-4", "a:5-8", 0, 1), archived("1", "a:1-5", "a:6-9", 1, 2)}, "2 1", "a:1-9"},
		{"a gap", "a:1-5", []Log{archived("1", "a:1-6", "a:7-9", 0, 1)}, "", "a:1-5"},
		{"a gap that somebody else fills", "a:1-5", []Log{archived("2", "a:1-6", "a:7-9", 1, 2), archived("1", "a:1-4", "a:5-6", 1, 1)}, "1 2", "a:1-9"},
		{"after a failover another numbers", "a:1-5", []Log{archived("1", "a:1-5", "a:6-7", 0, 1), archived("2", "a:1-6", "a:7,b:1-3", 1, 2)}, "1 2", "a:1-7,b:1-3"},
		{"a lost primary's own: all that came instead is another history", "a:1-5", []Log{archived("lost", "a:1-5", "a:6-7", 0, 1), archived("new", "a:1-6", "b:1-3", 1, 2)},
			"lost", "a:1-7"},
		{"a copy made after that is no part of the lost history", "a:1-6,b:1", []Log{archived("lost", "a:1-5", "a:6-7", 0, 1), archived("new", "a:1-6", "b:1-3", 1, 2)},
			"new", "a:1-6,b:1-3"},
		{"another cluster of that name", "a:1-5", []Log{other}, "", "a:1-5"},
	} {
		got, err := ChainFrom("o", set(t, c.from), c.logs)
		if err != nil || names(got.Logs) != c.want || !got.Covered.Equal(set(t, c.covered)) {
			t.Errorf("%s: %q to %s, want %q to %s (%v)", c.what, names(got.Logs), got.Covered, c.want, c.covered, err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "latest": "latest", "2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+01:00": "2026-01-02T02:04:05.5Z", ua + ":7": ua + ":7",
	} {
		if got, err := ParseTarget(text); err != nil || got.String() != want || got.CopyOnly() != (text == "") {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "2026-01-02 03:04:05", ua, ua + ":9-3", " "} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestPlan: the logs, and where the last is left, for every kind of target; and the targets that cannot be reached.
func TestPlan(t *testing.T) {
	m := Manifest{Origin: "o", GTIDsFrom: short("a:1-4"), GTIDsTo: short("a:1-6"), CopiedAt: noon}
	copied := set(t, "a:1-5")
	logs := []Log{archived("1", "a:1-3", "a:4-8", -1, 4), archived("2", "a:1-8", "a:9-12", 5, 8), archived("3", "a:1-12", "b:1-3", 9, 11)}
	// In the logs each transaction is committed a minute after the one before: a:4 at -1, a:5 at 0, ... b:3 at 11.
	contents := map[string][]Transaction{}
	at := -1
	for name, list := range map[string][]string{"1": {"a:4", "a:5", "a:6", "a:7", "a:8"}} {
		for _, g := range list {
			contents[name] = append(contents[name], transaction(g, at))
			at++
		}
	}
	for i, g := range []string{"a:9", "a:10", "a:11", "a:12"} {
		contents["2"] = append(contents["2"], transaction(g, 5+i))
	}
	for i, g := range []string{"b:1", "b:2", "b:3"} {
		contents["3"] = append(contents["3"], transaction(g, 9+i))
	}
	open := func(l Log) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(encode(contents[l.Name])))), nil
	}
	for _, c := range []struct {
		target, logs, until string
		before              bool
		least, most         string
	}{
		{"", "", "", false, "a:1-5", "a:1-5"},
		{"latest", "1 2 3", "a:6-12,b:1-3", false, "a:1-12,b:1-3", "a:1-12,b:1-3"},
		{"a:7", "1", "a:7", false, "a:1-5,a:7", "a:1-8"},
		{"a:1-8", "1", "a:6-8", false, "a:1-8", "a:1-8"},
		{"a:1-9", "1 2", "a:6-9", false, "a:1-9", "a:1-12"},
		{"b:2", "1 2 3", "b:2", false, "a:1-5,b:2", "a:1-12,b:1-3"},
		{"a:1-5", "", "", false, "a:1-5", "a:1-5"},
		{"a:5", "", "", false, "a:1-5", "a:1-5"},
		{minute(6).Format(time.RFC3339), "1 2", "a:11", true, "a:1-10", "a:1-10"},
		{minute(8).Format(time.RFC3339), "1 2 3", "b:1", true, "a:1-12", "a:1-12"},
		{minute(0).Format(time.RFC3339), "", "a:6", true, "a:1-5", "a:1-5"},
	} {
		target, err := ParseTarget(short(c.target))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Plan(m, copied, logs, target, open)
		if err != nil || names(r.Logs) != c.logs || r.Before != c.before || !r.Until.Equal(set(t, c.until)) || !r.Least.Equal(set(t, c.least)) || !r.Most.Equal(set(t, c.most)) {
			t.Errorf("to %q: logs %q until %s (before: %v), between %s and %s; %v", c.target, names(r.Logs), r.Until, r.Before, r.Least, r.Most, err)
		}
		if err := Check(m, logs, target); err != nil {
			t.Errorf("to %q: refused before: %v", c.target, err)
		}
	}
	for target, says := range map[string]string{
		"a:3": "older backup", "a:1-3": "older backup", "a:1-13": "archive ends before it", "b:4": "archive ends before it", "c:1": "archive ends before it",
		minute(-1).Format(time.RFC3339): "older backup", minute(11).Format(time.RFC3339): "may be missing", minute(99).Format(time.RFC3339): "may be missing",
	} {
		parsed, err := ParseTarget(strings.ReplaceAll(short(target), "c:", "cccccccc-cccc-cccc-cccc-cccccccccccc:"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Plan(m, copied, logs, parsed, open); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), says) {
			t.Errorf("to %q: %v, want %q", target, err, says)
		}
		if err := Check(m, logs, parsed); !errors.Is(err, ErrUnreachable) {
			t.Errorf("to %q: not refused before: %v", target, err)
		}
	}
}

func transaction(gtid string, at int) Transaction {
	source, number, _ := strings.Cut(short(gtid), ":")
	t := Transaction{Source: source, At: minute(at)}
	_, _ = fmt.Sscan(number, &t.Number)
	return t
}
