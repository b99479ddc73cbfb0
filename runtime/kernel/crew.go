package kernel

import "sync/atomic"

// member is what others know of a helper.
type member struct {
	thread atomic.Int32  // its number for the kernel; 0: unknown
	where  atomic.Uint32 // outside, or the slot that it works in, and whether it was brought to its caller
	spent  atomic.Int64  // the time on a core that it was last seen to have had
	banned atomic.Int32  // one more than the core that a caller last sent it away from; 0: it may be anywhere
	_      [44]byte      // keeps members on cache lines of their own
}

// crew is the helpers that can be brought to a caller; the process may have more.
var crew [64]member

// hired is the part of the crew that there is.
func hired() []member { return crew[:min(int(helpers.Load()), len(crew))] }

// member.where is outside, or place(slot) plus one of these.
const (
	outside  = 0
	inside   = 0 // where it began
	bringing = 1 // the caller is about to move it to its own core
	brought  = 2 // it is there, and goes away by itself when it leaves the slot
	stages   = 4
)

// place is what member.where counts from in a slot.
func place(slot int) uint32 { return uint32(slot+1) * stages }

// bring looks for those of the helpers in the slot that got no time on a core since it was last called,
// and has each run on the caller's core instead: another program has theirs, and would keep it for
// milliseconds. It tells whether there is one there, which runs once the caller is out of the way.
func (s *slot) bring(those []member) (there bool) {
	at := place(s.number)
	for i := range those {
		m := &those[i]
		switch w := m.where.Load(); {
		case w == at+brought:
			there = true
		case w == at+inside:
			thread := int(m.thread.Load())
			if spent := threadTime(thread); spent < 0 || m.spent.Swap(spent) != spent {
				continue
			}
			cpu := currentCPU()
			if cpu < 0 || !m.where.CompareAndSwap(at+inside, at+bringing) {
				continue
			}
			m.banned.Store(0)
			ok := moveThread(thread, cpu)
			switch {
			case !m.where.CompareAndSwap(at+bringing, at+brought): // it left meanwhile, and may not stay here
				banThread(thread, cpu)
				m.banned.Store(0)
			case ok:
				there = true
			}
		}
	}
	return there
}

// sendAway keeps helpers off the caller's core. Linux lets two threads share one for milliseconds, until it
// next looks for a core that has nothing to do; all that time a helper that waits for work there, and is
// taken to be awake, gets none. So who was not helped calls this.
func sendAway(those []member) {
	cpu := currentCPU()
	if cpu < 0 {
		return
	}
	for i := range those {
		m := &those[i]
		thread := int(m.thread.Load()) // 0, before it has started, would be the caller's own
		if thread > 0 && m.where.Load() == outside && m.banned.Swap(int32(cpu+1)) != int32(cpu+1) {
			banThread(thread, cpu)
		}
	}
}

// comeAway moves the helper that calls it off a core, if it is there.
func (m *member) comeAway(cpu int) {
	if cpu >= 0 && currentCPU() == cpu {
		banThread(0, cpu)
		m.banned.Store(0) // whatever a caller did meanwhile, it may do again
	}
}
