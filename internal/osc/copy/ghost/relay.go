package ghost

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// relay sits between gh-ost and the server where connections are encrypted, for what is encrypted cannot be corrected. It
// lets the beginning of the protocol pass, in which both agree on TLS, then ends gh-ost's encryption within this process
// and speaks TLS to the server on its own, by the very settings gh-ost was given. Authentication and everything else
// pass through it unchanged.
type relay struct {
	server *tls.Config // towards the server
	own    tls.Certificate
}

// newRelay prepares a relay for connections that gh-ost makes with the given settings. They come to trust the relay's
// certificate, whose key never leaves this process.
func newRelay(ghost *tls.Config) (*relay, error) {
	if ghost == nil {
		return nil, errors.New("gh-ost has no TLS settings")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "aosc relay"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{ghost.ServerName},
	}
	if ip := net.ParseIP(ghost.ServerName); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	r := &relay{server: ghost.Clone(), own: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	if ghost.RootCAs != nil {
		r.server.RootCAs = ghost.RootCAs.Clone() // the server is not to be believed this certificate
		ghost.RootCAs.AddCert(certificate)       // all of gh-ost's settings share this pool
	}
	return r, nil
}

// connect returns the near end of a relayed connection over conn, which it owns from now on.
func (r *relay) connect(conn *net.TCPConn, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		conn.Close()
		return nil, err
	}
	near, far := net.Pipe()
	go func() {
		defer conn.Close()
		defer far.Close()
		// gh-ost sees a connection that breaks; its own log says more than this error could.
		_ = r.serve(far, conn, host)
	}()
	return near, nil
}

// serve relays between gh-ost's end and the server until either closes.
func (r *relay) serve(far net.Conn, conn *net.TCPConn, host string) error {
	if err := forwardPacket(far, conn); err != nil { // the server's greeting
		return err
	}
	if err := forwardPacket(conn, far); err != nil { // gh-ost's request for TLS
		return err
	}
	inner := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{r.own}, MinVersion: tls.VersionTLS12})
	settings := r.server.Clone()
	settings.ServerName = host
	outer := tls.Client(conn, settings)
	if err := outer.Handshake(); err != nil {
		return fmt.Errorf("TLS with %s: %w", host, err)
	}
	if err := inner.Handshake(); err != nil {
		return err
	}
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		_, _ = io.Copy(inner, outer) // ends when the server closes, or we do below
		far.Close()
	}()
	_, err := io.Copy(correctedWriter{outer, &corrector{}}, inner)
	conn.Close()
	<-answers
	return err
}

// correctedWriter corrects what is written through it.
type correctedWriter struct {
	w io.Writer
	c *corrector
}

func (w correctedWriter) Write(p []byte) (int, error) {
	if _, err := w.w.Write(w.c.correct(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// forwardPacket passes exactly one packet on.
func forwardPacket(to io.Writer, from io.Reader) error {
	var header [packetHeader]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		return err
	}
	packet := make([]byte, packetHeader+payloadLength(header[:]))
	copy(packet, header[:])
	if _, err := io.ReadFull(from, packet[packetHeader:]); err != nil {
		return err
	}
	_, err := to.Write(packet)
	return err
}
