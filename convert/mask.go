package convert

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/runtime/tensor"
)

// Mask names the input that says which positions of a sample count: where it
// is 0, nothing goes into statistics and losses, as behind the end of a shorter
// text. It is [N T], with axes of 1 where a model wants them, and speaks of
// activations that have a row for every position. It is called before the
// calibration is used; the error wraps ErrData.
func (c *Calibration) Mask(input string) error {
	for i, name := range c.data.Inputs {
		if name == input {
			c.mask = i + 1
			return nil
		}
	}
	return fmt.Errorf("%w: there is no input %q to mask by; the data is for %q", ErrData, input, c.data.Inputs)
}

// positions is which positions of a batch count: keep[n·t+i] that of position
// i of sample n.
type positions struct {
	n, t int
	keep []bool
}

// positionsOf reads the mask of a batch; nil where there is none. Samples that
// only fill a batch count for nothing.
func (c *Calibration) positionsOf(b *dataset.Batch) (*positions, error) {
	if c.mask == 0 {
		return nil, nil
	}
	m := b.Inputs[c.mask-1]
	v, err := tensor.Float64s(m)
	if err != nil {
		return nil, fmt.Errorf("%w: mask %q: %w", ErrData, c.data.Inputs[c.mask-1], err)
	}
	if m.Rank() < 2 || m.Shape()[0] != b.Padded || m.Len() == 0 {
		return nil, fmt.Errorf("%w: mask %q is %v, wanted a row of positions for each of %d samples", ErrData, c.data.Inputs[c.mask-1], m, b.Padded)
	}
	p := &positions{n: b.Padded, t: len(v) / b.Padded, keep: make([]bool, len(v))}
	for i, x := range v {
		p.keep[i] = x != 0 && i/p.t < b.Rows
	}
	return p, nil
}

// lead is how rows stand in the leading axes of an activation: the axis of the
// samples and that of the positions in some order, or one axis of both. ok is
// false where they are not there.
func (p *positions) lead(shape []int) (turned, ok bool) {
	switch {
	case len(shape) > 0 && shape[0] == p.n*p.t, len(shape) > 1 && shape[0] == p.n && shape[1] == p.t:
		return false, true
	case len(shape) > 1 && shape[0] == p.t && shape[1] == p.n:
		return true, true
	}
	return false, false
}

// at is the position of a row of so many.
func (p *positions) at(row, rows int, turned bool) int {
	i := row / (rows / (p.n * p.t))
	if turned {
		return i%p.n*p.t + i/p.n
	}
	return i
}

// countedRows is those of the rows that l sees in an activation of the given
// shape which count, in their order.
func countedRows(l *match.Layer, x *mat.Dense, shape []int, b *dataset.Batch, p *positions) *mat.Dense {
	if p == nil {
		return counted(x, b)
	}
	lead := shape[:max(0, len(shape)-1)]
	switch {
	case l.Index != 0: // a lookup: every index is a row
		lead = shape
	case l.Columns != l.TransposeX: // […, In, S]: S of every leading index
		lead = append(append([]int{}, shape[:len(shape)-2]...), shape[len(shape)-1])
	}
	turned, ok := p.lead(lead)
	rows, n := x.Dims()
	if !ok || rows%(p.n*p.t) != 0 {
		return counted(x, b)
	}
	kept := make([]float64, 0, rows*n)
	for r := range rows {
		if p.keep[p.at(r, rows, turned)] {
			kept = append(kept, x.RawRowView(r)...)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return mat.NewDense(len(kept)/n, n, kept)
}

// countedValue is the part of an output that counts, as a tensor of one row per
// position, and the number of its rows and of those of a whole batch, as
// deviations take them. It is v itself where the mask says nothing of it.
func countedValue(v tensor.Value, b *dataset.Batch, p *positions) (out tensor.Value, rows, padded int, err error) {
	if p == nil || !measurable(v) {
		return v, b.Rows, b.Padded, nil
	}
	shape := v.Tensor.Shape()
	turned, ok := p.lead(shape)
	if !ok || len(shape) < 2 || shape[0] != p.n*p.t && len(shape) < 3 {
		return v, b.Rows, b.Padded, nil
	}
	all := p.n * p.t
	each := v.Tensor.Len() / all
	x, err := tensor.Float64s(v.Tensor)
	if err != nil {
		return v, 0, 0, err
	}
	var kept []float64
	for r := range all {
		if p.keep[p.at(r, all, turned)] {
			kept = append(kept, x[r*each:(r+1)*each]...)
		}
	}
	t, err := tensor.FromFloat64s(v.Tensor.DType(), kept, len(kept)/each, each)
	return tensor.ValueOf(t), len(kept) / each, len(kept) / each, err
}

// countedPair is countedValue of an output of both models.
func (c *Calibration) countedPair(a, b tensor.Value, batch *dataset.Batch) (u, v tensor.Value, rows, padded int, err error) {
	p, err := c.positionsOf(batch)
	if err != nil {
		return a, b, 0, 0, err
	}
	if u, rows, padded, err = countedValue(a, batch, p); err != nil {
		return a, b, 0, 0, err
	}
	v, _, _, err = countedValue(b, batch, p)
	return u, v, rows, padded, err
}

// silence sets what does not count in the cotangent d of an output to 0.
func silence(d []float64, shape []int, p *positions) {
	if p == nil {
		return
	}
	turned, ok := p.lead(shape)
	if !ok || len(shape) < 2 {
		return
	}
	all := p.n * p.t
	each := len(d) / all
	for r := range all {
		if !p.keep[p.at(r, all, turned)] {
			clear(d[r*each : (r+1)*each])
		}
	}
}
