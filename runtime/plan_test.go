package runtime

import (
	"math/rand/v2"
	"testing"
)

// overlaps reports two buffers of the arena that are alive in one step and
// share bytes.
func overlaps(bs []buffer) (int, int, bool) {
	for i, a := range bs {
		for j, b := range bs[:i] {
			alive := a.first <= b.last && b.first <= a.last
			if alive && a.offset < b.offset+b.bytes && b.offset < a.offset+a.bytes {
				return j, i, true
			}
		}
	}
	return 0, 0, false
}

func TestLayOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		bs := make([]buffer, rng.IntN(40))
		most := make([]int, 80)
		for i := range bs {
			bs[i].bytes = rng.IntN(1000)
			bs[i].first = rng.IntN(40)
			bs[i].last = bs[i].first + rng.IntN(30)
			for s := bs[i].first; s <= bs[i].last; s++ {
				most[s] += bs[i].bytes
			}
		}
		size, err := layOut(bs)
		if err != nil {
			t.Fatal(err)
		}
		if i, j, bad := overlaps(bs); bad {
			t.Fatalf("buffers %+v and %+v overlap", bs[i], bs[j])
		}
		for _, b := range bs {
			if b.offset%arenaAlign != 0 || b.offset+b.bytes > size {
				t.Fatalf("buffer %+v in an arena of %d bytes", b, size)
			}
		}
		peak := 0
		for _, n := range most {
			peak = max(peak, n)
		}
		if size < peak {
			t.Fatalf("arena of %d bytes, %d are alive at a time", size, peak)
		}
	}
}

// A chain needs two buffers, however long it is.
func TestLayOutChain(t *testing.T) {
	bs := make([]buffer, 100)
	for i := range bs {
		bs[i] = buffer{bytes: 640, first: i, last: i + 1}
	}
	if size, err := layOut(bs); err != nil || size != 1280 {
		t.Errorf("arena of %d bytes (%v), wanted 1280", size, err)
	}
}

func TestLayOutRefusesWhatNoMemoryHolds(t *testing.T) {
	bs := []buffer{{bytes: maxArena, last: 1}, {bytes: maxArena, last: 1}}
	if _, err := layOut(bs); err == nil {
		t.Error("two buffers of maxArena bytes at a time were accepted")
	}
}
