package preflight

import (
	"testing"
)

func TestTaken(t *testing.T) {
	f := good()
	f.Taken = []string{"_t_gho", "_t_ghc", "_t_del"}
	for _, name := range f.Taken {
		f.Beside = append(good().Beside, Beside{Name: name, Kind: "BASE TABLE", Engine: "InnoDB"})
		f.Recorded = nil
		refuses(t, Taken, f, "none of ours")
		f.Recorded = map[string]bool{name: true}
		refuses(t, Taken, f, "")
	}
	f.Beside = append(good().Beside, Beside{Name: "other"})
	refuses(t, Taken, f, "")
}
