package keyed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestUniqueValuesSwapped: rows exchange the values of a unique key while they are copied, whatever the key is over, and whatever becomes
// of it. Rows that are in each other's way for a moment are no duplicates.
func TestUniqueValuesSwapped(t *testing.T) {
	for name, c := range map[string]struct{ columns, clauses string }{
		"generated": {"u varchar(20), g varchar(30) GENERATED ALWAYS AS (concat(u, '!')) STORED, UNIQUE KEY (g)", "ADD z int"},
		"generated, virtual, added": {"u varchar(20), UNIQUE KEY (u)",
			"ADD g varchar(30) GENERATED ALWAYS AS (concat(u, '!')) VIRTUAL, ADD UNIQUE KEY (g), DROP KEY u"},
		"an expression":        {"u varchar(20), UNIQUE KEY ((lower(u)))", "ADD z int"},
		"an expression, added": {"u varchar(20)", "ADD UNIQUE KEY ((concat(u, id % 1)))"},
		"the beginning":        {"u varchar(20), UNIQUE KEY (u(6))", "ADD z int"},
		"added":                {"u varchar(20)", "ADD UNIQUE KEY (u)"},
		"utf8mb3 to utf8mb4":   {"u varchar(20) CHARACTER SET utf8mb3, UNIQUE KEY (u)", "CONVERT TO CHARACTER SET utf8mb4"},
		"another collation": {"u varchar(20) COLLATE utf8mb4_general_ci, UNIQUE KEY (u)",
			"MODIFY u varchar(20) COLLATE utf8mb4_0900_ai_ci"},
		"latin1 to utf8mb4":    {"u varchar(20) CHARACTER SET latin1, UNIQUE KEY (u)", "MODIFY u varchar(20) CHARACTER SET utf8mb4"},
		"text to a number":     {"u varchar(20), UNIQUE KEY (u)", "MODIFY u bigint"},
		"another primary key":  {"u varchar(20) NOT NULL", "DROP PRIMARY KEY, ADD PRIMARY KEY (u)"},
		"a longer primary key": {"u varchar(20) NOT NULL", "DROP PRIMARY KEY, ADD PRIMARY KEY (u, id)"},
		"the key's column text": {"u varchar(20) NOT NULL, UNIQUE KEY (u)",
			"MODIFY u varchar(20) COLLATE utf8mb4_bin NOT NULL, DROP PRIMARY KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.exec("CREATE TABLE t (id int NOT NULL, v varchar(10), PRIMARY KEY (id), " + c.columns + ")")
			var rows []string
			for i := range 400 {
				rows = append(rows, fmt.Sprintf("(%d, %d, 'v')", i, 100_000+i))
			}
			k.exec("INSERT INTO t (id, u, v) VALUES " + strings.Join(rows, ", "))
			free := "'999999'"
			if strings.Contains(c.columns, "u(6)") {
				free = "'x'"
			}
			err := k.copyAt(c.clauses, func(m int) {
				r := seeded(t)
				for range 40 {
					a, b := r.IntN(400), r.IntN(400)
					if a == b {
						continue
					}
					k.transaction(fmt.Sprintf("SET @a = (SELECT u FROM t WHERE id = %d), @b = (SELECT u FROM t WHERE id = %d)", a, b),
						fmt.Sprintf("UPDATE t SET u = %s WHERE id = %d", free, a), fmt.Sprintf("UPDATE t SET u = @a WHERE id = %d", b),
						fmt.Sprintf("UPDATE t SET u = @b WHERE id = %d", a))
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			want := k.rows("SHOW CREATE TABLE t")
			k.asByHand(c.clauses, "*")
			if got := k.rows("SHOW CREATE TABLE _t_del"); strings.Contains(want[0], helperKey) ||
				strings.ReplaceAll(got[0], "_t_del", "t") != want[0] {
				t.Errorf("the table is\n%s\nby hand\n%s", want[0], got[0])
			}
		})
	}
}

// TestDuplicates: two rows that the new definition does not take both are an error that names one of them, and end the copy.
func TestDuplicates(t *testing.T) {
	for name, moment := range map[string]int{"copied": 0, "applied": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(20) COLLATE utf8mb4_bin, UNIQUE KEY (v))")
			k.exec("INSERT INTO t WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 900) SELECT i, CONCAT('v', i) FROM s")
			err := k.copyAt("MODIFY v varchar(20) COLLATE utf8mb4_0900_ai_ci", func(m int) {
				if m == moment {
					k.exec("UPDATE t SET v = 'V5' WHERE id = 777")
				}
			})
			var fit *FitError
			if !errors.As(err, &fit) || !strings.Contains(strings.ToLower(err.Error()), "duplicate entry 'v5'") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// TestChase: a backlog that becomes smaller is caught up with, however slowly; time to rest does not count.
func TestChase(t *testing.T) {
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	var got []bool
	c := chase{limit: 9 * time.Second}
	for i, backlog := range []int{900, 1000, 899, 950, 899, 5000, 6000, 7000} {
		c.rested(map[int]time.Duration{6: 20 * time.Second}[i])
		got = append(got, c.lost(at(6*i), backlog))
	}
	if want := []bool{false, false, false, false, true, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestCannotCatchUp: more is written all the time than the copy can follow. It says so, with its backlog, and ends.
func TestCannotCatchUp(t *testing.T) {
	k := newKit(t)
	k.exec("CREATE TABLE t (id int NOT NULL PRIMARY KEY, v int NOT NULL)",
		"SET SESSION cte_max_recursion_depth = 10000",
		"INSERT INTO t WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 9000) SELECT i, 0 FROM s")
	req := k.request("MODIFY v bigint NOT NULL")
	req.CatchUp = 2 * time.Second
	stop, stopped := make(chan struct{}), make(chan struct{})
	var began sync.Once
	req.Opportunity = func(context.Context) (string, error) {
		began.Do(func() {
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
						k.exec("UPDATE t SET v = v + 1")
					}
				}
			}()
		})
		return "somebody begins to write", nil
	}
	err := k.copy(req)
	began.Do(func() { close(stopped) })
	close(stop)
	<-stopped
	var behind *BehindError
	if !errors.As(err, &behind) || behind.Backlog+behind.Uncompared <= underLock/2 || !strings.Contains(err.Error(), "cannot catch up") {
		t.Errorf("got %v", err)
	}
}
