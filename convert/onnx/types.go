package onnx

import (
	"slices"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// typeFromProto is the part of a type that the IR knows. Sparse and opaque
// types, which nothing here computes on, become the zero Type; an element type
// of a later version of the format becomes Undefined.
func typeFromProto(p *onnxpb.TypeProto) graph.Type {
	switch v := p.GetValue().(type) {
	case *onnxpb.TypeProto_TensorType:
		t := graph.Type{Kind: tensor.KindTensor}
		if d := tensor.DType(v.TensorType.GetElemType()); d.Valid() {
			t.DType = d
		}
		if s := v.TensorType.GetShape(); s != nil {
			t.Ranked = true
			t.Shape = make([]graph.Dim, len(s.GetDim()))
			for i, d := range s.GetDim() {
				t.Shape[i] = dimFromProto(d)
			}
		}
		return t
	case *onnxpb.TypeProto_SequenceType:
		return graph.Type{Kind: tensor.KindSequence, Elem: elemFromProto(v.SequenceType.GetElemType())}
	case *onnxpb.TypeProto_OptionalType:
		return graph.Type{Kind: tensor.KindOptional, Elem: elemFromProto(v.OptionalType.GetElemType())}
	case *onnxpb.TypeProto_MapType:
		return graph.Type{Kind: tensor.KindMap}
	}
	return graph.Type{}
}

func elemFromProto(p *onnxpb.TypeProto) *graph.Type {
	if p == nil {
		return nil
	}
	t := typeFromProto(p)
	return &t
}

// dimFromProto takes a negative number, as some exporters write for a dynamic
// dimension, as unknown.
func dimFromProto(d *onnxpb.TensorShapeProto_Dimension) graph.Dim {
	switch v := d.GetValue().(type) {
	case *onnxpb.TensorShapeProto_Dimension_DimValue:
		if n := int(v.DimValue); n >= 0 && int64(n) == v.DimValue {
			return graph.Size(n)
		}
	case *onnxpb.TensorShapeProto_Dimension_DimParam:
		return graph.Symbol(v.DimParam)
	}
	return graph.Unknown
}

// typeToProto is the file's form of t; nil where t says nothing, or only that
// the value is a map, whose key type the IR does not hold.
func typeToProto(t graph.Type) *onnxpb.TypeProto {
	switch t.Kind {
	case tensor.KindTensor:
		v := &onnxpb.TypeProto_Tensor{ElemType: new(int32(t.DType))}
		if t.Ranked {
			v.Shape = &onnxpb.TensorShapeProto{}
			for _, d := range t.Shape {
				v.Shape.Dim = append(v.Shape.Dim, dimToProto(d))
			}
		}
		return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: v}}
	case tensor.KindSequence:
		v := &onnxpb.TypeProto_Sequence{ElemType: elemToProto(t.Elem)}
		return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{SequenceType: v}}
	case tensor.KindOptional:
		v := &onnxpb.TypeProto_Optional{ElemType: elemToProto(t.Elem)}
		return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_OptionalType{OptionalType: v}}
	}
	return nil
}

func elemToProto(t *graph.Type) *onnxpb.TypeProto {
	if t == nil {
		return nil
	}
	return typeToProto(*t)
}

func dimToProto(d graph.Dim) *onnxpb.TensorShapeProto_Dimension {
	p := &onnxpb.TensorShapeProto_Dimension{}
	if n, ok := d.Const(); ok {
		p.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(n)}
	} else if d.IsKnown() {
		p.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d.String()}
	}
	return p
}

// sameType reports whether a and b say the same.
func sameType(a, b graph.Type) bool {
	if a.Kind != b.Kind || a.DType != b.DType || a.Ranked != b.Ranked || !slices.Equal(a.Shape, b.Shape) {
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
