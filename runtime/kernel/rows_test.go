package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// softmaxULP bounds the error of an element: an exponential, a factor and a product; and that of x − M
// for arguments down to -30.
const softmaxULP = 2 + 30*2

func TestSoftmax32(t *testing.T) {
	var across [][]float32
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		var all []float32
		for _, n := range append(lengths(), 1000, 2*rowGrain+3) {
			m := 1 + r.IntN(3)
			y := newFenced(r, m, n)
			xs := n + r.IntN(3)
			x := random[float32](r, m*xs+1)[1:]
			for i := range x {
				x[i] *= 3
			}
			x[r.IntN(n)] = float32(math.Inf(-1))
			if n == 1 {
				x[0] = 1
			}
			Softmax32(NewPool(2), m, n, y.rows, y.step, x, xs)
			y.check(t, "softmax")
			for i := range m {
				row := x[i*xs:][:n]
				most, total := math.Inf(-1), 0.0
				for _, v := range row {
					most = max(most, float64(v))
				}
				for _, v := range row {
					total += math.Exp(float64(v) - most)
				}
				for j, got := range y.row(i) {
					want := math.Exp(float64(row[j])-most) / total
					if !(math.Abs(float64(got)-want) <= softmaxULP*ulp(want)) {
						t.Fatalf("n=%d: element %d is %v, want %v", n, j, got, want)
					}
				}
				all = append(all, y.row(i)...)
			}
			inPlace := append([]float32(nil), x[:n]...)
			Softmax32(nil, 1, n, inPlace, n, inPlace, n)
			if i := firstDifference(inPlace, y.row(0)); i >= 0 {
				t.Fatalf("n=%d in place: %v at %d, want %v", n, inPlace[i], i, y.row(0)[i])
			}
		}
		if Path() != "generic" {
			across = append(across, all)
		}
	})
	sameAcross(t, across)
}

func sameAcross(t *testing.T, across [][]float32) {
	t.Helper()
	for _, other := range across[min(1, len(across)):] {
		if i := firstDifference(other, across[0]); i >= 0 {
			t.Errorf("two vector paths give %v and %v at %d", other[i], across[0][i], i)
		}
	}
}

// A NaN, or nothing but -Inf, makes its own row NaN; +Inf too, as ∞ − ∞ is none.
func TestSoftmax32Specials(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	inEveryPath(t, func(t *testing.T) {
		for _, n := range []int{1, 2, 7, 16, 17, 40} {
			for at := range n {
				for _, v := range []float32{nan, inf, -inf} {
					x := make([]float32, 3*n)
					x[n+at] = v
					y := make([]float32, 3*n)
					Softmax32(nil, 3, n, y, n, x, n)
					for i, got := range y {
						want := v != -inf || n == 1
						if i/n != 1 {
							want = false
						}
						if want && v == inf && i != n+at { // exp(-∞)·NaN
							want = true
						}
						if (got != got) != want {
							t.Fatalf("n=%d, %v at %d of row 1: y[%d] is %v", n, v, at, i, got)
						}
					}
				}
			}
		}
	})
}

func TestLayerNorm32(t *testing.T) {
	var across [][]float32
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		var all []float32
		for _, n := range append(lengths(), 1000, 2*rowGrain+3) {
			for _, offset := range []float32{0, 1000} {
				m := 1 + r.IntN(3)
				y := newFenced(r, m, n)
				xs := n + r.IntN(3)
				x, scale, bias := random[float32](r, m*xs+1)[1:], random[float32](r, n), random[float32](r, n)
				for i := range x {
					x[i] += offset
				}
				if r.IntN(2) == 0 {
					bias = nil
				}
				stats := make([]float64, 2*m+1)
				stats[2*m] = mark
				const epsilon = 1e-5
				LayerNorm32(NewPool(2), m, n, y.rows, y.step, x, xs, scale, bias, epsilon, stats)
				y.check(t, "layer normalisation")
				if stats[2*m] != mark {
					t.Fatalf("wrote %v after the statistics", stats[2*m])
				}
				for i := range m {
					row := x[i*xs:][:n]
					mean, variance := 0.0, 0.0
					for _, v := range row {
						mean += float64(v) / float64(n)
					}
					for _, v := range row {
						variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
					}
					inverse := 1 / math.Sqrt(variance+epsilon)
					if math.Abs(stats[2*i]-mean) > 1e-12*(1+math.Abs(mean)) || math.Abs(stats[2*i+1]/inverse-1) > 1e-5 {
						t.Fatalf("n=%d: statistics %v, want %v and %v", n, stats[2*i:2*i+2], mean, inverse)
					}
					for j, got := range y.row(i) {
						z := (float64(row[j]) - mean) * inverse * float64(scale[j])
						want := z
						if bias != nil {
							want += float64(bias[j])
						}
						// x − mean, four roundings, and the float32 second part of the mean.
						limit := 4*ulp(z) + ulp(want) + math.Abs(inverse*float64(scale[j]))*ulp(mean)*0x1p-22
						if !(math.Abs(float64(got)-want) <= limit) {
							t.Fatalf("n=%d, mean %v: element %d is %v, want %v ± %g", n, mean, j, got, want, limit)
						}
					}
					all = append(all, y.row(i)...)
				}
			}
		}
		if Path() != "generic" {
			across = append(across, all)
		}
	})
	sameAcross(t, across)
}

func TestLayerNorm32NaN(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, n := range []int{1, 7, 16, 17, 40} {
			for _, v := range []float64{math.NaN(), math.Inf(1)} {
				x, y, scale := make([]float32, 3*n), make([]float32, 3*n), make([]float32, n)
				x[n+n/2] = float32(v)
				LayerNorm32(nil, 3, n, y, n, x, n, scale, nil, 1e-5, make([]float64, 6))
				for i, got := range y {
					if (got != got) != (i/n == 1) {
						t.Fatalf("n=%d, %v in row 1: y[%d] is %v", n, v, i, got)
					}
				}
			}
		}
	})
}

func TestSum32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(17, 18))
		for _, n := range append(lengths(), 0, 1000, 2*rowGrain+3) {
			m := 1 + r.IntN(3)
			xs := n + r.IntN(3)
			x := random[float32](r, m*xs+1)
			y := make([]float64, m+1)
			y[m] = mark
			Sum32(NewPool(2), m, n, y, x, xs)
			for i, got := range y {
				want, scale := 0.0, 0.0
				if i < m {
					for _, v := range x[i*xs:][:n] {
						want += float64(v)
						scale += math.Abs(float64(v))
					}
				} else {
					want = mark
				}
				if math.Abs(got-want) > 0x1p-52*scale*float64(n) {
					t.Fatalf("n=%d: sum %d is %v, want %v", n, i, got, want)
				}
			}
		}
	})
}
