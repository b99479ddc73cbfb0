package onnx

import (
	"fmt"
	"math"
	"strings"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/tensor"
)

// tensorFromWire decodes a tensor whose elements are in the message itself.
// The tensor shares raw_data where that is aligned, and the typed fields where
// they have the element's layout; the message must not be changed afterwards.
// An error is a FormatError that does not name the tensor.
func tensorFromWire(p *wire.Tensor) (*tensor.Tensor, error) {
	d, shape, n, err := tensorHead(p)
	if err != nil {
		return nil, err
	}
	if get(p.DataLocation) == wire.External {
		return nil, invalidf("%v%v: its elements are in another file", d, shape)
	}
	field, count, err := dataField(p, d, shape)
	if err != nil {
		return nil, err
	}
	if field == "raw_data" {
		return fromRaw(p.RawData, d, shape, n)
	}
	want := n
	switch d {
	case tensor.Complex64, tensor.Complex128:
		want = 2 * n
	default:
		if d.Bits() < 8 && d != tensor.String {
			want = d.ByteLen(n) // one byte of packed elements in each int32
		}
	}
	if count != want {
		return nil, invalidf("%v%v takes %d entries of %s, found %d", d, shape, want, field, count)
	}
	switch field {
	case "string_data":
		s := make([]string, n)
		for i, b := range p.StringData {
			s[i] = string(b)
		}
		return tensor.Of(s, shape...), nil
	case "float_data":
		return tensor.FromBytes(d, shape, tensor.Of(p.FloatData, count).Bytes())
	case "double_data":
		return tensor.FromBytes(d, shape, tensor.Of(p.DoubleData, count).Bytes())
	case "int64_data":
		return tensor.FromBytes(d, shape, tensor.Of(p.Int64Data, count).Bytes())
	case "uint64_data":
		if d == tensor.Uint64 {
			return tensor.FromBytes(d, shape, tensor.Of(p.Uint64Data, count).Bytes())
		}
		return narrowUint64(p.Uint64Data, shape)
	}
	if d == tensor.Int32 {
		return tensor.FromBytes(d, shape, tensor.Of(p.Int32Data, count).Bytes())
	}
	return narrowInt32(p.Int32Data, d, shape)
}

// tensorHead checks element type and shape of p; n is the number of elements.
func tensorHead(p *wire.Tensor) (d tensor.DType, shape []int, n int, err error) {
	d = tensor.DType(get(p.DataType))
	if !d.Valid() {
		return d, nil, 0, invalidf("data_type %d is no element type, wanted 1 to %d", get(p.DataType), tensor.Int2)
	}
	shape = make([]int, len(p.Dims))
	for i, v := range p.Dims {
		if shape[i] = int(v); int64(shape[i]) != v {
			return d, nil, 0, invalidf("%v%v is too large for this machine", d, p.Dims)
		}
	}
	if n, err = tensor.Elements(shape); err != nil {
		return d, nil, 0, &FormatError{Reason: d.String(), Err: err}
	}
	return d, shape, n, nil
}

// typedField is the field beside raw_data in which elements of d may stand.
func typedField(d tensor.DType) string {
	switch d {
	case tensor.Float32, tensor.Complex64:
		return "float_data"
	case tensor.Float64, tensor.Complex128:
		return "double_data"
	case tensor.Int64:
		return "int64_data"
	case tensor.Uint64, tensor.Uint32:
		return "uint64_data"
	case tensor.String:
		return "string_data"
	}
	return "int32_data"
}

// dataField finds the one field that holds p's elements and its length, and
// refuses a field that is not d's or a second one. With no element anywhere
// it is d's typed field, of length 0.
func dataField(p *wire.Tensor, d tensor.DType, shape []int) (name string, count int, err error) {
	typed := typedField(d)
	name = typed
	for _, f := range []struct {
		name  string
		count int
	}{
		{"raw_data", len(p.RawData)}, {"float_data", len(p.FloatData)}, {"int32_data", len(p.Int32Data)},
		{"string_data", len(p.StringData)}, {"int64_data", len(p.Int64Data)},
		{"double_data", len(p.DoubleData)}, {"uint64_data", len(p.Uint64Data)},
	} {
		switch {
		case f.count == 0:
		case count > 0:
			return "", 0, invalidf("%v%v has elements in %s and in %s, wanted one of them", d, shape, name, f.name)
		case f.name == typed || f.name == "raw_data" && d != tensor.String:
			name, count = f.name, f.count
		case d == tensor.String:
			return "", 0, invalidf("%v%v has its elements in %s, wanted %s", d, shape, f.name, typed)
		default:
			return "", 0, invalidf("%v%v has its elements in %s, wanted raw_data or %s", d, shape, f.name, typed)
		}
	}
	return name, count, nil
}

