package factorize

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// weightDamping is added to the diagonal of a weight of output errors, as a part of its mean: outputs that hardly
// matter to the next layer may still matter to those beyond it.
const weightDamping = 0.05

const (
	// truncateFrom is the number of outputs from which on a weight of their errors is taken without its tail.
	truncateFrom = 512
	// weightRank is the rank of what is kept of it.
	weightRank = 64
)

// truncated is αI + U Uᵀ, α > 0, with orthogonal columns in U: the leading eigenvectors of a weight of output errors, and
// the mean of what is left of its trace in all other directions.
type truncated struct {
	alpha float64
	u     *mat.Dense // m×weightRank
}

// A Weighting is what fitters make of a weight of output errors. The zero value is one of which nothing is made yet.
type Weighting struct {
	of      *mat.Dense      // what all of it belongs to
	s       *mat.Dense      // damped; nil for none
	ls      *triangle       // its Cholesky factor
	trunc   *truncated      // s without its tail; nil where m is small
	metrics map[int]*metric // by M1
}

// PropagateWeight returns the m×m weight of a layer's output errors (Moments.Weight) for an activation and a layer
// after it: next is that layer's k×m weight, nextWeight the k×k weight of its own output errors or nil for the
// identity, and slopes the m×m average of d·dᵀ over the rows, d the activation's derivatives; nil for no activation.
// To first order the errors e of this layer's output then cost what they do to the next layer's,
// E‖next·(d∘e)‖² = tr(S E[e eᵀ]) with S = (nextᵀ·nextWeight·next) ∘ slopes.
func PropagateWeight(next, nextWeight, slopes *mat.Dense, o Options) (*mat.Dense, error) {
	k, m := next.Dims()
	through := next
	if nextWeight != nil {
		if r, c := nextWeight.Dims(); r != k || c != k {
			return nil, fmt.Errorf("weight of the next layer's errors is [%d %d], want [%d %d]", r, c, k, k)
		}
		through = product(o.Pool, of(nextWeight), of(next))
	}
	s := product(o.Pool, of(next).t(), of(through))
	if slopes != nil {
		if r, c := slopes.Dims(); r != m || c != m {
			return nil, fmt.Errorf("slopes are [%d %d], want [%d %d]", r, c, m, m)
		}
		s.MulElem(s, slopes)
	}
	return s, checkFinite("weight of output errors", s)
}

// prepareWeight damps and factors the weight of output errors, if there is one.
func (f *Fitter) prepareWeight(ctx context.Context) error {
	f.Weighting = f.o.Weighting
	switch {
	case f.Weighting != nil && f.s != nil && f.of == f.mo.Weight:
		return nil
	case f.Weighting == nil || f.of != nil:
		f.Weighting = &Weighting{}
	}
	if f.mo.Weight == nil {
		return nil
	}
	f.of = f.mo.Weight
	s := mat.DenseCopyOf(f.mo.Weight)
	symmetrise(s)
	m := s.RawMatrix().Rows
	damping := weightDamping * trace(s) / float64(m)
	if !(damping > 0) { // no error matters: then all matter alike
		s.Zero()
		damping = 1
	}
	for i := range m {
		s.Set(i, i, s.At(i, i)+damping)
	}
	var err error
	if m >= truncateFrom {
		if f.trunc, err = truncate(ctx, f.o, s); err != nil {
			return err
		}
		s = product(f.o.Pool, of(f.trunc.u), of(f.trunc.u).t())
		for i := range m {
			s.Set(i, i, s.At(i, i)+f.trunc.alpha)
		}
	}
	f.s = mat.DenseCopyOf(s)
	if f.trunc == nil {
		_, err = f.weightTriangle(ctx)
	}
	return err
}

// weightTriangle returns the Cholesky factor of the damped weight.
func (f *Fitter) weightTriangle(ctx context.Context) (*triangle, error) {
	if f.ls == nil {
		ls, err := cholesky(ctx, f.o.Pool, mat.DenseCopyOf(f.s))
		if err != nil {
			return nil, fmt.Errorf("weight of output errors: %w", err)
		}
		f.ls = ls
	}
	return f.ls, nil
}

// whiten returns T x with TᵀT = S, and unwhitenRows replaces x by T⁻¹x.
func (f *Fitter) whiten(x *mat.Dense) *mat.Dense {
	switch {
	case f.s == nil:
		return x
	case f.trunc == nil:
		return product(f.o.Pool, of(f.ls.l).t(), of(x))
	}
	return f.trunc.power(f.o.Pool, 0.5, x)
}

func (f *Fitter) unwhitenRows(x *mat.Dense) {
	switch {
	case f.s == nil:
	case f.trunc == nil:
		f.ls.solveT(f.o.Pool, x)
	default:
		x.Copy(f.trunc.power(f.o.Pool, -0.5, x))
	}
}

// power returns (αI + U Uᵀ)^e x: a column u of U is an eigenvector of value α + ‖u‖².
func (t *truncated) power(p *pool, e float64, x *mat.Dense) *mat.Dense {
	rest := math.Pow(t.alpha, e)
	scaled := mat.DenseCopyOf(t.u)
	factors := columnNorms(t.u)
	for i, norm := range factors {
		factors[i] = 0
		if square := norm * norm; square > 0 {
			factors[i] = (math.Pow(t.alpha+square, e) - rest) / square
		}
	}
	scaleColumns(scaled, factors)
	out := product(p, of(scaled), of(product(p, of(t.u).t(), of(x))))
	addScaled(out, rest, x)
	return out
}

