package convert

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// An inputFit fits products of low rank to a tall weight W as W·Z, Z as high as
// the original has inputs and as wide as the compressed model has. With a metric S of the outputs' errors the
// optimum is of that kind: the columns of (S^½ Weff L)_R, times S^-½, are in the
// span of W's, since those of Weff are. So Z is a fit of the identity with the
// metric WᵀSW, which is much smaller than S.
type inputFit struct {
	fitter *factorize.Fitter
	weight *mat.Dense // W
}

// newInputFit is that of weight i at the inputs ch.
func (c *Calibration) newInputFit(ctx context.Context, i int, ch *changed, dense *mat.Dense) (*inputFit, error) {
	mo, err := c.moments(ctx, i, 0, ch, identity(c.found.weights[i].Cols))
	if err != nil {
		return nil, err
	}
	mo.Weight = c.through[i]
	f, err := factorize.NewFitter(ctx, mo, factorize.FitOptions{Options: factorize.Options{Pool: c.pool, Seed: c.seed}})
	if err != nil {
		return nil, err
	}
	return &inputFit{f, dense}, nil
}

// lowRank is the best product of so many terms.
func (f *inputFit) lowRank(ctx context.Context, terms int) (*factorize.Kronecker, error) {
	low, err := f.fitter.LowRank(ctx, terms)
	if err != nil {
		return nil, err
	}
	z := low.Terms(terms)
	m, _ := f.weight.Dims()
	out := &factorize.Kronecker{Shape: factorize.LowRankShape(m, z.Cols), Rows: m, Cols: z.Cols, B: z.B}
	for r, a := range z.A {
		u := mat.NewDense(m, 1, nil)
		u.Mul(f.weight, a)
		// Both factors of a term are of one size.
		if x, y := mat.Norm(u, 2), mat.Norm(z.B[r], 2); x > 0 && y > 0 {
			u.Scale(math.Sqrt(y/x), u)
			z.B[r].Scale(math.Sqrt(x/y), z.B[r])
		}
		out.A = append(out.A, u)
	}
	return out, nil
}

func identity(n int) *mat.Dense {
	out := mat.NewDense(n, n, nil)
	for i := range n {
		out.Set(i, i, 1)
	}
	return out
}

// addThrough adds Wᵀg·gᵀW of all positions of a gradient g to sum, below the
// diagonal, as addOuter does with g·gᵀ, and gives the sum of g².
func addThrough(pool *kernel.Pool, sum **mat.Dense, g *tensor.Tensor, l *match.Layer, w *mat.Dense, stride int) (square float64, err error) {
	m, n := w.Dims()
	if g.Len() == 0 || g.Len()%m != 0 {
		return 0, nil
	}
	if *sum == nil {
		*sum = mat.NewDense(n, n, nil)
	}
	to := (*sum).RawMatrix().Data
	add := func(v []float64, count, along, across int) {
		z := make([]float64, count*n)
		kernel.Gemm64(pool, count, n, m, v, across, along, w.RawMatrix().Data, n, 1, z, n, false)
		multiply(pool, kernel.Gemm64, true, z, z, n, n, to, true)
	}
	if !l.Columns {
		some, err := stridedGradient(g, m, stride)
		if err != nil {
			return 0, err
		}
		count, _ := some.Dims()
		add(some.RawMatrix().Data, count, 1, m)
		for _, v := range some.RawMatrix().Data {
			square += v * v
		}
		return square, nil
	}
	v, err := tensor.Float64s(g)
	if err != nil {
		return 0, err
	}
	s := g.Shape()[g.Rank()-1]
	if l.Conv != nil {
		s = len(v) / m / g.Shape()[0]
	}
	for at := 0; at < len(v); at += m * s {
		add(v[at:at+m*s], s, s, 1)
	}
	for _, x := range v {
		square += x * x
	}
	return square, nil
}

// mixedThrough is WᵀSW for a metric S of mean diagonal 1, with the identity in
// it, from sums of that product of which S's mean diagonal is mean; nil where
// nothing matters.
func mixedThrough(pool *kernel.Pool, s, w *mat.Dense, mean float64) *mat.Dense {
	if !(mean > 0) || math.IsInf(mean, 0) {
		return nil
	}
	mirror(s)
	m, n := w.Dims()
	gram := mat.NewDense(n, n, nil)
	v := w.RawMatrix().Data
	kernel.Gemm64(pool, n, n, m, v, 1, n, v, n, 1, gram.RawMatrix().Data, n, false)
	s.Scale((1-identityShare)/mean, s)
	gram.Scale(identityShare, gram)
	s.Add(s, gram)
	return s
}
