package pace

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestSigns: a real server tells all of them; one that an account may not read is said once, and the others go on.
func TestSigns(t *testing.T) {
	server := testkit.Server(t)
	testkit.Exec(t, server, "CREATE DATABASE IF NOT EXISTS signs", "CREATE TABLE IF NOT EXISTS signs.t (id int PRIMARY KEY AUTO_INCREMENT)",
		"SET GLOBAL sync_binlog = 1", // servers of tests write nothing to disk
		"CREATE USER IF NOT EXISTS nobody@'%' IDENTIFIED BY 'x'", "GRANT SELECT ON performance_schema.* TO nobody@'%'")
	limits := Limits{Threads: 100, Commit: time.Second, History: 1000, RedoPct: 80}

	var log bytes.Buffer
	s := Signs{DB: server.DB(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	if first := s.Read(t.Context(), limits); first.Commit != nil {
		t.Errorf("the first sample knows how long commits take: %v", *first.Commit)
	}
	for range 5 {
		testkit.Exec(t, server, "INSERT INTO signs.t VALUES ()")
	}
	got := s.Read(t.Context(), limits)
	if got.Silent != nil || got.Threads == nil || *got.Threads < 1 || got.History == nil || got.RedoPct == nil || *got.RedoPct < 0 ||
		*got.RedoPct > 100 {
		t.Errorf("%+v", got)
	}
	if got.Commit == nil || *got.Commit < 0 || *got.Commit > time.Minute {
		t.Errorf("a commit takes %v", got.Commit)
	} else {
		t.Logf("a commit takes %v, checkpoint age %.2f %%, history %d, threads %.0f", *got.Commit, *got.RedoPct, *got.History, *got.Threads)
	}
	if log.Len() > 0 {
		t.Errorf("it said: %s", &log)
	}
	if none := s.Read(t.Context(), Limits{}); none.Threads != nil || none.History != nil || none.RedoPct != nil || none.Commit != nil {
		t.Errorf("without limits it reads %+v", none)
	}

	cred := server.Credentials()
	cred.User, cred.Password = "nobody", "x"
	db, err := mysql.Open(server.Addr(), cred, mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s = Signs{DB: db, Log: s.Log}
	for range 3 {
		if got = s.Read(t.Context(), limits); got.Silent != nil || got.Threads == nil || got.History != nil {
			t.Errorf("without PROCESS: %+v", got)
		}
	}
	if n := strings.Count(log.String(), "history list length"); n != 1 {
		t.Errorf("said %d times that the history list cannot be read:\n%s", n, fmt.Sprint(&log))
	}
	db.Close()
	if got = s.Read(t.Context(), limits); got.Silent == nil {
		t.Error("a server that does not answer is not busy")
	}
}
