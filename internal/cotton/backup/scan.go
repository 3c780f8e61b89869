package backup

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/aosc/aosc/internal/mysql"
)

// Transaction is one as a binary log has it.
type Transaction struct {
	Source string // server_uuid, with ":tag" where there is one
	Number int64
	// At is when it was committed at its primary: the same in the logs of all members.
	At time.Time
}

// GTID is the transaction's, as the server writes it.
func (t Transaction) GTID() string { return t.Source + ":" + strconv.FormatInt(t.Number, 10) }

// Contents are what a binary log holds.
type Contents struct {
	Previous, GTIDs mysql.GTIDSet
	FirstAt, LastAt time.Time
}

// errStop ends a scan early.
var errStop = errors.New("stop")

const (
	binlogMagic   = "\xfebin"
	encrypted     = "\xfdbin"
	headerSize    = 19
	checksumSize  = 4
	checksumCRC32 = 1
	// maxSmall bounds the events that are kept in memory to be read: GTID sets, not rows.
	maxSmall = 64 << 20
)

// Scan reads a binary log from its beginning to its end and checks every event's length and checksum: a log that was
// cut off, or changed on disk, is ErrDamaged. each, which may be nil, is called for every transaction in order; its error ends
// the scan, which then tells what came before that transaction.
func Scan(r io.Reader, each func(Transaction) error) (Contents, error) {
	s := scanner{r: bufio.NewReaderSize(r, 1<<20), each: each}
	err := s.run()
	s.note()
	gtids, broken := mysql.ParseGTIDSet(s.gtids.String())
	s.out.GTIDs = gtids
	return s.out, errors.Join(err, broken)
}

// ReadPrevious reads only what the server had executed when it began a log.
func ReadPrevious(r io.Reader) (mysql.GTIDSet, error) {
	s := scanner{r: bufio.NewReader(r), headOnly: true}
	err := s.run()
	if errors.Is(err, errStop) {
		err = nil
	}
	return s.out.Previous, err
}

type scanner struct {
	r        *bufio.Reader
	each     func(Transaction) error
	headOnly bool
	at       int64
	crc      bool // events end with their checksum
	out      Contents
	gtids    strings.Builder
	first    Transaction // of the run of numbers that is being collected
	last     int64       // of that run
}

func (s *scanner) run() error {
	magic := make([]byte, len(binlogMagic))
	if _, err := io.ReadFull(s.r, magic); err != nil {
		return fmt.Errorf("the binary log ends in its first bytes: %w", ErrDamaged)
	}
	switch string(magic) {
	case binlogMagic:
	case encrypted:
		return errors.New("the binary log is encrypted (binlog_encryption), which backups do not support: set it OFF")
	default:
		return fmt.Errorf("this is not a binary log: %w", ErrDamaged)
	}
	s.at = int64(len(magic))
	for {
		header := make([]byte, headerSize)
		if n, err := io.ReadFull(s.r, header); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("the binary log ends in the middle of an event's header, %d bytes at %d: %w", n, s.at, ErrDamaged)
		}
		if err := s.event(header); err != nil {
			return err
		}
	}
}

// event reads one event. Its rows are not kept.
func (s *scanner) event(header []byte) error {
	kind, size := replication.EventType(header[4]), int64(binary.LittleEndian.Uint32(header[9:]))
	body := size - headerSize
	if body < 0 {
		return fmt.Errorf("the binary log has an event of %d bytes at %d: %w", size, s.at, ErrDamaged)
	}
	small := kind == replication.FORMAT_DESCRIPTION_EVENT || kind == replication.GTID_EVENT || kind == replication.PREVIOUS_GTIDS_EVENT || kind == replication.GTID_TAGGED_LOG_EVENT
	if small && body > maxSmall {
		return fmt.Errorf("the binary log has a %s of %d bytes at %d: %w", kind, size, s.at, ErrDamaged)
	}
	var data []byte
	if small {
		data = make([]byte, body)
		if _, err := io.ReadFull(s.r, data); err != nil {
			return s.torn(kind)
		}
		if kind == replication.FORMAT_DESCRIPTION_EVENT && len(data) > checksumSize {
			s.crc = data[len(data)-checksumSize-1] == checksumCRC32
		}
	}
	if err := s.verify(kind, header, data, small, body); err != nil {
		return err
	}
	if s.crc && small {
		data = data[:len(data)-checksumSize]
	}
	s.at += size
	switch kind {
	case replication.PREVIOUS_GTIDS_EVENT:
		previous, err := decodePrevious(data)
		if err != nil {
			return err
		}
		if s.out.Previous = previous; s.headOnly {
			return errStop
		}
	case replication.GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT:
		return s.transaction(kind, data)
	}
	return nil
}

func (s *scanner) torn(kind replication.EventType) error {
	return fmt.Errorf("the binary log ends in the middle of a %s at %d: %w", kind, s.at, ErrDamaged)
}

