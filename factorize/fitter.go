package factorize

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// FitOptions are what the fits to data take. The zero value is a good one.
type FitOptions struct {
	Options
	// Damping is the λ of C + λI in the units of C; 0 means Moments.Damping of the moments.
	Damping float64
	// Held are the moments of rows that the fit does not see. With them, Fit returns the sweep that is best there,
	// and Search ranks by them.
	Held *Moments
	// Sweeps bounds the sweeps of Fit; 0 means defaultSweeps.
	Sweeps int
	// Unjudged leaves the losses of FitResult open: they take as much work as a sweep.
	Unjudged bool
	// Progress, if set, is called after every sweep and ends the fit by returning false.
	Progress func(Sweep) bool
}

// Sweep is the state of a fit after a sweep, or after a joint step, which may follow the sweeps of a weighted fit.
type Sweep struct {
	Number int // from 1
	// Excess is what the fit minimises: the damped, weighted loss beyond that of the best weight. It never rises among
	// sweeps, which use the nearest Kronecker product of the weight, nor among steps, which use the weight itself.
	Excess float64
	// Held is the loss on the held-out rows, 0 without them and after most joint steps; with a weight of output errors,
	// weighted and up to a constant.
	Held float64
}

// Fitter fits the weight of one layer in many shapes, sharing what all of them need. Its methods may not be called
// at the same time.
type Fitter struct {
	mo     *Moments
	o      FitOptions
	lambda float64

	largestSystem int // const largestSystem but in tests

	low       *LowRankFit       // the largest so far
	s         *mat.Dense        // the damped weight of output errors; nil for none
	ls        *triangle         // its Cholesky factor
	trunc     *truncated        // s without its tail; nil where m is small
	metrics   map[int]*metric   // by M1
	inputs    map[Shape]*metric // near C + λI, by N1 and N2
	damped    *mat.Dense        // C + λI, for weighted fits
	target    *mat.Dense        // S (G + λW)
	bestScore *float64          // once asked for
	weff      *mat.Dense        // m×ñ, the best weight of any form: (G + λW)(C + λI)⁻¹; W itself where x̃ = x
}

// NewFitter prepares fits to the moments. It fails if they are not sound.
func NewFitter(ctx context.Context, mo *Moments, o FitOptions) (*Fitter, error) {
	if err := mo.Check(); err != nil {
		return nil, err
	}
	if o.Held != nil {
		if err := o.Held.Check(); err != nil {
			return nil, fmt.Errorf("held-out %w", err)
		}
		m, n := mo.Dims()
		if hm, hn := o.Held.Dims(); hm != m || hn != n {
			return nil, fmt.Errorf("held-out moments are of a [%d %d] weight, want [%d %d]", hm, hn, m, n)
		}
	}
	if o.Sweeps == 0 {
		o.Sweeps = defaultSweeps
	}
	f := &Fitter{mo: mo, o: o, lambda: o.Damping, largestSystem: largestSystem}
	if f.lambda == 0 {
		f.lambda = mo.Damping()
	}
	if f.lambda <= 0 { // inputs that never vary: any damping will do, all outputs are in the bias
		f.lambda = 1
	}
	if err := f.prepareWeight(ctx); err != nil {
		return nil, err
	}
	l, err := f.factor(ctx)
	if err != nil {
		return nil, err
	}
	y := copyOf(of(mo.G).t())
	if w := mo.pull(); w != nil {
		n, m := y.Dims()
		for i := range n {
			row := y.RawRowView(i)
			for a := range m {
				row[a] += f.lambda * w.At(a, i)
			}
		}
	}
	l.solve(o.Pool, y)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.solveT(o.Pool, y)
	f.weff = copyOf(of(y).t())
	if w := mo.pull(); w != nil && alike(w, f.weff) {
		f.weff = w // of layers with unchanged inputs; a large one is not held twice
	}
	if f.s != nil {
		f.damped = mat.DenseCopyOf(mo.C)
		symmetrise(f.damped)
		for i := range f.damped.RawMatrix().Rows {
			f.damped.Set(i, i, f.damped.At(i, i)+f.lambda)
		}
	}
	return f, nil
}

// alike reports whether two matrices of one size differ by no more than the rounding of a fit.
func alike(a, b *mat.Dense) bool {
	most := 0.0
	for i := range a.RawMatrix().Rows {
		rb := b.RawRowView(i)
		for j, v := range a.RawRowView(i) {
			most = max(most, math.Abs(v-rb[j]))
		}
	}
	return most <= 1e-10*maxAbs(a)
}

// factor returns the Cholesky factor of the damped C, raising the damping if it has to. The factor is not kept: it is
// as large as C and needed twice at most.
func (f *Fitter) factor(ctx context.Context) (*triangle, error) {
	for {
		c := mat.DenseCopyOf(f.mo.C)
		symmetrise(c)
		for i := range c.RawMatrix().Rows {
			c.Set(i, i, c.At(i, i)+f.lambda)
		}
		l, err := cholesky(ctx, f.o.Pool, c)
		var singular *notPositive
		if errors.As(err, &singular) && f.lambda < 1e3*(1+maxAbs(f.mo.C)) {
			f.lambda *= 10
			continue
		}
		return l, err
	}
}

// Lambda returns the damping in use.
func (f *Fitter) Lambda() float64 { return f.lambda }

// Moments returns the moments that the fitter fits to.
func (f *Fitter) Moments() *Moments { return f.mo }

// BestScore returns the FitResult.Score of Best. It is negative, so that 1 − Score/BestScore is the share of the
// explicable (weighted) variance of the outputs that a fit misses, and Score − BestScore how much that is.
func (f *Fitter) BestScore() float64 {
	if f.bestScore == nil {
		weighted := f.timesS(f.weff)
		mo := f.mo
		if f.o.Held != nil {
			mo = f.o.Held
		}
		g := product(f.o.Pool, of(f.weff), of(mo.C))
		addScaled(g, -2, mo.G)
		score := dot(g, weighted)
		if f.o.Held == nil {
			score += f.dampingScore(f.weff, weighted)
		}
		f.bestScore = &score
	}
	return *f.bestScore
}

// Best returns the m×ñ weight of the least damped loss that there is, of full rank and size.
func (f *Fitter) Best() *mat.Dense { return mat.DenseCopyOf(f.weff) }
