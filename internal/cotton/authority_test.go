package cotton_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
)

// TestAuthority: whoever has the key makes the same authority, to the byte; a certificate of it is good for its own server alone
// (I16): not for another member, another cluster, one of the same name, or under another key.
func TestAuthority(t *testing.T) {
	k1, k2 := cotton.AdminKey("0123456789abcdef"), cotton.AdminKey("fedcba9876543210")
	id := cotton.Identity{Cluster: "c0", Incarnation: "a"}
	now := time.Now()
	first, err := cotton.AdminKeys{k1, k2}.Authorities(id)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := (cotton.AdminKeys{k1, k2}).Authorities(id); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the authorities differ from one time to the next: %v", err)
	}
	text, err := k1.Issue(id, cotton.Server{Member: 2, Hosts: []string{"127.0.0.1", "db.example"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what string
		keys cotton.AdminKeys
		id   cotton.Identity
		name string
		at   time.Time
		good bool
	}{
		{"the member", cotton.AdminKeys{k1}, id, id.ServerName(2), now, true},
		{"its address", cotton.AdminKeys{k1}, id, "127.0.0.1", now, true},
		{"its host", cotton.AdminKeys{k1}, id, "db.example", now, true},
		{"while keys are rotated", cotton.AdminKeys{k2, k1}, id, id.ServerName(2), now, true},
		{"by a clock that is behind", cotton.AdminKeys{k1}, id, id.ServerName(2), now.Add(-24 * time.Hour), true},
		{"another member", cotton.AdminKeys{k1}, id, id.ServerName(1), now, false},
		{"another host", cotton.AdminKeys{k1}, id, "127.0.0.2", now, false},
		{"another cluster", cotton.AdminKeys{k1}, cotton.Identity{Cluster: "c1", Incarnation: "a"}, "127.0.0.1", now, false},
		{"another of that name", cotton.AdminKeys{k1}, cotton.Identity{Cluster: "c0", Incarnation: "b"}, "127.0.0.1", now, false},
		{"another key", cotton.AdminKeys{k2}, id, "127.0.0.1", now, false},
		{"too late", cotton.AdminKeys{k1}, id, "127.0.0.1", now.Add(cotton.CertificateLife + time.Second), false},
	} {
		roots, err := tc.keys.Roots(tc.id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tc.name, CurrentTime: tc.at}); (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
	if _, err := k1.Issue(cotton.Identity{Cluster: "c0"}, cotton.Server{Member: 1}, now); err == nil {
		t.Error("a cluster without an incarnation has a certificate")
	}
}

// TestReadCertificate: a certificate is made anew when half of its life is over, another key is in use, or it is for another host.
func TestReadCertificate(t *testing.T) {
	k1, k2 := cotton.AdminKey("0123456789abcdef"), cotton.AdminKey("fedcba9876543210")
	id, server, now := cotton.Identity{Cluster: "c0", Incarnation: "a"}, cotton.Server{Member: 2, Hosts: []string{"10.0.0.1"}}, time.Now()
	text, err := k1.Issue(id, server, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what   string
		keys   cotton.AdminKeys
		server cotton.Server
		text   []byte
		at     time.Time
		good   bool
	}{
		{"new", cotton.AdminKeys{k1, k2}, server, text, now, true},
		{"young", cotton.AdminKeys{k1}, server, text, now.Add(cotton.CertificateLife/2 - time.Hour), true},
		{"old", cotton.AdminKeys{k1}, server, text, now.Add(cotton.CertificateLife/2 + time.Hour), false},
		{"of an older key", cotton.AdminKeys{k2, k1}, server, text, now, false},
		{"for another host", cotton.AdminKeys{k1}, cotton.Server{Member: 2, Hosts: []string{"10.0.0.2"}}, text, now, false},
		{"half a file", cotton.AdminKeys{k1}, server, text[:len(text)/2], now, false},
	} {
		c, err := tc.keys.ReadCertificate(id, tc.server, tc.text, tc.at)
		if (err == nil) != tc.good || tc.good && c.Key != k1.ID() {
			t.Errorf("%s: %+v, %v", tc.what, c, err)
		}
	}
}
