package convert

import (
	"cmp"
	"fmt"
	"slices"

	"bilinc/convert/match"
	"bilinc/factorize"
)

// wideShape is the shape of one balanced pair for a layer of m outputs, made so
// many times as wide, and n inputs: that of the least parameters, and of these
// the most balanced one, which divides the factor and pads no outputs.
func wideShape(m, n, factor int) (best factorize.Shape, ok bool) {
	may := func(s factorize.Shape) bool {
		by, ok := factorize.WideningOf(s.M1, s.M2, factor)
		return ok && by.M1*by.M2 == m && !s.IsLowRank()
	}
	if s := factorize.Balanced(m*factor, n); may(s) {
		return s, true
	}
	shapes := slices.DeleteFunc(factorize.Shapes(m*factor, n), func(s factorize.Shape) bool { return !may(s) })
	if len(shapes) == 0 {
		return best, false
	}
	return slices.MinFunc(shapes, func(a, b factorize.Shape) int {
		return cmp.Or(cmp.Compare(a.Params(1), b.Params(1)), cmp.Compare(imbalance(a), imbalance(b)))
	}), true
}

// widened is p with every layer widened by a factor that can be. Where that was
// asked for, a layer that stays dense may read a wide one, and grows; else what
// reads one has to be factors that are no larger than the weight was. The
// reasons why a layer is not widened go to p.noWiden. It is nil where no layer is.
//
// The errors are estimates: a wide layer's is that of its first copies, so that
// of the terms in its own width, and a reader's that of so many terms before.
func (p *planner) widened(factor int, asked bool) *planner {
	at := map[*match.Weight]*curve{}
	for _, c := range p.curves {
		at[c.weight] = c
	}
	wide := map[*match.Weight]*widening{}
	from := map[*match.Weight]*match.Weight{}
	for _, w := range p.found.weights {
		wd, why := p.found.widen(w)
		if why == "" {
			why = p.mayWiden(w, wd, factor, at, from, asked)
		}
		if why != "" {
			p.noWiden[w] = why
			continue
		}
		wide[w] = wd
		for _, l := range wd.readers {
			from[l.Weight] = w
		}
	}
	if len(wide) == 0 {
		return nil
	}
	out := *p
	out.curves, out.wideLeft = nil, map[*match.Weight]int{}
	for _, w := range p.found.weights {
		c := at[w]
		cols := w.Cols
		if from[w] != nil {
			cols *= factor
		}
		switch {
		case c == nil && from[w] != nil:
			out.wideLeft[w] = w.Rows * cols
			out.fixed += int64(w.Rows*cols - w.Params())
		case c == nil:
		case wide[w] != nil:
			c = p.wideCurve(c, wide[w], factor, cols, asked)
		case from[w] != nil:
			c = p.readerCurve(c, cols, asked)
		}
		if c == nil {
			continue
		}
		if len(c.points) == 0 {
			return nil
		}
		out.curves = append(out.curves, c)
	}
	return &out
}

// mayWiden says why a layer whose output may become wider is not widened.
func (p *planner) mayWiden(w *match.Weight, wd *widening, factor int, at map[*match.Weight]*curve, from map[*match.Weight]*match.Weight, asked bool) string {
	if at[w] == nil {
		return p.left[w]
	}
	if !slices.ContainsFunc(at[w].points, func(pt point) bool { return pt.widens(w) }) {
		return "no pair of its own width is smaller than its weight"
	}
	if _, ok := wideShape(w.Rows, w.Cols, factor); !ok {
		return fmt.Sprintf("no pair has %d times its %d outputs", factor, w.Rows)
	}
	for _, l := range wd.readers {
		switch {
		case from[l.Weight] != nil:
			return fmt.Sprintf("layer %q reads two layers that could be widened", l.Name)
		case at[l.Weight] == nil && !asked:
			return fmt.Sprintf("layer %q, which reads it, stays as it is", l.Name)
		}
	}
	return ""
}

// widens reports whether a point is one of the pairs of w that can be widened.
func (p *point) widens(w *match.Weight) bool {
	return !p.dense() && !p.shape.IsLowRank() && p.kernel == "" && p.shape == balancedForm(w).Shape
}

// wideCurve is the points of a layer that becomes wider.
func (p *planner) wideCurve(c *curve, wd *widening, factor, cols int, asked bool) *curve {
	w := c.weight
	out := &curve{weight: w, scale: c.scale, cols: cols}
	shape, _ := wideShape(w.Rows, cols, factor)
	grown := wd.grown(factor)
	for _, pt := range c.points {
		if !pt.widens(w) || pt.terms > shape.MaxTerms() {
			continue
		}
		params := shape.Params(pt.terms) + grown
		if params < w.Params() || asked && (len(out.points) == 0 || p.opts.NumTerms > 0) {
			out.points = append(out.points, point{shape: shape, terms: pt.terms, params: params, err: pt.err, widen: factor, cols: cols})
		}
	}
	return out
}

// readerCurve is the points of a layer that reads a wide one.
func (p *planner) readerCurve(c *curve, cols int, asked bool) *curve {
	w := c.weight
	out := &curve{weight: w, scale: c.scale, cols: cols}
	pairs, low := factorize.Balanced(w.Rows, cols), factorize.LowRankShape(w.Rows, cols)
	for _, pt := range c.points {
		switch {
		case pt.dense():
			continue
		case pt.shape.IsLowRank():
			pt.shape = low
		case pt.widens(w) && !pairs.IsLowRank():
			pt.shape = pairs
		default:
			continue
		}
		pt.params = pt.shape.Params(pt.terms) + extraParams(w, pt.shape.IsLowRank())
		pt.cols = cols
		if pt.terms <= pt.shape.MaxTerms() && (pt.params < w.Params() || p.opts.NumTerms > 0) {
			out.points = append(out.points, pt)
		}
	}
	if len(out.points) == 0 && asked {
		out.points = append(out.points, point{params: w.Rows * cols, cols: cols})
	}
	return out
}

// widenAsked widens what Options.Widen asks for.
func (p *planner) widenAsked() {
	if p.opts.Widen < 2 {
		return
	}
	if wide := p.widened(p.opts.Widen, true); wide != nil {
		p.curves, p.fixed, p.wideLeft = wide.curves, wide.fixed, wide.wideLeft
		return
	}
	p.warnings = append(p.warnings, fmt.Sprintf("no layer can be made %d times as wide: the plan says for each why", p.opts.Widen))
}

// wideIn completes the plan's entry of a layer: how wide it is, and its shape
// and size where it reads a wide one.
func (p *planner) wideIn(e *LayerPlan, w *match.Weight, pt *point) {
	e.NoWiden = p.noWiden[w]
	switch {
	case p.wideLeft[w] > 0:
		e.Action, e.ParamsAfter = ActDense, int64(p.wideLeft[w])
		e.Reason += fmt.Sprintf("; fitted to the %d outputs of a wide layer", p.wideLeft[w]/w.Rows)
	case pt == nil:
	case pt.dense() && pt.cols > 0:
		e.ParamsAfter = int64(pt.params)
		e.Reason = fmt.Sprintf("no factors are smaller; fitted to the %d outputs of a wide layer", pt.cols)
	default:
		if e.Widen = pt.widen; pt.cols > 0 && e.Action == ActLowRank {
			e.Shape = shapeOf(pt.shape)
		}
	}
}
