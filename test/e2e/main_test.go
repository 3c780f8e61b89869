// Package e2e tests the pipeline as an operator has it: the real programs as processes, real MySQL clusters, a real git
// repository, and SQL. What one package promises is tested there; here is what only all of them together can keep.
//
// AOSC_BIN names a directory with built programs; without it they are built once per run. AOSC_E2E=full takes every
// fault point, and an outage of a minute, where the ordinary run takes a selection and seconds (`make faults`).
package e2e

import (
	"flag"
	"os"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit/site"
)

// full: everything, however long it takes.
var full = os.Getenv("AOSC_E2E") == "full"

func TestMain(m *testing.M) {
	// Sites mostly wait, for their daemons' intervals: more at a time than processors.
	if err := flag.Set("test.parallel", "3"); err != nil {
		panic(err)
	}
	site.Main(m)
}

// place is a site, and what these tests do on it.
type place struct{ *site.Site }

func newPlace(t *testing.T, tier func(*aoscdb.Tier), clusters ...*mysqld.Cluster) *place {
	t.Helper()
	return &place{site.New(t, tier, clusters...)}
}

// slowly starts one of each daemon; copies are made in small chunks, so that they take long enough to be talked to.
func (s *place) slowly() map[string]*site.Daemon {
	s.T.Helper()
	daemons := map[string]*site.Daemon{}
	for _, name := range site.Names {
		daemons[name] = s.Daemon(name, "", map[string][]string{"oscworker": {"--oscworker-chunk-size=20"}}[name]...)
	}
	return daemons
}
