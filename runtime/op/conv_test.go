package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// naiveConv is a two-dimensional convolution by the definition, in float64:
// pads are top, left, bottom, right.
func naiveConv(x, w *tensor.Tensor, group int, strides, dilations [2]int, pads [4]int) *tensor.Tensor {
	xs, ws := x.Shape(), w.Shape()
	h := (xs[2]+pads[0]+pads[2]-(ws[2]-1)*dilations[0]-1)/strides[0] + 1
	v := (xs[3]+pads[1]+pads[3]-(ws[3]-1)*dilations[1]-1)/strides[1] + 1
	y := tensor.New(tensor.Float32, xs[0], ws[0], h, v)
	src, weights, dst := tensor.Data[float32](x), tensor.Data[float32](w), tensor.Data[float32](y)
	idx := make([]int, 4)
	for i := range dst {
		n, m, oy, ox := idx[0], idx[1], idx[2], idx[3]
		sum := 0.0
		for c := range ws[1] {
			for ky := range ws[2] {
				for kx := range ws[3] {
					iy, ix := oy*strides[0]+ky*dilations[0]-pads[0], ox*strides[1]+kx*dilations[1]-pads[1]
					if iy < 0 || iy >= xs[2] || ix < 0 || ix >= xs[3] {
						continue
					}
					channel := m/(ws[0]/group)*ws[1] + c
					sum += float64(src[((n*xs[1]+channel)*xs[2]+iy)*xs[3]+ix]) * float64(weights[((m*ws[1]+c)*ws[2]+ky)*ws[3]+kx])
				}
			}
		}
		dst[i] = float32(sum)
		advance(idx, y.Shape())
	}
	return y
}

func TestConv(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	x := random(1, 2, 4, 7, 6)
	ones := [2]int{1, 1}
	w, grouped := random(2, 6, 4, 3, 2), random(3, 6, 2, 3, 2)
	point := random(4, 5, 4, 1, 1)
	bias := tensor.Of([]float32{10, 20}, 2)
	line := tensor.Of([]float32{1, 2, 3, 4}, 1, 1, 4)
	runOpTests(t, []opTest{
		{op: "Conv", opset: 11, in: in(x, w), want: in(naiveConv(x, w, 1, ones, ones, [4]int{})), tol: approximate},
		{name: "pads strides dilations", op: "Conv", opset: 11, tol: approximate,
			attrs: []*graph.Attr{attrInts("pads", 1, 0, 2, 3), attrInts("strides", 2, 3), attrInts("dilations", 2, 1), attrInts("kernel_shape", 3, 2)},
			in:    in(x, w), want: in(naiveConv(x, w, 1, [2]int{2, 3}, [2]int{2, 1}, [4]int{1, 0, 2, 3}))},
		{name: "groups", op: "Conv", opset: 11, attrs: []*graph.Attr{attrInt("group", 2)}, in: in(x, grouped),
			want: in(naiveConv(x, grouped, 2, ones, ones, [4]int{})), tol: approximate},
		{name: "pointwise", op: "Conv", opset: 11, in: in(x, point), want: in(naiveConv(x, point, 1, ones, ones, [4]int{})), tol: approximate},
		{name: "same upper", op: "Conv", opset: 11, attrs: []*graph.Attr{attrString("auto_pad", "SAME_UPPER"), attrInts("strides", 2, 1)}, in: in(x, w),
			want: in(naiveConv(x, w, 1, [2]int{2, 1}, ones, [4]int{1, 0, 1, 1})), tol: approximate},
		{name: "same lower", op: "Conv", opset: 11, attrs: []*graph.Attr{attrString("auto_pad", "SAME_LOWER")}, in: in(x, w),
			want: in(naiveConv(x, w, 1, ones, ones, [4]int{1, 1, 1, 0})), tol: approximate},
		{name: "one axis and bias", op: "Conv", opset: 11, in: in(line, tensor.Of([]float32{1, 1, 1, -1}, 2, 1, 2), bias),
			want: in(tensor.Of([]float32{13, 15, 17, 19, 19, 19}, 1, 2, 3))},
		{name: "three axes", op: "Conv", opset: 11, in: in(counting(1, 1, 2, 2, 2), tensor.Of([]float32{1, 0, 0, 0, 0, 0, 0, 2}, 1, 1, 2, 2, 2)),
			want: in(tensor.Of([]float32{14}, 1, 1, 1, 1, 1))},
		{name: "float16", op: "Conv", opset: 11, in: in(as(tensor.Float16, line), as(tensor.Float16, tensor.Of([]float32{1, 1}, 1, 1, 2))),
			want: in(as(tensor.Float16, tensor.Of([]float32{3, 5, 7}, 1, 1, 3)))},
		{name: "channels", op: "Conv", opset: 11, in: in(x, grouped), err: "W[M 2 …] in 1 groups for float32[2 4 7 6]"},
		{name: "ranks", op: "Conv", opset: 11, in: in(x, counting(1, 4, 2)), err: "float32[1 4 2] has rank 3, wanted 4"},
		{name: "kernel", op: "Conv", opset: 11, in: in(line, counting(1, 1, 5)), err: "a window of 5 does not fit into 4 elements"},
		{name: "bias", op: "Conv", opset: 11, in: in(line, counting(1, 1, 2), bias), err: "B[2] for W[1 1 2]"},
		{name: "strides", op: "Conv", opset: 11, attrs: []*graph.Attr{attrInts("strides", 0)}, in: in(line, counting(1, 1, 2)), err: "strides [0] has 0"},

		{op: "ConvInteger", opset: 10, in: in(tensor.Of([]uint8{2, 3, 4}, 1, 1, 3), tensor.Of([]uint8{1, 2}, 1, 1, 2), tensor.Scalar[uint8](1)),
			want: in(tensor.Of([]int32{5, 8}, 1, 1, 2))},
		// Padding is the zero point, so it adds nothing.
		{name: "padded", op: "ConvInteger", opset: 10, attrs: []*graph.Attr{attrInts("pads", 1, 0)},
			in:   in(tensor.Of([]uint8{2, 3}, 1, 1, 2), tensor.Of([]uint8{4, 6, 1, 1}, 2, 1, 2), tensor.Scalar[uint8](1), list[uint8](4, 0)),
			want: in(tensor.Of([]int32{2, 4, 1, 3}, 1, 2, 2))},
	})
}

