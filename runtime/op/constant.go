package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// constant gives the value that one of its attributes holds. A sparse one is
// dense already.
type constant struct{ value *tensor.Tensor }

func parseConstant(a *attrs) Op {
	o := &constant{}
	count := 0
	for _, c := range []struct {
		name string
		kind graph.AttrType
		make func(*graph.Attr) *tensor.Tensor
	}{
		{"value", graph.AttrTensor, func(t *graph.Attr) *tensor.Tensor { return t.T }},
		{"sparse_value", graph.AttrSparseTensor, func(t *graph.Attr) *tensor.Tensor { return t.T }},
		{"value_float", graph.AttrFloat, func(t *graph.Attr) *tensor.Tensor { return tensor.Scalar(t.F) }},
		{"value_floats", graph.AttrFloats, func(t *graph.Attr) *tensor.Tensor { return tensor.Of(t.Floats, len(t.Floats)) }},
		{"value_int", graph.AttrInt, func(t *graph.Attr) *tensor.Tensor { return tensor.Scalar(t.I) }},
		{"value_ints", graph.AttrInts, func(t *graph.Attr) *tensor.Tensor { return tensor.Of(t.Ints, len(t.Ints)) }},
		{"value_string", graph.AttrString, func(t *graph.Attr) *tensor.Tensor { return tensor.Scalar(string(t.S)) }},
		{"value_strings", graph.AttrStrings, func(t *graph.Attr) *tensor.Tensor {
			s := make([]string, len(t.Strings))
			for i, b := range t.Strings {
				s[i] = string(b)
			}
			return tensor.Of(s, len(s))
		}},
	} {
		if at := a.get(c.name, c.kind); at != nil {
			count++
			o.value = c.make(at)
		}
	}
	if a.err == nil && (count != 1 || o.value == nil) {
		a.fail(fmt.Errorf("found %d attributes with a value, wanted 1", count))
	}
	return o
}

func (o *constant) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 0, 0); err != nil {
		return nil, err
	}
	return []graph.Fact{graph.FactOf(o.value)}, nil
}

func (o *constant) Forward(_ *Ctx, _, out []tensor.Value) error {
	return out[0].Tensor.CopyFrom(o.value)
}

// constantOfShape fills the shape that its input lists with one value.
type constantOfShape struct{ value *tensor.Tensor }

func parseConstantOfShape(a *attrs) Op {
	o := &constantOfShape{tensor.Of([]float32{0}, 1)}
	if t := a.tensor("value"); t != nil {
		o.value = t
	}
	if o.value.Len() != 1 {
		a.fail(fmt.Errorf("attribute value is %v, wanted one element", o.value))
	}
	return o
}

func (o *constantOfShape) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	dims, err := shapeInput(in, 0)
	if err != nil {
		return nil, err
	}
	if dims == nil {
		return unrankedFact(o.value.DType()), nil
	}
	f := tensorFact(o.value.DType(), dims...)
	if v, ok := intsIn(o.value); ok && len(dims) <= 1 && v[0] >= 0 {
		if n, ok := graph.Product(dims).Const(); ok && n <= maxContents {
			ints := make([]graph.Dim, n)
			for i := range ints {
				ints[i] = graph.Size(v[0])
			}
			return []graph.Fact{contents(o.value.DType(), ints, dims...)}, nil
		}
	}
	return f, nil
}

// shapeInput is the dimensions that an input lists; nil where not even their
// number is known. It fails where one is negative.
func shapeInput(in []graph.Fact, i int) ([]graph.Dim, error) {
	v, known, err := axesOf(in, i)
	if err != nil {
		return nil, err
	}
	if known {
		if _, err := tensor.Elements(v); err != nil {
			return nil, fmt.Errorf("input %d: %w", i, err)
		}
	}
	return intsOf(in[i]), nil
}

func (o *constantOfShape) Forward(ctx *Ctx, _, out []tensor.Value) error {
	return fill(ctx.Pool, "ConstantOfShape", out[0].Tensor, o.value)
}
