package convert

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"bilinc/factorize"
	"bilinc/runtime/graph"
)

// Trials of plans are bounded by their work, in multiplications of fitting and
// running: those of low rank alone, which are quick, and the others.
const (
	lowRankWork, pairsWork   = 2.5e11, 5.5e11
	leastLowRank, leastPairs = 4, 4
	mostLowRank, mostPairs   = 12, 40
	trialSweeps              = 4 // in a fit; what is carried out takes more where that pays
	finalists                = 2 // fitted in full beside the best of low rank
	manyTrials               = 10
	mostFitWork              = 1e12 // of the fits of one trial
	autoWiden, wideTrials    = 2, 1 // of a plan with wide layers, out of those of pairs
)

// A leaning is what a trial asks for one weight: how much its error counts,
// which kinds of points it may take, and of which shape its pairs are.
type leaning struct {
	scale float64
	kind  leaningKind
	shape factorize.Shape // none: the balanced one
}

type leaningKind int

const (
	anyKind leaningKind = iota
	lowRankOnly
	pairsOnly
	denseOnly
)

// admits reports whether a point is of the kind.
func (k leaningKind) admits(p *point) bool {
	switch k {
	case lowRankOnly:
		return p.dense() || p.shape.IsLowRank()
	case pairsOnly:
		return p.dense() || !p.shape.IsLowRank()
	case denseOnly:
		return p.dense()
	}
	return true
}

// A candidate is a plan that is tried, and how well it did in its trial.
type candidate struct {
	p     *planner // with the curves that a is about
	a     allocation
	lean  []leaning
	score float64
}

