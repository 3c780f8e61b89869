package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// screen is `aosc watch` as a process, not on a terminal: a line for every change.
type screen struct {
	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

func (s *place) watch(args ...string) *screen {
	s.T.Helper()
	ctx, cancel := context.WithCancel(s.T.Context())
	cmd := s.Program(ctx, append([]string{"watch", "--every=200ms"}, args...)...)
	out, err := cmd.StdoutPipe()
	s.Do(err)
	cmd.Stderr = cmd.Stdout
	s.Do(cmd.Start())
	w := &screen{ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.read(out)
		_ = cmd.Wait()
	}()
	s.T.Cleanup(func() {
		cancel()
		<-w.ended
		if s.T.Failed() {
			s.T.Logf("aosc watch:\n%s", w.text())
		}
	})
	return w
}

func (w *screen) read(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		w.mu.Lock()
		w.lines = append(w.lines, lines.Text())
		w.mu.Unlock()
	}
}

func (w *screen) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// has tells whether one line has all these words.
func has(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

func (s *place) shows(w *screen, what string, words ...string) {
	s.T.Helper()
	if !site.Until(s.T, site.Patience, func() bool { return has(w.text(), words...) }) {
		s.T.Fatalf("aosc watch does not show %s: %q in\n%s", what, words, w.text())
	}
}

// why waits until the view why, `aosc status` and `aosc explain` all give one code for the alter of tabla1.
func (s *place) why(code string, words ...string) {
	s.T.Helper()
	var sql, status, explain string
	agree := func() bool {
		sql = s.Ask("SELECT CONCAT(code, ': ', why) FROM why WHERE table_name = 'tabla1' AND host = ''")
		status, explain = s.Command("status", "udb", "tabla1"), s.Command("explain", "udb", "tabla1")
		for _, word := range words {
			if !strings.Contains(sql, word) || !has(status, word, "("+code+")") || !has(explain, word, "("+code+")") {
				return false
			}
		}
		return strings.HasPrefix(sql, code+": ")
	}
	if !site.Until(s.T, site.Patience, agree) {
		s.T.Fatalf("not one answer %s %q:\nSQL %s\nstatus %s\nexplain %s", code, words, sql, status, explain)
	}
	s.T.Logf("%s", sql)
}

// Why an alter does not run is one answer, wherever it is asked: from the permission on, whichever daemon is dead.
func TestWhyItDoesNotRun(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, nil, c)
	s.Fill(site.Plain, 60000)
	s.Commit("tabla1", site.Plain)
	commit := s.Commit("tabla1", site.Copied)
	primary := c.Primary.Addr().String()

	// No daemon has ever run: `aosc watch` right after `aosc allow` shows the permission, and stays.
	s.Command("allow", "udb", "tabla1", "--comment", "wider payload")
	w := s.watch("udb")
	s.shows(w, "a permission that is not admitted", "udb.tabla1", "ALLOWED", "waits for admission", "the brain is down")
	if sql := s.Ask("SELECT CONCAT(code, ': ', why) FROM why WHERE table_name = 'tabla1'"); !strings.Contains(sql,
		"daemon_down: waits for admission") {
		t.Errorf("SQL says %q", sql)
	}
	daemons := map[string]*site.Daemon{}
	start := func(name string, flags ...string) { daemons[name] = s.Daemon(name, "", flags...) }
	start("checksum")
	s.why("daemon_down", "waits for admission", "the brain is down")
	start("brain")
	s.why("daemon_down", "the collector is down")
	start("collector")
	s.why("daemon_down", "the scheduler is down")
	start("scheduler")
	s.why("daemon_down", "the oscworker is down")
	s.Command("tier", "set", "udb", "--enabled=false")
	s.why("tier_disabled", "tier udb is off")
	if !has(s.Command("status"), "tier udb is off") {
		t.Error("`aosc status` does not show that the tier is off")
	}
	s.Command("tier", "set", "udb", "--enabled", "--max-running=0")
	s.why("limit", "max_running of tier udb is 0")
	s.Command("tier", "set", "udb", "--max-running=10")
	s.Command("stop", "udb", "tabla1")
	s.why("hold", "HOLD by operator")
	if out := s.Command("resume", "udb", "tabla1"); !strings.Contains(out, "taken off the HOLD of operator") ||
		!strings.Contains(out, "osc_priv changed on") {
		t.Errorf("resume says %q", out)
	}

	// A worker: rows, pace and lag are shown; then it is killed, and nothing claims to be done.
	start("oscworker", "--oscworker-chunk-size=20")
	s.shows(w, "progress", primary, "rows/s", "copying")
	s.Eventually(site.Patience, "SQL has the progress, too", func() bool {
		return s.Ask("SELECT state = 'copying' AND rows_copied > 0 AND rows_per_s > 0 FROM running_alters") == "1"
	})
	s.Do(daemons["oscworker"].Kill())
	s.shows(w, "that the worker is lost", primary, "as of", "no sign of life")
	s.why("worker_lost", primary, "no sign of life")
	if strings.Contains(w.text(), "done") || has(w.text(), "100.0 %") {
		t.Errorf("a copy whose worker was killed is shown as done:\n%s", w.text())
	}
	start("oscworker", "--oscworker-chunk-size=20")
	s.shows(w, "that it goes on", "udb.tabla1", "runs on 1 instance")
	s.Finished("tabla1", commit)
	s.shows(w, "the end", primary, "done")
	s.shows(w, "the end", "udb.tabla1", "finished")
	<-w.ended

	// What was done by whom is kept.
	if got := s.Ask("SELECT CONCAT(allow_unsafe, comment, outcome, JSON_LENGTH(instances), instances->>'$[0].instance') FROM " +
		"finished_alters"); got !=
		"0wider payloadfinished1"+primary {
		t.Errorf("finished_alters has %q", got)
	}
	if got := s.Ask("SELECT instances->>'$[0].statement' FROM finished_alters"); !strings.Contains(got, "ALTER TABLE") {
		t.Errorf("the ALTER that ran is kept as %q", got)
	}
	for _, what := range []string{"allowed", "tier set", "stopped", "resumed"} {
		if s.Ask("SELECT COUNT(*) FROM events WHERE what = ? AND actor NOT LIKE '%:%'", what) == "0" {
			t.Errorf("the history has no event %q by a person", what)
		}
	}
	if others := s.Command("status", "udb", "tabla1"); !has(others, "udb.tabla1", "finished", "wider payload") {
		t.Errorf("status: %s", others)
	}
}

