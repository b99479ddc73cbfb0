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
	free    atomic.Int32 // helpers that loops may still ask for
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
	p := &Pool{threads: threads}
	p.free.Store(int32(threads - 1))
	return p
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
		if want := min(p.threads, chunks, goruntime.GOMAXPROCS(0), mostRoom) - 1; want > 0 {
			if start := now(); start >= p.rest.Load() {
				if want = p.reserve(want); want > 0 {
					if s := takeSlot(); s != nil {
						p.share(s, start, want, chunks, n, grain, f)
						return
					}
					p.free.Add(int32(want))
				}
			}
		}
	}
	for lo := 0; lo < n; lo += grain {
		f(lo, min(n, lo+grain))
	}
}

// reserve takes at most want of the pool's helpers for a loop, and returns how many.
func (p *Pool) reserve(want int) int {
	for {
		free := p.free.Load()
		got := min(free, int32(want))
		if got <= 0 || p.free.CompareAndSwap(free, free-got) {
			return int(got)
		}
	}
}

// share runs a loop in a slot that the caller has taken, with whatever helpers turn up.
func (p *Pool) share(s *slot, start int64, want, chunks, n, grain int, f func(lo, hi int)) {
	s.want, s.n, s.grain, s.f, s.cpu = int32(want), n, grain, f, -1
	ready := awake(want)
	if !ready {
		s.cpu = int32(currentCPU())
	}
	mine := s.part(int64(chunks))
	s.left.Store(int64(chunks)<<32 + mine)
	s.state.Store(int32(want) * slotRoom)
	call(want)
	began := now()
	defer p.close(s)
	did := s.work(int64(chunks), mine)
	ended := now()
	s.await((ended - began) / did)
	helped := int64(chunks) - did // the caller's took (ended-began)/did each
	end := now()
	if ready && helped == 0 && ended-began > patience && end >= p.tidy.Load() {
		p.tidy.Store(end + tidyEvery)
		sendAway(hired())
	}
	if rest := p.account.book(helped*(ended-began)/did - (began - start + end - ended)); rest > 0 {
		p.rest.Store(end + rest)
	}
}

// close gives back what a loop has taken. It runs deferred: after a panic of the caller's own chunk too.
func (p *Pool) close(s *slot) {
	s.await(0)
	p.free.Add(s.want)
	f := s.fault.Load()
	s.fault.Store(nil)
	s.taken.Store(false)
	if f != nil {
		panic(f.value)
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
		for idle := now(); now()-idle < spinFor; {
			// Plain loads: PAUSE may exit to a hypervisor.
			for range 32 {
				if m.help() {
					idle = now()
				}
			}
		}
		forget()
		seen := offers.Load()
		sleeping.Add(1)
		if m.help() || !sleep(seen) { // a caller opens its slot before it looks who sleeps
			sleeping.Add(-1)
		}
	}
}

// help works on the slots that are open. It tells whether there was one.
func (m *member) help() (did bool) {
	for _, s := range slots {
		if s.enter(m) {
			s.assist(m)
			did = true
		}
	}
	return did
}

var epoch = time.Now()

// now is nanoseconds since the program started.
func now() int64 { return int64(time.Since(epoch)) }

// slots are the loops in progress that helpers look through; more callers than these run alone. Each
// is an object of its own, which Go's allocator begins on a cache line.
var slots = func() (s [16]*slot) {
	for i := range s {
		s[i] = &slot{number: i}
	}
	return s
}()

// slot.state counts the helpers inside, and from slotRoom on those that may still enter.
const (
	slotInside = 1<<14 - 1
	slotAsleep = 1 << 14 // the caller sleeps until a helper leaves
	slotRoom   = 1 << 15
	mostRoom   = 1<<16 - 1
)

// slot is one For call in progress. All that a helper touches is on one cache line: to fetch one from
// another core takes as long as a small chunk.
type slot struct {
	state atomic.Int32
	want  int32        // helpers at most
	left  atomic.Int64 // the chunks that nobody has claimed: the first, and 2³² times the end
	f     func(lo, hi int)
	n     int
	grain int
	cpu   int32                 // the caller's, where a helper had to be woken; below 0: unknown
	fault atomic.Pointer[fault] // the first panic of a helper

	_      [72]byte
	taken  atomic.Bool // by a caller
	number int         // among the slots
	_      [112]byte
}

