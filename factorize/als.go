package factorize

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	// defaultSweeps bounds the sweeps of Fit where the caller does not.
	defaultSweeps = 12
	// proximal is the weight of the old factors in every solve, as a part of the system's mean diagonal.
	proximal = 1e-6
	// largestSystem is the largest system of equations that is solved at once without asking what is quicker. More
	// terms may be solved in groups, one after the other.
	largestSystem = 1024
	// slowProgress ends a fit: the loss fell by less than this part of itself in a sweep.
	slowProgress = 1e-4
	// patience is the number of sweeps without a better held-out loss after which a fit ends.
	patience = 2
)

// FitResult says how a fit went. Losses are undamped and unweighted.
type FitResult struct {
	Sweeps int     // done, joint steps included
	Best   int     // the sweep whose factors were returned; 0 is the start
	Loss   float64 // on the rows that were fitted to
	Held   float64 // on the held-out rows; 0 without them
	// Score ranks fits to the same moments, the least is best: the loss on the held-out rows, or the damped loss
	// without them, with the weight of output errors in it and less the energy: a zero weight has 0. Fitter.BestScore is
	// that of the best weight of full size.
	Score float64
}

// Fit improves a Kronecker sum by alternating least squares: all left factors are solved for at once with the right
// ones fixed, then the other way round, with the exact covariance. Every solve is damped proximally (the old factors
// have a little weight), so that the damped loss never rises by more than rounding. The result is the sweep with the
// least held-out loss, or the last one where there are no held-out rows.
//
// The sweeps take a weight of output errors as its nearest Kronecker product. Where it is none, joint steps of all
// factors follow, from the better of the start and of what the sweeps gave, in the weight itself.
func (f *Fitter) Fit(ctx context.Context, start *Kronecker) (*Kronecker, FitResult, error) {
	return f.fit(ctx, start, f.o.Sweeps)
}

// fit is Fit with a bound on the sweeps of its own.
func (f *Fitter) fit(ctx context.Context, start *Kronecker, sweeps int) (*Kronecker, FitResult, error) {
	k, res, goOn, err := f.alternate(ctx, start, sweeps)
	if err == nil && goOn && f.goesJoint(start.Shape) {
		k, err = f.joint(ctx, start, k, jointSteps*sweeps, &res)
	}
	if err != nil {
		return nil, res, err
	}
	f.judge(k, &res)
	return k, res, nil
}

// alternate does the sweeps of a fit, and says whether the caller wants to go on.
func (f *Fitter) alternate(ctx context.Context, start *Kronecker, sweeps int) (*Kronecker, FitResult, bool, error) {
	var res FitResult
	if err := start.Check(); err != nil {
		return nil, res, false, err
	}
	m, n := f.mo.Dims()
	if start.Rows != m || start.Cols != n {
		return nil, res, false, fmt.Errorf("kronecker sum is [%d %d], the layer's weight [%d %d]", start.Rows, start.Cols, m, n)
	}
	out, err := f.metricFor(ctx, start.Shape)
	if err != nil {
		return nil, res, false, err
	}
	inside := out.into(f.o.Pool, start)
	mo := out.moments(f.o.Pool, start.Shape, f.mo)
	al := &alternation{
		f: f, mo: mo, held: out.moments(f.o.Pool, start.Shape, f.o.Held),
		problem: newProblem(f.o.Pool, mo, start.Shape, f.lambda),
		a:       inside.stackA(), b: inside.stackB(),
	}
	weff, err := f.best(ctx)
	if err != nil {
		return nil, res, false, err
	}
	best := out.rows(f.o.Pool, start.Shape, weff)
	al.base = dot(best, mo.G)
	if pull := mo.pull(); pull != nil {
		al.base += f.lambda * dot(best, pull)
	}
	k, err := al.run(ctx, sweeps, &res)
	if err != nil {
		return nil, res, false, err
	}
	out.outOf(f.o.Pool, k)
	return k, res, !al.stopped, nil
}

// judge fills in the losses of a result.
func (f *Fitter) judge(k *Kronecker, res *FitResult) {
	if f.o.Unjudged {
		return
	}
	w := k.dense(f.o.Pool)
	weighted := f.timesS(w)
	loss := func(mo *Moments) (plain, score float64) {
		g := timesC(f.o.Pool, k, mo)
		addScaled(g, -2, mo.G)
		return mo.Energy + dot(g, w), dot(g, weighted)
	}
	res.Loss, res.Score = loss(f.mo)
	if f.o.Held != nil {
		res.Held, res.Score = loss(f.o.Held)
		return
	}
	res.Score += f.dampingScore(w, weighted)
}

