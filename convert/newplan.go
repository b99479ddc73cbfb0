package convert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"bilinc/convert/match"
	"bilinc/runtime/graph"
)

// planner is the state of one call of NewPlan.
type planner struct {
	model  *graph.Model
	opts   Options
	found  *found
	left   map[*match.Weight]string // weights that stay, and why
	params int64                    // of the whole model
	curves []*curve
	fixed  int64 // parameters that no curve is about
	few    bool  // as few trials as there are: one of many plans
	pace   *pace

	noWiden  map[*match.Weight]string // why a layer is not widened
	wideLeft map[*match.Weight]int    // the parameters of weights without a curve that read a wide layer
	warnings []string
}

// NewPlan decides for every layer of m what becomes of it, from the weights
// alone: the error of a layer is that of its weight, and the budget goes where
// it lowers the sum of errors most. The error is an *InfeasibleError where no
// plan meets the budget, and wraps ErrOptions where the options are at fault.
func NewPlan(ctx context.Context, m *graph.Model, o Options) (*Plan, error) {
	p, err := newPlanner(m, o)
	if err != nil {
		return nil, err
	}
	if o.nothing() {
		return p.plan(nil, nil), nil
	}
	defer p.pace.end()
	if err := p.measureCurves(ctx); err != nil {
		return nil, err
	}
	p.widenAsked()
	out, err := p.decide(ctx)
	if err != nil {
		return nil, err
	}
	p.warn(out)
	return out, nil
}

// newPlanner checks the options and looks for what m has to compress.
func newPlanner(m *graph.Model, o Options) (*planner, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if c := o.Calibration; c != nil && c.model != m {
		return nil, fmt.Errorf("%w: the calibration is of another model", ErrOptions)
	}
	f, err := find(m)
	if err != nil {
		return nil, err
	}
	p := &planner{model: m, opts: o, found: f, params: Params(m), pace: newPace(o.Progress, time.Now), noWiden: map[*match.Weight]string{}}
	for _, w := range f.weights {
		if _, why := f.widen(w); why != "" {
			p.noWiden[w] = why
		}
	}
	p.left, err = p.leftOut()
	return p, err
}

// measureCurves computes the curves, on data where there are some.
func (p *planner) measureCurves(ctx context.Context) error {
	if p.opts.Calibration != nil && !p.drawn() {
		return p.measureFitted(ctx)
	}
	return p.measure(ctx)
}

// decide makes the plan from the curves.
func (p *planner) decide(ctx context.Context) (*Plan, error) {
	switch {
	case p.opts.ForTraining || p.opts.Trial != nil:
		return p.planForTraining(ctx)
	case p.opts.Calibration != nil:
		best, a, table, err := p.chooseFitted(ctx)
		if err != nil {
			return nil, err
		}
		return best.plan(a, table), nil
	}
	best := p.mixed()
	// Before the choice: where that fails, its error shows the table.
	table := best.tradeoff()
	a, err := best.choose(table)
	if err != nil {
		return nil, err
	}
	return best.plan(a, table), nil
}

// warn adds what the widening and the calibration data gave rise to.
func (p *planner) warn(out *Plan) {
	out.Warnings = append(slices.Clone(p.warnings), out.Warnings...)
	if c := p.opts.Calibration; c != nil {
		out.Warnings = append(slices.Clone(c.warnings), out.Warnings...)
	}
}

// mixed is p with curves of the best points, whatever kind of factors they are
// of.
func (p *planner) mixed() *planner {
	return p.only(func(int, *point) bool { return true })
}

// only is p with curves of the best points that admit lets through. A weight
// that is left without factors by that keeps all its points.
func (p *planner) only(admit func(i int, pt *point) bool) *planner {
	some := *p
	some.curves = make([]*curve, len(p.curves))
	for i, c := range p.curves {
		k := &curve{weight: c.weight, scale: c.scale, cols: c.cols}
		factors := false
		for _, pt := range c.points {
			if admit(i, &pt) {
				k.points = append(k.points, pt)
				factors = factors || !pt.dense()
			}
		}
		if !factors {
			k.points = append([]point{}, c.points...)
		}
		k.points = pareto(k.points)
		some.curves[i] = k
	}
	return &some
}

