package cottonkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mounting is why no file system can be mounted; nil when it can.
var mounting error

// CanFillDisk tells whether Options.DiskMB works here.
func CanFillDisk() bool { return mounting == nil }

// CanBreakVolumes tells whether Options.VolumesMB works here.
func CanBreakVolumes() bool { return blockDevices() == nil }

// blockDevices says why no file system can be made in a file and mounted; nil when it can.
func blockDevices() error {
	if mounting != nil {
		return mounting
	}
	for _, program := range []string{"mkfs.ext4", "e2fsck", "mount", "findmnt"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	_, err := os.Stat("/dev/loop-control")
	return err
}

// mountDisk makes a small file system of its own in memory.
func (s *Site) mountDisk(dir string) {
	s.T.Helper()
	if mounting != nil {
		s.T.Skip("no disk can be made here: ", mounting)
	}
	s.Do(os.MkdirAll(dir, 0o755))
	s.Do(syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", s.o.DiskMB)))
	s.T.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.T.Error(err)
		}
	})
}

// mountVolumes puts an agent's volumes on a file system of their own, on a block device in a file.
func (s *Site) mountVolumes(agent string) {
	s.T.Helper()
	if err := blockDevices(); err != nil {
		s.T.Skip("no block device can be made here: ", err)
	}
	image, dir := s.image(agent), s.volumes(agent)
	s.Do(os.MkdirAll(dir, 0o755))
	f, err := os.Create(image)
	s.Do(err)
	s.Do(errors.Join(f.Truncate(int64(s.o.VolumesMB)<<20), f.Close()))
	s.Do(shell("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", image))
	s.Do(s.mount(agent))
	s.T.Cleanup(func() {
		_ = s.freeze(agent, fiThaw) // as a rule it is not frozen
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.T.Error(err)
		}
	})
}

func (s *Site) image(agent string) string { return filepath.Join(s.Dir, "volumes-"+agent+".img") }
func (s *Site) volumes(agent string) string {
	return filepath.Join(s.Dir, "mesos", "agents", agent, "volumes")
}

func (s *Site) mount(agent string) error {
	return shell("mount", "-t", "ext4", "-o", "loop,errors=remount-ro", s.image(agent), s.volumes(agent))
}

func shell(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Requests of linux/fs.h.
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

func (s *Site) freeze(agent string, request uint) error {
	f, err := os.Open(s.volumes(agent))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), request, 0); err != nil {
		return fmt.Errorf("freeze or thaw %s: %w", f.Name(), err)
	}
	return nil
}

// StallVolumes has every write to an agent's volumes wait, as a disk does that does not answer, until heal.
func (s *Site) StallVolumes(t testing.TB, agent string) (heal func()) {
	t.Helper()
	s.Do(s.freeze(agent, fiFreeze))
	return func() {
		if err := s.freeze(agent, fiThaw); err != nil {
			t.Error(err)
		}
	}
}

// BreakVolumes makes an agent's volumes read-only, as the kernel does when it finds their file system damaged, until repair,
// which returns an error while somebody still holds a file open.
func (s *Site) BreakVolumes(agent string) (repair func() error) {
	s.T.Helper()
	out, err := exec.Command("findmnt", "-n", "-o", "SOURCE", s.volumes(agent)).Output()
	s.Do(err)
	device := filepath.Base(strings.TrimSpace(string(out)))
	s.Do(os.WriteFile(filepath.Join("/sys/fs/ext4", device, "trigger_fs_error"), []byte("broken by a test\n"), 0))
	mounted := true
	return func() error {
		if mounted {
			if err := syscall.Unmount(s.volumes(agent), 0); err != nil {
				return err
			}
			mounted = false
		}
		// It found and mended errors, says exit status 1.
		var exit *exec.ExitError
		if err := exec.Command("e2fsck", "-f", "-y", s.image(agent)).Run(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
			return fmt.Errorf("e2fsck: %w", err)
		}
		return s.mount(agent)
	}
}

// FillDisk leaves nothing free on an agent's disk, until free is called.
func (s *Site) FillDisk(t testing.TB, agent string) (free func()) {
	t.Helper()
	path := filepath.Join(s.Mini.AgentDir(agent), "filler")
	f, err := os.Create(path)
	s.Do(err)
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // to the last byte
		} else if err != nil {
			t.Fatal(err)
		}
	}
	s.Do(f.Close())
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
