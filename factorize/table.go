package factorize

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Table is a matrix of which columns are looked up: a layer whose inputs are the unit vectors, so that their covariance
// is diagonal and a fit takes one small system for every factor's column instead of one large one. The fit finds Ŵ
// that minimises
//
//	Σ_v p_v (w_v − ŵ_v)ᵀ S (w_v − ŵ_v)
//
// over the columns w_v of W. Fits in pairs take the identity for S.
type Table struct {
	W       *mat.Dense // m×n
	Weights []float64  // n, p: positive
	Metric  *mat.Dense // m×m, S: symmetric, without negative eigenvalues; nil is the identity
}

// Check returns an error unless all sizes agree, all numbers are finite and the weights positive.
func (t *Table) Check() error {
	m, n := t.W.Dims()
	if len(t.Weights) != n {
		return fmt.Errorf("table: %d weights for %d columns", len(t.Weights), n)
	}
	for v, p := range t.Weights {
		if !(p > 0) || math.IsInf(p, 0) {
			return fmt.Errorf("table: weight %d is %v, want a positive number", v, p)
		}
	}
	if t.Metric != nil {
		if r, c := t.Metric.Dims(); r != m || c != m {
			return fmt.Errorf("table: metric is [%d %d], want [%d %d]", r, c, m, m)
		}
		if err := checkFinite("metric", t.Metric); err != nil {
			return fmt.Errorf("table: %w", err)
		}
	}
	return checkFinite("W", t.W)
}

// Loss returns the loss of a weight of the table's size.
func (t *Table) Loss(w *mat.Dense, o Options) float64 {
	diff := mat.DenseCopyOf(t.W)
	addScaled(diff, -1, w)
	scaled := mat.DenseCopyOf(diff)
	scaleColumns(scaled, t.Weights)
	if t.Metric != nil {
		diff = product(o.Pool, of(t.Metric), of(diff))
	}
	return dot(diff, scaled)
}

// LowRank computes the best product of every rank up to maxTerms: the first r columns of u times the first r rows of
// v. losses[r−1] is the loss of rank r.
func (t *Table) LowRank(ctx context.Context, maxTerms int, o Options) (u, v *mat.Dense, losses []float64, err error) {
	if err := t.Check(); err != nil {
		return nil, nil, nil, err
	}
	roots := make([]float64, len(t.Weights))
	for i, p := range t.Weights {
		roots[i] = math.Sqrt(p)
	}
	white := mat.DenseCopyOf(t.W)
	scaleColumns(white, roots)
	var l *triangle
	if t.Metric != nil {
		if l, err = choleskyOf(ctx, o.Pool, t.Metric); err != nil {
			return nil, nil, nil, err
		}
		white = product(o.Pool, of(l.l).t(), of(white))
	}
	scale := toUnit(white)
	tr, err := topSVD(ctx, o.Pool, of(white), max(1, min(maxTerms, min(t.W.Dims()))), o.Seed)
	if err != nil {
		return nil, nil, nil, err
	}
	u, v = mat.DenseCopyOf(tr.left), copyOf(of(tr.right).t())
	if l != nil {
		l.solveT(o.Pool, u)
	}
	rest := dot(white, white)
	losses = make([]float64, len(tr.sigma))
	for r, s := range tr.sigma {
		rest -= s * s
		losses[r] = max(0, rest) * scale * scale
		for i, w := range roots {
			v.Set(r, i, v.At(r, i)*scale/w)
		}
	}
	return u, v, losses, nil
}

// choleskyOf is the Cholesky factor of s with as much on its diagonal as it takes.
func choleskyOf(ctx context.Context, p *pool, s *mat.Dense) (*triangle, error) {
	n := s.RawMatrix().Rows
	mean := trace(s) / float64(n)
	if !(mean > 0) {
		mean = 1
	}
	for part := 1e-9; ; part *= 10 {
		l := mat.DenseCopyOf(s)
		symmetrise(l)
		for i := range n {
			l.Set(i, i, l.At(i, i)+part*mean)
		}
		t, err := cholesky(ctx, p, l)
		var singular *notPositive
		if errors.As(err, &singular) && part < 1 {
			continue
		}
		return t, err
	}
}

// Fit returns so many terms of a shape without padded rows, at most MaxTerms of it, that are fitted to the table in the given number of
// sweeps. The start is the best sum for the nearest product of weights to p; every sweep solves for all left factors
// and then for all right ones, damped proximally, so that the loss never rises by more than rounding.
func (t *Table) Fit(ctx context.Context, s Shape, terms, sweeps int, o Options) (*Kronecker, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	m, n := t.W.Dims()
	if err := s.check(m, n); err != nil {
		return nil, err
	}
	if s.M1*s.M2 != m {
		return nil, fmt.Errorf("table: shape %v has %d rows, want %d", s, s.M1*s.M2, m)
	}
	k, err := t.start(ctx, s, terms, o)
	if err != nil {
		return nil, err
	}
	p := &tableFit{s, o.Pool, rearrange(o.Pool, t.W, s), t.grid(s)}
	for range sweeps {
		if err := p.half(ctx, k.A, k.B, false); err != nil {
			return nil, err
		}
		if err := p.half(ctx, k.B, k.A, true); err != nil {
			return nil, err
		}
		k.balance()
	}
	return k, nil
}

