package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/doctor"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

// planGroup are the databases of a tier, on all its instances, in which the same would be done to a table.
type planGroup struct {
	engine             osc.Engine
	sql, loss, refused string
	databases          []string // "db17 on db1:3306"
	instances          map[mysql.Addr]bool
	rows, bytes        uint64
	largest            string
	largestBytes       uint64
	refusals           int // different wordings of refused
}

// figures are numbers in a reason that differ from database to database.
var figures = regexp.MustCompile(`\d+(\.\d+)? ?(rows|[KMGT]?i?B\b)|at least \d+`)

// groupPlans puts alike plans together: those of one engine, one ALTER, one loss and one reason, less what a reason says of one database
// alone. What has something to do comes first, the most databases first.
func groupPlans(plans []osc.Plan) []*planGroup {
	known := map[[4]string]*planGroup{}
	var out []*planGroup
	for _, p := range plans {
		reason := strings.ReplaceAll(p.Refused, mysql.QuoteIdent(p.Database), "`<database>`")
		key := [4]string{string(p.Engine), statementOf(p), findings(p), figures.ReplaceAllString(reason, "n")}
		g := known[key]
		if g == nil {
			g = &planGroup{engine: p.Engine, sql: key[1], loss: key[2], refused: reason, instances: map[mysql.Addr]bool{}}
			known[key], out = g, append(out, g)
		}
		if g.refused != reason {
			g.refusals++
		}
		where := fmt.Sprintf("%s on %s", p.Database, p.Addr)
		g.databases = append(g.databases, where)
		g.instances[p.Addr] = true
		g.rows += p.Rows
		g.bytes += p.Bytes
		if g.largest == "" || p.Bytes > g.largestBytes {
			g.largest, g.largestBytes = where, p.Bytes
		}
	}
	slices.SortStableFunc(out, func(a, b *planGroup) int {
		if (a.engine == osc.EngineNone) != (b.engine == osc.EngineNone) {
			return map[bool]int{true: 1, false: -1}[a.engine == osc.EngineNone]
		}
		return len(b.databases) - len(a.databases)
	})
	return out
}

// statementOf is what would be run, without the name of the database.
func statementOf(p osc.Plan) string {
	return strings.ReplaceAll(p.SQL, mysql.QuoteIdent(p.Database)+".", "")
}

func findings(p osc.Plan) string {
	var out []string
	for _, f := range p.Findings {
		out = append(out, f.String())
	}
	return strings.Join(out, "; ")
}

// printPlans prints a few lines however many databases there are: one group after the other, with what is done and how much it is.
func printPlans(out io.Writer, plans []osc.Plan) {
	if len(plans) == 0 {
		fmt.Fprintln(out, "  no database of the tier was found")
	}
	for _, g := range groupPlans(plans) {
		what := string(g.engine)
		if g.engine == osc.EngineNone && g.refused == "" {
			what = "nothing to do"
		}
		fmt.Fprintf(out, "  %s: %s", g.where(), what)
		if g.engine != osc.EngineNone && g.engine != osc.EngineCreate {
			fmt.Fprintf(out, ", %s rows, %s", thousands(g.rows), bytesText(g.bytes))
			if len(g.databases) > 1 {
				fmt.Fprintf(out, ", largest %s (%s)", g.largest, bytesText(g.largestBytes))
			}
		}
		fmt.Fprintln(out)
		if g.sql != "" {
			fmt.Fprintf(out, "    %s\n", strings.ReplaceAll(g.sql, "\n", "\n    "))
		}
		if g.loss != "" {
			fmt.Fprintf(out, "    loses data: %s\n", g.loss)
		}
		if g.refused != "" {
			fmt.Fprintf(out, "    refused: %s\n", g.refused)
			if g.refusals > 0 {
				fmt.Fprintf(out, "    (and %d more that differ only in figures)\n", g.refusals)
			}
		}
	}
}

// maxNamed is how many databases are named one by one.
const maxNamed = 3

func (g *planGroup) where() string {
	if len(g.databases) <= maxNamed {
		return strings.Join(g.databases, ", ")
	}
	instances := fmt.Sprintf("%d instances", len(g.instances))
	if len(g.instances) == 1 {
		instances = "1 instance"
	}
	return fmt.Sprintf("%d databases on %s", len(g.databases), instances)
}

// thousands prints a number with a comma between groups of three digits.
func thousands(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// sayTier says what keeps a tier from working at all, whatever the plan.
func sayTier(out io.Writer, t aoscdb.Tier, views []fleet.ClusterView) {
	var members []fleet.Observed
	for _, v := range views {
		members = append(members, v.Members...)
	}
	if what, mend := doctor.Sealed(t, members); what != "" {
		fmt.Fprintf(out, "note: %s\n  mend: %s\n", what, mend)
	}
}
