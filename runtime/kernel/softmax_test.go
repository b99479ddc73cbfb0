package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// plainSoftmax is the definition, on one line of n elements that lie step apart.
func plainSoftmax(y []float64, x []float32, n, step int, log bool) {
	most, total := math.Inf(-1), 0.0
	for i := range n {
		most = max(most, float64(x[i*step]))
	}
	for i := range n {
		total += math.Exp(float64(x[i*step]) - most)
	}
	for i := range n {
		d := float64(x[i*step]) - most
		if y[i*step] = d - math.Log(total); !log {
			y[i*step] = math.Exp(d) / total
		}
	}
}

// softmaxShapes are [m n w]: rows and columns, short, wide, long and in several tasks.
var softmaxShapes = [][3]int{
	{1, 1, 1}, {3, 1, 5}, {5, 2, 1}, {7, 3, 1}, {4, 5, 1}, {3, 33, 1}, {9, 64, 1}, {2, 1000, 1}, {3, 20000, 1}, {1, 70001, 1}, {3000, 7, 1},
	{2, 2, 3}, {2, 3, 16}, {1, 21, 1025}, {2, 80, 100}, {1, 2, 40000}, {3, 1000, 17}, {1, 5000, 33}, {5, 4, 1},
}

func TestSoftmaxLines(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for _, shape := range softmaxShapes {
			m, n, w := shape[0], shape[1], shape[2]
			x := random[float32](r, m*n*w)
			for i := range x {
				x[i] = x[i]*10 + 50
			}
			want := make([]float64, len(x))
			for _, log := range []bool{false, true} {
				run, ulps := SoftmaxColumns32, 4.0
				if log {
					run, ulps = LogSoftmaxColumns32, 3
				}
				for line := range m * w {
					at := line/w*n*w + line%w
					plainSoftmax(want[at:], x[at:], n, w, log)
				}
				y := newFenced(r, 1, len(x))
				run(nil, m, n, w, y.row(0), x)
				y.check(t, "softmax")
				for i, got := range y.row(0) {
					floor := 0x1p-6
					if !log { // e^d is as exact as d
						floor, ulps = math.Abs(want[i]), 4+math.Abs(math.Log(want[i]))
					}
					if math.Abs(float64(got)-want[i]) > ulps*ulp(max(math.Abs(want[i]), floor)) {
						t.Fatalf("%v, logarithm %v: element %d is %v, want %v", shape, log, i, got, want[i])
					}
				}
				shared := make([]float32, len(x))
				run(NewPool(3), m, n, w, shared, x)
				if i := firstDifference(shared, y.row(0)); i >= 0 {
					t.Fatalf("%v, logarithm %v: element %d is %v on three threads, %v on one", shape, log, i, shared[i], y.row(0)[i])
				}
			}
		}
	})
}

// A line with NaN or +Inf, or of -Inf alone, is NaN; one element of -Inf is none; and other lines do not see it.
func TestSoftmaxLinesSpecial(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	lines := [][]float32{{1, nan, 2}, {nan, 0, -inf}, {0, 1, nan}, {-inf, -inf, -inf}, {inf, 0, 0}, {1, -inf, 1}, {3, 3, 3}}
	bad := []bool{true, true, true, true, true, false, false}
	inEveryPath(t, func(t *testing.T) {
		m, n := len(lines), len(lines[0])
		var rows []float32
		columns := make([]float32, m*n)
		for i, l := range lines {
			rows = append(rows, l...)
			for k, v := range l {
				columns[k*m+i] = v
			}
		}
		a, b, c := make([]float32, m*n), make([]float32, m*n), make([]float32, m*n)
		LogSoftmax32(nil, m, n, a, rows)
		LogSoftmaxColumns32(nil, 1, n, m, b, columns)
		SoftmaxColumns32(nil, 1, n, m, c, columns)
		for i, l := range lines {
			want := make([]float64, n)
			plainSoftmax(want, l, n, 1, true)
			for k, w := range want {
				for which, got := range []float32{a[i*n+k], b[k*m+i], float32(math.Log(float64(c[k*m+i])))} {
					if bad[i] != (got != got) || !bad[i] && math.Abs(float64(got)-w) > 1e-6 && !math.IsInf(w, -1) {
						t.Errorf("form %d of %v: %v at %d, want %v", which, l, got, k, w)
					}
				}
			}
		}
	})
}
