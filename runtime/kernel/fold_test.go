package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// foldCases are matrices, their rows xs apart.
var foldCases = func() (c [][3]int) {
	for _, n := range append(lengths(), 0, 128, 131, 300) {
		for _, m := range []int{0, 1, 3, 33} {
			c = append(c, [3]int{m, n, n + m%3})
		}
	}
	for _, n := range []int{1, 2, 3, 5, 8, 15, 16, 17} { // narrow ones
		c = append(c, [3]int{500, n, n}, [3]int{100, n, n + 1})
	}
	return append(c, [3]int{3, rowMost + 5, rowMost + 7}, [3]int{2, 2 * rowMost, 2 * rowMost})
}()

// sameNumber tells whether two numbers are the same to the bit, or both NaN.
func sameNumber(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}

// withSpecials is numbers near 1, so that products stay in range, some of them special.
func withSpecials(r *rand.Rand, n, specials int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1 + float32(r.NormFloat64())/64
		if r.IntN(2) == 0 {
			x[i] = -x[i]
		}
	}
	negative := math.Float32frombits(1<<31 | math.Float32bits(float32(math.NaN())))
	special := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), negative}
	for range min(n, specials) {
		x[r.IntN(n)] = special[r.IntN(len(special))]
	}
	return x
}

// Every path gives the bits of the portable one, which are within rounding of the definition.
func TestFold32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for _, c := range foldCases {
			m, n, xs := c[0], c[1], c[2]
			for _, specials := range []int{0, 3} {
				x := withSpecials(r, max(0, (m-1)*xs+n)+1, specials)[1:]
				for f := range folds {
					checkFold(t, "rows", f, r, m, n, m, x, func(i, k int) float32 { return x[i*xs+k] },
						func(y []float64) { FoldRows32(f, m, n, y, x, xs) }, n)
					checkFold(t, "columns", f, r, m, n, n, x, func(i, k int) float32 { return x[k*xs+i] },
						func(y []float64) { FoldColumns32(f, m, n, y, x, xs) }, m)
				}
			}
		}
	})
}

// checkFold folds into outs numbers, each of terms elements at, with the path in use and with the portable one.
func checkFold(t *testing.T, way string, f Fold, r *rand.Rand, m, n, outs int, x []float32, at func(i, k int) float32, run func(y []float64), terms int) {
	t.Helper()
	start := make([]float64, outs+2)
	for i := range start {
		start[i] = f.Neutral()
		if r.IntN(3) == 0 {
			start[i] = float64(withSpecials(r, 1, r.IntN(9)/8)[0])
		}
	}
	run2 := func(path string) []float64 {
		was := Path()
		if err := Use(path); err != nil {
			t.Fatal(err)
		}
		y := append([]float64(nil), start...)
		run(y[1 : 1+outs])
		if err := Use(was); err != nil {
			t.Fatal(err)
		}
		return y
	}
	got, plain := run2(Path()), run2("generic")
	for i := range got {
		if !sameNumber(got[i], plain[i]) {
			t.Fatalf("%s of %d × %d, fold %d: result %d is %v, portable code has %v", way, m, n, f, i-1, got[i], plain[i])
		}
	}
	if Path() != "generic" {
		return
	}
	for i := range outs {
		want, scale := start[1+i], 0.0
		for k := range terms {
			v := float64(at(i, k))
			switch f {
			case FoldAbs:
				v = math.Abs(v)
			case FoldSquare:
				v *= v
			}
			want = f.join(want, v)
			scale += math.Abs(v)
		}
		if f != FoldSum {
			scale = math.Abs(want)
		}
		if g := got[1+i]; !sameNumber(g, want) && !(math.Abs(g-want) <= 0x1p-52*float64(terms)*scale) {
			t.Fatalf("%s of %d × %d, fold %d: result %d is %v, wanted %v", way, m, n, f, i, g, want)
		}
	}
}

