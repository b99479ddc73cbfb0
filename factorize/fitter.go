package factorize

import (
	"context"
	"errors"
	"fmt"

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
	// Weighting, if set, is shared by fitters of moments with the same Weight, one after the other.
	Weighting *Weighting
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

	*Weighting
	low       *LowRankFit       // the largest so far
	inputs    map[Shape]*metric // near C + λI, by N1 and N2
	lc        *triangle         // the Cholesky factor of C + λI, where it is kept
	damped    *mat.Dense        // C + λI, for joint steps
	target    *mat.Dense        // S (G + λW)
	bestScore *float64          // once asked for
	weff      *mat.Dense        // of best, once asked for
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
	if _, err := f.factor(ctx); err != nil { // which settles the damping
		return nil, err
	}
	return f, nil
}

// keptFactor is the number of inputs up to which the Cholesky factor of C is kept: it is as large as C.
const keptFactor = 2048

// factor returns the Cholesky factor of the damped C, raising the damping if it has to.
func (f *Fitter) factor(ctx context.Context) (*triangle, error) {
	if f.lc != nil {
		return f.lc, nil
	}
	for {
		l, err := cholesky(ctx, f.o.Pool, f.dampedC())
		var singular *notPositive
		if errors.As(err, &singular) && f.lambda < 1e3*(1+maxAbs(f.mo.C)) {
			f.lambda *= 10
			continue
		}
		if err == nil && f.mo.C.RawMatrix().Rows <= keptFactor {
			f.lc = l
		}
		return l, err
	}
}

// dampedC returns C + λI on memory of its own.
func (f *Fitter) dampedC() *mat.Dense {
	c := mat.DenseCopyOf(f.mo.C)
	symmetrise(c)
	for i := range c.RawMatrix().Rows {
		c.Set(i, i, c.At(i, i)+f.lambda)
	}
	return c
}

// pulled returns G + λW, G itself where there is no W to pull to.
func (f *Fitter) pulled() *mat.Dense {
	w := f.mo.pull()
	if w == nil {
		return f.mo.G
	}
	g := mat.DenseCopyOf(f.mo.G)
	addScaled(g, f.lambda, w)
	return g
}

// white returns L⁻¹(G + λW)ᵀ, ñ×m: the best weight of any form through L, transposed. l is L, from factor.
func (f *Fitter) white(l *triangle) *mat.Dense {
	if f.mo.same() { // G = W C, and the best weight is W
		return product(f.o.Pool, of(l.l).t(), of(f.mo.W).t())
	}
	y := copyOf(of(f.pulled()).t())
	l.solve(f.o.Pool, y)
	return y
}

// best returns the m×ñ weight of the least damped loss that there is: (G + λW)(C + λI)⁻¹.
func (f *Fitter) best(ctx context.Context) (*mat.Dense, error) {
	if f.weff != nil {
		return f.weff, nil
	}
	if f.mo.same() {
		f.weff = f.mo.W
		return f.weff, nil
	}
	l, err := f.factor(ctx)
	if err != nil {
		return nil, err
	}
	y := f.white(l)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.solveT(f.o.Pool, y)
	f.weff = copyOf(of(y).t())
	return f.weff, nil
}

// Lambda returns the damping in use.
func (f *Fitter) Lambda() float64 { return f.lambda }

// Moments returns the moments that the fitter fits to.
func (f *Fitter) Moments() *Moments { return f.mo }

// BestScore returns the FitResult.Score of Best. It is negative, so that 1 − Score/BestScore is the share of the
// explicable (weighted) variance of the outputs that a fit misses, and Score − BestScore how much that is.
func (f *Fitter) BestScore() float64 {
	if f.bestScore == nil {
		weff := f.mustBest()
		weighted := f.timesS(weff)
		mo := f.mo
		if f.o.Held != nil {
			mo = f.o.Held
		}
		g := product(f.o.Pool, of(weff), of(mo.C))
		addScaled(g, -2, mo.G)
		score := dot(g, weighted)
		if f.o.Held == nil {
			score += f.dampingScore(weff, weighted)
		}
		f.bestScore = &score
	}
	return *f.bestScore
}

// Best returns the m×ñ weight of the least damped loss that there is, of full rank and size.
func (f *Fitter) Best() *mat.Dense { return mat.DenseCopyOf(f.mustBest()) }

// mustBest is best without an end: NewFitter has found that C can be factored.
func (f *Fitter) mustBest() *mat.Dense {
	weff, err := f.best(context.Background())
	if err != nil {
		panic(err)
	}
	return weff
}
