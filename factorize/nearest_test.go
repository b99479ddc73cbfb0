package factorize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/kernel"
)

// sumOfTerms returns a true Kronecker sum of random factors.
func sumOfTerms(s Shape, terms, rows, cols int, seed uint64) *Kronecker {
	k := &Kronecker{Shape: s, Rows: rows, Cols: cols}
	for r := range terms {
		k.A = append(k.A, random(s.M1, s.N1, seed+uint64(2*r)))
		k.B = append(k.B, random(s.M2, s.N2, seed+uint64(2*r+1)))
	}
	return k
}

// plainDense writes the definition of the Kronecker product out.
func plainDense(k *Kronecker) *mat.Dense {
	out := mat.NewDense(k.Rows, k.Cols, nil)
	for r := range k.A {
		for i := range k.Rows {
			for j := range k.Cols {
				out.Set(i, j, out.At(i, j)+k.A[r].At(i/k.M2, j/k.N2)*k.B[r].At(i%k.M2, j%k.N2))
			}
		}
	}
	return out
}

var bases = []struct {
	s          Shape
	rows, cols int
}{
	{Shape{4, 3, 5, 2}, 20, 6},
	{Shape{8, 8, 8, 8}, 64, 64},
	{LowRankShape(30, 20), 30, 20},
	{Shape{1, 20, 30, 1}, 30, 20},
	{Shape{3, 4, 4, 5}, 10, 17}, // padded in both
	{Shape{1, 4, 1, 8}, 1, 32},
	{Shape{4, 1, 8, 1}, 32, 1},
	{Shape{1, 1, 1, 1}, 1, 1},
	{Shape{1, 1, 6, 7}, 6, 7},
	{Shape{20, 16, 16, 16}, 320, 256},
}

func TestDenseAndMul(t *testing.T) {
	for _, b := range bases {
		k := sumOfTerms(b.s, 3, b.rows, b.cols, 1)
		want := plainDense(k)
		if d := maxDiff(k.Dense(), want); d > 1e-14 {
			t.Errorf("%v: Dense is %g off", b.s, d)
		}
		x := random(4, b.cols, 9)
		y, err := k.Mul(x)
		if err != nil {
			t.Fatal(err)
		}
		if d := maxDiff(y, product(nil, of(x), of(want).t())); d > 1e-13 {
			t.Errorf("%v: Mul is %g off", b.s, d)
		}
		if u, v := k.LowRank(); (u != nil) != k.IsLowRank() {
			t.Errorf("%v: LowRank gives %v", b.s, u)
		} else if u != nil && maxDiff(product(nil, of(u), of(v)), want) > 1e-14 {
			t.Errorf("%v: U·V differs from the sum", b.s)
		}
	}
	k := sumOfTerms(Shape{2, 2, 2, 2}, 1, 4, 4, 1)
	if _, err := k.Mul(random(3, 5, 1)); err == nil {
		t.Error("Mul of 5 columns by a 4-column sum: no error")
	}
	k.B = append(k.B, k.B[0])
	if _, err := k.Mul(random(3, 4, 1)); err == nil {
		t.Error("Mul with more right factors than left ones: no error")
	}
}

func TestRearrange(t *testing.T) {
	w := mat.NewDense(4, 4, []float64{
		1, 2, 3, 4,
		5, 6, 7, 8,
		9, 10, 11, 12,
		13, 14, 15, 16,
	})
	want := mat.NewDense(4, 4, []float64{
		1, 2, 5, 6,
		3, 4, 7, 8,
		9, 10, 13, 14,
		11, 12, 15, 16,
	})
	if got := rearrange(nil, w, Shape{2, 2, 2, 2}); !mat.Equal(got, want) {
		t.Errorf("rearranged:\n%v", mat.Formatted(got))
	}
	for _, b := range bases {
		w := random(b.rows, b.cols, 2)
		if got := unrearrange(nil, rearrange(nil, w, b.s), b.s, b.rows, b.cols); !mat.Equal(got, w) {
			t.Errorf("%v of [%d %d]: the inverse gives another matrix", b.s, b.rows, b.cols)
		}
	}
}

