package kernel

import (
	goruntime "runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Pool shares out loops over at most Threads goroutines, the caller's among them. The helpers are the
// process's own, shared by all pools: a Pool needs no closing. A nil *Pool runs everything on the
// caller. All methods are safe for concurrent use, also from inside a For.
//
// The caller never waits for a helper that has yet to start. One that another program took the core
// from in the middle of its share it has run on its own core, where it waits. Where that is impossible
// a loop takes longer than it would alone. So a pool keeps an account of what sharing costs and brings,
// and shares nothing while that is overdrawn.
type Pool struct {
	threads int
	busy    atomic.Int32 // helpers at work
	rest    atomic.Int64 // share nothing before this moment
	tidy    atomic.Int64 // send no helper away before this one
	account account
	streak  streak
}

// NewPool returns a pool of the given number of threads; 0 or less means all that Go may use.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = goruntime.GOMAXPROCS(0)
	}
	return &Pool{threads: threads}
}

// Threads is the number of goroutines that may work at a time; 1 for a nil pool.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// worth tells whether a product of so many multiplications is worth sharing out: a large one always, a
// small one if a helper is awake. To wake one costs as much as it takes. So
// that is done when small ones have followed on each other for so long that the next ones are likely to
// have something of it.
func (p *Pool) worth(work int) bool {
	switch {
	case p.Threads() == 1 || work < minAwake:
		return false
	case work >= minSplit || awake(1):
		return true
	default:
		return p.streak.goesOn(now())
	}
}

// A streak is small products in a row, times in nanoseconds.
type streak struct{ began, last atomic.Int64 }

// goesOn tells whether one that begins now is part of a streak that is long already.
func (s *streak) goesOn(now int64) bool {
	if now-s.last.Swap(now) > streakGap {
		s.began.Store(now)
		return false
	}
	return now-s.began.Load() > streakLength
}

// streakGap ends a streak, after streakLength it counts.
const streakGap, streakLength = int64(100 * time.Microsecond), int64(200 * time.Microsecond)

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
		if want := min(p.threads, chunks, goruntime.GOMAXPROCS(0)) - 1; want > 0 {
			if start := now(); start >= p.rest.Load() {
				for i := range slots {
					if s := &slots[i]; s.taken.CompareAndSwap(false, true) {
						s.number = i
						p.share(s, start, want, n, grain, f)
						return
					}
				}
			}
		}
	}
	for lo := 0; lo < n; lo += grain {
		f(lo, min(n, lo+grain))
	}
}

// share runs a loop in a slot that the caller has taken, with whatever helpers turn up.
func (p *Pool) share(s *slot, start int64, want, n, grain int, f func(lo, hi int)) {
	s.pool, s.n, s.grain, s.f, s.cpu = p, n, grain, f, -1
	ready := awake(want)
	if !ready {
		s.cpu = currentCPU()
	}
	s.left.Store(int64((n-1)/grain+1) << 32)
	s.helped.Store(0)
	s.state.Store(slotOpen)
	call(want)
	began := now()
	defer s.close()
	did := s.work()
	ended := now()
	s.await((ended - began) / max(did, 1))
	helped := s.helped.Load() // chunks; the caller's took (ended-began)/did each
	if did == 0 {
		return
	}
	end := now()
	if ready && helped == 0 && ended-began > patience && end >= p.tidy.Load() {
		p.tidy.Store(end + tidyEvery)
		sendAway(hired())
	}
	if rest := p.account.book(helped*(ended-began)/did - (began - start + end - ended)); rest > 0 {
		p.rest.Store(end + rest)
	}
}

// helper works on open slots for ever. It keeps a thread of its own: Go's scheduler would use the one
// that it looks for work on for the caller, and wake another for the helper.
func helper(number int) {
	goruntime.LockOSThread()
	m := new(member)
	if number < len(crew) {
		m = &crew[number]
	}
	m.thread.Store(int32(currentThread()))
	debug.SetPanicOnFault(true) // a mapped file may be cut short: For passes the panic on
	for {
		var seen uint32 // before the last look, so that no offer is slept through
		for idle := now(); offers.Load() != seen || now()-idle < spinFor; {
			seen = offers.Load()
			for i := range slots {
				if s := &slots[i]; s.state.Load()&slotOpen != 0 && s.enter(m) {
					s.assist(m)
					idle = now()
				}
			}
			// Plain loads: PAUSE may exit to a hypervisor.
			for i := 0; i < 256 && offers.Load() == seen; i++ {
			}
		}
		sleeping.Add(1)
		if !sleep(seen) {
			sleeping.Add(-1)
		}
	}
}