// dampingScore is what the damping adds to the score of w, given S w.
func (f *Fitter) dampingScore(w, weighted *mat.Dense) float64 {
	score := f.lambda * dot(w, weighted)
	if pull := f.mo.pull(); pull != nil {
		score -= 2 * f.lambda * dot(pull, weighted)
	}
	return score
}

// alternation is an alternating fit in progress.
type alternation struct {
	*problem
	f      *Fitter
	mo     *Moments
	held   *Moments   // nil without held-out rows
	a, b   *mat.Dense // stacked factors
	base   float64    // what the best weight of any form takes off the damped loss
	excess float64    // the damped loss beyond that weight's, after the last solve

	stopped     bool     // by the caller
	heldProblem *problem // of the held-out moments; nil where building Ŵ is cheaper

	// Of a fit in groups: what is left of the correlation with the inputs, G − Ŵ C, damped; m×ñ.
	rest *mat.Dense
	ws   workspace
}

// run does the sweeps.
func (al *alternation) run(ctx context.Context, sweeps int, res *FitResult) (*Kronecker, error) {
	f, terms := al.f, al.a.RawMatrix().Rows
	if al.held != nil && al.pairsPay(terms) {
		al.heldProblem = newLoss(f.o.Pool, al.held, al.Shape, 0)
	}
	if al.inGroups(terms, f.largestSystem) {
		al.startGroups()
	}
	best, least := al.kronecker(), 0.0
	if al.held != nil {
		least = al.heldLoss(best)
	}
	before := math.Inf(1)
	for res.Sweeps < sweeps {
		if err := al.half(ctx, al.sideA(), al.a, al.b); err != nil {
			return nil, err
		}
		if err := al.half(ctx, al.sideB(), al.b, al.a); err != nil {
			return nil, err
		}
		res.Sweeps++
		now := al.kronecker()
		now.balance()
		al.a, al.b = now.stackA(), now.stackB()
		state := Sweep{Number: res.Sweeps, Excess: al.excess}
		if al.held != nil {
			state.Held = al.heldLoss(now)
		}
		if al.held == nil || state.Held < least {
			best, res.Best, least = now, res.Sweeps, state.Held
		}
		if f.o.Progress != nil && !f.o.Progress(state) {
			al.stopped = true
			break
		}
		if res.Sweeps-res.Best >= patience || before-al.excess <= slowProgress*al.excess {
			break
		}
		before = al.excess
	}
	return best, nil
}

// kronecker returns the factors as they are, on memory of their own.
func (al *alternation) kronecker() *Kronecker {
	return &Kronecker{al.Shape, al.m, al.n, unstack(al.a, al.M1, al.N1), unstack(al.b, al.M2, al.N2)}
}

func (al *alternation) heldLoss(k *Kronecker) float64 {
	if al.heldProblem == nil {
		return lossOf(al.pool, al.held, k)
	}
	return al.heldProblem.loss(al.held.Energy, al.held.G, k.stackA(), k.stackB())
}

// half solves for the factors stacked in x, those in fixed staying as they are.
func (al *alternation) half(ctx context.Context, sd *side, x, fixed *mat.Dense) error {
	terms := x.RawMatrix().Rows
	if al.rest == nil {
		return al.solveAll(ctx, sd, x, fixed)
	}
	group := max(1, al.f.largestSystem/sd.k)
	for lo := 0; lo < terms; lo += group {
		hi := min(lo+group, terms)
		err := al.solveGroup(ctx, sd, x.Slice(lo, hi, 0, sd.rows*sd.k).(*mat.Dense),
			fixed.Slice(lo, hi, 0, sd.fixedRows*sd.fixedK).(*mat.Dense))
		if err != nil {
			return err
		}
	}
	return nil
}

