package convert

import (
	"context"
	"math"
	"slices"

	"bilinc/runtime/graph"
)

// tilts are how many times more than found the errors of the first layer count
// against those of the last, in the plans that are compared by how they learn.
var tilts = []float64{1, 16, 256}

// byChance is the part of its loss by which a short training may come out better
// without meaning it: plans that differ by one rank come to within half of that.
const byChance = 2e-3

// tilt gives the first layers of a candidate more of the budget and the last
// ones less, where short trainings come to a smaller loss so.
//
// Fits take every layer as one that is to do what it did. Training is free to
// do otherwise, and not alike at both ends: what a layer drops of its inputs is
// lost to all behind it, while the ones before it can learn to put what matters
// into the dimensions that a later layer still has.
func (t *trials) tilt(ctx context.Context, c *candidate) (*candidate, error) {
	n := len(c.lean)
	if n < 2 {
		return c, nil
	}
	best, least, before := c, math.Inf(1), ""
	for i, by := range tilts {
		lean := slices.Clone(c.lean)
		for k := range lean {
			lean[k].scale *= math.Pow(by, float64(n-1-k)/float64(n-1))
		}
		next := t.candidate(lean)
		if fits, err := t.fits(next); err != nil {
			return nil, err
		} else if !fits {
			continue
		}
		plan := next.p.plan(next.a, nil)
		key := layersKey(plan.Layers)
		if key == before {
			continue
		}
		before = key
		t.p.pace.expect(paceTraining, float64(len(tilts)-i))
		t.p.pace.step(paceTraining, "try how it learns", 1)
		m, err := t.p.fitted(ctx, plan)
		if err != nil {
			return nil, err
		}
		loss, err := t.p.opts.Learn(ctx, m)
		if err != nil {
			return nil, err
		}
		if by == 1 {
			loss *= 1 - byChance
		}
		if loss < least {
			best, least = next, loss
		}
	}
	t.p.pace.expect(paceTraining, 0)
	return best, nil
}

// fitted is the model as a plan makes it, all layers fitted one after the other.
func (p *planner) fitted(ctx context.Context, plan *Plan) (*graph.Model, error) {
	small, js, err := prepare(p.model, plan)
	if err != nil {
		return nil, err
	}
	if err := p.opts.Calibration.fit(ctx, js, nil); err != nil {
		return nil, err
	}
	return small, js.finish()
}
