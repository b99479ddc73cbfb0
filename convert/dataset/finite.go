package dataset

import (
	"context"
	"fmt"

	"bilinc/runtime/tensor"
)

// A ValueError is a number in data that nothing can be computed with.
type ValueError struct {
	Array, File string
	Row         int    // in the array
	Index       []int  // within the row
	Found       string // the number
	Wanted      string
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("array %q (%s): row %d, index %v is %s, wanted %s", e.Array, e.File, e.Row, e.Index, e.Found, e.Wanted)
}

// finiteBytes is about how many bytes are looked at together.
const finiteBytes = 1 << 20

// Finite reads all rows and fails with a *ValueError at the first number, of
// what inputs take and of targets, that is NaN or infinite, or becomes so in the
// input's element type.
func (b *Bound) Finite(ctx context.Context) error {
	wanted := b.sampledRows()
	for i := range b.parts {
		p := &b.parts[i]
		for k := range p.columns {
			c := &p.columns[k]
			if err := c.finite(ctx, p.rowsOf(c.src), wanted[i]); err != nil {
				return err
			}
		}
		if p.labels != nil {
			c := column{src: p.labels, elem: p.labels.dtype(), array: p.target, where: p.file}
			if err := c.finite(ctx, p.rowsOf(p.labels), wanted[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowsOf is how many rows of an array a part takes.
func (p *part) rowsOf(src source) int {
	if p.whole {
		return firstDim(src.shape())
	}
	return min(p.rows, firstDim(src.shape()))
}

// sampledRows says for every part which rows a sample takes; nil for all.
func (b *Bound) sampledRows() [][]bool {
	out := make([][]bool, len(b.parts))
	if b.sample == nil {
		return out
	}
	for i := range out {
		out[i] = make([]bool, b.parts[i].rows)
	}
	p := b.Picker()
	for _, u := range b.sample {
		q, row := p.find(u)
		for i := range b.parts {
			if q == &b.parts[i] {
				out[i][row] = true
			}
		}
	}
	return out
}

// finite looks at the first rows of a column, those that are wanted.
func (c *column) finite(ctx context.Context, rows int, wanted []bool) error {
	if !c.src.dtype().IsFloat() && c.scale == 0 {
		return nil
	}
	shape := c.src.shape()
	if len(shape) == 0 {
		t, err := c.src.rows(0, 0)
		if err != nil {
			return err
		}
		return c.finiteRows(t, 0, 1, nil, nil)
	}
	each, err := tensor.Elements(shape[1:])
	if err != nil {
		return err
	}
	step := max(1, finiteBytes/max(1, c.src.dtype().ByteLen(each)))
	for lo := 0; lo < rows; lo += step {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		hi := min(lo+step, rows)
		if wanted != nil && !anyOf(wanted[lo:hi]) {
			continue
		}
		t, err := c.src.rows(lo, hi)
		if err != nil {
			return fmt.Errorf("array %q (%s): %w", c.array, c.where, err)
		}
		if err := c.finiteRows(t, lo, hi-lo, shape[1:], wanted); err != nil {
			return err
		}
	}
	return nil
}

func anyOf(v []bool) bool {
	for _, x := range v {
		if x {
			return true
		}
	}
	return false
}

// finiteRows looks at n rows of the given shape, the first of which is row lo.
func (c *column) finiteRows(t *tensor.Tensor, lo, n int, shape []int, wanted []bool) error {
	to, err := c.convert(t)
	if err != nil {
		return fmt.Errorf("array %q (%s): %w", c.array, c.where, err)
	}
	k := -1
	each := max(1, t.Len()/max(1, n))
	ok := func(i int, x float64) bool {
		if x-x != 0 && (wanted == nil || wanted[lo+i/each]) { // NaN and the infinities
			k = i
		}
		return k < 0
	}
	if to.DType() == tensor.Float32 {
		for i, x := range tensor.Data[float32](to) {
			if !ok(i, float64(x)) {
				break
			}
		}
	} else {
		v, err := tensor.Float64s(to)
		if err != nil {
			return err
		}
		for i, x := range v {
			if !ok(i, x) {
				break
			}
		}
	}
	if k < 0 {
		return nil
	}
	v, err := tensor.Float64s(t)
	if err != nil {
		return err
	}
	e := &ValueError{Array: c.array, File: c.where, Row: lo + k/each, Found: fmt.Sprint(v[k]), Wanted: "a finite number"}
	if v[k]-v[k] == 0 {
		e.Wanted = fmt.Sprintf("a number that times %g is a finite %v", c.factor(), c.elem)
	}
	e.Index = make([]int, len(shape))
	at := k % each
	for i := len(shape) - 1; i >= 0; i-- {
		e.Index[i] = at % shape[i]
		at /= shape[i]
	}
	return e
}
