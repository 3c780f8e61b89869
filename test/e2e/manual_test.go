package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// squat takes, as an account without any privilege, the named locks that could be guessed: anybody may.
func squat(t *testing.T, server *mysqld.Server) {
	t.Helper()
	testkit.Exec(t, server, "CREATE USER nobody IDENTIFIED BY 'x'")
	db, err := mysql.Open(server.Addr(), mysql.Credentials{User: "nobody", Password: "x"}, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"aosc.osc." + server.Addr().String(), "aosc.checksum." + server.Addr().String(), "aosc.table.dbid1.tabla1",
		"aosc.ensure"}
	for n := range 500 {
		names = append(names, "aosc.scratch."+strconv.Itoa(n))
	}
	for _, name := range names {
		if _, err := conn.ExecContext(t.Context(), "DO GET_LOCK(?, 0)", name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManual is a team's first day: the accounts exactly as docs/operations.md has them, and nobody does anything as root. Whatever
// aosc runs on an instance or in aoscdb it runs with these privileges: a copy under a writer, an instant change, a small table, a missing
// one, a stop and a resume; while an account without any privilege holds all named locks that can be guessed. Also that a logged UPDATE by
// hand is refused, and that the doctor finds nothing missing.
func TestManual(t *testing.T) {
	t.Parallel()
	const password = "its Secret 1"
	blocks := testkit.SQLOfManual(t, "../../docs/operations.md", "Privileges", password)
	central := testkit.FreshServer(t, nil)
	c := testkit.FreshCluster(t, 2, mysqld.ReplicaOptions{SemiSync: true}, nil)
	testkit.Exec(t, central, blocks[0]...)
	testkit.Exec(t, c.Primary, blocks[1]...)

	s := &place{site.NewOn(t, central, "aoscdb", nil, c)}
	file := filepath.Join(s.Dir, "password")
	s.Do(os.WriteFile(file, []byte(password+"\n"), 0o600))
	accounts := []string{
		"AOSC_AOSCDB_DSN=aosc:" + password + "@tcp(" + central.Addr().String() + ")/aoscdb",
		"AOSC_MYSQL_USER=aosc", "AOSC_MYSQL_PASSWORD_FILE=" + file,
		"AOSC_MYSQL_WRITE_USER=aosc_write", "AOSC_MYSQL_WRITE_PASSWORD_FILE=" + file,
		"AOSC_SCRATCH_USER=aosc_scratch", "AOSC_SCRATCH_PASSWORD_FILE=" + file,
	}
	s.Account = accounts
	// As a new team has it: the tables are made by the account, and the tier by the command line.
	testkit.Exec(t, central, "DROP DATABASE aoscdb", "CREATE DATABASE aoscdb")
	s.Command("init")
	s.Command("tier", "set", "udb", "--max-running", "4", "--verify-tries", "1", "--verify-interval", "0", "--direct-max-rows", "100")

	squat(t, c.Primary)
	loaded := s.Fill(site.Plain, 0)
	s.Fill(site.Plain, 20)
	s.Fill("", 0)
	w := s.Writer(c, loaded, 3000, 100)
	var daemons []*site.Daemon
	for _, name := range site.Names {
		if s.Account = accounts; name == "checksum" {
			s.Account = append(append([]string{}, accounts...), "AOSC_MYSQL_USER=aosc_checksum")
		}
		daemons = append(daemons, s.Daemon(name, ""))
	}
	s.Account = accounts

	commit := s.Commit("tabla1", site.Copied)
	if plan := s.Command("plan", "udb", "tabla1"); !strings.Contains(plan, "tabla1") {
		t.Errorf("aosc plan:\n%s", plan)
	}
	s.Allow("tabla1")
	s.Finished("tabla1", commit)
	s.MustHave("tabla1", site.Copied)
	wider := strings.Replace(site.Copied, "PRIMARY", "extra int DEFAULT NULL, PRIMARY", 1)
	s.Alter("tabla1", wider)
	s.MustHave("tabla1", wider)
	s.Lossless(c, w)
	s.Clean("tabla1")

	s.Commit("tabla1", strings.Replace(wider, "extra int", "extra bigint", 1))
	s.Command("allow", "udb", "tabla1")
	s.Eventually(site.Patience, "it is admitted", func() bool { return s.Current("tabla1") != nil })
	s.Command("stop", "udb", "tabla1")
	s.Held("tabla1", "operator")
	s.Command("resume", "udb", "tabla1")
	s.Eventually(site.Patience, "it goes on after resume", func() bool { return s.Current("tabla1") == nil })

	s.In(c.Primary, "aosc", "SET sql_log_bin=0", "INSERT INTO aosc_osc_ww (host, port, table_name, `group`) VALUES ('h', 1, 't', 'g')")
	_, err := c.Primary.DB().ExecContext(t.Context(), "UPDATE aosc.aosc_osc_ww SET osc_priv='PAUSE'")
	if err == nil || !strings.Contains(err.Error(), "SET sql_log_bin=0") {
		t.Errorf("a logged UPDATE of the status tables is not refused: %v", err)
	}
	if out := s.Command("doctor", "udb"); !strings.Contains(out, "Nothing is missing.") {
		t.Errorf("aosc doctor:\n%s", out)
	}
	for _, d := range daemons {
		for line := range strings.Lines(d.Text()) {
			if strings.Contains(line, "denied") || strings.Contains(line, "privilege") {
				t.Errorf("a privilege that the manual does not name is missing: %s", line)
			}
		}
	}
}