// chooseFitted is the allocation under the budget, with the planner whose
// curves it is about, and the trade-off that the curves show. It compares plans
// by the model's own outputs on the selection rows, with all layers fitted one
// after the other: those that the curves give for each kind of factors, then
// what becomes of the best one when a layer counts more or less, or takes
// another kind. Under Auto the search of structure lowrank comes first, the
// same to the letter; what is found beside it has to beat it as it is carried
// out.
func (p *planner) chooseFitted(ctx context.Context) (*planner, allocation, []Tradeoff, error) {
	best := p.mixed()
	table := best.tradeoff()
	a, err := best.choose(table)
	if err != nil {
		return nil, nil, nil, err
	}
	if !slices.ContainsFunc(p.curves, func(c *curve) bool { return len(c.points) > 1 }) { // nothing is open
		return best, a, table, nil
	}
	p.opts.Calibration.setTrial(true)
	t := &trials{p: p, budget: math.MaxInt64, seen: map[string]bool{}}
	if b, ok := p.budget(); ok {
		t.budget = b - p.fixed
	} else if p.opts.TargetSize != 0 {
		t.budget, _ = total(best.curves, a)
		t.size = p.opts.TargetSize
	}
	work := p.trialCosts()
	low, pairs := p.trialCounts(work)
	p.expectTrials(work, low, pairs)
	s := p.opts.structure()
	var safe *candidate
	if s == LowRank || s == Auto {
		t.kind, t.work = paceLow, work.lowRank
		if err = t.search(ctx, low, []leaningKind{lowRankOnly}, []leaningKind{denseOnly}); err != nil {
			return nil, nil, nil, err
		}
		safe = t.best()
		p.pace.expect(paceLow, 0)
	}
	t.kind, t.work = pacePairs, work.pairs
	switch s {
	case Auto:
		var wide *planner
		if p.opts.Widen == 0 && p.opts.NumTerms == 0 && pairs >= manyTrials {
			wide = p.widened(autoWiden, false)
		}
		if wide != nil {
			pairs -= wideTrials
		}
		err = t.search(ctx, pairs, []leaningKind{pairsOnly, anyKind}, []leaningKind{lowRankOnly, pairsOnly, denseOnly})
		left := t.left
		if err == nil && wide != nil {
			err = t.widen(ctx, wide)
		}
		if err == nil && !p.few {
			err = t.shapes(ctx, left)
		}
	case Terms, Bilinear:
		err = t.search(ctx, pairs, []leaningKind{anyKind}, []leaningKind{denseOnly})
	}
	if err != nil {
		return nil, nil, nil, err
	}
	p.pace.expect(pacePairs, 0)
	won := t.best()
	switch {
	case won == nil:
	case s == Auto && safe != nil:
		won, err = t.final(ctx, safe, pairs >= manyTrials)
	case s == LowRank && p.opts.Learn != nil:
		won, err = t.tilt(ctx, won)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if won == nil {
		return best, a, table, nil
	}
	return won.p, won.a, table, nil
}

// trialCost is the work of a trial, in multiplications.
type trialCost struct{ lowRank, pairs float64 }

// trialCosts estimates the work of a trial: two runs of the model, two
// products of moments per weight, a factorisation, and for pairs the steps of
// the fit.
func (p *planner) trialCosts() trialCost {
	c := p.opts.Calibration
	rows := float64(c.rows) / float64(max(1, c.trialThin))
	var out trialCost
	if n := MACs(p.model, c.sizes); n != nil {
		out.lowRank = 2 * rows * float64(*n)
	}
	fits := 0.0
	for _, k := range p.curves {
		if isTable(k.weight) {
			continue // fitted once, for all trials
		}
		m, n := float64(k.weight.Rows), float64(k.weight.Cols)
		positions := rows
		if o := c.original(slices.Index(p.found.weights, k.weight)); o != nil {
			positions = float64(o[0].rows)
		}
		out.lowRank += positions*n*(n/2+2*m) + n*n*(n+3*m)
		fits += 4 * trialSweeps * m * n * (4*weightSide + math.Sqrt(m*n)/8)
	}
	out.pairs = out.lowRank + fits
	return out
}

// weightSide is the columns that an output error's metric is about, in work.
const weightSide = 64

// fitCost estimates the work of fitting a candidate's pairs.
func (c *candidate) fitCost() float64 {
	sum := 0.0
	for i, k := range c.p.curves {
		if pt := &k.points[c.a[i]]; !pt.dense() && !isTable(k.weight) {
			sum += pt.shape.FitCost(pt.terms, k.weight.Rows, k.weight.Cols, trialSweeps)
		}
	}
	return sum
}

// trials is a search for the plan of the least score.
type trials struct {
	p      *planner
	budget int64
	size   int64 // the most bytes; 0: any
	left   int
	kind   paceKind // of its trials, and the work of one
	work   float64
	seen   map[string]bool // by layersKey
	done   []*candidate

	weighedLast *candidate
}

// best is the candidate of the least score; the first of equals.
func (t *trials) best() *candidate {
	var out *candidate
	for _, c := range t.done {
		if out == nil || c.score < out.score {
			out = c
		}
	}
	return out
}

// search tries so many plans: of every one of the kinds, then what the best
// becomes by climbing.
func (t *trials) search(ctx context.Context, count int, kinds, climbing []leaningKind) error {
	t.left = count
	for _, k := range kinds {
		l := make([]leaning, len(t.p.curves))
		for i := range l {
			l[i] = leaning{scale: 1, kind: k}
			if b := t.best(); b != nil && t.weighedLast != nil {
				l[i].scale = b.lean[i].scale // as it was found to count
			}
		}
		if _, err := t.try(ctx, l); err != nil {
			return err
		}
	}
	if climbing == nil {
		return nil
	}
	for range weighings {
		if better, err := t.weigh(ctx); err != nil {
			return err
		} else if !better {
			break
		}
	}
	return t.climb(ctx, climbing)
}

// widen tries the plan of wide, a planner of the same weights with layers that
// are wider.
func (t *trials) widen(ctx context.Context, wide *planner) error {
	w := *t
	w.p, w.budget = wide, t.budget+t.p.fixed-wide.fixed
	err := w.search(ctx, wideTrials, []leaningKind{pairsOnly}, nil)
	t.done = w.done
	return err
}

// try fits the plan that leanings give and reports whether it is the best so
// far.
func (t *trials) try(ctx context.Context, lean []leaning) (bool, error) {
	c := t.candidate(lean)
	if c == nil || t.left == 0 {
		return false, nil
	}
	plan := c.p.plan(c.a, nil)
	key := layersKey(plan.Layers)
	if t.seen[key] || c.fitCost() > mostFitWork {
		return false, nil
	}
	if fits, err := t.fits(c); err != nil || !fits {
		return false, err
	}
	t.seen[key] = true
	t.p.pace.step(t.kind, "compare plans", t.work)
	t.left--
	s, err := t.p.trial(ctx, plan, 1)
	if err != nil {
		return false, err
	}
	c.score = s.mean
	before := t.best()
	t.done = append(t.done, c)
	return before == nil || c.score < before.score, nil
}

// fits reports whether a candidate is one, and of no more bytes than are asked
// for.
func (t *trials) fits(c *candidate) (bool, error) {
	if c == nil || t.size == 0 {
		return c != nil, nil
	}
	m, err := c.p.dry(c.a)
	if err != nil {
		return false, err
	}
	n, err := encodedSize(m)
	return n <= t.size, err
}

// candidate shares the budget out over the points that the leanings admit;
// weights without factors of the kind take any point. It is nil where nothing
// meets the budget.
func (t *trials) candidate(lean []leaning) *candidate {
	some := t.p.only(func(i int, pt *point) bool { return lean[i].kind.admits(pt) })
	c := &candidate{p: some, lean: lean}
	for i, k := range some.curves {
		if lean[i].kind == denseOnly {
			k.points = slices.DeleteFunc(k.points, func(pt point) bool { return !pt.dense() })
			if len(k.points) == 0 {
				return nil
			}
		}
		k.scale *= lean[i].scale
		if lean[i].shape != (factorize.Shape{}) {
			k.reshape(lean[i].shape)
		}
	}
	var ok bool
	c.a, ok = allocate(some.curves, t.budget)
	for i, k := range some.curves {
		k.scale = t.p.curves[i].scale
	}
	if !ok {
		return nil
	}
	return c
}

// steps are the factors by which a layer's errors are counted more or less.
var steps = []float64{4, 0.25, 2, 0.5, 1.4, 0.7}

// climb changes one leaning at a time, while that helps and trials are left.
func (t *trials) climb(ctx context.Context, kinds []leaningKind) error {
	for improved := true; improved && t.left > 0 && len(t.done) > 0; {
		improved = false
		for i := len(t.p.curves) - 1; i >= 0; i-- {
			lean := t.best().lean
			var next []leaning
			for _, k := range kinds {
				if k != lean[i].kind {
					next = append(next, leaning{lean[i].scale, k, lean[i].shape})
				}
			}
			for _, s := range steps {
				next = append(next, leaning{lean[i].scale * s, lean[i].kind, lean[i].shape})
			}
			for _, n := range next {
				l := slices.Clone(t.best().lean)
				l[i] = n
				better, err := t.try(ctx, l)
				if err != nil {
					return err
				}
				improved = improved || better
			}
		}
	}
	return nil
}

// final fits the best plans in full, as they will be carried out, and gives
// the one of them that beats safe most, or safe.
func (t *trials) final(ctx context.Context, safe *candidate, several bool) (*candidate, error) {
	others := slices.DeleteFunc(slices.Clone(t.done), func(c *candidate) bool { return c == safe })
	slices.SortStableFunc(others, func(a, b *candidate) int { return cmp.Compare(a.score, b.score) })
	most := 1
	if several {
		most = finalists
	}
	others = others[:min(most, len(others))]
	t.p.opts.Calibration.setTrial(false)
	full := t.work * fullSweeps / trialSweeps
	var won *candidate
	var safeScore, wonScore *score
	for n, c := range append([]*candidate{safe}, others...) {
		t.p.pace.expect(paceFull, full*float64(1+len(others)-n))
		t.p.pace.step(paceFull, "fit the best plans", full)
		s, err := t.p.trial(ctx, c.p.plan(c.a, nil), 1)
		if err != nil {
			return nil, err
		}
		switch {
		case c == safe:
			won, safeScore = safe, s
		case s.beats(safeScore) && (wonScore == nil || s.mean < wonScore.mean):
			won, wonScore = c, s
		}
	}
	return won, nil
}

// trial fits all layers of a plan and scores the model, on one of so many
// batches of the selection.
func (p *planner) trial(ctx context.Context, plan *Plan, thin int) (*score, error) {
	small, err := p.fitted(ctx, plan)
	if err != nil {
		return nil, err
	}
	return p.opts.Calibration.score(ctx, small, thin)
}

// measureFitted computes the curves on calibration data.
func (p *planner) measureFitted(ctx context.Context) error {
	p.fixed = p.params
	wanted := make([]bool, len(p.found.weights))
	for i, w := range p.found.weights {
		if p.left[w] == "" {
			if why := unrecorded(p.model, w); why != "" {
				p.left[w] = why
			}
		}
		if wanted[i] = p.left[w] == ""; wanted[i] {
			p.fixed -= int64(w.Params())
		}
	}
	cal := p.opts.Calibration
	if err := cal.measureThin(ctx); err != nil {
		return err
	}
	p.expectAll(wanted)
	p.pace.step(paceRuns, "statistics", p.runWork(statisticRuns-1))
	if err := cal.measureMetrics(ctx); err != nil {
		return err
	}
	p.pace.step(paceRuns, "statistics", p.runWork(1))
	cal.setTrial(true)
	var all []int
	for i := range wanted {
		if wanted[i] && !isTable(p.found.weights[i]) {
			all = append(all, i)
		}
	}
	if err := cal.recordOriginals(ctx, all); err != nil {
		return err
	}
	limit := int64(math.MaxInt64)
	if b, ok := p.budget(); ok {
		limit = max(0, b-p.fixed)
	}
	for i, w := range p.found.weights {
		if !wanted[i] {
			continue
		}
		p.pace.step(paceCurves, "fit "+w.Layers[0].Name, p.curveWork(w))
		c, err := cal.fitCurve(ctx, i, &p.opts, int(min(limit, int64(w.Params()))))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// The weight, or what it sees of these rows, is not finite.
			return fmt.Errorf("%w: layer %q: %w", ErrData, w.Layers[0].Name, err)
		}
		if o := cal.original(i); o != nil && o[0].rows*cal.thin < w.Cols { // tables have none
			n := o[0].rows * cal.thin
			cal.warnings = append(cal.warnings, fmt.Sprintf("layer %q has %d inputs and %d rows to fit to: it is damped more", w.Layers[0].Name, w.Cols, n))
		}
		c.weight = w // the planner's own view of it
		p.curves = append(p.curves, c)
	}
	return nil
}

