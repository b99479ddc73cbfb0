package factorize

import (
	"context"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// S is what makes eᵀSe the mean cost of an error e in the next layer.
func TestPropagateWeight(t *testing.T) {
	const k, m, rows = 5, 9, 40
	next, d, e := random(k, m, 1), random(rows, m, 2), random(m, 1, 3)
	g := random(k, k, 4)
	weight := product(nil, of(g), of(g).t())
	slopes := cov(d, d)
	s, err := PropagateWeight(next, weight, slopes, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for i := range rows {
		through := mat.NewDense(m, 1, nil)
		for j := range m {
			through.Set(j, 0, d.At(i, j)*e.At(j, 0))
		}
		y := product(nil, of(next), of(through))
		want += dot(product(nil, of(weight), of(y)), y) / rows
	}
	if got := dot(product(nil, of(s), of(e)), e); math.Abs(got-want) > 1e-12*want {
		t.Errorf("eᵀSe = %v, errors cost %v", got, want)
	}
	if _, err := PropagateWeight(next, slopes, nil, Options{}); err == nil || !strings.Contains(err.Error(), "is [9 9], want [5 5]") {
		t.Errorf("weight of another size: %v", err)
	}
	if _, err := PropagateWeight(next, nil, weight, Options{}); err == nil || !strings.Contains(err.Error(), "are [5 5], want [9 9]") {
		t.Errorf("slopes of another size: %v", err)
	}
}

// weighted returns a sample with a weight of output errors of low rank.
func weighted(t *testing.T, seed uint64) *sample {
	s := newSample(t, 12, 24, 0, 100, seed)
	var err error
	if s.mo.Weight, err = PropagateWeight(random(4, 12, 5), nil, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWeightedLowRankFit(t *testing.T) {
	ctx := context.Background()
	s := weighted(t, 6)
	f, err := NewFitter(ctx, s.mo, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lr, err := f.LowRank(ctx, 12)
	if err != nil {
		t.Fatal(err)
	}
	plain := *s.mo
	plain.Weight = nil
	pf, err := NewFitter(ctx, &plain, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plr, err := pf.LowRank(ctx, 12)
	if err != nil {
		t.Fatal(err)
	}
	scores := lr.Scores()
	var svd mat.SVD
	l, err := f.factor(ctx)
	if err != nil {
		t.Fatal(err)
	}
	white := product(nil, of(f.ls.l).t(), of(product(nil, of(f.mustBest()), of(l.l))))
	svd.Factorize(white, mat.SVDNone)
	for _, r := range []int{1, 3, 6} {
		w := lr.Terms(r).Dense()
		if got, want := f.excess(w, f.s), sumSquares(svd.Values(nil)[r:]); math.Abs(got-want) > 1e-10*want {
			t.Errorf("rank %d: weighted excess %v, the optimum is %v", r, got, want)
		}
		var res FitResult
		f.judge(lr.Terms(r), &res)
		if math.Abs(scores[r]-res.Score) > 1e-10*math.Abs(res.Score) {
			t.Errorf("rank %d: Scores says %v, the product has %v", r, scores[r], res.Score)
		}
		if got, other := f.excess(w, f.s), f.excess(plr.Terms(r).Dense(), f.s); got > 0.999*other {
			t.Errorf("rank %d: weighted excess %v, of the unweighted fit %v", r, got, other)
		}
		if got, want := lr.Loss(r), s.mo.Loss(w, Options{}); math.Abs(got-want) > 1e-10*s.mo.Energy {
			t.Errorf("rank %d: Loss says %v, the product has %v", r, got, want)
		}
	}
	if d := maxDiff(lr.Terms(12).Dense(), f.mustBest()); d > 1e-10 {
		t.Errorf("full rank differs from the best weight by %g", d)
	}
}

// In the sweeps of a weighted fit, too, the loss never rises and is the one of the definition.
func TestWeightedFit(t *testing.T) {
	ctx := context.Background()
	s := weighted(t, 6)
	held := newSample(t, 12, 24, 0, 100, 61).mo
	for _, system := range []int{largestSystem, 1} {
		for _, sh := range []Shape{{1, 4, 12, 6}, {12, 6, 1, 4}, {4, 4, 3, 6}, {2, 3, 6, 8}, {3, 5, 4, 5}, {3, 5, 5, 5}} {
			for _, held := range []*Moments{nil, held} {
				var seen []Sweep
				f, err := NewFitter(ctx, s.mo, FitOptions{Held: held, Progress: func(sw Sweep) bool {
					seen = append(seen, sw)
					return true
				}})
				if err != nil {
					t.Fatal(err)
				}
				f.largestSystem = system
				start, err := f.Start(ctx, sh, 3)
				if err != nil {
					t.Fatal(err)
				}
				k, res, _, err := f.alternate(ctx, start, 6)
				if err != nil {
					t.Fatal(err)
				}
				f.judge(k, &res)
				for i := 1; i < len(seen); i++ {
					if seen[i].Excess > seen[i-1].Excess*(1+1e-9) {
						t.Errorf("%v: the loss rises from %v to %v", sh, seen[i-1].Excess, seen[i].Excess)
					}
				}
				mt, err := f.metricFor(ctx, sh)
				if err != nil {
					t.Fatal(err)
				}
				var weight *mat.Dense
				if mt != nil {
					weight = (&Kronecker{Shape{sh.M1, sh.M1, sh.M2, sh.M2}, 12, 12,
						[]*mat.Dense{product(nil, of(mt.l1.l), of(mt.l1.l).t())}, []*mat.Dense{product(nil, of(mt.l2.l), of(mt.l2.l).t())}}).Dense()
				}
				if (sh.M1 == 1 || sh.M2 == 1) && maxDiff(weight, f.s) > 1e-12 {
					t.Errorf("%v: the weight is not exact", sh)
				}
				if held == nil {
					if got, want := seen[len(seen)-1].Excess, f.excess(k.Dense(), weight); math.Abs(got-want) > 1e-9*f.excess(mat.NewDense(12, 24, nil), weight) {
						t.Errorf("%v: the fit says %v, the factors have %v", sh, got, want)
					}
				}
				if want := s.mo.Loss(k.Dense(), Options{}); math.Abs(res.Loss-want) > 1e-10*s.mo.Energy {
					t.Errorf("%v: result says loss %v, the factors have %v", sh, res.Loss, want)
				}
				if held != nil {
					if want := held.Loss(k.Dense(), Options{}); math.Abs(res.Held-want) > 1e-10*held.Energy {
						t.Errorf("%v: result says held-out loss %v, the factors have %v", sh, res.Held, want)
					}
				}
			}
		}
	}
}

// Scores differ by what is minimised: the weighted excess, or the plain loss on held-out rows.
func TestScore(t *testing.T) {
	ctx := context.Background()
	s, held := weighted(t, 6), newSample(t, 12, 24, 0, 100, 61).mo
	w := []*Kronecker{sumOfTerms(Shape{4, 4, 3, 6}, 2, 12, 24, 1), sumOfTerms(Shape{4, 4, 3, 6}, 3, 12, 24, 8)}
	score := func(f *Fitter) float64 {
		var a, b FitResult
		f.judge(w[0], &a)
		f.judge(w[1], &b)
		return a.Score - b.Score
	}
	f, err := NewFitter(ctx, s.mo, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := score(f), f.excess(w[0].Dense(), f.s)-f.excess(w[1].Dense(), f.s); math.Abs(got-want) > 1e-10*math.Abs(want) {
		t.Errorf("weighted scores differ by %v, excesses by %v", got, want)
	}
	plain := *s.mo
	plain.Weight = nil
	if f, err = NewFitter(ctx, &plain, FitOptions{Held: held}); err != nil {
		t.Fatal(err)
	}
	if got, want := score(f), held.Loss(w[0].Dense(), Options{})-held.Loss(w[1].Dense(), Options{}); math.Abs(got-want) > 1e-10*math.Abs(want) {
		t.Errorf("held-out scores differ by %v, losses by %v", got, want)
	}
}
