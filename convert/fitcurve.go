package convert

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"

	"bilinc/factorize"
	"bilinc/runtime/kernel"
)

// fittedTerms are the numbers of terms whose loss is fitted for a curve; what
// lies between is interpolated, and what is beyond extrapolated. fittedPairs is
// how many of them where pairs are one choice among others.
var fittedTerms = []int{1, 3, 8, 24, 64}

const fittedPairs = 4

// curveWork bounds the fit of one point of a curve, in multiplications.
const curveWork = 2e11

// fitCurve is the curve of weight i on calibration data: the error of a point
// is what its output error, at the original's inputs, moves the model's
// outputs to second order.
func (c *Calibration) fitCurve(ctx context.Context, i int, o *Options, limit int) (*curve, error) {
	w := c.found.weights[i]
	if isTable(w) {
		return c.tableCurve(ctx, i, o, limit)
	}
	s := c.ready(i, "")
	if s == nil {
		var err error
		if s, err = c.prepare(ctx, i, "", nil); err != nil {
			return nil, err
		}
	}
	l := newLoss(c.pool, s.mo, c.weights[i])
	out := &curve{weight: w, scale: 1}
	if o.NumTerms > 0 {
		return out, c.onePoint(ctx, out, s, l, o)
	}
	low, balanced := lowRankForm(w), balancedForm(w)
	if o.structure() == LowRank || o.structure() == Auto {
		points, err := c.lowRankPoints(ctx, i, s, l, limit)
		if err != nil {
			return nil, err
		}
		out.points = append(out.points, points...)
	}
	if o.structure() != LowRank && balanced != low {
		points, err := c.termPoints(ctx, i, s, l, balanced, o, limit)
		if err != nil {
			return nil, err
		}
		out.points = append(out.points, points...)
	}
	if o.structure() != Bilinear || len(out.points) == 0 {
		out.points = append(out.points, point{params: w.Params()})
	}
	return out, nil
}

// onePoint is for a number of terms that the options give. Under Auto that is
// one of pairs and, where it is hardly larger, one of low rank: trials choose.
func (c *Calibration) onePoint(ctx context.Context, out *curve, s *stage, l *loss, o *Options) error {
	w := out.weight
	low, pairs := lowRankForm(w), balancedForm(w)
	shapes := []form{pairs}
	switch {
	case o.structure() == LowRank:
		shapes[0] = low
	case o.structure() == Auto && low != pairs && float64(low.Params(1)) <= balancedSlack*float64(pairs.Params(1)):
		shapes = append(shapes, low)
	}
	for _, shape := range shapes {
		terms := min(o.NumTerms, shape.MaxTerms())
		k, err := s.fitFactors(ctx, shape, terms)
		if err != nil {
			return err
		}
		out.points = append(out.points, point{shape: shape.Shape, kernel: shape.kernel, terms: terms,
			params: shape.Params(terms) + extraParams(w, shape.IsLowRank()), err: l.of(denseOf(w, k, shape.kernel))})
	}
	return nil
}

// lowRankPoints is the points of all ranks that limit parameters allow.
func (c *Calibration) lowRankPoints(ctx context.Context, i int, s *stage, l *loss, limit int) ([]point, error) {
	w := c.found.weights[i]
	shape, extra := factorize.LowRankShape(w.Rows, w.Cols), extraParams(w, true)
	top := shape.TermsWithin(min(w.Params(), max(limit, shape.Params(1))))
	for top > 0 && !fits(w, shape, top) {
		top--
	}
	if top == 0 {
		return nil, nil
	}
	fitter := s.fitter
	if s.inputs != nil {
		fitter, l = s.inputs.fitter, newLoss(c.pool, s.inputs.fitter.Moments(), c.weights[i])
	}
	low, err := fitter.LowRank(ctx, top)
	if err != nil {
		return nil, err
	}
	u, v := low.Terms(top).LowRank()
	var out []point
	for r, e := range l.ranks(u, v) {
		out = append(out, point{shape: shape, terms: r + 1, params: shape.Params(r+1) + extra, err: e})
	}
	return out, nil
}

