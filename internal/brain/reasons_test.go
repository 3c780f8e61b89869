package brain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
)

func plansOf(n int, host string, p osc.Plan) []osc.Plan {
	var plans []osc.Plan
	for i := range n {
		p.Target = osc.Target{Tier: "udb", Cluster: "udb-1", Addr: mysql.Addr{Host: host, Port: 3306}, Database: fmt.Sprintf("dbid%d", i+1), Table: "tabla1"}
		plans = append(plans, p)
	}
	return plans
}

func TestFold(t *testing.T) {
	file := schema.Desired{Tier: "udb", Table: "tabla1", Path: "schemas/udb/tabla1.sql"}
	dropped := osc.Plan{Findings: []schema.Finding{{Code: "drop_column", Column: "c", Detail: "its values are dropped"}},
		Refused: "loses data", Final: true,
		Facts: osc.Facts{Instant: true, Loses: []string{"drop_column c"}}}
	doubles := osc.Plan{Findings: []schema.Finding{{Code: "unique", Column: "u", Detail: "rows must be unique by a"}},
		Refused: "rows are in the way: unique u: rows must be unique by a", Final: true,
		Facts: osc.Facts{Instant: true, Loses: []string{"unique u: rows must be unique by a"},
			Blocks: []string{"unique u: rows must be unique by a"}}}
	noKey := osc.Plan{Refused: "the table has no usable unique key", Final: true}
	down := fmt.Errorf("cluster udb-2: %w", errors.New("connection refused"))
	cases := map[string]struct {
		found []finding
		kind  kind
		say   []string
		not   []string
	}{
		"everything fits":   {[]finding{{Cluster: "udb-1"}, {Cluster: "udb-2"}}, fits, nil, nil},
		"no cluster at all": {nil, fits, nil, nil},
		"no cluster has a database": {[]finding{{Cluster: "udb-1", None: true}, {Cluster: "udb-2", None: true}}, refused,
			[]string{`No cluster has a database of tier "udb"`, `"databases" in the inventory`}, []string{"cannot be made"}},
		"one cluster has none yet": {[]finding{{Cluster: "udb-1", None: true}, {Cluster: "udb-2"}}, fits, nil, nil},
		"I11: the one that may have some does not answer": {[]finding{{Cluster: "udb-1", None: true}, {Cluster: "udb-2", Err: down}}, waiting,
			[]string{"Waiting for"}, []string{"No cluster has"}},
		"one database would lose data": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1", dropped))}, {Cluster: "udb-2"}},
			refused,
			[]string{"The change would lose data: drop_column c: its values are dropped (dbid1 on db1:3306).", "set allow_unsafe=1 for udb/tabla1 in allowed_alters"}, []string{"cannot be made"}},
		"two hundred would": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(200, "db1", dropped))}}, refused,
			[]string{"dbid1 on db1:3306, dbid10 on db1:3306, dbid100 on db1:3306 and 197 more)"}, nil},
		"it may lose data, allow_unsafe is set": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(3, "db1",
			osc.Plan{Findings: dropped.Findings}))}}, fits, nil, nil},
		"a loss that no permission helps against": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1", doubles))}}, refused,
			[]string{"The change cannot be made: rows are in the way: unique u: rows must be unique by a (dbid1 on db1:3306)."}, []string{"allow_unsafe", "lose data"}},
		"it may lose data and cannot be made": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1",
			osc.Plan{Findings: dropped.Findings, Refused: noKey.Refused}))}}, refused, []string{"no usable unique key (dbid1 on db1:3306)"},
			[]string{"lose data"}},
		"here it would lose data, there it cannot be made": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1", dropped))},
			{Cluster: "udb-2", Obstacles: obstacles(plansOf(1, "db2", noKey))}}, refused,
			[]string{"The change cannot be made: the table has no usable unique key (dbid1 on db2:3306).",
				"Elsewhere it would lose data: drop_column c"},
			[]string{"allow_unsafe"}},
		"here it would lose data, there something passes by itself": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1",
			dropped))},
			{Cluster: "udb-2", Obstacles: obstacles(plansOf(1, "db2", osc.Plan{Refused: "disk space"}))}}, refused, []string{"set allow_unsafe=1",
			"disk space"}, nil},
		"it would lose data, and a copy cannot be made": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1",
			osc.Plan{Findings: dropped.Findings,
				Refused: "none can be made: triggers", Final: true, Facts: osc.Facts{Rows: 9, Loses: []string{"drop_column c"},
					NoCopy: "triggers"}}))}}, refused,
			[]string{"none can be made: triggers"}, []string{"allow_unsafe"}},
		"it cannot be made": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1", noKey))}}, refused,
			[]string{"The change cannot be made: the table has no usable unique key (dbid1 on db1:3306)."}, []string{"allow_unsafe"}},
		"the server refuses the text": {[]finding{{Cluster: "udb-1", Err: fmt.Errorf("materialise: %w", &schema.DDLError{Desired: file,
			Number: 1064, Err: errors.New("Error 1064: You have an error in your SQL syntax")})}}, refused,
			[]string{"schemas/udb/tabla1.sql cannot be used: MySQL refuses", "1064", "(cluster udb-1)", "Commit a corrected file."}, nil},
		"I11: a cluster does not answer": {[]finding{{Cluster: "udb-1"}, {Cluster: "udb-2", Err: down}}, waiting,
			[]string{"Waiting for", "connection refused (cluster udb-2)", "taken out of the inventory"}, []string{"lose", "cannot be made"}},
		"I11: a cluster took too long": {[]finding{{Cluster: "udb-1", Err: context.DeadlineExceeded}}, waiting, []string{"deadline"}, nil},
		"a refusal outweighs silence": {[]finding{{Cluster: "udb-1", Obstacles: obstacles(plansOf(1, "db1", dropped))}, {Cluster: "udb-2",
			Err: down}}, refused,
			[]string{"would lose data"}, []string{"Waiting"}},
		"many things at once": {[]finding{{Cluster: "udb-1", Obstacles: func() (all []obstacle) {
			for i := range 50 {
				all = append(all, obstacles(plansOf(1, "db1", osc.Plan{Refused: fmt.Sprintf("obstacle %02d of a very long kind ", i)}))...)
			}
			return all
		}()}}, refused, []string{"obstacle 00", "and 45 other things"}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := fold(tab, file, c.found)
			if v.Kind != c.kind || (v.Reason == "") != (c.kind == fits) {
				t.Fatalf("%v because %q, want %v", v.Kind, v.Reason, c.kind)
			}
			for _, part := range c.say {
				if !strings.Contains(v.Reason, part) {
					t.Errorf("%q does not say %q", v.Reason, part)
				}
			}
			for _, part := range c.not {
				if strings.Contains(v.Reason, part) {
					t.Errorf("%q says %q", v.Reason, part)
				}
			}
		})
	}
}

// A reason must read back from the table as it was written, or the brain would write it again in every pass.
func TestSentence(t *testing.T) {
	long := strings.Repeat("táblá ", 1000)
	for text, want := range map[string]int{"a\nb\t c": 5, long: maxReason, "bad \xff byte": 10} {
		got := sentence(text)
		if n := utf8.RuneCountInString(got); n != want || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\t") {
			t.Errorf("%d characters, want %d: %q", n, want, got)
		}
		if sentence(got) != got {
			t.Errorf("not stable: %q", got)
		}
	}
}
