package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
)

// TestPlansOfAThousandDatabases: alike plans are one group whatever their database, and what differs is a group of its own.
func TestPlansOfAThousandDatabases(t *testing.T) {
	var plans []osc.Plan
	add := func(i int, engine osc.Engine, clauses string, rows, bytes uint64, refused string, loss ...schema.Finding) {
		p := osc.Plan{Engine: engine, Rows: rows, Bytes: bytes, Refused: refused, Findings: loss}
		p.Addr, p.Database, p.Table = mysql.Addr{Host: fmt.Sprintf("db%d", i%20), Port: 3306}, fmt.Sprintf("d%d", i), "t"
		if clauses != "" {
			p.SQL = schema.AlterStatement(p.Database, "t", "", clauses)
		}
		plans = append(plans, p)
	}
	for i := range 1000 {
		switch {
		case i == 17:
			add(i, osc.EngineGhost, "ADD COLUMN `c` int, MODIFY COLUMN `a` bigint", 3_000_000, 4<<30, "")
		case i == 18:
			add(i, osc.EngineInstant, "DROP COLUMN `b`, ADD COLUMN `c` int", 7, 1<<20, "data would be lost",
				schema.Finding{Code: schema.DropColumn, Column: "b", Detail: "gone"})
		case i >= 900:
			add(i, osc.EngineNone, "", 100, 1<<20, "")
		case i >= 890:
			add(i, osc.EngineGhost, "ADD COLUMN `c` int, MODIFY COLUMN `a` bigint", 10_000, 1<<20,
				fmt.Sprintf("`d%d`: the change needs a copy (%d rows, direct_max_rows is 5000) and none can be made: x", i, 10_000+i))
		default:
			add(i, osc.EngineInstant, "ADD COLUMN `c` int", 100, uint64(i+1)<<10, "")
		}
	}
	var out strings.Builder
	printPlans(&out, plans)
	want := `  888 databases on 20 instances: instant, 88,800 rows, 387.2 MiB, largest d889 on db9:3306 (890.0 KiB)
    ALTER TABLE ` + "`t` ADD COLUMN `c` int" + `
  10 databases on 10 instances: ghost, 100,000 rows, 10.0 MiB, largest d890 on db10:3306 (1.0 MiB)
    ALTER TABLE ` + "`t` ADD COLUMN `c` int, MODIFY COLUMN `a` bigint" + `
    refused: ` + "`<database>`" + `: the change needs a copy (10890 rows, direct_max_rows is 5000) and none can be made: x
    (and 9 more that differ only in figures)
  d17 on db17:3306: ghost, 3,000,000 rows, 4.0 GiB
    ALTER TABLE ` + "`t` ADD COLUMN `c` int, MODIFY COLUMN `a` bigint" + `
  d18 on db18:3306: instant, 7 rows, 1.0 MiB
    ALTER TABLE ` + "`t` DROP COLUMN `b`, ADD COLUMN `c` int" + `
    loses data: drop_column b: gone
    refused: data would be lost
  100 databases on 20 instances: nothing to do
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
