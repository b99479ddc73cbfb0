//go:build linux && (amd64 || arm64)

package kernel

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Operations of futex(2).
const (
	futexWaitPrivate = 0 | 128
	futexWakePrivate = 1 | 128
)

// napFor is how long a helper that sleeps keeps its place among Go's threads, in nanoseconds.
const napFor = 2e6

// sleep waits for a wake after offers stopped being seen. It returns true if a wake counted it.
//
// At first it does so without a word to Go's scheduler. That would take the sleeper's place from it, and
// look out every 20 µs, 50 times, for others who sleep: on the caller's core, and for ever where a loop's
// parts are not equally long and the helper sleeps at the end of each. A signal, by which Go stops
// threads, ends a nap.
func sleep(seen uint32) bool {
	t := syscall.Timespec{Nsec: napFor}
	switch _, _, err := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&offers)), futexWaitPrivate, uintptr(seen), uintptr(unsafe.Pointer(&t)), 0, 0); err {
	case 0:
		return true
	case syscall.ETIMEDOUT:
	default:
		return false
	}
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

// banThread lets a thread of this process, 0 for the caller's, run on any core but one.
func banThread(thread, cpu int) {
	if cpu < 0 || cpu >= 64*len(allowed) {
		return
	}
	s := allowed
	if s[cpu/64] &^= 1 << (cpu % 64); s != (cpuSet{}) {
		// Where that is refused the thread stays, and the pool's account tells what it costs.
		setAffinity(thread, &s)
	}
}

// moveThread lets a thread of this process run on one core alone.
func moveThread(thread, cpu int) bool {
	if cpu < 0 || cpu >= 64*len(allowed) || allowed[cpu/64]>>(cpu%64)&1 == 0 {
		return false
	}
	var s cpuSet
	s[cpu/64] = 1 << (cpu % 64)
	return setAffinity(thread, &s)
}

func setAffinity(thread int, s *cpuSet) bool {
	_, _, err := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(thread), unsafe.Sizeof(*s), uintptr(unsafe.Pointer(s)))
	return err == 0
}

// currentThread is the kernel's number of the caller's thread.
func currentThread() int { return syscall.Gettid() }

// threadTime is how many nanoseconds a thread of this process had on a core; below 0: unknown.
func threadTime(thread int) int64 {
	// CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED of the kernel's posix-timers.h
	clock := int32(^thread)<<3 | 4 | 2
	var t syscall.Timespec
	if _, _, err := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&t)), 0); err != 0 {
		return -1
	}
	return t.Nano()
}

// sleepCaller waits for wakeCaller after state stopped being seen, and at most a millisecond. It keeps its
// place among Go's threads, as a helper does that naps.
func sleepCaller(state *atomic.Int32, seen int32) {
	t := syscall.Timespec{Nsec: 1e6}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(state)), futexWaitPrivate, uintptr(seen), uintptr(unsafe.Pointer(&t)), 0, 0)
}

// wakeCaller wakes the caller that sleeps on state.
func wakeCaller(state *atomic.Int32) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(state)), futexWakePrivate, 1, 0, 0, 0)
}
