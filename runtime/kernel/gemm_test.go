package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
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
	const mark = 12345
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
				if testing.Short() && r.IntN(8) != 0 {
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
					checkGemm(t, gemm, r, s[0], s[1], s[2], la, lb, add)
				}
			}
		}
	}
}

func TestGemm(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testShapes(t, Gemm32) })
		t.Run("float64", func(t *testing.T) { testShapes(t, Gemm64) })
		t.Run("packed", func(t *testing.T) { testShapes(t, packedGemm) })
	})
}
