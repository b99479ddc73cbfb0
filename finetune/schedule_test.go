package finetune

import (
	"math"
	"testing"
)

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		s      Schedule
		step   int
		warmup float64
		want   float64
	}{
		{Constant, 0, 0, 1}, {Constant, 99, 0, 1},
		{Constant, 0, 0.1, 0.1}, {Constant, 8, 0.1, 0.9}, {Constant, 9, 0.1, 1}, {Constant, 10, 0.1, 1},
		{Cosine, 0, 0, 1}, {Cosine, 50, 0, 0.5}, {Cosine, 25, 0, (1 + math.Sqrt2/2) / 2},
		{Cosine, 99, 0, (1 + math.Cos(math.Pi*0.99)) / 2},
		{Cosine, 20, 0.2, 1}, {Cosine, 60, 0.2, 0.5},
		{Step, 49, 0, 1}, {Step, 50, 0, 0.1}, {Step, 74, 0, 0.1}, {Step, 75, 0, 0.01},
	} {
		if got := c.s.rate(c.step, 100, c.warmup); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s, step %d of 100, warm-up %g: %g, wanted %g", c.s, c.step, c.warmup, got, c.want)
		}
	}
	// Never more than 1, never negative, whatever the numbers.
	for _, s := range []Schedule{Cosine, Step, Constant} {
		for _, steps := range []int{1, 2, 7} {
			for _, w := range []float64{0, 0.3, 0.99} {
				for k := range steps {
					if r := s.rate(k, steps, w); !(r > 0 && r <= 1) {
						t.Errorf("%s: step %d of %d, warm-up %g: %g", s, k, steps, w, r)
					}
				}
			}
		}
	}
}
