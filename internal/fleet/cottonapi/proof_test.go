package cottonapi

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestImpostor: the pipeline's account, its pool and a DSN for aoscdb, is not told to whoever has an instance's port and cannot
// prove to be of its cluster (I16), with a certificate of its own making or without TLS; what is not verified is told at once.
func TestImpostor(t *testing.T) {
	port, err := loopback.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Release()
	a := mysql.Addr{Host: "127.0.0.1", Port: port.Number}
	key, id := cotton.AdminKey("0123456789abcdef"), cotton.Identity{Cluster: "c0", Incarnation: "i"}
	ca, err := cotton.AdminKeys{key}.Authorities(id)
	if err != nil {
		t.Fatal(err)
	}
	c := &cottonServer{}
	s := httptest.NewServer(c)
	defer s.Close()
	member := v1.Instance{Host: a.Host, Port: a.Port, Phase: "running"}
	c.set(200, v1.Cluster{Name: "c0", Instances: []v1.Instance{member}, Endpoints: v1.Endpoints{CA: string(ca)}})
	inv := open(t, Prefix+s.URL)
	for _, certificate := range []bool{true, false} {
		i := testkit.StartImpostor(t, a.String(), certificate)
		for _, tc := range []struct {
			what    string
			account mysql.Credentials
			told    bool
		}{
			{"verified by the inventory", mysql.Credentials{User: "aosc", Password: "geheim", TLS: "required", Authority: inv.Authority}, false},
			{"verified by the system", mysql.Credentials{User: "aosc", Password: "geheim", TLS: "required"}, false},
			{"not verified", mysql.Credentials{User: "aosc", Password: "geheim", TLS: "skip-verify"}, certificate},
			{"plain", mysql.Credentials{User: "aosc", Password: "geheim"}, true},
		} {
			before := len(i.Received())
			db, err := mysql.Open(a, tc.account, mysql.Options{ConnectTimeout: 3 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			err = db.PingContext(t.Context())
			db.Close()
			if got := i.Received()[before:]; err == nil || (len(got) > 0) != tc.told || !tc.told && !mysql.IsUnproven(err) {
				t.Errorf("certificate %v, %s: %v; the impostor was told %q", certificate, tc.what, err, got)
			}
		}
		before := len(i.Received())
		dsn, err := mysql.VerifyDSN(fmt.Sprintf("aosc:geheim@tcp(%s)/aoscdb?tls=skip-verify", a), ca)
		if err != nil {
			t.Fatal(err)
		}
		db, err := mysql.OpenDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		err = db.PingContext(t.Context())
		db.Close()
		if got := i.Received()[before:]; !mysql.IsUnproven(err) || len(got) > 0 {
			t.Errorf("certificate %v, aoscdb: %v; the impostor was told %q", certificate, err, got)
		}
		i.Stop()
	}
}

// TestAuthority: what cotton said last serves while it cannot be asked; a cluster of an earlier release, or an address that is
// no instance's, has no authority.
func TestAuthority(t *testing.T) {
	c := &cottonServer{}
	s := httptest.NewServer(c)
	defer s.Close()
	c.set(200, v1.Cluster{Name: "c0", Instances: []v1.Instance{instance(1, "running")}, Endpoints: v1.Endpoints{CA: "ca of c0"}},
		v1.Cluster{Name: "old", Instances: []v1.Instance{instance(2, "running")}})
	inv := open(t, Prefix+s.URL)
	if by, err := inv.Authority(mysql.Addr{Host: "db1", Port: 1}); err != nil || string(by.PEM) != "ca of c0" || by.Unproven {
		t.Errorf("%+v, %v", by, err)
	}
	if _, err := inv.Authority(mysql.Addr{Host: "db1", Port: 2}); !errors.Is(err, ErrUnproven) {
		t.Errorf("a cluster of an earlier release: %v", err)
	}
	if by, err := inv.Authority(mysql.Addr{Host: "db1", Port: 3}); err == nil {
		t.Errorf("an address of nobody: %+v", by)
	}
	c.set(503)
	if by, err := inv.Authority(mysql.Addr{Host: "db1", Port: 1}); err != nil || string(by.PEM) != "ca of c0" {
		t.Errorf("while cotton is away: %+v, %v", by, err)
	}
}
