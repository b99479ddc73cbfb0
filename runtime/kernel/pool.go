package kernel

import (
	goruntime "runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// spinFor is how long a helper looks for work before it ends. Starting one again costs the caller
// about a microsecond, but the helper is some 100 µs late then.
const spinFor = 200 * time.Microsecond

// poolSlots is how many For calls may share the helpers at a time; others run on their caller alone.
const poolSlots = 8

// Pool shares out loops over at most Threads goroutines, the caller's among them. Its helpers live
// only while there is work: it needs no closing. A nil *Pool runs everything on the caller. All
// methods are safe for concurrent use, also from inside a For.
type Pool struct {
	threads int
	help    func() // p.helper, bound once: starting it allocates nothing
	live    atomic.Int32
	slots   [poolSlots]slot
}

// NewPool returns a pool of the given number of threads; 0 or less means all that Go may use.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = goruntime.GOMAXPROCS(0)
	}
	p := &Pool{threads: threads}
	p.help = p.helper
	return p
}

// Threads is the number of goroutines that may work at a time; 1 for a nil pool.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// For calls f(lo, hi) once for every chunk [i·grain, min(n, (i+1)·grain)) and returns when all are
// done. Chunks run in any order and at the same time; their bounds depend on n and grain alone. A
// grain below 1 counts as 1. A panic in f comes out of For.
func (p *Pool) For(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = min(max(grain, 1), n)
	chunks := (n-1)/grain + 1
	if p != nil && p.threads > 1 && chunks > 1 {
		for i := range p.slots {
			if s := &p.slots[i]; s.taken.CompareAndSwap(false, true) {
				p.share(s, n, grain, chunks, f)
				return
			}
		}
	}
	for lo := 0; lo < n; lo += grain {
		f(lo, min(n, lo+grain))
	}
}

// share runs a loop in a slot that the caller has taken, with whatever helpers turn up.
func (p *Pool) share(s *slot, n, grain, chunks int, f func(lo, hi int)) {
	s.n, s.grain, s.f = n, grain, f
	s.next.Store(0)
	s.state.Store(slotOpen)
	for want := int32(min(p.threads, chunks) - 1); ; {
		live := p.live.Load()
		if live >= want {
			break
		}
		if p.live.CompareAndSwap(live, live+1) {
			go p.help()
		}
	}
	defer s.close()
	s.work()
}

// helper works on open slots until there has been none for a while.
func (p *Pool) helper() {
	debug.SetPanicOnFault(true) // a mapped file may be cut short: For passes the panic on
	for idle := time.Now(); ; {
		found := false
		for range 256 {
			for i := range p.slots {
				if s := &p.slots[i]; s.enter() {
					s.assist()
					found = true
				}
			}
		}
		switch {
		case found:
			idle = time.Now()
		case time.Since(idle) > spinFor:
			p.live.Add(-1)
			return
		default:
			goruntime.Gosched() // others may have more to do than to wait here
		}
	}
}

// slotOpen is the bit of slot.state that lets helpers in; the bits below count those inside.
const slotOpen = 1 << 30

// slot is one For call in progress.
type slot struct {
	taken atomic.Bool  // by a caller
	state atomic.Int32 // slotOpen and the number of helpers inside
	next  atomic.Int64 // the first chunk that nobody has claimed
	n     int
	grain int
	f     func(lo, hi int)
	fault atomic.Pointer[fault] // the first panic of a helper
	_     [64]byte              // keeps the slots' counters on cache lines of their own
}

type fault struct{ value any }

// enter counts the calling helper in if the slot is open. From then on the caller waits for it, so
// the slot's fields stay what they are.
func (s *slot) enter() bool {
	for {
		v := s.state.Load()
		if v&slotOpen == 0 {
			return false
		}
		if s.state.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// assist is a helper's work between enter and leaving.
func (s *slot) assist() {
	defer func() {
		if v := recover(); v != nil {
			s.fault.CompareAndSwap(nil, &fault{v})
		}
		s.state.Add(-1)
	}()
	s.work()
}

// work claims chunks until none is left, then shuts the door behind the last one.
func (s *slot) work() {
	for {
		lo := (int(s.next.Add(1)) - 1) * s.grain
		if lo >= s.n {
			s.state.And(^slotOpen)
			return
		}
		s.f(lo, min(s.n, lo+s.grain))
	}
}

// close waits for the helpers that are inside, never for one that has yet to start, and gives the
// slot back. It runs deferred: after a panic of the caller's own chunk too.
func (s *slot) close() {
	s.state.And(^slotOpen)
	for i := 0; s.state.Load() != 0; i++ {
		if i >= 1000 {
			goruntime.Gosched()
		}
	}
	f := s.fault.Swap(nil)
	s.f = nil
	s.taken.Store(false)
	if f != nil {
		panic(f.value)
	}
}
