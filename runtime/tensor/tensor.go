package tensor

import (
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// A Tensor is an element type, a shape and the elements in row-major order.
// A tensor is always contiguous: a transposed or sliced one is a copy, while
// Reshaped shares the elements.
//
// The shape of rank 0 is that of a scalar; a dimension may be 0.
type Tensor struct {
	dtype DType
	shape []int
	data  []byte   // little-endian, aligned to the element's size unless from Alias; nil for String
	strs  []string // String only
}

// MaxElements bounds the number of elements of one tensor, so that byte
// counts never overflow an int64.
const MaxElements = math.MaxInt64 / 32

// Elements is the product of the dimensions of shape. It fails where a
// dimension is negative or where the product passes MaxElements; a dimension
// of 0 makes the product 0 only if the others alone do not overflow.
func Elements(shape []int) (int, error) {
	n, zero := 1, false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("shape %v has the negative dimension %d", shape, d)
		case d == 0:
			zero = true
		case n > MaxElements/d:
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		default:
			n *= d
		}
	}
	if zero {
		return 0, nil
	}
	return n, nil
}

// New returns a zeroed tensor. It panics on an element type or shape that no
// tensor can have: whoever takes them from outside checks with Elements first.
func New(d DType, shape ...int) *Tensor {
	n, err := Elements(shape)
	if err != nil {
		panic("tensor.New: " + err.Error())
	}
	if !d.Valid() {
		panic("tensor.New: " + d.String())
	}
	t := &Tensor{dtype: d, shape: append([]int(nil), shape...)}
	if d == String {
		t.strs = make([]string, n)
		return t
	}
	t.data = aligned(d.ByteLen(n))
	return t
}

// aligned allocates n zeroed bytes whose first is aligned to 8 bytes.
func aligned(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), n)
}

// FromBytes returns a tensor over little-endian element bytes, packed as
// ByteLen says. The bytes are shared where they are aligned to the element's
// size and copied where they are not. String tensors have no bytes: use Of.
func FromBytes(d DType, shape []int, data []byte) (*Tensor, error) {
	if !d.Valid() || d == String {
		return nil, fmt.Errorf("element type %v has no byte form", d)
	}
	n, err := Elements(shape)
	if err != nil {
		return nil, err
	}
	if want := d.ByteLen(n); len(data) != want {
		return nil, fmt.Errorf("%v%v takes %d bytes, found %d", d, shape, want, len(data))
	}
	align := uintptr(max(1, min(8, d.Bits()/8)))
	if len(data) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(data)))%align != 0 {
		c := aligned(len(data))
		copy(c, data)
		data = c
	}
	return &Tensor{dtype: d, shape: append([]int(nil), shape...), data: data}, nil
}

// Alias is FromBytes without the copy where bytes are not aligned, on machines
// that read such: for large constants whose file does not align them.
func Alias(d DType, shape []int, data []byte) (*Tensor, error) {
	n, err := Elements(shape)
	if !readsUnaligned || err != nil || !d.Valid() || d == String || len(data) == 0 || len(data) != d.ByteLen(n) {
		return FromBytes(d, shape, data)
	}
	return &Tensor{dtype: d, shape: append([]int(nil), shape...), data: data}, nil
}

// Elem is a Go type that elements can be seen as. Float16 and BFloat16 are
// seen as uint16 (their bits), the 8-bit floats and the packed types as uint8.
type Elem interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 |
		bool | complex64 | complex128 | string
}

// dtypeOf is the element type that a Go type stands for.
func dtypeOf[T Elem]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case bool:
		return Bool
	case complex64:
		return Complex64
	case complex128:
		return Complex128
	}
	return String
}

// Of returns a tensor that holds elems (shared, not copied) in the given
// shape. It panics where their number is not the shape's: it is for values
// that the program made.
func Of[T Elem](elems []T, shape ...int) *Tensor {
	n, err := Elements(shape)
	if err != nil || n != len(elems) {
		panic(fmt.Sprintf("tensor.Of: %d elements for shape %v", len(elems), shape))
	}
	t := &Tensor{dtype: dtypeOf[T](), shape: append([]int(nil), shape...)}
	if s, ok := any(elems).([]string); ok {
		t.strs = s
		return t
	}
	var z T
	t.data = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(elems))), n*int(unsafe.Sizeof(z)))
	return t
}

// Scalar returns a tensor of rank 0.
func Scalar[T Elem](v T) *Tensor { return Of([]T{v}) }

// Data is the elements of t seen as T, sharing t's memory. T must have the
// element's size: float32 for Float32, uint16 for Float16 and BFloat16, uint8
// for the 8-bit and the packed types (whole bytes then). It panics otherwise,
// as a wrong type assertion does.
func Data[T Elem](t *Tensor) []T {
	var z T
	if s, ok := any(&t.strs).(*[]T); ok {
		if t.dtype != String {
			panic(fmt.Sprintf("tensor.Data: %v tensor seen as string", t.dtype))
		}
		return *s
	}
	size := int(unsafe.Sizeof(z))
	want := max(1, t.dtype.Bits()/8)
	if t.dtype == String || size != want {
		panic(fmt.Sprintf("tensor.Data: %v tensor seen as %T", t.dtype, z))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.data))), len(t.data)/size)
}

