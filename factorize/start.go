package factorize

import (
	"context"
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// startDamping is added to the diagonals of the factors of C, as a part of their means.
const startDamping = 1e-3

// Start returns a Kronecker sum for Fit to start from: with the nearest C1 ⊗ C2 to the damped C and its Cholesky
// factors L1 and L2, it is the nearest sum to Weff (L1 ⊗ L2), every A multiplied by L1⁻¹ and every B by L2⁻¹. That
// would be the optimum if C were a Kronecker product. A weight of output errors is treated alike. It holds terms terms, at most s.MaxTerms().
func (f *Fitter) Start(ctx context.Context, s Shape, terms int) (*Kronecker, error) {
	weff, err := f.best(ctx)
	if err != nil {
		return nil, err
	}
	return f.startOf(ctx, weff, s, terms)
}

// Beyond returns a sum of k's terms and so many others of its shape: those that Start would give for what k leaves of
// the best weight.
func (f *Fitter) Beyond(ctx context.Context, k *Kronecker, terms int) (*Kronecker, error) {
	weff, err := f.best(ctx)
	if err != nil {
		return nil, err
	}
	rest := mat.DenseCopyOf(weff)
	addScaled(rest, -1, k.dense(f.o.Pool))
	more, err := f.startOf(ctx, rest, k.Shape, terms)
	if err != nil {
		return nil, err
	}
	out := *k
	out.A, out.B = append(slices.Clone(k.A), more.A...), append(slices.Clone(k.B), more.B...)
	return &out, nil
}

// startOf is Start for another weight than the best.
func (f *Fitter) startOf(ctx context.Context, w *mat.Dense, s Shape, terms int) (*Kronecker, error) {
	m, n := f.mo.Dims()
	if err := s.check(m, n); err != nil {
		return nil, err
	}
	in, err := f.inputsFor(ctx, s)
	if err != nil {
		return nil, err
	}
	l1, l2 := in.l1, in.l2
	out, err := f.metricFor(ctx, s)
	if err != nil {
		return nil, err
	}
	re := rearrange(f.o.Pool, out.rows(f.o.Pool, s, w), s) // row (a, i), column (b, j)
	// Over j: rows (a, i, b) times L2. Over i: L1ᵀ times the rows of every a.
	byJ := view{re.RawMatrix().Data, s.M1 * s.N1 * s.M2, s.N2, s.N2, 1}
	white := product(f.o.Pool, byJ, of(l2.l))
	white = mat.NewDense(s.M1*s.N1, s.M2*s.N2, white.RawMatrix().Data)
	for a := range s.M1 {
		rows := of(white).block(a*s.N1, (a+1)*s.N1, 0, s.M2*s.N2)
		mul(f.o.Pool, of(re).block(a*s.N1, (a+1)*s.N1, 0, s.M2*s.N2), of(l1.l).t(), rows, false)
	}
	k := min(max(terms, 1), s.MaxTerms())
	scale := toUnit(re)
	t, err := quickSVD(ctx, f.o.Pool, of(re), k, f.o.Seed)
	if err != nil {
		return nil, err
	}
	t.pad(k)
	sum := (&Decomposition{Shape: s, Rows: m, Cols: n, Sigma: t.sigma, scale: scale, t: t}).Terms(k)
	for r := range sum.A {
		sum.A[r] = f.unwhiten(sum.A[r], l1)
		sum.B[r] = f.unwhiten(sum.B[r], l2)
	}
	out.outOf(f.o.Pool, sum)
	return sum, nil
}

// toUnit divides m by its largest absolute value, which it returns; a zero matrix stays, for 1.
func toUnit(m *mat.Dense) float64 {
	scale := maxAbs(m)
	if scale == 0 {
		return 1
	}
	for i := range m.RawMatrix().Rows {
		row := m.RawRowView(i)
		for j := range row {
			row[j] /= scale
		}
	}
	return scale
}

// unwhiten returns x·l⁻¹.
func (f *Fitter) unwhiten(x *mat.Dense, l *triangle) *mat.Dense {
	y := copyOf(of(x).t())
	l.solveT(f.o.Pool, y)
	return copyOf(of(y).t())
}

// inputsFor returns the Cholesky factors of the nearest Kronecker product to C + λI, but for a factor.
func (f *Fitter) inputsFor(ctx context.Context, s Shape) (*metric, error) {
	key := Shape{N1: s.N1, N2: s.N2}
	if have := f.inputs[key]; have != nil {
		return have, nil
	}
	l1, l2, err := f.kroneckerCholesky(ctx, newCovariance(f.o.Pool, f.mo, s, f.lambda), s.N1, s.N2)
	if err != nil {
		return nil, err
	}
	if f.inputs == nil {
		f.inputs = map[Shape]*metric{}
	}
	f.inputs[key] = &metric{l1, l2}
	return f.inputs[key], nil
}

// kroneckerCholesky returns the Cholesky factors of C1 of size n1 and C2 of size n2, C1 ⊗ C2 nearest to the symmetric
// matrix rearranged in c but for a factor. It overwrites c.
func (f *Fitter) kroneckerCholesky(ctx context.Context, c *mat.Dense, n1, n2 int) (l1, l2 *triangle, err error) {
	toUnit(c)
	t, err := quickSVD(ctx, f.o.Pool, of(c), 1, f.o.Seed)
	if err != nil {
		return nil, nil, err
	}
	c1 := mat.NewDense(n1, n1, mat.Col(nil, 0, t.left))
	c2 := mat.NewDense(n2, n2, mat.Col(nil, 0, t.right))
	if trace(c1) < 0 {
		c1.Scale(-1, c1)
		c2.Scale(-1, c2)
	}
	if l1, err = f.dampedCholesky(ctx, c1); err != nil {
		return nil, nil, err
	}
	l2, err = f.dampedCholesky(ctx, c2)
	return l1, l2, err
}

// dampedCholesky factors c with as much on its diagonal as it takes, from startDamping on.
func (f *Fitter) dampedCholesky(ctx context.Context, c *mat.Dense) (*triangle, error) {
	symmetrise(c)
	n := c.RawMatrix().Rows
	mean := trace(c) / float64(n)
	if !(mean > 0) {
		mean = 1
	}
	for part := startDamping; ; part *= 10 {
		l := mat.DenseCopyOf(c)
		for i := range n {
			l.Set(i, i, l.At(i, i)+part*mean)
		}
		t, err := cholesky(ctx, f.o.Pool, l)
		var singular *notPositive
		if errors.As(err, &singular) && part < math.MaxFloat32 {
			continue
		}
		return t, err
	}
}
