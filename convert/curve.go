package convert

import (
	"cmp"
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
)

// A point is one way to store a weight.
type point struct {
	shape  factorize.Shape
	kernel string // of a convolution, as in form
	terms  int    // 0: the weight itself
	params int
	err    float64 // ‖W−Ŵ‖²/‖W‖²
	widen  int     // how many times as wide as the original's; 0 means 1
	cols   int     // of a weight behind a wide layer; 0 means the original's
}

// dense reports whether the point leaves the weight as it is.
func (p *point) dense() bool { return p.terms == 0 }

// A curve is what one weight costs and loses.
type curve struct {
	weight *match.Weight
	scale  float64 // what an error of 1 counts: the number of layers that share the weight
	cols   int     // as in point
	points []point // of all kinds; in those to allocate, ascending in params and descending in err
}

// Limits of the search without data. A decomposition of many terms is slow and
// tells little: what is beyond, tail estimates.
const (
	screened    = 12 // shapes that are screened per weight, half as many of a large one
	large       = 1 << 22
	screenTerms = 8  // balanced terms whose parameters a shape gets in screening
	kept        = 2  // of the screened shapes
	fewTerms    = 32 // whose errors are computed however small the budget
)

// curveTerms is how many terms are decomposed per shape: all that small
// weights have, fewer the larger the weight.
func curveTerms(w *match.Weight) int {
	return min(256, max(64, 1<<18/int(math.Sqrt(float64(w.Rows)*float64(w.Cols)))))
}

// candidates is the shapes that a structure allows for w, smallest first.
// Under Auto, those are the low-rank and the balanced shape and the best of
// the shapes near the cheapest, by how much of W's energy a few terms hold.
func candidates(ctx context.Context, w *match.Weight, d *mat.Dense, o *Options) ([]form, error) {
	m, n := w.Rows, w.Cols
	low, balanced := lowRankForm(w), balancedForm(w)
	switch {
	case o.structure() == LowRank:
		return []form{low}, nil
	case o.structure() != Auto || o.NumTerms > 0:
		return []form{balanced}, nil
	}
	out := []form{low}
	if balanced != low {
		out = append(out, balanced)
	}
	all := slices.DeleteFunc(forms(w), func(s form) bool {
		return s == low || s == balanced || !fits(w, s.Shape, 1)
	})
	slices.SortStableFunc(all, func(a, b form) int { return cmp.Compare(a.Params(1), b.Params(1)) })
	most := screened
	if m*n > large {
		most /= 2
	}
	all = all[:min(len(all), most)]
	if len(all) <= kept {
		return append(out, all...), nil
	}
	type score struct {
		s   form
		err float64
	}
	scores := make([]score, len(all))
	budget := screenTerms * min(balanced.Params(1), all[0].Params(1))
	for i, s := range all {
		terms := max(1, s.TermsWithin(budget))
		dec, err := factorize.Decompose(ctx, ordered(d, columnOrder(w, s.kernel)), s.Shape, terms, factorize.Options{Pool: o.Pool, Seed: o.Seed})
		if err != nil {
			return nil, err
		}
		// Per parameter: a shape of few large terms may overshoot the budget.
		used := float64(s.Params(dec.MaxTerms()))
		scores[i] = score{s, 1 - (1-dec.Error(terms))*min(1, float64(budget)/used)}
	}
	slices.SortStableFunc(scores, func(a, b score) int { return cmp.Compare(a.err, b.err) })
	for _, sc := range scores[:kept] {
		out = append(out, sc.s)
	}
	return out, nil
}

