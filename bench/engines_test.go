package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// The table of BenchmarkEngines: rows of some 130 bytes, two secondary keys, and a change that only a copy can make.
const (
	engineTable = "CREATE TABLE tabla1 (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload varchar(100) NOT NULL, " +
		"pad char(50) NOT NULL DEFAULT 'x', n int NOT NULL DEFAULT 1, PRIMARY KEY (id), KEY payload (payload), KEY n (n, id)) DEFAULT " +
		"CHARSET=utf8mb4"
	engineClause = "MODIFY n bigint NOT NULL DEFAULT 1"
)

var engineDesired = strings.Replace(engineTable, "n int NOT NULL", "n bigint NOT NULL", 1)

// durable are the settings of a production server, as far as they cost time.
var durable = map[string]string{"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1", "innodb_flush_method": "O_DIRECT",
	"innodb_buffer_pool_size": "1G", "innodb_redo_log_capacity": "1G", "innodb_log_buffer_size": "64M"}

// setting is an environment variable's, or else a default.
func setting(b *testing.B, name string, otherwise int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return n
}

// arena is one cluster on which contenders alter the same table, one after the other.
type arena struct {
	*site.Site
	b       *testing.B
	c       *mysqld.Cluster
	daemons map[string]*site.Daemon
	tools   map[string]string // programs of the peers
}

// contender alters tabla1 of dbid1, and returns when that is done.
type contender struct {
	name  string
	alter func(*arena) time.Duration
}

// chosen are the contenders, or those of them that AOSC_BENCH_ONLY names ("native,keyed").
func chosen() []contender {
	only := os.Getenv("AOSC_BENCH_ONLY")
	return slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool {
		return only != "" && !slices.Contains(strings.Split(only, ","), c.name)
	})
}

// Ours is measured from the row's being taken until the worker says DONE: planning, copy, verification, swap and the status afterwards.
var contenders = []contender{
	{"native", (*arena).native}, {"gh-ost", (*arena).ghost}, {"spirit", (*arena).spirit}, {"keyed", (*arena).keyed},
}

// newArena starts the servers and our daemons, whose tier copies every table that needs it, by the engine keyed.
func newArena(b *testing.B, members int, worker ...string) *arena {
	b.Helper()
	c := testkit.FreshCluster(b, members, mysqld.ReplicaOptions{SemiSync: true}, durable)
	a := &arena{b: b, c: c, tools: map[string]string{}}
	for _, peer := range chosen() {
		if from, ok := peers[peer.name]; ok {
			a.tools[peer.name] = build(b, peer.name, from)
		}
	}
	a.Site = site.New(b, func(t *aoscdb.Tier) { t.CopyEngine, t.DirectMaxRows = "keyed", 0 }, c)
	a.Fill("", 0)
	a.daemons = map[string]*site.Daemon{}
	for _, name := range site.Names {
		var flags []string
		if name == "oscworker" {
			flags = append([]string{"--oscworker-retention=24h"}, worker...) // as in production: the peers keep the old table, too
		}
		a.daemons[name] = a.Daemon(name, "", flags...)
	}
	return a
}

// peers are the command lines of others: the module that fixes the version, and the package.
var peers = map[string][2]string{
	"gh-ost": {"..", "github.com/github/gh-ost/go/cmd/gh-ost"}, "spirit": {"spirit", "github.com/block/spirit/cmd/spirit"},
}

