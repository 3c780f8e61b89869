package mini

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aosc/aosc/internal/mesos/mini/wire"
)

// maxBody is the largest request body that is read. A call is a few hundred
// kilobytes at the very most.
const maxBody = 32 << 20

// httpError is a refusal by status and text, in Mesos' words.
type httpError struct {
	status int
	text   string
	header http.Header
}

func (e httpError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return httpError{status: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

// writeError answers with err: as it says, or with 503 for an actor that no
// longer runs.
func writeError(w http.ResponseWriter, err error) {
	var refusal httpError
	if !errors.As(err, &refusal) {
		refusal = httpError{status: http.StatusServiceUnavailable, text: err.Error()}
	}
	for name, values := range refusal.header {
		w.Header()[name] = values
	}
	if refusal.text != "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.WriteHeader(refusal.status)
	io.WriteString(w, refusal.text) // a reader that has gone does not matter
}

type unmarshaler interface{ Unmarshal([]byte) error }

// readCall reads a POSTed call in either encoding.
func readCall(r *http.Request, call unmarshaler) error {
	if r.Method != http.MethodPost {
		return httpError{status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {"POST"}},
			text: fmt.Sprintf("405 Method Not Allowed. Expecting one of { 'POST' }, but received '%s'.", r.Method)}
	}
	if _, given := r.Header["Content-Type"]; !given {
		return badRequest("Expecting 'Content-Type' to be present")
	}
	media, ok := wire.ParseContentType(r.Header.Get("Content-Type"))
	if !ok {
		return httpError{status: http.StatusUnsupportedMediaType, text: "Expecting 'Content-Type' of application/json or application/x-protobuf"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return badRequest("Failed to read body: %v", err)
	}
	if err := wire.Unmarshal(media, body, call); err != nil {
		return badRequest("%s", err.Error())
	}
	return nil
}

// accepted is the encoding of a response, or 406.
func accepted(r *http.Request) (wire.Media, error) {
	media, ok := wire.ParseAccept(r.Header.Values("Accept"))
	if !ok {
		return media, httpError{status: http.StatusNotAcceptable,
			text: "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"}
	}
	return media, nil
}

// handler routes the master's endpoints. Each exists with and without the
// /master before it, and with slashes after it.
func (m *master) handler() http.Handler {
	return guard(m.cfg, masterPrefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := endpoint(r, masterPrefix)
		if m.redirected(w, path) {
			return
		}
		switch {
		case path == "/api/v1/scheduler":
			m.serveScheduler(w, r)
		case path == "/api/v1" || strings.HasPrefix(path, "/api/v1/"):
			m.serveOperator(w, r)
		case path == "/health":
			w.WriteHeader(http.StatusOK)
		case path == "/redirect":
			writeError(w, redirect(m.addr, ""))
		case path == "/teardown":
			m.serveTeardown(w, r)
		case path == "/state" || path == "/version":
			m.serveOld(w, path)
		default:
			http.NotFound(w, r)
		}
	}))
}

func redirect(leader, path string) error {
	return httpError{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {"//" + leader + path}}}
}

// redirected answers as a master that does not lead (rule 9), while it is one.
func (m *master) redirected(w http.ResponseWriter, path string) bool {
	leader := m.standby.Load()
	switch {
	case leader == nil || path == "/health":
		return false
	case *leader == "":
		writeError(w, httpError{status: http.StatusServiceUnavailable, text: "Master has not finished recovery"})
	case path == "/redirect":
		writeError(w, redirect(*leader, ""))
	default:
		writeError(w, redirect(*leader, "/master"+path))
	}
	return true
}

// cutOff breaks the connections of all subscribers.
func (m *master) cutOff() {
	for _, f := range m.frameworks {
		if f.stream != nil {
			f.stream.abort()
		}
	}
	for s := range m.operators {
		s.abort()
	}
}

// secretsOr are what is asked for at this moment.
func (m *master) secretsOr(configured map[string]string) map[string]string {
	if now := m.secrets.Load(); now != nil {
		return *now
	}
	return configured
}

// authenticate asks who is calling for a principal, when any are configured.
func authenticate(r *http.Request, secrets map[string]string, realm string) (principal string, err error) {
	if secrets == nil {
		return "", nil
	}
	name, secret, ok := r.BasicAuth()
	want, known := secrets[name]
	if !ok || !known || subtle.ConstantTimeCompare([]byte(secret), []byte(want)) != 1 {
		return "", unauthorized(`Basic realm="` + realm + `"`)
	}
	return name, nil
}
