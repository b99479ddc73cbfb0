package dataset

import (
	"fmt"
	"iter"

	"bilinc/runtime/tensor"
)

// A Batch is one run's worth of samples.
type Batch struct {
	Inputs []*tensor.Tensor // in the order of Bound.Inputs
	Labels *tensor.Tensor   // Rows rows; nil where there are none
	First  int              // the number of the first row in the whole data
	Rows   int              // the rows that count
	Padded int              // the rows of the inputs: more than Rows where the last row was repeated to fill a fixed batch
}

// Rows is the number of rows over all of the data.
func (b *Bound) Rows() int {
	if b.sample != nil {
		return len(b.sample)
	}
	n := 0
	for _, p := range b.parts {
		n += p.rows
	}
	return n
}

// HasLabels reports whether the rows have targets.
func (b *Bound) HasLabels() bool {
	return len(b.parts) > 0 && b.parts[0].labels != nil
}

// Batches gives the rows in order, size at a time: fewer at the end of the
// data (and of each test_data_set), another number where the model fixes it.
// It ends after the first error.
func (b *Bound) Batches(size int) iter.Seq2[Batch, error] {
	if b.Fixed > 0 {
		size = b.Fixed
	}
	size = max(1, size)
	if b.sample != nil {
		return b.sampled(size)
	}
	return func(yield func(Batch, error) bool) {
		first := 0
		for i := range b.parts {
			p := &b.parts[i]
			step := size
			if p.whole {
				step = p.rows
			}
			for lo := 0; lo < p.rows; lo += step {
				batch, err := b.batch(p, lo, min(lo+step, p.rows))
				if err != nil {
					yield(Batch{}, fmt.Errorf("%s: %w", p.name, err))
					return
				}
				batch.First = first + lo
				if !yield(batch, nil) {
					return
				}
			}
			first += p.rows
		}
	}
}

// batch is rows lo to hi of a part.
func (b *Bound) batch(p *part, lo, hi int) (Batch, error) {
	batch := Batch{Rows: hi - lo, Padded: hi - lo}
	if b.Fixed > 0 && !p.whole {
		batch.Padded = b.Fixed
	}
	for i := range p.columns {
		c := &p.columns[i]
		t, err := c.read(lo, hi, batch.Padded, p.whole)
		if err != nil {
			return Batch{}, fmt.Errorf("input %q: %w", c.input, err)
		}
		batch.Inputs = append(batch.Inputs, t)
	}
	if p.labels != nil {
		if p.whole {
			hi = lo + firstDim(p.labels.shape())
		}
		t, err := p.labels.rows(lo, hi)
		if err != nil {
			return Batch{}, fmt.Errorf("labels: %w", err)
		}
		batch.Labels = t
	}
	return batch, nil
}

// read is rows lo to hi as the input takes them, the last one repeated until
// there are padded.
func (c *column) read(lo, hi, padded int, whole bool) (*tensor.Tensor, error) {
	if whole {
		return c.src.rows(0, firstDim(c.src.shape()))
	}
	t, err := c.src.rows(lo, hi)
	if err != nil {
		return nil, err
	}
	if t, err = c.convert(t); err != nil {
		return nil, err
	}
	if len(c.src.shape()) == 0 {
		return t, nil
	}
	if c.flat {
		return t.Reshaped(c.each...)
	}
	if t, err = t.Reshaped(append([]int{hi - lo}, c.each...)...); err != nil {
		return nil, err
	}
	if padded == hi-lo {
		return t, nil
	}
	if err := checkMadeUp(withRows(t.Shape(), padded)); err != nil {
		return nil, err
	}
	return padRows(t, padded), nil
}

// padRows repeats the last row of t until there are n.
func padRows(t *tensor.Tensor, n int) *tensor.Tensor {
	out := tensor.New(t.DType(), withRows(t.Shape(), n)...)
	have := t.Shape()[0]
	if t.DType() == tensor.String {
		from, to := tensor.Data[string](t), tensor.Data[string](out)
		each := len(from) / have
		for at := copy(to, from); at < len(to); {
			at += copy(to[at:], from[(have-1)*each:])
		}
		return out
	}
	each := len(t.Bytes()) / have
	for at := copy(out.Bytes(), t.Bytes()); at < len(out.Bytes()); {
		at += copy(out.Bytes()[at:], t.Bytes()[(have-1)*each:])
	}
	return out
}

// convert is t in the element type of the input, scaled.
func (c *column) convert(t *tensor.Tensor) (*tensor.Tensor, error) {
	if c.scale == 0 && t.DType() == c.elem {
		return t, nil
	}
	if c.elem.IsInteger() {
		return widenInts(t, c.elem)
	}
	if t.DType() == tensor.Uint8 && c.elem == tensor.Float32 {
		table := c.bytesTable()
		out := tensor.New(tensor.Float32, t.Shape()...)
		to := tensor.Data[float32](out)
		for i, v := range tensor.Data[uint8](t) {
			to[i] = table[v]
		}
		return out, nil
	}
	v, err := tensor.Float64s(t)
	if err != nil {
		return nil, err
	}
	for i := range v {
		v[i] *= c.factor()
	}
	return tensor.FromFloat64s(c.elem, v, t.Shape()...)
}

// factor is what numbers are multiplied by.
func (c *column) factor() float64 {
	if c.scale == 0 {
		return 1
	}
	return c.scale
}

// bytesTable is what each byte becomes in float32.
func (c *column) bytesTable() (table [256]float32) {
	for i := range table {
		table[i] = float32(float64(i) * c.factor())
	}
	return table
}

// widenInts is t in a wider integer type.
func widenInts(t *tensor.Tensor, d tensor.DType) (*tensor.Tensor, error) {
	v, err := tensor.Int64s(t)
	if err != nil {
		return nil, err
	}
	return intsOf(d, v, t.Shape())
}

// intsOf is v, numbers that d can hold, as a tensor.
func intsOf(d tensor.DType, v []int64, shape []int) (*tensor.Tensor, error) {
	t := tensor.New(d, shape...)
	switch d {
	case tensor.Int64:
		copy(tensor.Data[int64](t), v)
	case tensor.Int32:
		narrow(tensor.Data[int32](t), v)
	case tensor.Int16:
		narrow(tensor.Data[int16](t), v)
	case tensor.Int8:
		narrow(tensor.Data[int8](t), v)
	case tensor.Uint64:
		narrow(tensor.Data[uint64](t), v)
	case tensor.Uint32:
		narrow(tensor.Data[uint32](t), v)
	case tensor.Uint16:
		narrow(tensor.Data[uint16](t), v)
	case tensor.Uint8:
		narrow(tensor.Data[uint8](t), v)
	default:
		return nil, fmt.Errorf("integers cannot be had as %v", d)
	}
	return t, nil
}

func narrow[T int8 | int16 | int32 | uint8 | uint16 | uint32 | uint64](to []T, from []int64) {
	for i, v := range from {
		to[i] = T(v)
	}
}
