package ghost

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/github/gh-ost/go/base"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
)

// TestNames holds our names against gh-ost's own.
func TestNames(t *testing.T) {
	for _, table := range []string{"t", "orders", strings.Repeat("x", 58), strings.Repeat("x", 59), strings.Repeat("x", 64),
		strings.Repeat("\u0436", 29), strings.Repeat("\u0436", 64)} {
		mc := base.NewMigrationContext()
		mc.OriginalTableName = table
		want := copy.Names{Ghost: mc.GetGhostTableName(), Changelog: mc.GetChangelogTableName(), Old: mc.GetOldTableName()}
		if got := copy.NamesFor(table); got != want {
			t.Errorf("%s: got %+v, want %+v", table, got, want)
		}
	}
}

func TestNameProblem(t *testing.T) {
	for _, c := range []struct {
		database, table, column, key string
		problem                      string
	}{
		{"db", "t", "id", "PRIMARY", ""},
		{"db-1", "order", "select", "PRIMARY", ""},
		{"db", "with space", "a column", "PRIMARY", ""},
		{"db", strings.Repeat("x", 64), "id", "uk_1", ""},
		{"db", "\u0436", "id", "\u0436", ""},
		{"db", strings.Repeat("\u0436", 64), "id", "PRIMARY", "middle of a character"},
		{"a/b", "t", "id", "PRIMARY", "database"},
		{"db%", "t", "id", "PRIMARY", "database"},
		{"db", "it's", "id", "PRIMARY", "table"},
		{"db", "back`quote", "id", "PRIMARY", "table"},
		{"db", "what?", "id", "PRIMARY", "table"},
		{"db", "t", "a,b", "PRIMARY", "column"},
		{"db", "t", `"quoted"`, "PRIMARY", "column"},
		{"db", "t", "id", "my-key", "without quotes"},
		{"db", "t", "id", "two words", "without quotes"},
		{"db", "t", "id", "123", "without quotes"},
	} {
		got := NameProblem(c.database, c.table, []string{c.column}, c.key)
		if (got == "") != (c.problem == "") || !strings.Contains(got, c.problem) {
			t.Errorf("%q.%q (%q) by %q: %q, want one with %q", c.database, c.table, c.column, c.key, got, c.problem)
		}
	}
}

// TestContext checks what main() of gh-ost does for its users and the library does not.
func TestContext(t *testing.T) {
	spec := Spec{Addr: mysql.Addr{Host: "10.1.2.3", Port: 3307}, User: "u", Password: "p", Database: "d", Table: "t",
		Clauses: "ADD COLUMN c int COMMENT 'alter table x drop y'", SocketFile: "/tmp/s", ServerID: 1<<31 + 5, ChunkSize: 500,
		MaxLag: 1500 * time.Millisecond, Replicas: []mysql.Addr{{Host: "r1", Port: 1}, {Host: "r2", Port: 2}}, CutOverLockTimeout: 3 * time.Second}
	mc, err := newContext(spec)
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"the ALTER is run as it is":            mc.AlterStatementOptions == spec.Clauses,
		"gh-ost has no ALTER to misread":       mc.AlterStatement == "",
		"it executes":                          !mc.Noop,
		"the cut-over waits for our word":      mc.PostponeCutOverFlagFile == os.DevNull,
		"it alters this server and no other":   mc.AssumeMasterHostname == "10.1.2.3:3307" && mc.AllowedRunningOnMaster,
		"it leaves replication alone":          mc.AssumeRBR && !mc.SwitchToRowBinlogFormat,
		"it leaves the old table":              !mc.OkToDropTable,
		"it drops no table that is in its way": !mc.InitiallyDropGhostTable && !mc.InitiallyDropOldTable,
		"isolation level":                      mc.InspectorConnectionConfig.TransactionIsolation == "REPEATABLE-READ",
		"charset":                              mc.InspectorConnectionConfig.Charset == "utf8mb4",
		"credentials":                          mc.InspectorConnectionConfig.User == "u" && mc.InspectorConnectionConfig.Password == "p",
		"heartbeat interval":                   mc.HeartbeatIntervalMilliseconds == 100,
		"tickers that panic at 0":              mc.ThrottleHTTPIntervalMillis > 0 && mc.CheckpointIntervalSeconds >= 10,
		"server id":                            mc.ReplicaServerId == 1<<31+5,
		"socket":                               mc.ServeSocketFile == "/tmp/s",
		"both replicas throttle":               mc.GetThrottleControlReplicaKeys().Len() == 2,
		"max lag":                              mc.MaxLagMillisecondsThrottleThreshold == 1500,
		"cut-over lock timeout":                mc.CutOverLockTimeoutSeconds == 3,
		"chunk size":                           mc.ChunkSize == 500,
		"no warnings are looked for":           !mc.PanicOnWarnings && mc.DMLBatchSize == 100,
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	spec.PanicOnWarnings = true
	if mc, err = newContext(spec); err != nil || !mc.PanicOnWarnings || mc.DMLBatchSize != 1 {
		t.Errorf("warnings are looked for after each change: %v, batches of %d, %v", mc.PanicOnWarnings, mc.DMLBatchSize, err)
	}
}

