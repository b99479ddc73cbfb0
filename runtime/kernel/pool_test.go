package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// checkChunks runs one loop and checks that every chunk was handed out once, with its own bounds.
func checkChunks(p *Pool, n, grain int) error {
	seen := make([]atomic.Int32, n)
	var bad atomic.Pointer[string]
	p.For(n, grain, func(lo, hi int) {
		if g := max(grain, 1); lo%g != 0 || hi != min(n, lo+g) {
			s := fmt.Sprintf("For(%d, %d) called f(%d, %d)", n, grain, lo, hi)
			bad.Store(&s)
		}
		for i := lo; i < hi; i++ {
			seen[i].Add(1)
		}
	})
	if s := bad.Load(); s != nil {
		return fmt.Errorf("%s", *s)
	}
	for i := range seen {
		if v := seen[i].Load(); v != 1 {
			return fmt.Errorf("For(%d, %d) did step %d %d times", n, grain, i, v)
		}
	}
	return nil
}

// moreThreads lets goroutines meet that the machine has too few cores for.
func moreThreads(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	t.Cleanup(func() { goruntime.GOMAXPROCS(before) })
}

func TestPoolFor(t *testing.T) {
	moreThreads(t)
	for _, p := range []*Pool{nil, NewPool(1), NewPool(2), NewPool(8), NewPool(0)} {
		for _, n := range []int{0, 1, 2, 7, 64, 1000} {
			for _, grain := range []int{-1, 0, 1, 3, 64, 5000} {
				if err := checkChunks(p, n, grain); err != nil {
					t.Errorf("%d threads: %v", p.Threads(), err)
				}
			}
		}
	}
}

