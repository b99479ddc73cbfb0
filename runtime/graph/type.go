package graph

import (
	"bilinc/runtime/tensor"
)

// A Type is what a model says of a value: its kind, element type and shape.
// The zero Type says nothing.
type Type struct {
	Kind   tensor.Kind
	DType  tensor.DType // of a tensor; Undefined where not said
	Shape  []Dim        // of a tensor with Ranked set
	Ranked bool         // whether the rank is known
	Elem   *Type        // of a sequence's or optional's element, or a map's values
	Key    tensor.DType // of a map's keys; Undefined where not said
}

// TensorType is the type of a tensor of known rank.
func TensorType(d tensor.DType, shape ...Dim) Type {
	if shape == nil {
		shape = []Dim{}
	}
	return Type{Kind: tensor.KindTensor, DType: d, Shape: shape, Ranked: true}
}

// TypeOf is the exact type of a tensor.
func TypeOf(t *tensor.Tensor) Type { return TensorType(t.DType(), Sizes(t.Shape())...) }

func (t Type) String() string {
	switch t.Kind {
	case tensor.KindTensor:
		return t.DType.String() + FormatShape(t.Shape, t.Ranked)
	case tensor.KindSequence, tensor.KindOptional:
		if t.Elem != nil {
			return t.Kind.String() + "(" + t.Elem.String() + ")"
		}
	case tensor.KindMap:
		if t.Elem != nil {
			return "map(" + t.Key.String() + ", " + t.Elem.String() + ")"
		}
	case tensor.KindNone:
		return "unknown"
	}
	return t.Kind.String()
}

// A Fact is what is known of a value before a run: its type, and of its
// contents as much as shape inference needs.
type Fact struct {
	Type
	// Const is the contents where they are the same in every run.
	Const *tensor.Tensor
	// Ints is the contents of an integer tensor of rank 0 or 1 as dimensions,
	// some perhaps symbolic or Unknown; nil where nothing is known. It is how
	// shapes travel from Shape through Gather and Concat into Reshape.
	Ints []Dim
}

// maxInts bounds the contents that are carried in Fact.Ints.
const maxInts = 64

// FactOf is the fact of a constant.
func FactOf(t *tensor.Tensor) Fact {
	f := Fact{Type: TypeOf(t), Const: t}
	if t.Rank() <= 1 && t.Len() <= maxInts && (t.DType() == tensor.Int64 || t.DType() == tensor.Int32) {
		if v, err := tensor.Int64s(t); err == nil {
			f.Ints = make([]Dim, len(v))
			for i, n := range v {
				f.Ints[i] = Dim{n: int(n)}
				if n < 0 {
					// A negative number (an axis, a −1 in Reshape) is no
					// dimension: such contents are read from Const.
					f.Ints = nil
					break
				}
			}
		}
	}
	return f
}