func TestExactRecovery(t *testing.T) {
	for _, b := range bases {
		terms := min(3, b.s.MaxTerms())
		w := sumOfTerms(b.s, terms, b.rows, b.cols, 4).Dense()
		if b.s.Pads(b.rows, b.cols) {
			continue // cropping leaves a sum of more terms
		}
		k, relErr, err := NearestKronecker(context.Background(), w, b.s, terms, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d := maxDiff(plainDense(k), w); d > 1e-10 || relErr > 1e-13 {
			t.Errorf("%v: a true sum of %d terms is found with a difference of %g, relative error %g", b.s, terms, d, relErr)
		}
	}
}

// At MaxTerms any matrix comes out again, padded or not, and from a large matrix too.
func TestFullTerms(t *testing.T) {
	for _, b := range bases {
		w := random(b.rows, b.cols, 5)
		k, relErr, err := NearestKronecker(context.Background(), w, b.s, 1<<30, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d := maxDiff(plainDense(k), w); d > 1e-12 || relErr > 1e-14 || k.Terms() != b.s.MaxTerms() {
			t.Errorf("%v: all %d terms differ by %g, relative error %g", b.s, k.Terms(), d, relErr)
		}
	}
}

// The error of every number of terms is the tail of gonum's singular values, and what the factors really leave.
func TestErrorIsSingularTail(t *testing.T) {
	for _, b := range bases {
		w := random(b.rows, b.cols, 6)
		d, err := Decompose(context.Background(), w, b.s, b.s.MaxTerms(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var svd mat.SVD
		svd.Factorize(rearrange(nil, w, b.s), mat.SVDNone)
		sigma := svd.Values(nil)
		whole := sumSquares(sigma)
		for r := 0; r <= d.MaxTerms(); r++ {
			tail := sumSquares(sigma[r:]) / whole
			if math.Abs(d.Error(r)-tail) > 1e-13 {
				t.Errorf("%v: Error(%d) = %v, want the tail %v", b.s, r, d.Error(r), tail)
			}
			if r == 0 || r > 3 && r < d.MaxTerms() {
				continue
			}
			diff := plainDense(d.Terms(r))
			diff.Sub(w, diff)
			got := dot(diff, diff) / dot(w, w)
			if pads := b.s.Pads(b.rows, b.cols); !pads && math.Abs(got-tail) > 1e-13 || pads && got > tail+1e-13 {
				t.Errorf("%v: %d terms leave %v, Error says %v", b.s, r, got, tail)
			}
		}
	}
}

func TestLowRankCornerIsTruncatedSVD(t *testing.T) {
	w := random(40, 25, 7)
	k, _, err := NearestKronecker(context.Background(), w, LowRankShape(40, 25), 6, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var svd mat.SVD
	svd.Factorize(w, mat.SVDThin)
	var u, v, us, want mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	us.Mul(cols(&u, 6), mat.NewDiagDense(6, svd.Values(nil)[:6]))
	want.Mul(&us, cols(&v, 6).T())
	if d := maxDiff(k.Dense(), &want); d > 1e-12 {
		t.Errorf("the low-rank corner differs from the truncated SVD by %g", d)
	}
}

func TestTermsAreBalanced(t *testing.T) {
	k, _, err := NearestKronecker(context.Background(), random(60, 30, 8), Shape{6, 5, 10, 6}, 12, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for r := range k.A {
		na, nb := mat.Norm(k.A[r], 2), mat.Norm(k.B[r], 2)
		if math.Abs(na-nb) > 1e-13*na || largest(k.A[r].RawMatrix().Data) <= 0 {
			t.Errorf("term %d: ‖A‖ = %v, ‖B‖ = %v, largest element of A %v", r, na, nb, largest(k.A[r].RawMatrix().Data))
		}
	}
}

func TestZeroMatrix(t *testing.T) {
	k, relErr, err := NearestKronecker(context.Background(), mat.NewDense(12, 10, nil), Shape{3, 5, 4, 2}, 4, Options{})
	if err != nil || relErr != 0 || k.Terms() != 4 || maxAbs(k.Dense()) != 0 {
		t.Errorf("zero matrix: %v terms, relative error %v, error %v", k.Terms(), relErr, err)
	}
}

// Elements near the ends of the exponent range neither overflow nor vanish in the squares.
func TestExtremeScale(t *testing.T) {
	for _, scale := range []float64{1e-300, 1e300} {
		w := random(24, 20, 9)
		want, relErr, err := NearestKronecker(context.Background(), w, Shape{4, 5, 6, 4}, 5, Options{})
		if err != nil {
			t.Fatal(err)
		}
		w.Scale(scale, w)
		got, scaledErr, err := NearestKronecker(context.Background(), w, Shape{4, 5, 6, 4}, 5, Options{})
		if err != nil {
			t.Fatal(err)
		}
		back := got.Dense()
		back.Scale(1/scale, back)
		if d := maxDiff(back, want.Dense()); d > 1e-12 || math.Abs(relErr-scaledErr) > 1e-12 {
			t.Errorf("scaled by %g: %g off, relative error %v, want %v", scale, d, scaledErr, relErr)
		}
	}
}

func TestDecomposeRefuses(t *testing.T) {
	ctx := context.Background()
	bad := func(v float64) *mat.Dense {
		w := random(12, 10, 1)
		w.Set(7, 3, v)
		return w
	}
	for _, test := range []struct {
		w    *mat.Dense
		s    Shape
		k    int
		want string
	}{
		{bad(math.NaN()), Shape{3, 5, 4, 2}, 2, "W[12 10]: element (7, 3) is NaN"},
		{bad(math.Inf(-1)), Shape{3, 5, 4, 2}, 2, "W[12 10]: element (7, 3) is -Inf"},
		{bad(1), Shape{3, 5, 3, 2}, 2, "holds at most [9 10], the matrix is [12 10]"},
		{bad(1), Shape{3, 5, 4, 0}, 2, "at least 1"},
		{bad(1), Shape{24, 5, 1, 2}, 2, "larger than the matrix"},
		{bad(1), Shape{5, 5, 3, 2}, 2, "nothing but padding"},
		{bad(1), Shape{3, 5, 4, 2}, 0, "0 terms"},
	} {
		_, _, err := NearestKronecker(ctx, test.w, test.s, test.k, Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v, want one with %q", test.s, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Decompose(ctx, bad(1), Shape{3, 5, 4, 2}, 2, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

func TestNearestDeterministic(t *testing.T) {
	w := random(320, 256, 3)
	for _, terms := range []int{8, 60, 200} {
		var want *mat.Dense
		for _, threads := range []int{1, 2, 4} {
			k, _, err := NearestKronecker(context.Background(), w, Shape{20, 16, 16, 16}, terms, Options{Pool: kernel.NewPool(threads), Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			got := k.Dense()
			if want == nil {
				want = got
			} else if !mat.Equal(got, want) {
				t.Errorf("%d terms: %d threads give other bits than one", terms, threads)
			}
		}
	}
}

func BenchmarkDecompose(b *testing.B) {
	for _, test := range [][2]int{{32, 16}, {64, 16}} {
		side := test[0]
		w := random(side*side, side*side, 1)
		b.Run(fmt.Sprintf("%d terms of %d", test[1], side*side), func(b *testing.B) {
			for b.Loop() {
				if _, err := Decompose(context.Background(), w, Shape{side, side, side, side}, test[1], Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
