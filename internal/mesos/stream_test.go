package mesos

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestReadRecord: records come out whole however the bytes arrive; chunks of HTTP mean nothing (rule 1).
func TestReadRecord(t *testing.T) {
	big := strings.Repeat("x", 5<<20) // mesos-go's own reader stops at 4 MB
	for name, c := range map[string]struct {
		in   string
		want []string
		err  error // of the read after them
	}{
		"none":              {"", nil, io.EOF},
		"two":               {"5\nhello1\n!", []string{"hello", "!"}, io.EOF},
		"with line feeds":   {"3\n\n1\n2\nab", []string{"\n1\n", "ab"}, io.EOF},
		"empty":             {"0\n1\na", []string{"", "a"}, io.EOF},
		"large":             {"5242880\n" + big, []string{big}, io.EOF},
		"cut in a record":   {"5\nhel", nil, io.ErrUnexpectedEOF},
		"cut before it":     {"5\n", nil, io.ErrUnexpectedEOF},
		"cut in a length":   {"1\na12", []string{"a"}, io.ErrUnexpectedEOF},
		"no length":         {"hello\n", nil, nil},
		"no length, ever":   {strings.Repeat("1", 100), nil, nil},
		"negative":          {"-1\n", nil, nil},
		"absurd length":     {"99999999999\n", nil, nil},
		"empty length line": {"\n1\na", nil, nil},
	} {
		for kind, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader,
			"error with data": iotest.DataErrReader,
		} {
			if kind == "bytes" && len(c.in) > 1<<20 {
				continue
			}
			r := bufio.NewReader(wrap(strings.NewReader(c.in)))
			for i, want := range c.want {
				if got, err := readRecord(r); err != nil || string(got) != want {
					t.Errorf("%s, %s: record %d: %.20q, %v; want %.20q", name, kind, i, got, err, want)
				}
			}
			_, err := readRecord(r)
			if err == nil || c.err != nil && !errors.Is(err, c.err) || c.err == nil && errors.Is(err, io.EOF) {
				t.Errorf("%s, %s: at the end: %v, want %v", name, kind, err, c.err)
			}
		}
	}
}

// TestReadRecordLies: a length that lies does not cost its memory.
func TestReadRecordLies(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readRecord(bufio.NewReader(strings.NewReader("268435456\nshort"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes allocated for 5 that came", used)
	}
}

// TestStreamSilence: only silence while somebody waits counts; a busy handler does not kill its own stream.
func TestStreamSilence(t *testing.T) {
	r, w := io.Pipe()
	s := openStream(r)
	defer s.close()
	if _, err := w.Write([]byte("1\na")); err != nil {
		t.Fatal(err)
	}
	const silence = 50 * time.Millisecond
	<-time.After(3 * silence) // the handler is busy with the event before
	if got, err := s.next(t.Context(), silence); err != nil || !bytes.Equal(got, []byte("a")) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.next(t.Context(), silence); !errors.Is(err, errSilent) {
		t.Errorf("after silence: %v", err)
	}
}

// TestBackoff: waits double from least to most, each between half and all of its turn.
func TestBackoff(t *testing.T) {
	b := backoff{least: 100 * time.Millisecond, most: 15 * time.Second}
	full := b.least
	for i := range 12 {
		if got := b.next(); got < full/2 || got > full {
			t.Errorf("wait %d is %s, want %s to %s", i, got, full/2, full)
		}
		full = min(2*full, b.most)
	}
	b.reset()
	if got := b.next(); got > b.least {
		t.Errorf("after a reset: %s", got)
	}
}
