package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every path combines rows as element by element, and writes nothing beside.
func TestCombine32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, n := range []int{0, 1, 15, 16, 31, 48, 63, 64, 65, 127, 128, 200, 1000} {
			for taps := range 6 {
				x, at, w := random[float32](r, 2*n+50), make([]int, taps), random[float32](r, taps)
				for k := range at {
					at[k] = r.IntN(n + 50)
				}
				y := guardedRandom(r, n)
				Combine32(y.v, x, at, w)
				y.check(t, "Combine32")
				for j, got := range y.v {
					want := float32(0)
					for k, a := range at {
						want += float32(w[k] * x[a+j])
					}
					if math.Float32bits(got) != math.Float32bits(want) {
						t.Fatalf("%d elements of %d terms: the %d-th is %v, wanted %v", n, taps, j, got, want)
					}
				}
			}
		}
	})
}

// Every path samples as element by element, also where a term of weight 0 is no number, and where terms lie too far
// apart for blocks.
func TestSampling32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, n := range []int{1, 15, 16, 17, 48, 100} {
			for _, spread := range []int{1, 20, 31, 32, 300} {
				var first, at []int
				var w []float32
				for i := range n {
					first = append(first, len(at))
					for range r.IntN(5) {
						at = append(at, i/16*10+r.IntN(spread+1))
						if w = append(w, float32(r.NormFloat64())); r.IntN(4) == 0 {
							w[len(w)-1] = 0
						}
					}
				}
				first = append(first, len(at))
				s := NewSampling32(first, at, w)
				x := random[float32](r, s.reach+SampleSlack)
				for k, a := range at {
					if w[k] == 0 && r.IntN(2) == 0 {
						x[a] = float32(math.Inf(1))
					}
				}
				y := guardedRandom(r, n)
				s.Run(y.v, x)
				y.check(t, "Sampling32")
				for i, got := range y.v {
					want := float32(0)
					for k := first[i]; k < first[i+1]; k++ {
						if w[k] != 0 {
							want += float32(w[k] * x[at[k]])
						}
					}
					if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
						t.Fatalf("%d elements, spread %d: the %d-th is %v, wanted %v", n, spread, i, got, want)
					}
				}
			}
		}
	})
}

// Every path picks as element by element, also where elements lie too far apart for vectors, where there are fewer
// than a vector has, and whatever their bits are.
func TestPicking32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 33, 40, 100} {
			for _, ratio := range []float64{0, 0.3, 0.5, 0.6, 1, 1.5, 3, -0.5} { // of the source to the row
				at, reach := make([]int, n), 0
				for i := range at {
					if at[i] = int(ratio * float64(i)); ratio < 0 {
						at[i] = int(ratio * float64(i-n))
					}
					reach = max(reach, at[i]+1)
				}
				for _, slack := range []int{0, 5, 40} {
					for copies := range 4 {
						const rows = 3
						xs, ys := reach+1, n+3
						x := make([]uint32, (rows-1)*xs+reach+slack)
						for i := range x {
							x[i] = r.Uint32()
						}
						y, want := make([]uint32, rows*copies*ys), make([]uint32, rows*copies*ys)
						for k := range rows * copies {
							for i, a := range at {
								want[k*ys+i] = x[k/copies*xs+a]
							}
						}
						NewPicking32(at).Run(rows, copies, y, ys, x, xs)
						if !slices.Equal(y, want) {
							t.Fatalf("%d copies of %d elements of %d, %d behind:\n%v, wanted\n%v", copies, n, reach, slack, y, want)
						}
					}
				}
			}
		}
	})
}

// What is too short is not read.
func TestResampleChecks(t *testing.T) {
	for name, f := range map[string]func(){
		"Combine32":          func() { Combine32(make([]float32, 8), make([]float32, 20), []int{13}, []float32{1}) },
		"Picking32":          func() { NewPicking32([]int{3}).Run(1, 1, make([]uint32, 1), 1, make([]uint32, 3), 1) },
		"Picking32's rows":   func() { NewPicking32([]int{3}).Run(2, 1, make([]uint32, 2), 1, make([]uint32, 7), 4) },
		"Picking32's copies": func() { NewPicking32([]int{3, 3}).Run(1, 2, make([]uint32, 3), 2, make([]uint32, 4), 4) },
		"Sampling32": func() {
			NewSampling32([]int{0, 1}, []int{3}, []float32{1}).Run(make([]float32, 1), make([]float32, 35))
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s reads behind the end", name)
				}
			}()
			f()
		}()
	}
}