// verify compares an event with its checksum; the header's flag of a log in use is no part of it.
func (s *scanner) verify(kind replication.EventType, header, data []byte, small bool, body int64) error {
	sum := crc32.NewIEEE()
	const flags, inUse = 17, 1
	clean := append([]byte(nil), header...)
	if kind == replication.FORMAT_DESCRIPTION_EVENT {
		clean[flags] &^= inUse
	}
	sum.Write(clean)
	tail := make([]byte, checksumSize)
	switch {
	case !s.crc && small:
		return nil
	case body < checksumSize && s.crc:
		return fmt.Errorf("the binary log has a %s without room for its checksum at %d: %w", kind, s.at, ErrDamaged)
	case small:
		sum.Write(data[:len(data)-checksumSize])
		copy(tail, data[len(data)-checksumSize:])
	case !s.crc:
		if _, err := io.CopyN(io.Discard, s.r, body); err != nil {
			return s.torn(kind)
		}
		return nil
	default:
		if _, err := io.CopyN(sum, s.r, body-checksumSize); err != nil {
			return s.torn(kind)
		}
		if _, err := io.ReadFull(s.r, tail); err != nil {
			return s.torn(kind)
		}
	}
	if binary.LittleEndian.Uint32(tail) != sum.Sum32() {
		return fmt.Errorf("the binary log has a %s with a wrong checksum at %d: %w", kind, s.at, ErrDamaged)
	}
	return nil
}

// leastGTIDEvent is flags, uuid and number: what the library reads without looking at the length.
const leastGTIDEvent = 25

func (s *scanner) transaction(kind replication.EventType, data []byte) error {
	if len(data) < leastGTIDEvent {
		return fmt.Errorf("the binary log has a GTID event of %d bytes before %d: %w", len(data), s.at, ErrDamaged)
	}
	var e replication.GTIDEvent
	var err error
	if kind == replication.GTID_TAGGED_LOG_EVENT {
		var tagged replication.GtidTaggedLogEvent
		err = tagged.Decode(data)
		e = tagged.GTIDEvent
	} else {
		err = e.Decode(data)
	}
	if err != nil || len(e.SID) != 16 {
		return fmt.Errorf("the binary log has a GTID event that cannot be read before %d: %v: %w", s.at, err, ErrDamaged)
	}
	t := Transaction{Source: formatUUID(e.SID), Number: e.GNO, At: time.UnixMicro(int64(e.OriginalCommitTimestamp)).UTC()}
	if e.Tag != "" {
		t.Source += ":" + e.Tag
	}
	if s.each != nil {
		if err := s.each(t); err != nil {
			return err
		}
	}
	if t.Source != s.first.Source || t.Number != s.last+1 {
		s.note()
		s.first = t
	}
	s.last = t.Number
	if s.out.FirstAt.IsZero() || t.At.Before(s.out.FirstAt) {
		s.out.FirstAt = t.At
	}
	if t.At.After(s.out.LastAt) {
		s.out.LastAt = t.At
	}
	return nil
}

// note adds the run of numbers that has ended.
func (s *scanner) note() {
	if s.first.Source != "" {
		fmt.Fprintf(&s.gtids, "%s:%d-%d,", s.first.Source, s.first.Number, s.last)
	}
}

func formatUUID(b []byte) string {
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// decodePrevious reads a Previous_gtids event. The library's own reading loses the uuid of a source that has only tagged
// transactions, and all but 65535 intervals of one.
func decodePrevious(data []byte) (mysql.GTIDSet, error) {
	broken := fmt.Errorf("the binary log's Previous_gtids event cannot be read: %w", ErrDamaged)
	number := func() (n uint64, ok bool) {
		if len(data) < 8 {
			return 0, false
		}
		n, data = binary.LittleEndian.Uint64(data), data[8:]
		return n, true
	}
	count, ok := number()
	if !ok {
		return mysql.GTIDSet{}, broken
	}
	tagged := count>>56 == 1 // the format, of 8.3 and later; the count is in the middle then
	if tagged {
		count = count << 8 >> 16
	}
	var text strings.Builder
	for range count {
		if len(data) < 16 {
			return mysql.GTIDSet{}, broken
		}
		source := formatUUID(data[:16])
		data = data[16:]
		if tagged {
			if len(data) < 1 || len(data) < 1+int(data[0])/2 {
				return mysql.GTIDSet{}, broken
			}
			n := int(data[0]) / 2 // a number of variable length, of which a tag's needs one byte
			if n > 0 {
				source += ":" + string(data[1:1+n])
			}
			data = data[1+n:]
		}
		intervals, ok := number()
		if !ok || intervals > uint64(len(data))/16 {
			return mysql.GTIDSet{}, broken
		}
		for range intervals {
			first, _ := number()
			after, _ := number()
			fmt.Fprintf(&text, "%s:%d-%d,", source, first, after-1)
		}
	}
	set, err := mysql.ParseGTIDSet(text.String())
	if err != nil {
		return set, fmt.Errorf("%w: %w", err, broken)
	}
	return set, nil
}
