package cotton

import (
	"errors"
	"testing"
)

// TestReservedUser: names of the server's and of cotton's accounts are refused for the cluster's user, in any case.
func TestReservedUser(t *testing.T) {
	spec := Spec{Name: "c", Nodes: 3, Policy: PolicyLossless, Size: Size{CPUs: 1, MemMB: 512, DiskMB: 1024}}
	for _, name := range []string{"root", "Root", "mysql.sys", "mysql.session", "mysql.infoschema", "MYSQL.sys", "cotton_admin", "COTTON_ADMIN", "cotton_repl",
		"Cotton_Repl", "cotton_x", "event_scheduler"} {
		spec.User = name
		var invalid *InvalidError
		if err := spec.Validate(); !errors.As(err, &invalid) || invalid.Field != "cluster_user" {
			t.Errorf("%q is taken: %v", name, err)
		}
	}
	for _, name := range []string{"app", "aosc", "cotton", "rooted", "mysql", "my.app"} {
		spec.User = name
		if err := spec.Validate(); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
}
