package finetune

import (
	"context"
	"fmt"
	"slices"

	"bilinc/convert/dataset"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// cacheLimit is the bytes of a teacher's outputs that are kept in memory.
const cacheLimit = 256 << 20

// A teacher gives the values that a student is to give.
type teacher struct {
	prog  *runtime.Program
	in    []tensor.Value
	out   []tensor.Value // of the last run, whose memory the next one has
	ran   []*tensor.Tensor
	cache []*tensor.Tensor // by value, of all units; nil: run anew each time
	rows  []*tensor.Tensor // what outputs gives out of the cache
}

// newTeacher compiles the part of m that the values need.
func newTeacher(m *graph.Model, values []*graph.Value, pool *kernel.Pool, seed uint64) (*teacher, error) {
	p, err := runtime.Compile(m, runtime.Options{Pool: pool, Seed: seed, Outputs: values})
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	n := len(values)
	return &teacher{prog: p, in: make([]tensor.Value, len(p.Inputs())), out: make([]tensor.Value, n), ran: make([]*tensor.Tensor, n)}, nil
}

// run computes the values for a batch, valid until the next call.
func (t *teacher) run(ctx context.Context, names []string, batch *dataset.Batch) ([]*tensor.Tensor, error) {
	for i, port := range t.prog.Inputs() {
		k := slices.Index(names, port.Name)
		switch {
		case k >= 0:
			t.in[i] = tensor.ValueOf(batch.Inputs[k])
		case !port.Optional:
			return nil, fmt.Errorf("teacher: its input %q is none of the model's", port.Name)
		}
	}
	err := t.prog.RunInto(ctx, t.in, t.out)
	if err != nil && ctx.Err() == nil { // the results may have other shapes than the last ones
		clear(t.out)
		err = t.prog.RunInto(ctx, t.in, t.out)
	}
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	for i, v := range t.out {
		if v.Kind != tensor.KindTensor {
			return nil, fmt.Errorf("teacher: output %q is a %v", t.prog.Outputs()[i].Name, v.Kind)
		}
		t.ran[i] = v.Tensor
	}
	return t.ran, nil
}

// fill keeps the values of all units where they are rows and take no more than
// cacheLimit. step is the units of a run.
func (t *teacher) fill(ctx context.Context, names []string, data Data, step int, done func(rows int)) error {
	units := data.Units()
	var batch dataset.Batch
	for lo := 0; lo < units; lo += step {
		part := counting(lo, min(units, lo+step))
		if err := data.Pick(part, &batch); err != nil {
			return err
		}
		out, err := t.run(ctx, names, &batch)
		if err != nil {
			return err
		}
		if batch.Rows != len(part) || lo == 0 && !t.begin(out, &batch, units) {
			return nil
		}
		for i, v := range out {
			c := t.cache[i]
			each := len(c.Bytes()) / units
			if len(v.Bytes()) != each*batch.Padded {
				t.cache = nil // rows of other sizes
				return nil
			}
			copy(c.Bytes()[lo*each:], v.Bytes()[:each*len(part)])
		}
		if done != nil {
			done(len(part))
		}
	}
	return nil
}

// begin makes the cache from the outputs of a first run; false: there is none.
func (t *teacher) begin(out []*tensor.Tensor, batch *dataset.Batch, units int) bool {
	total := 0
	for _, v := range out {
		if v.Rank() == 0 || v.Shape()[0] != batch.Padded || v.DType().Bits() < 8 {
			return false
		}
		total += v.Len() / batch.Padded * v.DType().ByteLen(1)
	}
	if total > cacheLimit/units {
		return false
	}
	t.rows = make([]*tensor.Tensor, len(out))
	for _, v := range out {
		shape := slices.Clone(v.Shape())
		shape[0] = units
		t.cache = append(t.cache, tensor.New(v.DType(), shape...))
	}
	return true
}

// outputs is the values for a batch of the given units, valid until the next
// call.
func (t *teacher) outputs(ctx context.Context, names []string, units []int, batch *dataset.Batch) ([]*tensor.Tensor, error) {
	if t.cache == nil {
		return t.run(ctx, names, batch)
	}
	for i, c := range t.cache {
		if r := t.rows[i]; r == nil || r.Shape()[0] != batch.Padded {
			shape := slices.Clone(c.Shape())
			shape[0] = batch.Padded
			t.rows[i] = tensor.New(c.DType(), shape...)
		}
		to, from := t.rows[i].Bytes(), c.Bytes()
		each := len(from) / c.Shape()[0]
		for k := range batch.Padded {
			u := units[min(k, len(units)-1)]
			copy(to[k*each:(k+1)*each], from[u*each:])
		}
	}
	return t.rows, nil
}

// counting is the numbers from lo to below hi.
func counting(lo, hi int) []int {
	out := make([]int, hi-lo)
	for i := range out {
		out[i] = lo + i
	}
	return out
}

// spread adds up the variance of values about the means of their elements over
// rows (B. Welford, "Note on a method for calculating corrected sums of squares
// and products", 1962).
type spread struct {
	n        float64
	mean, m2 []float64
}

func (s *spread) add(t *tensor.Tensor, rows, padded int) error {
	v, err := tensor.Float64s(t)
	if err != nil {
		return err
	}
	each := len(v) / padded
	if s.mean == nil {
		s.mean, s.m2 = make([]float64, each), make([]float64, each)
	}
	if each != len(s.mean) {
		return nil // rows of other sizes have no common mean
	}
	for r := range rows {
		s.n++
		for i, x := range v[r*each : (r+1)*each] {
			d := x - s.mean[i]
			s.mean[i] += d / s.n
			s.m2[i] += d * (x - s.mean[i])
		}
	}
	return nil
}

// scale is 1 by the mean variance; 1 where there is none.
func (s *spread) scale() float64 {
	sum := 0.0
	for _, x := range s.m2 {
		sum += x
	}
	if !(sum > 0) {
		return 1
	}
	return s.n * float64(len(s.m2)) / sum
}
