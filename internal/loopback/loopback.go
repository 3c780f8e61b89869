// Package loopback hands out TCP ports of 127.0.0.1 for the servers that the demo and the tests start.
//
// Asking the kernel for port 0 and closing the socket again is a race: the number comes from the range that outgoing
// connections are given too, and another process may ask a moment later. Reserve takes numbers outside that range and
// holds a file lock for each, so that processes of this project never choose the same one, even while the server
// that uses it is down for a restart.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The range is below what Linux gives to outgoing connections (32768 and up) and above well-known services. MySQL
// servers of this project need their port plus nothing else.
const (
	firstPort = 14000
	lastPort  = 31999
	attempts  = 200
)

// Port is a reserved port. It stays ours until Release or the end of the process.
type Port struct {
	Number int

	mu   sync.Mutex
	lock *os.File
}

// Reserve finds a port of 127.0.0.1 that nothing listens on and nobody else has reserved.
func Reserve() (*Port, error) {
	dir, err := lockDir()
	if err != nil {
		return nil, err
	}
	for range attempts {
		number := firstPort + rand.IntN(lastPort-firstPort+1)
		port, err := reserve(dir, number)
		if err != nil {
			return nil, err
		}
		if port != nil {
			return port, nil
		}
	}
	return nil, fmt.Errorf("reserve a port: none free on 127.0.0.1 among %d tried from %d to %d", attempts, firstPort, lastPort)
}

func lockDir() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("aosc-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("reserve a port: %w", err)
	}
	return dir, nil
}

// ReserveN reserves n ports, or none.
func ReserveN(n int) ([]*Port, error) {
	var ports []*Port
	for range n {
		p, err := Reserve()
		if err != nil {
			for _, p := range ports {
				err = errors.Join(err, p.Release())
			}
			return nil, err
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// ReserveBlock reserves n consecutive ports, or none, for software that is configured with a range.
func ReserveBlock(n int) ([]*Port, error) {
	dir, err := lockDir()
	if err != nil {
		return nil, err
	}
	for range attempts {
		ports, err := reserveBlock(dir, firstPort+rand.IntN(lastPort-firstPort-n+2), n)
		if err != nil || ports != nil {
			return ports, err
		}
	}
	return nil, fmt.Errorf("reserve %d consecutive ports: none free on 127.0.0.1 in %d tries from %d to %d", n, attempts, firstPort, lastPort)
}

// reserveBlock takes n numbers from first on; nil means that somebody has one of them.
func reserveBlock(dir string, first, n int) (ports []*Port, err error) {
	for i := range n {
		p, err := reserve(dir, first+i)
		if err != nil || p == nil {
			for _, taken := range ports {
				err = errors.Join(err, taken.Release())
			}
			return nil, err
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// reserve takes one number; nil means that somebody has it. The lock files are never removed: unlinking a file that
// another process is about to lock would give the number twice.
func reserve(dir string, number int) (*Port, error) {
	lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(number)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("reserve port %d: %w", number, err)
	}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !free(number) {
		return nil, lock.Close()
	}
	return &Port{Number: number, lock: lock}, nil
}

// free tells whether the port can be listened on now.
func free(number int) bool {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(number)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Release gives the port back. It may be called more than once.
func (p *Port) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lock == nil {
		return nil
	}
	err := p.lock.Close() // closing drops the lock
	p.lock = nil
	return err
}