// Sums of powers: portable ones to 5e-11, and the others to the same bits.
func TestFoldExp32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(33, 34))
		for _, c := range foldCases {
			m, n, xs := c[0], c[1], c[2]
			if m*n > 4*rowMost {
				continue
			}
			x := random[float32](r, max(0, (m-1)*xs+n)+1)[1:]
			for i := range x {
				switch x[i] *= 4; r.IntN(50) {
				case 0:
					x[i] = float32(math.Inf(-1))
				case 1:
					x[i] *= 1000
				}
			}
			shift := make([]float64, max(m, n))
			for i := range shift {
				shift[i] = 5000 + r.Float64()
			}
			for k := range min(len(x), len(shift)) { // some that count
				shift[k] = float64(x[k]) + 5*r.Float64()
			}
			for i := range m {
				shift[i] = max(shift[i], shift[0])
			}
			for _, way := range []string{"rows", "columns"} {
				outs := m
				run := func() []float64 {
					y := make([]float64, outs+2)
					y[0], y[outs+1] = mark, mark
					if way == "rows" {
						FoldExpRows32(m, n, y[1:1+outs], x, xs, shift)
					} else {
						FoldExpColumns32(m, n, y[1:1+outs], x, xs, shift)
					}
					return y
				}
				if way == "columns" {
					outs = n
				}
				got := run()
				was := Path()
				if err := Use("generic"); err != nil {
					t.Fatal(err)
				}
				plain := run()
				if err := Use(was); err != nil {
					t.Fatal(err)
				}
				for i := range got {
					if !sameNumber(got[i], plain[i]) {
						t.Fatalf("%s of %d × %d: sum %d is %v, portable code has %v", way, m, n, i-1, got[i], plain[i])
					}
				}
				want := make([]float64, outs)
				for i := range m {
					for j := range n {
						o := i
						if way == "columns" {
							o = j
						}
						want[o] += math.Exp(float64(x[i*xs+j]) - shift[o])
					}
				}
				for i, w := range want {
					if math.Abs(got[1+i]-w) > 6e-11*w+1e-300 {
						t.Fatalf("%s of %d × %d: sum %d is %v, wanted %v", way, m, n, i, got[1+i], w)
					}
				}
			}
		}
	})
}

// powerOf is as exact as it says, from end to end.
func TestPowerOf(t *testing.T) {
	for d := -700.0; d <= 700; d += 0.0137 {
		if got, want := powerOf(d), math.Exp(d); math.Abs(got/want-1) > 5e-11 {
			t.Fatalf("e^%v is %v, wanted %v", d, got, want)
		}
	}
	for _, d := range []float64{-701, math.Inf(-1), math.NaN()} {
		if got := powerOf(d); got != 0 {
			t.Errorf("e^%v counts as %v", d, got)
		}
	}
}

// Sums are those of numbers without rounding, but for the last bits of float64.
func TestFoldSumIsExact(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(35, 36))
		x := random[float32](r, 1<<18)
		exact := new(big.Float).SetPrec(200)
		for i := range x {
			x[i] *= float32(math.Exp(5 * r.NormFloat64()))
			exact.Add(exact, big.NewFloat(float64(x[i])))
		}
		y := []float64{0}
		FoldRows32(FoldSum, 1, len(x), y, x, len(x))
		want, _ := exact.Float64()
		if math.Abs(y[0]-want) > 1e-13*math.Abs(want) {
			t.Errorf("the sum is %v, wanted %v", y[0], want)
		}
	})
}

// Quotients and roots are rounded as those of single numbers are.
func TestQuotientsAndRoots32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(37, 38))
		for _, n := range append(lengths(), 0, 200) {
			x := make([]float64, n+1)
			for i := range x {
				x[i] = r.NormFloat64() * math.Exp(40*r.NormFloat64())
				if r.IntN(9) == 0 {
					x[i] = float64(withSpecials(r, 1, 1)[0])
				}
			}
			y := newFenced(r, 1, n)
			by := float64(1 + r.IntN(1000))
			Quotients32(y.row(0), x, by)
			y.check(t, "quotients")
			for i, got := range y.row(0) {
				if want := float32(x[i] / by); !sameNumber(float64(got), float64(want)) {
					t.Fatalf("%d of %d: %v/%v is %v, wanted %v", i, n, x[i], by, got, want)
				}
			}
			Roots32(y.row(0), x)
			y.check(t, "roots")
			for i, got := range y.row(0) {
				if want := float32(math.Sqrt(x[i])); !sameNumber(float64(got), float64(want)) {
					t.Fatalf("%d of %d: the root of %v is %v, wanted %v", i, n, x[i], got, want)
				}
			}
		}
	})
}
