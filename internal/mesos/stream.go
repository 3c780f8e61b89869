package mesos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// maxRecord bounds one event. OFFERS of ten thousand agents stay below a tenth of it.
const maxRecord = 256 << 20

// maxLengthDigits bounds the line before a record.
const maxLengthDigits = 20

// errSilent ends a stream that has sent nothing for longer than its heartbeats allow.
var errSilent = errors.New("no event and no heartbeat")

// readRecord reads one record of RecordIO: its length in decimal, a line feed, its bytes. io.EOF means that the stream
// ended between two records; the chunks of HTTP mean nothing.
func readRecord(r *bufio.Reader) ([]byte, error) {
	length, err := readLength(r)
	if err != nil {
		return nil, err
	}
	// Grown as bytes come, so that a wrong length does not cost its memory.
	record := make([]byte, 0, min(length, 64<<10))
	for len(record) < length {
		n := min(length-len(record), max(64<<10, len(record)))
		record = append(record, make([]byte, n)...)
		if _, err := io.ReadFull(r, record[len(record)-n:]); err != nil {
			return nil, fmt.Errorf("the stream broke off within a record of %d bytes: %w", length, noEOF(err))
		}
	}
	return record, nil
}

func readLength(r *bufio.Reader) (int, error) {
	var digits []byte
	for {
		b, err := r.ReadByte()
		switch {
		case err == io.EOF && len(digits) == 0:
			return 0, io.EOF
		case err != nil:
			return 0, fmt.Errorf("the stream broke off within the length of a record: %w", noEOF(err))
		case b == '\n':
			n, err := strconv.ParseUint(string(digits), 10, 63)
			if err != nil || n > maxRecord {
				return 0, fmt.Errorf("a record's length is %q, not a number up to %d", digits, maxRecord)
			}
			return int(n), nil
		case len(digits) == maxLengthDigits:
			return 0, fmt.Errorf("a record begins with %q, not with its length", digits)
		}
		digits = append(digits, b)
	}
}

// noEOF keeps an end within a record from looking like an end between two.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// stream is the body of a subscription, read by a goroutine of its own so that silence can be noticed.
type stream struct {
	body    io.ReadCloser
	records chan []byte
	failed  chan error
	stop    chan struct{}
	ended   chan struct{}
}

func openStream(body io.ReadCloser) *stream {
	s := &stream{body: body, records: make(chan []byte), failed: make(chan error, 1),
		stop: make(chan struct{}), ended: make(chan struct{})}
	go s.read()
	return s
}

func (s *stream) read() {
	defer close(s.ended)
	r := bufio.NewReaderSize(s.body, 64<<10)
	for {
		record, err := readRecord(r)
		if err != nil {
			s.failed <- err
			return
		}
		if len(record) == 0 {
			continue
		}
		select {
		case s.records <- record:
		case <-s.stop:
			return
		}
	}
}

// next waits for a record, for at most silence (0 = for ever). io.EOF is the orderly end. Time that the caller spends
// between two calls does not count as silence: what came meanwhile waits here.
func (s *stream) next(ctx context.Context, silence time.Duration) ([]byte, error) {
	var tooLong <-chan time.Time
	if silence > 0 {
		t := time.NewTimer(silence)
		defer t.Stop()
		tooLong = t.C
	}
	select {
	case record := <-s.records:
		return record, nil
	case err := <-s.failed:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-tooLong:
		return nil, fmt.Errorf("%w for %s", errSilent, silence)
	}
}

// close drops the connection and waits for the reader.
func (s *stream) close() {
	close(s.stop)
	s.body.Close() // ends a read that waits; its error tells nothing new
	<-s.ended
}
