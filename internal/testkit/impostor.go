package testkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Impostor is whoever binds the port of a MySQL server that is down. It speaks enough of the protocol to be sent what a client
// logs in with, and keeps that.
type Impostor struct {
	tls      *tls.Config // nil: it says that it has no TLS
	listener net.Listener
	served   sync.WaitGroup

	mu       sync.Mutex
	callers  int
	refused  int
	received []string
	open     map[net.Conn]bool
}

// StartImpostor waits until it has the port, and ends with the test. With a certificate it is one of its own making.
func StartImpostor(t testing.TB, addr string, certificate bool) *Impostor {
	t.Helper()
	i := &Impostor{open: map[net.Conn]bool{}}
	if certificate {
		i.tls = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	}
	config := net.ListenConfig{} // SO_REUSEADDR is set
	Eventually(t, 20*time.Second, "an impostor has the port "+addr, func() bool {
		var err error
		i.listener, err = config.Listen(context.Background(), "tcp", addr)
		return err == nil
	})
	i.served.Add(1)
	go i.serve()
	t.Cleanup(i.Stop)
	return i
}

// Stop gives the port back. Stopping again does nothing.
func (i *Impostor) Stop() {
	i.listener.Close() // a second time it says that it is closed
	i.mu.Lock()
	for c := range i.open {
		c.Close()
	}
	i.mu.Unlock()
	i.served.Wait()
}

// Callers is how many connections came, and of them how many broke off the TLS handshake.
func (i *Impostor) Callers() (all, refused int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.callers, i.refused
}

// Received is what clients sent to log in: "user: secret".
func (i *Impostor) Received() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.received)
}

func (i *Impostor) serve() {
	defer i.served.Done()
	for {
		c, err := i.listener.Accept()
		if err != nil {
			return
		}
		i.mu.Lock()
		i.callers++
		i.open[c] = true
		i.mu.Unlock()
		i.served.Go(func() {
			// However it ends: what was received is kept.
			_ = i.talk(c)
			c.Close()
			i.mu.Lock()
			delete(i.open, c)
			i.mu.Unlock()
		})
	}
}

// Capabilities of MySQL's protocol.
const (
	capLongPassword, capConnectWithDB, capProtocol41, capSSL            = 1, 8, 0x200, 0x800
	capTransactions, capSecureConnection, capPluginAuth, capAuthLenEncs = 0x2000, 0x8000, 0x80000, 0x200000
)

func (i *Impostor) talk(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if err := writePacket(c, 0, i.greeting()); err != nil {
		return err
	}
	seq, answer, err := readPacket(c)
	if err != nil {
		return err
	}
	if i.tls != nil && len(answer) == 32 { // SSLRequest
		secure := tls.Server(c, i.tls)
		if err := secure.Handshake(); err != nil {
			i.mu.Lock()
			i.refused++
			i.mu.Unlock()
			return err
		}
		c = secure
		if seq, answer, err = readPacket(c); err != nil {
			// TLS 1.3: a client that refuses the certificate says so only now.
			i.mu.Lock()
			i.refused++
			i.mu.Unlock()
			return err
		}
	}
	if len(answer) < 33 {
		return errors.New("no login")
	}
	user, rest, _ := strings.Cut(string(answer[32:]), "\x00")
	i.keep(user, fmt.Sprintf("%x (scrambled)", rest[:min(len(rest), 33)]))
	// "Not in the cache: send the password itself", which is safe over TLS; without, the client asks for a key to encrypt it by.
	if err := writePacket(c, seq+1, []byte{1, 4}); err != nil {
		return err
	}
	if _, answer, err = readPacket(c); err != nil {
		return err
	}
	i.keep(user, strings.TrimRight(string(answer), "\x00"))
	return nil
}

func (i *Impostor) keep(user, secret string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.received = append(i.received, user+": "+secret)
}

func (i *Impostor) greeting() []byte {
	caps := uint32(capLongPassword | capConnectWithDB | capProtocol41 | capTransactions | capSecureConnection | capPluginAuth | capAuthLenEncs)
	if i.tls != nil {
		caps |= capSSL
	}
	p := append([]byte{10}, "9.7.4\x00"...)
	p = append(p, 7, 0, 0, 0)
	p = append(p, "abcdefgh\x00"...)
	p = binary.LittleEndian.AppendUint16(p, uint16(caps))
	p = append(p, 255, 2, 0)
	p = binary.LittleEndian.AppendUint16(p, uint16(caps>>16))
	p = append(p, 21)
	p = append(p, make([]byte, 10)...)
	p = append(p, "ijklmnopqrst\x00"...)
	return append(p, "caching_sha2_password\x00"...)
}

func writePacket(w io.Writer, seq byte, payload []byte) error {
	n := len(payload)
	_, err := w.Write(append([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}, payload...))
	return err
}

func readPacket(r io.Reader) (seq byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err = io.ReadFull(r, payload)
	return head[3], payload, err
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
