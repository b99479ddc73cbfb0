package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// gemmTolerance times the machine epsilon, k and Σ|a||b| bounds the error of a sum of k products
// added up in any order, with or without fused multiply-add: k roundings of (eps/2) for each of the
// two results compared.
const gemmTolerance = 1

var sizes = []int{0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130}

// layout is how a test matrix lies in its slice.
type layout struct {
	name string
	// place returns the strides and the slice's length for rows × cols.
	place func(rows, cols int) (rs, cs, size int)
}

var layouts = []layout{
	{"rows", func(r, c int) (int, int, int) { return c, 1, r * c }},
	{"columns", func(r, c int) (int, int, int) { return 1, r, r * c }},
	{"rows with gaps", func(r, c int) (int, int, int) { return c + 3, 1, r * (c + 3) }},
	{"columns with gaps", func(r, c int) (int, int, int) { return 1, r + 5, c * (r + 5) }},
	{"every other element", func(r, c int) (int, int, int) { return 2 * c, 2, 2 * r * c }},
}

func epsilon[T float]() float64 {
	var z T
	if _, ok := any(z).(float32); ok {
		return 0x1p-23
	}
	return 0x1p-52
}

func random[T float](r *rand.Rand, n int) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = T(r.NormFloat64())
	}
	return s
}

// inEveryPath runs a test once for every implementation that the CPU has.
func inEveryPath(t *testing.T, f func(t *testing.T)) {
	was := Path()
	defer func() {
		if err := Use(was); err != nil {
			t.Fatal(err)
		}
	}()
	for _, p := range paths {
		if err := Use(p.name); err != nil {
			t.Fatal(err)
		}
		t.Run(p.name, f)
	}
}

type gemmFunc[T float] func(p *Pool, m, n, k int, a []T, ars, acs int, b []T, brs, bcs int, c []T, ldc int, add bool)

// packedGemm is Gemm32 by way of a Packed32.
func packedGemm(p *Pool, m, n, k int, a []float32, ars, acs int, b []float32, brs, bcs int, c []float32, ldc int, add bool) {
	GemmPacked32(p, m, a, ars, acs, Pack32(k, n, b, brs, bcs), c, ldc, add)
}

// checkGemm compares one product, its C lying between guard cells, with a plain triple loop.
func checkGemm[T float](t *testing.T, gemm gemmFunc[T], r *rand.Rand, m, n, k int, la, lb layout, add bool) {
	t.Helper()
	const guard = 37

	offset := r.IntN(4)
	ars, acs, na := la.place(m, k)
	brs, bcs, nb := lb.place(k, n)
	a, b := random[T](r, na+offset)[offset:], random[T](r, nb+offset)[offset:]
	ldc := n + r.IntN(3)
	all := make([]T, offset+guard+m*ldc+guard)
	for i := range all {
		all[i] = mark
	}
	c := all[offset+guard:][:m*ldc]
	before := make([]T, len(c))
	for i := range m {
		copy(before[i*ldc:], random[T](r, n))
		copy(c[i*ldc:i*ldc+n], before[i*ldc:i*ldc+n])
	}
	gemm(nil, m, n, k, a, ars, acs, b, brs, bcs, c, ldc, add)

	at := fmt.Sprintf("m=%d n=%d k=%d A in %s, B in %s, add=%v", m, n, k, la.name, lb.name, add)
	for i, x := range all {
		pos := i - offset - guard
		if inside := pos >= 0 && pos < m*ldc && pos%ldc < n; !inside && x != mark {
			t.Fatalf("%s: wrote %v outside of C, at %d of %d", at, x, pos, m*ldc)
		}
	}
	for i := range m {
		for j := range n {
			var want, scale float64
			if add {
				want = float64(before[i*ldc+j])
				scale = math.Abs(want)
			}
			for l := range k {
				x := float64(a[i*ars+l*acs]) * float64(b[l*brs+j*bcs])
				want += x
				scale += math.Abs(x)
			}
			bound := gemmTolerance * epsilon[T]() * float64(k+1) * scale
			if got := float64(c[i*ldc+j]); !(math.Abs(got-want) <= bound) {
				t.Fatalf("%s: C[%d %d] is %v, want %v ± %g", at, i, j, got, want, bound)
			}
		}
	}
}

