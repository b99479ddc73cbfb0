package dataset

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sort"

	"bilinc/runtime/tensor"
)

// A Picker reads samples of bound data in any order. What it picks by is
// units: rows, or whole test_data_set folders where these are fed as they are.
// It keeps its memory from one Pick to the next and is for one goroutine.
type Picker struct {
	b     *Bound
	first []int           // the first unit of each part
	units int             // in all
	bytes [][256]float32  // by part and column: what a byte becomes, where bytes are read
	table map[*column]int // the place in bytes
}

// Picker prepares reading samples in any order.
func (b *Bound) Picker() *Picker {
	p := &Picker{b: b, table: map[*column]int{}}
	for i := range b.parts {
		q := &b.parts[i]
		p.first = append(p.first, p.units)
		if q.whole {
			p.units++
		} else {
			p.units += q.rows
		}
		for j := range q.columns {
			if c := &q.columns[j]; c.src.dtype() == tensor.Uint8 && c.elem == tensor.Float32 {
				p.table[c] = len(p.bytes)
				p.bytes = append(p.bytes, c.bytesTable())
			}
		}
	}
	return p
}

// Units is the number of units.
func (p *Picker) Units() int { return p.units }

// HasLabels reports whether the rows have targets.
func (p *Picker) HasLabels() bool { return p.b.HasLabels() }

// Most is how many units one Pick may take; 0 means any number.
func (p *Picker) Most() int {
	if slices.ContainsFunc(p.b.parts, func(q part) bool { return q.whole }) {
		return 1
	}
	return p.b.Fixed
}

// Pick makes batch the given units, in their order, reusing the tensors that it
// holds from an earlier Pick. Where the model fixes its batch, the last row is
// repeated to fill it. batch.First is that of the first unit.
func (p *Picker) Pick(units []int, batch *Batch) error {
	if most := p.Most(); len(units) == 0 || most > 0 && len(units) > most {
		return fmt.Errorf("%d samples are picked at a time, wanted 1 to %d", len(units), most)
	}
	for _, u := range units {
		if u < 0 || u >= p.units {
			return fmt.Errorf("sample %d is picked, there are %d", u, p.units)
		}
	}
	q, _ := p.find(units[0])
	if q.whole {
		whole, err := p.b.batch(q, 0, q.rows)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		*batch = whole
		batch.First = units[0]
		return nil
	}
	batch.First, batch.Rows, batch.Padded = units[0], len(units), max(len(units), p.b.Fixed)
	if len(batch.Inputs) != len(q.columns) {
		batch.Inputs = make([]*tensor.Tensor, len(q.columns))
	}
	for i := range q.columns {
		if err := p.column(units, i, batch); err != nil {
			return fmt.Errorf("input %q: %w", q.columns[i].input, err)
		}
	}
	if q.labels == nil {
		batch.Labels = nil
		return nil
	}
	shape := withRows(q.labels.shape(), len(units))
	batch.Labels = reuse(batch.Labels, q.labels.dtype(), shape)
	for k, u := range units {
		q, row := p.find(u)
		if q.labels == nil {
			return fmt.Errorf("%s has no labels", q.name)
		}
		if held := rowBytes(q.labels, row); held != nil {
			copy(batch.Labels.Bytes()[k*len(held):], held)
			continue
		}
		t, err := q.labels.rows(row, row+1)
		if err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		if err := setRow(batch.Labels, k, t); err != nil {
			return fmt.Errorf("labels: %w", err)
		}
	}
	return nil
}

// find is the part of a unit, and its row there.
func (p *Picker) find(unit int) (*part, int) {
	i := sort.SearchInts(p.first, unit+1) - 1
	return &p.b.parts[i], unit - p.first[i]
}

