package op

import (
	"errors"
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

var errDivByZero = errors.New("integer division by zero")

// sameDType is the one element type of all inputs that are there, Undefined
// where none of them says.
func sameDType(in []graph.Fact) (tensor.DType, error) {
	d, first := tensor.Undefined, 0
	for i, f := range in {
		switch {
		case f.Kind == tensor.KindNone || f.DType == tensor.Undefined:
		case d == tensor.Undefined:
			d, first = f.DType, i
		case d != f.DType:
			return d, fmt.Errorf("input %d is %v, but input %d is %v", i, f.DType, first, d)
		}
	}
	return d, nil
}

// zip computes c = f(a, b) element by element, a and b broadcast to c's shape.
func zip[T, U tensor.Elem](a, b, c *tensor.Tensor, f func(x, y T) U) { zipShared(nil, a, b, c, f) }

// zipShared is zip over all cores.
func zipShared[T, U tensor.Elem](p *kernel.Pool, a, b, c *tensor.Tensor, f func(x, y T) U) {
	x, y, z := tensor.Data[T](a), tensor.Data[T](b), tensor.Data[U](c)
	newWalk(c.Shape(), a.Shape(), b.Shape()).share(p, func(at, n int, offs, steps []int) {
		z := z[at : at+n]
		i, j := offs[0], offs[1]
		switch {
		case steps[0] == 1 && steps[1] == 1:
			x, y := x[i:i+n], y[j:j+n]
			for k := range z {
				z[k] = f(x[k], y[k])
			}
		case steps[0] == 1 && steps[1] == 0:
			x, v := x[i:i+n], y[j]
			for k := range z {
				z[k] = f(x[k], v)
			}
		case steps[0] == 0 && steps[1] == 1:
			v, y := x[i], y[j:j+n]
			for k := range z {
				z[k] = f(v, y[k])
			}
		default:
			for k := range z {
				z[k] = f(x[i], y[j])
				i += steps[0]
				j += steps[1]
			}
		}
	})
}

// apply computes y = f(x) element by element.
func apply[T, U tensor.Elem](x, y *tensor.Tensor, f func(T) U) {
	src, dst := tensor.Data[T](x), tensor.Data[U](y)
	for i, v := range src {
		dst[i] = f(v)
	}
}

// viaFloat32 runs o on the 16-bit floats of in and out widened to float32: as
// ONNX's reference, one rounding at the end.
func viaFloat32(ctx *Ctx, o Op, in, out []tensor.Value) error {
	scratches := make([]*[]float32, 0, len(in)+len(out))
	defer func() {
		for _, s := range scratches {
			floatScratches.Put(s)
		}
	}()
	wide := func(vs []tensor.Value, copyData bool) ([]tensor.Value, error) {
		ws := make([]tensor.Value, len(vs))
		for i, v := range vs {
			ws[i] = v
			if v.Kind != tensor.KindTensor {
				continue
			}
			if d := v.Tensor.DType(); d != tensor.Float16 && d != tensor.BFloat16 {
				continue
			}
			s := floatScratches.get(v.Tensor.Len())
			scratches = append(scratches, s)
			w := tensor.Of(*s, v.Tensor.Shape()...)
			if copyData {
				if err := castTo(ctx.Pool, v.Tensor, w); err != nil {
					return nil, err
				}
			}
			ws[i] = tensor.ValueOf(w)
		}
		return ws, nil
	}
	wideIn, err := wide(in, true)
	if err != nil {
		return err
	}
	wideOut, err := wide(out, false)
	if err != nil {
		return err
	}
	if err := o.Forward(ctx, wideIn, wideOut); err != nil {
		return err
	}
	for i, w := range wideOut {
		if w.Kind == tensor.KindTensor && w.Tensor != out[i].Tensor {
			if err := castTo(ctx.Pool, w.Tensor, out[i].Tensor); err != nil {
				return err
			}
		}
	}
	return nil
}
