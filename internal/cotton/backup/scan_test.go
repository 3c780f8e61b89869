package backup

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// event is one of a binary log, with its checksum.
func event(kind byte, body []byte) []byte {
	e := make([]byte, headerSize, headerSize+len(body)+checksumSize)
	e[4] = kind
	binary.LittleEndian.PutUint32(e[9:], uint32(headerSize+len(body)+checksumSize))
	e = append(e, body...)
	return binary.LittleEndian.AppendUint32(e, crc32.ChecksumIEEE(e))
}

// encode is a binary log of nothing but the beginnings of transactions.
func encode(list []Transaction) []byte {
	log := append([]byte(binlogMagic), event(15, append(make([]byte, 90), checksumCRC32))...)
	for _, t := range list {
		uuid, err := hex.DecodeString(strings.ReplaceAll(t.Source, "-", ""))
		if err != nil {
			panic(err)
		}
		body := append([]byte{0}, uuid...)
		body = binary.LittleEndian.AppendUint64(body, uint64(t.Number))
		body = append(body, 2)
		body = append(body, make([]byte, 16)...)
		at := make([]byte, 8)
		binary.LittleEndian.PutUint64(at, uint64(t.At.UnixMicro()))
		log = append(log, event(33, append(body, at[:7]...))...)
	}
	return log
}

// TestScan reads real binary logs, with tags, many gaps and large rows, and holds them against what the server says. Cut off
// or changed anywhere, they are damaged.
func TestScan(t *testing.T) {
	s := testkit.FreshServer(t, nil)
	const other = "99999999-9999-9999-9999-999999999999"
	testkit.Exec(t, s, "CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)", "INSERT INTO d.t (b) VALUES (REPEAT('x', 3000000))")
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	gtids := []string{other + ":7", other + ":9", other + ":3"}
	if s.Version().TaggedGTIDs() {
		gtids = append(gtids, other+":tag:4", "88888888-8888-8888-8888-888888888888:only:1")
	}
	for _, g := range gtids {
		for _, statement := range []string{"SET gtid_next = '" + g + "'", "INSERT INTO d.t (b) VALUES ('y')", "SET gtid_next = AUTOMATIC"} {
			if _, err := conn.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	all, err := mysql.GTIDExecuted(t.Context(), s.DB())
	if err != nil {
		t.Fatal(err)
	}
	if err := mysql.FlushBinaryLogs(t.Context(), s.DB()); err != nil {
		t.Fatal(err)
	}
	testkit.Exec(t, s, "INSERT INTO d.t (b) VALUES ('z')")
	if err := mysql.FlushBinaryLogs(t.Context(), s.DB()); err != nil {
		t.Fatal(err)
	}
	logs, err := mysql.BinaryLogs(t.Context(), s.DB())
	if err != nil || len(logs) < 3 {
		t.Fatalf("%+v, %v", logs, err)
	}
	logs = logs[len(logs)-3:]
	text, err := os.ReadFile(logs[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	first, err := Scan(bytes.NewReader(text), func(Transaction) error { n++; return nil })
	if err != nil || !first.Previous.Union(first.GTIDs).Equal(all) || n < 6 || first.LastAt.Before(first.FirstAt) || first.FirstAt.IsZero() {
		t.Errorf("%+v after %d transactions, want %s; %v", first, n, all, err)
	}
	next, err := os.Open(logs[1].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if previous, err := ReadPrevious(next); err != nil || !previous.Equal(all) {
		t.Errorf("the next log begins after %s, want %s; %v", previous, all, err)
	}
	for _, at := range []int{2, 10, 60, 140, len(text) / 2, len(text) - 3} {
		if _, err := Scan(bytes.NewReader(text[:at]), nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut off at %d of %d: %v", at, len(text), err)
		}
		changed := bytes.Clone(text)
		changed[at] ^= 4
		if _, err := Scan(bytes.NewReader(changed), nil); err == nil {
			t.Errorf("changed at %d of %d: not seen", at, len(text))
		}
	}
	if _, err := Scan(strings.NewReader(encrypted+"..."), nil); err == nil || !strings.Contains(err.Error(), "encrypted") {
		t.Errorf("an encrypted one: %v", err)
	}
}
