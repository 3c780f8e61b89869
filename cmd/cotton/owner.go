package main

import (
	"os"
	"syscall"
)

// keepOwner gives a file the owner of another one.
func keepOwner(f *os.File, of os.FileInfo) error {
	st, ok := of.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
