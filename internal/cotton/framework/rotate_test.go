package framework_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// setKeys replaces the file of keys as a whole: in this test schedulers and executors have the same.
func (s *site) setKeys(keys ...cotton.AdminKey) {
	s.t.Helper()
	if err := os.WriteFile(s.Keyfile+".new", cotton.AdminKeys(keys).Format(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.Keyfile+".new", s.Keyfile); err != nil {
		s.t.Fatal(err)
	}
}

// letsIn tells whether a server accepts one password of an account, over TLS that is not verified: also with keys that are gone.
func letsIn(ctx context.Context, a mysql.Addr, account, password string) bool {
	db, err := mysql.Open(a, mysql.Credentials{User: account, Password: password, TLS: "skip-verify"}, mysql.Options{})
	if err != nil {
		return false
	}
	defer db.Close()
	return db.PingContext(ctx) == nil
}

// uses tells whether all executors have exactly these keys, and all servers certificates of the first.
func uses(ids ...string) func(framework.View) bool {
	return func(v framework.View) bool {
		for _, i := range v.Instances {
			if !slices.Equal(i.Keys, ids) || i.Certificate == nil || i.Certificate.Key != ids[0] {
				return false
			}
		}
		return len(v.Instances) > 0
	}
}

// TestRotation: the admin key is replaced by another one under load, in the three steps of the documentation, without a
// restart of anything: certificates, the accounts' passwords and the channels move to it, no acknowledged write is lost, and at the end
// nothing of the old key is good any more.
func TestRotation(t *testing.T) {
	s := newSite(t, "executor", 3)
	f, _ := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 3)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(3))
	before := s.tasks()
	l := s.load()
	l.writes(50)
	id := v.Record.Identity()
	first := s.keys().Current()
	next := cotton.AdminKey("another key that is long enough, too")

	s.setKeys(first, next)
	s.await(f, "c0", "all have the new key as their second", uses(first.ID(), next.ID()))
	s.setKeys(next, first)
	s.await(f, "c0", "all use the new key", uses(next.ID(), first.ID()))
	member := func(m cotton.Member) *sql.DB { return s.administrator("c0", mysql.Addr{Host: m.Host, Port: m.Port}) }
	testkit.Eventually(t, 2*patience, "accounts and channels use the new key", func() bool {
		for _, m := range v.Record.Members {
			for _, account := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
				has, err := mysql.ReadPasswords(t.Context(), member(m), account)
				if err != nil || !mysql.CheckPassword(has.Current, next.Password(id, account)) || !has.TLSOnly {
					return false
				}
			}
			if m.ID == v.Record.Primary {
				continue
			}
			c, err := mysql.ReadChannelSecrets(t.Context(), member(m))
			if err != nil || c == nil || !c.Password(next.Password(id, cotton.ReplicationAccount)) || c.VerifyBy != cotton.AuthoritiesFromData {
				return false
			}
		}
		return true
	})
	for _, m := range v.Record.Members { // until it is taken out, the old one is accepted
		if a := (mysql.Addr{Host: m.Host, Port: m.Port}); !letsIn(t.Context(), a, cotton.AdminAccount, first.Password(id, cotton.AdminAccount)) {
			t.Errorf("%s does not accept the old password before the old key is taken out", a)
		}
	}
	s.setKeys(next)
	s.await(f, "c0", "all have the new key alone", uses(next.ID()))
	testkit.Eventually(t, 2*patience, "the old passwords are good no more", func() bool {
		for _, m := range v.Record.Members {
			for _, account := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
				if letsIn(t.Context(), mysql.Addr{Host: m.Host, Port: m.Port}, account, first.Password(id, account)) {
					return false
				}
			}
		}
		return true
	})
	l.writes(50)
	v = s.await(f, "c0", "the cluster is complete", complete(3))
	s.healthy(v, 3)
	if after := s.tasks(); len(after) != len(before) || v.Record.Epoch != 1 {
		t.Errorf("tasks %v, then %v, epoch %d: something was restarted or changed", before, after, v.Record.Epoch)
	}
	l.settle(v)
	if stats := l.w.Stats(); stats.Refused > 0 || stats.Unknown > 0 {
		t.Errorf("%d writes refused, %d unknown", stats.Refused, stats.Unknown)
	}
}

