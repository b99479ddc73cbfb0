// Package tensor holds the n-dimensional arrays that flow through a model:
// an element type, a shape and the bytes. It knows nothing of graphs.
package tensor

import "fmt"

// DType is the element type of a tensor. Its numbers are those of ONNX's
// TensorProto.DataType, so that they can go to and from a file unchanged.
type DType int32

// The element types of ONNX (IR version 13).
const (
	Undefined      DType = 0
	Float32        DType = 1
	Uint8          DType = 2
	Int8           DType = 3
	Uint16         DType = 4
	Int16          DType = 5
	Int32          DType = 6
	Int64          DType = 7
	String         DType = 8
	Bool           DType = 9
	Float16        DType = 10
	Float64        DType = 11
	Uint32         DType = 12
	Uint64         DType = 13
	Complex64      DType = 14
	Complex128     DType = 15
	BFloat16       DType = 16
	Float8E4M3FN   DType = 17
	Float8E4M3FNUZ DType = 18
	Float8E5M2     DType = 19
	Float8E5M2FNUZ DType = 20
	Uint4          DType = 21
	Int4           DType = 22
	Float4E2M1     DType = 23
	Float8E8M0     DType = 24
	Uint2          DType = 25
	Int2           DType = 26
)

// info is what the package knows of one element type.
type info struct {
	name string
	bits int // of one element; 0 for strings and Undefined
}

var infos = [...]info{
	Undefined:      {"undefined", 0},
	Float32:        {"float32", 32},
	Uint8:          {"uint8", 8},
	Int8:           {"int8", 8},
	Uint16:         {"uint16", 16},
	Int16:          {"int16", 16},
	Int32:          {"int32", 32},
	Int64:          {"int64", 64},
	String:         {"string", 0},
	Bool:           {"bool", 8},
	Float16:        {"float16", 16},
	Float64:        {"float64", 64},
	Uint32:         {"uint32", 32},
	Uint64:         {"uint64", 64},
	Complex64:      {"complex64", 64},
	Complex128:     {"complex128", 128},
	BFloat16:       {"bfloat16", 16},
	Float8E4M3FN:   {"float8e4m3fn", 8},
	Float8E4M3FNUZ: {"float8e4m3fnuz", 8},
	Float8E5M2:     {"float8e5m2", 8},
	Float8E5M2FNUZ: {"float8e5m2fnuz", 8},
	Uint4:          {"uint4", 4},
	Int4:           {"int4", 4},
	Float4E2M1:     {"float4e2m1", 4},
	Float8E8M0:     {"float8e8m0", 8},
	Uint2:          {"uint2", 2},
	Int2:           {"int2", 2},
}

// Valid reports whether d is an element type that a tensor can have.
func (d DType) Valid() bool { return d > Undefined && int(d) < len(infos) }

func (d DType) String() string {
	if d < 0 || int(d) >= len(infos) {
		return fmt.Sprintf("DType(%d)", int32(d))
	}
	return infos[d].name
}

// Bits is the number of bits that one element takes; 0 for String.
func (d DType) Bits() int {
	if !d.Valid() {
		return 0
	}
	return infos[d].bits
}

// ByteLen is the number of bytes that n elements take, packed as ONNX packs
// them (two 4-bit or four 2-bit elements a byte, the first in the low bits);
// 0 for String, whose elements are kept apart.
func (d DType) ByteLen(n int) int {
	bits := d.Bits()
	if bits >= 8 {
		return n * (bits / 8)
	}
	return (n*bits + 7) / 8
}

// IsFloat reports whether d is a floating-point type of any width.
func (d DType) IsFloat() bool {
	switch d {
	case Float32, Float64, Float16, BFloat16, Float8E4M3FN, Float8E4M3FNUZ,
		Float8E5M2, Float8E5M2FNUZ, Float4E2M1, Float8E8M0:
		return true
	}
	return false
}

// IsInteger reports whether d is a signed or unsigned integer type of any width.
func (d DType) IsInteger() bool {
	switch d {
	case Uint8, Int8, Uint16, Int16, Int32, Int64, Uint32, Uint64, Uint4, Int4, Uint2, Int2:
		return true
	}
	return false
}

// IsQuantized reports whether d is an integer type that quantised weights
// are stored in (8 bits or fewer).
func (d DType) IsQuantized() bool { return d.IsInteger() && d.Bits() <= 8 }
