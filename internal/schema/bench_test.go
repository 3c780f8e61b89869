package schema_test

import (
	"fmt"
	"testing"

	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

const benchTable = "CREATE TABLE %s (id int PRIMARY KEY, a int, b varchar(40) NOT NULL DEFAULT '', c datetime, d json, KEY k (a, b), KEY l (c))"

func benchEnv(b *testing.B) schema.DBEnv {
	envs, err := schema.ReadDBEnvs(b.Context(), testkit.Server(b).DB(), []string{"mysql"})
	if err != nil {
		b.Fatal(err)
	}
	return envs["mysql"]
}

// BenchmarkMaterialise is a cold start with many tables; per table.
func BenchmarkMaterialise(b *testing.B) {
	db, env := testkit.Server(b).DB(), benchEnv(b)
	var ds []schema.Desired
	for n := range b.N {
		name := fmt.Sprintf("t%d", n)
		ds = append(ds, desired(name, fmt.Sprintf(benchTable, name)))
	}
	b.ResetTimer()
	if _, errs := (&schema.Materialiser{}).Forms(b.Context(), db, ds, env); len(errs) > 0 {
		b.Fatal(errs)
	}
}

// BenchmarkProve is one proof, which many equal tables share.
func BenchmarkProve(b *testing.B) {
	db, env := testkit.Server(b).DB(), benchEnv(b)
	mat := &schema.Materialiser{}
	form := func(text string) schema.Form {
		f, err := mat.Form(b.Context(), db, desired("t", text), env)
		if err != nil {
			b.Fatal(err)
		}
		return f
	}
	from := form(fmt.Sprintf(benchTable, "t"))
	for name, to := range map[string]schema.Form{
		"instant": form("CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(40) NOT NULL DEFAULT '', c datetime, d json, e int, KEY k (a, b), KEY l (c))"),
		"copy":    form("CREATE TABLE t (id int PRIMARY KEY, a bigint, b varchar(40) NOT NULL DEFAULT '', c datetime, d json, KEY k (a, b), KEY l (c))"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := schema.Diff(from, to, env.Version)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := schema.Prove(b.Context(), db, env, from, to, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNormalise(b *testing.B) {
	text := create("`id` int NOT NULL", "`a` varchar(40) CHARACTER SET latin1 DEFAULT NULL", "`b` varchar(40) COLLATE utf8mb4_bin NOT NULL DEFAULT ''",
		"`c` datetime DEFAULT NULL", "PRIMARY KEY (`id`)", "KEY `k` (`a`,`b`)", "KEY `l` (`c`)", "CONSTRAINT `x` CHECK ((`a` <> _utf8mb4'x'))")
	for b.Loop() {
		if _, err := schema.Normalise(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiff(b *testing.B) {
	f, err := schema.Normalise(create("`id` int NOT NULL", "`a` int", "`b` varchar(9)", "PRIMARY KEY (`id`)"))
	if err != nil {
		b.Fatal(err)
	}
	g, err := schema.Normalise(create("`id` int NOT NULL", "`a` bigint", "`b` varchar(9)", "`c` json", "PRIMARY KEY (`id`)"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := schema.Diff(f, g, version); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCurrent reads many tables; per table.
func BenchmarkCurrent(b *testing.B) {
	srv := testkit.Server(b)
	database := testkit.Database(b, srv)
	const tables = 200
	var refs []schema.Ref
	for n := range tables {
		name := fmt.Sprintf("t%d", n)
		testkit.Exec(b, srv, fmt.Sprintf(benchTable, "`"+database+"`."+name))
		refs = append(refs, schema.Ref{Database: database, Table: name})
	}
	for b.Loop() {
		if forms, err := schema.CurrentForms(b.Context(), srv.DB(), refs); err != nil || len(forms) != tables {
			b.Fatal(len(forms), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*tables), "µs/table")
}