// TestFormerRelease: a cluster that the release before this one made is taken over as it is: passwords that derive from its name
// alone, certificates that nobody can verify. Restarted, its servers prove who they are, and its passwords move to those that
// derive from its incarnation; the former ones are good no more.
func TestFormerRelease(t *testing.T) {
	t.Parallel()
	s := newSite(t, "executor", 2)
	f, stop := s.scheduler()
	if _, err := f.Create(t.Context(), spec("c0", 2)); err != nil {
		t.Fatal(err)
	}
	v := s.await(f, "c0", "the cluster is complete", complete(2))
	primary := s.administrator("c0", mysql.Addr{Host: v.Endpoints.Primary.Host, Port: v.Endpoints.Primary.Port})
	replica := s.administrator("c0", mysql.Addr{Host: v.Endpoints.Replicas[0].Host, Port: v.Endpoints.Replicas[0].Port})
	stop()
	old := cotton.Identity{Cluster: "c0"}
	key := s.keys().Current()
	if err := primary.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, replica, "STOP REPLICA IO_THREAD", "CHANGE REPLICATION SOURCE TO SOURCE_SSL_VERIFY_SERVER_CERT = 0, SOURCE_SSL_CA = '', SOURCE_PASSWORD = '"+
		key.Password(old, cotton.ReplicationAccount)+"'")
	for _, account := range []string{cotton.ReplicationAccount, cotton.AdminAccount} {
		hash, err := mysql.HashPassword(key.Password(old, account))
		if err != nil {
			t.Fatal(err)
		}
		must(t, primary, "ALTER USER '"+account+"'@'%' IDENTIFIED WITH caching_sha2_password AS '"+hash+"'")
	}
	s.edit("c0", func(r map[string]any) {
		delete(r, "incarnation")
		for _, m := range r["members"].([]any) {
			delete(m.(map[string]any), "proves")
		}
	})
	must(t, replica, "START REPLICA")

	f, _ = s.scheduler()
	v = s.await(f, "c0", "the cluster is taken over", func(v framework.View) bool {
		return v.Endpoints.Primary != nil && len(v.Endpoints.Replicas) == 1 && len(v.Problems) > 0
	})
	if v.Record.Incarnation == "" || !v.Record.Former || v.Endpoints.CA != "" || !slices.ContainsFunc(v.Problems, func(p string) bool { return contains(p, "cotton restart c0") }) {
		t.Errorf("taken over: incarnation %q, former %v, CA %q, problems %q", v.Record.Incarnation, v.Record.Former, v.Endpoints.CA, v.Problems)
	}
	if _, err := f.Operate(t.Context(), "c0", cotton.Request{Kind: cotton.OpRestart}, false); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 4*patience, "nothing of the release before is in use", func() bool {
		v, err := f.Cluster(t.Context(), "c0")
		return err == nil && complete(2)(v) && v.Record.Operation == nil && !v.Record.Former && v.Endpoints.CA != ""
	})
	v, err := f.Cluster(t.Context(), "c0")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range v.Record.Members {
		for _, account := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
			a := mysql.Addr{Host: m.Host, Port: m.Port}
			testkit.Eventually(t, patience, "the former password is good no more", func() bool {
				return !letsIn(t.Context(), a, account, key.Password(old, account))
			})
		}
	}
	s.healthy(v, 2)
}

// edit changes a stored record while no scheduler runs.
func (s *site) edit(name string, change func(map[string]any)) {
	s.t.Helper()
	path := filepath.Join(s.Dir, "store", "clusters", name+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var stored map[string]any
	if err := json.Unmarshal(text, &stored); err != nil {
		s.t.Fatal(err)
	}
	change(stored["value"].(map[string]any))
	if text, err = json.Marshal(stored); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
}
