package fleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
)

// member builds what one instance said, from a few words. Its server_uuid is its host name.
//
//	"p"            writable, no source
//	"ro"           read-only, no source
//	"x"            no answer
//	"<p"           receiving from the member named p
//	"-p"           a replica of p whose receiver is stopped; "~p" one that is trying to connect
//	"!<p"          likewise, but writable
func member(host, said string) Observed {
	o := Observed{Instance: Instance{Tier: "udb", Cluster: "udb-1", Host: host, Port: 3306}}
	o.Server = mysql.Server{UUID: host, ReadOnly: true, SuperReadOnly: true}
	said, writable := strings.CutPrefix(said, "!")
	switch {
	case said == "x":
		return Observed{Instance: o.Instance, Role: RoleUnknown, Err: errors.New("no answer within 1s")}
	case said == "p", writable:
		o.Server.ReadOnly, o.Server.SuperReadOnly = false, false
	}
	if source := said[1:]; strings.ContainsAny(said[:1], "<-~") {
		o.Replica = &mysql.ReplicaStatus{Source: mysql.Addr{Host: source, Port: 3306}, SourceUUID: source, SQLRunning: "Yes",
			IORunning: map[byte]string{'<': "Yes", '-': "No", '~': "Connecting"}[said[0]]}
	}
	o.Role = roleOf(o.Server, o.Replica)
	return o
}

// view builds a cluster of members named a, b, c, ...
func view(said ...string) ClusterView {
	v := ClusterView{Cluster: Cluster{Tier: "udb", Name: "udb-1"}}
	for i, s := range said {
		m := member(string(rune('a'+i)), s)
		v.Members = append(v.Members, m)
		v.Instances = append(v.Instances, m.Instance)
	}
	return v
}

func TestRoleIsReadFromTheServer(t *testing.T) {
	for said, want := range map[string]Role{
		"p": RolePrimary, "ro": RoleUnknown, "x": RoleUnknown, "<a": RoleReplica, "-a": RoleReplica, "!<a": RoleReplica, "!-a": RoleReplica,
	} {
		if got := member("m", said).Role; got != want {
			t.Errorf("%q is %s, want %s", said, got, want)
		}
	}
}

// I2: two that can commit are never taken for one. I11: a member that did not answer is neither dead nor a replica.
func TestPrimary(t *testing.T) {
	for _, c := range []struct {
		what    string
		members []string
		primary string // its host
		err     error
		says    string
	}{
		{"alone", []string{"p"}, "a", nil, ""},
		{"with a replica", []string{"p", "<a"}, "a", nil, ""},
		{"listed last", []string{"<c", "<c", "p"}, "c", nil, ""},
		{"with a stopped replica", []string{"p", "-a"}, "a", nil, ""},
		{"with a writable replica", []string{"p", "!<a"}, "a", nil, ""},
		{"all answered, nobody follows it", []string{"p", "<outside"}, "a", nil, ""},
		{"with a read-only member that follows nobody", []string{"p", "<a", "ro"}, "a", nil, ""},

		{"none", []string{"<b", "<a"}, "", ErrNoPrimary, "a:3306 is a replica of b:3306"},
		{"none, fenced", []string{"ro", "<a"}, "", ErrNoPrimary, "a:3306 is read-only and follows nobody"},
		{"none seen", []string{"x", "<a", "<a"}, "", ErrNoPrimary, "a:3306 cannot be judged: no answer within 1s"},
		{"nobody answered", []string{"x", "x"}, "", ErrNoPrimary, "b:3306 cannot be judged"},
		{"no members", nil, "", ErrNoPrimary, "cluster udb-1"},

		{"two", []string{"p", "p", "<a"}, "", ErrManyPrimaries, "make all but one read-only"},
		{"two, one with all the replicas", []string{"p", "<a", "<a", "<a", "p"}, "", ErrManyPrimaries, "e:3306 is writable"},
		{"two and a silent one", []string{"p", "p", "x"}, "", ErrManyPrimaries, "c:3306 cannot be judged"},

		{"one of three silent", []string{"p", "<a", "x"}, "a", nil, ""},
		{"two of five silent", []string{"p", "<a", "x", "x", "<a"}, "a", nil, ""},
		{"vouched for through a replica", []string{"p", "<a", "<b", "x", "x"}, "a", nil, ""},
		{"one of two silent", []string{"p", "x"}, "", ErrUncertainPrimary, "a:3306 takes writes, but with the replicas receiving from it it is only 1 of 2"},
		{"the only replica of three has stopped receiving", []string{"p", "-a", "x"}, "", ErrUncertainPrimary, "1 of 3"},
		{"the only replica of three is trying to connect", []string{"p", "~a", "x"}, "", ErrUncertainPrimary, "1 of 3"},
		{"half is not enough", []string{"p", "<a", "x", "x"}, "", ErrUncertainPrimary, "2 of 4"},
		{"a majority was silent", []string{"p", "<a", "x", "x", "x"}, "", ErrUncertainPrimary, "2 of 5"},
		{"a replica follows the silent one", []string{"p", "<c", "x"}, "", ErrUncertainPrimary, "b:3306 is receiving from c:3306, which was not seen"},
		{"a replica follows the silent one, outvoted", []string{"p", "<a", "<a", "<e", "x"}, "", ErrUncertainPrimary, "d:3306 is receiving from e:3306"},
		{"a replica still has the dead primary as its source", []string{"p", "<a", "~d", "x", "<a"}, "a", nil, ""},
		{"a chain broken on the way", []string{"p", "-a", "<b", "x", "<b"}, "", ErrUncertainPrimary, "1 of 5"},
		{"a ring beside it", []string{"p", "<c", "<b", "x"}, "", ErrUncertainPrimary, "1 of 4"},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, err := view(c.members...).Primary()
			if !errors.Is(err, c.err) || got.Host != c.primary {
				t.Fatalf("primary %q, error %v; want %q, %v", got.Host, err, c.primary, c.err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "tier udb, cluster udb-1")) {
				t.Errorf("the error does not say %q: %v", c.says, err)
			}
		})
	}
}

