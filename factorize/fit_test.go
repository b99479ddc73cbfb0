package factorize

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/kernel"
)

// sample is a layer with the inputs that it sees in the original net, x, and in the compressed one, xt.
type sample struct {
	w, x, xt *mat.Dense // m×n, rows×n, rows×ñ
	mo       *Moments
}

// newSample draws correlated inputs with a mean. With wide = n and no shift, xt is x.
func newSample(t testing.TB, m, n, wide, rows int, seed uint64) *sample {
	t.Helper()
	s := &sample{w: random(m, n, seed)}
	mix := random(n, n, seed+1)
	decay := make([]float64, n)
	for i := range decay {
		decay[i] = 1 / math.Sqrt(1+float64(i))
	}
	scaleColumns(mix, decay)
	s.x = product(nil, of(random(rows, n, seed+2)), of(mix).t())
	for i := range rows {
		row := s.x.RawRowView(i)
		for j := range row {
			row[j] = max(0, row[j]+0.3)
		}
	}
	if wide == 0 {
		s.xt = s.x
	} else {
		s.xt = product(nil, of(s.x), of(random(n, wide, seed+3)))
		addScaled(s.xt, 0.1, random(rows, wide, seed+4))
	}
	var err error
	xc, mean := centred(s.x)
	tc, tmean := centred(s.xt)
	if wide == 0 {
		s.mo, err = SymmetricMoments(s.w, cov(xc, xc), mean, rows, Options{})
	} else {
		s.mo, err = AsymmetricMoments(s.w, cov(tc, tc), cov(tc, xc), cov(xc, xc), tmean, mean, rows, Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func centred(x *mat.Dense) (*mat.Dense, []float64) {
	rows, n := x.Dims()
	mean := make([]float64, n)
	for i := range rows {
		for j, v := range x.RawRowView(i) {
			mean[j] += v / float64(rows)
		}
	}
	c := mat.DenseCopyOf(x)
	for i := range rows {
		row := c.RawRowView(i)
		for j := range row {
			row[j] -= mean[j]
		}
	}
	return c, mean
}

func cov(a, b *mat.Dense) *mat.Dense {
	c := product(nil, of(a).t(), of(b))
	c.Scale(1/float64(a.RawMatrix().Rows), c)
	return c
}

// outputError is the mean over the rows of ‖(Wx + b) − (Ŵx̃ + b̃)‖², written out.
func (s *sample) outputError(w *mat.Dense, bias, fitted []float64) float64 {
	var y, yt mat.Dense
	y.Mul(s.x, s.w.T())
	yt.Mul(s.xt, w.T())
	rows, m := y.Dims()
	sum := 0.0
	for i := range rows {
		for j := range m {
			d := y.At(i, j) + bias[j] - yt.At(i, j) - fitted[j]
			sum += d * d
		}
	}
	return sum / float64(rows)
}

var widths = []int{0, 20, 35} // of x̃; 0 stands for x̃ = x of 24 numbers

func TestMomentsLossAndBias(t *testing.T) {
	for _, wide := range widths {
		s := newSample(t, 12, 24, wide, 90, 1)
		m, n := s.mo.Dims()
		w, bias := random(m, n, 5), make([]float64, m)
		for i := range bias {
			bias[i] = float64(i)
		}
		want := s.outputError(w, bias, s.mo.Bias(bias, w))
		if got := s.mo.Loss(w, Options{}); math.Abs(got-want) > 1e-11*want {
			t.Errorf("width %d: loss %v, the outputs differ by %v", n, got, want)
		}
		if got := s.mo.Relative(s.mo.Energy); got != 1 {
			t.Errorf("width %d: Relative(Energy) = %v, want 1", n, got)
		}
	}
}

func TestMomentsRefused(t *testing.T) {
	ok := newSample(t, 6, 8, 0, 30, 1).mo
	for _, test := range []struct {
		change func(mo *Moments)
		want   string
	}{
		{func(mo *Moments) { mo.C = random(8, 7, 1) }, "C is [8 7], want [8 8]"},
		{func(mo *Moments) { mo.C = nil }, "no covariance"},
		{func(mo *Moments) { mo.G = mat.DenseCopyOf(mo.G); mo.G.Set(2, 3, math.NaN()) }, "G[6 8]: element (2, 3) is NaN"},
		{func(mo *Moments) { mo.Mean = mo.Mean[1:] }, "7 and 6 elements, want 8 inputs and 6 outputs"},
		{func(mo *Moments) { mo.Energy = math.Inf(1) }, "energy is +Inf"},
		{func(mo *Moments) { mo.W = random(5, 8, 1) }, "W has 5 rows, want 6"},
	} {
		mo := *ok
		test.change(&mo)
		if _, err := NewFitter(context.Background(), &mo, FitOptions{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one with %q", err, test.want)
		}
		if _, err := NewFitter(context.Background(), ok, FitOptions{Held: &mo}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("held out: error %v, want one with %q", err, test.want)
		}
	}
	if _, err := NewFitter(context.Background(), ok, FitOptions{Held: newSample(t, 6, 9, 0, 30, 1).mo}); err == nil {
		t.Error("held-out moments of another size: no error")
	}
	if _, err := AsymmetricMoments(random(6, 8, 1), ok.C, random(8, 7, 1), ok.C, ok.Mean, ok.Mean, 30, Options{}); err == nil ||
		!strings.Contains(err.Error(), "cross-covariance is [8 7], want [8 8]") {
		t.Errorf("wrong cross-covariance: %v", err)
	}
}

func TestCholesky(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 130, 200} {
		x := random(n+10, n, uint64(n))
		a := product(nil, of(x).t(), of(x))
		tri, err := cholesky(context.Background(), nil, mat.DenseCopyOf(a))
		if err != nil {
			t.Fatal(err)
		}
		if d := maxDiff(product(nil, of(tri.l), of(tri.l).t()), a); d > 1e-13 {
			t.Errorf("size %d: L·Lᵀ is %g off", n, d)
		}
		want := random(n, 7, 3)
		b := product(nil, of(a), of(want))
		tri.solve(nil, b)
		tri.solveT(nil, b)
		if d := maxDiff(b, want); d > 1e-8 {
			t.Errorf("size %d: solution is %g off", n, d)
		}
	}
	bad := identity(150)
	bad.Set(100, 100, -1)
	var singular *notPositive
	if _, err := cholesky(context.Background(), nil, bad); !errors.As(err, &singular) || singular.row != 100 {
		t.Errorf("indefinite matrix: error %v", err)
	}
}

// The low-rank fit against its definition by gonum, and against the losses of the products that it gives.
func TestLowRankFit(t *testing.T) {
	ctx := context.Background()
	for _, wide := range widths {
		s := newSample(t, 14, 24, wide, 200, 2)
		held := newSample(t, 14, 24, wide, 50, 77)
		f, err := NewFitter(ctx, s.mo, FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		lr, err := f.LowRank(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		m, n := s.mo.Dims()
		c := mat.NewSymDense(n, mat.DenseCopyOf(s.mo.C).RawMatrix().Data)
		g := mat.DenseCopyOf(s.mo.G)
		for i := range n {
			c.SetSym(i, i, c.At(i, i)+f.Lambda())
		}
		if w := s.mo.pull(); w != nil {
			addScaled(g, f.Lambda(), w)
		}
		var chol mat.Cholesky
		chol.Factorize(c)
		var l mat.TriDense
		chol.LTo(&l)
		var inv, white mat.Dense
		if err := inv.Inverse(&l); err != nil {
			t.Fatal(err)
		}
		white.Mul(g, inv.T())
		var svd mat.SVD
		svd.Factorize(&white, mat.SVDThin)
		var u, v mat.Dense
		svd.UTo(&u)
		svd.VTo(&v)
		heldLoss := lr.LossOn(held.mo, Options{})
		for _, r := range []int{1, 4, m} {
			var us, low, want mat.Dense
			us.Mul(cols(&u, r), mat.NewDiagDense(r, svd.Values(nil)[:r]))
			low.Mul(&us, cols(&v, r).T())
			want.Mul(&low, &inv)
			got := lr.Terms(r).Dense()
			if d := maxDiff(got, &want); d > 1e-9 {
				t.Errorf("width %d rank %d: differs from the definition by %g", n, r, d)
			}
			if loss := s.mo.Loss(got, Options{}); math.Abs(loss-lr.Loss(r)) > 1e-10*s.mo.Energy {
				t.Errorf("width %d rank %d: Loss says %v, the product has %v", n, r, lr.Loss(r), loss)
			}
			if loss := held.mo.Loss(got, Options{}); math.Abs(loss-heldLoss[r]) > 1e-10*held.mo.Energy {
				t.Errorf("width %d rank %d: LossOn says %v, the product has %v", n, r, heldLoss[r], loss)
			}
		}
		if d := maxDiff(lr.Terms(m).Dense(), f.Best()); d > 1e-10 {
			t.Errorf("width %d: full rank differs from the best weight by %g", n, d)
		}
		if wide == 0 && maxDiff(f.Best(), s.w) > 1e-10 {
			t.Error("the best weight for unchanged inputs is not W")
		}
	}
}

var fitShapes = []Shape{{4, 4, 3, 6}, {2, 3, 6, 8}, {3, 8, 4, 3}, {1, 4, 12, 6}, {12, 6, 1, 4}, {12, 1, 1, 24}, {3, 5, 5, 5}, {4, 5, 3, 5}, {2, 4, 7, 7}}

func TestLossWithoutBuilding(t *testing.T) {
	s := newSample(t, 12, 24, 0, 60, 3)
	for _, sh := range fitShapes {
		k := sumOfTerms(sh, min(4, sh.MaxTerms()), 12, 24, 8)
		want := s.mo.Loss(k.Dense(), Options{})
		if got := lossOf(nil, s.mo, k); math.Abs(got-want) > 1e-12*want {
			t.Errorf("%v: lossOf gives %v, want %v", sh, got, want)
		}
		got := newLoss(nil, s.mo, sh, 0).loss(s.mo.Energy, s.mo.G, k.stackA(), k.stackB())
		if math.Abs(got-want) > 1e-12*want {
			t.Errorf("%v: loss %v, want %v", sh, got, want)
		}
	}
}

func TestAddProduct(t *testing.T) {
	x, base := random(24, 17, 3), random(12, 17, 4)
	for _, sh := range append([]Shape{{12, 2, 1, 12}, {1, 12, 12, 2}, {2, 12, 6, 2}, {6, 2, 2, 12}}, fitShapes...) {
		ways := map[[2]bool]bool{}
		for terms := 1; terms <= min(6, sh.MaxTerms()); terms++ {
			k := sumOfTerms(sh, terms, 12, 24, 8)
			want := mat.DenseCopyOf(base)
			addScaled(want, -1, product(nil, of(plainDense(k)), of(x)))
			got := mat.DenseCopyOf(base)
			addProduct(nil, got, -1, sh, k.stackA(), k.stackB(), x, nil)
			if d := maxDiff(got, want); d > 1e-13 {
				t.Errorf("%v, %d terms: %g off", sh, terms, d)
			}
			_, factored, bFirst := sh.applyCost(terms, 12, 24, 17)
			ways[[2]bool{factored, bFirst}] = true
		}
		if sh == (Shape{1, 12, 12, 2}) && !ways[[2]bool{true, false}] || sh == (Shape{12, 2, 1, 12}) && !ways[[2]bool{true, true}] {
			t.Errorf("%v is never multiplied factor by factor", sh)
		}
	}
}

// The normal equations against the sums of the definition.
func TestSystem(t *testing.T) {
	s := newSample(t, 12, 24, 0, 60, 4)
	sh := Shape{4, 4, 3, 6}
	k := sumOfTerms(sh, 3, 12, 24, 9)
	pr := newProblem(nil, s.mo, sh, 0)
	sd := pr.sideA()
	got := sd.systemByPairs(nil, abreast(k.stackB(), sh.N2), sh.M2)
	q := sd.target(nil, sd.g, k.stackB())
	for r := range 3 {
		for i := range sh.N1 {
			for ss := range r + 1 {
				for kk := range sh.N1 {
					want := 0.0
					for j := range sh.N2 {
						for l := range sh.N2 {
							for b := range sh.M2 {
								want += k.B[r].At(b, j) * k.B[ss].At(b, l) * s.mo.C.At(i*sh.N2+j, kk*sh.N2+l)
							}
						}
					}
					if g := got.At(r*sh.N1+i, ss*sh.N1+kk); math.Abs(g-want) > 1e-12*maxAbs(got) {
						t.Fatalf("P[(%d,%d),(%d,%d)] = %v, want %v", r, i, ss, kk, g, want)
					}
				}
			}
			for a := range sh.M1 {
				want := 0.0
				for b := range sh.M2 {
					for j := range sh.N2 {
						want += k.B[r].At(b, j) * s.mo.G.At(a*sh.M2+b, i*sh.N2+j)
					}
				}
				if g := q.At(r*sh.N1+i, a); math.Abs(g-want) > 1e-12*maxAbs(q) {
					t.Fatalf("Q[(%d,%d),%d] = %v, want %v", r, i, a, g, want)
				}
			}
		}
	}
}

// Both ways to the normal equations give the same, damping included.
func TestSystemByRows(t *testing.T) {
	s := newSample(t, 12, 24, 0, 60, 4)
	for _, sh := range []Shape{{4, 4, 3, 6}, {1, 12, 12, 2}, {12, 2, 1, 12}, {2, 24, 6, 1}} {
		k := sumOfTerms(sh, 3, 12, 24, 9)
		pr := newProblem(nil, s.mo, sh, 0.3)
		for _, c := range []struct {
			sd    *side
			fixed *mat.Dense
		}{{pr.sideA(), k.stackB()}, {pr.sideB(), k.stackA()}} {
			wide := abreast(c.fixed, c.sd.fixedK)
			want := c.sd.systemByPairs(nil, wide, c.sd.fixedRows)
			got := pr.systemByRows(c.sd, wide, c.sd.fixedRows)
			for i := range want.RawMatrix().Rows {
				clear(got.RawRowView(i)[i+1:])
				clear(want.RawRowView(i)[i+1:])
			}
			if d := maxDiff(got, want); d > 1e-12 {
				t.Errorf("%v, mirrored %v: %g off", sh, c.sd.mirrored, d)
			}
		}
	}
}

// excess is what a fit minimises, from its definition: tr(S (Ŵ − Weff) (C + λI) (Ŵ − Weff)ᵀ).
func (f *Fitter) excess(w *mat.Dense, s *mat.Dense) float64 {
	d := mat.DenseCopyOf(w)
	d.Sub(d, f.mustBest())
	dc := product(nil, of(d), of(f.mo.C))
	addScaled(dc, f.lambda, d)
	if s != nil {
		d = product(nil, of(s), of(d))
	}
	return dot(dc, d)
}

// monotone is how much the damped loss may rise in a sweep, as a part of the energy.
const monotone = 1e-9

// In every shape, padded or not, with all terms at once or in groups, with x̃ of any width: the loss never rises, and
// it is the loss of the factors that come out.
func TestFitIsMonotone(t *testing.T) {
	ctx := context.Background()
	for _, wide := range []int{0, 24, 30} {
		s := newSample(t, 12, 24, wide, 100, 6)
		for _, system := range []int{largestSystem, 1} {
			for _, sh := range fitShapes {
				if wide == 30 {
					sh.N1, sh.N2 = sh.N1+1, sh.N2+2
					if sh.check(s.mo.Dims()) != nil {
						continue
					}
				}
				var seen []float64
				f, err := NewFitter(ctx, s.mo, FitOptions{Sweeps: 8, Progress: func(sw Sweep) bool {
					seen = append(seen, sw.Excess)
					return true
				}})
				if err != nil {
					t.Fatal(err)
				}
				f.largestSystem = system
				m, n := s.mo.Dims()
				if groups := (&problem{Shape: sh, m: m, n: n}).inGroups(min(4, sh.MaxTerms()), system); groups != (system == 1) {
					t.Fatalf("%v, systems of %d: in groups: %v", sh, system, groups)
				}
				start, err := f.Start(ctx, sh, min(4, sh.MaxTerms()))
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, f.excess(start.Dense(), nil))
				k, res, err := f.Fit(ctx, start)
				if err != nil {
					t.Fatal(err)
				}
				for i := 1; i < len(seen); i++ {
					if seen[i] > seen[i-1]+monotone*s.mo.Energy {
						t.Errorf("%v, width %d, systems of %d: the loss rises from %v to %v in sweep %d", sh, wide, system, seen[i-1], seen[i], i)
					}
				}
				last := seen[len(seen)-1]
				if d := math.Abs(f.excess(k.Dense(), nil) - last); d > monotone*s.mo.Energy {
					t.Errorf("%v, width %d, systems of %d: the factors' loss is %g from what the fit says", sh, wide, system, d)
				}
				if want := s.mo.Loss(k.Dense(), Options{}); math.Abs(res.Loss-want) > 1e-11*s.mo.Energy {
					t.Errorf("%v: result says loss %v, the factors have %v", sh, res.Loss, want)
				}
			}
		}
	}
}

// After the solves of a sweep no small change of the right factors lowers the loss: they are its minimum.
func TestFitSolvesExactly(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 12, 24, 0, 100, 6)
	for _, sh := range fitShapes {
		f, err := NewFitter(ctx, s.mo, FitOptions{Sweeps: 1})
		if err != nil {
			t.Fatal(err)
		}
		start, err := f.Start(ctx, sh, min(3, sh.MaxTerms()))
		if err != nil {
			t.Fatal(err)
		}
		k, _, err := f.Fit(ctx, start)
		if err != nil {
			t.Fatal(err)
		}
		base := f.excess(k.Dense(), nil)
		for try := range 20 {
			changed := &Kronecker{k.Shape, k.Rows, k.Cols, k.A, nil}
			for r, b := range k.B {
				nb := mat.DenseCopyOf(b)
				addScaled(nb, 1e-3, random(sh.M2, sh.N2, uint64(100*try+r)))
				changed.B = append(changed.B, nb)
			}
			if got := f.excess(changed.Dense(), nil); got < base-1e-7*base {
				t.Errorf("%v: a change of the right factors lowers the loss from %v to %v", sh, base, got)
			}
		}
	}
}

// A weight that is a sum of as many terms is found, from the start on real inputs.
func TestFitRecovers(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 12, 24, 0, 100, 6)
	sh := Shape{4, 4, 3, 6}
	w := sumOfTerms(sh, 2, 12, 24, 11).Dense()
	mo, err := SymmetricMoments(w, s.mo.C, s.mo.Mean, 100, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFitter(ctx, mo, FitOptions{Sweeps: 60})
	if err != nil {
		t.Fatal(err)
	}
	start, err := f.Start(ctx, sh, 2)
	if err != nil {
		t.Fatal(err)
	}
	k, res, err := f.Fit(ctx, start)
	if err != nil || mo.Relative(res.Loss) > 1e-9 || maxDiff(k.Dense(), w) > 1e-4 {
		t.Errorf("relative loss %g, difference %g, error %v", mo.Relative(res.Loss), maxDiff(k.Dense(), w), err)
	}
}

// The sweep that is best on held-out rows comes back, and the start counts.
func TestFitHeldOut(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 12, 24, 0, 26, 6)
	held := newSample(t, 12, 24, 0, 26, 6)
	held.mo.C, held.mo.G = newSample(t, 12, 24, 0, 400, 60).mo.C, nil
	held.mo.G = product(nil, of(s.w), of(held.mo.C))
	held.mo.Energy = dot(held.mo.G, s.w)
	var seen []float64
	f, err := NewFitter(ctx, s.mo, FitOptions{Held: held.mo, Damping: 1e-9, Sweeps: 40, Progress: func(sw Sweep) bool {
		seen = append(seen, sw.Held)
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	start, err := f.Start(ctx, Shape{4, 4, 3, 6}, 3)
	if err != nil {
		t.Fatal(err)
	}
	least := held.mo.Loss(start.Dense(), Options{})
	k, res, err := f.Fit(ctx, start)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range seen {
		least = min(least, v)
	}
	if got := held.mo.Loss(k.Dense(), Options{}); math.Abs(got-least) > 1e-10*held.mo.Energy || math.Abs(res.Held-least) > 1e-10*held.mo.Energy {
		t.Errorf("held-out loss %v, result says %v, the best sweep had %v", got, res.Held, least)
	}
	if res.Best > 0 && len(seen) > res.Best+patience {
		t.Errorf("%d sweeps, the best was %d", len(seen), res.Best)
	}
}

func TestFitDegenerateInputs(t *testing.T) {
	ctx := context.Background()
	sh := Shape{4, 4, 3, 6}
	for name, s := range map[string]*sample{
		"few rows":   newSample(t, 12, 24, 0, 3, 1),
		"one row":    newSample(t, 12, 24, 0, 1, 1),
		"wide, few":  newSample(t, 12, 20, 24, 3, 1),
		"wide, none": newSample(t, 12, 20, 24, 1, 1),
	} {
		f, err := NewFitter(ctx, s.mo, FitOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		start, err := f.Start(ctx, sh, 2)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		k, res, err := f.Fit(ctx, start)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := checkFinite("Ŵ", k.Dense()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.mo.Relative(res.Loss) > 1 {
			t.Errorf("%s: relative loss %v", name, s.mo.Relative(res.Loss))
		}
	}
}

func TestFitDeterministicAndCancelled(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 96, 160, 0, 300, 6)
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
		if _, _, err := f.Fit(gone, start); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: error %v", err)
		}
		if _, err := f.Start(gone, Shape{8, 16, 12, 10}, 12); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled start: error %v", err)
		}
	}
}
