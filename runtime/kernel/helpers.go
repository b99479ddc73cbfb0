package kernel

import (
	"sync/atomic"
	"time"
)

// spinFor is how long a helper looks for work before it sleeps, in nanoseconds. Waking one takes 50 to
// 250 µs, which is as long as many a loop.
const spinFor = int64(200 * time.Microsecond)

var (
	offers   atomic.Uint32 // times that a helper was missing
	helpers  atomic.Int32  // that exist
	sleeping atomic.Int32  // of them
)

// awake tells whether so many helpers look for work.
func awake(want int) bool { return int(helpers.Load()-sleeping.Load()) >= want }

// call sees to it that about want helpers look for work.
func call(want int) {
	for {
		have, asleep := helpers.Load(), sleeping.Load()
		switch missing := want - int(have-asleep); {
		case missing <= 0:
			return
		case asleep > 0:
			offers.Add(1)
			sleeping.Add(-int32(wake(min(missing, int(asleep)))))
			return
		case helpers.CompareAndSwap(have, have+1):
			go helper(int(have))
		}
	}
}