// More callers than slots, loops inside of loops.
func TestPoolConcurrentCallers(t *testing.T) {
	moreThreads(t)
	p := NewPool(4)
	var wg sync.WaitGroup
	for range 2*len(slots) + 1 {
		wg.Go(func() {
			for n := range 60 {
				if err := checkChunks(p, n, 3); err != nil {
					t.Error(err)
				}
				p.For(3, 1, func(int, int) {
					if err := checkChunks(p, n, 5); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
	wg.Wait()
}

// helper and caller both panic in their chunks; the pool must serve on.
func TestPoolPanicReachesCaller(t *testing.T) {
	moreThreads(t)
	p := NewPool(3)
	for range 50 {
		p.rest.Store(0) // share, whatever that cost before
		func() {
			defer func() {
				if v := recover(); v != "chunk 5" {
					t.Errorf("recovered %v, want chunk 5", v)
				}
			}()
			p.For(64, 1, func(lo, _ int) {
				if lo == 5 {
					panic("chunk 5")
				}
			})
			t.Error("For returned after a panic")
		}()
		if err := checkChunks(p, 100, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// Helpers nap or sleep between the loops, are disturbed by a garbage collection, and are woken.
func TestPoolHelpersComeAgain(t *testing.T) {
	moreThreads(t)
	p := NewPool(2)
	for i := range 10 {
		time.Sleep(time.Duration(1+9*(i%2)) * 2 * time.Duration(spinFor)) // 0.4 or 4 ms
		if i%4 > 1 {
			goruntime.GC()
		}
		p.rest.Store(0)
		var helped atomic.Bool
		caller := make(chan struct{}) // the first chunk is the caller's: it holds it until a helper did one
		p.For(2, 1, func(lo, _ int) {
			if lo == 1 {
				helped.Store(true)
				close(caller)
				return
			}
			select {
			case <-caller:
			case <-time.After(10 * time.Second):
				t.Error("no helper came")
			}
		})
		if !helped.Load() {
			t.Fatal("the helper's chunk was not done")
		}
	}
}

// No more goroutines work at a time than the pool may use, however many loops are open.
func TestPoolKeepsToItsThreads(t *testing.T) {
	moreThreads(t)
	p := NewPool(2)
	var at, most atomic.Int32
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 200 {
				p.rest.Store(0)
				p.For(8, 1, func(int, int) {
					n := at.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					for s := now(); now()-s < 2000; {
					}
					at.Add(-1)
				})
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > 3 { // two callers and a helper
		t.Errorf("%d goroutines worked at a time for two callers and a pool of 2", n)
	}
}

// All that a helper reads and writes of a slot is on one cache line, and nothing else is.
func TestSlotsOnLinesOfTheirOwn(t *testing.T) {
	const line = 64
	for i, s := range slots {
		if at := uintptr(unsafe.Pointer(&s.state)); at%line != 0 {
			t.Errorf("slot %d begins at byte %d of a cache line", i, at%line)
		}
		if s.number != i {
			t.Errorf("slot %d has the number %d", i, s.number)
		}
	}
	var s slot
	if end := unsafe.Offsetof(s.fault) + unsafe.Sizeof(s.fault); end > line || unsafe.Offsetof(s.taken) < line {
		t.Errorf("a helper's part ends at byte %d, the caller's begins at %d", end, unsafe.Offsetof(s.taken))
	}
}

// A loop's memory is let go of when no other follows.
func TestPoolForgets(t *testing.T) {
	moreThreads(t)
	p := NewPool(2)
	gone := make(chan struct{})
	func() {
		data := new([1 << 16]byte)
		goruntime.AddCleanup(data, func(int) { close(gone) }, 0)
		p.rest.Store(0)
		p.For(2, 1, func(lo, _ int) { data[lo] = 1 })
	}()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		goruntime.GC()
		select {
		case <-gone:
			return
		default:
		}
	}
	t.Error("the last loop's data is still held")
}

// The number of threads is no part of a result.
func TestGemmSameBitsForAnyThreads(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testThreads(t, Gemm32) })
		t.Run("float64", func(t *testing.T) { testThreads(t, Gemm64) })
		t.Run("packed", func(t *testing.T) { testThreads(t, packedGemm) })
	})
}

func testThreads[T float](t *testing.T, gemm gemmFunc[T]) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range [][3]int{{1, 4096, 600}, {7, 1500, 700}, {250, 300, 300}, {260, 130, superK + 70}} {
		m, n, k := s[0], s[1], s[2]
		a, b := random[T](r, m*k), random[T](r, k*n)
		for _, transposed := range []bool{false, true} {
			ars, acs, brs, bcs := k, 1, n, 1
			if transposed {
				ars, acs, brs, bcs = 1, m, 1, k
			}
			want := make([]T, m*n)
			gemm(nil, m, n, k, a, ars, acs, b, brs, bcs, want, n, false)
			for _, threads := range []int{1, 2, 3, 8} {
				got := make([]T, m*n)
				gemm(NewPool(threads), m, n, k, a, ars, acs, b, brs, bcs, got, n, false)
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("m=%d n=%d k=%d transposed=%v: %d threads give %v at %d, the caller alone %v", m, n, k, transposed, threads, got[i], i, want[i])
				}
			}
		}
	}
}

// firstDifference is the first index where the bits differ, or -1.
func firstDifference[T float](x, y []T) int {
	for i := range x {
		if math.Float64bits(float64(x[i])) != math.Float64bits(float64(y[i])) {
			return i
		}
	}
	return -1
}

// TestWorth is what is shared out: nothing on one thread and nothing tiny, everything large, and what lies
// between while helpers look for work, or after a while of it.
func TestWorth(t *testing.T) {
	moreThreads(t)
	var none *Pool
	for _, p := range []*Pool{none, NewPool(1)} {
		if p.worth(1 << 40) {
			t.Errorf("a pool of %d threads shares out", p.Threads())
		}
	}
	p := NewPool(2)
	if p.worth(minAwake - 1) {
		t.Error("shares out less than minAwake")
	}
	if !p.worth(minSplit) {
		t.Error("keeps minSplit to itself")
	}
	calls := 0 // not seconds: the process may be stopped for some
	for ; !p.worth(minAwake); calls++ {
		if calls == 50_000_000 {
			t.Fatal("small products in a row are never shared out")
		}
	}
}

func TestStreak(t *testing.T) {
	const us = int64(time.Microsecond)
	var s streak
	now := 5000 * us
	for i, want := range []bool{false, false, false, false, true, true} {
		if got := s.goesOn(now); got != want {
			t.Errorf("product %d, 60 µs after the last: %v", i, got)
		}
		now += 60 * us
	}
	if now += streakGap; s.goesOn(now) {
		t.Error("goes on after a gap")
	}
	for range 20 { // runs of two products, a while apart
		if now += 30 * us; s.goesOn(now) {
			t.Error("two products are a streak")
		}
		if now += 2 * streakGap; s.goesOn(now) {
			t.Error("goes on after a gap")
		}
	}
}

// TestSameBitsOfSmallProducts multiplies what is shared out only while helpers are awake, over and over:
// it is, sooner or later, and the bits stay.
func TestSameBitsOfSmallProducts(t *testing.T) {
	moreThreads(t)
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		k, n := 700, 1100
		w := Pack32(k, n, random[float32](r, k*n), n, 1)
		p := NewPool(2)
		for _, m := range []int{1, 2, 5} {
			x, want, got := random[float32](r, m*k), make([]float32, m*n), make([]float32, m*n)
			GemmPacked32(nil, m, x, k, 1, w, want, n, false)
			for range 50 {
				clear(got)
				GemmPacked32(p, m, x, k, 1, w, got, n, false)
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("m=%d: element %d is %v on two threads, %v on one", m, i, got[i], want[i])
				}
			}
		}
	})
}
