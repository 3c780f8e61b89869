package osc

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// keyedBench is a bench whose tier has copy_engine 'keyed'.
func keyedBench(b *bench) *bench {
	b.settings.CopyEngine = string(EngineKeyed)
	return b
}

// TestKeyedUnderLoad is the main job of the engine 'keyed': a steady writer on the primary of a semi-synchronous cluster while its table is
// copied, verified and swapped.
func TestKeyedUnderLoad(t *testing.T) {
	cluster := testkit.Cluster(t, 2)
	b := keyedBench(newBench(t, cluster.Primary))
	b.settings.Replicas = []mysql.Addr{cluster.Replicas[0].Addr()}
	w := testkit.NewWriter(t, cluster.Primary, testkit.WriterOptions{Database: b.database, Table: "t", Workers: 4, Rate: 400})
	if err := w.Seed(t.Context(), 20_000); err != nil {
		t.Fatal(err)
	}
	w.Start(t.Context())
	text := "CREATE TABLE t (id bigint unsigned NOT NULL, version bigint unsigned NOT NULL, payload text NOT NULL, added int DEFAULT NULL, " +
		"PRIMARY KEY (id), KEY v (version)) DEFAULT CHARSET=utf8mb4"
	b.run("t", text, EngineKeyed)
	w.Stop()
	report := testkit.CheckWriter(t, w, cluster)
	t.Logf("I1: %v; %+v", report, w.Stats())
	testkit.NoErrantGTIDs(t, cluster)
	if w.Stats().Refused != 0 {
		t.Errorf("the application saw errors: %+v", w.Stats())
	}
}

// TestKeyedObeys: PAUSE rests, OK goes on, STOP leaves nothing behind (I5).
func TestKeyedObeys(t *testing.T) {
	for name, word := range map[string]Priv{"resumed": PrivOK, "stopped": PrivStop} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := keyedBench(newBench(t, testkit.Server(t)).slowly())
			b.exec(oldT)
			b.fill("t", 5000)
			before, rows := b.form("t"), b.sum("t")
			reader := b.occupy("t") // so that it cannot end before it is told to rest
			a := b.begin(b.plan("t", newT))
			a.until("rows are copied", func(p Progress) bool { return p.RowsCopied > 0 })
			a.control.Set(PrivPause)
			a.until("it rests", func(p Progress) bool { return p.State == StatePaused })
			a.control.Set(word)
			if err := reader.Rollback(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-a.done:
			case <-time.After(time.Minute):
				t.Fatal("it did not end within a minute")
			}
			if word == PrivStop {
				if !errors.Is(a.err, ErrStopped) {
					t.Errorf("got %v", a.err)
				}
				b.untouched("t", before)
				return
			}
			if a.err != nil {
				t.Fatal(a.err)
			}
			b.onlyOldKept(rows)
		})
	}
}

// TestKeyedKilled: SIGKILL of the worker at each named point of the engine, then a clean-up: the table is as it was and nothing is beside
// it (I5), or the alter was through, no row is lost (I1), and another run completes it (I8).
func TestKeyedKilled(t *testing.T) {
	srv := testkit.Server(t)
	for point, through := range map[string]bool{
		"osc.keyed.chunk.before": false, "osc.keyed.chunk.after": false, "osc.keyed.verified": false, "osc.keyed.locked": false,
		"osc.keyed.rename.before": false, "osc.keyed.rename.after": true,
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := keyedBench(newVictimBench(t, srv))
			b.exec(oldT)
			b.fill("t", 2000)
			before, rows := b.form("t"), b.sum("t")
			if err, out := b.victim(newT, point+"=kill"); !killed(err) {
				t.Fatalf("not killed at %s: %v\n%s", point, err, out)
			}
			b.clean()
			if through {
				b.onlyOldKept(rows)
				return
			}
			b.untouched("t", before)
			b.run("t", newT, EngineKeyed)
			b.onlyOldKept(rows)
		})
	}
}

// TestKeyedUnfit: a value that is written during the copy and does not fit ends it, and leaves the table as it was. The next plan says what
// would be lost.
func TestKeyedUnfit(t *testing.T) {
	b := keyedBench(newBench(t, testkit.Server(t)).slowly())
	b.exec(oldT)
	b.fill("t", 2000)
	before := b.form("t")
	b.occupy("t") // so that it cannot swap before the value is written
	a := b.begin(b.plan("t", "CREATE TABLE t (id bigint NOT NULL, v varchar(30) NOT NULL, n int NOT NULL DEFAULT 7, PRIMARY KEY (id))"))
	a.until("rows are copied", func(p Progress) bool { return p.RowsCopied > 0 })
	b.exec("UPDATE t SET v = REPEAT('x', 40) WHERE id = 1234")
	<-a.done
	if a.err == nil || final(a.err) || !strings.Contains(a.err.Error(), "`id`=1234") {
		t.Errorf("got %v", a.err)
	}
	b.untouched("t", before)
	if p := b.plan("t", "CREATE TABLE t (id bigint NOT NULL, v varchar(30) NOT NULL, n int NOT NULL DEFAULT 7, PRIMARY KEY (id))"); !p.Final {
		t.Errorf("planned %s: %q", p.Engine, p.Refused)
	}
}

// TestLagMeter: how far a replica is behind, by what it has executed.
func TestLagMeter(t *testing.T) {
	set := func(text string) mysql.GTIDSet {
		s, err := mysql.ParseGTIDSet("00000000-0000-0000-0000-000000000001:" + text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	var m lagMeter
	for _, s := range []executedAt{{at(0), set("1-10")}, {at(1), set("1-20")}, {at(2), set("1-20")}, {at(3), set("1-30")}} {
		m.add(s)
	}
	for executed, want := range map[string]time.Duration{"1-30": 0, "1-31": 0, "1-29": 2 * time.Second, "1-20": 2 * time.Second,
		"1-19": 4 * time.Second, "1-5": 4 * time.Second} {
		if got := m.lag(set(executed), at(4)); got != want {
			t.Errorf("%s: %v, want %v", executed, got, want)
		}
	}
}