type fault struct{ value any }

// takeSlot is a slot for the caller; nil: none is free.
func takeSlot() *slot {
	for _, s := range slots {
		if s.taken.CompareAndSwap(false, true) {
			return s
		}
	}
	return nil
}

// forget lets go of the last loops' memory. Helpers do it when there is nothing else to do: it would cost
// callers a cache line.
func forget() {
	for _, s := range slots {
		if s.taken.CompareAndSwap(false, true) {
			s.f = nil
			s.taken.Store(false)
		}
	}
}

// enter counts the calling helper in if the slot has room. From then on the caller waits for it, so the
// slot's fields stay what they are.
func (s *slot) enter(m *member) bool {
	for {
		v := s.state.Load()
		if v < slotRoom {
			return false
		}
		if s.state.CompareAndSwap(v, v-slotRoom+1) {
			m.where.Store(place(s.number) + inside)
			return true
		}
	}
}

// leave counts it out.
func (s *slot) leave(m *member) {
	m.where.Store(outside)
	if s.state.Add(-1)&slotAsleep != 0 {
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
	m.comeAway(int(s.cpu))
	n, grain, f := s.n, s.grain, s.f
	for left := s.left.Load() >> 32; left > 0; {
		k := s.part(left)
		v := s.left.Add(-k << 32)
		first, end := v&(1<<32-1), v>>32+k
		from := max(end-k, first)
		if left = from - first; left <= 0 {
			s.shut()
		}
		for i := from; i < end; i++ {
			f(int(i)*grain, min(n, int(i+1)*grain))
		}
	}
}

// work is the caller's: it claims chunks from the front until none is left, the helpers from the back,
// so that over many runs of a loop a core sees the same part of its data. The first ones are the
// caller's already. It returns how many it did.
func (s *slot) work(chunks, mine int64) (did int64) {
	n, grain, f := s.n, s.grain, s.f
	for from, to, end := int64(0), mine, chunks; from < end; {
		if to == end {
			s.shut()
		}
		for i := from; i < to; i++ {
			f(int(i)*grain, min(n, int(i+1)*grain))
		}
		did += to - from
		if to == end {
			break
		}
		k := s.part(end - to)
		v := s.left.Add(k)
		from, end = v&(1<<32-1)-k, v>>32
		to = min(from+k, end)
	}
	return did
}

// shut lets no more helpers in: they would come for nothing.
func (s *slot) shut() {
	if s.state.Load() >= slotRoom {
		s.state.And(slotRoom - 1)
	}
}

// part is how many of the chunks that are left are claimed at once: many at first, since each claim
// fetches a line from another core.
func (s *slot) part(left int64) int64 { return max(1, left/(2*int64(s.want+1))) }

// await waits for the helpers that are inside, never for one that has yet to start. One that gets no time
// on its core is brought to the caller's, and sent away from there in the end. A chunk takes about so many
// nanoseconds.
func (s *slot) await(chunk int64) {
	s.shut()
	if s.state.Load()&slotInside == 0 {
		return
	}
	came, began := false, now()
	start, look := began, min(max(chunk, lookAfter), 8*lookAfter)
	for s.state.Load()&slotInside != 0 {
		if s.spin(); now()-start < look {
			continue
		}
		start, look = now(), lookAfter
		switch {
		case s.bring(hired()):
			came = true
			s.state.Or(slotAsleep)
			if v := s.state.Load(); v&slotInside != 0 {
				sleepCaller(&s.state, v)
			}
			s.state.And(^slotAsleep)
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
	for i := 0; i < 256 && s.state.Load()&slotInside != 0; i++ {
	}
}

// lookAfter is how long the caller waits for helpers before it looks how they do, and again, in nanoseconds.
const lookAfter = int64(5 * time.Microsecond)