// newCurve is the curve of w. Errors are computed for factors of up to limit
// parameters, and for a few terms in any case; they are estimated beyond.
func newCurve(ctx context.Context, w *match.Weight, o *Options, limit int) (*curve, error) {
	d, err := w.Dense()
	if err != nil {
		return nil, err
	}
	c := &curve{weight: w, scale: float64(len(w.Layers))}
	shapes, err := candidates(ctx, w, d, o)
	if err != nil {
		return nil, err
	}
	for _, s := range shapes {
		// TermsWithin leaves out what is larger than the weight; an explicit
		// number of terms overrides that, up to where the sum is exact.
		from, to := 1, s.TermsWithin(w.Params())
		switch {
		case o.NumTerms > 0:
			from = min(o.NumTerms, s.MaxTerms())
			to = from
		case o.structure() == Bilinear:
			to = min(to, 1)
		}
		points, err := shapePoints(ctx, w, d, s, from, to, limit, o)
		if err != nil {
			return nil, err
		}
		c.points = append(c.points, points...)
	}
	// The paper's form leaves a weight dense only where its one pair is not
	// smaller: the budget does not decide there.
	if o.NumTerms == 0 && (o.structure() != Bilinear || len(c.points) == 0) {
		c.points = append(c.points, point{params: w.Params()})
	}
	return c, nil
}

// shapePoints is the points of one shape from so many terms to so many. Those
// that make the weight grow are left out unless the options give the number of
// terms.
func shapePoints(ctx context.Context, w *match.Weight, d *mat.Dense, s form, from, to, limit int, o *Options) ([]point, error) {
	for o.NumTerms == 0 && to >= from && !fits(w, s.Shape, to) {
		to--
	}
	if to < from {
		return nil, nil
	}
	known := to
	if o.NumTerms == 0 {
		known = min(to, curveTerms(w), max(fewTerms, s.TermsWithin(limit)))
	}
	dec, err := factorize.Decompose(ctx, ordered(d, columnOrder(w, s.kernel)), s.Shape, known, factorize.Options{Pool: o.Pool, Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	rest := lineTail(dec.Error(known), dec.Error(known-1)-dec.Error(known), s.MaxTerms()-known)
	extra := extraParams(w, s.IsLowRank())
	var out []point
	for r := from; r <= to; r++ {
		p := point{shape: s.Shape, kernel: s.kernel, terms: r, params: s.Params(r) + extra, err: dec.Error(r)}
		if r > known {
			p.err = rest.after(r - known)
		}
		out = append(out, p)
	}
	return out, nil
}

// A tail estimates the error beyond the singular values that were computed.
// It takes the squares of the others to fall in a straight line from the last
// known one, in the way that their known sum leaves.
type tail struct {
	err, last, slope float64 // squares as parts of ‖W‖²
	count            float64 // of values on the line
}

// lineTail is the tail of an error that is left after the last known value,
// last, and shared by so many others.
func lineTail(left, last float64, n int) tail {
	t := tail{err: left, last: last}
	others := float64(n)
	if others <= 0 || t.last <= 0 {
		return t
	}
	// A line over n values from last to v sums to n·(last+v)/2.
	if 2*t.err < others*t.last {
		t.count = 2 * t.err / t.last
		t.slope = t.last / t.count
	} else {
		t.count = others
		t.slope = max(0, (t.last-(2*t.err/others-t.last))/others)
	}
	return t
}

// after is the error with k terms more than the known ones.
func (t *tail) after(k int) float64 {
	n := min(float64(k), t.count)
	return max(0, t.err-n*(t.last-t.slope*n/2))
}

// pareto is the points that no other one beats in both parameters and error,
// ascending in parameters. Of equals the first counts.
func pareto(points []point) []point {
	slices.SortStableFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.params, b.params), cmp.Compare(a.err, b.err))
	})
	var out []point
	for _, p := range points {
		if len(out) == 0 || p.err < out[len(out)-1].err {
			out = append(out, p)
		}
	}
	return out
}

// hull is the indices of the points on the lower convex hull of a curve: those
// that are best for some price of a parameter.
func hull(points []point) []int {
	var h []int
	slope := func(i, j int) float64 {
		return (points[i].err - points[j].err) / float64(points[j].params-points[i].params)
	}
	for i := range points {
		for len(h) >= 2 && slope(h[len(h)-2], h[len(h)-1]) <= slope(h[len(h)-1], i) {
			h = h[:len(h)-1]
		}
		h = append(h, i)
	}
	return h
}
