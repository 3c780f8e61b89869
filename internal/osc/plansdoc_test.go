package osc

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema/pairs"
)

// The two sizes of a table: copied, and small enough for a plain ALTER.
const (
	large = "large"
	small = "small"
)

// plansDoc is docs/plans.md: what TestPairs found on a real server.
type plansDoc struct {
	mu    sync.Mutex
	found map[string]map[string]made // by name of the pair and size
}

func newPlansDoc() *plansDoc { return &plansDoc{found: map[string]map[string]made{}} }

func (d *plansDoc) add(p pairs.Pair, size string, m made) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found[p.Name] == nil {
		d.found[p.Name] = map[string]made{}
	}
	d.found[p.Name][size] = m
}

const plansPath = "../../docs/plans.md"

// updateDocs is the variable with which the document is written anew in place of being held against the run:
//
//	AOSC_UPDATE_DOCS=1 go test ./internal/osc -run TestPairs
const updateDocs = "AOSC_UPDATE_DOCS"

// hold fails the test unless the document says what was found. It is of MySQL 9.7: others need a dearer way here and there.
func (d *plansDoc) hold(t *testing.T, v mysql.Version) {
	t.Helper()
	if !slices.Equal([]int{v.Major, v.Minor}, []int{9, 7}) {
		t.Logf("MySQL %s: %s is of 9.7 and not compared", v, plansPath)
		return
	}
	text := d.text()
	if os.Getenv(updateDocs) != "" {
		if err := os.WriteFile(plansPath, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(plansPath)
	if err != nil {
		t.Fatal(err)
	}
	have, want := strings.Split(string(written), "\n"), strings.Split(text, "\n")
	for i := range max(len(have), len(want)) {
		a, b := line(have, i), line(want, i)
		if a != b {
			t.Fatalf("%s line %d is not what was found (%s=1 writes it anew):\n%s\nfound:\n%s", plansPath, i+1, updateDocs, a, b)
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(none)"
}

const plansHead = `# Plans

What is done for which change. Every line was executed on MySQL 9.7 with rows in the table, and the result read back
from the server; TestPairs of internal/osc does so at every run and fails when this page says anything else. The pairs,
with their rows, are in internal/schema/pairs.

- *Class*: the cheapest way in which MySQL itself can make the change: nothing, instant, inplace (nothing rebuilt), rebuild,
  copy, none. Then what would lose data: ` + "`code`" + ` where it did with the rows of the test and was allowed by
  ` + "`allow_unsafe`" + `, (code) where it was looked for and the rows were fine.
- *Small*: the engine for a table of at most ` + "`direct_max_rows`" + ` rows. *Large*: that for a larger one.
- *Read back*: the definition that the server prints afterwards, in normal form, is the desired one: "as desired". A refused
  plan leaves the table alone, with the reason on HOLD.

| Pair | ALTER TABLE | Class | Small | Large | Read back |
|---|---|---|---|---|---|
`

func (d *plansDoc) text() string {
	var b strings.Builder
	b.WriteString(plansHead)
	engines := map[Engine]int{}
	for _, p := range pairs.All() {
		s, l := d.found[p.Name][small], d.found[p.Name][large]
		engines[l.Engine]++
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", cell(p.Name), code(s.Plan.Change.Clauses), class(p), s.Engine, l.Engine, outcome(s, l))
	}
	fmt.Fprintf(&b, "\n%d pairs; of the large tables", len(pairs.All()))
	for i, e := range []Engine{EngineNone, EngineInstant, EngineInplace, EngineGhost, refusedEngine} {
		fmt.Fprintf(&b, "%s %d by %s", map[bool]string{true: "", false: ","}[i == 0], engines[e], e)
	}
	b.WriteString(".\n")
	return b.String()
}

func class(p pairs.Pair) string {
	words := []string{string(p.Way)}
	for _, f := range slices.Compact(slices.Clone(p.Findings)) {
		if slices.Contains(p.Real, f) {
			words = append(words, "`"+f+"`")
		} else {
			words = append(words, "("+f+")")
		}
	}
	return strings.Join(words, " ")
}

func outcome(s, l made) string {
	switch {
	case s.Reason == "" && l.Reason == "":
		return "as desired"
	case s.Reason == "":
		return "small: as desired; large: " + cell(l.Reason)
	case l.Reason == "":
		return "large: as desired; small: " + cell(s.Reason)
	}
	return cell(l.Reason)
}

// maxCell keeps the table readable.
const maxCell = 160

// volatile are parts of a reason that differ from run to run: databases, addresses, numbers of rows.
var volatile = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile("`?tk[0-9]+`?"), "db"},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "the instance"},
	{regexp.MustCompile(` \([0-9]+ rows, direct_max_rows is [0-9]+\)`), ""}, // an estimate
	{regexp.MustCompile(`aosc_scratch_[0-9a-z_]+`), "scratch"},
}

func cell(text string) string {
	for _, v := range volatile {
		text = v.re.ReplaceAllString(text, v.by)
	}
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > maxCell {
		text = string(r[:maxCell]) + "..."
	}
	return strings.NewReplacer("|", "\\|").Replace(text)
}

func code(text string) string {
	if text == "" {
		return ""
	}
	fence := "`"
	if strings.Contains(text, "`") {
		fence = "``"
	}
	return fence + " " + cell(text) + " " + fence
}
