package keyed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"
)

// decoder reads events off the wire. Of row events it reads the head only; the rows of the table that is followed are left in rows.
type decoder struct {
	parser *replication.BinlogParser
	format []byte // the FORMAT_DESCRIPTION_EVENT, for the events of compressed transactions
	sums   bool   // events end with a checksum

	want   func(database, table []byte) bool
	wanted bool   // the last row event is of the table
	rows   []byte // its rows
}

func newDecoder() *decoder {
	d := &decoder{parser: replication.NewBinlogParser()}
	d.parser.SetFlavor(gomysql.MySQLFlavor)
	d.parser.SetRowsEventDecodeFunc(d.head)
	return d
}

// head reads a row event up to its rows.
func (d *decoder) head(e *replication.RowsEvent, data []byte) error {
	d.wanted, d.rows = false, nil
	pos, err := e.DecodeHeader(data)
	if err != nil {
		return err
	}
	if d.wanted = d.want(e.Table.Schema, e.Table.Table); d.wanted {
		d.rows = data[pos:]
	}
	return nil
}

// decode reads one event. Compressed transactions are left as they are, for payload.
func (d *decoder) decode(data []byte, want func(database, table []byte) bool) (*replication.BinlogEvent, error) {
	if len(data) < replication.EventHeaderSize {
		return nil, errors.New("an event of the binary log is shorter than its header")
	}
	d.want = want
	if kind := replication.EventType(data[4]); kind == replication.TRANSACTION_PAYLOAD_EVENT {
		h := &replication.EventHeader{}
		return &replication.BinlogEvent{RawData: data, Header: h, Event: &replication.GenericEvent{}}, h.Decode(data)
	}
	e, err := d.parser.Parse(data)
	if err != nil {
		return nil, lost("an event of the binary log could not be read: %v", err)
	}
	if f, ok := e.Event.(*replication.FormatDescriptionEvent); ok {
		d.format, d.sums = bytes.Clone(data), f.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32
	}
	return e, nil
}

// Fields of a TRANSACTION_PAYLOAD_EVENT.
const (
	payloadEnd         = 0
	payloadCompression = 2
	compressionZstd    = 0
	compressionNone    = 255
)

// payload reads the events of a compressed transaction one by one: unpacked at once, a large one would fill the memory.
func (d *decoder) payload(data []byte, each func(*decoder, []byte) error) error {
	data = data[replication.EventHeaderSize:]
	if d.sums && len(data) >= replication.BinlogChecksumLength {
		data = data[:len(data)-replication.BinlogChecksumLength]
	}
	body, compression, err := payloadBody(data)
	if err != nil {
		return err
	}
	var r io.Reader = bytes.NewReader(body)
	switch compression {
	case compressionZstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	case compressionNone:
	default:
		return lost("a transaction is compressed in a way that is not known (%d)", compression)
	}
	inner := newDecoder()
	inner.want = d.want
	format, err := inner.parser.Parse(d.format)
	if err != nil {
		return lost("the format of the binary log could not be read: %v", err)
	}
	// Events within a transaction's payload have no checksums of their own.
	format.Event.(*replication.FormatDescriptionEvent).ChecksumAlgorithm = replication.BINLOG_CHECKSUM_ALG_OFF
	for {
		head := make([]byte, replication.EventHeaderSize)
		if _, err := io.ReadFull(r, head); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return lost("a compressed transaction could not be unpacked: %v", err)
		}
		size := int(binary.LittleEndian.Uint32(head[9:13]))
		if size < len(head) {
			return lost("a compressed transaction has an event of %d bytes", size)
		}
		event := append(head, make([]byte, size-len(head))...)
		if _, err := io.ReadFull(r, event[len(head):]); err != nil {
			return lost("a compressed transaction could not be unpacked: %v", err)
		}
		if err := each(inner, event); err != nil {
			return err
		}
	}
}

// payloadBody reads the fields before a payload: type, length of the value, value, the last one without a value.
func payloadBody(data []byte) (body []byte, compression int, err error) {
	broken := lost("a compressed transaction could not be read")
	take := func() (int, error) {
		n, null, size := gomysql.LengthEncodedInt(data)
		if null || size == 0 || size > len(data) {
			return 0, broken
		}
		data = data[size:]
		return int(n), nil
	}
	for len(data) > 0 {
		field, err := take()
		if err != nil {
			return nil, 0, err
		}
		if field == payloadEnd {
			return data, compression, nil
		}
		length, err := take()
		if err != nil || length > len(data) {
			return nil, 0, broken
		}
		if value := data[:length]; field == payloadCompression {
			n, null, size := gomysql.LengthEncodedInt(value)
			if null || size == 0 {
				return nil, 0, broken
			}
			compression = int(n)
		}
		data = data[length:]
	}
	return nil, 0, fmt.Errorf("%w: it has no end of its fields", broken)
}