func TestReplicas(t *testing.T) {
	var hosts []string
	for _, r := range view("p", "<a", "x", "-a", "ro").Replicas() {
		hosts = append(hosts, r.Host)
	}
	if got := fmt.Sprint(hosts); got != "[b d]" {
		t.Errorf("replicas %s", got)
	}
}

func TestProblems(t *testing.T) {
	if got := view("p", "<a", "<a").Problems(); len(got) != 0 {
		t.Errorf("a healthy cluster has %v", got)
	}
	v := view("p", "!<a", "-a", "x", "ro", "<outside", "<a")
	v.Members[2].Replica.IOError = "error 2003: cannot connect (now)"
	v.Members[6].Server.UUID = "b"
	want := []string{
		"b:3306: is a replica of a:3306 but takes writes",
		"c:3306: does not replicate (receiving: No, applying: Yes): error 2003: cannot connect (now)",
		"d:3306: cannot be judged: no answer within 1s",
		"e:3306: is read-only and follows nobody",
		"f:3306: follows outside:3306 (server_uuid outside), which is no member that answered",
		"g:3306: has the server_uuid of b:3306: the same server listed twice, or a copied auto.cnf",
		"tier udb, cluster udb-1: primary uncertain (f:3306 is receiving from outside:3306, which was not seen and may be primary)",
	}
	got := v.Problems()
	for i, w := range want {
		if i >= len(got) || !strings.HasPrefix(got[i].String(), w) {
			t.Fatalf("problem %d is not %q:\n%v", i, w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("further problems: %v", got[len(want):])
	}
}

func TestLag(t *testing.T) {
	lagging := member("b", "<a")
	seconds := int64(90)
	lagging.Replica.SecondsBehind = &seconds
	if lag, known := lagging.Lag(); !known || lag.Seconds() != 90 {
		t.Errorf("lag %v, %v", lag, known)
	}
	// A replica that lost its source goes on to say 0 seconds once it has applied what it had.
	lagging.Replica.IORunning = "Connecting"
	for what, o := range map[string]Observed{
		"not connected": lagging, "does not know": member("b", "<a"), "silent": member("b", "x"), "neither": member("b", "ro"),
	} {
		if lag, known := o.Lag(); known {
			t.Errorf("%s: lag %v is taken for known (I11)", what, lag)
		}
	}
	if lag, known := member("a", "p").Lag(); !known || lag != 0 {
		t.Errorf("a primary lags %v, %v", lag, known)
	}
}

func TestIsReservedDatabase(t *testing.T) {
	for name, want := range map[string]bool{
		"mysql": true, "sys": true, "information_schema": true, "performance_schema": true, "my_schema": true, "MySQL": true,
		"aosc": true, "aoscdb": true, "aosc_scratch_17": true, "AOSC_SCRATCH": true, "ndbinfo": true,
		"dbid17": false, "schema": false, "aosc2": false, "aoscdb_copy": false, "mysql2": false, "": false, "_scheme": false,
	} {
		if got := IsReservedDatabase(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
