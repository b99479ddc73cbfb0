//go:build unix && !aix

package file

import (
	"os"
	"syscall"
)

// canMap says that this system maps files.
const canMap = true

func mapFile(f *os.File, size int) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
}

func unmapFile(data []byte) error { return syscall.Munmap(data) }

// sizeOf allocates nothing, as Stat would.
func sizeOf(f *os.File) (int64, error) {
	var s syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &s); err != nil {
		return 0, err
	}
	return s.Size, nil
}