// column reads the i-th input of the units.
func (p *Picker) column(units []int, i int, batch *Batch) error {
	q, row := p.find(units[0])
	c := &q.columns[i]
	if len(c.src.shape()) == 0 { // one value for every run
		t, err := c.read(0, 0, 1, false)
		batch.Inputs[i] = t
		return err
	}
	shape := append([]int{batch.Padded}, c.each...)
	if c.flat {
		shape = c.each
	}
	batch.Inputs[i] = reuse(batch.Inputs[i], c.elem, shape)
	to := batch.Inputs[i]
	for k := range batch.Padded {
		if k < len(units) {
			q, row = p.find(units[k])
			c = &q.columns[i]
		}
		held := rowBytes(c.src, row)
		if at, ok := p.table[c]; ok && held != nil {
			dst, table := tensor.Data[float32](to)[k*len(held):][:len(held)], &p.bytes[at]
			for j, v := range held {
				dst[j] = table[v] // no bounds to check
			}
			continue
		}
		if held != nil && c.scale == 0 && c.src.dtype() == c.elem {
			copy(to.Bytes()[k*len(held):], held)
			continue
		}
		t, err := c.src.rows(row, row+1)
		if err != nil {
			return err
		}
		if t, err = c.convert(t); err != nil {
			return err
		}
		if err := setRow(to, k, t); err != nil {
			return err
		}
	}
	return nil
}

// Sample is n of the rows, drawn by seed and in their order; b itself where it
// has no more, or where rows only come together.
func (b *Bound) Sample(n int, seed uint64) *Bound {
	units := b.Picker().units
	if n >= units {
		return b
	}
	all := make([]int, units)
	for i := range all {
		all[i] = i
	}
	return b.SampleOf(all, n, seed)
}

// SampleOf is Sample among the rows of the given numbers: all of them where
// there are no more than n.
func (b *Bound) SampleOf(among []int, n int, seed uint64) *Bound {
	if b.sample != nil || slices.ContainsFunc(b.parts, func(q part) bool { return q.whole }) {
		return b
	}
	s := *b
	s.sample = make([]int, min(n, len(among)))
	for i, k := range rand.New(rand.NewPCG(seed, 0x73616d706c65)).Perm(len(among))[:len(s.sample)] {
		s.sample[i] = among[k]
	}
	slices.Sort(s.sample)
	return &s
}

// sampled is Batches of a Sample.
func (b *Bound) sampled(size int) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		p := b.Picker()
		for lo := 0; lo < len(b.sample); lo += size {
			var batch Batch // whoever gets it may keep it
			err := p.Pick(b.sample[lo:min(lo+size, len(b.sample))], &batch)
			batch.First = lo
			if !yield(batch, err) || err != nil {
				return
			}
		}
	}
}

// rowBytes is the elements of a row that is held in memory, of whole bytes each;
// nil where it is not.
func rowBytes(src source, row int) []byte {
	m, ok := src.(memory)
	if !ok || m.t.DType() == tensor.String || m.t.DType().Bits() < 8 {
		return nil
	}
	each := len(m.t.Bytes()) / max(1, m.t.Shape()[0])
	return m.t.Bytes()[row*each : (row+1)*each]
}

// reuse is t where it is of the given type, else a new tensor of it.
func reuse(t *tensor.Tensor, d tensor.DType, shape []int) *tensor.Tensor {
	if t != nil && t.DType() == d && slices.Equal(t.Shape(), shape) {
		return t
	}
	return tensor.New(d, shape...)
}

// setRow makes row the k-th row of t.
func setRow(t *tensor.Tensor, k int, row *tensor.Tensor) error {
	n := row.Len()
	if (k+1)*n > t.Len() || row.DType() != t.DType() {
		return fmt.Errorf("row of %v does not fit %v", row, t)
	}
	if t.DType() == tensor.String {
		copy(tensor.Data[string](t)[k*n:], tensor.Data[string](row))
		return nil
	}
	if t.DType().Bits() < 8 {
		return fmt.Errorf("rows of %v, several elements to a byte, cannot be picked", t.DType())
	}
	size := t.DType().ByteLen(n)
	copy(t.Bytes()[k*size:], row.Bytes())
	return nil
}
