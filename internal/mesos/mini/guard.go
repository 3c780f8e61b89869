package mini

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tokenEnv is the variable by which an executor is given its token, as in Mesos.
const tokenEnv = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"

// SecretFile is where Secret keeps the secret of a directory.
func SecretFile(dir string) string { return filepath.Join(dir, "secret") }

// Secret is the secret of a Mini in dir: made at the first call, and kept in a file that only its owner may read.
// Executors that outlive the process are known by it afterwards.
func Secret(dir string) (string, error) {
	if err := closeDir(dir); err != nil {
		return "", err
	}
	file := SecretFile(dir)
	text, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(text)) != "" {
		return strings.TrimSpace(string(text)), os.Chmod(file, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	raw := make([]byte, 24)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	secret := hex.EncodeToString(raw)
	fresh := file + ".new" // a crash leaves no half a secret
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.WriteFile(fresh, []byte(secret+"\n"), 0o600); err != nil {
		return "", err
	}
	return secret, os.Rename(fresh, file)
}

// closeDir makes dir, and shuts it to everybody but its owner: sandboxes and volumes are below it.
func closeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// lockDir makes one Mini at a time the owner of dir. Two of them would each take the other's executors for strangers
// and end them. The lock goes with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("the directory %s is in use by another process: end that one first, or give another directory: %w", dir, err)
	}
	return f, nil
}

// guard stands before every endpoint of the master (prefix "/master") and of an agent ("/slave(1)"): no page that a
// browser on this machine shows may call them, by a name that resolves to this machine or by a form. With a secret,
// callers must know it. Only /health is open, and an agent's endpoint for executors, which asks for the executor's own
// token. The two are told by their whole path: what is served below /api/v1/ is the operators'.
func guard(cfg Config, prefix string, next http.Handler) http.Handler {
	listen, _, _ := net.SplitHostPort(cfg.Listen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := localCaller(r, listen)
		if err == nil && cfg.Secret != "" {
			switch path := endpoint(r, prefix); {
			case path == "/health":
			case path == executorPath && prefix == agentPrefix: // whose token it must be is in the call: authorizeExecutor
				if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
					err = unauthorized(executorChallenge)
				}
			default:
				if _, secret, ok := r.BasicAuth(); !ok || subtle.ConstantTimeCompare([]byte(secret), []byte(cfg.Secret)) != 1 {
					err = unauthorized(`Basic realm="mesos"`)
				}
			}
		}
		if err != nil {
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

const (
	masterPrefix = "/master"
	agentPrefix  = "/slave(1)"
	executorPath = "/api/v1/executor"

	executorChallenge = `Bearer realm="mesos-agent-executor"`
)

// endpoint is a request's path as the handlers route it: without the prefix, and without slashes after it.
func endpoint(r *http.Request, prefix string) string {
	return strings.TrimPrefix(strings.TrimRight(r.URL.Path, "/"), prefix)
}

func unauthorized(challenge string) error {
	return httpError{status: http.StatusUnauthorized, text: "401 Unauthorized.", header: http.Header{"Www-Authenticate": {challenge}}}
}

// localCaller refuses requests that name this machine by a name that somebody else may give it, and those that a page
// of another origin makes.
func localCaller(r *http.Request, listen string) error {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host != "" && net.ParseIP(host) == nil && !strings.EqualFold(host, "localhost") && !strings.EqualFold(host, listen) {
		return httpError{status: http.StatusForbidden, text: fmt.Sprintf("Host %q is not this single-machine Mesos: call it by its address",
			host)}
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Host != r.Host {
			return httpError{status: http.StatusForbidden, text: fmt.Sprintf("Origin %q may not call this single-machine Mesos", origin)}
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return httpError{status: http.StatusForbidden, text: "Pages of other sites may not call this single-machine Mesos"}
	}
	return nil
}

// executorToken is what an executor shows to its agent; it is good for that executor alone.
func executorToken(secret string, key executorKey) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "executor\x00%s\x00%s", key.framework, key.executor)
	return hex.EncodeToString(mac.Sum(nil))
}

// authorizeExecutor tells whether a call comes from the executor that it names.
func authorizeExecutor(r *http.Request, secret string, key executorKey) error {
	if secret == "" {
		return nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || !hmac.Equal([]byte(token), []byte(executorToken(secret, key))) {
		return unauthorized(executorChallenge)
	}
	return nil
}
