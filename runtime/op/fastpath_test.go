package op

import (
	"fmt"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// TestFastPaths compares float32, which has loops of its own, with float64,
// which goes through the plain ones.
func TestFastPaths(t *testing.T) {
	ints := attrInts
	x, odd, line, volume := random(1, 2, 3, 9, 14), random(2, 1, 4, 7, 33), random(3, 2, 2, 19), random(4, 1, 2, 4, 5, 6)
	stat := func(c int) []*tensor.Tensor {
		return []*tensor.Tensor{random(5, c), random(6, c), random(7, c), positive(random(8, c))}
	}
	tests := []opTest{
		{op: "BatchNormalization", opset: 15, in: append([]*tensor.Tensor{x}, stat(3)...)},
		{op: "BatchNormalization", opset: 15, in: append([]*tensor.Tensor{random(1, 4, 6)}, stat(6)...)},
		{op: "GlobalAveragePool", opset: 1, in: []*tensor.Tensor{x}},
		{op: "GlobalAveragePool", opset: 1, in: []*tensor.Tensor{volume}},
	}
	windows := [][]*graph.Attr{
		{ints("kernel_shape", 2, 2), ints("strides", 2, 2)},
		{ints("kernel_shape", 3, 3), ints("strides", 2, 2), ints("pads", 1, 1, 1, 1)},
		{ints("kernel_shape", 3, 2), ints("strides", 1, 2), ints("pads", 2, 0, 0, 1), attrInt("ceil_mode", 1)},
		{ints("kernel_shape", 5, 5), attrString("auto_pad", "SAME_LOWER")},
		{ints("kernel_shape", 2, 3), ints("dilations", 3, 2), ints("pads", 0, 3, 1, 2)},
	}
	for i, attrs := range windows {
		for _, in := range []*tensor.Tensor{x, odd} {
			tests = append(tests, opTest{name: fmt.Sprint(i), op: "MaxPool", opset: 12, attrs: attrs, in: []*tensor.Tensor{in}},
				opTest{name: fmt.Sprint(i), op: "AveragePool", opset: 19, attrs: attrs, in: []*tensor.Tensor{in}},
				opTest{name: fmt.Sprint(i, " padded"), op: "AveragePool", opset: 19, attrs: append(attrs[:len(attrs):len(attrs)], attrInt("count_include_pad", 1)), in: []*tensor.Tensor{in}})
		}
	}
	tests = append(tests,
		opTest{name: "line", op: "MaxPool", opset: 12, attrs: []*graph.Attr{ints("kernel_shape", 4), ints("strides", 3)}, in: []*tensor.Tensor{line}},
		opTest{name: "volume", op: "AveragePool", opset: 12, attrs: []*graph.Attr{ints("kernel_shape", 2, 2, 3), ints("pads", 1, 0, 1, 0, 1, 1)}, in: []*tensor.Tensor{volume}},
		opTest{name: "apart", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{ints("strides", 2, 2)}, in: []*tensor.Tensor{odd, random(2, 4, 3, 2, 2), random(3, 3)}},
		opTest{name: "apart in groups", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{ints("strides", 3, 3), attrInt("group", 2)}, in: []*tensor.Tensor{odd, random(2, 4, 2, 3, 3)}},
		opTest{name: "apart on a line", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{ints("strides", 2)}, in: []*tensor.Tensor{line, random(2, 2, 3, 2), random(3, 3)}},
		opTest{name: "room between", op: "ConvTranspose", opset: 11, attrs: []*graph.Attr{ints("strides", 2, 2), ints("output_padding", 1, 1)}, in: []*tensor.Tensor{odd, random(2, 4, 3, 2, 2), random(3, 3)}},
		opTest{name: "one row", op: "Conv", opset: 11, attrs: []*graph.Attr{ints("pads", 1, 1)}, in: []*tensor.Tensor{line, random(2, 5, 2, 3), random(3, 5)}},
		opTest{name: "depthwise", op: "Conv", opset: 11, attrs: []*graph.Attr{ints("pads", 1, 1, 1, 1), attrInt("group", 3)}, in: []*tensor.Tensor{x, random(2, 3, 1, 3, 3), random(3, 3)}},
		opTest{name: "same", op: "Conv", opset: 11, attrs: []*graph.Attr{attrString("auto_pad", "SAME_UPPER"), ints("strides", 2, 2)}, in: []*tensor.Tensor{x, random(2, 4, 3, 3, 4)}},
		opTest{name: "volume", op: "Conv", opset: 11, in: []*tensor.Tensor{volume, random(2, 3, 2, 2, 2, 2)}},
	)
	for _, c := range tests {
		t.Run(c.op+"/"+c.name, func(t *testing.T) {
			narrow := evalOp(t, c)
			wide := c
			wide.in = nil
			for _, x := range c.in {
				wide.in = append(wide.in, as(tensor.Float64, x))
			}
			if err := sameTensor(narrow, as(tensor.Float32, evalOp(t, wide)), approximate); err != nil {
				t.Error(err)
			}
		})
	}
}

func evalOp(t *testing.T, c opTest) *tensor.Tensor {
	t.Helper()
	o, err := parseOp(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	in := make([]tensor.Value, len(c.in))
	for i, x := range c.in {
		in[i] = tensor.ValueOf(x)
	}
	out, err := Eval(&Ctx{Pool: kernel.NewPool(2)}, o, in, 1)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Tensor
}

// TestWindowSymbols has windows over dimensions that are not known yet: equal
// ones give equal dimensions, others others.
func TestWindowSymbols(t *testing.T) {
	h, w := graph.Symbol("h"), graph.Symbol("2*w")
	of := func(d graph.Dim, win window, k int) graph.Dim {
		out, err := win.dims([]graph.Dim{d}, []graph.Dim{graph.Size(k)})
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	two := window{strides: []int{2}, pads: []int{1, 1}}
	if a, b := of(h, two, 3), of(h, window{strides: []int{2}, pads: []int{2, 0}}, 3); !a.Same(b) {
		t.Errorf("as much padding on either side gives %v and %v", a, b)
	}
	for _, other := range []graph.Dim{of(h, two, 5), of(w, two, 3), of(h, window{strides: []int{3}, pads: []int{1, 1}}, 3),
		of(h, window{strides: []int{2}, pads: []int{1, 1}, ceil: true}, 3), of(h, window{strides: []int{2}, auto: "SAME_UPPER"}, 3), h} {
		if other.Same(of(h, two, 3)) {
			t.Errorf("another window gives %v too", other)
		}
	}
	if d := of(w, two, 3); !d.IsKnown() || d.Mul(graph.Size(2)).Div(graph.Size(2)) != d {
		t.Errorf("the symbol %v is no factor", d)
	}
	if d := of(graph.Unknown, two, 3); d.IsKnown() {
		t.Errorf("nothing known gives %v", d)
	}
	if d := of(h, window{pads: []int{1, 1}}, 3); d != h {
		t.Errorf("a window that keeps the size gives %v", d)
	}
}
