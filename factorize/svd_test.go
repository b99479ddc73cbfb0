package factorize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/kernel"
)

// random returns an m×n matrix of standard normal numbers.
func random(m, n int, seed uint64) *mat.Dense {
	rng := rand.New(rand.NewPCG(seed, 99))
	data := make([]float64, m*n)
	for i := range data {
		data[i] = rng.NormFloat64()
	}
	return mat.NewDense(m, n, data)
}

// decaying returns an m×n matrix whose singular values fall like decay(i).
func decaying(t testing.TB, m, n int, decay func(i int) float64, seed uint64) *mat.Dense {
	t.Helper()
	k := min(m, n)
	u, err := orthonormalise(context.Background(), nil, random(m, k, seed), nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := orthonormalise(context.Background(), nil, random(n, k, seed+1), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := make([]float64, k)
	for i := range s {
		s[i] = decay(i)
	}
	scaleColumns(u, s)
	return product(nil, of(u), of(v).t())
}

// maxDiff returns max|a−b| / max|b|.
func maxDiff(a, b *mat.Dense) float64 {
	var d mat.Dense
	d.Sub(a, b)
	return maxAbs(&d) / max(maxAbs(b), math.SmallestNonzeroFloat64)
}

func TestOrthonormalise(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name string
		y    *mat.Dense
		want int
	}{
		{"random", random(90, 20, 1), 20},
		{"one column", random(7, 1, 2), 1},
		{"square", random(24, 24, 3), 24},
		{"badly scaled", func() *mat.Dense {
			y := random(60, 12, 4)
			s := make([]float64, 12)
			for i := range s {
				s[i] = math.Pow(10, float64(-10*i))
			}
			scaleColumns(y, s)
			return y
		}(), 12},
		{"nearly dependent", func() *mat.Dense {
			y := random(60, 12, 5)
			for i := range 60 {
				row := y.RawRowView(i)
				for j := 1; j < 12; j++ {
					row[j] = row[0] + 1e-9*row[j]
				}
			}
			return y
		}(), 12},
		{"zero columns", func() *mat.Dense {
			y := random(60, 12, 6)
			y.SetCol(3, make([]float64, 60))
			y.SetCol(11, make([]float64, 60))
			return y
		}(), 10},
	} {
		q, err := orthonormalise(ctx, nil, mat.DenseCopyOf(test.y), nil)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if q.RawMatrix().Cols != test.want || !isIdentity(product(nil, of(q).t(), of(q))) {
			t.Errorf("%s: %d columns, want %d, QᵀQ = I: %v", test.name, q.RawMatrix().Cols, test.want,
				isIdentity(product(nil, of(q).t(), of(q))))
		}
		// The span is kept: what is left of y outside it is rounding.
		rest := product(nil, of(q), of(product(nil, of(q).t(), of(test.y))))
		if d := maxDiff(rest, test.y); d > 1e-12 {
			t.Errorf("%s: %g of y is outside the span of Q", test.name, d)
		}
		if test.want+5 > q.RawMatrix().Rows {
			continue
		}
		other, err := orthonormalise(ctx, nil, random(q.RawMatrix().Rows, 5, 7), []*mat.Dense{q})
		if err != nil || other == nil {
			t.Errorf("%s: second block: %v", test.name, err)
			continue
		}
		if c := maxAbs(product(nil, of(q).t(), of(other))); c > orthogonality {
			t.Errorf("%s: second block is %g from orthogonal to the first", test.name, c)
		}
	}
	if q, err := orthonormalise(ctx, nil, mat.NewDense(5, 3, nil), nil); q != nil || err != nil {
		t.Errorf("zero block: %v, %v, want nil, nil", q, err)
	}
}

// checkTriples compares triples with gonum's singular values: energies of every count to tol of the whole, and the
// vectors by their orthogonality and the residual ‖x·right − left‖.
func checkTriples(t *testing.T, name string, x *mat.Dense, got *triples, k int, tol float64) {
	t.Helper()
	var svd mat.SVD
	if !svd.Factorize(x, mat.SVDNone) {
		t.Fatalf("%s: reference did not converge", name)
	}
	want := svd.Values(nil)
	if len(got.sigma) != k {
		t.Errorf("%s: %d triples, want %d", name, len(got.sigma), k)
		return
	}
	whole := sumSquares(want)
	for r := 1; r <= k; r++ {
		g, w := sumSquares(got.sigma[:r]), sumSquares(want[:r])
		if math.Abs(g-w) > tol*whole {
			t.Errorf("%s: energy of %d triples is %v, want %v", name, r, g, w)
			return
		}
	}
	if !isIdentity(product(nil, of(got.right).t(), of(got.right))) {
		t.Errorf("%s: right vectors are not orthonormal", name)
	}
	if d := maxDiff(product(nil, of(x), of(got.right)), got.left); d > 1e-12 {
		t.Errorf("%s: left differs from x·right by %g", name, d)
	}
}

func TestTopSVD(t *testing.T) {
	ctx := context.Background()
	geometric := func(i int) float64 { return math.Pow(0.9, float64(i)) }
	slow := func(i int) float64 { return 1 / math.Sqrt(1+float64(i)) }
	for _, test := range []struct {
		m, n, k int
		tol     float64
	}{
		{40, 30, 5, 1e-13}, {30, 40, 30, 1e-13}, {1, 50, 1, 1e-13}, {50, 1, 1, 1e-13}, {1, 1, 1, 1e-13}, // dense
		{600, 50, 20, 1e-13}, {300, 200, 190, 1e-13}, // every direction
		{400, 300, 16, 2 * energyChange}, {200, 500, 8, 2 * energyChange}, // Krylov
		{400, 300, 80, 2 * energyChange}, {150, 400, 70, 2 * energyChange}, // filtered
	} {
		for kind, x := range map[string]*mat.Dense{
			"geometric": decaying(t, test.m, test.n, geometric, 3),
			"slow":      decaying(t, test.m, test.n, slow, 4),
			"noise":     random(test.m, test.n, 5),
		} {
			got, err := topSVD(ctx, nil, of(x), test.k, 1)
			if err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			if test.m < test.n { // orthonormal on the other side first
				checkTriples(t, fmt.Sprintf("%s %dx%d top %d", kind, test.m, test.n, test.k),
					mat.DenseCopyOf(x.T()), got.transposed(), test.k, test.tol)
				continue
			}
			checkTriples(t, fmt.Sprintf("%s %dx%d top %d", kind, test.m, test.n, test.k), x, got, test.k, test.tol)
		}
	}
}

// A matrix of low rank is found exactly, however many triples are asked for.
func TestTopSVDLowRank(t *testing.T) {
	for _, k := range []int{3, 8, 20, 70} {
		x := product(nil, of(random(350, 5, 1)), of(random(5, 300, 2)))
		got, err := topSVD(context.Background(), nil, of(x), k, 1)
		if err != nil {
			t.Fatal(err)
		}
		whole := sumSquares(got.sigma)
		if k >= 5 && math.Abs(whole-dot(x, x)) > 1e-13*whole {
			t.Errorf("top %d of a rank 5 matrix hold %v, want %v", k, whole, dot(x, x))
		}
		if k >= 5 {
			if d := maxDiff(product(nil, of(got.left), of(got.right).t()), x); d > 1e-12 {
				t.Errorf("top %d of a rank 5 matrix are %g off", k, d)
			}
		}
	}
}

func TestTopSVDCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, size := range [][3]int{{30, 30, 5}, {400, 300, 16}, {400, 300, 80}, {400, 300, 299}} {
		if _, err := topSVD(ctx, nil, of(random(size[0], size[1], 1)), size[2], 1); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: error %v, want %v", size, err, context.Canceled)
		}
	}
}

// The number of threads does not change a bit.
func TestTopSVDThreads(t *testing.T) {
	x := random(520, 410, 8)
	for _, k := range []int{12, 100} {
		var want *triples
		for _, threads := range []int{1, 2, 4} {
			got, err := topSVD(context.Background(), kernel.NewPool(threads), of(x), k, 1)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			} else if !mat.Equal(got.left, want.left) || !mat.Equal(got.right, want.right) {
				t.Errorf("top %d: %d threads give other bits than one", k, threads)
			}
		}
	}
}

func BenchmarkTopSVD(b *testing.B) {
	for _, test := range [][2]int{{1024, 16}, {1024, 64}, {1024, 256}, {4096, 16}} {
		x := random(test[0], test[0], 1)
		b.Run(fmt.Sprintf("%d of %d", test[1], test[0]), func(b *testing.B) {
			for b.Loop() {
				if _, err := topSVD(context.Background(), nil, of(x), test[1], 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
