package factorize

import (
	"context"

	"gonum.org/v1/gonum/mat"
)

// LowRankFit holds the optimal products of low rank for a layer: of every rank the closed-form minimum of the damped
// loss, from one decomposition.
type LowRankFit struct {
	f    *Fitter
	u    *mat.Dense // m×R
	v    *mat.Dense // ñ×R; Ŵ of rank r is the first r columns of u times those of v, transposed
	loss []float64  // undamped loss of rank 0, 1, …
}

// LowRank computes the optimal products of rank up to maxTerms. With L = chol(C), Ŵ = (Weff L)_R L⁻¹, where Weff is
// the best weight of full rank and (·)_R the truncated singular value decomposition;
// a weight of output errors works on the other side alike. The fit may hold more than was asked for.
func (f *Fitter) LowRank(ctx context.Context, maxTerms int) (*LowRankFit, error) {
	if f.low != nil && (f.low.MaxTerms() >= maxTerms || f.low.MaxTerms() == min(f.mo.Dims())) {
		return f.low, nil
	}
	l, err := f.factor(ctx)
	if err != nil {
		return nil, err
	}
	white := f.white(l)
	if f.s != nil {
		white = copyOf(of(f.whiten(copyOf(of(white).t()))).t())
	}
	t, err := topSVD(ctx, f.o.Pool, of(white).t(), max(1, maxTerms), f.o.Seed)
	if err != nil {
		return nil, err
	}
	v := mat.DenseCopyOf(t.right)
	l.solveT(f.o.Pool, v)
	u := mat.DenseCopyOf(t.left)
	f.unwhitenRows(u)
	fit := &LowRankFit{f: f, u: u, v: v}
	fit.loss = fit.LossOn(f.mo, f.o.Options)
	f.low = fit
	return fit, nil
}

// MaxTerms returns the highest rank that the fit holds.
func (lr *LowRankFit) MaxTerms() int { return len(lr.loss) - 1 }

// Loss returns the undamped loss of the product of rank terms, at most MaxTerms, on the rows that it was fitted to.
func (lr *LowRankFit) Loss(terms int) float64 {
	return lr.loss[min(max(terms, 0), lr.MaxTerms())]
}

// LossOn returns the losses of the ranks 0, 1, … MaxTerms on other moments of the same size.
func (lr *LowRankFit) LossOn(mo *Moments, o Options) []float64 {
	return lr.lossOn(mo.C, mo.G, mo.Energy, lr.u, o)
}

// Scores returns the FitResult.Score of the ranks 0, 1, … MaxTerms.
func (lr *LowRankFit) Scores() []float64 {
	f := lr.f
	c, g := f.mo.C, f.mo.G
	switch pull := f.mo.pull(); {
	case f.o.Held != nil:
		c, g = f.o.Held.C, f.o.Held.G
	default:
		c = mat.DenseCopyOf(c)
		addScaled(c, f.lambda, identity(c.RawMatrix().Rows))
		if pull != nil {
			g = mat.DenseCopyOf(g)
			addScaled(g, f.lambda, pull)
		}
	}
	return lr.lossOn(c, g, 0, f.timesS(lr.u), f.o.Options)
}

// lossOn returns energy − 2 tr(S Ŵ gᵀ) + tr(S Ŵ c Ŵᵀ) of all ranks, given S u.
func (lr *LowRankFit) lossOn(c, g *mat.Dense, energy float64, su *mat.Dense, o Options) []float64 {
	uu := product(o.Pool, of(su).t(), of(lr.u))
	vcv := product(o.Pool, of(lr.v).t(), of(product(o.Pool, of(c), of(lr.v))))
	ugv := product(o.Pool, of(su).t(), of(product(o.Pool, of(g), of(lr.v))))
	terms := uu.RawMatrix().Rows
	loss := make([]float64, terms+1)
	loss[0] = energy
	for r := range terms {
		square := uu.At(r, r) * vcv.At(r, r)
		for s := range r {
			square += 2 * uu.At(r, s) * vcv.At(r, s)
		}
		loss[r+1] = loss[r] - 2*ugv.At(r, r) + square
	}
	return loss
}

// Terms returns the product of rank terms, at most MaxTerms, as a Kronecker sum of the low-rank shape; nil for 0.
func (lr *LowRankFit) Terms(terms int) *Kronecker {
	terms = min(terms, lr.MaxTerms())
	if terms < 1 {
		return nil
	}
	m, n := lr.u.RawMatrix().Rows, lr.v.RawMatrix().Rows
	k := &Kronecker{Shape: LowRankShape(m, n), Rows: m, Cols: n}
	for r := range terms {
		k.A = append(k.A, mat.NewDense(m, 1, mat.Col(nil, r, lr.u)))
		k.B = append(k.B, mat.NewDense(1, n, mat.Col(nil, r, lr.v)))
	}
	k.balance()
	return k
}
