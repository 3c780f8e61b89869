package zk_test

import (
	"errors"
	"strings"
	"testing"

	zklib "github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/cotton/discovery/zk"
	"github.com/aosc/aosc/internal/zookeeper"
)

// testAccess: clients without credentials read what is published, and can neither write nor delete any of it, nor take away the
// directory it is in; whether it was made now, by an earlier release, which let nobody read, or without credentials, when
// everybody could write.
func testAccess(t *testing.T, u zookeeper.URL) {
	anonymous := u
	anonymous.User, anonymous.Password = "", ""
	stranger := connect(t, anonymous)
	publish(t, zk.New(stranger, nil), "open", ptr(endpoint(1)), endpoint(2))
	publish(t, zk.New(connect(t, u), nil), "closed", ptr(endpoint(1)), endpoint(2)) // an earlier release: the user alone

	conn, err := zookeeper.Connect(t.Context(), u, zookeeper.Options{Access: zookeeper.Published, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	p := zk.New(conn, nil)
	changed, err := p.Protect(t.Context())
	if err != nil || changed != 11 { // discover, and of each cluster its own, two directories, two members
		t.Errorf("%d nodes changed, %v", changed, err)
	}
	if changed, err := p.Protect(t.Context()); err != nil || changed != 0 {
		t.Errorf("done again: %d nodes changed, %v", changed, err)
	}
	publish(t, p, "new", ptr(endpoint(1)), endpoint(2))

	for _, cluster := range []string{"open", "closed", "new"} {
		if got, _ := tree(t, stranger, u.Join("discover", cluster)); len(got) < 4 || !strings.Contains(got["/master/member_0000000001"], `"port"`) {
			t.Errorf("%s: a client without credentials reads %v", cluster, got)
		}
		master := u.Join("discover", cluster, "master")
		for what, try := range map[string]func(z *zklib.Conn) error{
			"overwrites the primary": func(z *zklib.Conn) error { _, err := z.Set(master+"/member_0000000001", []byte("{}"), -1); return err },
			"deletes the primary":    func(z *zklib.Conn) error { return z.Delete(master+"/member_0000000001", -1) },
			"adds a primary": func(z *zklib.Conn) error {
				_, err := z.Create(master+"/member_0000000009", []byte("{}"), 0, zklib.WorldACL(zklib.PermAll))
				return err
			},
			"opens it for all": func(z *zklib.Conn) error { _, err := z.SetACL(master, zklib.WorldACL(zklib.PermAll), -1); return err },
			"adds a sibling": func(z *zklib.Conn) error {
				_, err := z.Create(u.Join("store"), nil, 0, zklib.WorldACL(zklib.PermAll))
				return err
			},
		} {
			_, err := zookeeper.Do(t.Context(), stranger, func(z *zklib.Conn, _ bool) (struct{}, error) { return struct{}{}, try(z) })
			if !errors.Is(err, zklib.ErrNoAuth) {
				t.Errorf("%s: a client without credentials %s: %v", cluster, what, err)
			}
		}
	}
}
