package aoscdbkit_test

import (
	"testing"

	"github.com/aosc/aosc/internal/testkit"
	"github.com/aosc/aosc/internal/testkit/aoscdbkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestAOSCDB: two central databases are two, and have all tables.
func TestAOSCDB(t *testing.T) {
	a, b := aoscdbkit.AOSCDB(t), aoscdbkit.AOSCDB(t)
	if a.Database() == b.Database() {
		t.Errorf("both are called %s", a.Database())
	}
	if err := a.CheckVersion(t.Context()); err != nil {
		t.Error(err)
	}
}
