package convert

import (
	"cmp"
	"context"
	"slices"

	"bilinc/factorize"
)

// shapeSlack is how many times the balanced pair's parameters a pair of another
// shape may have.
const shapeSlack = 1.1

// mostShapes is how many trials of shapes Options.Search adds.
const mostShapes = 24

// shapes tries other shapes for the pairs of the best candidate, one weight at a
// time: those next to its shape, and on in the direction that helps, until none
// does. It takes the trials that are left over, and more where they are asked for.
func (t *trials) shapes(ctx context.Context, left int) error {
	t.left = left
	if t.p.opts.Search {
		t.left += int(min(mostShapes, max(leastPairs, pairsWork/max(1, t.work))))
	}
	t.p.pace.expect(pacePairs, float64(t.left)*t.work)
	defer t.p.pace.expect(pacePairs, 0)
	for improved := true; improved && t.left > 0; {
		improved = false
		for i := len(t.p.curves) - 1; i >= 0; i-- {
			best := t.best()
			if best == nil || best.p.curves[i].cols > 0 || best.p.curves[i].points[best.a[i]].dense() || best.p.curves[i].points[best.a[i]].shape.IsLowRank() {
				continue
			}
			for _, s := range t.p.curves[i].neighbours(best.lean[i].shape) {
				l := slices.Clone(best.lean)
				l[i].shape = s
				better, err := t.try(ctx, l)
				if err != nil {
					return err
				}
				if improved = improved || better; better {
					break // the others are next to the old one
				}
			}
		}
	}
	return nil
}

// neighbours is the shapes next to one of a weight's pairs, among all divisor
// pairs (padded ones where a dimension has few) that are of hardly more
// parameters than the balanced one, in the order of the left factor's rows and
// columns. None stands for the balanced one. Tables and convolutions over
// places, of which there is more than shapes to choose, have none.
func (c *curve) neighbours(s factorize.Shape) []factorize.Shape {
	w := c.weight
	if isTable(w) || w.Layers[0].Conv != nil && w.Layers[0].Conv.Taps() > 1 || c.cols > 0 {
		return nil
	}
	balanced := balancedForm(w).Shape
	if s == (factorize.Shape{}) {
		s = balanced
	}
	most := shapeSlack * float64(balanced.Params(1))
	var all []factorize.Shape
	for _, f := range forms(w) {
		if !f.IsLowRank() && f.kernel == "" && float64(f.Params(1)) <= most {
			all = append(all, f.Shape)
		}
	}
	slices.SortStableFunc(all, func(a, b factorize.Shape) int {
		return cmp.Or(cmp.Compare(a.M1, b.M1), cmp.Compare(b.N1, a.N1))
	})
	at := slices.Index(all, s)
	if at < 0 {
		return nil
	}
	var out []factorize.Shape
	if at > 0 {
		out = append(out, all[at-1])
	}
	if at+1 < len(all) {
		out = append(out, all[at+1])
	}
	return out
}

// reshape gives the pairs among the points another shape. Their errors stay:
// trials tell what the shape does.
func (c *curve) reshape(s factorize.Shape) {
	w := c.weight
	out := make([]point, 0, len(c.points))
	for _, pt := range c.points {
		if pt.widens(w) {
			if pt.shape = s; pt.terms > s.MaxTerms() {
				continue
			}
			pt.params = s.Params(pt.terms) + extraParams(w, false)
			if pt.params >= w.Params() {
				continue
			}
		}
		out = append(out, pt)
	}
	c.points = pareto(out)
}
