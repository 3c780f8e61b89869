package cotton

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"
)

// Every cluster has a certificate authority of its own: its key derives from the admin key, so that whoever has that makes the
// same authority, and nothing has to be distributed. A certificate of it proves that a server belongs to the cluster (I16).

// CertificateLife is for how long a server's certificate is good; it is renewed after half of that.
const CertificateLife = 90 * 24 * time.Hour

// An authority lasts as long as its key. Its certificate is the same to the byte wherever it is made.
var (
	authorityFrom = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	authorityTo   = time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)
)

// maxCommonName is what OpenSSL takes.
const maxCommonName = 64

// ErrNoIncarnation: what an earlier release made has no authority.
var ErrNoIncarnation = errors.New("the cluster has no incarnation, so its servers have no certificates")

// authority is the CA of a cluster under one key.
func (k AdminKey) authority(id Identity) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	if id.Incarnation == "" {
		return nil, nil, ErrNoIncarnation
	}
	var private *ecdsa.PrivateKey
	var err error
	for i := range 8 { // one try in 2^32 is no key of the curve
		if private, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), k.derive(32, "authority", id.Cluster, id.Incarnation, strconv.Itoa(i))); err == nil {
			break
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make the authority of cluster %s: %w", id.Cluster, err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: authorityFrom, NotAfter: authorityTo, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		Subject:  pkix.Name{Organization: []string{"cotton"}, OrganizationalUnit: []string{id.Cluster}, CommonName: authorityName + k.ID()},
	}
	der, err := x509.CreateCertificate(nil, template, template, private.Public(), private) // without randomness: RFC 6979
	if err != nil {
		return nil, nil, fmt.Errorf("make the authority of cluster %s: %w", id.Cluster, err)
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, private, err
}

// Files of a server's TLS, on its volume. They are beside the data, which a clone replaces.
const (
	TLSDir          = "tls"
	AuthoritiesFile = "ca.pem"     // all authorities of the cluster
	CertificateFile = "server.pem" // the server's certificate and its key, in one file: they are replaced together
	// AuthoritiesFromData is AuthoritiesFile as mysqld finds it, which works in its data directory.
	AuthoritiesFromData = "../" + TLSDir + "/" + AuthoritiesFile
)

// authorityName and the id of its key are what an authority is called.
const authorityName = "authority by key "

// Authorities are the certificates of all authorities of a cluster, PEM: those of every key of the file.
func (ks AdminKeys) Authorities(id Identity) ([]byte, error) {
	var out bytes.Buffer
	for _, k := range ks {
		certificate, _, err := k.authority(id)
		if err != nil {
			return nil, err
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// Roots are the authorities of a cluster, to verify its servers by.
func (ks AdminKeys) Roots(id Identity) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, k := range ks {
		certificate, _, err := k.authority(id)
		if err != nil {
			return nil, err
		}
		pool.AddCert(certificate)
	}
	return pool, nil
}

// ServerName is the name in a member's certificate that no other server in the world has.
func (id Identity) ServerName(member int) string {
	sum := sha256.Sum256([]byte(id.Cluster + "\x00" + id.Incarnation))
	return fmt.Sprintf("m%d.%s.cotton.invalid", member, hex.EncodeToString(sum[:16]))
}

// Server is what a certificate is made for.
type Server struct {
	Member int
	Hosts  []string // names and addresses by which clients and replicas connect
}

// Issue makes a new certificate with a new key for a server, both in one PEM text.
func (k AdminKey) Issue(id Identity, s Server, now time.Time) ([]byte, error) {
	certificate, signer, err := k.authority(id)
	if err != nil {
		return nil, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		NotBefore: authorityFrom, NotAfter: now.Add(CertificateLife), BasicConstraintsValid: true, // clocks that are behind do no harm
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		Subject:  pkix.Name{Organization: []string{"cotton"}, OrganizationalUnit: []string{id.Cluster}, CommonName: commonName(id, s.Member)},
		DNSNames: []string{id.ServerName(s.Member)},
	}
	for _, host := range s.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, certificate, private.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for %s: %w", commonName(id, s.Member), err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

func commonName(id Identity, member int) string {
	name := fmt.Sprintf("%s-%d", id.Cluster, member)
	return name[max(0, len(name)-maxCommonName):]
}

// Certificate is what Issue made, as it is read again.
type Certificate struct {
	Key   string    `json:"key"`   // id of the key that its authority derives from
	Until time.Time `json:"until"` // after which nobody accepts it
}

// ReadCertificate reads what Issue made, and tells what it is; the error says why it does not serve any more: another key is in
// use, it is for another server, or half of its life is over.
func (ks AdminKeys) ReadCertificate(id Identity, s Server, text []byte, now time.Time) (Certificate, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return Certificate{}, err
	}
	leaf := pair.Leaf
	c := Certificate{Key: issuer(leaf), Until: leaf.NotAfter}
	roots, err := ks[:1].Roots(id)
	if err != nil {
		return c, err
	}
	for _, name := range append([]string{id.ServerName(s.Member)}, s.Hosts...) {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			return c, err
		}
	}
	if left := leaf.NotAfter.Sub(now); left < CertificateLife/2 {
		return c, fmt.Errorf("it is good for %s more", left.Round(time.Second))
	} else if left > 2*CertificateLife {
		return c, errors.New("it is good for longer than any of ours: the clock was set back since")
	}
	return c, nil
}

// issuer is the id of the key that a certificate's authority derives from.
func issuer(c *x509.Certificate) string {
	return strings.TrimPrefix(c.Issuer.CommonName, authorityName)
}