// A copy that is stopped, or whose primary dies, never shows as done.
func TestStoppedCopyIsNotDone(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	s := newPlace(t, nil, c)
	s.Fill(site.Plain, 60000)
	s.Commit("tabla1", site.Plain)
	s.Commit("tabla1", site.Copied)
	primary := c.Primary.Addr().String()
	s.slowly()
	s.Command("allow", "udb", "tabla1")
	w := s.watch("udb", "tabla1")
	s.shows(w, "progress", primary, "rows/s", "copying")
	s.Do(c.Primary.Kill())
	s.shows(w, "that the primary does not answer", primary, "does not answer", "as of")
	s.why("unreachable", "")
	s.Do(c.Primary.Restart(t.Context()))
	s.shows(w, "that it goes on", "udb.tabla1", "runs on 1 instance")
	s.Command("revoke", "udb", "tabla1")
	s.shows(w, "how it ended", "udb.tabla1", "WITHDRAWN")
	<-w.ended
	if has(w.text(), "done,") || has(w.text(), "100.0 %") {
		t.Errorf("a copy that was withdrawn is shown as done:\n%s", w.text())
	}
	if finished := s.Ask("SELECT COALESCE(t.finished_at, 'never') FROM (SELECT * FROM finished_alters) AS t"); finished != "never" {
		t.Errorf("SELECT * FROM finished_alters says that it was finished at %q", finished)
	}
	if status := s.Command("status"); !has(status, "udb.tabla1", "WITHDRAWN") || has(status, "udb.tabla1", " finished:") {
		t.Errorf("status: %s", status)
	}
}

