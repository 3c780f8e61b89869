package keyed

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/wait"
)

// TestRandom makes copies of random shapes under writers that insert, delete, change keys, roll back, and use XA and large transactions,
// and rests at random; after each the table is compared with what was acknowledged (I1). AOSC_SOAK is for how long, one copy by default.
func TestRandom(t *testing.T) {
	limit, err := time.ParseDuration(cmp.Or(os.Getenv("AOSC_SOAK"), "1ns"))
	if err != nil {
		t.Fatal(err)
	}
	r := seeded(t)
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	for began, n := time.Now(), 0; n == 0 || time.Since(began) < limit; n++ {
		k := newKit(t)
		id := pick("bigint NOT NULL", "int NOT NULL", "decimal(12,2) NOT NULL", "varchar(20) NOT NULL",
			"varchar(20) COLLATE utf8mb4_bin NOT NULL",
			"varchar(20) CHARACTER SET latin1 NOT NULL")
		keys := pick("PRIMARY KEY (id)", "PRIMARY KEY (id), UNIQUE KEY u (n, id)", "UNIQUE KEY i (id), KEY (v)")
		clauses := []string{"ADD z int DEFAULT 5", pick("MODIFY v varchar(300) NOT NULL", "MODIFY n bigint NOT NULL", "ADD KEY (n, v)")}
		if strings.HasPrefix(id, "varchar") {
			clauses = append(clauses, pick("MODIFY id varchar(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
				"CONVERT TO CHARACTER SET utf8mb4"))
		}
		k.exec(fmt.Sprintf("CREATE TABLE t (id %s, v varchar(50) NOT NULL, n int NOT NULL, %s)", id, keys))
		model := k.fill(1000 + r.IntN(10_000))
		req := k.request(strings.Join(clauses, ", "))
		req.Workers, req.MaxChunk = 1+r.IntN(4), 20+r.IntN(500)
		var passes atomic.Int64
		every := int64(5 + r.IntN(50))
		req.Gate = func(ctx context.Context) error {
			if passes.Add(1)%every == 0 {
				return wait.For(ctx, 20*time.Millisecond)
			}
			return nil
		}
		t.Logf("%s; %s; %s; %d workers, chunks of %d", id, keys, req.Clauses, req.Workers, req.MaxChunk)
		l := k.startLoad(1+r.IntN(5), model)
		var err error
		if through := k.randomKills(r, r.IntN(4), &req); !through {
			err = k.copyOn(req)
		}
		model = l.end()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d transactions", l.count)
		k.checkTexts(model, strings.HasPrefix(id, "decimal"))
		k.exec("DROP DATABASE " + mysql.QuoteIdent(k.database))
		if t.Failed() {
			return
		}
	}
}

// randomKills makes a copy in processes of their own, of which each is killed (-9) after a while and the next one goes on, and makes req go
// on from what they leave. through: one of them was faster.
func (k *kit) randomKills(r *rand.Rand, kills int, req *Request) (through bool) {
	k.Helper()
	o := orders{Addr: k.addr.String(), Database: k.database, Clauses: req.Clauses, Workers: req.Workers, MaxChunk: req.MaxChunk,
		Pace: time.Duration(r.IntN(20)) * time.Millisecond}
	again := requestOf(k.db, k.addr, o)
	req.Progress, req.From, req.To = again.Progress, again.From, again.To
	for range kills {
		after := time.Duration(r.IntN(2000)) * time.Millisecond
		begun := time.Now()
		if _, killed := k.victim(o, "", func() bool { return time.Since(begun) > after }); !killed {
			return true
		}
		k.endSessions()
		k.Logf("killed after %v, %d rows are noted", after, k.noted())
	}
	return false
}

// checkTexts is check for keys that the server prints otherwise.
func (k *kit) checkTexts(model map[int64]string, decimal bool) {
	k.Helper()
	if decimal {
		k.exec("ALTER TABLE t MODIFY id bigint NOT NULL")
	}
	k.check(model)
}