// DType is the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Shape is the dimensions; the caller must not change them.
func (t *Tensor) Shape() []int { return t.shape }

// Rank is the number of dimensions.
func (t *Tensor) Rank() int { return len(t.shape) }

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// Bytes is the memory of the elements, shared; nil for String.
func (t *Tensor) Bytes() []byte { return t.data }

// Reshaped is a view of the same elements in another shape of as many.
func (t *Tensor) Reshaped(shape ...int) (*Tensor, error) {
	n, err := Elements(shape)
	if err != nil {
		return nil, err
	}
	if n != t.Len() {
		return nil, fmt.Errorf("cannot see shape %v (%d elements) as %v (%d)", t.shape, t.Len(), shape, n)
	}
	v := *t
	v.shape = append([]int(nil), shape...)
	return &v, nil
}

// See makes t share the elements of src, of the same element type and as many
// elements, in t's own shape: for whoever made t and gives it out anew.
func (t *Tensor) See(src *Tensor) error {
	if src.dtype != t.dtype || src.Len() != t.Len() {
		return fmt.Errorf("cannot see %v as %v", src, t)
	}
	t.data, t.strs = src.data, src.strs
	return nil
}

// SeeFrom makes t share as many elements of src, of the same element type, as t has,
// from the at-th on, like See. It fails where they do not begin and end with a byte.
func (t *Tensor) SeeFrom(src *Tensor, at int) error {
	n, bits := t.Len(), t.dtype.Bits()
	if src.dtype != t.dtype || at < 0 || at+n > src.Len() || at*bits%8 != 0 || n*bits%8 != 0 {
		return fmt.Errorf("cannot see %v as %v from element %d on", src, t, at)
	}
	if t.dtype == String {
		t.strs = src.strs[at : at+n]
		return nil
	}
	t.data = src.data[at*bits/8 : (at+n)*bits/8]
	return nil
}

// SeeData makes t, of float32, share the elements of v, of which there are as many, like See.
func (t *Tensor) SeeData(v []float32) error {
	if t.dtype != Float32 || len(v) != t.Len() {
		return fmt.Errorf("cannot see %d float32 as %v", len(v), t)
	}
	t.data = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
	return nil
}

// Clone is a copy that shares nothing with t.
func (t *Tensor) Clone() *Tensor {
	c := New(t.dtype, t.shape...)
	copy(c.data, t.data)
	copy(c.strs, t.strs)
	return c
}

// CopyFrom copies the elements of src, which has the same element type and as
// many elements, into t.
func (t *Tensor) CopyFrom(src *Tensor) error {
	if src.dtype != t.dtype || src.Len() != t.Len() {
		return fmt.Errorf("cannot copy %v into %v", src, t)
	}
	copy(t.data, src.data)
	copy(t.strs, src.strs)
	return nil
}

// Equal reports whether a and b have the same type, shape and bits.
func Equal(a, b *Tensor) bool {
	if a.dtype != b.dtype || len(a.shape) != len(b.shape) || string(a.data) != string(b.data) {
		return false
	}
	for i, d := range a.shape {
		if b.shape[i] != d {
			return false
		}
	}
	for i, s := range a.strs {
		if b.strs[i] != s {
			return false
		}
	}
	return true
}

// String is the type and shape, as in float32[2 3].
func (t *Tensor) String() string {
	return t.dtype.String() + strings.ReplaceAll(fmt.Sprint(t.shape), ",", " ")
}

// Strides is the row-major strides of shape, in elements.
func Strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// A Value is what flows along an edge of a graph: a tensor, a sequence of
// values, an optional one, or a map. The zero Value is an input or output that
// the node leaves out.
type Value struct {
	Kind   Kind
	Tensor *Tensor // KindTensor; the values of a map, of rank 1
	Keys   *Tensor // the keys of a map, of rank 1: int64 or strings, ascending, none twice
	Elems  []Value // the elements of a sequence; of an optional none or one
}

// Kind says which of its forms a Value has.
type Kind uint8

// The forms of a Value.
const (
	KindNone Kind = iota
	KindTensor
	KindSequence
	KindOptional
	KindMap
)

func (k Kind) String() string {
	return [...]string{"nothing", "tensor", "sequence", "optional", "map"}[k]
}

// ValueOf wraps a tensor; a nil tensor gives the zero Value.
func ValueOf(t *Tensor) Value {
	if t == nil {
		return Value{}
	}
	return Value{Kind: KindTensor, Tensor: t}
}
