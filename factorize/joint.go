package factorize

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	// jointSteps is the number of joint steps for every sweep that a fit may do.
	jointSteps = 2
	// jointEffort bounds the steps of large layers, in multiplications: half a minute for 4096×4096 on one core.
	jointEffort = 2.5e11
	// jointMemory is the number of past steps that the next one learns from.
	jointMemory = 8
	// heldEvery is the number of joint steps between looks at the held-out rows, which cost as much as a step.
	heldEvery = 4
	// slowStep ends a joint fit: the loss fell by less than this part of itself in heldEvery steps.
	slowStep = 2e-3
	// sufficient is the part of the slope's promise that a step must keep; a step is shortened tries times.
	sufficient, tries = 1e-4, 8
)

// jointFit minimises the damped, weighted loss over all factors at once. With a weight S of output errors that is no
// Kronecker product, the equations of alternating least squares tie all rows together and are too large to solve; the
// gradient however takes one product S Ŵ C. The method is L-BFGS (J. Nocedal, "Updating quasi-Newton matrices with
// limited storage", 1980) whose first guess of the inverse Hessian is that of S and C replaced by their nearest
// Kronecker products, for the left and for the right factors by themselves.
type jointFit struct {
	Shape
	f        *Fitter
	m, n     int
	terms    int
	target   *mat.Dense // S (G + λW), rearranged
	base     float64    // what the best weight of any form takes off the loss
	out, in  *metric    // near S and C
	inverses [4]*mat.Dense
	wc, e    *mat.Dense // m×n and rearranged: what every step computes anew
	ws       workspace

	steps, changes [][]float64 // the last steps and what they did to the gradient
}

// jointPoint is the loss beyond the best weight's and its gradient at the factors x: all left ones, one after the other
// and each by rows, then all right ones.
type jointPoint struct {
	x, grad []float64
	loss    float64
}

// goesJoint reports whether fits of a shape end with joint steps: if sweeps do not do with the weight as it is.
func (f *Fitter) goesJoint(s Shape) bool {
	m, _ := f.mo.Dims()
	return f.s != nil && (s.M1*s.M2 != m || s.M1 > 1 && s.M2 > 1)
}

// joint goes on from the better of a start and of what the sweeps made of it.
func (f *Fitter) joint(ctx context.Context, start, swept *Kronecker, steps int, res *FitResult) (*Kronecker, error) {
	j, err := f.newJointFit(ctx, start.Shape, start.Terms())
	if err != nil {
		return nil, err
	}
	from, pt := swept, j.at(j.vector(swept))
	if first := j.at(j.vector(start)); first.loss < pt.loss {
		from, pt, res.Best = start, first, 0
	}
	return j.run(ctx, from, pt, steps, res)
}

// goOn takes joint steps from a sum that had some before.
func (f *Fitter) goOn(ctx context.Context, from *Kronecker, steps int) (*Kronecker, FitResult, error) {
	var res FitResult
	j, err := f.newJointFit(ctx, from.Shape, from.Terms())
	if err != nil {
		return nil, res, err
	}
	k, err := j.run(ctx, from, j.at(j.vector(from)), steps, &res)
	if err != nil {
		return nil, res, err
	}
	f.judge(k, &res)
	return k, res, nil
}

// stepCost is the multiplications of one joint step.
func (f *Fitter) stepCost(s Shape, terms int) float64 {
	m, n := f.mo.Dims()
	apply, _, _ := s.applyCost(terms, m, n, n)
	rank := m
	if f.trunc != nil {
		rank = 2 * weightRank
	}
	return apply + float64(m)*float64(n)*float64(rank+3*terms+2*moveCost)
}

