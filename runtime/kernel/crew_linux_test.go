//go:build linux && (amd64 || arm64)

package kernel

import (
	"math/bits"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// affinity is the cores that a thread may use.
func affinity(t *testing.T, thread int) (s cpuSet) {
	t.Helper()
	if _, _, err := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, uintptr(thread), unsafe.Sizeof(s), uintptr(unsafe.Pointer(&s))); err != 0 {
		t.Error(err)
	}
	return s
}

// twoCPUs skips a test where the process may use fewer, and returns two that it may use.
func twoCPUs(t *testing.T) (cpus [2]int) {
	t.Helper()
	n := 0
	for i, w := range allowed {
		for ; w != 0 && n < 2; w &= w - 1 {
			cpus[n] = 64*i + bits.TrailingZeros64(w)
			n++
		}
	}
	if n < 2 {
		t.Skip("the process may use one core only")
	}
	return cpus
}

func TestThreadTime(t *testing.T) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	before := threadTime(currentThread())
	for s := now(); now()-s < int64(time.Millisecond); {
	}
	if spent := threadTime(currentThread()) - before; before < 0 || spent <= 0 {
		t.Errorf("had %d ns before and %d in a busy millisecond", before, spent)
	}
	if v := threadTime(1 << 22); v >= 0 {
		t.Errorf("a thread that there is not had %d ns", v)
	}
}

// TestBring puts a helper into a slot that gets no time on its core, then leaves the slot: it must be
// brought to the caller's core at the second look, and go away from there in the end.
func TestBring(t *testing.T) {
	cpus := twoCPUs(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // for good: the thread ends with the goroutine
		moveThread(0, cpus[0])
		testBring(t)
	}()
	<-done
}

// testBring runs on a thread that stays where it is.
func testBring(t *testing.T) {
	those := make([]member, 3) // one outside, one that has not started
	m, s := &those[1], &slot{number: len(slots)}
	entered, leave, left, end := make(chan int), make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer close(end)
	go func() {
		goruntime.LockOSThread()
		m.thread.Store(int32(currentThread()))
		s.state.Store(slotRoom)
		if !s.enter(m) {
			t.Error("cannot enter an open slot")
		}
		entered <- currentThread()
		<-leave // off every core
		s.leave(m)
		left <- struct{}{}
		<-end
	}()
	thread := <-entered
	time.Sleep(10 * time.Millisecond) // until it has gone to sleep
	own := affinity(t, 0)
	m.spent.Store(-1)
	if s.bring(those) {
		t.Error("brought at first sight")
	}
	if !s.bring(those) {
		t.Error("a helper that gets no time was not brought")
	}
	if affinity(t, thread) != own {
		t.Error("not brought to the caller's core")
	}
	if !s.bring(those) {
		t.Error("a helper that was brought is not there any more")
	}
	sendAway(those)
	if affinity(t, thread) != own {
		t.Error("sent away from its work")
	}
	close(leave)
	<-left
	if w := m.where.Load(); w != outside {
		t.Errorf("where is %d after it left", w)
	}
	sendAway(those)
	if after := affinity(t, thread); after == own || after == (cpuSet{}) {
		t.Error("not sent away from the caller's core")
	}
	if affinity(t, 0) != own {
		t.Error("the caller's own cores changed")
	}
}

// A helper that other threads keep from its core is brought to the caller's, sooner or later, and
// every chunk is done once.
func TestBringsFromABusyCore(t *testing.T) {
	cpus := twoCPUs(t)
	before := goruntime.GOMAXPROCS(8)
	defer goruntime.GOMAXPROCS(before)
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	for range 2 {
		wg.Go(func() {
			goruntime.LockOSThread() // the thread ends with the goroutine, and with it its core
			moveThread(0, cpus[1])
			for !stop.Load() {
			}
		})
	}
	done := make(chan bool)
	go func() {
		goruntime.LockOSThread()
		moveThread(0, cpus[0])
		p := NewPool(2)
		var came atomic.Bool
		for start := time.Now(); time.Since(start) < 30*time.Second && !came.Load(); {
			p.rest.Store(0)
			if err := checkChunks(p, 64, 3); err != nil {
				t.Error(err)
			}
			p.For(16, 1, func(int, int) {
				for s := now(); now()-s < 20_000; {
				}
				self := int32(currentThread())
				for i := range crew {
					if m := &crew[i]; m.thread.Load() == self && m.where.Load()%stages == brought {
						came.Store(true)
					}
				}
			})
		}
		done <- came.Load()
	}()
	if !<-done {
		t.Error("no helper was brought from its busy core")
	}
}