var epoch = time.Now()

// now is nanoseconds since the program started.
func now() int64 { return int64(time.Since(epoch)) }

// slots are the loops in progress that helpers look through; more callers than these run alone.
var slots [16]slot

// slotOpen is the bit of slot.state that lets helpers in; the bits below count those inside.
const slotOpen = 1 << 30

// slot is one For call in progress.
type slot struct {
	taken  atomic.Bool  // by a caller
	state  atomic.Int32 // slotOpen and the number of helpers inside
	left   atomic.Int64 // the chunks that nobody has claimed: the first, and 2³² times the end
	helped atomic.Int64 // chunks that helpers did
	asleep atomic.Bool  // the caller, until the last helper has left
	pool   *Pool
	number int // among the slots
	cpu    int // the caller's, where a helper had to be woken; below 0: unknown
	n      int
	grain  int
	f      func(lo, hi int)
	fault  atomic.Pointer[fault] // the first panic of a helper
	_      [64]byte              // keeps the slots' counters on cache lines of their own
}

type fault struct{ value any }

// enter counts the calling helper in if the slot is open and its pool has room. From then on the
// caller waits for it, so the slot's fields stay what they are.
func (s *slot) enter(m *member) bool {
	for {
		v := s.state.Load()
		if v&slotOpen == 0 {
			return false
		}
		if s.state.CompareAndSwap(v, v+1) {
			break
		}
	}
	m.where.Store(place(s.number) + inside)
	if s.pool.busy.Add(1) < int32(s.pool.threads) {
		return true
	}
	s.leave(m)
	return false
}

// leave undoes enter.
func (s *slot) leave(m *member) {
	m.where.Store(outside)
	s.pool.busy.Add(-1)
	s.state.Add(-1)
	if s.asleep.Load() {
		wakeCaller(&s.state)
	}
}

// assist is a helper's work between enter and leaving.
func (s *slot) assist(m *member) {
	defer func() {
		if v := recover(); v != nil {
			s.fault.CompareAndSwap(nil, &fault{v})
		}
		s.leave(m)
	}()
	m.comeAway(s.cpu)
	for {
		v := s.left.Add(-1 << 32)
		i := v >> 32
		if i < v&(1<<32-1) {
			s.state.And(^slotOpen)
			return
		}
		lo := int(i) * s.grain
		s.f(lo, min(s.n, lo+s.grain))
		s.helped.Add(1)
	}
}

// work is the caller's: it claims chunks from the front until none is left, the helpers from the back,
// so that over many runs of a loop a core sees the same part of its data. It returns how many it did.
func (s *slot) work() (did int64) {
	for ; ; did++ {
		v := s.left.Add(1)
		i := v&(1<<32-1) - 1
		if i >= v>>32 {
			s.state.And(^slotOpen)
			return did
		}
		lo := int(i) * s.grain
		s.f(lo, min(s.n, lo+s.grain))
	}
}

// await waits for the helpers that are inside, never for one that has yet to start. One that gets no time
// on its core is brought to the caller's, and sent away from there in the end. A chunk takes about so many
// nanoseconds.
func (s *slot) await(chunk int64) {
	s.state.And(^slotOpen)
	if s.state.Load() == 0 {
		return
	}
	came, began := false, now()
	start, look := began, min(max(chunk, lookAfter), 8*lookAfter)
	for s.state.Load() != 0 {
		if s.spin(); now()-start < look {
			continue
		}
		start, look = now(), lookAfter
		switch {
		case s.bring(hired()):
			came = true
			s.asleep.Store(true)
			if v := s.state.Load(); v != 0 {
				sleepCaller(&s.state, v)
			}
			s.asleep.Store(false)
		default: // it may be this very core that a helper waits for, or this goroutine's place
			yieldCPU()
			if start-began > 20*lookAfter {
				goruntime.Gosched()
			}
		}
	}
	if came {
		sendAway(hired())
	}
}

// spin waits for helpers to leave, for less than a microsecond.
func (s *slot) spin() {
	for i := 0; i < 256 && s.state.Load() != 0; i++ {
	}
}

// lookAfter is how long the caller waits for helpers before it looks how they do, and again, in nanoseconds.
const lookAfter = int64(5 * time.Microsecond)

// close gives the slot back. It runs deferred: after a panic of the caller's own chunk too.
func (s *slot) close() {
	s.await(0)
	f := s.fault.Swap(nil)
	s.f, s.pool = nil, nil
	s.taken.Store(false)
	if f != nil {
		panic(f.value)
	}
}
