package copy

import (
	"crypto/rand"
	"encoding/binary"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
)

// Target is one table of one database on one instance.
type Target struct {
	Tier, Cluster   string
	Addr            mysql.Addr
	Database, Table string
}

// String names the target for errors and logs.
func (t Target) String() string {
	return t.Tier + " " + t.Addr.String() + " " + mysql.QuoteIdents(t.Database, t.Table)
}

// Names are the tables that copies make beside the one they alter.
type Names struct{ Ghost, Changelog, Old string }

// NamesFor computes them: `_<table>_gho` and so on, the table's name cut (by bytes) so that the whole stays within 64. One of the engines
// cannot be told other names.
func NamesFor(table string) Names {
	safe := func(suffix string) string {
		extra := len("_"+table+"_"+suffix) - 64
		return "_" + table[:len(table)-max(extra, 0)] + "_" + suffix
	}
	return Names{Ghost: safe("gho"), Changelog: safe("ghc"), Old: safe("del")}
}

// All are the three of them.
func (n Names) All() []string { return []string{n.Ghost, n.Changelog, n.Old} }

// FreeServerID is a random id in the upper half, where nobody numbers servers by hand: as which a copy reads the binary log.
func FreeServerID(own uint32) (uint32, error) {
	var b [4]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if id := binary.BigEndian.Uint32(b[:]) | 1<<31; id != own {
			return id, nil
		}
	}
}

// Abridged keeps a statement, or what somebody says of one, readable within an error.
func Abridged(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 200 {
		return string(r[:200]) + "..."
	}
	return text
}
