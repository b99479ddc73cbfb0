package convert

import (
	"context"
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/graph"
)

// trialWork bounds the trials of whole plans, in multiplications of fitting
// and running; leastTrials are done in any case.
const (
	trialWork   = 8.3e11
	leastTrials = 3
	mostTrials  = 40
	trialSweeps = 4 // in a fit; what is carried out takes more where that pays
)

// A leaning is what a trial asks for one weight: how much its error counts and
// which kinds of points it may take.
type leaning struct {
	scale float64
	kind  leaningKind
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

// chooseFitted is the allocation under the budget, and the trade-off that the
// curves show. Where the budget is one of parameters it compares plans by the model's own output on the selection rows,
// with all layers fitted one after the other: first those that the curves give
// for each kind of factors, then what becomes of the best one when a layer
// counts more or less, or takes another kind.
func (p *planner) chooseFitted(ctx context.Context) (allocation, []Tradeoff, error) {
	all := p.curves
	best := p.mixed()
	table := best.tradeoff()
	a, err := best.choose(table)
	if err != nil {
		return nil, nil, err
	}
	b, ok := p.budget()
	if !ok || len(all) == 0 || p.opts.NumTerms > 0 {
		p.curves = best.curves
		return a, table, nil
	}
	t := &trials{p: p, budget: b - p.fixed, left: p.trialCount(), seen: map[string]float64{}, score: math.Inf(1)}
	kinds := []leaningKind{anyKind}
	if p.opts.structure() == Auto {
		kinds = []leaningKind{lowRankOnly, pairsOnly, anyKind}
	}
	for _, k := range kinds {
		l := make([]leaning, len(all))
		for i := range l {
			l[i] = leaning{1, k}
		}
		if _, err := t.try(ctx, l); err != nil {
			return nil, nil, err
		}
	}
	if err := t.climb(ctx); err != nil {
		return nil, nil, err
	}
	return t.best, table, nil
}

// trialCount is how many plans are worth trying: as many as take a bounded
// amount of work.
func (p *planner) trialCount() int {
	work, run := 0.0, 0.0
	c := p.opts.Calibration
	if n := MACs(p.model, nil); n != nil {
		run = float64(c.rows) * float64(*n)
	}
	for _, k := range p.curves {
		m, n := float64(k.weight.Rows), float64(k.weight.Cols)
		rows := float64(c.rows)
		if i := slices.Index(p.found.weights, k.weight); c.originals[i] != nil {
			rows = float64(c.originals[i][0].rows)
		}
		// Two covariances, a factorisation, some sweeps, and the two models' runs
		// up to the layer.
		work += rows*n*(2*n+m) + 4*n*n*(n+m) + run
	}
	return int(min(mostTrials, max(leastTrials, trialWork/max(1, work))))
}

// trials is a search for the plan of the least score.
type trials struct {
	p      *planner
	budget int64
	left   int
	seen   map[string]float64 // by allocation
	lean   []leaning          // of the best
	best   allocation
	score  float64
}

// try fits the plan that leanings give and reports whether it is the best so
// far.
func (t *trials) try(ctx context.Context, lean []leaning) (bool, error) {
	a, ok := t.allocation(lean)
	if !ok {
		return false, nil
	}
	key := fmt.Sprint(a)
	if _, ok := t.seen[key]; ok || t.left == 0 {
		return false, nil
	}
	t.left--
	if t.p.opts.Progress != nil {
		t.p.opts.Progress("compare plans", len(t.seen), len(t.seen)+1+t.left)
	}
	s, err := t.p.trial(ctx, a)
	if err != nil {
		return false, err
	}
	t.seen[key] = s
	if s >= t.score && t.best != nil {
		return false, nil
	}
	t.best, t.score, t.lean = a, s, lean
	return true, nil
}

// allocation shares the budget out over the points that the leanings admit;
// weights without factors of the kind take any point.
func (t *trials) allocation(lean []leaning) (allocation, bool) {
	curves := make([]*curve, len(lean))
	index := make([][]int, len(lean))
	for i, c := range t.p.curves {
		some := false
		for k := range c.points {
			some = some || !c.points[k].dense() && lean[i].kind.admits(&c.points[k])
		}
		k := &curve{weight: c.weight, scale: c.scale * lean[i].scale}
		for j := range c.points {
			pt := &c.points[j]
			if lean[i].kind == denseOnly && pt.dense() || lean[i].kind != denseOnly && (!some || lean[i].kind.admits(pt)) {
				k.points = append(k.points, *pt)
			}
		}
		if len(k.points) == 0 {
			return nil, false
		}
		k.points = pareto(k.points)
		for j := range k.points {
			for n := range c.points {
				if c.points[n] == k.points[j] {
					index[i] = append(index[i], n)
					break
				}
			}
		}
		curves[i] = k
	}
	a, ok := allocate(curves, t.budget)
	if !ok {
		return nil, false
	}
	for i := range a {
		a[i] = index[i][a[i]]
	}
	return a, true
}

// steps are the factors by which a layer's errors are counted more or less.
var steps = []float64{4, 0.25, 2, 0.5, 1.4, 0.7}

// climb changes one leaning at a time, while that helps and trials are left.
func (t *trials) climb(ctx context.Context) error {
	kinds := []leaningKind{lowRankOnly, pairsOnly, denseOnly}
	if t.p.opts.structure() != Auto {
		kinds = []leaningKind{denseOnly}
	}
	for improved := true; improved && t.left > 0; {
		improved = false
		for i := len(t.lean) - 1; i >= 0; i-- {
			var next []leaning
			for _, k := range kinds {
				if k != t.lean[i].kind {
					next = append(next, leaning{t.lean[i].scale, k})
				}
			}
			for _, s := range steps {
				next = append(next, leaning{t.lean[i].scale * s, t.lean[i].kind})
			}
			for _, n := range next {
				l := append([]leaning{}, t.lean...)
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

// trial fits all layers of an allocation and scores the model.
func (p *planner) trial(ctx context.Context, a allocation) (float64, error) {
	small, js, err := prepare(p.model, p.plan(a, nil))
	if err != nil {
		return 0, err
	}
	if err := p.opts.Calibration.fit(ctx, js, nil); err != nil {
		return 0, err
	}
	return p.opts.Calibration.score(ctx, small)
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
	cal.sweeps = trialSweeps
	if err := cal.measureMetrics(ctx); err != nil {
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
		if p.opts.Progress != nil {
			p.opts.Progress("fit "+w.Layers[0].Name, i, len(wanted))
		}
		c, err := cal.fitCurve(ctx, i, &p.opts, int(min(limit, int64(w.Params()))))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("layer %q: %w", w.Layers[0].Name, err)
		}
		if n := cal.originals[i][0].rows; n < w.Cols {
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
	c.sweeps = 0
	for _, j := range js.list {
		if why := unrecorded(c.model, c.found.weights[js.index(j)]); why != "" {
			return fmt.Errorf("layer %q: %s", j.weight.Layers[0].Name, why)
		}
	}
	if err := c.measureMetrics(ctx); err != nil {
		return err
	}
	r.Warnings = append(r.Warnings, c.warnings...)
	err := c.fit(ctx, js, func(j *job, n int) {
		if o.Progress != nil {
			o.Progress(j.weight.Layers[0].Name, n, len(js.list))
		}
		r.Warnings = append(r.Warnings, j.warnings...)
	})
	if err != nil {
		return err
	}
	if err := js.finish(); err != nil {
		return err
	}
	var names []string
	for _, j := range js.list {
		for _, l := range c.found.weights[js.index(j)].Layers {
			names = append(names, l.Y.Name())
		}
	}
	layers := len(names)
	names = append(names, outputNames(c.model)...)
	errs, err := c.relativeErrors(ctx, small, names)
	if err != nil {
		return err
	}
	r.measure(c.model, small, nil)
	byLayer := map[string]*LayerReport{}
	for i := range r.Layers {
		byLayer[r.Layers[i].Name] = &r.Layers[i]
	}
	for _, j := range js.list {
		for _, l := range c.found.weights[js.index(j)].Layers {
			if e := errs[l.Y.Name()]; e != nil {
				byLayer[l.Name].Error = *e
			}
		}
	}
	r.Outputs = map[string]*OutputReport{}
	for _, n := range names[layers:] {
		r.Outputs[n] = &OutputReport{RelError: errs[n]}
		if errs[n] == nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("output %q is not verified: it is random, constant or not of numbers", n))
		}
	}
	return nil
}
