package osc

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/testkit"
)

// BenchmarkEngines: one table of AOSC_ROWS rows (200,000) of some 130 bytes with two secondary keys, idle: ALTER TABLE ... ALGORITHM=COPY,
// the engine keyed and gh-ost, the last two with their verification, one after the other in the same run. Ratios are to the native one.
func BenchmarkEngines(b *testing.B) {
	n := 200_000
	if s := os.Getenv("AOSC_ROWS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	const definition = "CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, pad char(100) NOT NULL DEFAULT 'x', " +
		"n int NOT NULL DEFAULT 1, PRIMARY KEY (id), KEY (v), KEY (n, id))"
	const desired = "CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, pad char(100) NOT NULL DEFAULT 'x', " +
		"n bigint NOT NULL DEFAULT 1, PRIMARY KEY (id), KEY (v), KEY (n, id))"
	for range b.N {
		took := map[Engine]time.Duration{}
		for _, engine := range []Engine{EngineDirect, EngineKeyed, EngineGhost} {
			k := newBench(b, testkit.Server(b))
			k.settings.CopyEngine, k.settings.ChunkSize, k.settings.DirectMaxRows = string(engine), 0, 0
			k.exec(definition)
			k.fill("t", n)
			began := time.Now()
			if engine == EngineDirect {
				k.exec("ALTER TABLE t MODIFY n bigint NOT NULL DEFAULT 1, ALGORITHM=COPY")
			} else {
				k.run("t", desired, engine)
			}
			took[engine] = time.Since(began)
			b.ReportMetric(took[engine].Seconds(), string(engine)+"-s")
			b.ReportMetric(float64(n)/took[engine].Seconds(), string(engine)+"-rows/s")
			k.exec("DROP TABLE t")
		}
		for _, engine := range []Engine{EngineKeyed, EngineGhost} {
			b.ReportMetric(float64(took[engine])/float64(took[EngineDirect]), fmt.Sprintf("%s/native", engine))
		}
	}
	b.ReportMetric(0, "ns/op")
}