// TestConvTranspose: the transpose of a linear map f is what satisfies
// ⟨f(x), y⟩ = ⟨x, fᵀ(y)⟩ for all x and y; small cases settle the rest.
func TestConvTranspose(t *testing.T) {
	run := func(op string, attrs []*graph.Attr, in ...*tensor.Tensor) *tensor.Tensor {
		c := opTest{op: op, opset: 11, attrs: attrs, in: in}
		o, err := parseOp(c, 1)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]tensor.Value, len(in))
		for i, x := range in {
			values[i] = tensor.ValueOf(x)
		}
		out, err := Eval(&Ctx{}, o, values, 1)
		if err != nil {
			t.Fatal(err)
		}
		return out[0].Tensor
	}
	dot := func(a, b *tensor.Tensor) (sum float64) {
		if a.String() != b.String() {
			t.Fatalf("%v and %v", a, b)
		}
		for i, v := range tensor.Data[float32](a) {
			sum += float64(v) * float64(tensor.Data[float32](b)[i])
		}
		return sum
	}
	for _, attrs := range [][]*graph.Attr{
		nil,
		{attrInts("pads", 1, 0, 2, 1), attrInts("strides", 2, 1), attrInts("dilations", 1, 2)},
		{attrInt("group", 2), attrInts("pads", 0, 1, 0, 0)},
	} {
		channels := 4
		if len(attrs) == 2 {
			channels = 2
		}
		// 10 rows and 6 columns fit all strides above without remainder.
		x, w := random(1, 2, 4, 10, 6), random(2, 6, channels, 3, 2)
		y := run("Conv", attrs, x, w)
		z := random(3, y.Shape()...)
		back := run("ConvTranspose", attrs, z, w)
		if a, b := dot(y, z), dot(x, back); math.Abs(a-b) > approximate*math.Sqrt(dot(x, x)*dot(z, z)) {
			t.Errorf("attributes %d: ⟨f(x), z⟩ = %v, ⟨x, fᵀ(z)⟩ = %v", len(attrs), a, b)
		}
	}
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	x, w := tensor.Of([]float32{1, 2}, 1, 1, 2), tensor.Of([]float32{1, 10, 100}, 1, 1, 3)
	runOpTests(t, []opTest{
		{op: "ConvTranspose", opset: 11, in: in(x, w), want: in(tensor.Of([]float32{1, 12, 120, 200}, 1, 1, 4))},
		{name: "bias and stride", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{attrInts("strides", 2)}, in: in(x, w, list[float32](1)),
			want: in(tensor.Of([]float32{2, 11, 103, 21, 201}, 1, 1, 5))},
		{name: "output padding", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{attrInts("strides", 2), attrInts("output_padding", 1)}, in: in(x, w),
			want: in(tensor.Of([]float32{1, 10, 102, 20, 200, 0}, 1, 1, 6))},
		{name: "output shape", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{attrInts("output_shape", 3)}, in: in(x, w),
			want: in(tensor.Of([]float32{12, 120, 200}, 1, 1, 3))},
		{name: "same upper", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{attrString("auto_pad", "SAME_UPPER"), attrInts("strides", 2)}, in: in(x, w),
			want: in(tensor.Of([]float32{1, 10, 102, 20}, 1, 1, 4))},
		{name: "channels", op: "ConvTranspose", opset: 11, in: in(x, counting(2, 1, 3)), err: "W[2 …] in 1 groups for float32[1 1 2]"},
		{name: "pads", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{attrInts("pads", 3, 3)}, in: in(x, w), err: "leave nothing of 4 elements"},
	})
}

