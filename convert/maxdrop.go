package convert

import (
	"context"
	"errors"
	"fmt"
	"math"

	"bilinc/runtime/graph"
)

// A Metric measures a model; more is better.
type Metric func(ctx context.Context, m *graph.Model) (float64, error)

// Steps of the search for the largest compression: ratios double until one
// drops too far, then the gap between the last two is halved, on a logarithmic
// scale, so often. Four halvings leave the ratio known to 4 %.
const dropHalvings = 4

// NewPlanWithin plans the largest compression of m that it finds whose metric
// falls by no more than drop, in the metric's own units: it bisects on the ratio
// and measures each model that a ratio gives. Where the least compression
// already drops too far, the plan changes nothing. The options set no budget.
func NewPlanWithin(ctx context.Context, m *graph.Model, o Options, drop float64, metric Metric) (*Plan, error) {
	if metric == nil {
		return nil, fmt.Errorf("%w: there is no metric", ErrOptions)
	}
	switch _, set := (&planner{opts: o}).budget(); {
	case set || o.TargetSize != 0:
		return nil, fmt.Errorf("%w: a budget and a bound on the drop of a metric exclude each other", ErrOptions)
	case !(drop >= 0) || math.IsInf(drop, 0):
		return nil, fmt.Errorf("%w: a drop of %g, wanted 0 or more", ErrOptions, drop)
	case o.NumTerms > 0 || o.ForTraining || o.Trial != nil:
		return nil, fmt.Errorf("%w: a bound on the drop of a metric, measured without training, leaves no room for a number of terms or a plan for training", ErrOptions)
	}
	p, err := newPlanner(m, o)
	if err != nil {
		return nil, err
	}
	before, err := metric(ctx, m)
	if err != nil {
		return nil, err
	}
	w := &within{p: p, least: before - drop, metric: metric}
	if err := p.measureCurves(ctx); err != nil {
		return nil, err
	}
	p.widenAsked()
	best := p.plan(nil, p.mixed().tradeoff())
	for i := range best.Layers {
		if e := &best.Layers[i]; e.Action == ActDense {
			e.Reason = fmt.Sprintf("any compression that was tried drops the metric by more than %g", drop)
		}
	}
	low, high := 1.0, 2.0
	for {
		plan, err := w.try(ctx, high)
		if err != nil {
			return nil, err
		}
		if plan == nil {
			break
		}
		best, low, high = plan, high, 2*high
	}
	for range dropHalvings {
		mid := math.Sqrt(low * high)
		plan, err := w.try(ctx, mid)
		if err != nil {
			return nil, err
		}
		if plan != nil {
			best, low = plan, mid
		} else {
			high = mid
		}
	}
	best.Options.MaxDrop = drop
	p.warn(best)
	return best, nil
}

// within is a search for the largest compression of a bounded drop.
type within struct {
	p      *planner
	least  float64 // that the metric may be
	metric Metric
	tried  int
}

// try is the plan for a ratio; nil where there is none or where it drops too
// far.
func (w *within) try(ctx context.Context, ratio float64) (*Plan, error) {
	at := *w.p
	at.opts.Ratio, at.few = ratio, true
	if w.tried++; at.opts.Progress != nil {
		// How many there will be is not known, and their plans' steps are many.
		at.opts.Progress(fmt.Sprintf("ratio %.3g", ratio), w.tried-1, 0)
		at.opts.Progress, at.pace = nil, nil
	}
	plan, err := at.decide(ctx)
	var infeasible *InfeasibleError
	if errors.As(err, &infeasible) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	small, _, err := Apply(ctx, w.p.model, plan, ApplyOptions{Pool: at.opts.Pool, Calibration: at.opts.Calibration})
	if err != nil {
		return nil, err
	}
	got, err := w.metric(ctx, small)
	if err != nil || !(got >= w.least) {
		return nil, err
	}
	return plan, nil
}
