package convert

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/factorize"
	"bilinc/runtime"
	"bilinc/runtime/tensor"
)

// tableSweeps is the sweeps of a fit of pairs to a table; they take little.
const tableSweeps = 12

// table is the problem of a weight that is looked up: how often each row is,
// and how much errors of a row matter. What is looked up does not change with
// layers before, so that it is gathered once.
func (c *Calibration) table(ctx context.Context, i int) (*factorize.Table, error) {
	if t := c.tables[i]; t != nil {
		return t, nil
	}
	w := c.found.weights[i]
	dense, err := w.Dense()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(w.Layers))
	for k, l := range w.Layers {
		names[k] = l.X.Name()
	}
	p, err := c.compile(c.model, names)
	if err != nil {
		return nil, err
	}
	counts, all := make([]float64, w.Cols), 0
	err = c.each(ctx, 0, 1, []*runtime.Program{p}, func(_ int, b *dataset.Batch, out [][]tensor.Value) error {
		for k, l := range w.Layers {
			v, err := tensor.Int64s(out[0][k].Tensor)
			if err != nil {
				return fmt.Errorf("layer %q: indices %v: %w", l.Name, out[0][k].Tensor, err)
			}
			counting, err := c.countedIndices(out[0][k].Tensor.Shape(), b)
			if err != nil {
				return err
			}
			for at, x := range v {
				if x < 0 {
					x += int64(w.Cols)
				}
				if x < 0 || x >= int64(w.Cols) {
					return fmt.Errorf("%w: layer %q looks up row %d of %d", ErrData, l.Name, v[at], w.Cols)
				}
				if counting(at, len(v)) {
					counts[x]++
					all++
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Every row counts as looked up once more than it was (Laplace's rule): what
	// these data do not have, others may.
	t := &factorize.Table{W: dense, Weights: counts, Metric: c.metrics[i]}
	for v := range counts {
		counts[v] = (counts[v] + 1) / float64(all+w.Cols)
	}
	c.tables[i] = t
	return t, nil
}

// countedIndices says which of the indices of a batch count.
func (c *Calibration) countedIndices(shape []int, b *dataset.Batch) (func(at, all int) bool, error) {
	p, err := c.positionsOf(b)
	if err != nil {
		return nil, err
	}
	if p != nil {
		if turned, ok := p.lead(shape); ok {
			return func(at, all int) bool { return p.keep[p.at(at, all, turned)] }, nil
		}
	}
	return func(at, all int) bool {
		return b.Rows == b.Padded || all%b.Padded != 0 || at < all/b.Padded*b.Rows
	}, nil
}

// fitTable fits so many terms of a shape to a table.
func (c *Calibration) fitTable(ctx context.Context, i int, s factorize.Shape, terms int) (*factorize.Kronecker, error) {
	t, err := c.table(ctx, i)
	if err != nil {
		return nil, err
	}
	o := factorize.Options{Pool: c.pool, Seed: c.seed}
	if !s.IsLowRank() {
		return t.Fit(ctx, s, terms, tableSweeps, o)
	}
	u, v, _, err := t.LowRank(ctx, terms, o)
	if err != nil {
		return nil, err
	}
	k := &factorize.Kronecker{Shape: s, Rows: s.M1, Cols: s.N2}
	for r := range min(terms, v.RawMatrix().Rows) {
		k.A = append(k.A, mat.NewDense(s.M1, 1, mat.Col(nil, r, u)))
		k.B = append(k.B, mat.NewDense(1, s.N2, mat.Row(nil, r, v)))
	}
	return k, nil
}

// tableCurve is the curve of a table, as fitCurve gives that of other weights.
func (c *Calibration) tableCurve(ctx context.Context, i int, o *Options, limit int) (*curve, error) {
	w := c.found.weights[i]
	t, err := c.table(ctx, i)
	if err != nil {
		return nil, err
	}
	fo := factorize.Options{Pool: c.pool, Seed: c.seed}
	scale := c.weights[i]
	if t.Metric == nil {
		if scale = t.Loss(mat.NewDense(w.Rows, w.Cols, nil), fo); scale > 0 {
			scale = 1 / scale
		}
	}
	out := &curve{weight: w, scale: 1}
	add := func(f form, terms int, loss float64) {
		out.points = append(out.points, point{shape: f.Shape, terms: terms, params: f.Params(terms), err: scale * loss})
	}
	low, balanced := lowRankForm(w), balancedForm(w)
	top := func(f form) int {
		n := f.TermsWithin(min(w.Params(), max(limit, f.Params(1))))
		for n > 0 && !fits(w, f.Shape, n) {
			n--
		}
		return n
	}
	if o.NumTerms > 0 {
		f := balanced
		if o.structure() == LowRank {
			f = low
		}
		terms := min(o.NumTerms, f.MaxTerms())
		k, err := c.fitTable(ctx, i, f.Shape, terms)
		if err != nil {
			return nil, err
		}
		add(f, terms, t.Loss(k.Dense(), fo))
		return out, nil
	}
	if n := top(low); n > 0 && (o.structure() == LowRank || o.structure() == Auto) {
		_, _, losses, err := t.LowRank(ctx, n, fo)
		if err != nil {
			return nil, err
		}
		for r, e := range losses[:min(n, len(losses))] {
			add(low, r+1, e)
		}
	}
	if o.structure() != LowRank && balanced != low {
		for _, r := range fittedTerms {
			if r > top(balanced) || o.structure() == Bilinear && r > 1 {
				break
			}
			k, err := c.fitTable(ctx, i, balanced.Shape, r)
			if err != nil {
				return nil, err
			}
			add(balanced, r, t.Loss(k.Dense(), fo))
		}
	}
	if o.structure() != Bilinear || len(out.points) == 0 {
		out.points = append(out.points, point{params: w.Params()})
	}
	return out, nil
}
