package runtime_test

import (
	goruntime "runtime"
	"syscall"
	"testing"
	"unsafe"
)

// onOneCore keeps the caller's thread, and the processes that it starts, on one core until it calls what
// is returned. On a virtual machine one core may be slower than another for seconds, whoever runs on it.
func onOneCore(t *testing.T) (end func()) {
	t.Helper()
	type cores [16]uint64
	var before, one cores
	affinity := func(call uintptr, s *cores) {
		if _, _, err := syscall.RawSyscall(call, 0, unsafe.Sizeof(*s), uintptr(unsafe.Pointer(s))); err != 0 {
			t.Fatalf("the cores of a thread: %v", err)
		}
	}
	goruntime.LockOSThread()
	affinity(syscall.SYS_SCHED_GETAFFINITY, &before)
	for i, word := range before {
		if word != 0 {
			one = cores{}
			for bit := range 64 {
				if word>>bit&1 != 0 {
					one[i] = 1 << bit // the last of them
				}
			}
		}
	}
	affinity(syscall.SYS_SCHED_SETAFFINITY, &one)
	return func() {
		affinity(syscall.SYS_SCHED_SETAFFINITY, &before)
		goruntime.UnlockOSThread()
	}
}
