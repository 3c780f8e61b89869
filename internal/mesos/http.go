// Package mesos speaks Mesos' v1 HTTP APIs for a scheduler, an executor and an operator, over the messages of mesos-go,
// in protobuf: mesos-go's JSON decoder refuses the events of a current master.
//
// Of mesos-go only the messages are used. Its httpsched and httpcli bound an event to 4 MB (an OFFERS event of a large
// cluster is more), take a lost master for a redirection, send calls one after another behind one lock, and know neither
// of heartbeats nor of a stream's end without an error.
package mesos

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	mediaType      = "application/x-protobuf"
	streamIDHeader = "Mesos-Stream-Id"

	schedulerPath = "/api/v1/scheduler"
	executorPath  = "/api/v1/executor"
	operatorPath  = "/api/v1"

	dialTimeout = 5 * time.Second
	// headerTimeout is how long a master may take to begin its answer; a healthy one needs milliseconds.
	headerTimeout = 15 * time.Second
	// maxReason bounds how much of a refusal's body is kept.
	maxReason = 4 << 10
	// maxAnswer bounds the answer to an operator's call.
	maxAnswer = 256 << 20
)

// StatusError is an answer other than success.
type StatusError struct {
	URL    string
	Code   int
	Reason string // the body: Mesos explains itself in plain text
	// Location of a redirection (307): host:port of the leader, empty otherwise.
	Location string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.URL, e.Code, http.StatusText(e.Code))
	switch {
	case e.Location != "":
		return text + ": the leader is " + e.Location
	case e.Reason != "":
		text += ": " + e.Reason
	}
	switch {
	case e.Code == http.StatusUnauthorized && strings.HasSuffix(e.URL, executorPath):
		text += ": the agent does not take the token that it gave this executor"
	case e.Code == http.StatusUnauthorized:
		text += ": check the principal and secret"
	}
	return text
}

// hasStatus tells whether err is an answer with one of these codes.
func hasStatus(err error, codes ...int) bool {
	var status *StatusError
	if errors.As(err, &status) {
		for _, code := range codes {
			if status.Code == code {
				return true
			}
		}
	}
	return false
}

// Credentials of HTTP authentication; the zero value sends none.
type Credentials struct {
	Principal, Secret string // basic, to a master
	Token             string // bearer, to an agent
}

// marshaler and unmarshaler are what mesos-go generates for every message.
type (
	marshaler   interface{ Marshal() ([]byte, error) }
	unmarshaler interface{ Unmarshal([]byte) error }
)

// transport posts protobuf messages and follows nothing: a redirection is the caller's to judge.
type transport struct {
	http  *http.Client
	creds Credentials
}

func newTransport(creds Credentials, tlsConfig *tls.Config) *transport {
	return &transport{creds: creds, http: &http.Client{
		Transport: &http.Transport{
			Proxy:                 nil, // Mesos is on the local network; a proxy would hold streams back
			DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:       tlsConfig,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       90 * time.Second,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (t *transport) close() { t.http.CloseIdleConnections() }

// post sends one message. The answer is 200 or 202, or the error is a *StatusError; its body is the caller's to close.
func (t *transport) post(ctx context.Context, to string, msg marshaler, header http.Header) (*http.Response, error) {
	body, err := msg.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode a message for %s: %w", to, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("Accept", mediaType)
	switch {
	case t.creds.Token != "":
		req.Header.Set("Authorization", "Bearer "+t.creds.Token)
	case t.creds.Principal != "" && t.creds.Secret != "":
		req.SetBasicAuth(t.creds.Principal, t.creds.Secret)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return nil, err // says method and URL
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusAccepted {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, statusError(to, resp)
}

// do posts a message whose answer has no body that matters.
func (t *transport) do(ctx context.Context, to string, msg marshaler, header http.Header) error {
	resp, err := t.post(ctx, to, msg, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// Read to its end, so that the connection can be used again.
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxReason)); err != nil {
		return fmt.Errorf("answer of %s: %w", to, err)
	}
	return nil
}

// ask posts a message and decodes the answer into out.
func (t *transport) ask(ctx context.Context, to string, msg marshaler, out unmarshaler) error {
	resp, err := t.post(ctx, to, msg, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("answer of %s: %w", to, err)
	case len(body) > maxAnswer:
		return fmt.Errorf("answer of %s: longer than %d MB", to, maxAnswer>>20)
	case len(body) == 0: // 202
		return nil
	}
	if err := out.Unmarshal(body); err != nil {
		return fmt.Errorf("answer of %s: %w", to, err)
	}
	return nil
}

func statusError(to string, resp *http.Response) error {
	reason, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason)) // what came is explanation enough
	e := &StatusError{URL: to, Code: resp.StatusCode, Reason: strings.TrimSpace(string(reason))}
	if resp.StatusCode == http.StatusTemporaryRedirect {
		// Mesos leaves the scheme out: //host:port/master/api/v1/scheduler (recording 47).
		if u, err := url.Parse(resp.Header.Get("Location")); err == nil {
			e.Location = u.Host
		}
	}
	return e
}