// fromRaw wraps little-endian bytes.
func fromRaw(raw []byte, d tensor.DType, shape []int, n int) (*tensor.Tensor, error) {
	if want := d.ByteLen(n); len(raw) != want {
		return nil, invalidf("%v%v takes %d bytes, found %d", d, shape, want, len(raw))
	}
	if d == tensor.Bool {
		// Go has no bool but 0 and 1; other files may.
		for _, b := range raw {
			if b > 1 {
				return fromBools(raw, shape), nil
			}
		}
	}
	return tensor.FromBytes(d, shape, raw)
}

func fromBools[T byte | int32](v []T, shape []int) *tensor.Tensor {
	t := tensor.New(tensor.Bool, shape...)
	out := tensor.Data[bool](t)
	for i, b := range v {
		out[i] = b != 0
	}
	return t
}

// narrowInt32 takes elements of 16 bits or fewer from int32_data: numbers, or
// the bit patterns of floats and of packed elements. Either sign's reading of
// the bits is accepted, as in uint8 255 written as −1.
func narrowInt32(v []int32, d tensor.DType, shape []int) (*tensor.Tensor, error) {
	if d == tensor.Bool {
		return fromBools(v, shape), nil
	}
	t := tensor.New(d, shape...)
	bits := max(8, d.Bits())
	for i, x := range v {
		if x < -(1<<(bits-1)) || x >= 1<<bits {
			return nil, invalidf("%v%v: entry %d of int32_data is %d, which does not fit %d bits", d, shape, i, x, bits)
		}
	}
	if bits == 8 {
		for i, out := 0, t.Bytes(); i < len(v); i++ {
			out[i] = byte(v[i])
		}
		return t, nil
	}
	for i, out := 0, t.Bytes(); i < len(v); i++ {
		out[2*i], out[2*i+1] = byte(v[i]), byte(v[i]>>8)
	}
	return t, nil
}

func narrowUint64(v []uint64, shape []int) (*tensor.Tensor, error) {
	t := tensor.New(tensor.Uint32, shape...)
	out := tensor.Data[uint32](t)
	for i, x := range v {
		if x > math.MaxUint32 {
			return nil, invalidf("%v: entry %d of uint64_data is %d, which does not fit 32 bits", t, i, x)
		}
		out[i] = uint32(x)
	}
	return t, nil
}

// tensorToWire encodes t under a name ("": none). raw_data shares t's memory.
func tensorToWire(name string, t *tensor.Tensor) *wire.Tensor {
	p := &wire.Tensor{DataType: new(int32(t.DType()))}
	if name != "" {
		p.Name = &name
	}
	for _, n := range t.Shape() {
		p.Dims = append(p.Dims, int64(n))
	}
	if t.DType() != tensor.String {
		p.RawData = t.Bytes()
		return p
	}
	for _, s := range tensor.Data[string](t) {
		p.StringData = append(p.StringData, []byte(s))
	}
	return p
}

// EncodeTensor is the bytes of a TensorProto, as ReadTensor reads it from a file.
func EncodeTensor(name string, t *tensor.Tensor) []byte { return wire.Marshal(tensorToWire(name, t)) }

// get is what an optional field says: where it is not there, zero.
func get[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// tensorLabel names a tensor in errors: by its own name or by where it stands.
func tensorLabel(p *wire.Tensor, where string) string {
	if p != nil && get(p.Name) != "" {
		return fmt.Sprintf("tensor %q", *p.Name)
	}
	return "tensor of " + strings.TrimSpace(where)
}
