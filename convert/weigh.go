package convert

import (
	"context"
	"slices"
)

// Curves take the model for what it is near the original. What a layer's error
// does to the outputs once it is large, only the model tells.
const (
	weighings   = 2      // rounds of it, while they help
	weighWork   = 1.5e11 // multiplications of a round
	mostWeighed = 64     // how many times more or less than its curve says a layer may count
)

// weigh runs the model with one weight at a time replaced as in the best
// candidate, and tries the plan that curves give which are scaled so that they
// say what was measured there. It reports whether that is better.
func (t *trials) weigh(ctx context.Context) (bool, error) {
	best := t.best()
	if best == nil || t.left == 0 || best == t.weighedLast || t.p.opts.Widen > 1 { // wide layers do not stand alone
		return false, nil
	}
	t.weighedLast = best
	points := t.weighed(best)
	if len(points) < 2 {
		return false, nil
	}
	var some []int
	for i := range t.p.curves {
		if points[i] != nil {
			some = append(some, i)
		}
	}
	thin := t.p.weighThin(len(some))
	ratios := map[int]float64{}
	var all []float64
	for n, i := range some {
		work := t.p.runWork(1) / float64(thin)
		t.p.pace.expect(paceRuns, work*float64(len(some)-n))
		t.p.pace.step(paceRuns, "weigh layers", work)
		s, err := t.p.trial(ctx, t.p.alone(i, points[i]), thin)
		if err != nil {
			return false, err
		}
		if predicted := points[i].err; predicted > 0 && s.mean > 0 && s.mean-s.mean == 0 {
			ratios[i] = s.mean / predicted
			all = append(all, ratios[i])
		}
	}
	if len(all) < 2 {
		return false, nil
	}
	lean := slices.Clone(best.lean)
	slices.Sort(all)
	middle := all[len(all)/2]
	for i := range lean {
		lean[i].scale = 1 // of those that were not measured
		if r, ok := ratios[i]; ok {
			lean[i].scale = min(max(r/middle, 1./mostWeighed), mostWeighed)
		}
	}
	return t.try(ctx, lean)
}

// heavy is the part of all parameters from which on a weight that the best
// candidate leaves dense is weighed too, with half of its parameters.
const heavy = 0.02

// weighed is the points that weights are weighed in, by the number of the curve.
func (t *trials) weighed(best *candidate) map[int]*point {
	all := 0
	for _, k := range best.p.curves {
		all += k.weight.Params()
	}
	out := map[int]*point{}
	for i, k := range best.p.curves {
		pt := &k.points[best.a[i]]
		if pt.dense() {
			if pt = nil; float64(k.weight.Params()) < heavy*float64(all) {
				continue
			}
			for n := range k.points {
				if p := &k.points[n]; !p.dense() && 2*p.params <= k.weight.Params() {
					pt = p
				}
			}
		}
		if pt != nil {
			out[i] = pt
		}
	}
	return out
}

// alone is the plan that replaces one weight and leaves all else as it is.
func (p *planner) alone(i int, pt *point) *Plan {
	out := &Plan{Version: PlanVersion}
	for _, l := range p.curves[i].weight.Layers {
		out.Layers = append(out.Layers, p.layer(l, pt))
	}
	return out
}

// weighThin is of how many selection batches one is run for each of so many
// weights.
func (p *planner) weighThin(weights int) int {
	c := p.opts.Calibration
	n := MACs(p.model, c.sizes)
	if n == nil || *n == 0 {
		return 1
	}
	rows := c.data.Rows() / selectionEvery
	work := float64(rows) * float64(*n) * float64(weights)
	thin := int(work / weighWork)
	return max(1, min(thin, rows/c.batch)) // of a batch at least
}
