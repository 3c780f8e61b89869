package api_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton/api"
)

// pair writes a self-signed certificate for 127.0.0.1 and its key.
func pair(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "cotton"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// run serves until the test ends.
func run(t *testing.T, l api.Listen, h http.Handler) *api.Server {
	t.Helper()
	s, err := api.Open(l, h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// handshake returns the serial number of the certificate that the server shows.
func handshake(t *testing.T, s *api.Server) int64 {
	t.Helper()
	pool := x509.NewCertPool()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true
	transport.TLSClientConfig.RootCAs = pool
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(s.URL() + "/clusters")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.TLS.PeerCertificates[0].SerialNumber.Int64()
}

// A renewed certificate is shown to new clients without a restart; one that is half written is not.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, 1)
	s := run(t, api.Listen{Addr: "127.0.0.1:0", Cert: cert, Key: key}, http.NotFoundHandler())
	if got := handshake(t, s); got != 1 {
		t.Errorf("serial %d, want 1", got)
	}
	response, err := http.Get("http://" + s.Addr() + "/clusters")
	if err == nil {
		response.Body.Close()
		if response.StatusCode != 400 {
			t.Errorf("plain HTTP on a port with TLS: %d", response.StatusCode)
		}
	}
	later := time.Now().Add(time.Minute)
	if err := os.WriteFile(cert, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(cert, later, later); err != nil {
		t.Fatal(err)
	}
	if got := handshake(t, s); got != 1 {
		t.Errorf("serial %d while the file is half written, want the old one", got)
	}
	pair(t, dir, 2)
	if err := os.Chtimes(cert, later.Add(time.Minute), later.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := handshake(t, s); got != 2 {
		t.Errorf("serial %d after the renewal, want 2", got)
	}
}

func TestOpenRefusals(t *testing.T) {
	if _, err := api.Open(api.Listen{Addr: "127.0.0.1:0", Cert: "/nonexistent/cert.pem", Key: "/nonexistent/key.pem"}, nil); err == nil || !strings.Contains(err.Error(), "/nonexistent/cert.pem") {
		t.Errorf("no certificate: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := api.Open(api.Listen{Addr: taken.Addr().String()}, nil); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("port taken: %v", err)
	}
}

// A client that does not finish its request is cut off, and others are served meanwhile.
func TestSlowClient(t *testing.T) {
	t.Parallel() // it takes as long as the server's patience
	s := run(t, api.Listen{Addr: "127.0.0.1:0"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	slow, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	begin := time.Now()
	if _, err := slow.Write([]byte("POST /clusters/c0 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")); err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if err := slow.SetReadDeadline(begin.Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(slow).ReadString(0); err == nil || os.IsTimeout(err) {
		t.Errorf("still connected after %v: %v", time.Since(begin), err)
	}
}

func TestTokenFiles(t *testing.T) {
	hash := hex.EncodeToString(make([]byte, sha256.Size))
	for text, says := range map[string]string{
		"write geheim ops":            "line 1: the hash is not 64",
		"\n# x\nadmin " + hash + " x": "line 3: the role",
		"write " + hash:               "line 1: want <role>",
		"write " + hash + " a'b":      "line 1: want a name",
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := api.LoadTokens(path)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v, want it to say %q", text, err, says)
		}
	}
	path, tokens := tokensFile(t)
	loaded, err := api.LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		if strings.Contains(string(text), token) {
			t.Error("the file holds the token itself")
		}
	}
	b := serve(t, func(c *api.Config) { c.Tokens = loaded })
	ask := func() int {
		return b.send(t, "GET", "/clusters", "", "Authorization: Bearer "+tokens[api.RoleRead]).status
	}
	if got := ask(); got != 200 {
		t.Errorf("%d, want 200", got)
	}
	// A token that is taken out stops working at once; a file that others may write, or that is gone, opens nothing.
	if err := os.WriteFile(path, []byte("# none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != 401 {
		t.Errorf("withdrawn: %d, want 401", got)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != 503 {
		t.Errorf("writable by others: %d, want 503", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != 503 {
		t.Errorf("gone: %d, want 503", got)
	}
	if _, err := api.LoadTokens(path); err == nil {
		t.Error("a file that is not there was loaded")
	}
	if _, _, err := api.NewToken(api.RoleRead, "a b"); err == nil {
		t.Error("a name with a space was taken")
	}
}