// truncate finds the truncation of a damped weight.
func truncate(ctx context.Context, o FitOptions, s *mat.Dense) (*truncated, error) {
	t, err := quickSVD(ctx, o.Pool, of(s), weightRank, o.Seed)
	if err != nil {
		return nil, err
	}
	m, u := s.RawMatrix().Rows, t.right
	values := make([]float64, len(t.sigma)) // uᵀ S u, which in all are no more than the trace
	for i, row := range product(o.Pool, of(s), of(u)).RawMatrix().Data {
		k := len(values)
		values[i%k] += row * u.At(i/k, i%k)
	}
	alpha := (trace(s) - sum(values)) / float64(m-len(values))
	for i, v := range values {
		values[i] = math.Sqrt(max(0, v-alpha))
	}
	u = mat.DenseCopyOf(u)
	scaleColumns(u, values)
	return &truncated{alpha, u}, nil
}

// timesS returns S x for the damped weight of output errors, x itself without one.
func (f *Fitter) timesS(x *mat.Dense) *mat.Dense {
	switch {
	case f.s == nil:
		return x
	case f.trunc == nil:
		return product(f.o.Pool, of(f.s), of(x))
	}
	out := product(f.o.Pool, of(f.trunc.u), of(product(f.o.Pool, of(f.trunc.u).t(), of(x))))
	addScaled(out, f.trunc.alpha, x)
	return out
}

// weightedLoss returns tr(S Ŵ C Ŵᵀ) − 2 tr(S G Ŵᵀ) of moments, undamped.
func (f *Fitter) weightedLoss(mo *Moments, k *Kronecker) float64 {
	g := timesC(f.o.Pool, k, mo)
	addScaled(g, -2, mo.G)
	return dot(g, f.timesS(k.dense(f.o.Pool)))
}

// metric is a weight of output errors as (l1 l1ᵀ) ⊗ (l2 l2ᵀ) for the rows of the left and of the right factors: with
// it, fitting (l1 ⊗ l2)ᵀŴ = Σ l1ᵀA_r ⊗ l2ᵀB_r is an unweighted fit. A nil metric is the identity.
type metric struct{ l1, l2 *triangle }

// metricFor returns the weight's nearest Kronecker product in a shape. It is exact where one of the left and right
// factors has one row. Padded rows have no weight to speak of, so those shapes are fitted without.
func (f *Fitter) metricFor(ctx context.Context, s Shape) (*metric, error) {
	m, _ := f.mo.Dims()
	if f.s == nil || s.M1*s.M2 != m {
		return nil, nil
	}
	if have := f.metrics[s.M1]; have != nil {
		return have, nil
	}
	mt := &metric{unit(1), unit(1)}
	var err error
	switch {
	case s.M1 == 1:
		if mt.l2, err = f.weightTriangle(ctx); err != nil {
			return nil, err
		}
	case s.M2 == 1:
		if mt.l1, err = f.weightTriangle(ctx); err != nil {
			return nil, err
		}
	default:
		blocks := Shape{s.M1, s.M1, s.M2, s.M2}
		if mt.l1, mt.l2, err = f.kroneckerCholesky(ctx, rearrange(f.o.Pool, f.s, blocks), s.M1, s.M2); err != nil {
			return nil, err
		}
	}
	if f.metrics == nil {
		f.metrics = map[int]*metric{}
	}
	f.metrics[s.M1] = mt
	return mt, nil
}

// rows returns (l1 ⊗ l2)ᵀ·x for an x of M1·M2 rows.
func (mt *metric) rows(p *pool, s Shape, x *mat.Dense) *mat.Dense {
	if mt == nil || x == nil {
		return x
	}
	n := x.RawMatrix().Cols
	wide := view{rowsOf(x), s.M1, s.M2 * n, s.M2 * n, 1}
	t := mat.NewDense(s.M1*s.M2, n, product(p, of(mt.l1.l).t(), wide).RawMatrix().Data)
	out := mat.NewDense(s.M1*s.M2, n, nil)
	for a := range s.M1 {
		mul(p, of(out).block(a*s.M2, (a+1)*s.M2, 0, n), of(mt.l2.l).t(), of(t).block(a*s.M2, (a+1)*s.M2, 0, n), false)
	}
	return out
}

// moments returns what a fit of (l1 ⊗ l2)ᵀŴ sees. Energies are not carried over.
func (mt *metric) moments(p *pool, s Shape, mo *Moments) *Moments {
	if mt == nil || mo == nil {
		return mo
	}
	return &Moments{C: mo.C, G: mt.rows(p, s, mo.G), Mean: mo.Mean, OutMean: mo.OutMean, W: mt.rows(p, s, mo.pull()), Rows: mo.Rows}
}

// into replaces the factors of k by l1ᵀA and l2ᵀB, on memory of their own.
func (mt *metric) into(p *pool, k *Kronecker) *Kronecker {
	if mt == nil {
		return k
	}
	out := &Kronecker{Shape: k.Shape, Rows: k.Rows, Cols: k.Cols}
	for r := range k.A {
		out.A = append(out.A, product(p, of(mt.l1.l).t(), of(k.A[r])))
		out.B = append(out.B, product(p, of(mt.l2.l).t(), of(k.B[r])))
	}
	return out
}

// outOf undoes into, in place, and balances the factors.
func (mt *metric) outOf(p *pool, k *Kronecker) {
	if mt != nil {
		for r := range k.A {
			mt.l1.solveT(p, k.A[r])
			mt.l2.solveT(p, k.B[r])
		}
	}
	k.balance()
}
