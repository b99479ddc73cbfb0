package kernel

import "testing"

// A core that somebody else keeps busy: whatever a helper brings in between, losses that go on take at
// most a part in mostRest of the time.
func TestAccountBoundsLosses(t *testing.T) {
	const stall, gain = 3e6, 1e6
	var a account
	lost, rested := int64(0), int64(0)
	for range 200 {
		lost += stall - gain
		rested += a.book(-stall)
		a.book(gain)
	}
	if share := float64(lost) / float64(lost+rested); share > 1.2/mostRest {
		t.Errorf("losses are %.3f of the time, wanted at most 1 in %d", share, mostRest)
	}
}

func TestAccountRests(t *testing.T) {
	var a account
	book := func(gain, want int64) {
		t.Helper()
		if got := a.book(gain); got != want {
			t.Errorf("a gain of %d: rests for %d ns, wanted %d", gain, got, want)
		}
	}
	book(-credit, 0) // what waking a helper costs
	book(10e6, 0)
	book(-credit, 0) // it was full again, and not more than that
	book(-1000, leastRest*1000)
	book(-1000, 2*leastRest*1000) // again, with nothing gained
	book(1000, 0)
	book(-2000, 4*leastRest*1000)
	for range 10 {
		a.book(-1000)
	}
	book(-1000, mostRest*1000)
	book(regained*1000, 0) // quiet at last
	book(-regained*1000-1000, leastRest*1000)
}
