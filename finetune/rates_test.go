package finetune

import (
	"math"
	"slices"
	"testing"

	"bilinc/runtime/tensor"
)

// A factor's step and that of the dense weight are of one size in all.
func TestRates(t *testing.T) {
	for _, c := range []struct {
		g    *Group
		size []int
		want float64
	}{
		{nil, []int{10, 10}, 1},
		{&Group{In: 1024, M1: 32, N1: 32, M2: 32, N2: 32, Terms: 1}, []int{32, 32}, 32},
		{&Group{In: 1024, M1: 32, N1: 32, M2: 32, N2: 32, Terms: 4}, []int{32, 128}, 16},
		{&Group{In: 1024, M1: 1024, N1: 1, M2: 1, N2: 1024, Terms: 16}, []int{1024, 16}, 8},
		{&Group{In: 1 << 20, M1: 1 << 10, N1: 1 << 10, M2: 1 << 10, N2: 1 << 10, Terms: 1}, []int{1, 1}, maxRate},
		{&Group{In: 4, M1: 2, N1: 2, M2: 2, N2: 2, Terms: 9}, []int{2, 18}, 1},
		{&Group{In: 4096, M1: 64, N1: 64, M2: 64, N2: 64, Terms: 1}, []int{64, 64}, 16}, // a wide one takes less
	} {
		s := &slot{Weight: &Weight{Group: c.g, Side: 'A'}, x: tensor.New(tensor.Float32, c.size...)}
		rates([]*slot{s})
		if s.rate != c.want {
			t.Errorf("%+v of %v: rate %g, wanted %g", c.g, c.size, s.rate, c.want)
		}
		if dense := float64(1024 * 1024); c.g != nil && c.g.In == 1024 {
			if moved := s.rate * math.Sqrt(float64(s.x.Len())); math.Abs(moved-math.Sqrt(dense)) > 1e-9 {
				t.Errorf("%+v of %v moves by %g, the dense weight by %g", c.g, c.size, moved, math.Sqrt(dense))
			}
		}
	}
}

// What is drawn anew takes larger steps than what is kept, unless a rate is
// given.
func TestDefaultRate(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want float64
	}{
		{Options{}, 3e-4},
		{Options{Groups: []Group{{}}}, 3e-4},
		{Options{Groups: []Group{{}, {Fresh: true}}}, 1e-3},
		{Options{Init: Random}, 1e-3},
		{Options{Rule: SGD}, 0.015},
		{Options{Rule: SGD, Init: Random}, 0.05},
		{Options{LR: 0.1}, 0.1},
	} {
		if err := c.o.fill(); err != nil {
			t.Fatal(err)
		}
		if math.Abs(c.o.LR-c.want) > 1e-12 {
			t.Errorf("%+v: rate %g, wanted %g", c.o, c.o.LR, c.want)
		}
	}
}

// rootMeanSquare is the size of the elements of t.
func rootMeanSquare(t *tensor.Tensor) float64 {
	return math.Sqrt(sumOfSquares(nil, t) / float64(max(1, t.Len())))
}

// A split has every number once, and depends on the seed.
func TestSplit(t *testing.T) {
	rows, held := (&Options{Holdout: 0.2, Seed: 1}).Split(50)
	seen := map[int]bool{}
	for _, k := range append(append([]int{}, rows...), held...) {
		seen[k] = k >= 0 && k < 50
	}
	if len(held) != 10 || len(rows) != 40 || len(seen) != 50 {
		t.Errorf("%d rows, %d held out, %d numbers", len(rows), len(held), len(seen))
	}
	if _, other := (&Options{Holdout: 0.2, Seed: 2}).Split(50); slices.Equal(held, other) {
		t.Error("two seeds hold out the same rows")
	}
	if rows, held := (&Options{Holdout: 0.2}).Split(1); len(rows) != 0 || len(held) != 1 {
		t.Errorf("of one unit %v are trained on, %v held out", rows, held)
	}
	if rows, held := (&Options{Holdout: -1}).Split(3); len(rows) != 3 || len(held) != 0 {
		t.Errorf("without hold-out %v are trained on, %v held out", rows, held)
	}
	for _, c := range []struct {
		o       Options
		n, held int
	}{
		{Options{}, 50000, 5000},
		{Options{Seen: true}, 50000, MostSeen},
		{Options{Seen: true}, 50, 5},
		{Options{Seen: true, Holdout: 0.1}, 50000, 5000},
	} {
		if rows, held := c.o.Split(c.n); len(held) != c.held || len(rows) != c.n-c.held {
			t.Errorf("hold-out %g, seen %v: of %d units %d are held out, wanted %d", c.o.Holdout, c.o.Seen, c.n, len(held), c.held)
		}
	}
}