func testShapes[T float](t *testing.T, gemm gemmFunc[T]) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, m := range sizes {
		for _, n := range sizes {
			for _, k := range sizes {
				if testing.Short() && r.IntN(30) != 0 {
					continue
				}
				la, lb := layouts[r.IntN(len(layouts))], layouts[r.IntN(len(layouts))]
				checkGemm(t, gemm, r, m, n, k, la, lb, r.IntN(2) == 0)
			}
		}
	}
	// Every pair of layouts, across the edges of the blocks.
	for _, s := range [][3]int{{1, 300, 70}, {1, 129, blockK + 9}, {9, 37, 3}, {35, 70, blockK + 1}, {blockM + 3, 33, 2*blockK + 5}, {17, superN + 9, 11}, {18, 5, superK + 3}, {17, 64, superK + 64}} {
		for _, la := range layouts {
			for _, lb := range layouts {
				for _, add := range []bool{false, true} {
					if testing.Short() && r.IntN(10) != 0 {
						continue
					}
					checkGemm(t, gemm, r, s[0], s[1], s[2], la, lb, add)
				}
			}
		}
	}
}

// far is a transposed A out of memory: one element of each page or two.
var far = layout{"columns far apart", func(r, c int) (int, int, int) { return 1, farBytes / 4 / 300, farBytes / 4 / 300 * c }}

func testFar[T float](t *testing.T, gemm gemmFunc[T]) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{3, 300} {
		checkGemm(t, gemm, r, blockM+9, n, 301, far, layouts[0], true)
	}
}

func TestGemmFarColumns(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		testFar(t, Gemm32)
		testFar(t, Gemm64)
		testFar(t, packedGemm)
	})
}

// Neither the other rows, nor packing, nor the width of the vectors is part of an element's bits.
func TestGemmSameBitsForAnyRows(t *testing.T) {
	var across [][]float32
	inEveryPath(t, func(t *testing.T) {
		const m, n, k = 33, 150, 2*blockK + 3
		r := rand.New(rand.NewPCG(7, 8))
		a, b := random[float32](r, m*k), random[float32](r, k*n)
		all, one := make([]float32, m*n), make([]float32, m*n)
		Gemm32(nil, m, n, k, a, k, 1, b, n, 1, all, n, false)
		for i := range m {
			Gemm32(nil, 1, n, k, a[i*k:], k, 1, b, n, 1, one[i*n:], n, false)
		}
		packed := make([]float32, m*n)
		packedGemm(nil, m, n, k, a, k, 1, b, n, 1, packed, n, false)
		for name, got := range map[string][]float32{"row by row": one, "packed": packed} {
			if i := firstDifference(got, all); i >= 0 {
				t.Errorf("%s: %v at %d, at once: %v", name, got[i], i, all[i])
			}
		}
		if Path() != "generic" { // which has no fused multiply-add
			across = append(across, all)
		}
	})
	for _, other := range across[min(1, len(across)):] {
		if i := firstDifference(other, across[0]); i >= 0 {
			t.Errorf("two vector paths give %v and %v at %d", other[i], across[0][i], i)
		}
	}
}

// NaN and Inf reach exactly the elements that they belong to; a zero opposite does not stop them.
func TestGemmNaNAndInf(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testNaN(t, Gemm32) })
		t.Run("float64", func(t *testing.T) { testNaN(t, Gemm64) })
		t.Run("packed", func(t *testing.T) { testNaN(t, packedGemm) })
	})
}

