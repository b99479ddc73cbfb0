package kernel

import (
	"syscall"
	"unsafe"
)

// hugePages asks the system to back memory that was not touched yet with pages of hugePage bytes: a core
// that reads it from end to end is not held up where pages end, and what was read comes with fewer faults.
// A system that does not follow costs speed alone.
func hugePages(memory []byte) {
	start := -uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % hugePage
	if int(start) >= len(memory) {
		return
	}
	if whole := memory[start:]; len(whole) >= hugePage {
		_ = syscall.Madvise(whole[:len(whole)/hugePage*hugePage], syscall.MADV_HUGEPAGE)
	}
}
