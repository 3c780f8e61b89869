package ghost

import (
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
	"github.com/aosc/aosc/internal/osc/copy/preflight/checktest"
	"github.com/aosc/aosc/internal/osc/verify"
)

// good are facts that speak for a copy of table t.
func good() preflight.Facts {
	return preflight.Facts{
		Database: "db", Table: "t", Taken: []string{"_t_gho", "_t_ghc", "_t_del"},
		Server: mysql.Server{LogBin: true, BinlogFormat: "ROW", BinlogRowImage: "FULL", Datadir: "/data"},
		User:   "osc@%",
		Engine: "InnoDB",
		Original: verify.Table{Columns: []verify.Column{{Name: "id", DataType: "int", Type: "int"}},
			Keys: []verify.Key{{Name: "PRIMARY", Columns: []string{"id"}, Visible: true}}},
		Grants: []string{"GRANT ALL PRIVILEGES ON *.* TO `osc`@`%`"},
		Beside: []preflight.Beside{{Name: "t", Kind: "BASE TABLE", Engine: "InnoDB"}},
	}
}

func refuses(t *testing.T, c preflight.Check, f preflight.Facts, words string) {
	t.Helper()
	checktest.Refuses(t, c, f, words)
}

// TestChecks: facts that are good are refused by none, and each check is where it is looked for.
func TestChecks(t *testing.T) { checktest.All(t, Engine{}.Checks(), good()) }