func testNaN[T float](t *testing.T, gemm gemmFunc[T]) {
	nan, inf := T(math.NaN()), T(math.Inf(1))
	for _, m := range []int{1, 2, 9, 40} {
		for _, n := range []int{1, 5, 33, 140} {
			for _, bcs := range []int{1, 19} {
				const k = 19
				brs := 1
				if bcs == 1 {
					brs = n
				}
				a, b, c := make([]T, m*k), make([]T, k*n), make([]T, m*n)
				row, col := m-1, n/2
				a[row*k+3] = nan       // this row all NaN: 0·NaN
				b[7*brs+col*bcs] = inf // this column all NaN: 0·Inf
				gemm(nil, m, n, k, a, k, 1, b, brs, bcs, c, n, false)
				for i := range m {
					for j := range n {
						x := float64(c[i*n+j])
						if bad := i == row || j == col; bad != math.IsNaN(x) || !bad && x != 0 {
							t.Fatalf("m=%d n=%d: C[%d %d] is %v with a NaN in row %d of A and Inf in column %d of B", m, n, i, j, x, row, col)
						}
					}
				}
				for l := range k { // now Inf meets ones
					a[l], b[l*brs+col*bcs] = 1, 1
				}
				a[0] = inf
				gemm(nil, 1, n, k, a, k, 1, b, brs, bcs, c, n, false)
				if m > 1 && !math.IsInf(float64(c[col]), 1) {
					t.Fatalf("m=%d n=%d: Inf·1 + … gives %v", m, n, c[col])
				}
			}
		}
	}
}

func TestGemmShortSlice(t *testing.T) {
	s := func(n int) []float32 { return make([]float32, n) }
	for name, call := range map[string]func(){
		"A": func() { Gemm32(nil, 8, 9, 16, s(127), 16, 1, s(144), 9, 1, s(72), 9, false) },
		"B": func() { Gemm32(nil, 8, 9, 16, s(128), 16, 1, s(143), 9, 1, s(72), 9, false) },
		"C": func() { Gemm32(nil, 8, 9, 16, s(128), 16, 1, s(144), 9, 1, s(71), 9, false) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				v, _ := recover().(string)
				if want := "kernel: " + name + "["; !strings.HasPrefix(v, want) {
					t.Errorf("panicked with %q, want %s…", v, want)
				}
			}()
			call()
		})
	}
}

func TestUse(t *testing.T) {
	was := Path()
	err := Use("sse9")
	if err == nil || !strings.Contains(err.Error(), "generic") || Path() != was {
		t.Errorf("Use(sse9) gives %v and leaves %s, was %s", err, Path(), was)
	}
}

func TestGemm(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testShapes(t, Gemm32) })
		t.Run("float64", func(t *testing.T) { testShapes(t, Gemm64) })
		t.Run("packed", func(t *testing.T) { testShapes(t, packedGemm) })
	})
}

// Few rows go panel by panel through a B that is packed piece by piece. The bits are those of a B that
// was packed whole, whatever the number of threads.
func TestGemmGathersPanels(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		im := active.Load().f32
		for _, size := range [][3]int{{17, 300, 259}, {33, 129, 1030}, {128, 784, 513}, {240, 70, 256}, {240, 500, 31}, {125, 300, 10}, {128, 1024, 1}} {
			m, n, k := size[0], size[1], size[2]
			for gap := range 2 {
				lda, ldb, ldc := k+3*gap, n+5*gap+nearBytes/4/nearRows, n+7*gap
				r := rand.New(rand.NewPCG(uint64(m), uint64(gap)))
				a, b := random[float32](r, m*lda), random[float32](r, k*ldb)
				bias := random[float32](r, n)
				want, got := guardedRandom(r, m*ldc), guardedRandom(r, m*ldc)
				copy(got.v, want.v)
				e := ends[float32]{from: bias, relu: true}
				gemm(im, nil, m, n, k, a, lda, 1, nil, 0, 0, Pack32(k, n, b, ldb, 1).data, want.v, ldc, e)
				for threads := 1; threads <= 2; threads++ {
					gemm(im, NewPool(threads), m, n, k, a, lda, 1, b, ldb, 1, nil, got.v, ldc, e)
					if err := same(got.v, want.v); err != nil {
						t.Fatalf("%v, gap %d, %d threads: %v", size, gap, threads, err)
					}
					got.check(t, fmt.Sprint(size))
				}
			}
		}
	})
}
