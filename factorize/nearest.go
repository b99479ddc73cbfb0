package factorize

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/kernel"
)

// Options are what all decompositions take. The zero value computes on the caller's goroutine with seed 0.
type Options struct {
	Pool *kernel.Pool // workers for the matrix products; the result does not depend on their number
	Seed uint64       // starts the random numbers of the iterative methods
}

// Decomposition holds the leading terms of the best Kronecker sum of one shape for one matrix. It gives the error of
// every number of terms without building factors, and the factors of any number without another decomposition.
type Decomposition struct {
	Shape
	Rows, Cols int
	Sigma      []float64 // singular values of the rearranged matrix, descending
	norm2      float64   // ‖W‖² in units of scale²
	scale      float64   // the largest |W(i,j)|; the vectors are those of W/scale
	t          *triples
}

// Decompose computes the leading maxTerms terms (at most MaxTerms) of the best approximation of w by a Kronecker
// sum of the given shape: the truncated singular value decomposition of the rearranged matrix. It fails if the shape
// does not hold w, if an element of w is not finite, or when ctx ends.
func Decompose(ctx context.Context, w *mat.Dense, s Shape, maxTerms int, o Options) (*Decomposition, error) {
	m, n := w.Dims()
	if err := s.check(m, n); err != nil {
		return nil, err
	}
	if maxTerms < 1 {
		return nil, fmt.Errorf("%d terms of shape %v: at least 1 is needed", maxTerms, s)
	}
	if err := checkFinite("W", w); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k := min(maxTerms, s.MaxTerms())
	d := &Decomposition{Shape: s, Rows: m, Cols: n, Sigma: make([]float64, k), scale: maxAbs(w)}
	if d.scale == 0 {
		d.t = &triples{make([]float64, k), mat.NewDense(s.M1*s.N1, k, nil), mat.NewDense(s.M2*s.N2, k, nil)}
		return d, nil
	}
	re := rearrange(o.Pool, w, s)
	toUnit(re)
	d.norm2 = dot(re, re)
	var err error
	if d.t, err = topSVD(ctx, o.Pool, of(re), k, o.Seed); err != nil {
		return nil, err
	}
	d.t.pad(k)
	for i, v := range d.t.sigma {
		d.Sigma[i] = v * d.scale
	}
	return d, nil
}

// MaxTerms returns the number of terms that the decomposition holds.
func (d *Decomposition) MaxTerms() int { return len(d.Sigma) }

// Error returns ‖W − Ŵ‖²/‖W‖² for the sum of the first terms terms, and 0 for a zero matrix. For a padded shape it
// is an upper bound: it counts what the uncropped sum holds in the padding.
func (d *Decomposition) Error(terms int) float64 {
	if d.norm2 == 0 {
		return 0
	}
	return max(0, 1-sumSquares(d.t.sigma[:min(max(terms, 0), len(d.t.sigma))])/d.norm2)
}

// Terms returns the sum of the first terms terms, at most MaxTerms of them. ‖A[r]‖ = ‖B[r]‖ for every term, and the
// element of A[r] of largest magnitude is positive. Terms(0) is nil.
func (d *Decomposition) Terms(terms int) *Kronecker {
	terms = min(terms, d.MaxTerms())
	if terms < 1 {
		return nil
	}
	k := &Kronecker{Shape: d.Shape, Rows: d.Rows, Cols: d.Cols}
	root := math.Sqrt(d.scale)
	for r := range terms {
		a, b := make([]float64, d.M1*d.N1), make([]float64, d.M2*d.N2)
		mat.Col(a, r, d.t.left)
		mat.Col(b, r, d.t.right)
		if s := d.t.sigma[r]; s > 0 {
			for i := range a {
				a[i] *= root / math.Sqrt(s)
			}
			for i := range b {
				b[i] *= root * math.Sqrt(s)
			}
		} else {
			clear(b)
		}
		k.A = append(k.A, mat.NewDense(d.M1, d.N1, a))
		k.B = append(k.B, mat.NewDense(d.M2, d.N2, b))
	}
	k.balance()
	return k
}

// balance scales every pair of factors to equal norms and makes the largest element of the left one positive; their
// product stays what it is.
func (k *Kronecker) balance() {
	for r := range k.A {
		a, b := k.A[r], k.B[r]
		na, nb := mat.Norm(a, 2), mat.Norm(b, 2)
		if na == 0 || nb == 0 {
			a.Zero()
			b.Zero()
			continue
		}
		s := math.Sqrt(nb / na)
		if largest(a.RawMatrix().Data) < 0 {
			s = -s
		}
		a.Scale(s, a)
		b.Scale(1/s, b)
	}
}

// largest returns the element of largest magnitude, the first of equals.
func largest(v []float64) float64 {
	best := 0.0
	for _, x := range v {
		if math.Abs(x) > math.Abs(best) {
			best = x
		}
	}
	return best
}

// NearestKronecker returns the sum of the given number of terms (at most MaxTerms) that is nearest to w in the
// Frobenius norm, and ‖W − Ŵ‖²/‖W‖². Errors are those of Decompose.
func NearestKronecker(ctx context.Context, w *mat.Dense, s Shape, terms int, o Options) (*Kronecker, float64, error) {
	d, err := Decompose(ctx, w, s, terms, o)
	if err != nil {
		return nil, 0, err
	}
	k := d.Terms(terms)
	relErr := d.Error(terms)
	if m, n := w.Dims(); s.Pads(m, n) && d.norm2 > 0 {
		diff := k.dense(o.Pool)
		diff.Sub(w, diff)
		diff.Scale(1/d.scale, diff)
		relErr = dot(diff, diff) / d.norm2
	}
	return k, relErr, nil
}
