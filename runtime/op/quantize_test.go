package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// packed is a tensor of 4-bit integers, two to a byte.
func packed(d tensor.DType, bytes []byte, shape ...int) *tensor.Tensor {
	t, err := tensor.FromBytes(d, shape, bytes)
	if err != nil {
		panic(err)
	}
	return t
}

func TestDequantizeLinear(t *testing.T) {
	x := tensor.Of([]uint8{0, 3, 128, 255, 1, 2}, 2, 3)
	runOpTests(t, []opTest{
		{name: "per tensor", op: "DequantizeLinear", opset: 10,
			in:   []*tensor.Tensor{x, tensor.Scalar[float32](2), tensor.Scalar[uint8](128)},
			want: []*tensor.Tensor{tensor.Of([]float32{-256, -250, 0, 254, -254, -252}, 2, 3)}},
		{name: "without a zero point", op: "DequantizeLinear", opset: 13,
			in:   []*tensor.Tensor{list[int8](-128, 127), list[float32](0.5)},
			want: []*tensor.Tensor{list[float32](-64, 63.5)}},
		{name: "a scalar", op: "DequantizeLinear", opset: 10,
			in:   []*tensor.Tensor{tensor.Scalar[int32](-100000), tensor.Scalar[float32](0.25)},
			want: []*tensor.Tensor{tensor.Scalar[float32](-25000)}},
		{name: "no elements", op: "DequantizeLinear", opset: 13,
			in:   []*tensor.Tensor{tensor.New(tensor.Int8, 0, 3), list[float32](1, 2, 3)},
			want: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 3)}},
		{name: "per column by default", op: "DequantizeLinear", opset: 13,
			in:   []*tensor.Tensor{x, list[float32](1, 2, 4), list[uint8](0, 1, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 4, 504, 255, 0, 0}, 2, 3)}},
		{name: "per row", op: "DequantizeLinear", opset: 19, attrs: []*graph.Attr{attrInt("axis", -2)},
			in:   []*tensor.Tensor{x, list[float32](1, 2), list[uint8](3, 0)},
			want: []*tensor.Tensor{tensor.Of([]float32{-3, 0, 125, 510, 2, 4}, 2, 3)}},
		{name: "blocks, the last one short", op: "DequantizeLinear", opset: 21,
			attrs: []*graph.Attr{attrInt("axis", 1), attrInt("block_size", 2)},
			in: []*tensor.Tensor{x, tensor.Of([]float32{1, 10, 100, 1000}, 2, 2),
				tensor.Of([]uint8{1, 0, 0, 1}, 2, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{-1, 2, 1280, 25500, 100, 1000}, 2, 3)}},
		{name: "blocks of rows", op: "DequantizeLinear", opset: 21,
			attrs: []*graph.Attr{attrInt("axis", 0), attrInt("block_size", 2)},
			in:    []*tensor.Tensor{x, tensor.Of([]float32{1, 2, 3}, 1, 3)},
			want:  []*tensor.Tensor{tensor.Of([]float32{0, 6, 384, 255, 2, 6}, 2, 3)}},
		{name: "4 bits", op: "DequantizeLinear", opset: 21,
			in:   []*tensor.Tensor{packed(tensor.Int4, []byte{0x78, 0x0f}, 3), tensor.Scalar[float32](2)},
			want: []*tensor.Tensor{list[float32](-16, 14, -2)}},
		{name: "4 unsigned bits", op: "DequantizeLinear", opset: 21,
			in:   []*tensor.Tensor{packed(tensor.Uint4, []byte{0x78, 0x0f}, 3), tensor.Scalar[float32](2), packed(tensor.Uint4, []byte{1}, 1)},
			want: []*tensor.Tensor{list[float32](14, 12, 28)}},
		{name: "16 bits to float16", op: "DequantizeLinear", opset: 21,
			in:   []*tensor.Tensor{list[int16](-300, 4), as(tensor.Float16, list[float32](0.5))},
			want: []*tensor.Tensor{as(tensor.Float16, list[float32](-150, 2))}},
		{name: "output_dtype", op: "DequantizeLinear", opset: 23, attrs: []*graph.Attr{attrInt("output_dtype", int64(tensor.Float16))},
			in:   []*tensor.Tensor{list[int8](3), list[float32](0.5)},
			want: []*tensor.Tensor{as(tensor.Float16, list[float32](1.5))}},
		{name: "scale does not fit", op: "DequantizeLinear", opset: 13,
			in: []*tensor.Tensor{x, list[float32](1, 2)}, err: "scale[2] does not fit x[2 3] along axis 1"},
		{name: "scale of rank 2 without blocks", op: "DequantizeLinear", opset: 13,
			in: []*tensor.Tensor{x, counting(2, 1)}, err: "does not fit"},
		{name: "blocks do not fit", op: "DequantizeLinear", opset: 21, attrs: []*graph.Attr{attrInt("block_size", 3)},
			in: []*tensor.Tensor{x, counting(2, 2)}, err: "does not fit"},
		{name: "axis", op: "DequantizeLinear", opset: 13, attrs: []*graph.Attr{attrInt("axis", 2)},
			in: []*tensor.Tensor{x, list[float32](1, 2)}, err: "axis 2 is outside rank 2"},
		{name: "zero points do not fit", op: "DequantizeLinear", opset: 13,
			in: []*tensor.Tensor{x, list[float32](1, 2, 3), list[uint8](1, 2)}, err: "but zero point is"},
		{name: "zero point of another type", op: "DequantizeLinear", opset: 13,
			in: []*tensor.Tensor{x, list[float32](1), list[int8](1)}, err: "input 1 is int8, but input 0 is uint8"},
		{name: "of floats", op: "DequantizeLinear", opset: 13,
			in: []*tensor.Tensor{counting(2), list[float32](1)}, err: "not implemented for float32"},
		{name: "integer scale", op: "DequantizeLinear", opset: 13,
			in: []*tensor.Tensor{x, list[int32](1)}, err: "wanted floating point"},
		{name: "negative blocks", op: "DequantizeLinear", opset: 21, attrs: []*graph.Attr{attrInt("block_size", -1)},
			in: []*tensor.Tensor{x, list[float32](1)}, err: "block_size is -1"},
	})
}