// newJointFit prepares a fit of a number of terms. It needs a weight of output errors.
func (f *Fitter) newJointFit(ctx context.Context, s Shape, terms int) (*jointFit, error) {
	m, n := f.mo.Dims()
	j := &jointFit{Shape: s, f: f, m: m, n: n, terms: terms}
	var err error
	if j.out, err = f.metricFor(ctx, s); err != nil {
		return nil, err
	}
	if j.out == nil { // padded: no guess of S
		j.out = &metric{unit(s.M1), unit(s.M2)}
	}
	if j.in, err = f.inputsFor(ctx, s); err != nil {
		return nil, err
	}
	for i, t := range []*triangle{j.out.l1, j.in.l1, j.out.l2, j.in.l2} {
		j.inverses[i] = identity(t.l.RawMatrix().Rows)
		t.solve(f.o.Pool, j.inverses[i])
		t.solveT(f.o.Pool, j.inverses[i])
	}
	if f.target == nil {
		f.target = f.timesS(f.pulled())
	}
	if f.damped == nil {
		f.damped = f.dampedC()
	}
	weff, err := f.best(ctx)
	if err != nil {
		return nil, err
	}
	j.base = dot(f.target, weff)
	j.target = rearrange(f.o.Pool, f.target, s)
	return j, nil
}

// unit is the triangle of the identity.
func unit(n int) *triangle {
	t := &triangle{l: identity(n)}
	for lo := 0; lo < n; lo += choleskyBlock {
		t.inv = append(t.inv, identity(min(choleskyBlock, n-lo)))
	}
	return t
}

// left and right return the stacked factors in a vector, on its memory.
func (j *jointFit) left(x []float64) *mat.Dense {
	size := j.M1 * j.N1
	return mat.NewDense(j.terms, size, x[:j.terms*size])
}

func (j *jointFit) right(x []float64) *mat.Dense {
	return mat.NewDense(j.terms, j.M2*j.N2, x[j.terms*j.M1*j.N1:])
}

// vector returns the factors of k.
func (j *jointFit) vector(k *Kronecker) []float64 {
	return append(rowsOf(k.stackA()), rowsOf(k.stackB())...)
}

// kronecker returns the sum of the factors in x, balanced.
func (j *jointFit) kronecker(x []float64) *Kronecker {
	k := &Kronecker{j.Shape, j.m, j.n, unstack(j.left(x), j.M1, j.N1), unstack(j.right(x), j.M2, j.N2)}
	k.balance()
	return k
}

// through returns S Ŵ (C + λI) − less, rearranged, for stacked factors; less may be nil.
// The result is overwritten by the next call.
func (j *jointFit) through(a, b, less *mat.Dense) *mat.Dense {
	p := j.f.o.Pool
	if j.wc == nil {
		j.wc, j.e = mat.NewDense(j.m, j.n, nil), mat.NewDense(j.M1*j.N1, j.M2*j.N2, nil)
	}
	j.wc.Zero()
	addProduct(p, j.wc, 1, j.Shape, a, b, j.f.damped, &j.ws)
	wc := j.wc
	if t := j.f.trunc; t == nil {
		wc = j.ws.matrix(first, j.m, j.n)
		mul(p, of(wc), of(j.f.s), of(j.wc), false)
		if less != nil {
			addScaled(wc, -1, less)
		}
	} else {
		along := product(p, of(t.u).t(), of(wc))
		for i := range j.m {
			row := wc.RawRowView(i)
			if less == nil {
				for k := range row {
					row[k] *= t.alpha
				}
				continue
			}
			for k, v := range less.RawRowView(i) {
				row[k] = t.alpha*row[k] - v
			}
		}
		mul(p, of(wc), of(t.u), of(along), true)
	}
	moveBlocks(p, wc, j.e, j.Shape, func(inW, inE []float64) { copy(inE, inW) })
	return j.e
}