// applyFitted replaces layers by factors that are fitted to data, and reports
// their errors and those of the outputs on the selection rows.
func applyFitted(ctx context.Context, small *graph.Model, js *jobs, r *Report, o *ApplyOptions) error {
	c := o.Calibration
	for _, j := range js.list {
		if why := unrecorded(c.model, c.found.weights[js.index(j)]); why != "" {
			return fmt.Errorf("layer %q: %s", j.weight.Layers[0].Name, why)
		}
	}
	if err := c.measureMetrics(ctx); err != nil {
		return err
	}
	c.setTrial(false)
	r.Warnings = append(r.Warnings, c.warnings...)
	steps := c.stepsOf(js.list, o.Progress)
	err := c.fit(ctx, js, func(group []*job) {
		work := 0.0
		for _, j := range group {
			work += c.jobWork(j)
			r.Warnings = append(r.Warnings, j.warnings...)
		}
		steps.step(paceFull, group[0].weight.Layers[0].Name, work)
	})
	if err != nil {
		return err
	}
	if err := js.finish(); err != nil {
		return err
	}
	r.measure(c.model, small, nil)
	r.MACsBefore, r.MACsAfter = MACs(c.model, c.sizes), MACs(small, c.sizes)
	return c.Measure(ctx, small, r)
}
