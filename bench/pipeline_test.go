package bench

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/site"
)

// BenchmarkSmallTables: 200 databases with a table of 100 rows on one instance, a plan that needs a copy (done directly, for
// the tables are small) and one that INSTANT can do, beside a plain loop of ALTER TABLE on one connection over 200 other
// databases of the same server.
func BenchmarkSmallTables(b *testing.B) {
	const databases = 200
	c := testkit.FreshCluster(b, 1, mysqld.ReplicaOptions{}, nil)
	s := site.New(b, func(t *aoscdb.Tier) { t.DirectMaxRows = 5000 }, c)
	peers := make([]string, databases)
	for i := range databases {
		s.Fill(site.Plain, 100)
		peers[i] = fmt.Sprintf("peer%d", i+1)
		testkit.Exec(b, c.Primary, "CREATE DATABASE "+peers[i], "CREATE TABLE "+peers[i]+".tabla1 LIKE dbid1.tabla1",
			"INSERT INTO "+peers[i]+".tabla1 SELECT * FROM dbid1.tabla1")
	}
	s.Commit("tabla1", site.Plain)
	s.Daemons()
	s.Eventually(site.Patience, "the first checksum", func() bool { return s.Ask("SELECT MAX(`databases`) FROM checksum_passes") == "200" })
	both := strings.Replace(site.Copied, "PRIMARY", "extra int DEFAULT NULL, PRIMARY", 1)
	for range b.N {
		for _, kind := range []struct{ name, statement, ddl string }{
			{"copy", "MODIFY payload text NOT NULL", site.Copied},
			{"instant", "ADD COLUMN extra int DEFAULT NULL", both},
		} {
			plain := took(func() { loop(b, c.Primary, peers, kind.statement) })
			m := alter(s, c.Primary, kind.ddl)
			b.ReportMetric(plain.Seconds(), kind.name+"-loop-s")
			b.ReportMetric(m.Work.Seconds(), kind.name+"-worker-s")
			b.ReportMetric(m.Total.Seconds(), kind.name+"-total-s")
			b.ReportMetric(m.Total.Seconds()/plain.Seconds(), kind.name+"-total/loop")
			b.ReportMetric(float64((m.Total-plain).Milliseconds())/databases, kind.name+"-added-ms/table")
		}
		loop(b, c.Primary, peers, "DROP COLUMN extra, MODIFY payload varchar(100) NOT NULL")
		alter(s, c.Primary, site.Plain)
	}
	b.ReportMetric(0, "ns/op")
}

// loop is what a person would do: one connection, one statement after the other.
func loop(b *testing.B, server *mysqld.Server, databases []string, statement string) {
	b.Helper()
	err := mysql.WithSession(b.Context(), server.DB(), mysql.Session{}, func(ctx context.Context, conn *sql.Conn) error {
		for _, database := range databases {
			if _, err := conn.ExecContext(ctx, "ALTER TABLE "+database+".tabla1 "+statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCopy: a table of 500,000 rows under a writer of 200 operations per second, on a semi-synchronous pair: the copy by
// gh-ost with its verification, beside ALTER TABLE ... ALGORITHM=COPY of an equal table under an equal writer. What the
// native one costs is in its longest gap: nobody can write meanwhile, and the replica follows only afterwards.
func BenchmarkCopy(b *testing.B) {
	const rows, rate = 500_000, 200
	for range b.N {
		c := testkit.FreshCluster(b, 2, mysqld.ReplicaOptions{SemiSync: true}, map[string]string{"innodb_buffer_pool_size": "512M", "innodb_redo_log_capacity": "512M"})
		s := site.New(b, nil, c)
		testkit.Exec(b, c.Primary, "CREATE DATABASE peer")
		database := s.Fill(site.Plain, 0)
		s.Commit("tabla1", site.Plain)

		w := s.Writer(c, "peer", rows, rate)
		native := took(func() {
			testkit.Exec(b, c.Primary, "ALTER TABLE peer.tabla1 MODIFY payload text NOT NULL, ALGORITHM=COPY")
		})
		replica := native + took(func() { s.Do(c.Sync(b.Context())) })
		b.ReportMetric(native.Seconds(), "native-s")
		b.ReportMetric(replica.Seconds(), "native-replica-s")
		b.ReportMetric(w.Stats().LongestGap.Seconds(), "native-gap-s")
		w.Stop()

		w = s.Writer(c, database, rows, rate)
		s.Do(c.Sync(b.Context()))
		s.Daemons()
		s.Eventually(site.Patience, "the first checksum", func() bool { return s.Ask("SELECT COUNT(*) FROM checksum_passes WHERE finished_at IS NOT NULL") == "2" })
		m := alter(s, c.Primary, site.Copied)
		b.ReportMetric(m.Total.Seconds(), "aosc-s")
		b.ReportMetric(w.Stats().LongestGap.Seconds(), "aosc-gap-s")
		b.ReportMetric(m.Total.Seconds()/native.Seconds(), "aosc/native")
		b.ReportMetric(m.Total.Seconds()/replica.Seconds(), "aosc/native-replica")
		s.Lossless(c, w)
		s.Clean("tabla1")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory: the peak of resident memory of each daemon at 20,000 tables (400 databases of 50), with a cold and a warm
// checksum and an alter of one table in all databases. A daemon may hold 150 MB.
func BenchmarkMemory(b *testing.B) {
	const databases, tables = 400, 50
	c := testkit.FreshCluster(b, 1, mysqld.ReplicaOptions{}, map[string]string{"innodb_flush_method": "nosync", "innodb_doublewrite": "OFF",
		"table_open_cache": "2000"})
	s := site.New(b, nil, c)
	files := map[string]string{}
	var statements []string
	for i := range tables {
		table := fmt.Sprintf("t%02d", i)
		if i == 0 {
			table = "tabla1"
		}
		ddl := strings.Replace(site.Plain, "tabla1", table, 1)
		files["schemas/udb/"+table+".sql"] = ddl + ";\n"
		statements = append(statements, ddl)
	}
	s.Repo.Commit(files, "all")
	for range databases {
		database := s.Fill("", 0)
		s.In(c.Primary, database, statements...)
	}
	for range b.N {
		daemons := s.Daemons()
		s.Eventually(5*time.Minute, "a cold and a warm checksum", func() bool {
			return s.Ask("SELECT COUNT(*) FROM checksum_passes WHERE `tables` = 20000 AND started_at > fresh_started_at") == "1"
		})
		alter(s, c.Primary, site.Column)
		for name, d := range daemons {
			b.ReportMetric(peakMemory(b, d.Pid()), name+"-MiB")
		}
		s.Terminate(daemons)
		alterBack(s, c)
	}
	b.ReportMetric(0, "ns/op")
}

// alterBack undoes the alter by hand.
func alterBack(s *site.Site, c *mysqld.Cluster) {
	s.T.Helper()
	for _, database := range s.Databases {
		testkit.Exec(s.T, c.Primary, "ALTER TABLE "+database+".tabla1 DROP COLUMN extra")
	}
	s.Commit("tabla1", site.Plain)
}
