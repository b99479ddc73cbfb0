package onnxgo

import (
	"errors"
	"fmt"
	"slices"

	gorgonia "gorgonia.org/tensor"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// attributes is an operation's attributes as bilinc has them, by name.
func attributes(from map[string]any) ([]*graph.Attr, error) {
	names := make([]string, 0, len(from))
	for name := range from {
		names = append(names, name)
	}
	slices.Sort(names)
	out := make([]*graph.Attr, len(names))
	for i, name := range names {
		a := &graph.Attr{Name: name}
		switch v := from[name].(type) {
		case float32:
			a.Type, a.F = graph.AttrFloat, v
		case int64:
			a.Type, a.I = graph.AttrInt, v
		case string:
			a.Type, a.S = graph.AttrString, []byte(v)
		case []float32:
			a.Type, a.Floats = graph.AttrFloats, v
		case []int64:
			a.Type, a.Ints = graph.AttrInts, v
		case []string:
			a.Type = graph.AttrStrings
			for _, s := range v {
				a.Strings = append(a.Strings, []byte(s))
			}
		case gorgonia.Tensor:
			t, err := fromGorgonia(v)
			if err != nil {
				return nil, fmt.Errorf("attribute %s: %w", name, err)
			}
			a.Type, a.T = graph.AttrTensor, t
		default:
			return nil, fmt.Errorf("attribute %s is a %T, as which onnx-go passes on what it could not read", name, v)
		}
		out[i] = a
	}
	return out, nil
}

// fromGorgonia is t as a tensor of bilinc. It shares t's memory where its
// elements lie in a row.
func fromGorgonia(t gorgonia.Tensor) (*tensor.Tensor, error) {
	if t == nil {
		return nil, errors.New("it has none: SetInput gives one")
	}
	if d, ok := t.(*gorgonia.Dense); ok && (d.RequiresIterator() || d.DataOrder().IsColMajor()) {
		c := gorgonia.New(gorgonia.WithShape(d.Shape()...), gorgonia.Of(d.Dtype()))
		if err := gorgonia.Copy(c, d); err != nil {
			return nil, err
		}
		t = c
	}
	switch v := t.Data().(type) {
	case []float32:
		return shaped(v, t)
	case []float64:
		return shaped(v, t)
	case []int64:
		return shaped(v, t)
	case []int32:
		return shaped(v, t)
	case []int16:
		return shaped(v, t)
	case []int8:
		return shaped(v, t)
	case []uint64:
		return shaped(v, t)
	case []uint32:
		return shaped(v, t)
	case []uint16:
		return shaped(v, t)
	case []uint8:
		return shaped(v, t)
	case []bool:
		return shaped(v, t)
	case []string:
		return shaped(v, t)
	case float32:
		return tensor.Scalar(v), nil
	case float64:
		return tensor.Scalar(v), nil
	case int64:
		return tensor.Scalar(v), nil
	case int32:
		return tensor.Scalar(v), nil
	case bool:
		return tensor.Scalar(v), nil
	}
	return nil, fmt.Errorf("a tensor of %v, which bilinc has not", t.Dtype())
}

func shaped[T tensor.Elem](v []T, t gorgonia.Tensor) (*tensor.Tensor, error) {
	if n, err := tensor.Elements(t.Shape()); err != nil || n != len(v) {
		return nil, fmt.Errorf("%d elements for shape %v", len(v), t.Shape())
	}
	return tensor.Of(v, t.Shape()...), nil
}

// toGorgonia is t as a tensor of gorgonia that shares its memory.
func toGorgonia(t *tensor.Tensor) (gorgonia.Tensor, error) {
	if t.Len() == 0 {
		return nil, fmt.Errorf("gorgonia has no tensors without elements, as %v is", t)
	}
	switch t.DType() {
	case tensor.Float32:
		return dense[float32](t), nil
	case tensor.Float64:
		return dense[float64](t), nil
	case tensor.Int64:
		return dense[int64](t), nil
	case tensor.Int32:
		return dense[int32](t), nil
	case tensor.Int16:
		return dense[int16](t), nil
	case tensor.Int8:
		return dense[int8](t), nil
	case tensor.Uint64:
		return dense[uint64](t), nil
	case tensor.Uint32:
		return dense[uint32](t), nil
	case tensor.Uint16:
		return dense[uint16](t), nil
	case tensor.Uint8:
		return dense[uint8](t), nil
	case tensor.Bool:
		return dense[bool](t), nil
	case tensor.String:
		return dense[string](t), nil
	}
	return nil, fmt.Errorf("gorgonia has no tensors of %v", t.DType())
}

func dense[T tensor.Elem](t *tensor.Tensor) gorgonia.Tensor {
	v := tensor.Data[T](t)
	if t.Rank() == 0 {
		return gorgonia.New(gorgonia.FromScalar(v[0]))
	}
	return gorgonia.New(gorgonia.WithShape(t.Shape()...), gorgonia.WithBacking(v))
}