func build(b *testing.B, name string, from [2]string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", path, from[1])
	cmd.Dir = from[0]
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// fresh makes the table anew, without anything beside it.
func (a *arena) fresh(rows int) {
	a.b.Helper()
	a.clear()
	a.Commit("tabla1", engineTable)
	a.In(a.c.Primary, "dbid1", engineTable)
	if rows > 0 {
		a.In(a.c.Primary, "dbid1", fmt.Sprintf("INSERT INTO tabla1 (id, version, payload, n) WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL "+
			"SELECT i + 1 "+
			"FROM s WHERE i < %d) SELECT /*+ SET_VAR(cte_max_recursion_depth=100000000) */ i, 0, CONCAT('row ', i, REPEAT('y', 40)), i %% 1000 "+
			"FROM s", rows))
	}
	a.In(a.c.Primary, "dbid1", "ANALYZE TABLE tabla1")
	a.Do(a.c.Sync(a.b.Context()))
}

// clear drops what a contender left.
func (a *arena) clear() {
	a.b.Helper()
	rows, err := a.c.Primary.DB().QueryContext(a.b.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = 'dbid1'")
	a.Do(err)
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		a.Do(rows.Scan(&name))
		names = append(names, name)
	}
	a.Do(rows.Err())
	for _, name := range names {
		a.In(a.c.Primary, "dbid1", "DROP TABLE `"+name+"`")
	}
}

func (a *arena) native() time.Duration {
	return took(func() { a.In(a.c.Primary, "dbid1", "ALTER TABLE tabla1 "+engineClause+", ALGORITHM=COPY") })
}

func (a *arena) ghost() time.Duration {
	addr := a.c.Primary.Addr()
	args := []string{"--host=" + addr.Host, fmt.Sprintf("--port=%d", addr.Port), "--user=root", "--password=", "--database=dbid1",
		"--table=tabla1",
		"--alter=" + engineClause, "--allow-on-master", "--assume-rbr", "--max-lag-millis=1500", "--execute",
		"--serve-socket-file=" + filepath.Join(a.b.TempDir(), "s")}
	for _, r := range a.c.Replicas {
		args = append(args, "--throttle-control-replicas="+r.Addr().String())
	}
	return a.run("gh-ost", args...)
}

func (a *arena) spirit() time.Duration {
	args := []string{"migrate", "--host=" + a.c.Primary.Addr().String(), "--username=root", "--password=", "--database=dbid1",
		"--table=tabla1",
		"--alter=" + engineClause, "--skip-drop-after-cutover"}
	for _, r := range a.c.Replicas {
		args = append(args, "--replica-dsn=root@tcp("+r.Addr().String()+")/dbid1", "--replica-max-lag=1500ms")
	}
	return a.run("spirit", args...)
}

func (a *arena) run(tool string, args ...string) time.Duration {
	a.b.Helper()
	cmd := exec.Command(a.tools[tool], args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var err error
	d := took(func() { err = cmd.Run() })
	if err != nil {
		a.b.Fatalf("%s %q: %v\n%s", tool, args, err, tail(out.String()))
	}
	return d
}

func tail(text string) string { return text[max(0, len(text)-4000):] }

func (a *arena) keyed() time.Duration { return alter(a.Site, a.c.Primary, engineDesired).Work }

// mustHave makes sure that the contender has done its work.
func (a *arena) mustHave(rows int) {
	a.b.Helper()
	got := testkit.Ask(a.b, a.c.Primary, "SELECT CONCAT(data_type, ' ', (SELECT COUNT(*) FROM dbid1.tabla1)) FROM information_schema.columns "+
		"WHERE table_schema = 'dbid1' AND table_name = 'tabla1' AND column_name = 'n'")
	if want := fmt.Sprintf("bigint %d", rows); rows > 0 && got != want || !strings.HasPrefix(got, "bigint ") {
		a.b.Fatalf("the table is %s, want %s", got, want)
	}
}

// series are the measurements of one thing.
type series []time.Duration

func (s series) String() string {
	if len(s) == 0 {
		return "-"
	}
	round := func(d time.Duration) time.Duration {
		if d > 10*time.Second {
			return d.Round(100 * time.Millisecond)
		}
		return d.Round(time.Millisecond)
	}
	return fmt.Sprintf("%v (%v .. %v)", round(median(s)), round(slices.Min(s)), round(slices.Max(s)))
}

// ratio is that of the medians.
func (s series) ratio(to series) string {
	if len(s) == 0 || len(to) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(median(s))/float64(median(to)))
}

// say prints a line of the table at once: of a benchmark's log the testing package shows only the beginning.
func (a *arena) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// race lets all contenders alter a table of so many rows in turn, some times, and reports medians and their ratios.
func (a *arena) race(what string, rows, runs int) map[string]series {
	a.b.Helper()
	all := map[string]series{}
	for range runs {
		for _, c := range chosen() {
			a.fresh(rows)
			d := c.alter(a)
			a.mustHave(rows)
			all[c.name] = append(all[c.name], d)
			a.say("%s, %d rows: %s %v", what, rows, c.name, d.Round(time.Millisecond))
		}
	}
	for _, c := range chosen() {
		a.say("| %s | %d | %s | %v | %s |", what, rows, c.name, all[c.name], all[c.name].ratio(all["native"]))
		a.b.ReportMetric(median(all[c.name]).Seconds(), what+"-"+c.name+"-s")
	}
	return all
}

// BenchmarkEngines: one table that needs a copy, on one idle server with durable settings: ALGORITHM=COPY, the command lines of gh-ost
// and of Spirit, and this pipeline's worker with the engine keyed, in turn, the last verified. AOSC_BENCH_ROWS (2,000,000) and
// AOSC_BENCH_RUNS (3) set size and number; AOSC_BENCH_LARGE=10000000 adds a run of keyed and of ALGORITHM=COPY with so many rows. Then a
// table of 100 rows.
func BenchmarkEngines(b *testing.B) {
	rows, runs := setting(b, "AOSC_BENCH_ROWS", 2_000_000), setting(b, "AOSC_BENCH_RUNS", 3)
	a := newArena(b, 1)
	for range b.N {
		a.race("small", 100, max(runs, 5))
		idle := a.race("idle", rows, runs)
		if large := setting(b, "AOSC_BENCH_LARGE", 0); large > 0 {
			a.fresh(large)
			d := a.keyed()
			a.mustHave(large)
			perRow := float64(d) / float64(large) / (float64(median(idle["keyed"])) / float64(rows)) // contender keyed must be among the chosen
			a.say("| large | %d | keyed | %v | time per row %.2f of that at %d |", large, d, perRow, rows)
			b.ReportMetric(d.Seconds(), "large-keyed-s")
			b.ReportMetric(perRow, "large/idle-per-row")
		}
		b.ReportMetric(peakMemory(b, a.daemons["oscworker"].Pid()), "oscworker-MiB")
		a.say("peak memory of the worker: %.0f MiB", peakMemory(b, a.daemons["oscworker"].Pid()))
	}
	b.ReportMetric(0, "ns/op")
}
