package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// argReduce is ArgMax or ArgMin: the position of the extreme along one axis.
type argReduce struct {
	name string
	axis int
	keep bool
	last bool
	max  bool
}

func parseArg(name string, isMax bool) parser {
	return func(a *attrs) Op {
		return &argReduce{name, int(a.int("axis", 0)), a.bool("keepdims", true), a.bool("select_last_index", false), isMax}
	}
}

func (o *argReduce) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return unrankedFact(tensor.Int64), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	mask := make([]bool, len(in[0].Shape))
	mask[axis] = true
	return tensorFact(tensor.Int64, reducedDims(in[0].Shape, mask, o.keep)...), nil
}

func (o *argReduce) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	switch d := x.DType(); d {
	case tensor.Float32:
		return argExtreme[float32](o, x, out[0].Tensor)
	case tensor.Float64:
		return argExtreme[float64](o, x, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		return argExtreme[int64](o, x, out[0].Tensor)
	case tensor.Int32:
		return argExtreme[int32](o, x, out[0].Tensor)
	case tensor.Int16:
		return argExtreme[int16](o, x, out[0].Tensor)
	case tensor.Int8:
		return argExtreme[int8](o, x, out[0].Tensor)
	case tensor.Uint64:
		return argExtreme[uint64](o, x, out[0].Tensor)
	case tensor.Uint32:
		return argExtreme[uint32](o, x, out[0].Tensor)
	case tensor.Uint16:
		return argExtreme[uint16](o, x, out[0].Tensor)
	case tensor.Uint8:
		return argExtreme[uint8](o, x, out[0].Tensor)
	default:
		return unsupportedType(o.name, d)
	}
}

// argExtreme compares with the best so far; NaN is neither more nor less.
func argExtreme[T number](o *argReduce, x, y *tensor.Tensor) error {
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	outer, n, inner := around(x.Shape(), axis)
	src, dst := tensor.Data[T](x), tensor.Data[int64](y)
	if n == 0 && len(dst) > 0 {
		return fmt.Errorf("axis %d of %v is empty", axis, x)
	}
	for i := range outer {
		for j := range inner {
			row := src[i*n*inner+j:]
			at, best := 0, row[0]
			for k := 1; k < n; k++ {
				v := row[k*inner]
				if o.max && v > best || !o.max && v < best || o.last && v == best {
					at, best = k, v
				}
			}
			dst[i*inner+j] = int64(at)
		}
	}
	return nil
}

// around is the number of elements before, along and after an axis.
func around(shape []int, axis int) (outer, n, inner int) {
	return product(shape[:axis]), shape[axis], product(shape[axis+1:])
}

// cumSum adds up along an axis that an input gives.
type cumSum struct{ exclusive, reverse bool }

func parseCumSum(a *attrs) Op { return &cumSum{a.bool("exclusive", false), a.bool("reverse", false)} }

func (o *cumSum) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	axis, known, err := axesOf(in, 1)
	if err == nil && known && len(axis) != 1 {
		err = fmt.Errorf("the axis is %v, wanted one integer", in[1].Type)
	}
	if err == nil && known && in[0].Ranked {
		_, err = normAxis(axis[0], len(in[0].Shape))
	}
	if err != nil {
		return nil, err
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *cumSum) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	list, ok := intsIn(in[1].Tensor)
	if !ok || len(list) != 1 {
		return unsupportedType("CumSum", in[1].Tensor.DType())
	}
	axis, err := normAxis(list[0], x.Rank())
	if err != nil {
		return err
	}
	switch x.DType() {
	case tensor.Float32:
		cumulate[float32, float64](o, x, y, axis)
	case tensor.Float64:
		cumulate[float64, float64](o, x, y, axis)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int32:
		cumulate[int32, int32](o, x, y, axis)
	case tensor.Int64:
		cumulate[int64, int64](o, x, y, axis)
	case tensor.Uint32:
		cumulate[uint32, uint32](o, x, y, axis)
	case tensor.Uint64:
		cumulate[uint64, uint64](o, x, y, axis)
	default:
		return unsupportedType("CumSum", x.DType())
	}
	return nil
}

// cumulate adds up elements of type T with an accumulator of type A.
func cumulate[T, A number](o *cumSum, x, y *tensor.Tensor, axis int) {
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	outer, n, inner := around(x.Shape(), axis)
	for i := range outer {
		for j := range inner {
			var acc A
			for k := range n {
				if o.reverse {
					k = n - 1 - k
				}
				at := (i*n+k)*inner + j
				if o.exclusive {
					dst[at] = T(acc)
					acc += A(src[at])
				} else {
					acc += A(src[at])
					dst[at] = T(acc)
				}
			}
		}
	}
}
