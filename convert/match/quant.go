package match

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A quantization is what a DequantizeLinear does: x ↦ (x − zero)·scale, the
// scale and zero point of one element, or one for each index of an axis, or
// for each block of indices.
type quantization struct {
	scale, zero *tensor.Tensor // zero is nil for 0
	axis, block int            // block 0: the scale does not depend on the index along axis, or one each
	constants   []*graph.Value
}

// newQuantization reads a DequantizeLinear of a constant of the given shape,
// or says why it cannot.
func newQuantization(n *graph.Node, opset int64, shape []int) (*quantization, string) {
	q := &quantization{}
	for i := 1; i <= 2 && i < len(n.Inputs()); i++ {
		v := n.Input(i)
		if v == nil {
			continue
		}
		if v.Const() == nil {
			return nil, fmt.Sprintf("the weight is dequantised by %v with a scale or zero point that is not constant", n)
		}
		q.constants = append(q.constants, v)
		if i == 1 {
			q.scale = v.Const()
		} else {
			q.zero = v.Const()
		}
	}
	if q.scale == nil {
		return nil, fmt.Sprintf("%v has no scale", n)
	}
	if q.zero != nil && q.zero.Len() != q.scale.Len() {
		return nil, fmt.Sprintf("%v: the zero point is %v, the scale %v", n, q.zero, q.scale)
	}
	if q.scale.Len() == 1 && q.scale.Rank() <= 1 {
		return q, ""
	}
	axis := 1
	if a := n.Attr("axis"); a != nil {
		axis = int(a.I)
	}
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) || opset < 13 {
		return nil, fmt.Sprintf("%v: a scale %v for axis %d of rank %d", n, q.scale, axis, len(shape))
	}
	q.axis = axis
	if q.block = int(intAttr(n, "block_size")); q.block > 0 {
		want := append([]int{}, shape...)
		want[axis] = (shape[axis] + q.block - 1) / q.block
		if fmt.Sprint(want) != fmt.Sprint(q.scale.Shape()) {
			return nil, fmt.Sprintf("%v: the scale is %v, wanted %v", n, q.scale, want)
		}
		return q, ""
	}
	if q.scale.Rank() != 1 || q.scale.Len() != shape[axis] {
		return nil, fmt.Sprintf("%v: a scale %v for %d indices of axis %d", n, q.scale, shape[axis], axis)
	}
	return q, ""
}

// apply dequantises v, of the given shape, in place.
func (q *quantization) apply(v []float64, shape []int) error {
	scale, err := numbers(q.scale)
	if err != nil {
		return err
	}
	zero := make([]float64, len(scale))
	if q.zero != nil {
		if zero, err = numbers(q.zero); err != nil {
			return err
		}
	}
	inner := 1
	for _, d := range shape[min(q.axis+1, len(shape)):] {
		inner *= d
	}
	for i := range v {
		k := 0
		switch {
		case q.block > 0:
			blocks := (shape[q.axis] + q.block - 1) / q.block
			outer, along := i/(inner*shape[q.axis]), i/inner%shape[q.axis]
			k = (outer*blocks+along/q.block)*inner + i%inner
		case len(scale) > 1:
			k = i / inner % shape[q.axis]
		}
		v[i] = (v[i] - zero[k]) * scale[k]
	}
	return nil
}

// same reports whether two nodes dequantise alike.
func (q *quantization) same(p *quantization) bool {
	if q == nil || p == nil {
		return q == p
	}
	return q.scale == p.scale && q.zero == p.zero && q.axis == p.axis && q.block == p.block
}

// numbers is the elements of t as float64, the packed 4-bit types included.
func numbers(t *tensor.Tensor) ([]float64, error) {
	if t.DType() != tensor.Int4 && t.DType() != tensor.Uint4 {
		return tensor.Float64s(t)
	}
	out := make([]float64, t.Len())
	for i := range out {
		b := t.Bytes()[i/2] >> (i % 2 * 4) & 15
		out[i] = float64(b)
		if t.DType() == tensor.Int4 && b >= 8 {
			out[i] -= 16
		}
	}
	return out, nil
}
