package api

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// guard is around everything: it turns foreign web pages away.
func (s *server) guard(next http.Handler) http.Handler {
	// A browser on a machine that reaches this port sends forms wherever a page tells it to. It says so; curl and the
	// clients do not look like it.
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store") // passwords and positions
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case crossOrigin.Check(r) != nil:
			s.refuse(w, r, fail(http.StatusForbidden, v1.CodeForbidden, "requests of other web sites are refused", ""))
		case s.Tokens == nil && !isLocal(r) && !isLoopback(r.Host):
			// Without tokens only this machine is trusted; a page whose name was rebound to 127.0.0.1 is not of it.
			s.refuse(w, r, fail(http.StatusForbidden, v1.CodeForbidden, fmt.Sprintf("host %q is not this machine", printable(r.Host)),
				"start the scheduler with --token-file to serve others"))
		case !plainPath(r.URL.EscapedPath()):
			// The router would send the client to the path without them: whoever asks for that has not meant another route.
			s.refuse(w, r, noSuch(r.URL.Path))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// plainPath tells whether a path begins with / and has no empty, "." or ".." part.
func plainPath(p string) bool {
	clean := path.Clean(p)
	return strings.HasPrefix(p, "/") && (p == clean || p == clean+"/" && clean != "/")
}

func noSuch(path string) *failure {
	return fail(http.StatusNotFound, v1.CodeNotFound, fmt.Sprintf("there is no %s", printable(path)), "GET /clusters lists the clusters")
}

// isLoopback tells whether a Host header names this machine.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// route serves one path: who may, which method, how long it took.
func (s *server) route(pattern string, methods map[string]endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		seen := &recorder{ResponseWriter: w, status: http.StatusOK}
		who, err := s.dispatch(seen, r, methods)
		if err != nil {
			s.refuse(seen, r, err)
		}
		took := time.Since(begin)
		method := r.Method
		if _, known := methods[method]; !known {
			method = "other" // clients choose the word, and every one would be a time series
		}
		s.requests.WithLabelValues(pattern, method, strconv.Itoa(seen.status)).Observe(took.Seconds())
		if r.Method == http.MethodPost || r.Method == http.MethodDelete {
			s.Log.Info("api request", "method", r.Method, "path", r.URL.Path, "status", seen.status, "took", took.Round(time.Microsecond),
				"client", r.RemoteAddr, "token", who)
		}
	})
}

// dispatch finds the endpoint and checks the caller; who is the name of its token.
func (s *server) dispatch(w http.ResponseWriter, r *http.Request, methods map[string]endpoint) (who string, err error) {
	if methods == nil {
		return "", noSuch(r.URL.Path)
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	e, ok := methods[method]
	if !ok {
		allowed := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
		w.Header().Set("Allow", allowed)
		return "", fail(http.StatusMethodNotAllowed, v1.CodeMethod, fmt.Sprintf("%s does not take %s", printable(r.URL.Path), printable(r.Method)), "it takes "+allowed)
	}
	if who, err = s.authorize(r, e.needs); err != nil {
		return who, err
	}
	// No part of the framework is asked for what nothing can be called.
	if name := r.PathValue("name"); !cotton.ValidName(name) && strings.Contains(r.Pattern, "{name}") && !isCreate(r) {
		return who, notFound(printable(name))
	}
	if agent := r.PathValue("agent"); strings.Contains(r.Pattern, "{agent}") && (agent == "" || len(agent) > maxHostname || printable(agent) != agent) {
		return who, invalid("agent", fmt.Sprintf("%q is not a hostname", printable(agent)), "GET /clusters has the agents of all instances")
	}
	return who, e.serve(w, r)
}

// maxHostname is what an agent's may have, in bytes.
const maxHostname = 255

// isCreate: it says itself what is wrong with the name.
func isCreate(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.Pattern, "/{name}")
}

// refuse writes an error's answer.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := s.answerTo(err)
	if f == nil {
		s.Log.Error("api request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		f = fail(http.StatusInternalServerError, v1.CodeInternal, "the scheduler failed to do this", "its log says why")
	}
	switch f.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="cotton"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "2")
	case http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
	}
	_ = writeJSON(w, f.status, v1.Failure{Error: f.body})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController see what is below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
