package convert

import (
	"cmp"
	"slices"
)

// An allocation is the index of a point for every curve.
type allocation []int

// total is the parameters and the mean error of an allocation; parameters of
// the rest of the model not included.
func total(curves []*curve, a allocation) (params int64, err float64) {
	sum := 0.0
	for i, c := range curves {
		p := &c.points[a[i]]
		params += int64(p.params)
		err += c.scale * p.err
		sum += c.scale
	}
	if sum > 0 {
		err /= sum
	}
	return params, err
}

// allocate shares a budget of parameters out over the curves. It starts from
// the smallest point of each and takes the steps along the convex hulls in the
// order of error drop per parameter (a Lagrangian); what is left then goes
// into the single steps that lower the error most. ok is false where not even
// the smallest points fit.
func allocate(curves []*curve, budget int64) (a allocation, ok bool) {
	a = make(allocation, len(curves))
	params, _ := total(curves, a)
	if params > budget {
		return a, false
	}
	type step struct {
		curve, to int
		gain      float64 // per parameter
		cost      int64
	}
	var steps []step
	for i, c := range curves {
		h := hull(c.points)
		for k := 1; k < len(h); k++ {
			p, q := &c.points[h[k-1]], &c.points[h[k]]
			cost := int64(q.params - p.params)
			steps = append(steps, step{i, h[k], c.scale * (p.err - q.err) / float64(cost), cost})
		}
	}
	// Along one curve gains fall, so that the order keeps each curve's own.
	slices.SortStableFunc(steps, func(x, y step) int { return cmp.Compare(y.gain, x.gain) })
	stopped := make([]bool, len(curves))
	for _, s := range steps {
		// The next steps of this curve build on the one that does not fit.
		if stopped[s.curve] || params+s.cost > budget {
			stopped[s.curve] = true
			continue
		}
		a[s.curve] = s.to
		params += s.cost
	}
	for {
		best, bestTo, bestDrop := -1, 0, 0.0
		for i, c := range curves {
			now := &c.points[a[i]]
			// The points ascend in parameters and fall in error: the last that
			// fits is the best.
			to := a[i]
			for to+1 < len(c.points) && params+int64(c.points[to+1].params-now.params) <= budget {
				to++
			}
			if drop := c.scale * (now.err - c.points[to].err); drop > bestDrop {
				best, bestTo, bestDrop = i, to, drop
			}
		}
		if best < 0 {
			return a, true
		}
		params += int64(curves[best].points[bestTo].params - curves[best].points[a[best]].params)
		a[best] = bestTo
	}
}
