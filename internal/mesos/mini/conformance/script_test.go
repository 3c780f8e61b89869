package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// line is one line of an excerpt, with the indented lines under it.
type line struct {
	number  int
	verb    string
	args    []string
	headers []string
	body    string
}

func (l line) String() string {
	return fmt.Sprintf("line %d (%s %s)", l.number, l.verb, strings.Join(l.args, " "))
}

// readScript reads an excerpt.
func readScript(t *testing.T, name string) []line {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	expand := macros(t)
	var out []line
	for i, text := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		text = expand(text)
		switch {
		case strings.HasPrefix(text, "#") || text == "":
		case strings.HasPrefix(text, "  | "):
			last := &out[len(out)-1]
			if last.body != "" {
				last.body += "\n"
			}
			last.body += text[len("  | "):]
		case strings.HasPrefix(text, "  "):
			last := &out[len(out)-1]
			last.headers = append(last.headers, strings.TrimSpace(text))
		default:
			l := line{number: i + 1}
			var rest string
			l.verb, rest, _ = strings.Cut(text, " ")
			if l.verb == "event" {
				label, body, _ := strings.Cut(rest, " ")
				l.args, l.body = []string{label}, body
			} else {
				l.args = strings.Fields(rest)
			}
			out = append(out, l)
		}
	}
	return out
}

// macros expands what testdata/macros.txt abbreviates.
func macros(t *testing.T) func(string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "macros.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var pairs [][2]string
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		name, value, _ := strings.Cut(text, " ")
		pairs = append([][2]string{{name, value}}, pairs...)
	}
	return func(s string) string {
		for _, p := range pairs { // the last was made of the first
			s = strings.ReplaceAll(s, p[0], p[1])
		}
		return s
	}
}

var token = regexp.MustCompile(`\{\{[A-Za-z0-9]+\}\}`)

// bindings map tokens of an excerpt to what stands for them here.
type bindings map[string]string

// fill puts what is bound into text that is to be sent.
func (b bindings) fill(text string) string {
	// Numbers stand as quoted tokens, since the excerpt must be JSON.
	for _, number := range regexp.MustCompile(`"\{\{(port\d+|time|pid)\}\}"`).FindAllString(text, -1) {
		text = strings.ReplaceAll(text, number, b[strings.Trim(number, `"`)])
	}
	return token.ReplaceAllStringFunc(text, func(t string) string {
		if v, ok := b[t]; ok {
			return v
		}
		return t
	})
}

// anything are tokens that differ at each occurrence.
func anything(t string) bool { return t == "{{time}}" || t == "{{pid}}" }

// match compares a recorded string with one of ours, and binds what is new.
func (b bindings) match(recorded, ours string) error {
	if !strings.Contains(recorded, "{{") {
		if recorded != ours && !sameLists(recorded, ours) {
			return fmt.Errorf("recorded %q, ours %q", recorded, ours)
		}
		return nil
	}
	var pattern strings.Builder
	var names []string
	at := 0
	for _, loc := range token.FindAllStringIndex(recorded, -1) {
		name := recorded[loc[0]:loc[1]]
		pattern.WriteString(regexp.QuoteMeta(recorded[at:loc[0]]))
		if v, bound := b[name]; bound && !anything(name) {
			pattern.WriteString(regexp.QuoteMeta(v))
		} else {
			pattern.WriteString(`(.+?)`)
			names = append(names, name)
		}
		at = loc[1]
	}
	pattern.WriteString(regexp.QuoteMeta(recorded[at:]))
	got := regexp.MustCompile(`(?s)^` + pattern.String() + `$`).FindStringSubmatch(ours)
	if got == nil && sameLists(b.fill(recorded), ours) {
		return nil
	}
	if got == nil {
		return fmt.Errorf("recorded %q, ours %q", b.fill(recorded), ours)
	}
	for i, name := range names {
		if !anything(name) {
			b[name] = got[i+1]
		}
	}
	return nil
}

func (b bindings) clone() bindings {
	out := bindings{}
	for k, v := range b {
		out[k] = v
	}
	return out
}

// sameLists compares messages that list resources, which have no fixed order
// (rule 12).
func sameLists(a, b string) bool {
	return strings.Contains(a, "; ") && sortedLists(a) == sortedLists(b)
}

func sortedLists(s string) string {
	var out []string
	for _, part := range regexp.MustCompile(` does not contain | is more than available |Total resources | required by task`).Split(s, -1) {
		items := strings.Split(part, "; ")
		sort.Strings(items)
		out = append(out, strings.Join(items, "; "))
	}
	return strings.Join(out, " | ")
}