// leftOut gives the weights that are not compressed, with the reason: because
// no factors are smaller, or since one of their layers is excluded.
func (p *planner) leftOut() (map[*match.Weight]string, error) {
	excluded, err := p.opts.excluded(p.found.layers, p.found.skips)
	if err != nil {
		return nil, err
	}
	left := map[*match.Weight]string{}
	for _, w := range p.found.weights {
		if p.opts.NumTerms == 0 {
			if why := compressible(w); why != "" {
				left[w] = why
			}
		}
		for _, l := range w.Layers {
			if why, ok := excluded[l]; ok {
				left[w] = why
				if l != w.Layers[0] {
					left[w] = fmt.Sprintf("shares its weight with layer %q: %s", l.Name, why)
				}
			}
		}
	}
	return left, nil
}

// measure computes the curves, with true errors up to what the budget can leave
// for a layer.
func (p *planner) measure(ctx context.Context) error {
	p.fixed = p.params
	var weights []*match.Weight
	for _, w := range p.found.weights {
		if p.left[w] == "" {
			weights = append(weights, w)
			p.fixed -= int64(w.Params())
		}
	}
	limit := int64(math.MaxInt64)
	if b, ok := p.budget(); ok {
		limit = max(0, b-p.fixed)
	}
	for _, w := range weights {
		c, err := newCurve(ctx, w, &p.opts, int(min(limit, int64(w.Params()))))
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			// An element that is not a number, say: the rest of the model is
			// compressed all the same.
			p.left[w] = err.Error()
			p.fixed += int64(w.Params())
			continue
		}
		p.curves = append(p.curves, c)
	}
	return nil
}

// budget is the most parameters that the plan may have; false where the
// options limit something else or nothing.
func (p *planner) budget() (int64, bool) {
	switch {
	case p.opts.Ratio != 0:
		return ratioBudget(p.params, p.opts.Ratio), true
	case p.opts.TargetParams != 0:
		return p.opts.TargetParams, true
	}
	return 0, false
}

// ratioBudget is the largest number of parameters with params/number ≥ ratio.
func ratioBudget(params int64, ratio float64) int64 {
	b := int64(float64(params) / ratio)
	for b > 0 && float64(b)*ratio > float64(params) {
		b--
	}
	return b
}

// choose is the allocation under the budget.
func (p *planner) choose(table []Tradeoff) (allocation, error) {
	if p.opts.TargetSize != 0 {
		return p.chooseSize(table)
	}
	b, ok := p.budget()
	if !ok {
		b = math.MaxInt64
	}
	a, ok := allocate(p.curves, b-p.fixed)
	if !ok {
		params, _ := total(p.curves, a)
		return nil, &InfeasibleError{Unit: "parameters", Budget: b, Least: p.fixed + params, Tradeoff: table}
	}
	return a, nil
}

// tradeoff is the plans under ratios 2, 4, 8, … up to the first that none
// meets.
func (p *planner) tradeoff() []Tradeoff {
	var out []Tradeoff
	for ratio := 2.0; ; ratio *= 2 {
		a, ok := allocate(p.curves, ratioBudget(p.params, ratio)-p.fixed)
		params, err := total(p.curves, a)
		out = append(out, Tradeoff{Ratio: ratio, Params: p.fixed + params, Error: err, Feasible: ok})
		if !ok || ratio > float64(p.params) {
			return out
		}
	}
}

