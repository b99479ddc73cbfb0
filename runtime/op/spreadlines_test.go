package op

import (
	"fmt"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// plainSpread is a ConvTranspose of float32 whose products are all there before they are added up.
func plainSpread(t *testing.T, o *convTranspose, x, w, bias *tensor.Tensor, y []float32) []float32 {
	t.Helper()
	s, err := o.slides(x, w)
	if err != nil {
		t.Fatal(err)
	}
	c, m := x.Shape()[1]/o.group, w.Shape()[1]
	taps, places := product(w.Shape()[2:]), product(x.Shape()[2:])
	plane, rows := s[0].in*s[1].in*s[2].in, m*taps
	out := make([]float32, len(y))
	for i := range x.Shape()[0] * o.group {
		g, cols := i%o.group, make([]float32, rows*places)
		kernel.Gemm32(nil, rows, places, c, tensor.Data[float32](w)[g*c*rows:], 1, rows, tensor.Data[float32](x)[i*c*places:], places, 1, cols, places, false)
		for k := range m {
			image := out[(i*m+k)*plane : (i*m+k+1)*plane]
			setAll(image, tensor.Data[float32](bias)[g*m+k])
			unfoldBack(s, cols[k*taps*places:(k+1)*taps*places], image)
		}
	}
	return out
}

// Blocks of lines are put together as all of them at once, and those whose taps lie apart.
func TestSpreadLines(t *testing.T) {
	for _, c := range []struct {
		x, w  []int
		group int64
		attrs []*graph.Attr
	}{
		{x: []int{1, 3, 40, 30}, w: []int{3, 2, 3, 3}, group: 1},
		{x: []int{2, 4, 50, 7}, w: []int{4, 70, 3, 5}, group: 2, attrs: []*graph.Attr{attrInts("strides", 2, 2), attrInts("pads", 1, 2, 1, 2)}},
		{x: []int{1, 2, 33, 20}, w: []int{2, 5, 4, 3}, group: 1, attrs: []*graph.Attr{attrInts("strides", 3, 2), attrInts("dilations", 2, 3), attrInts("output_padding", 2, 1)}},
		{x: []int{1, 2, 30, 9}, w: []int{2, 3, 2, 2}, group: 1, attrs: []*graph.Attr{attrInts("strides", 4, 3)}}, // lines that none reaches
		{x: []int{1, 2, 30, 9}, w: []int{2, 3, 2, 2}, group: 1, attrs: []*graph.Attr{attrInts("output_shape", 32, 10), attrInts("strides", 1, 1)}},
		{x: []int{1, 2, 9, 9}, w: []int{2, 3, 2, 2}, group: 1, attrs: []*graph.Attr{attrInts("output_padding", 20, 1), attrInts("strides", 2, 2)}},
		{x: []int{1, 2, 3, 4}, w: []int{2, 3, 9, 9}, group: 1, attrs: []*graph.Attr{attrInts("pads", 3, 4, 3, 4)}},
		{x: []int{1, 4, 37, 20}, w: []int{4, 6, 2, 2}, group: 1, attrs: []*graph.Attr{attrInts("strides", 2, 2)}}, // apart
		{x: []int{2, 4, 19, 20}, w: []int{4, 6, 3, 3}, group: 2, attrs: []*graph.Attr{attrInts("strides", 3, 3)}},
		{x: []int{1, 6, 37, 40}, w: []int{6, 1, 3, 3}, group: 6, attrs: []*graph.Attr{attrInts("strides", 2, 2), attrInts("pads", 1, 1, 1, 1)}}, // channel by channel
		{x: []int{2, 3, 20, 33}, w: []int{3, 2, 4, 4}, group: 3, attrs: []*graph.Attr{attrInts("strides", 2, 2), attrInts("pads", 1, 1, 1, 1)}},
		{x: []int{1, 3, 12, 23}, w: []int{3, 1, 5, 5}, group: 3, attrs: []*graph.Attr{attrInts("strides", 1, 4), attrInts("dilations", 1, 2)}},
		{x: []int{1, 2, 4, 1}, w: []int{2, 1, 3, 2}, group: 2, attrs: []*graph.Attr{attrInts("strides", 2, 2), attrInts("pads", 3, 1, 3, 0)}}, // one column
		{x: []int{1, 1, 5, 6}, w: []int{1, 3, 3, 1}, group: 1, attrs: []*graph.Attr{attrInts("strides", 3, 5), attrInts("output_padding", 0, 4)}},
		{x: []int{1, 2, 40}, w: []int{2, 3, 3}, group: 1, attrs: []*graph.Attr{attrInts("strides", 2)}},
		{x: []int{1, 2, 5, 6, 7}, w: []int{2, 3, 2, 3, 2}, group: 1, attrs: []*graph.Attr{attrInts("strides", 1, 2, 3)}},
	} {
		test := opTest{op: "ConvTranspose", opset: 11, attrs: append(slices.Clone(c.attrs), attrInt("group", c.group)),
			in: []*tensor.Tensor{random(1, c.x...), random(2, c.w...), random(3, int(c.group)*c.w[1])}}
		parsed, err := parseOp(test, 1)
		if err != nil {
			t.Fatal(err)
		}
		got := tensor.Data[float32](test.eval(t, kernel.NewPool(2))[0].Tensor)
		want := plainSpread(t, parsed.(*convTranspose), test.in[0], test.in[1], test.in[2], got)
		for i, v := range got {
			// The bias is the first of the terms, or the last.
			if d := v - want[i]; d > 1e-5 || d < -1e-5 {
				t.Fatalf("%s: element %d is %v, wanted %v", fmt.Sprint(c.x, c.w, c.group), i, v, want[i])
			}
		}
	}
}

// addSpaced leaves out what lies outside.
func TestAddSpaced(t *testing.T) {
	for step := 1; step < 5; step++ {
		for at := -9; at < 12; at++ {
			for n := range 8 {
				from, got, want := make([]float64, n), make([]float64, 10), make([]float64, 10)
				for j := range from {
					if from[j] = float64(j + 1); at+j*step >= 0 && at+j*step < len(want) {
						want[at+j*step] += from[j]
					}
				}
				if addSpaced(got, from, at, step); !slices.Equal(got, want) {
					t.Fatalf("%d elements from %d on in steps of %d: %v, wanted %v", n, at, step, got, want)
				}
			}
		}
	}
}
