package factorize

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
)

const (
	// searchSweeps is the number of sweeps that rank a shape, finalSweeps what the best finalists get on top.
	searchSweeps, finalSweeps, finalists = 2, 2, 4
	// finalSteps is what finalists get in place of sweeps where fits end with joint steps.
	finalSteps = 16
	// classTries is the number of shapes that speak for a rank class.
	classTries = 2
	// searchEffort bounds the time of a search, in products of Ŵ and C: a few seconds for 1024×1024 on one core. A
	// shape that does not fit into what is left is passed over. finalShare of it is kept for the finalists. Small
	// layers have leastEffort, in multiplications.
	searchEffort, finalShare, leastEffort = 60, 0.3, 2e9
	// weightedEffort is how much more a search with a weight of output errors may take: its fits go in joint steps.
	weightedEffort = 2
)

// Candidate is a fitted approximation of a layer's weight. Its losses are those of Moments.Loss.
type Candidate struct {
	*Kronecker
	FitResult
}

// Search returns approximations of at most params numbers, the best one first: the optimal product of low rank, and
// fits of the shapes that promise most, each with as many terms as fit. They are ranked by FitResult.Score. The
// result is empty if nothing fits.
//
// What decides between shapes is the rank that a term can have (TermRank). So Search tries two shapes of every power of
// two of it, then all shapes around the best one, as time allows. The candidates are of many ranks on purpose: the
// layer's own loss favours low ones, while layers that are fitted after this one can make more of the features of a
// high one.
func (f *Fitter) Search(ctx context.Context, params int) ([]Candidate, error) {
	m, n := f.mo.Dims()
	effort := max(leastEffort, searchEffort*float64(m)*float64(n)*float64(n))
	if f.s != nil {
		effort *= weightedEffort
	}
	s := &search{f: f, ctx: ctx, params: params, left: (1 - finalShare) * effort}
	if terms := LowRankShape(m, n).TermsWithin(params); terms > 0 {
		low, err := f.LowRank(ctx, terms)
		if err != nil {
			return nil, err
		}
		c := Candidate{Kronecker: low.Terms(min(terms, low.MaxTerms()))}
		f.judge(c.Kronecker, &c.FitResult)
		s.done = append(s.done, c)
	}
	if err := s.scan(Shapes(m, n)[1:]); err != nil {
		return nil, err
	}
	s.left += finalShare * effort
	if err := s.finish(); err != nil {
		return nil, err
	}
	return s.done, nil
}

// search is a Search in progress.
type search struct {
	f      *Fitter
	ctx    context.Context
	params int
	left   float64 // multiplications that may still be spent
	done   []Candidate
}

// scan fits the shapes of every rank class that are quickest to fit, then what is left of the best class and its
// neighbours, and of the others where that takes next to no time.
func (s *search) scan(shapes []Shape) error {
	classes := map[int][]Shape{}
	top := 0
	for _, sh := range shapes {
		if sh.TermsWithin(s.params) > 0 {
			c := sh.rankClass()
			classes[c] = append(classes[c], sh)
			top = max(top, c)
		}
	}
	best, least := 0, math.Inf(1)
	for c := 0; c <= top; c++ {
		s.byCost(classes[c])
		for range min(classTries, len(classes[c])) {
			got, err := s.try(classes[c][0])
			if err != nil {
				return err
			}
			classes[c] = classes[c][1:]
			if got == nil {
				continue
			}
			if got.Score < least {
				best, least = c, got.Score
			}
		}
	}
	var near, far []Shape
	for c := range top + 1 {
		if best-1 <= c && c <= best+1 {
			near = append(near, classes[c]...)
		} else {
			far = append(far, classes[c]...)
		}
	}
	if err := s.tryAll(near); err != nil {
		return err
	}
	left := s.left
	s.left = min(left, leastEffort)
	err := s.tryAll(far)
	s.left += left - min(left, leastEffort)
	return err
}

// tryAll fits shapes, the quickest ones first.
func (s *search) tryAll(shapes []Shape) error {
	s.byCost(shapes)
	for _, sh := range shapes {
		if _, err := s.try(sh); err != nil {
			return err
		}
	}
	return nil
}

// byCost sorts shapes by the time that a fit takes.
func (s *search) byCost(shapes []Shape) {
	slices.SortStableFunc(shapes, func(a, b Shape) int {
		return cmp.Compare(s.f.sweepCost(a, a.TermsWithin(s.params)), s.f.sweepCost(b, b.TermsWithin(s.params)))
	})
}

// try fits a shape; it returns nil if that would take too long.
func (s *search) try(sh Shape) (*Candidate, error) {
	terms := sh.TermsWithin(s.params)
	cost := searchSweeps * s.f.sweepCost(sh, terms)
	if cost > s.left {
		return nil, nil
	}
	s.left -= cost
	start, err := s.f.Start(s.ctx, sh, terms)
	if err != nil {
		return nil, err
	}
	k, res, err := s.f.fit(s.ctx, start, searchSweeps)
	if err != nil {
		return nil, err
	}
	s.done = append(s.done, Candidate{k, res})
	return &s.done[len(s.done)-1], nil
}

// finish sorts the candidates, sweeps the best ones on and sorts again.
func (s *search) finish() error {
	byScore := func(a, b Candidate) int { return cmp.Compare(a.Score, b.Score) }
	slices.SortStableFunc(s.done, byScore)
	for i := range s.done[:min(finalists, len(s.done))] {
		c := &s.done[i]
		fit, cost := s.sweepOn, finalSweeps*s.f.sweepCost(c.Shape, c.Terms())
		if s.f.goesJoint(c.Shape) {
			fit, cost = s.stepOn, finalSteps*s.f.stepCost(c.Shape, c.Terms())
		}
		if c.IsLowRank() || i > 0 && cost > s.left {
			continue
		}
		s.left -= cost
		k, res, err := fit(c.Kronecker)
		if err != nil {
			return err
		}
		res.Sweeps += c.Sweeps
		res.Best += c.Best
		*c = Candidate{k, res}
	}
	slices.SortStableFunc(s.done, byScore)
	return nil
}

func (s *search) sweepOn(k *Kronecker) (*Kronecker, FitResult, error) {
	return s.f.fit(s.ctx, k, finalSweeps)
}

func (s *search) stepOn(k *Kronecker) (*Kronecker, FitResult, error) {
	return s.f.goOn(s.ctx, k, finalSteps)
}

// TermRank bounds the rank of one term by the channels between its two factors: 1 for low rank, most for balanced
// shapes. At the same number of parameters a high one means many features, each of little freedom.
func (s Shape) TermRank() int { return min(s.M1*s.N2, s.N1*s.M2) }

// rankClass is the power of two that TermRank reaches.
func (s Shape) rankClass() int { return bits.Len(uint(s.TermRank())) - 1 }

// sweepCost estimates the multiplications of one sweep of a fit with a number of terms.
func (f *Fitter) sweepCost(s Shape, terms int) float64 {
	m, n := f.mo.Dims()
	pr := &problem{Shape: s, m: m, n: n}
	cost := pr.sweepCost(terms, f.largestSystem)
	if f.o.Held != nil {
		cost += min(pr.sumCost(terms), float64(pairs(0, terms))*pr.pairCost())
	}
	if f.goesJoint(s) {
		cost += jointSteps * f.stepCost(s, terms)
	}
	return cost
}
