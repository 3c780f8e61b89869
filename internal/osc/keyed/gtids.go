package keyed

import (
	"errors"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/aosc/aosc/internal/mysql"
)

// wireSet is a GTID set as the library that reads the binary log wants it. The library's own sets know no tags. It is only ever sent: what
// has been read is counted by stream.
type wireSet struct{ set mysql.GTIDSet }

var _ gomysql.GTIDSet = wireSet{}

func (w wireSet) String() string { return w.set.String() }

func (w wireSet) Encode() []byte { return w.set.Wire() }

func (w wireSet) Equal(o gomysql.GTIDSet) bool {
	other, ok := o.(wireSet)
	return ok && w.set.Equal(other.set)
}

func (w wireSet) Contain(o gomysql.GTIDSet) bool {
	other, ok := o.(wireSet)
	return ok && w.set.Contains(other.set)
}

func (w wireSet) Update(string) error {
	return errors.New("a set of GTIDs to begin from does not change")
}

func (w wireSet) Clone() gomysql.GTIDSet { return w }

func (w wireSet) IsEmpty() bool { return w.set.Empty() }
