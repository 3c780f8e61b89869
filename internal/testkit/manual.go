package testkit

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var sqlFence = regexp.MustCompile("(?s)```sql\n(.*?)```")

// SQLOfManual are the SQL blocks under a heading of a page of docs, each as its statements, so that a test runs what is written there.
// A password that the page leaves out ('...') is replaced.
func SQLOfManual(t testing.TB, page, heading, password string) (blocks [][]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range sqlFence.FindAllStringSubmatch(section, -1) {
		var statements []string
		var kept []string
		for line := range strings.Lines(block[1]) {
			if !strings.HasPrefix(line, "--") {
				kept = append(kept, line)
			}
		}
		for statement := range strings.SplitSeq(strings.Join(kept, ""), ";") {
			if statement = strings.TrimSpace(statement); statement != "" {
				statements = append(statements, strings.ReplaceAll(statement, "'...'", "'"+password+"'"))
			}
		}
		blocks = append(blocks, statements)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no SQL under %q", page, heading)
	}
	return blocks
}
