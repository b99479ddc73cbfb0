package wire

// ValueInfo names a value and says its type: ValueInfoProto.
type ValueInfo struct {
	Name          *string
	Type          *Type
	DocString     *string
	MetadataProps [][]byte // StringStringEntryProto
	Unknown       []byte
}

func (m *ValueInfo) fields(c *coder) {
	c.text(1, &m.Name)
	one(c, 2, &m.Type)
	c.text(3, &m.DocString)
	c.blobs(4, &m.MetadataProps)
	c.unknown(&m.Unknown)
}

// Type is TypeProto. At most one field besides Denotation is set.
type Type struct {
	Tensor       *TensorType
	Sequence     *ElementType
	Map          [][]byte // TypeProto.Map
	Denotation   *string
	Opaque       [][]byte // TypeProto.Opaque
	SparseTensor [][]byte // TypeProto.SparseTensor
	Optional     *ElementType
	Unknown      []byte
}

func (m *Type) fields(c *coder) {
	if c.mode == reading && c.f.Kind == Bytes && m.set() != c.f.Number {
		switch c.f.Number {
		case 1, 4, 5, 7, 8, 9: // the last one counts
			*m = Type{Denotation: m.Denotation, Unknown: m.Unknown}
		}
	}
	one(c, 1, &m.Tensor)
	one(c, 4, &m.Sequence)
	c.blobs(5, &m.Map)
	c.text(6, &m.Denotation)
	c.blobs(7, &m.Opaque)
	c.blobs(8, &m.SparseTensor)
	one(c, 9, &m.Optional)
	c.unknown(&m.Unknown)
}

// set is the number of the field that is set, 0 for none.
func (m *Type) set() int {
	switch {
	case m.Tensor != nil:
		return 1
	case m.Sequence != nil:
		return 4
	case m.Map != nil:
		return 5
	case m.Opaque != nil:
		return 7
	case m.SparseTensor != nil:
		return 8
	case m.Optional != nil:
		return 9
	}
	return 0
}

// TensorType is TypeProto.Tensor.
type TensorType struct {
	ElemType *int32
	Shape    *TensorShape
	Unknown  []byte
}

func (m *TensorType) fields(c *coder) {
	number(c, 1, &m.ElemType)
	one(c, 2, &m.Shape)
	c.unknown(&m.Unknown)
}

// ElementType is TypeProto.Sequence and TypeProto.Optional.
type ElementType struct {
	ElemType *Type
	Unknown  []byte
}

func (m *ElementType) fields(c *coder) {
	one(c, 1, &m.ElemType)
	c.unknown(&m.Unknown)
}

// TensorShape is TensorShapeProto.
type TensorShape struct {
	Dim     []*Dimension
	Unknown []byte
}

func (m *TensorShape) fields(c *coder) {
	many(c, 1, &m.Dim)
	c.unknown(&m.Unknown)
}

// Dimension is TensorShapeProto.Dimension, whose size is DimValue, DimParam or
// not known.
type Dimension struct {
	DimValue   *int64
	DimParam   *string
	Denotation *string
	Unknown    []byte
}

func (m *Dimension) fields(c *coder) {
	had, symbol := m.DimValue, m.DimParam
	number(c, 1, &m.DimValue)
	c.text(2, &m.DimParam)
	switch { // the last one counts
	case m.DimValue != had:
		m.DimParam = nil
	case m.DimParam != symbol:
		m.DimValue = nil
	}
	c.text(3, &m.Denotation)
	c.unknown(&m.Unknown)
}
