//go:build unix && !aix

package file

import (
	"os"
	"syscall"
)

// canMap says that this system maps files.
const canMap = true

// wholeMost is the size up to which a file is mapped with its pages: it will be read, which then takes one call in
// place of a fault every 64 KB.
const wholeMost = 8 << 20

func mapFile(f *os.File, size int) ([]byte, error) {
	flags := syscall.MAP_SHARED
	if size <= wholeMost {
		flags |= withPages
	}
	return syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, flags)
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
