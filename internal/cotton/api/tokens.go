package api

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// Role is what the bearer of a token may do; each includes those below it.
type Role int

const (
	RoleNone  Role = iota // for endpoints: nobody is asked
	RoleRead              // look
	RoleWrite             // create, and delete with the cluster's password
)

// String is the word in the file of tokens.
func (r Role) String() string { return [...]string{"none", "read", "write"}[r] }

// ParseRole reads a word of the file of tokens.
func ParseRole(word string) (Role, error) {
	for _, r := range []Role{RoleRead, RoleWrite} {
		if word == r.String() {
			return r, nil
		}
	}
	return RoleNone, fmt.Errorf("role %q is neither read nor write", word)
}

// Tokens is a file of hashed tokens, read again when it changes. A line is
//
//	<role> <sha256 of the token, in hex> <name>
//
// Empty lines and those that begin with # are skipped. A token is 256 random bits, so its plain SHA-256 gives nothing
// away, and the file need not be secret; but whoever can write it can do everything.
type Tokens struct {
	path string

	mu      sync.Mutex
	changed time.Time
	size    int64
	bearers []bearer
}

type bearer struct {
	hash [sha256.Size]byte
	role Role
	name string
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// LoadTokens reads the file. The error names the line.
func LoadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	_, err := t.current()
	return t, err
}

// current are the file's tokens as they are now.
func (t *Tokens) current() ([]bearer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, fmt.Errorf("read the tokens: %s has mode %04o, others could write it: chmod go-w %s", t.path, mode, t.path)
	}
	if t.bearers != nil && info.ModTime().Equal(t.changed) && info.Size() == t.size {
		return t.bearers, nil
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %w", err)
	}
	bearers, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %s: %w", t.path, err)
	}
	t.bearers, t.changed, t.size = bearers, info.ModTime(), info.Size()
	return bearers, nil
}

func parseTokens(text []byte) ([]bearer, error) {
	bearers := []bearer{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		// Never quote the line: somebody may have put the token itself there.
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: want <role> <sha256 in hex> <name>", n)
		}
		role, err := ParseRole(fields[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: the role is neither read nor write", n)
		}
		hash, err := hex.DecodeString(fields[1])
		if err != nil || len(hash) != sha256.Size {
			return nil, fmt.Errorf("line %d: the hash is not 64 hexadecimal digits", n)
		}
		if !tokenName.MatchString(fields[2]) {
			return nil, fmt.Errorf("line %d: want a name of letters, digits, '.', '_', '@' or '-'", n)
		}
		bearers = append(bearers, bearer{hash: [sha256.Size]byte(hash), role: role, name: fields[2]})
	}
	return bearers, lines.Err()
}

// find is the bearer of a token. It looks at all of them, so that its time does not tell which.
func find(bearers []bearer, token string) (found bearer, ok bool) {
	hash := sha256.Sum256([]byte(token))
	for _, b := range bearers {
		if subtle.ConstantTimeCompare(hash[:], b.hash[:]) == 1 {
			found, ok = b, true
		}
	}
	return found, ok
}

// NewToken makes a token and the line for the file. The token itself is kept nowhere.
func NewToken(role Role, name string) (token, line string, err error) {
	if !tokenName.MatchString(name) {
		return "", "", fmt.Errorf("name %q: want 1 to 64 letters, digits, '.', '_', '@' or '-'", name)
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	token = base64.RawURLEncoding.EncodeToString(b[:])
	hash := sha256.Sum256([]byte(token))
	return token, fmt.Sprintf("%s %s %s\n", role, hex.EncodeToString(hash[:]), name), nil
}

// authorize checks the caller's token and returns its name.
func (s *server) authorize(r *http.Request, needs Role) (who string, err error) {
	switch {
	case needs == RoleNone:
		return "", nil
	case isLocal(r):
		return "socket", nil
	case s.Tokens == nil && (needs <= RoleRead || s.OpenWrites):
		return "", nil
	case s.Tokens == nil:
		return "", fail(http.StatusUnauthorized, v1.CodeNoToken,
			"this port serves those who look; changes come through the scheduler's socket or with a token",
			"as the scheduler's account: cotton ... --work-dir DIR, or curl --unix-socket DIR/api/PORT.sock; for others: --token-file, see "+
				"`cotton token`")
	}
	bearers, err := s.Tokens.current()
	if err != nil {
		// Closed rather than open: nobody can tell any more who may do what.
		s.Log.Error("the api refuses all requests", "error", err)
		return "", unavailable("the scheduler's file of tokens cannot be read")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", fail(http.StatusUnauthorized, v1.CodeNoToken, "a token is needed", "Authorization: Bearer <token>; the operator makes one with `cotton token`")
	}
	b, ok := find(bearers, strings.TrimSpace(token))
	if !ok {
		return "", fail(http.StatusUnauthorized, v1.CodeNoToken, "the token is not known", "")
	}
	if b.role < needs {
		return b.name, fail(http.StatusForbidden, v1.CodeForbidden, fmt.Sprintf("the token %s may only %s", b.name, b.role), "")
	}
	return b.name, nil
}
