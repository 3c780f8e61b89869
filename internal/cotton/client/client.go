// Package client speaks to cotton's API, for the command line, the inventory and programs of others.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// DefaultTimeout bounds one request.
const DefaultTimeout = 15 * time.Second

// Config of a client.
type Config struct {
	// URLs of the schedulers, http://host:port or https://host:port. With several, each request goes to the one that took
	// the last, and on to the next until one takes it: the others stand by.
	URLs []string
	// TokenFile holds the bearer token; empty = none is sent. It is read with every request, so a new one is taken up.
	TokenFile string
	// WorkDir is that of a scheduler on this machine, whose socket is used instead of its port where it can be opened: the
	// account that the scheduler runs as needs no token. Empty = none.
	WorkDir string
	// CAFile is the PEM file of the authority that signed the schedulers' certificates; empty = the system's.
	CAFile  string
	Timeout time.Duration // of one request, 0 = DefaultTimeout; of several schedulers each has its share of it to answer a question
}

// Client is safe for concurrent use.
type Client struct {
	bases     []string
	tokenFile string
	http      *http.Client
	leads     atomic.Int64 // index of the base that took the last request
}

// New checks the configuration and makes a client; it opens no connection.
func New(c Config) (*Client, error) {
	if len(c.URLs) == 0 {
		return nil, errors.New("no URL of a cotton scheduler is given")
	}
	client := &Client{tokenFile: c.TokenFile}
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("%q is not the URL of a cotton scheduler: want http://host:port or https://host:port", redact(text))
		}
		client.bases = append(client.bases, u.Scheme+"://"+u.Host)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.WorkDir != "" {
		transport.DialContext = viaSocket(c.WorkDir, transport.DialContext)
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the certificate authority: %s holds no certificate in PEM", c.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	client.http = &http.Client{Transport: transport, Timeout: c.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the API redirects nobody; a token must not follow whoever does
	}}
	return client, nil
}

// redact hides what a URL may hold of a password.
func redact(text string) string {
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			return scheme + "://***@" + rest[at+1:]
		}
	}
	return text
}

// String names the schedulers.
func (c *Client) String() string { return strings.Join(c.bases, ",") }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a refusal of the scheduler.
type Error struct {
	Status int // of HTTP
	URL    string
	Reason v1.Error
}

func (e *Error) Error() string {
	text := e.Reason.Message
	if e.Reason.Field != "" && !strings.Contains(text, e.Reason.Field) {
		text = e.Reason.Field + ": " + text
	}
	if e.Reason.Detail != "" {
		text += ": " + e.Reason.Detail
	}
	return fmt.Sprintf("%s (%d from %s)", text, e.Status, e.URL)
}

// IsCode tells whether an error is a refusal with that code of v1.
func IsCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason.Code == code
}

// Create asks for a cluster and returns before it runs. The password in the answer is shown this once only.
func (c *Client) Create(ctx context.Context, name string, asked v1.Create) (v1.Created, error) {
	return call[v1.Created](ctx, c, http.MethodPost, path("clusters", name), asked)
}

// Delete asks for the end of a cluster and returns before it is gone.
func (c *Client) Delete(ctx context.Context, name, password string) error {
	_, err := call[v1.Deleted](ctx, c, http.MethodDelete, path("clusters", name), map[string]string{"password": password})
	return err
}

// Clusters are all clusters, by name.
func (c *Client) Clusters(ctx context.Context) ([]v1.Cluster, error) {
	list, err := call[v1.Clusters](ctx, c, http.MethodGet, "/clusters", nil)
	return list.Clusters, err
}

// Cluster is one cluster; v1.CodeNotFound.
func (c *Client) Cluster(ctx context.Context, name string) (v1.Cluster, error) {
	return call[v1.Cluster](ctx, c, http.MethodGet, path("clusters", name), nil)
}

// Endpoints are where clients of a cluster connect.
func (c *Client) Endpoints(ctx context.Context, name string) (v1.Endpoints, error) {
	return call[v1.Endpoints](ctx, c, http.MethodGet, path("clusters", name)+"/endpoints", nil)
}

// Why says what a cluster waits for.
func (c *Client) Why(ctx context.Context, name string) (v1.Why, error) {
	return call[v1.Why](ctx, c, http.MethodGet, path("clusters", name)+"/why", nil)
}

// Health is how the scheduler stands.
func (c *Client) Health(ctx context.Context) (v1.Health, error) {
	return call[v1.Health](ctx, c, http.MethodGet, "/health", nil)
}

func path(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// call sends a request to one scheduler after the other until one takes it. Only those that cannot have acted on it are
// passed over: no connection, or 503, and for a question one that does not answer: it may hang.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (answer T, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return answer, err
		}
	}
	limit := c.http.Timeout
	if method == http.MethodGet {
		limit /= time.Duration(len(c.bases))
	}
	var failed []error
	first := int(c.leads.Load())
	for n := range c.bases {
		at := (first + n) % len(c.bases)
		limited, cancel := context.WithTimeout(ctx, limit)
		answer, err = once[T](limited, c, method, c.bases[at]+path, text)
		cancel()
		if err == nil || ctx.Err() != nil || !passable(method, err) {
			if err == nil {
				c.leads.Store(int64(at))
			}
			return answer, err
		}
		failed = append(failed, err)
	}
	return answer, errors.Join(failed...)
}

// passable tells whether another scheduler may be asked after this failure.
func passable(method string, err error) bool {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal.Reason.Code == v1.CodeUnavailable
	}
	var dial *net.OpError
	return method == http.MethodGet || errors.As(err, &dial) && dial.Op == "dial"
}

// maxAnswer bounds what is read of an answer, in bytes: thousands of clusters.
const maxAnswer = 64 << 20

func once[T any](ctx context.Context, c *Client, method, address string, body []byte) (answer T, err error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if err := c.authorize(r); err != nil {
		return answer, err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return answer, fmt.Errorf("ask cotton: %w; is its scheduler running?", err) // a url.Error names method and URL
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer, fmt.Errorf("ask cotton: %s %s: %w", method, address, err)
	}
	if response.StatusCode >= 300 {
		return answer, refusal(response.StatusCode, address, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, fmt.Errorf("ask cotton: %s %s did not answer as a cotton scheduler does: %w", method, address, err)
	}
	return answer, nil
}

// refusal reads the body of a failure. Something else may have answered, a proxy for instance.
func refusal(status int, address string, text []byte) *Error {
	var f v1.Failure
	if json.Unmarshal(text, &f) != nil || f.Error.Code == "" {
		f.Error = v1.Error{Code: v1.CodeInternal, Message: "this does not seem to be a cotton scheduler"}
		if status == http.StatusServiceUnavailable {
			f.Error.Code = v1.CodeUnavailable
		}
	}
	return &Error{Status: status, URL: address, Reason: f.Error}
}

// authorize adds the token.
func (c *Client) authorize(r *http.Request) error {
	if c.tokenFile == "" {
		return nil
	}
	token, err := ReadSecret(c.tokenFile)
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// ReadSecret reads a file of one line that others than its owner and group must not read; "-" is standard input.
func ReadSecret(path string) (string, error) {
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(io.LimitReader(os.Stdin, 4<<10))
	} else {
		info, statErr := os.Stat(path)
		if statErr == nil && info.Mode().Perm()&0o007 != 0 {
			return "", fmt.Errorf("%s is open to every account of this machine (mode %04o): chmod o= %s", path, info.Mode().Perm(), path)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("%s does not hold one line", path)
	}
	return secret, nil
}