func packet(payload string) string {
	n := len(payload)
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0}) + payload
}

func TestCorrector(t *testing.T) {
	const expect = "\x03\n\t\tselect /* gh-ost */ id\n\t\tfrom\n\t\t\tinformation_schema.processlist\n\t\twhere\n\t\t\tid != connection_id()"
	corrected := strings.Replace(expect, "information_schema.processlist", "performance_schema.processlist", 1)
	row := "\x03insert into t values ('" + packet(expect) + "')"
	for _, c := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"the search for the RENAME", []string{packet(expect)}, packet(corrected)},
		{"a second time", []string{packet(expect), packet("\x03select 1"), packet(expect)}, packet(corrected) + packet("\x03select 1") + packet(corrected)},
		{"two packets in one write", []string{packet("\x03select 1") + packet(expect)}, packet("\x03select 1") + packet(corrected)},
		{"the same text in a row", []string{packet(row)}, packet(row)},
		{"in a row, at the beginning of a write", []string{packet(row)[:29], packet(row)[29:]}, packet(row)},
		{"any other statement", []string{packet("\x03select * from information_schema.processlist")}, packet("\x03select * from information_schema.processlist")},
		{"after packets of many lengths", []string{packet(strings.Repeat("x", 253)), packet(strings.Repeat("x", 511)), packet(strings.Repeat("x", 70_000)), packet(expect)},
			packet(strings.Repeat("x", 253)) + packet(strings.Repeat("x", 511)) + packet(strings.Repeat("x", 70_000)) + packet(corrected)},
		{"an empty packet", []string{packet(""), packet(expect)}, packet("") + packet(corrected)},
		{"no packet", []string{"ab"}, "ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			w := correctedWriter{&out, &corrector{}}
			for _, p := range c.writes {
				if n, err := w.Write([]byte(p)); err != nil || n != len(p) {
					t.Fatal(n, err)
				}
			}
			if out.String() != c.want {
				t.Errorf("written %q, want %q", out.String(), c.want)
			}
		})
	}
}

// TestRelayTrust: gh-ost trusts the relay and the server's authorities, the relay only those.
func TestRelayTrust(t *testing.T) {
	for _, host := range []string{"db1.example.com", "10.1.2.3"} {
		settings := &tls.Config{ServerName: host, RootCAs: x509.NewCertPool()}
		r, err := newRelay(settings)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(r.own.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := certificate.Verify(x509.VerifyOptions{DNSName: host, Roots: settings.RootCAs}); err != nil {
			t.Errorf("%s: gh-ost does not trust the relay: %v", host, err)
		}
		if _, err := certificate.Verify(x509.VerifyOptions{DNSName: host, Roots: r.server.RootCAs}); err == nil {
			t.Errorf("%s: a server with the relay's certificate would be believed", host)
		}
		if r.server.InsecureSkipVerify {
			t.Error("the relay does not verify the server")
		}
	}
}

func TestParseStatus(t *testing.T) {
	for line, want := range map[string]bool{
		`{"Ghost":"aosc","Phase":"copying","RowsCopied":5}`: true,
		`{"level":"info"}`: false,
		`Copy: 0/10 0.0%`:  false,
		``:                 false,
		`{`:                false,
	} {
		if s, ok := ParseStatus([]byte(line)); ok != want || ok && (s.Phase != PhaseCopying || s.RowsCopied != 5) {
			t.Errorf("%q: %+v %v", line, s, ok)
		}
	}
}

func TestSocketDir(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	old := func(name string) string {
		dir := filepath.Join(tmp, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	age := func(dir string) {
		if err := os.Chtimes(dir, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	dead, live, young := old("aosc-g1"), old("aosc-g2"), old("aosc-g3")
	listener, err := net.Listen("unix", filepath.Join(live, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	age(dead)
	age(live)
	path, remove, err := SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is not private: %v %v", info, err)
	}
	for dir, stays := range map[string]bool{dead: false, live: true, young: true, filepath.Dir(path): true} {
		if _, err := os.Stat(dir); (err == nil) != stays {
			t.Errorf("%s stays: want %v, %v", dir, stays, err)
		}
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("the directory is left")
	}
	t.Setenv("TMPDIR", filepath.Join(tmp, strings.Repeat("x", 100)))
	if err := os.Mkdir(os.Getenv("TMPDIR"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := SocketDir(); err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("a path too long for a socket: %v", err)
	}
}
