package loopback

import (
	"net"
	"strconv"
	"testing"
)

// TestReservedOnce: a number is given once until it is released, also while nothing listens on it, and it can be
// listened on.
func TestReservedOnce(t *testing.T) {
	dir := t.TempDir()
	port, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	number := port.Number
	if err := port.Release(); err != nil {
		t.Fatal(err)
	}

	first, err := reserve(dir, number)
	if err != nil || first == nil {
		t.Fatalf("a free port was not given: %v, %v", first, err)
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(number)))
	if err != nil {
		t.Fatalf("a reserved port cannot be used: %v", err)
	}
	l.Close()
	if again, err := reserve(dir, number); err != nil || again != nil {
		t.Fatalf("a reserved port was given again: %v, %v", again, err)
	}
	for range 2 { // twice on purpose: the second does nothing
		if err := first.Release(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := reserve(dir, number)
	if err != nil || again == nil {
		t.Fatalf("a released port was not given: %v, %v", again, err)
	}
	again.Release()
}

// TestBusyPort: what somebody listens on is not given.
func TestBusyPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if p, err := reserve(t.TempDir(), l.Addr().(*net.TCPAddr).Port); err != nil || p != nil {
		t.Fatalf("a busy port was given: %v, %v", p, err)
	}
}