// solveAll solves for all terms jointly. The loss follows from the equations: with (P + δI)x = q + δx₀, it is
// energy − ⟨x, q⟩ + δ⟨x, x₀ − x⟩.
func (al *alternation) solveAll(ctx context.Context, sd *side, x, fixed *mat.Dense) error {
	q, old := sd.target(al.pool, sd.g, fixed), sd.toSystem(of(x).t())
	wide := abreast(fixed, sd.fixedK)
	al.excess = al.base
	for _, part := range sd.parts {
		delta, solve, err := al.factored(ctx, sd, wide, part)
		if err != nil {
			return err
		}
		qp, op := columns(q, part), columns(old, part)
		if solve == nil {
			continue
		}
		xp := mat.DenseCopyOf(qp)
		addScaled(xp, delta, op)
		solve(xp)
		al.excess -= dot(xp, qp)
		op.Sub(op, xp)
		al.excess += delta * dot(xp, op)
		op.Copy(xp)
	}
	sd.fromSystem(old, x)
	return nil
}

// solveGroup solves for some terms, the others staying as they are, by the change d of the factors: (P + δI)d = q,
// q the target that is left. The loss changes by −⟨d, q⟩ − δ‖d‖².
func (al *alternation) solveGroup(ctx context.Context, sd *side, x, fixed *mat.Dense) error {
	g := of(rearrange(al.pool, al.rest, al.Shape))
	if sd.mirrored {
		g = g.t()
	}
	change := sd.target(al.pool, g, fixed)
	wide := abreast(fixed, sd.fixedK)
	for _, part := range sd.parts {
		delta, solve, err := al.factored(ctx, sd, wide, part)
		if err != nil {
			return err
		}
		qp := columns(change, part)
		if solve == nil {
			qp.Zero()
			continue
		}
		d := mat.DenseCopyOf(qp)
		solve(d)
		al.excess -= dot(d, qp) + delta*dot(d, d)
		qp.Copy(d)
	}
	dx := mat.NewDense(x.RawMatrix().Rows, sd.rows*sd.k, nil)
	sd.fromSystem(change, dx)
	x.Add(x, dx)
	if sd.mirrored {
		dx, fixed = fixed, dx
	}
	al.subtractFromRest(dx, fixed)
	return ctx.Err()
}

// startGroups prepares a fit in groups of terms: the rest and the loss of the factors as they are.
func (al *alternation) startGroups() {
	w, pull, lambda := al.kronecker().dense(al.pool), al.mo.pull(), al.f.lambda
	al.g = nil // the rest takes its place
	al.rest = mat.DenseCopyOf(al.mo.G)
	if pull != nil {
		addScaled(al.rest, lambda, pull)
	}
	// energy − 2⟨Ŵ, G⟩ + ⟨Ŵ, Ŵ C⟩, with Ŵ C = G − rest.
	al.excess = al.base - dot(w, al.rest)
	al.subtractFromRest(al.a, al.b)
	al.excess -= dot(w, al.rest)
}

// subtractFromRest takes the sum of the stacked factors out of the rest: rest −= Ŵ (C + λI).
func (al *alternation) subtractFromRest(a, b *mat.Dense) {
	addProduct(al.pool, al.rest, -1, al.Shape, a, b, al.mo.C, &al.ws)
	re := al.ws.matrix(first, al.M1*al.N1, al.M2*al.N2)
	mul(al.pool, of(re), of(a).t(), of(b), false)
	moveBlocks(al.pool, al.rest, re, al.Shape, func(inRest, inRe []float64) {
		for i, v := range inRe {
			inRest[i] -= al.f.lambda * v
		}
	})
}

func columns(m *mat.Dense, p part) *mat.Dense {
	return m.Slice(0, m.RawMatrix().Rows, p.lo, p.hi).(*mat.Dense)
}

// factored returns δ and the solver of P + δI for a part; the solver is nil if P is zero and says nothing of x.
func (al *alternation) factored(ctx context.Context, sd *side, wide *mat.Dense, pt part) (float64, func(*mat.Dense), error) {
	for part := proximal; ; part *= 10 {
		p := al.system(sd, wide, pt.fixed)
		size := p.RawMatrix().Rows
		mean := trace(p) / float64(size)
		if mean == 0 {
			return 0, nil, nil
		}
		delta := part * mean
		for i := range size {
			p.Set(i, i, p.At(i, i)+delta)
		}
		t, err := cholesky(ctx, al.pool, p)
		var singular *notPositive
		if errors.As(err, &singular) && part < 1 {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		return delta, func(b *mat.Dense) { t.solve(al.pool, b); t.solveT(al.pool, b) }, nil
	}
}