// plan writes an allocation down; nil leaves everything as it is.
func (p *planner) plan(a allocation, table []Tradeoff) *Plan {
	out := &Plan{Version: PlanVersion, Model: p.opts.ModelSHA256, Options: p.opts, ParamsBefore: p.params, ParamsAfter: p.params,
		Layers: []LayerPlan{}, Tradeoff: table}
	out.Options.Structure, out.Options.Pool, out.Options.ModelSHA256 = p.opts.structure(), nil, ""
	out.Options.Calibration, out.Options.Progress, out.Options.Trial, out.Options.Learn = nil, nil, nil, nil
	if table == nil {
		out.Tradeoff = []Tradeoff{}
	}
	chosen := map[*match.Weight]*point{}
	if a != nil {
		var params int64
		params, out.Error = total(p.curves, a)
		out.ParamsAfter = p.fixed + params
		for i, c := range p.curves {
			chosen[c.weight] = &c.points[a[i]]
		}
	}
	for _, l := range p.found.layers {
		out.Layers = append(out.Layers, p.layer(l, chosen[l.Weight]))
		if p.wideLeft[l.Weight] > l.Weight.Params() && tiedTo(l) == "" {
			out.Warnings = append(out.Warnings, fmt.Sprintf("layer %q grows from %d to %d parameters", l.Name, l.Weight.Params(), p.wideLeft[l.Weight]))
		}
		if pt := chosen[l.Weight]; pt != nil && pt.params > l.Weight.Params() && tiedTo(l) == "" {
			out.Warnings = append(out.Warnings, fmt.Sprintf("layer %q grows from %d to %d parameters", l.Name, l.Weight.Params(), pt.params))
		}
	}
	for _, s := range p.found.skips {
		out.Layers = append(out.Layers, LayerPlan{Name: s.Name, Action: ActSkipped, ParamsBefore: int64(s.Params),
			ParamsAfter: int64(s.Params), Reason: s.Reason})
	}
	return out
}

// layer is the entry of one layer; pt is nil where it was not planned for.
func (p *planner) layer(l *match.Layer, pt *point) LayerPlan {
	w := l.Weight
	e := LayerPlan{Name: l.Name, Action: ActDense, In: l.In, Out: l.Out, TiedTo: tiedTo(l)}
	if e.TiedTo == "" {
		e.ParamsBefore, e.ParamsAfter = int64(w.Params()), int64(w.Params())
	}
	switch {
	case p.left[w] != "":
		e.Action, e.Reason = ActSkipped, p.left[w]
	case pt == nil:
		e.Reason = "a ratio of 1 changes nothing"
	case pt.dense():
		e.Reason = "the budget has room for it as it is"
		if p.opts.structure() == Bilinear {
			e.Reason = "one balanced pair is not smaller"
		}
	default:
		e.Action, e.Terms, e.Error, e.Start = ActBilinear, pt.terms, pt.err, p.opts.Start
		if e.TiedTo == "" {
			e.ParamsAfter = int64(pt.params)
		}
		if pt.shape.IsLowRank() {
			e.Action = ActLowRank
		} else {
			e.Shape, e.Kernel = shapeOf(pt.shape), pt.kernel
		}
	}
	p.wideIn(&e, w, pt)
	return e
}

// chooseSize is the allocation of the most parameters whose model, written,
// is not larger than the target: found by bisection over models with factors
// of zeros, which are as large as the true ones.
func (p *planner) chooseSize(table []Tradeoff) (allocation, error) {
	size := func(a allocation) (int64, error) {
		m, err := p.dry(a)
		if err != nil {
			return 0, err
		}
		return encodedSize(m)
	}
	least, most := make(allocation, len(p.curves)), make(allocation, len(p.curves))
	for i, c := range p.curves {
		most[i] = len(c.points) - 1
	}
	if n, err := size(most); err != nil || n <= p.opts.TargetSize {
		return most, err
	}
	n, err := size(least)
	if err != nil {
		return nil, err
	}
	if n > p.opts.TargetSize {
		return nil, &InfeasibleError{Unit: "bytes", Budget: p.opts.TargetSize, Least: n, Tradeoff: table}
	}
	best := least
	lo, _ := total(p.curves, least)
	hi, _ := total(p.curves, most)
	for lo <= hi {
		mid := lo + (hi-lo)/2
		a, ok := allocate(p.curves, mid)
		if !ok {
			return nil, errors.New("the smallest plan does not fit its own parameters")
		}
		n, err := size(a)
		if err != nil {
			return nil, err
		}
		used, _ := total(p.curves, a)
		if n <= p.opts.TargetSize {
			best, lo = a, mid+1
		} else {
			hi = min(mid, used) - 1
		}
	}
	return best, nil
}
