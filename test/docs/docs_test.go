// Package docs holds the pages of this repository against what is there: tests that are named exist, links lead somewhere.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// pages are all Markdown files of the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	walk(t, func(path string) {
		if strings.HasSuffix(path, ".md") {
			found[path] = read(t, path)
		}
	})
	if len(found) < 10 {
		t.Fatalf("only %d pages found", len(found))
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// walk calls f for every file that is the project's own.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if e.IsDir() && (rel == ".git" || rel == ".tools" || rel == "bin" || rel == "wt") {
			return filepath.SkipDir
		}
		if !e.IsDir() {
			f(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	testName     = regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)[A-Z]\w*`)
)

// TestNamedTestsExist: a page that says which test shows something names one that is there. What the history of releases says was true
// of that release.
func TestNamedTestsExist(t *testing.T) {
	have := map[string]bool{}
	walk(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunction.FindAllStringSubmatch(read(t, path), -1) {
				have[m[1]] = true
			}
		}
	})
	named := 0
	for path, text := range pages(t) {
		if path == "CHANGELOG.md" {
			continue
		}
		for _, name := range testName.FindAllString(text, -1) {
			named++
			if !have[name] && name != "TestMain" {
				t.Errorf("%s names %s, and there is no such test", path, name)
			}
		}
	}
	if named == 0 {
		t.Error("no page names a test: the pattern is wrong")
	}
}

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code    = regexp.MustCompile("``[^\n]+?``|`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	header  = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are what the headers of a page can be linked by.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range header.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		found[strings.ReplaceAll(strings.ToLower(dropped.ReplaceAllString(m[1], "")), " ", "-")] = true
	}
	return found
}

// TestLinksLeadSomewhere: every link within the repository leads to a file, and to a header of it.
func TestLinksLeadSomewhere(t *testing.T) {
	all, links := pages(t), 0
	for path, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(fenced.ReplaceAllString(text, ""), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			to, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if to != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(path), to))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			} else if anchor != "" && !anchors(all[target])[anchor] {
				t.Errorf("%s links to %s, and %s has no such header", path, m[1], target)
			}
		}
	}
	if links == 0 {
		t.Error("no page links to another: the pattern is wrong")
	}
}

// TestDecisionsAreFound: every decision has a number of its own and says in its first line which it is.
func TestDecisionsAreFound(t *testing.T) {
	numbers := map[string]string{}
	for path, text := range pages(t) {
		name, ok := strings.CutPrefix(path, "docs/decisions/")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(name, "-")
		if other := numbers[number]; other != "" {
			t.Errorf("%s and %s have the same number", name, other)
		}
		numbers[number] = name
		if !strings.HasPrefix(text, "# "+number+" ") {
			t.Errorf("%s does not begin with its number", path)
		}
	}
	if len(numbers) < 10 {
		t.Errorf("only %d decisions found", len(numbers))
	}
}

var quoted = regexp.MustCompile(`\b[IMR][0-9]{1,2}\b`)

// TestQuotedRulesAreExplained: an invariant or a rule that code quotes by its number has a row in the page of its kind.
func TestQuotedRulesAreExplained(t *testing.T) {
	explained := read(t, "docs/invariants.md") + read(t, "docs/rules.md")
	found := 0
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		for _, line := range strings.Split(read(t, path), "\n") {
			if !strings.Contains(line, "//") && !strings.Contains(line, `"`) {
				continue
			}
			for _, rule := range quoted.FindAllString(line, -1) {
				found++
				if !strings.Contains(explained, "\n| "+rule+" | ") {
					t.Errorf("%s quotes %s, which no page explains", path, rule)
				}
			}
		}
	})
	if found == 0 {
		t.Error("no code quotes a rule: the pattern is wrong")
	}
}
