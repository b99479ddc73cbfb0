package kernel

import (
	"sync"
	"time"
)

// All times of an account are in nanoseconds.
const (
	// credit is what an account may hold, and opens with: a loss that needs no rest.
	credit = int64(time.Millisecond)
	// leastRest and mostRest are how many times as long as a loss took nothing is shared after it. The
	// first is for a moment's trouble, the second, which is come to by doubling, for a core that
	// somebody else keeps busy: then sharing loses no more than one part in mostRest.
	leastRest, mostRest = 4, 32
	// regained is how many times as much as was lost has to be gained before trouble counts as past.
	regained = 4
	// patience is how long a loop has to be that a helper who looks for work must have come to.
	patience = int64(30 * time.Microsecond)
	// tidyEvery is how often at most helpers are sent away from a caller's core: there may be many callers.
	tidyEvery = int64(500 * time.Microsecond)
)

// account keeps the balance of sharing: a helper brings the time that its chunks would have taken the
// caller, and costs the time of calling and of waiting for it.
type account struct {
	mu      sync.Mutex
	balance int64 // below a full account: from 0 down to -credit
	lost    int64 // by the last overdraft
	gained  int64 // since then
	factor  int64 // of the last rest
}

// book adds a gain, or a loss below 0, and returns how long to rest.
func (a *account) book(gain int64) (rest int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.balance = min(a.balance+gain, 0)
	if a.balance < -credit {
		a.factor = min(max(leastRest, 2*a.factor), mostRest)
		a.lost, a.gained = -credit-a.balance, 0
		a.balance = -credit
		return a.lost * a.factor
	}
	if a.gained += max(gain, 0); a.gained >= regained*a.lost {
		a.factor = 0
	}
	return 0
}
