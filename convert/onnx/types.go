package onnx

import (
	"slices"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// typeFromWire is the part of a type that the IR knows. Sparse and opaque
// types, which nothing here computes on, become the zero Type, as does none; an
// element type of a later version of the format becomes Undefined.
func typeFromWire(p *wire.Type) graph.Type {
	switch {
	case p == nil:
	case p.Tensor != nil:
		t := graph.Type{Kind: tensor.KindTensor}
		if d := tensor.DType(get(p.Tensor.ElemType)); d.Valid() {
			t.DType = d
		}
		if s := p.Tensor.Shape; s != nil {
			t.Ranked = true
			t.Shape = make([]graph.Dim, len(s.Dim))
			for i, d := range s.Dim {
				t.Shape[i] = dimFromWire(d)
			}
		}
		return t
	case p.Sequence != nil:
		return graph.Type{Kind: tensor.KindSequence, Elem: elemFromWire(p.Sequence.ElemType)}
	case p.Optional != nil:
		return graph.Type{Kind: tensor.KindOptional, Elem: elemFromWire(p.Optional.ElemType)}
	case p.Map != nil:
		return graph.Type{Kind: tensor.KindMap}
	}
	return graph.Type{}
}

func elemFromWire(p *wire.Type) *graph.Type {
	if p == nil {
		return nil
	}
	t := typeFromWire(p)
	return &t
}

// dimFromWire takes a negative number, as some exporters write for a dynamic
// dimension, as unknown.
func dimFromWire(d *wire.Dimension) graph.Dim {
	switch {
	case d.DimValue != nil:
		if n := int(*d.DimValue); n >= 0 && int64(n) == *d.DimValue {
			return graph.Size(n)
		}
	case d.DimParam != nil:
		return graph.Symbol(*d.DimParam)
	}
	return graph.Unknown
}

// typeToWire is the file's form of t; nil where t says nothing, or only that
// the value is a map, whose key type the IR does not hold.
func typeToWire(t graph.Type) *wire.Type {
	switch t.Kind {
	case tensor.KindTensor:
		v := &wire.TensorType{ElemType: new(int32(t.DType))}
		if t.Ranked {
			v.Shape = &wire.TensorShape{}
			for _, d := range t.Shape {
				v.Shape.Dim = append(v.Shape.Dim, dimToWire(d))
			}
		}
		return &wire.Type{Tensor: v}
	case tensor.KindSequence:
		return &wire.Type{Sequence: &wire.ElementType{ElemType: elemToWire(t.Elem)}}
	case tensor.KindOptional:
		return &wire.Type{Optional: &wire.ElementType{ElemType: elemToWire(t.Elem)}}
	}
	return nil
}

func elemToWire(t *graph.Type) *wire.Type {
	if t == nil {
		return nil
	}
	return typeToWire(*t)
}

func dimToWire(d graph.Dim) *wire.Dimension {
	p := &wire.Dimension{}
	if n, ok := d.Const(); ok {
		p.DimValue = new(int64(n))
	} else if d.IsKnown() {
		p.DimParam = new(d.String())
	}
	return p
}

// sameType reports whether a and b say the same.
func sameType(a, b graph.Type) bool {
	if a.Kind != b.Kind || a.DType != b.DType || a.Key != b.Key || a.Ranked != b.Ranked || !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	if a.Elem == nil || b.Elem == nil {
		return a.Elem == b.Elem
	}
	return sameType(*a.Elem, *b.Elem)
}

// cloneType is a copy of t that edits of t do not reach.
func cloneType(t graph.Type) graph.Type {
	t.Shape = slices.Clone(t.Shape)
	if t.Elem != nil {
		e := cloneType(*t.Elem)
		t.Elem = &e
	}
	return t
}
