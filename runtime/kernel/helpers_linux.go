//go:build linux && (amd64 || arm64)

package kernel

import (
	"syscall"
	"unsafe"
)

// Operations of futex(2).
const (
	futexWaitPrivate = 0 | 128
	futexWakePrivate = 1 | 128
)

// sleep waits for a wake after offers stopped being seen. It returns true if a wake counted it.
func sleep(seen uint32) bool {
	_, _, err := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&offers)), futexWaitPrivate, uintptr(seen), 0, 0, 0)
	return err == 0
}

// wake wakes at most n sleepers and returns how many it did.
func wake(n int) int {
	woken, _, err := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&offers)), futexWakePrivate, uintptr(n), 0, 0, 0)
	if err != 0 {
		return 0
	}
	return int(woken)
}

// yieldCPU lets another thread have this core.
func yieldCPU() { _, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }

// currentCPU is the core that the caller runs on; below 0: unknown.
func currentCPU() int {
	var cpu uint32
	if _, _, err := syscall.RawSyscall(sysGetcpu, uintptr(unsafe.Pointer(&cpu)), 0, 0); err != 0 {
		return -1
	}
	return int(cpu)
}

// cpuSet is a set of cores as sched_setaffinity(2) takes it.
type cpuSet [16]uint64

// allowed is the cores that the process may use; none: unknown.
var allowed = func() (s cpuSet) {
	if _, _, err := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(s), uintptr(unsafe.Pointer(&s))); err != 0 {
		return cpuSet{}
	}
	return s
}()

// avoidCPU moves the calling thread, which must be locked, off a core where it is in the way. Linux
// may place a thread beside the one that woke it and leave it there for milliseconds, even if another
// core has nothing to do.
func avoidCPU(cpu int) {
	if cpu < 0 || cpu >= 64*len(cpuSet{}) || currentCPU() != cpu {
		return
	}
	s := allowed
	if s[cpu/64] &^= 1 << (cpu % 64); s == (cpuSet{}) {
		return
	}
	// Where that is refused the thread stays, and the pool's account tells what it costs.
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(s), uintptr(unsafe.Pointer(&s)))
}
