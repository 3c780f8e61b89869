package keyed

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
		Database: "db", Table: "t",
		Server: mysql.Server{LogBin: true, BinlogFormat: "ROW", BinlogRowImage: "MINIMAL", BinlogTransactionCompression: true, GTIDMode: "ON",
			GTIDExecuted: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"},
		Engine: "InnoDB",
		Original: verify.Table{Columns: []verify.Column{{Name: "id", DataType: "int", Type: "int"}},
			Keys: []verify.Key{{Name: "PRIMARY", Columns: []string{"id"}, Visible: true}}},
		Beside: []preflight.Beside{{Name: "t", Kind: "BASE TABLE", Engine: "InnoDB"}},
	}
}

// TestChecks: facts that are good are refused by none, and each check is where it is looked for.
func TestChecks(t *testing.T) { checktest.All(t, Engine{}.Checks(), good()) }