// grid is the weights as an N1×N2 matrix, 0 in the padding.
func (t *Table) grid(s Shape) *mat.Dense {
	g := mat.NewDense(s.N1, s.N2, nil)
	for v, p := range t.Weights {
		g.Set(v/s.N2, v%s.N2, p)
	}
	return g
}

// start takes the weights as a product of those of v1 and of v2, their sums.
func (t *Table) start(ctx context.Context, s Shape, terms int, o Options) (*Kronecker, error) {
	g := t.grid(s)
	q1, q2 := make([]float64, s.N1), make([]float64, s.N2)
	for i := range q1 {
		for j, p := range g.RawRowView(i) {
			q1[i] += p
			q2[j] += p
		}
	}
	for _, q := range [][]float64{q1, q2} {
		for i := range q {
			q[i] = math.Sqrt(q[i])
		}
	}
	roots := make([]float64, len(t.Weights))
	for v := range roots {
		roots[v] = q1[v/s.N2] * q2[v%s.N2]
	}
	white := mat.DenseCopyOf(t.W)
	scaleColumns(white, roots)
	dec, err := Decompose(ctx, white, s, max(1, terms), o)
	if err != nil {
		return nil, err
	}
	k := dec.Terms(max(1, terms))
	for i := range q1 {
		q1[i] = 1 / q1[i]
	}
	for i := range q2 {
		q2[i] = 1 / q2[i]
	}
	for r := range k.A {
		scaleColumns(k.A[r], q1)
		scaleColumns(k.B[r], q2)
	}
	k.balance()
	return k, nil
}

// tableFit is a fit of one shape in progress.
type tableFit struct {
	Shape
	pool *pool
	re   *mat.Dense // W rearranged: row (a, i), column (b, j)
	grid *mat.Dense // weights, row i, column j
}

// half solves for the factors x, those in fixed staying as they are. mirrored says that x is the right factors. For
// every column i of x it is the system
//
//	P[r,s] = Σ_j p_ij Σ_b F_r[b,j] F_s[b,j]    Q[r,a] = Σ_j p_ij Σ_b W[(a,b),(i,j)] F_r[b,j]    X_r[a,i] = (P⁻¹Q)[r,a]
func (f *tableFit) half(ctx context.Context, x, fixed []*mat.Dense, mirrored bool) error {
	re, grid, rowsX, colsX, rowsF, colsF := of(f.re), of(f.grid), f.M1, f.N1, f.M2, f.N2
	if mirrored {
		re, grid, rowsX, colsX, rowsF, colsF = re.t(), grid.t(), f.M2, f.N2, f.M1, f.N1
	}
	terms := len(x)
	// grams: row j, column (r, s).
	grams := mat.NewDense(colsF, terms*terms, nil)
	for r := range terms {
		for s := range r + 1 {
			for b := range rowsF {
				fr, fs := fixed[r].RawRowView(b), fixed[s].RawRowView(b)
				for j := range fr {
					grams.Set(j, r*terms+s, grams.At(j, r*terms+s)+fr[j]*fs[j])
				}
			}
		}
	}
	systems := product(f.pool, grid, of(grams)) // row i
	stacked := stack(fixed)
	failed := make([]error, colsX)
	f.pool.For(colsX, 1, func(lo, hi int) {
		weighted := mat.NewDense(terms, rowsF*colsF, nil)
		for i := lo; i < hi; i++ {
			for r := range terms {
				to := weighted.RawRowView(r)
				for k, v := range stacked.RawRowView(r) {
					to[k] = v * grid.data[i*grid.rs+k%colsF*grid.cs]
				}
			}
			// Rows (a, i) of this i for all a.
			wi := view{re.data[i*re.rs:], rowsX, re.cols, re.rs * colsX, re.cs}
			q := product(nil, of(weighted), wi.t())
			failed[i] = solveColumn(ctx, x, i, systems.RawRowView(i), q)
		}
	})
	return errors.Join(failed...)
}

// solveColumn sets column i of every x to the solution of one system, whose lower triangle is given, with right-hand
// sides q[r, a].
func solveColumn(ctx context.Context, x []*mat.Dense, i int, system []float64, q *mat.Dense) error {
	terms := len(x)
	for part := proximal; ; part *= 10 {
		p := mat.NewDense(terms, terms, append([]float64(nil), system...))
		mean := trace(p) / float64(terms)
		if !(mean > 0) {
			return nil // nothing depends on this column
		}
		delta := part * mean
		rhs := mat.DenseCopyOf(q)
		for r := range terms {
			p.Set(r, r, p.At(r, r)+delta)
			for a, row := 0, rhs.RawRowView(r); a < len(row); a++ {
				row[a] += delta * x[r].At(a, i)
			}
		}
		l, err := cholesky(ctx, nil, p)
		var singular *notPositive
		if errors.As(err, &singular) && part < 1 {
			continue
		}
		if err != nil {
			return err
		}
		l.solve(nil, rhs)
		l.solveT(nil, rhs)
		for r := range terms {
			for a, v := range rhs.RawRowView(r) {
				x[r].Set(a, i, v)
			}
		}
		return nil
	}
}
