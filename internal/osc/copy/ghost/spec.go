// Package ghost fences gh-ost v1.1.8.
//
// As a library that version cannot be trusted with a process it shares: its failure paths call os.Exit, and a logger
// that keeps it from doing so makes it cut over a partial copy. So each copy runs in a child process of its own (Main),
// which reads a Spec on its standard input, tells its Status on its standard output and dies with its parent. What the
// child says, and how it exits, is never believed: the outcome of a copy is what the server says.
//
// What gh-ost's own main() sets up, and the library does not, is in newContext; each setting says why.
package ghost

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/copy"
)

// SubCommand is what the parent's binary must be called with to become the child.
const SubCommand = "ghost-child"

// Spec is all that a child needs. It holds the password, so it travels over a pipe, never in argv or the environment.
type Spec struct {
	Addr                  mysql.Addr
	User, Password        string
	TLS                   bool   // encrypted
	TLSUnverified         bool   // with TLS: the certificate is not checked
	CA                    []byte // with TLS: authorities that it is checked by, PEM; empty = the system's
	Database, Table       string
	Clauses               string // what follows ALTER TABLE <name>, for the copy
	SocketFile            string
	ServerID              uint32 // as which it reads the binary log: unique among replicas and other copies
	ChunkSize             int
	MaxLag                time.Duration
	Replicas              []mysql.Addr
	SkipPortValidation    bool // the server is behind a port mapping
	SkipMetadataLockCheck bool // performance_schema cannot tell who waits for the table
	// PanicOnWarnings ends the copy at any warning, as when a value written meanwhile does not fit the new definition: its
	// INSERT IGNORE would cut it, or leave the row out, in silence.
	PanicOnWarnings bool
	// ReadableProcesslist: performance_schema.processlist is there to be read in place of information_schema's.
	ReadableProcesslist bool
	CutOverLockTimeout  time.Duration
}

// Write sends the spec as one line.
func (s Spec) Write(w io.Writer) error { return json.NewEncoder(w).Encode(s) }

// Phases of a Status.
const (
	PhaseStarting    = "starting"
	PhaseCopying     = "copying"
	PhasePostponed   = "postponed"    // all rows are copied, changes are kept being applied, the cut-over waits for Unpostpone
	PhaseCuttingOver = "cutting over" // the tables are being locked and swapped
	PhaseFinished    = "finished"     // it believes to be through
	PhaseFailed      = "failed"
)

// Status is one line of a child's standard output.
type Status struct {
	Ghost      string // always "aosc": tells a line of ours from what libraries print
	Phase      string
	RowsCopied int64
	RowsTotal  int64         // estimate
	ETA        time.Duration // 0 = unknown
	Applied    int64         // changes applied from the binary log
	Throttled  bool
	Reason     string    // of Throttled
	Seen       time.Time // newest heartbeat read back from the binary log
	Lag        time.Duration
	Error      string // with PhaseFailed
}

const statusMark = "aosc"

// ParseStatus reads a line of a child's standard output; false for anything that is not a Status.
func ParseStatus(line []byte) (Status, bool) {
	var s Status
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &s) != nil || s.Ghost != statusMark {
		return Status{}, false
	}
	return s, true
}

// OldSentinel is the comment of the table that gh-ost puts in the place of the old table during a cut-over. A table of that
// name with any other comment is a user's data.
const OldSentinel = "ghost-cut-over-sentry"

// ChangelogComment is the comment of the changelog.
const ChangelogComment = "gh-ost changelog"

// unsafeIn are what gh-ost writes into statements without escaping it: names between backquotes that it does not double
// (and unquotes first when they look like Go strings), names in LIKE '...', in comments, in the path of a DSN, in
// lists split at commas; a question mark counts as a placeholder.
const unsafeIn = "`'\"\\,?*\x00"

// NameProblem says why gh-ost cannot work with these names, "" when it can. key is the unique key it will use, which it
// does not quote at all in one statement.
func NameProblem(database, table string, columns []string, key string) string {
	check := func(what, name, forbidden string) string {
		if i := strings.IndexAny(name, forbidden); i >= 0 {
			return fmt.Sprintf("%s %s: gh-ost cannot handle a name with %q in it", what, mysql.QuoteIdent(name), name[i])
		}
		return ""
	}
	if p := check("database", database, unsafeIn+"/%"); p != "" {
		return p
	}
	if p := check("table", table, unsafeIn); p != "" {
		return p
	}
	for _, c := range columns {
		if p := check("column", c, unsafeIn); p != "" {
			return p
		}
	}
	if key != "PRIMARY" && !plainIdent(key) {
		return fmt.Sprintf("key %s: gh-ost writes the name of the key it works by without quotes", mysql.QuoteIdent(key))
	}
	if n := copy.NamesFor(table); !validUTF8(n.Ghost) {
		return fmt.Sprintf("table %s: gh-ost would cut its name in the middle of a character", mysql.QuoteIdent(table))
	}
	return ""
}

// plainIdent: an identifier that needs no quotes (manual 11.2), whatever its case; reserved words are looked up by the caller's server.
func plainIdent(name string) bool {
	digits := true
	for _, r := range name {
		switch {
		case r >= '0' && r <= '9':
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_', r == '$', r >= 0x80 && r <= 0xFFFF:
			digits = false
		default:
			return false
		}
	}
	return name != "" && !digits
}

func validUTF8(s string) bool { return strings.ToValidUTF8(s, "") == s }
