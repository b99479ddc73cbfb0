package op

import (
	"fmt"

	"bilinc/runtime/tensor"
)

// movedBack is the backward of an op whose first output's elements are elements
// of its first input, or constants: it runs o on the numbers of the elements,
// from 1 on, to see where each went.
func movedBack(ctx *Ctx, o Op, name string, in, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	numbers := tensor.New(tensor.Int64, in[0].Tensor.Shape()...)
	for i, v := 0, tensor.Data[int64](numbers); i < len(v); i++ {
		v[i] = int64(i) + 1
	}
	out, err := Eval(ctx, o, append([]tensor.Value{tensor.ValueOf(numbers)}, in[1:]...), 1)
	if err != nil {
		return err
	}
	from := tensor.Data[int64](out[0].Tensor)
	return byFloat(name, din[0].Tensor.DType(),
		func() { addNumbered(gradient[float32](din, 0), gradient[float32](dout, 0), from) },
		func() { addNumbered(gradient[float64](din, 0), gradient[float64](dout, 0), from) })
}

// addNumbered adds each element of dy to the one of dx that it came from.
func addNumbered[T float](dx, dy []T, from []int64) {
	for i, k := range from {
		if k > 0 {
			dx[k-1] += dy[i]
		}
	}
}

func (*trilu) saves(want []bool) ([]bool, bool)           { return inputs(want, false), false }
func (*reverseSequence) saves(want []bool) ([]bool, bool) { return inputs(want, false), false }
func (*compress) saves(want []bool) ([]bool, bool)        { return inputs(want, false), false }
func (*centerCropPad) saves(want []bool) ([]bool, bool)   { return inputs(want, false), false }
func (*topK) saves(want []bool) ([]bool, bool)            { return inputs(want, true), false }

func (o *trilu) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	return movedBack(ctx, o, "Trilu", in, dout, din)
}

func (o *reverseSequence) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	return movedBack(ctx, o, "ReverseSequence", in, dout, din)
}

func (o *compress) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	return movedBack(ctx, o, "Compress", in, dout, din)
}

func (o *centerCropPad) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	return movedBack(ctx, o, "CenterCropPad", in, dout, din)
}

// Backward goes by the second output, the places of the elements along the axis.
func (o *topK) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	if !present(out, 1) {
		all, err := Eval(ctx, o, in, 2)
		if err != nil {
			return err
		}
		out = all
	}
	shape := in[0].Tensor.Shape()
	axis, err := normAxis(o.axis, len(shape))
	if err != nil {
		return err
	}
	_, n, inner := around(shape, axis)
	_, k, _ := around(out[1].Tensor.Shape(), axis)
	from := make([]int64, out[1].Tensor.Len())
	for i, at := range tensor.Data[int64](out[1].Tensor) {
		block, j := i/(k*inner), i%inner
		from[i] = (int64(block*n)+at)*int64(inner) + int64(j) + 1
	}
	return byFloat("TopK", din[0].Tensor.DType(),
		func() { addNumbered(gradient[float32](din, 0), gradient[float32](dout, 0), from) },
		func() { addNumbered(gradient[float64](din, 0), gradient[float64](dout, 0), from) })
}

func (*trainingDropout) saves(want []bool) ([]bool, bool) { return allButFirst(want), false }

// allButFirst is the answer of an op that is linear in its first input.
func allButFirst(want []bool) []bool {
	in := inputs(want, true)
	in[0] = false
	return in
}

// Backward draws the mask again: whoever calls it has set Ctx.Rand to where it
// was in the forward run. It has no gradient by the ratio.
func (o *trainingDropout) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	if !tensor.Data[bool](in[2].Tensor)[0] {
		return o.dropout.Backward(ctx, in, out, dout, din)
	}
	ratio, err := o.ratio(in)
	if err != nil {
		return err
	}
	r, err := sourceOf(ctx, o.seed)
	if err != nil {
		return err
	}
	defer r.giveBack()
	g, err := tensor.Float64s(dout[0].Tensor)
	if err != nil {
		return fmt.Errorf("gradient: %w", err)
	}
	drop(r.Rand, g, ratio)
	return addWide("Dropout", din[0], g)
}