func TestQuantizeLinear(t *testing.T) {
	inf := float32(math.Inf(1))
	runOpTests(t, []opTest{
		{name: "half to even, saturated", op: "QuantizeLinear", opset: 10,
			in:   []*tensor.Tensor{list[float32](0, 1, 3, 5, -3, 1000, -inf, inf), tensor.Scalar[float32](2), tensor.Scalar[uint8](128)},
			want: []*tensor.Tensor{list[uint8](128, 128, 130, 130, 126, 255, 0, 255)}},
		{name: "NaN", op: "QuantizeLinear", opset: 10,
			in:   []*tensor.Tensor{list(float32(math.NaN())), tensor.Scalar[float32](2), tensor.Scalar[int8](-5)},
			want: []*tensor.Tensor{list[int8](-5)}},
		{name: "uint8 without a zero point", op: "QuantizeLinear", opset: 13,
			in:   []*tensor.Tensor{list[float32](-1, 7), tensor.Scalar[float32](2)},
			want: []*tensor.Tensor{list[uint8](0, 4)}},
		{name: "per row", op: "QuantizeLinear", opset: 13, attrs: []*graph.Attr{attrInt("axis", 0)},
			in:   []*tensor.Tensor{tensor.Of([]float32{1, 2, 3, 4}, 2, 2), list[float32](1, 0.01), list[int8](0, 1)},
			want: []*tensor.Tensor{tensor.Of([]int8{1, 2, 127, 127}, 2, 2)}},
		{name: "blocks into 4 bits", op: "QuantizeLinear", opset: 21,
			attrs: []*graph.Attr{attrInt("axis", 0), attrInt("block_size", 2), attrInt("output_dtype", int64(tensor.Int4))},
			in:    []*tensor.Tensor{list[float32](-100, 1, 7), list[float32](1, 10)},
			want:  []*tensor.Tensor{packed(tensor.Int4, []byte{0x18, 0x01}, 3)}},
		{name: "16 bits", op: "QuantizeLinear", opset: 21,
			in:   []*tensor.Tensor{as(tensor.Float16, list[float32](-3, 40000)), as(tensor.Float16, list[float32](0.5)), list[uint16](10)},
			want: []*tensor.Tensor{list[uint16](4, 65535)}},
		{name: "two output types", op: "QuantizeLinear", opset: 21, attrs: []*graph.Attr{attrInt("output_dtype", int64(tensor.Int16))},
			in: []*tensor.Tensor{counting(2), list[float32](1), list[int8](0)}, err: "output_dtype is int16, but the zero point is int8"},
		{name: "to a type that nothing is quantised to", op: "QuantizeLinear", opset: 21,
			in: []*tensor.Tensor{counting(2), list[float32](1), list[int64](0)}, err: "not implemented for int64"},
		{name: "scale does not fit", op: "QuantizeLinear", opset: 13,
			in: []*tensor.Tensor{counting(2, 3), list[float32](1, 2)}, err: "does not fit"},
	})
}

func TestDynamicQuantizeLinear(t *testing.T) {
	runOpTests(t, []opTest{
		{name: "both signs", op: "DynamicQuantizeLinear", opset: 11, in: []*tensor.Tensor{list[float32](-51, 0, 51, 204)},
			want: []*tensor.Tensor{list[uint8](0, 51, 102, 255), tensor.Scalar[float32](1), tensor.Scalar[uint8](51)}},
		{name: "0 is always in the range", op: "DynamicQuantizeLinear", opset: 11, in: []*tensor.Tensor{list[float32](-510, -255)},
			want: []*tensor.Tensor{list[uint8](0, 127), tensor.Scalar[float32](2), tensor.Scalar[uint8](255)}},
		{name: "zeros", op: "DynamicQuantizeLinear", opset: 11, in: []*tensor.Tensor{list[float32](0, 0)},
			want: []*tensor.Tensor{list[uint8](0, 0), tensor.Scalar[float32](1), tensor.Scalar[uint8](0)}},
		{name: "nothing", op: "DynamicQuantizeLinear", opset: 11, in: []*tensor.Tensor{tensor.New(tensor.Float32, 0)},
			want: []*tensor.Tensor{tensor.New(tensor.Uint8, 0), tensor.Scalar[float32](1), tensor.Scalar[uint8](0)}},
		{name: "float64", op: "DynamicQuantizeLinear", opset: 11, in: []*tensor.Tensor{list(1.0)}, err: "not implemented for float64"},
	})
}