// at evaluates the loss and its gradient.
func (j *jointFit) at(x []float64) *jointPoint {
	p, a, b := j.f.o.Pool, j.left(x), j.right(x)
	pt := &jointPoint{x: x, grad: make([]float64, len(x))}
	cross := dot(product(p, of(a), of(j.target)), b)
	e := j.through(a, b, j.f.target)
	ga, gb := j.left(pt.grad), j.right(pt.grad)
	mul(p, of(ga), of(b), of(e).t(), false)
	mul(p, of(gb), of(a), of(e), false)
	// ⟨Ŵ, S Ŵ C⟩ − 2⟨Ŵ, S G⟩, and the first of the two less one of the second is what A has with its gradient.
	pt.loss = j.base + dot(ga, a) - cross
	for i := range pt.grad {
		pt.grad[i] *= 2
	}
	return pt
}

// guess multiplies a gradient at x by the guessed inverse Hessian, up to a factor: for the left factors that is the
// inverse of (A's parts of S and C) ⊗ (the products of the right factors in their parts), and the other way round.
func (j *jointFit) guess(ctx context.Context, x, grad []float64) ([]float64, error) {
	out := append([]float64(nil), grad...)
	for _, sd := range []struct {
		x          *mat.Dense
		rows, cols int
		s, c       *mat.Dense
		fixed      *mat.Dense
		fm, fn     int
		ls, lc     *triangle
	}{
		{j.left(out), j.M1, j.N1, j.inverses[0], j.inverses[1], j.right(x), j.M2, j.N2, j.out.l2, j.in.l2},
		{j.right(out), j.M2, j.N2, j.inverses[2], j.inverses[3], j.left(x), j.M1, j.N1, j.out.l1, j.in.l1},
	} {
		p := j.f.o.Pool
		white := j.sandwich(of(sd.ls.l).t(), sd.fixed, sd.fm, sd.fn, of(sd.lc.l))
		gram := product(p, of(white), of(white).t())
		t, err := j.f.dampedCholesky(ctx, gram)
		if err != nil {
			return nil, err
		}
		y := j.sandwich(of(sd.s), sd.x, sd.rows, sd.cols, of(sd.c))
		t.solve(p, y)
		t.solveT(p, y)
		sd.x.Copy(y)
	}
	return out, nil
}

// sandwich returns left·X·right for every one of the stacked rows×cols matrices X.
func (j *jointFit) sandwich(left view, stacked *mat.Dense, rows, cols int, right view) *mat.Dense {
	p := j.f.o.Pool
	t := product(p, view{rowsOf(stacked), j.terms * rows, cols, cols, 1}, right)
	out := mat.NewDense(j.terms*rows, cols, nil)
	for r := range j.terms {
		mul(p, of(out).block(r*rows, (r+1)*rows, 0, cols), left, of(t).block(r*rows, (r+1)*rows, 0, cols), false)
	}
	return mat.NewDense(j.terms, rows*cols, out.RawMatrix().Data)
}

// direction returns the way that L-BFGS goes from a point, scaled so that a step of 1 is a good one.
func (j *jointFit) direction(ctx context.Context, pt *jointPoint) ([]float64, error) {
	q := append([]float64(nil), pt.grad...)
	last := len(j.steps) - 1
	coef := make([]float64, len(j.steps))
	for i := last; i >= 0; i-- {
		coef[i] = inner(j.steps[i], q) / inner(j.steps[i], j.changes[i])
		axpy(q, -coef[i], j.changes[i])
	}
	d, err := j.guess(ctx, pt.x, q)
	if err != nil {
		return nil, err
	}
	var scale float64
	if last < 0 {
		scale = j.firstScale(pt, d)
	} else {
		guessed, err := j.guess(ctx, pt.x, j.changes[last])
		if err != nil {
			return nil, err
		}
		scale = inner(j.steps[last], j.changes[last]) / inner(j.changes[last], guessed)
	}
	for i := range d {
		d[i] *= -scale
	}
	for i := range coef {
		// d is the negative of the usual direction.
		axpy(d, -coef[i]-inner(j.changes[i], d)/inner(j.steps[i], j.changes[i]), j.steps[i])
	}
	return d, nil
}