// aoscdb is away for a while: the screen says so, since when, and goes on.
func TestWatchSurvivesAoscdb(t *testing.T) {
	t.Parallel()
	central := testkit.FreshServer(t, nil)
	s := &place{site.NewOn(t, central, "aoscdb", nil, testkit.FreshCluster(t, 1, mysqld.ReplicaOptions{}, nil))}
	s.Fill(site.Plain, 10)
	s.Commit("tabla1", site.Copied)
	s.Command("allow", "udb", "tabla1")
	w := s.watch()
	s.shows(w, "the permission", "udb.tabla1", "ALLOWED")
	s.Do(central.Stop(t.Context()))
	s.shows(w, "the outage", "aoscdb", "away since", "last data of")
	since := time.Now()
	s.Eventually(site.Patience, "three seconds of outage", func() bool { return time.Since(since) > 3*time.Second })
	s.Do(central.Restart(t.Context()))
	s.shows(w, "the return", "aoscdb", "is back")
	select {
	case <-w.ended:
		t.Error("aosc watch has ended")
	default:
	}
}

// A misspelt name is an error that names the nearest one.
func TestMisspeltNames(t *testing.T) {
	t.Parallel()
	s := newPlace(t, nil, testkit.FreshCluster(t, 1, mysqld.ReplicaOptions{}, nil))
	s.Fill(site.Plain, 10)
	s.Commit("tabla1", site.Copied)
	for _, c := range []struct{ args, says string }{
		{"status ubd", `no tier "ubd": did you mean "udb"?`},
		{"status udb tabal1", `no table "tabal1": did you mean "tabla1"?`},
		{"watch udb tabla", `did you mean "tabla1"?`},
		{"explain zzz", `no tier "zzz"`},
		{"plan udb tabla11", `did you mean "tabla1"?`},
		{"allow udbb tabla1", `did you mean "udb"?`},
		{"allow udb tbala1", `did you mean "tabla1"?`},
		{"resume udb tabla2", `did you mean "tabla1"?`},
		{"revoke ubd tabla1", `did you mean "udb"?`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), site.Patience)
		out, err := s.Program(ctx, strings.Fields(c.args)...).CombinedOutput()
		cancel()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), c.says) {
			t.Errorf("aosc %s: %v, %s; want exit code 1 and %s", c.args, err, out, c.says)
		}
	}
	if n := s.Ask("SELECT COUNT(*) FROM allowed_alters"); n != "0" {
		t.Errorf("%s misspelt tables are allowed", n)
	}
	if out := s.Command("allow", "udb", "later", "--uncommitted"); !strings.Contains(out, "udb.later allowed") {
		t.Errorf("%s", out)
	}
	// Only what was asked for is listed as ended.
	s.SQL("INSERT INTO finished_alters (`group`, table_name, outcome) VALUES ('udb','tabla1','finished'), ('udb','other','finished')")
	if out := s.Command("status", "udb", "tabla1"); !has(out, "udb.tabla1", "finished") || strings.Contains(out, "udb.other") ||
		strings.Contains(out, "udb.later") {
		t.Errorf("status udb tabla1: %s", out)
	}
}

// /readyz of a checksum whose every checksum fails is 503, and says what fails.
func TestReadyzTellsFailures(t *testing.T) {
	t.Parallel()
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{}, nil)
	s := newPlace(t, nil, c)
	s.Account = []string{"AOSC_MYSQL_USER=nobody"}
	s.Fill(site.Plain, 10)
	s.Commit("tabla1", site.Plain)
	d := s.Daemon("checksum", "", "--listen=127.0.0.1:0")
	row := func(column string) string {
		return s.Ask(fmt.Sprintf("SELECT %s FROM daemons WHERE name = 'checksum'", column))
	}
	// The heartbeat carries what /readyz answers.
	s.Eventually(site.Patience, "every checksum fails and it says so", func() bool {
		return strings.Contains(row("error"),
			"2 of 2 checksums fail")
	})
	address := regexp.MustCompile(`listen=(127\.0\.0\.1:\d+)`).FindStringSubmatch(d.Text())
	if address == nil {
		t.Fatalf("where it listens is not in its log: %s", d.Text())
	}
	answer, err := http.Get("http://" + address[1] + "/readyz")
	s.Do(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	s.Do(err)
	if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "2 of 2 checksums fail") {
		t.Errorf("/readyz: %s: %s", answer.Status, body)
	}
	t.Logf("%s: %s", answer.Status, body)
}
