package op

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bilinc/runtime/tensor"
)

// plainArg is ArgMax and ArgMin by the definition.
func plainArg(o *argReduce, src []float32, outer, n, inner int) []int64 {
	out := make([]int64, outer*inner)
	for i := range outer {
		for j := range inner {
			row := src[i*n*inner+j:]
			at, best := 0, row[0]
			for k := 1; k < n; k++ {
				v := row[k*inner]
				if o.max && v > best || !o.max && v < best || o.last && v == best {
					at, best = k, v
				}
			}
			out[i*inner+j] = int64(at)
		}
	}
	return out
}

// plainCumulate is CumSum by the definition, in float64.
func plainCumulate(o *cumSum, src []float32, outer, n, inner int) []float32 {
	out := make([]float32, len(src))
	for i := range outer {
		for j := range inner {
			acc := 0.0
			for k := range n {
				if o.reverse {
					k = n - 1 - k
				}
				at := (i*n+k)*inner + j
				if o.exclusive {
					out[at] = float32(acc)
				}
				if acc += float64(src[at]); !o.exclusive {
					out[at] = float32(acc)
				}
			}
		}
	}
	return out
}

func TestAlongAxisAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	for _, c := range [][3]int{{1, 1, 1}, {3, 7, 1}, {2, 5, 3}, {1, 300, 200}, {40, 30, 65}, {2, 30, 2500}, {2, 21, 2048}, {500, 100, 1}, {1, 100000, 1}, {3, 70001, 1}, {0, 3, 2}, {2, 3, 0}} {
		x := random(5, c[:]...)
		v := tensor.Data[float32](x)
		for i := range v {
			v[i] = float32(math.Round(float64(v[i]) * 50)) // many are equal
			if i%5 == 4 || i > 40000 && i < 90000 {
				v[i] = float32(math.NaN())
			}
		}
		for _, o := range []*argReduce{{max: true}, {max: true, last: true}, {}, {last: true}} {
			o.axis = 1
			want := plainArg(o, v, c[0], c[1], c[2])
			for _, p := range pools {
				y := tensor.New(tensor.Int64, c[0], 1, c[2])
				if err := argExtreme[float32](p, o, x, y); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(tensor.Data[int64](y), want) {
					t.Errorf("%+v of %v on %d threads is elsewhere", *o, c, p.Threads())
				}
			}
		}
		for i := range v {
			if v[i] != v[i] {
				v[i] = 3
			}
		}
		for _, o := range []*cumSum{{}, {exclusive: true}, {reverse: true}, {exclusive: true, reverse: true}} {
			want := plainCumulate(o, v, c[0], c[1], c[2])
			for _, p := range pools {
				y := tensor.New(tensor.Float32, c[:]...)
				cumulate[float32, float64](p, o, x, y, 1)
				if !slices.Equal(tensor.Data[float32](y), want) {
					t.Errorf("%+v of %v on %d threads differs", *o, c, p.Threads())
				}
			}
		}
	}
	// A row that begins with NaN has its extreme there.
	long := random(2, 1, 100000)
	tensor.Data[float32](long)[0] = float32(math.NaN())
	y := tensor.New(tensor.Int64, 1, 1)
	if err := argExtreme[float32](pools[1], &argReduce{axis: 1, max: true}, long, y); err != nil || tensor.Data[int64](y)[0] != 0 {
		t.Errorf("%d, %v", tensor.Data[int64](y)[0], err)
	}
}

// Of equals the first or the last is found, zeros of either sign and rows with NaN among them, at all lengths.
func TestArgRowOfEquals(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	values := []float32{-1, 0, float32(math.Copysign(0, -1)), 1, 2, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	for n := 1; n < 200; n++ {
		row, kinds := make([]float32, n), 3+r.IntN(len(values)-2)
		for k := range row {
			row[k] = values[r.IntN(kinds)]
		}
		for _, o := range []*argReduce{{max: true}, {max: true, last: true}, {}, {last: true}} {
			for _, at := range []int{0, n / 3} {
				if got, want := argRow(o, row, at), argRowPlain(o, row, at); got != want {
					t.Fatalf("%+v of %v from %d: %d, wanted %d", *o, row, at, got, want)
				}
			}
		}
	}
}
