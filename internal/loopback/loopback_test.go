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

// TestBlock: consecutive ports, all or none.
func TestBlock(t *testing.T) {
	dir := t.TempDir()
	ports, err := ReserveBlock(5)
	if err != nil {
		t.Fatal(err)
	}
	first := ports[0].Number
	for i, p := range ports {
		if p.Number != first+i {
			t.Errorf("port %d of the block is %d, the first is %d", i, p.Number, first)
		}
		if err := p.Release(); err != nil {
			t.Fatal(err)
		}
	}
	middle, err := reserve(dir, first+2)
	if err != nil || middle == nil {
		t.Fatalf("reserve the one in the middle: %v, %v", middle, err)
	}
	defer middle.Release()
	if block, err := reserveBlock(dir, first, 5); err != nil || block != nil {
		t.Fatalf("a block with a port of somebody's was given: %v, %v", block, err)
	}
	p, err := reserve(dir, first)
	if err != nil || p == nil {
		t.Fatalf("what was taken for a block that could not be had is still taken: %v, %v", p, err)
	}
	p.Release()
}
