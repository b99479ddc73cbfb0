package onnx

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/tensor"
)

// typedCases are the elements of each type in the typed field, and the bytes
// that raw_data has for them, both written out by hand.
var typedCases = []struct {
	d    tensor.DType
	dims []int64
	p    *onnxpb.TensorProto
	raw  string
}{
	{tensor.Float32, []int64{2}, &onnxpb.TensorProto{FloatData: []float32{1, -2}}, "\x00\x00\x80\x3f\x00\x00\x00\xc0"},
	{tensor.Float64, []int64{1}, &onnxpb.TensorProto{DoubleData: []float64{-2}}, "\x00\x00\x00\x00\x00\x00\x00\xc0"},
	{tensor.Complex64, []int64{1}, &onnxpb.TensorProto{FloatData: []float32{1, -2}}, "\x00\x00\x80\x3f\x00\x00\x00\xc0"},
	{tensor.Complex128, []int64{1}, &onnxpb.TensorProto{DoubleData: []float64{0, -2}}, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc0"},
	{tensor.Int64, []int64{1, 1}, &onnxpb.TensorProto{Int64Data: []int64{-2}}, "\xfe\xff\xff\xff\xff\xff\xff\xff"},
	{tensor.Uint64, []int64{1}, &onnxpb.TensorProto{Uint64Data: []uint64{1<<63 + 1}}, "\x01\x00\x00\x00\x00\x00\x00\x80"},
	{tensor.Uint32, []int64{2}, &onnxpb.TensorProto{Uint64Data: []uint64{1, math.MaxUint32}}, "\x01\x00\x00\x00\xff\xff\xff\xff"},
	{tensor.Int32, []int64{1}, &onnxpb.TensorProto{Int32Data: []int32{-2}}, "\xfe\xff\xff\xff"},
	{tensor.Int16, []int64{2}, &onnxpb.TensorProto{Int32Data: []int32{-2, 258}}, "\xfe\xff\x02\x01"},
	{tensor.Uint16, []int64{2}, &onnxpb.TensorProto{Int32Data: []int32{65535, 258}}, "\xff\xff\x02\x01"},
	{tensor.Int8, []int64{3}, &onnxpb.TensorProto{Int32Data: []int32{-128, 127, -1}}, "\x80\x7f\xff"},
	{tensor.Uint8, []int64{3}, &onnxpb.TensorProto{Int32Data: []int32{128, 255, -1}}, "\x80\xff\xff"},
	{tensor.Bool, []int64{3}, &onnxpb.TensorProto{Int32Data: []int32{0, 1, 2}}, "\x00\x01\x01"},
	{tensor.Float16, []int64{2}, &onnxpb.TensorProto{Int32Data: []int32{0x3c00, 0xc000}}, "\x00\x3c\x00\xc0"},
	{tensor.BFloat16, []int64{2}, &onnxpb.TensorProto{Int32Data: []int32{0x3f80, 0xc000}}, "\x80\x3f\x00\xc0"},
	{tensor.Float8E4M3FN, []int64{2}, &onnxpb.TensorProto{Int32Data: []int32{0x38, 0xb8}}, "\x38\xb8"},
	{tensor.Float8E4M3FNUZ, []int64{1}, &onnxpb.TensorProto{Int32Data: []int32{0x80}}, "\x80"},
	{tensor.Float8E5M2, []int64{1}, &onnxpb.TensorProto{Int32Data: []int32{0xfc}}, "\xfc"},
	{tensor.Float8E5M2FNUZ, []int64{1}, &onnxpb.TensorProto{Int32Data: []int32{0x81}}, "\x81"},
	{tensor.Float8E8M0, []int64{1}, &onnxpb.TensorProto{Int32Data: []int32{0x7f}}, "\x7f"},
	// Two or four elements in each byte, the last one padded.
	{tensor.Uint4, []int64{3}, &onnxpb.TensorProto{Int32Data: []int32{0x21, 0x03}}, "\x21\x03"},
	{tensor.Int4, []int64{1, 3}, &onnxpb.TensorProto{Int32Data: []int32{0xf1, 0x08}}, "\xf1\x08"},
	{tensor.Float4E2M1, []int64{2}, &onnxpb.TensorProto{Int32Data: []int32{0x9a}}, "\x9a"},
	{tensor.Uint2, []int64{5}, &onnxpb.TensorProto{Int32Data: []int32{0xe4, 0x03}}, "\xe4\x03"},
	{tensor.Int2, []int64{4}, &onnxpb.TensorProto{Int32Data: []int32{0xe4}}, "\xe4"},
	{tensor.String, []int64{2}, &onnxpb.TensorProto{StringData: [][]byte{[]byte("a\xff"), nil}}, ""},
}

func TestTensorEveryTypeAndField(t *testing.T) {
	seen := map[tensor.DType]bool{}
	for _, c := range typedCases {
		seen[c.d] = true
		c.p.DataType, c.p.Dims, c.p.Name = new(int32(c.d)), c.dims, new("w")
		typed, err := fromProto(t, c.p)
		if err != nil {
			t.Errorf("%v: %v", c.d, err)
			continue
		}
		if c.d == tensor.String {
			if s := tensor.Data[string](typed); s[0] != "a\xff" || s[1] != "" {
				t.Errorf("strings %q", s)
			}
		} else if string(typed.Bytes()) != c.raw {
			t.Errorf("%v: bytes %x, wanted %x", c.d, typed.Bytes(), c.raw)
		}
		// What EncodeTensor makes of it is the same tensor.
		p := &onnxpb.TensorProto{}
		if err := proto.Unmarshal(EncodeTensor("w", typed), p); err != nil {
			t.Fatal(err)
		}
		if c.d != tensor.String && string(p.RawData) != c.raw {
			t.Errorf("%v: raw_data %x, wanted %x", c.d, p.RawData, c.raw)
		}
		again, err := fromProto(t, p)
		if err != nil || !tensor.Equal(typed, again) {
			t.Errorf("%v: %v came back as %v, %v", c.d, typed, again, err)
		}
		// In a model the message comes out as it went in, typed or raw.
		for _, w := range []*onnxpb.TensorProto{c.p, p} {
			w = proto.Clone(w).(*onnxpb.TensorProto)
			w.Name = new("extra")
			data := encoded(t, mlp(w))
			m, err := Decode(data, "")
			if err != nil {
				t.Errorf("%v: %v", c.d, err)
				continue
			}
			if got := m.Graph.Value("extra").Init(); !tensor.Equal(got, typed) {
				t.Errorf("%v: the model has %v", c.d, got)
			}
			if out, err := Encode(m); err != nil || !bytes.Equal(out, data) {
				t.Errorf("%v: not written as read (%v)", c.d, err)
			}
		}
	}
	for d := tensor.Undefined; d <= tensor.Int2; d++ {
		if d.Valid() && !seen[d] {
			t.Errorf("no case for %v", d)
		}
	}
}

func TestTensorEmptyAndScalar(t *testing.T) {
	for _, p := range []*onnxpb.TensorProto{
		{DataType: new(int32(tensor.Float32)), Dims: []int64{3, 0}},
		{DataType: new(int32(tensor.Float32)), Dims: []int64{0, 3}, RawData: []byte{}},
		{DataType: new(int32(tensor.String)), Dims: []int64{0}},
	} {
		if x, err := fromProto(t, p); err != nil || x.Len() != 0 || x.Rank() != len(p.Dims) {
			t.Errorf("%v: %v, %v", p, x, err)
		}
	}
	x, err := fromProto(t, floats("s", nil, 7))
	if err != nil || x.Rank() != 0 || tensor.Data[float32](x)[0] != 7 {
		t.Errorf("scalar: %v, %v", x, err)
	}
}

// A raw bool byte other than 0 and 1 is true; the file keeps its byte.
func TestTensorOddBools(t *testing.T) {
	p := &onnxpb.TensorProto{Name: new("b"), DataType: new(int32(tensor.Bool)), Dims: []int64{3}, RawData: []byte{0, 255, 1}}
	data := encoded(t, mlp(p))
	m, err := Decode(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Graph.Value("b").Init().Bytes(); string(got) != "\x00\x01\x01" {
		t.Errorf("bytes %v", got)
	}
	if out, err := Encode(m); err != nil || !bytes.Equal(out, data) {
		t.Errorf("not written as read (%v)", err)
	}
}

func TestTensorRefused(t *testing.T) {
	f := new(int32(tensor.Float32))
	huge := int64(1) << 62
	for _, c := range []struct {
		p    *onnxpb.TensorProto
		want string // found and wanted
	}{
		{floats("w", []int64{2, 3}, 1, 2, 3, 4, 5), "float32[2 3] takes 24 bytes, found 20"},
		{floats("w", []int64{2}, 1, 2, 3), "float32[2] takes 8 bytes, found 12"},
		{floats("w", []int64{2}), "float32[2] takes 2 entries of float_data, found 0"},
		{floats("w", []int64{-2, -2}, 1, 2, 3, 4), "negative dimension -2"},
		{floats("w", []int64{huge, 4}, 1), "too many elements"},
		{floats("w", []int64{huge, huge, 0}), "too many elements"},
		{floats("w", []int64{1 << 40}, 1), "takes 4398046511104 bytes, found 4"},
		{&onnxpb.TensorProto{DataType: f, Dims: []int64{3}, FloatData: []float32{1, 2}}, "float32[3] takes 3 entries of float_data, found 2"},
		{&onnxpb.TensorProto{DataType: f, Dims: []int64{1}, Int64Data: []int64{1}}, "float32[1] has its elements in int64_data, wanted raw_data or float_data"},
		{&onnxpb.TensorProto{DataType: f, Dims: []int64{1}, FloatData: []float32{1}, RawData: []byte("1234")}, "raw_data and in float_data"},
		{&onnxpb.TensorProto{DataType: new(int32(99)), Dims: []int64{1}, RawData: []byte("1")}, "data_type 99 is no element type"},
		{&onnxpb.TensorProto{Dims: []int64{1}, RawData: []byte("1")}, "data_type 0 is no element type"},
		{&onnxpb.TensorProto{DataType: new(int32(-1)), RawData: []byte("1")}, "data_type -1 is no element type"},
		{&onnxpb.TensorProto{DataType: new(int32(tensor.String)), Dims: []int64{1}, RawData: []byte("1")}, "string[1] has its elements in raw_data, wanted string_data"},
		{&onnxpb.TensorProto{DataType: new(int32(tensor.Uint8)), Dims: []int64{2}, Int32Data: []int32{0, 256}}, "entry 1 of int32_data is 256, which does not fit 8 bits"},
		{&onnxpb.TensorProto{DataType: new(int32(tensor.Int8)), Dims: []int64{1}, Int32Data: []int32{-129}}, "-129, which does not fit 8 bits"},
		{&onnxpb.TensorProto{DataType: new(int32(tensor.Float16)), Dims: []int64{1}, Int32Data: []int32{65536}}, "65536, which does not fit 16 bits"},
		{&onnxpb.TensorProto{DataType: new(int32(tensor.Uint32)), Dims: []int64{1}, Uint64Data: []uint64{1 << 32}}, "4294967296, which does not fit 32 bits"},
		{&onnxpb.TensorProto{DataType: new(int32(tensor.Int4)), Dims: []int64{3}, Int32Data: []int32{1, 2, 3}}, "int4[3] takes 2 entries of int32_data, found 3"},
		{&onnxpb.TensorProto{DataType: new(int32(tensor.Complex64)), Dims: []int64{1}, FloatData: []float32{1}}, "complex64[1] takes 2 entries of float_data, found 1"},
	} {
		c.p.Name = new("bad")
		if x, err := fromProto(t, c.p); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, error %v\nwanted %q", x, err, c.want)
		}
		_, err := Decode(encoded(t, mlp(c.p)), "")
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `tensor "bad"`) {
			t.Errorf("in a model: error %v\nwanted %q with the tensor's name", err, c.want)
		}
	}
}
