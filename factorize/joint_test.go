package factorize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/kernel"
)

var jointShapes = []Shape{{4, 4, 3, 6}, {2, 3, 6, 8}, {3, 8, 4, 3}, {6, 2, 2, 12}, {3, 5, 5, 5}, {4, 5, 3, 5}, {2, 4, 7, 7}}

// Loss and gradient against the definition, and against differences of the definition for every number of every factor.
func TestJointGradient(t *testing.T) {
	ctx := context.Background()
	s := weighted(t, 6)
	for _, cut := range []bool{false, true} {
		f, err := NewFitter(ctx, s.mo, FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if cut { // S = 0.7·I + U Uᵀ
			f.trunc = &truncated{0.7, random(12, 3, 9)}
			f.s = product(nil, of(f.trunc.u), of(f.trunc.u).t())
			addScaled(f.s, 0.7, identity(12))
		}
		for _, sh := range jointShapes {
			j, err := f.newJointFit(ctx, sh, 2)
			if err != nil {
				t.Fatal(err)
			}
			x := j.vector(sumOfTerms(sh, 2, 12, 24, 3))
			plain := func(x []float64) float64 { return f.excess(j.kronecker(x).Dense(), f.s) }
			pt := j.at(x)
			if want := plain(x); math.Abs(pt.loss-want) > 1e-11*want {
				t.Errorf("%v: loss %v, want %v", sh, pt.loss, want)
			}
			most := math.Sqrt(inner(pt.grad, pt.grad))
			for i := range x {
				const h = 1e-4
				up, down := append([]float64(nil), x...), append([]float64(nil), x...)
				up[i] += h
				down[i] -= h
				// The loss is a parabola in one number, of which this is the slope.
				if want := (plain(up) - plain(down)) / (2 * h); math.Abs(pt.grad[i]-want) > 1e-8*most {
					t.Fatalf("%v: gradient %v in number %d, want %v", sh, pt.grad[i], i, want)
				}
			}
		}
	}
}

// With S and C Kronecker products and one term, the guess is the inverse of the Hessian's two diagonal blocks.
func TestJointGuess(t *testing.T) {
	ctx := context.Background()
	sh := Shape{3, 4, 4, 6}
	s := newSample(t, 12, 24, 0, 100, 6)
	gram := func(n int, seed uint64) *mat.Dense {
		x := random(2*n, n, seed)
		return product(nil, of(x).t(), of(x))
	}
	s1, s2, c1, c2 := gram(3, 1), gram(4, 2), gram(4, 3), gram(6, 4)
	s.mo.Weight, s.mo.C, s.mo.W = mat.NewDense(12, 12, nil), mat.NewDense(24, 24, nil), nil
	s.mo.Weight.Kronecker(s1, s2)
	s.mo.C.Kronecker(c1, c2)
	f, err := NewFitter(ctx, s.mo, FitOptions{Damping: 1e-12})
	if err != nil {
		t.Fatal(err)
	}
	j, err := f.newJointFit(ctx, sh, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := j.vector(sumOfTerms(sh, 1, 12, 24, 3))
	for _, left := range []bool{true, false} {
		// The gradient is linear in one side, so that its change is the Hessian block times the change of x.
		d := append([]float64(nil), random(1, len(x), 8).RawMatrix().Data...)
		if left {
			j.right(d).Zero()
		} else {
			j.left(d).Zero()
		}
		y := append([]float64(nil), x...)
		axpy(y, 1, d)
		change := j.at(y).grad
		axpy(change, -1, j.at(x).grad)
		if left {
			j.right(change).Zero()
		} else {
			j.left(change).Zero()
		}
		got, err := j.guess(ctx, x, change)
		if err != nil {
			t.Fatal(err)
		}
		if cos := inner(got, d) / math.Sqrt(inner(got, got)*inner(d, d)); cos < 0.98 { // damping is part of the guess
			t.Errorf("left %v: the guess is off the exact step, cosine %v", left, cos)
		}
	}
}

// The loss never rises, is that of the factors that come out, and ends below what alternation in the nearest Kronecker
// product reaches.
func TestJointFit(t *testing.T) {
	ctx := context.Background()
	s := weighted(t, 6)
	for _, sh := range jointShapes {
		seen := []float64{}
		f, err := NewFitter(ctx, s.mo, FitOptions{Sweeps: 100, Progress: func(sw Sweep) bool {
			seen = append(seen, sw.Excess)
			return true
		}})
		if err != nil {
			t.Fatal(err)
		}
		start, err := f.Start(ctx, sh, 2)
		if err != nil {
			t.Fatal(err)
		}
		swept, sweeps, _, err := f.alternate(ctx, start, 100)
		if err != nil {
			t.Fatal(err)
		}
		seen = seen[:0]
		k, res, err := f.Fit(ctx, start)
		if err != nil {
			t.Fatal(err)
		}
		before := f.excess(swept.Dense(), f.s)
		steps := append([]float64{min(before, f.excess(start.Dense(), f.s))}, seen[sweeps.Sweeps:]...)
		for i := 1; i < len(steps); i++ {
			if steps[i] > steps[i-1]*(1+1e-12) {
				t.Errorf("%v: the loss rises from %v to %v", sh, steps[i-1], steps[i])
			}
		}
		last := steps[len(steps)-1]
		if got := f.excess(k.Dense(), f.s); math.Abs(got-last) > 1e-9*last {
			t.Errorf("%v: the fit says %v, the factors have %v", sh, last, got)
		}
		if got := res.Score - f.BestScore(); math.Abs(got-last) > 1e-9*last {
			t.Errorf("%v: the score is %v above the best, the excess is %v", sh, got, last)
		}
		if last > 0.999*before {
			t.Errorf("%v: joint steps end at %v, the sweeps at %v", sh, last, before)
		}
		if res.Best != res.Sweeps || res.Sweeps != len(seen) {
			t.Errorf("%v: result says %d of %d, there were %d", sh, res.Best, res.Sweeps, len(seen))
		}
	}
}

// A weight that is a multiple of the identity gives the loss of no weight, from the same start.
func TestJointIdentity(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 12, 24, 0, 100, 6)
	fit := func(weight *mat.Dense, shape Shape) (*Fitter, *Kronecker) {
		mo := *s.mo
		mo.Weight = weight
		f, err := NewFitter(ctx, &mo, FitOptions{Sweeps: 300})
		if err != nil {
			t.Fatal(err)
		}
		start, err := f.Start(ctx, shape, 2)
		if err != nil {
			t.Fatal(err)
		}
		k, _, err := f.Fit(ctx, start)
		if err != nil {
			t.Fatal(err)
		}
		return f, k
	}
	three := identity(12)
	three.Scale(3, three)
	for _, sh := range jointShapes {
		f, plain := fit(nil, sh)
		_, same := fit(three, sh)
		want, got := f.excess(plain.Dense(), nil), f.excess(same.Dense(), nil)
		if got > want*(1+1e-6) || got < 0.97*want { // steps go on where the sweeps' rule has ended them
			t.Errorf("%v: excess %v, without a weight %v", sh, got, want)
		}
	}
}

// What comes out is what did best on the held-out rows, in the weight.
func TestJointHeldOut(t *testing.T) {
	ctx := context.Background()
	s := weighted(t, 6)
	// Some of the rows, so that the averages are others but of the same inputs.
	xc, mean := centred(mat.DenseCopyOf(s.x.Slice(0, 40, 0, 24)))
	held, err := SymmetricMoments(s.w, cov(xc, xc), mean, 40, Options{})
	if err != nil {
		t.Fatal(err)
	}
	better := 0
	for _, sh := range jointShapes {
		var seen []Sweep
		f, err := NewFitter(ctx, s.mo, FitOptions{Held: held, Sweeps: 20, Progress: func(sw Sweep) bool {
			seen = append(seen, sw)
			return true
		}})
		if err != nil {
			t.Fatal(err)
		}
		start, err := f.Start(ctx, sh, 3)
		if err != nil {
			t.Fatal(err)
		}
		k, res, err := f.Fit(ctx, start)
		if err != nil {
			t.Fatal(err)
		}
		w := k.Dense()
		ws := product(nil, of(f.s), of(w))
		want := dot(product(nil, of(w), of(held.C)), ws) - 2*dot(held.G, ws)
		if math.Abs(res.Score-want) > 1e-10*math.Abs(want) {
			t.Errorf("%v: score %v, want %v", sh, res.Score, want)
		}
		sweeps := 0
		for i := range seen[1:] {
			if seen[i+1].Held == 0 { // the first joint step
				sweeps = i + 1
				break
			}
		}
		if res.Best > sweeps {
			better++
		}
		for _, sw := range seen[sweeps:] {
			if sw.Held != 0 && sw.Held < want-1e-9*math.Abs(want) {
				t.Errorf("%v: step %d has %v on the held-out rows, the result %v", sh, sw.Number, sw.Held, want)
			}
		}
		if d := math.Abs(f.BestScore() - f.weightedLoss(held, oneTerm(f.mustBest()))); d > 1e-10*math.Abs(f.BestScore()) {
			t.Errorf("best score is %g off", d)
		}
	}
	if better == 0 {
		t.Error("no joint step ever did better on the held-out rows")
	}
}

// oneTerm returns a matrix as a sum of one term.
func oneTerm(w *mat.Dense) *Kronecker {
	m, n := w.Dims()
	return &Kronecker{Shape{m, n, 1, 1}, m, n, []*mat.Dense{w}, []*mat.Dense{identity(1)}}
}

func TestJointDeterministicAndCancelled(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 96, 160, 0, 300, 6)
	var err error
	if s.mo.Weight, err = PropagateWeight(random(20, 96, 5), nil, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	var want *mat.Dense
	for _, threads := range []int{1, 2, 4} {
		f, err := NewFitter(ctx, s.mo, FitOptions{Options: Options{Pool: kernel.NewPool(threads), Seed: 3}, Sweeps: 2})
		if err != nil {
			t.Fatal(err)
		}
		start, err := f.Start(ctx, Shape{8, 16, 12, 10}, 12)
		if err != nil {
			t.Fatal(err)
		}
		k, _, err := f.Fit(ctx, start)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Dense(); want == nil {
			want = got
		} else if !mat.Equal(got, want) {
			t.Errorf("%d threads give other bits than one", threads)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		j, err := f.newJointFit(ctx, start.Shape, start.Terms())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.run(gone, start, j.at(j.vector(start)), 3, &FitResult{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: error %v", err)
		}
	}
}

// A weight of many outputs keeps its leading part, and the trace of the rest.
func TestTruncate(t *testing.T) {
	ctx := context.Background()
	for _, m := range []int{100, truncateFrom} {
		x := random(40, m, 2)
		want := product(nil, of(x).t(), of(x))
		addScaled(want, 0.5, identity(m))
		got, err := truncate(ctx, FitOptions{}, want)
		if err != nil {
			t.Fatal(err)
		}
		s := product(nil, of(got.u), of(got.u).t())
		addScaled(s, got.alpha, identity(m))
		if d := maxDiff(s, want); d > 1e-9 {
			t.Errorf("%d outputs: a weight of rank 40 and the identity is %g off", m, d)
		}
	}
}

// A truncated weight gives the low-rank fit of the same weight as it is, also in the scores of held-out rows.
func TestTruncatedLowRank(t *testing.T) {
	ctx := context.Background()
	s := weighted(t, 6)
	held := newSample(t, 12, 24, 0, 60, 61).mo
	f, err := NewFitter(ctx, s.mo, FitOptions{Held: held})
	if err != nil {
		t.Fatal(err)
	}
	want, err := f.LowRank(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewFitter(ctx, s.mo, FitOptions{Held: held})
	if err != nil {
		t.Fatal(err)
	}
	var e mat.EigenSym // the weight is damping and four directions
	e.Factorize(mat.NewSymDense(12, other.s.RawMatrix().Data), true)
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	values := e.Values(nil)
	scale := make([]float64, 4)
	for i := range scale {
		scale[i] = math.Sqrt(values[8+i] - values[0])
	}
	u := mat.DenseCopyOf(vectors.Slice(0, 12, 8, 12))
	scaleColumns(u, scale)
	other.trunc, other.ls = &truncated{values[0], u}, nil
	got, err := other.LowRank(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	a, b := want.Scores(), got.Scores()
	for r := 1; r <= 5; r++ {
		if d := maxDiff(got.Terms(r).Dense(), want.Terms(r).Dense()); d > 1e-9 {
			t.Errorf("rank %d: differs from the weight's own by %g", r, d)
		}
		var res FitResult
		f.judge(want.Terms(r), &res)
		if math.Abs(a[r]-res.Score) > 1e-10*math.Abs(res.Score) || math.Abs(b[r]-a[r]) > 1e-9*math.Abs(a[r]) {
			t.Errorf("rank %d: scores %v and %v, the product has %v", r, a[r], b[r], res.Score)
		}
	}
}

func BenchmarkJoint(b *testing.B) {
	ctx := context.Background()
	const n = 1024
	s := newSample(b, n, n, 0, 2*n, 6)
	var err error
	if s.mo.Weight, err = PropagateWeight(random(200, n, 5), nil, nil, Options{}); err != nil {
		b.Fatal(err)
	}
	f, err := NewFitter(ctx, s.mo, FitOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, terms := range []int{1, 8} {
		start, err := f.Start(ctx, Shape{32, 32, 32, 32}, terms)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d terms", terms), func(b *testing.B) {
			for b.Loop() {
				_, res, err := f.Fit(ctx, start)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(1-res.Score/f.BestScore(), "missed")
				b.ReportMetric(float64(res.Sweeps), "steps")
			}
		})
	}
}
