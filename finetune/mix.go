package finetune

import (
	"fmt"
	"math/rand/v2"

	"bilinc/convert/dataset"
	"bilinc/runtime/tensor"
)

// mixStream is the random numbers that blending takes.
const mixStream = 0x6d69780000000000

// blends decides whether rows are blended. It can be done where all that is
// learned is what a teacher says of inputs of floating-point numbers, whatever
// they are: then any blend of two rows is one more row, and few rows become
// many (L. Beyer et al., "Knowledge distillation: A good teacher is patient and
// consistent", arXiv 2106.05237).
func (t *Trainer) blends() error {
	why := ""
	switch {
	case t.teach == nil:
		why = "there is no teacher"
	case t.o.Mask != "":
		why = "there is a mask"
	case t.data.Most() > 0:
		why = "the model takes a fixed number of rows"
	}
	for _, h := range t.obj.heads {
		if h.labels && h.ce+h.mse > 0 {
			why = "there are targets"
		}
	}
	for i, x := range t.batch.Inputs {
		if d := x.DType(); d != tensor.Float32 && d != tensor.Float64 || x.Rank() == 0 || x.Shape()[0] != t.batch.Padded {
			why = fmt.Sprintf("input %q is no row of floating-point numbers for each sample", t.inputs[i])
		}
	}
	switch {
	case why == "" && t.o.Mix == 0:
		t.o.Mix = 1
	case why != "" && t.o.Mix > 0:
		return fmt.Errorf("%w: rows cannot be blended: %s", ErrOptions, why)
	}
	t.mix = t.o.Mix > 0
	return nil
}

// blend puts in the place of rows of the batch, of the share Options.Mix of
// them, λ times the row and 1−λ times another one, λ even in [0, 1). It depends
// on the seed and the number of the run alone.
func (t *Trainer) blend(batch *dataset.Batch) {
	m := &t.mixer
	if m.rand == nil {
		m.rand = rand.New(&m.pcg)
	}
	m.pcg.Seed(t.o.Seed, mixStream+t.Runs)
	n := batch.Rows
	m.other, m.part = m.other[:0], m.part[:0]
	for k := range n {
		m.other = append(m.other, k)
	}
	m.rand.Shuffle(n, func(i, j int) { m.other[i], m.other[j] = m.other[j], m.other[i] })
	for range n {
		part := 1.0
		if m.rand.Float64() < t.o.Mix {
			part = m.rand.Float64()
		}
		m.part = append(m.part, part)
	}
	for _, x := range batch.Inputs {
		if x.DType() == tensor.Float64 {
			m.wide = blendRows(tensor.Data[float64](x), m.wide, m.other, m.part)
		} else {
			m.narrow = blendRows(tensor.Data[float32](x), m.narrow, m.other, m.part)
		}
	}
}

// A mixer is what blending works with, so that it allocates nothing.
type mixer struct {
	pcg    rand.PCG
	rand   *rand.Rand
	other  []int
	part   []float64
	narrow []float32
	wide   []float64
}

// blendRows makes of row k of x part[k] times it plus the rest of row other[k]
// as it was. It returns buf, or a larger one, for the next call.
func blendRows[T float](x, buf []T, other []int, part []float64) []T {
	if len(other) == 0 {
		return buf
	}
	each := len(x) / len(other)
	before := append(buf[:0], x...)
	for k, o := range other {
		a, b := T(part[k]), T(1-part[k])
		row, from := x[k*each:(k+1)*each], before[o*each:(o+1)*each]
		for i, v := range row {
			row[i] = a*v + b*from[i]
		}
	}
	return before
}
