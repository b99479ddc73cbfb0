package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// maxUnpool puts the elements of X[N C …] where MaxPool's indices say that
// they came from, and 0 elsewhere. A third input gives the output's shape where
// the window does not say it all.
type maxUnpool struct{ window }

func parseMaxUnpool(a *attrs) Op {
	a.require("kernel_shape")
	return &maxUnpool{window{kernel: a.ints("kernel_shape"), strides: a.ints("strides"), pads: a.ints("pads")}}
}

func (o *maxUnpool) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	axes, err := spatial(in[:2]...)
	if err != nil {
		return nil, err
	}
	if axes < 0 {
		axes = len(o.kernel)
	}
	if err := o.check(axes); err != nil {
		return nil, err
	}
	if d := in[1].DType; d != tensor.Int64 && d != tensor.Undefined {
		return nil, fmt.Errorf("indices are %v, wanted int64", d)
	}
	if in[0].Ranked && in[1].Ranked && !loose(in[0].Shape, in[1].Shape) {
		return nil, fmt.Errorf("indices %v for %v", in[1].Type, in[0].Type)
	}
	if given(in, 2) {
		dims := intsOf(in[2])
		if dims == nil {
			return rankFact(in[0].DType, 2+axes), nil
		}
		if len(dims) != 2+axes {
			return nil, fmt.Errorf("output shape of %d axes for %v", len(dims), in[0].Type)
		}
		return tensorFact(in[0].DType, dims...), nil
	}
	shape := unknownDims(2 + axes)
	if in[0].Ranked {
		copy(shape, in[0].Shape[:2])
		for i, d := range in[0].Shape[2:] {
			if n, ok := d.Const(); ok {
				size := o.size(i, n)
				if size < 0 {
					return nil, fmt.Errorf("axis %d is of %d elements", i+2, size)
				}
				shape[2+i] = graph.Size(size)
			}
		}
	}
	return tensorFact(in[0].DType, shape...), nil
}

// size is how many elements along axis i were pooled to n.
func (o *maxUnpool) size(i, n int) int {
	size := (n-1)*at(o.strides, i, 1) + o.kernel[i]
	if o.pads != nil {
		size -= o.pads[i] + o.pads[len(o.pads)/2+i]
	}
	return size
}

func (o *maxUnpool) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := in[0].Tensor.DType(); d {
	case tensor.Float32:
		return unpool[float32](o, in, out[0].Tensor)
	case tensor.Float64:
		return unpool[float64](o, in, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("MaxUnpool", d)
	}
}

func unpool[T float](o *maxUnpool, in []tensor.Value, y *tensor.Tensor) error {
	dst, src := tensor.Data[T](y), tensor.Data[T](in[0].Tensor)
	clear(dst)
	return o.each(in, y.Shape(), func(i, to int) { dst[to] = src[i] })
}

// each calls f with every element of X and the one of the output, of that shape,
// that it becomes.
func (o *maxUnpool) each(in []tensor.Value, out []int, f func(i, to int)) error {
	// Indices count within what the window makes of X's shape.
	shape := append([]int{}, in[0].Tensor.Shape()...)
	for i := range shape[2:] {
		shape[2+i] = o.size(i, shape[2+i])
	}
	strides, total := tensor.Strides(out), product(shape)
	for i, where := range tensor.Data[int64](in[1].Tensor) {
		rest, to := int(where), 0
		if rest < 0 || rest >= total {
			return fmt.Errorf("index %d is outside shape %v", rest, shape)
		}
		for k := len(shape) - 1; k >= 0; k-- {
			p := rest % shape[k]
			if p >= out[k] {
				return fmt.Errorf("index %d is outside shape %v", where, out)
			}
			to += p * strides[k]
			rest /= shape[k]
		}
		f(i, to)
	}
	return nil
}
