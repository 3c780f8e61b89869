package status

import (
	"strings"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/schema"
)

// grain is how much older than the reading of a hash the table's create_time must be for the hash to be reused.
// create_time and last_run have whole seconds: an ALTER in the second of the reading may have come after it.
const grain = 2 * time.Second

// want is one desired table as one kind of database would have it.
type want struct {
	Table string
	Blob  string // git blob of the desired text
	Hash  string // of its normal form on that server, in such a database
	// ForeignKey tables are read in every pass, see the package's comment.
	ForeignKey bool
	// Keyless tables are compared without the primary key that a server may have generated for them.
	Keyless bool
	// RowID tables have written out the key that a server would generate.
	RowID bool
}

func newWant(d schema.Desired, f schema.Form) want {
	return want{
		Table: d.Table,
		Blob:  d.Blob,
		Hash:  f.Hash,
		// The word may also stand in a comment or a default: that costs a reading, not the truth.
		ForeignKey: strings.Contains(strings.ToUpper(f.Text), "FOREIGN KEY"),
		Keyless:    f.Keyless(),
		RowID:      f.WithoutGeneratedKey() != f,
	}
}

// listed is what the warm query says of one table.
type listed struct {
	CreateTime time.Time
	Rows       uint64
	Bytes      uint64
}

// clock is the instance's own.
type clock struct {
	Now time.Time // taken before anything was listed
	Up  time.Time // when the server started, or a little earlier
}

// need is what one (database, table) calls for.
type need int

const (
	needRead    need = iota // its SHOW CREATE TABLE must be read
	needNothing             // the stored hash still describes it
	needMissing             // it is not there
)

// trust is how far a pass believes the stored rows.
type trust int

const (
	trustRows    trust = iota
	trustOK            // a row that says INC is made anew
	trustNothing       // a fresh pass
)

// decide says what must be done to know the status of one table. old is its stored row and l what the server lists,
// nil when there is none.
func decide(w want, old *aoscdb.LocalStatus, l *listed, c clock, t trust) need {
	switch {
	case l == nil:
		return needMissing
	case t == trustNothing || old == nil || t == trustOK && old.Status != aoscdb.LocalOK || !reusable(w, old, l, c):
		return needRead
	}
	return needNothing
}

// reusable reports whether the stored hash still describes the table.
func reusable(w want, old *aoscdb.LocalStatus, l *listed, c clock) bool {
	switch {
	case old.HashCurrent == nil || old.CreateTime == nil:
		return false // it was missing
	case !old.CreateTime.Equal(l.CreateTime):
		return false // altered or swapped since
	case !old.CreateTime.Add(grain).Before(old.LastRun):
		return false // perhaps altered in the very second of the reading
	case old.LastRun.Before(c.Up):
		return false // another version, or another data directory, may have been started since
	case old.LastRun.After(c.Now.Add(grain)):
		return false // the clock was set back: create_time may repeat itself
	case old.DesiredBlob == w.Blob && old.HashDesired != w.Hash:
		return false // the same text has another form now: so may the table (sql_mode, database charset, our own normal form)
	case w.ForeignKey:
		return false
	case (w.Keyless || w.RowID) && old.DesiredBlob != w.Blob:
		return false // the hash may be that of the table less a generated primary key, or with one
	}
	return true
}

// row is the status of one table. hash is nil when the table is missing; at is when the hash was read.
func row(base aoscdb.LocalStatus, w want, hash *string, l *listed, at time.Time) aoscdb.LocalStatus {
	base.Table = w.Table
	base.HashCurrent, base.HashDesired, base.DesiredBlob = hash, w.Hash, w.Blob
	base.LastRun = at
	switch {
	case hash == nil:
		base.Status = aoscdb.LocalNA
		return base
	case *hash == w.Hash:
		base.Status = aoscdb.LocalOK
	default:
		base.Status = aoscdb.LocalINC
	}
	created := l.CreateTime
	base.CreateTime, base.TableRows, base.Bytes = &created, l.Rows, l.Bytes
	return base
}

// says reports whether two rows of the same table say the same to whoever reads the status: the verdict and what it was
// made from.
func says(a, b *aoscdb.LocalStatus) bool {
	return a.Status == b.Status && a.HashDesired == b.HashDesired && a.DesiredBlob == b.DesiredBlob &&
		a.Group == b.Group && equalPtr(a.HashCurrent, b.HashCurrent)
}

// stored reports whether writing b over a may be left out: they say the same, their cache keys are equal, and the size
// has not moved enough to change where the table stands in a queue.
func stored(a, b *aoscdb.LocalStatus) bool {
	if !says(a, b) || farFrom(a.Bytes, b.Bytes) {
		return false
	}
	if (a.CreateTime == nil) != (b.CreateTime == nil) {
		return false
	}
	return a.CreateTime == nil || a.CreateTime.Equal(*b.CreateTime)
}

// farFrom reports whether a size changed by more than a quarter and by more than 16 MiB. The server's statistics move
// all the time, and every row written is work for the instance.
func farFrom(a, b uint64) bool {
	const step = 16 << 20
	if a > b {
		a, b = b, a
	}
	return b-a > step && b-a > a/4
}

func equalPtr[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