// firstScale returns the length of the step along −d that is best for Ŵ's first-order change P = Σ dA⊗B + A⊗dB:
// ⟨gradient, d⟩ / 2⟨P, S P C⟩.
func (j *jointFit) firstScale(pt *jointPoint, d []float64) float64 {
	var a, b mat.Dense
	a.Stack(j.left(d), j.left(pt.x))
	b.Stack(j.right(pt.x), j.right(d))
	curvature := 2 * dot(product(j.f.o.Pool, of(&a), of(j.through(&a, &b, nil))), &b)
	if slope := inner(pt.grad, d); slope > 0 && curvature > 0 {
		return slope / curvature
	}
	return 0
}

// step goes from a point to one of less loss; it returns nil if it finds none.
func (j *jointFit) step(ctx context.Context, pt *jointPoint) (*jointPoint, error) {
	for {
		d, err := j.direction(ctx, pt)
		if err != nil {
			return nil, err
		}
		slope := inner(pt.grad, d)
		length := 1.0
		for range tries {
			if !(slope < 0) {
				break
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			x := append([]float64(nil), pt.x...)
			axpy(x, length, d)
			next := j.at(x)
			if next.loss <= pt.loss+sufficient*length*slope {
				j.remember(pt, next)
				return next, nil
			}
			// The parabola through both losses and the slope has its minimum here; NaN takes the shorter bound.
			short := -slope * length * length / (2 * (next.loss - pt.loss - slope*length))
			if !(short >= length/10) {
				short = length / 10
			}
			length = min(short, length/2)
		}
		if len(j.steps) == 0 {
			return nil, nil
		}
		j.steps, j.changes = nil, nil // what is remembered misleads: once more without
	}
}

// remember keeps a step where the loss curves upwards along it.
func (j *jointFit) remember(from, to *jointPoint) {
	s, y := append([]float64(nil), to.x...), append([]float64(nil), to.grad...)
	axpy(s, -1, from.x)
	axpy(y, -1, from.grad)
	if inner(s, y) <= 1e-10*math.Sqrt(inner(s, s)*inner(y, y)) {
		return
	}
	if len(j.steps) == jointMemory {
		j.steps, j.changes = j.steps[1:], j.changes[1:]
	}
	j.steps, j.changes = append(j.steps, s), append(j.changes, y)
}

// run takes steps from the factors of start, evaluated in pt, as many as jointEffort allows. The result is what does best on the held-out rows, or the last factors
// without them. res.Sweeps goes on counting.
func (j *jointFit) run(ctx context.Context, start *Kronecker, pt *jointPoint, steps int, res *FitResult) (*Kronecker, error) {
	f := j.f
	steps = min(steps, max(heldEvery, int(jointEffort/f.stepCost(j.Shape, j.terms))))
	best, least, seen := start, 0.0, res.Best
	if f.o.Held != nil {
		least = f.weightedLoss(f.o.Held, start)
	}
	before := pt.loss
	for step := 1; step <= steps; step++ {
		next, err := j.step(ctx, pt)
		if err != nil {
			return nil, err
		}
		if next == nil {
			break
		}
		pt = next
		res.Sweeps++
		look := step%heldEvery == 0 || step == steps
		state := Sweep{Number: res.Sweeps, Excess: pt.loss}
		switch {
		case f.o.Held == nil:
			best, seen = nil, res.Sweeps
		case look:
			k := j.kronecker(pt.x)
			if state.Held = f.weightedLoss(f.o.Held, k); state.Held < least {
				best, least, seen = k, state.Held, res.Sweeps
			}
		}
		if f.o.Progress != nil && !f.o.Progress(state) {
			break
		}
		if look {
			if before-pt.loss <= slowStep*pt.loss || f.o.Held != nil && res.Sweeps-seen >= patience*heldEvery {
				break
			}
			before = pt.loss
		}
	}
	res.Best = seen
	if best == nil {
		best = j.kronecker(pt.x)
	}
	return best, nil
}

func inner(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// axpy adds s·x to dst.
func axpy(dst []float64, s float64, x []float64) {
	for i, v := range x {
		dst[i] += s * v
	}
}