// termPoints is the points of a shape of pairs.
func (c *Calibration) termPoints(ctx context.Context, i int, s *stage, l *loss, shape form, o *Options, limit int) ([]point, error) {
	w := c.found.weights[i]
	extra := extraParams(w, false)
	top := shape.TermsWithin(min(w.Params(), max(limit, shape.Params(1))))
	if o.structure() == Bilinear {
		top = min(top, 1)
	}
	for top > 0 && !fits(w, shape.Shape, top) {
		top--
	}
	var out []point
	wanted := fittedTerms
	if o.structure() == Auto {
		wanted = wanted[:fittedPairs]
	}
	for _, r := range wanted {
		if r > top || r > fittedTerms[1] && shape.FitCost(r, w.Rows, w.Cols, trialSweeps) > curveWork {
			break
		}
		k, err := s.fitFactors(ctx, shape, r)
		if err != nil {
			return nil, err
		}
		e := l.of(denseOf(w, k, shape.kernel))
		for len(out) > 0 && len(out) < r-1 {
			last, n := out[len(out)-1], float64(r-len(out))
			out = append(out, point{shape: shape.Shape, kernel: shape.kernel, terms: len(out) + 1, params: shape.Params(len(out)+1) + extra, err: last.err + (e-last.err)/n})
		}
		out = append(out, point{shape: shape.Shape, kernel: shape.kernel, terms: r, params: shape.Params(r) + extra, err: e})
	}
	decay := powerDecay(out)
	for r := len(out) + 1; r <= top && len(out) > 0; r++ {
		out = append(out, point{shape: shape.Shape, kernel: shape.kernel, terms: r, params: shape.Params(r) + extra, err: decay(r)})
	}
	return out, nil
}

// powerDecay is a guess of the errors of more terms than the points have: the
// power of the number that the last two thirds of them fall with. One point
// tells of none.
func powerDecay(points []point) func(terms int) float64 {
	n := len(points)
	if n < 3 {
		return func(int) float64 { return points[n-1].err }
	}
	last, before := points[n-1], points[(n+2)/3-1]
	if !(last.err > 0 && before.err > last.err) {
		return func(int) float64 { return last.err }
	}
	power := math.Log(before.err/last.err) / math.Log(float64(last.terms)/float64(before.terms))
	return func(terms int) float64 { return last.err * math.Pow(float64(terms)/float64(last.terms), -power) }
}

// A loss measures weights of one layer: weight·tr(S·E[e eᵀ]) for the error e
// of the layer's output and the metric S.
type loss struct {
	pool   *kernel.Pool
	mo     *factorize.Moments
	scale  float64
	metric *mat.Dense // nil: the identity
	energy float64
	sg     *mat.Dense // S·G
}

// newLoss measures by the metric of mo's output errors. Where there is none,
// the loss is relative to the variance of the outputs.
func newLoss(pool *kernel.Pool, mo *factorize.Moments, weight float64) *loss {
	l := &loss{pool: pool, mo: mo, metric: mo.Weight, scale: weight, sg: mo.G, energy: mo.Energy}
	if l.metric == nil {
		if l.scale > 0 { // the errors of all outputs count alike, and so much
			return l
		}
		l.scale = 1
		if mo.Energy > 0 {
			l.scale = 1 / mo.Energy
		}
		return l
	}
	// With x̃ = x, E[y yᵀ] = G·Wᵀ.
	l.sg = l.mul(l.metric, mo.G)
	l.energy = inner(l.sg, mo.W)
	return l
}

func (l *loss) mul(a, b *mat.Dense) *mat.Dense {
	m, k := a.Dims()
	_, n := b.Dims()
	out := mat.NewDense(m, n, nil)
	ra, rb := a.RawMatrix(), b.RawMatrix()
	kernel.Gemm64(l.pool, m, n, k, ra.Data, ra.Stride, 1, rb.Data, rb.Stride, 1, out.RawMatrix().Data, n, false)
	return out
}

// transposed is aᵀ as a matrix of its own.
func transposed(a *mat.Dense) *mat.Dense { return mat.DenseCopyOf(a.T()) }

func inner(a, b *mat.Dense) float64 {
	rows, _ := a.Dims()
	sum := 0.0
	for i := range rows {
		rb := b.RawRowView(i)
		for j, v := range a.RawRowView(i) {
			sum += v * rb[j]
		}
	}
	return sum
}

// of is the loss of a weight.
func (l *loss) of(w *mat.Dense) float64 {
	wc := l.mul(w, l.mo.C)
	if l.metric != nil {
		wc = l.mul(l.metric, wc)
	}
	return l.scale * max(0, l.energy-2*inner(l.sg, w)+inner(wc, w))
}

// ranks is the losses of the first r columns of u times the first r rows of v,
// r = 1, 2, ….
func (l *loss) ranks(u, v *mat.Dense) []float64 {
	vt := transposed(v)
	su := u
	if l.metric != nil {
		su = l.mul(l.metric, u)
	}
	usu, vcv := l.mul(transposed(u), su), l.mul(v, l.mul(l.mo.C, vt))
	ugv := l.mul(transposed(u), l.mul(l.sg, vt))
	n, _ := v.Dims()
	out := make([]float64, n)
	at := l.energy
	for r := range n {
		at += usu.At(r, r)*vcv.At(r, r) - 2*ugv.At(r, r)
		for s := range r {
			at += 2 * usu.At(r, s) * vcv.At(r, s)
		}
		out[r] = l.scale * max(0, at)
	}
	return out
}