func TestPool(t *testing.T) {
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	x := tensor.Of([]float32{1, 5, 2, 4, 3}, 1, 1, 5)
	plane := counting(1, 1, 3, 3)
	attrs := func(kernel int64, more ...*graph.Attr) []*graph.Attr {
		return append([]*graph.Attr{attrInts("kernel_shape", kernel)}, more...)
	}
	stride2, ceil := attrInts("strides", 2), attrInt("ceil_mode", 1)
	f := func(v ...float32) *tensor.Tensor { return tensor.Of(v, 1, 1, len(v)) }
	i := func(v ...int64) *tensor.Tensor { return tensor.Of(v, 1, 1, len(v)) }
	runOpTests(t, []opTest{
		{op: "MaxPool", opset: 12, attrs: attrs(2, stride2), in: in(x), want: in(f(5, 4), i(1, 3))},
		{name: "ceil", op: "MaxPool", opset: 12, attrs: attrs(2, stride2, ceil), in: in(x), want: in(f(5, 4, 3), i(1, 3, 4))},
		{name: "dilations", op: "MaxPool", opset: 12, attrs: attrs(2, attrInts("dilations", 3)), in: in(x), want: in(f(4, 5), i(3, 1))},
		// A last window that would begin in the padding does not count.
		{name: "ceil and padding", op: "MaxPool", opset: 12, attrs: attrs(1, attrInts("strides", 4), attrInts("pads", 0, 1), ceil), in: in(x), want: in(f(1, 3))},
		{name: "padding is no number", op: "MaxPool", opset: 12, attrs: attrs(2, attrInts("pads", 1, 1)), in: in(f(-3, -2)), want: in(f(-3, -2, -2))},
		{name: "bytes", op: "MaxPool", opset: 12, attrs: attrs(2), in: in(tensor.Of([]int8{-3, -5, 2}, 1, 1, 3)), want: in(tensor.Of([]int8{-3, 2}, 1, 1, 2))},
		{name: "column-major", op: "MaxPool", opset: 12, attrs: []*graph.Attr{attrInts("kernel_shape", 2, 2), attrInt("storage_order", 1)}, in: in(plane),
			want: in(tensor.Of([]float32{4, 5, 7, 8}, 1, 1, 2, 2), tensor.Of([]int64{4, 7, 5, 8}, 1, 1, 2, 2))},
		{op: "AveragePool", opset: 11, attrs: attrs(2, attrInts("pads", 1, 1), stride2), in: in(x), want: in(f(1, 3.5, 3.5))},
		{name: "pads count", op: "AveragePool", opset: 11, attrs: attrs(2, attrInts("pads", 1, 1), stride2, attrInt("count_include_pad", 1)), in: in(x), want: in(f(0.5, 3.5, 3.5))},
		// The last window reaches past the input; what is not padding does not count.
		{name: "pads count to their end", op: "AveragePool", opset: 11, attrs: attrs(3, stride2, ceil, attrInt("count_include_pad", 1)),
			in: in(f(1, 2, 3, 6, 9, 3)), want: in(f(2, 6, 6))},
		{name: "dilations", op: "AveragePool", opset: 19, attrs: attrs(2, attrInts("dilations", 2)), in: in(x), want: in(f(1.5, 4.5, 2.5))},
		{op: "LpPool", opset: 11, attrs: attrs(2), in: in(f(3, -4, 0)), want: in(f(5, 4))},
		{name: "p", op: "LpPool", opset: 11, attrs: attrs(2, attrInt("p", 1)), in: in(f(3, -4, 0)), want: in(f(7, 4))},
		{op: "GlobalMaxPool", opset: 1, in: in(plane), want: in(tensor.Of([]float32{8}, 1, 1, 1, 1))},
		{op: "GlobalAveragePool", opset: 1, in: in(plane), want: in(tensor.Of([]float32{4}, 1, 1, 1, 1))},
		{op: "GlobalLpPool", opset: 2, in: in(f(3, -4)), want: in(f(5))},
		{name: "kernel", op: "MaxPool", opset: 12, attrs: attrs(6), in: in(x), err: "axis 2: a window of 6 does not fit into 5 elements"},
		{name: "no kernel", op: "MaxPool", opset: 12, in: in(x), err: "attribute kernel_shape is missing"},
		{name: "rank", op: "AveragePool", opset: 11, attrs: attrs(2), in: in(plane), err: "kernel_shape [2] for 2 axes"},
	})
}
