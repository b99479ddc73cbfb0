package op

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// plainResize resizes along each axis in turn, element by element.
func plainResize[T float32 | float64](o *resize, plan []sampling, shape []int, v []T) []T {
	shape = slices.Clone(shape)
	crops := o.transform == "tf_crop_and_resize"
	for a, s := range plan {
		if s.n == s.out && s.scale == 1 && !crops {
			continue
		}
		outer, inner := product(shape[:a]), product(shape[a+1:])
		y := make([]T, outer*s.out*inner)
		for i := range y {
			b, place, j := i/inner/s.out, i/inner%s.out, i%inner
			at, weights := o.taps(s, o.at(s, place), nil, nil)
			for k, w := range weights {
				if T(w) != 0 {
					term := T(w) * v[(b*s.n+at[k])*inner+j]
					y[i] += term
				}
			}
		}
		v, shape[a] = y, s.out
	}
	for i := range v {
		for a, rest := len(shape)-1, i; crops && a >= 0; a-- {
			if x := o.at(plan[a], rest%shape[a]); x < 0 || x > float64(plan[a].n-1) {
				v[i] = T(o.outside)
			}
			rest /= shape[a]
		}
	}
	return v
}

// Rows and planes are resized to the bits of one element after the other.
func TestResizeIsPlain(t *testing.T) {
	for _, c := range []struct {
		shape  []int
		scales []float32
	}{
		{[]int{40}, []float32{2.5}},
		{[]int{3, 70}, []float32{1, 2}},
		{[]int{2, 3, 33, 41}, []float32{1, 1, 2, 2}},
		{[]int{2, 3, 33, 41}, []float32{1, 1, 0.4, 0.3}},
		{[]int{1, 20, 30, 5}, []float32{1, 1.5, 2, 1}},    // channels last
		{[]int{1, 20, 18, 16}, []float32{1, 0.5, 3, 1}},   // channels last
		{[]int{2, 9, 4, 50}, []float32{1, 2, 1, 1.5}},     // two axes apart
		{[]int{2, 9, 4, 50}, []float32{1, 1, 3, 1}},       // one axis
		{[]int{1, 2, 6, 7, 20}, []float32{1, 1, 2, 3, 2}}, // three axes
		{[]int{4, 4}, []float32{1, 1}},                    // none
	} {
		for _, mode := range []string{"linear", "cubic", "nearest"} {
			for _, transform := range []string{"half_pixel", "align_corners", "tf_crop_and_resize"} {
				for _, antialias := range []int64{0, 1} {
					x := random(1, c.shape...)
					if transform == "half_pixel" {
						tensor.Data[float32](x)[3] = float32(math.Inf(1))
					}
					roi := make([]float32, 2*len(c.shape))
					for i := range c.shape {
						if roi[len(c.shape)+i] = 1; c.scales[i] != 1 {
							roi[i], roi[len(c.shape)+i] = 0.1, 1.2
						}
					}
					name := fmt.Sprint(c.shape, c.scales, mode, transform, antialias)
					test := opTest{op: "Resize", opset: 18, in: []*tensor.Tensor{x, list(roi...), list(c.scales...)},
						attrs: []*graph.Attr{attrString("mode", mode), attrString("coordinate_transformation_mode", transform), attrInt("antialias", antialias), attrFloat("extrapolation_value", 7)}}
					got := test.eval(t, kernel.NewPool(2))[0].Tensor
					parsed, err := parseOp(test, 1)
					if err != nil {
						t.Fatal(err)
					}
					o := parsed.(*resize)
					in := make([]tensor.Value, len(test.in))
					for i, v := range test.in {
						in[i] = tensor.ValueOf(v)
					}
					plan, err := o.samplings(in, x, got)
					if err != nil {
						t.Fatal(err)
					}
					want := plainResize(o, plan, c.shape, tensor.Data[float32](x))
					for i, v := range tensor.Data[float32](got) {
						if v != want[i] && (v == v || want[i] == want[i]) {
							t.Fatalf("%s: element %d is %v, wanted %v", name, i, v, want[i])
						}
					}
					wide := plainResize(o, plan, c.shape, tensor.Data[float64](as(tensor.Float64, x)))
					test.in[0] = as(tensor.Float64, x)
					for i, v := range tensor.Data[float64](test.eval(t, nil)[0].Tensor) {
						if v != wide[i] && (v == v || wide[i] == wide[i]) {
							t.Fatalf("%s: element %d of float64 is %v, wanted %v", name, i, v, wide[i])
						}
					}
				}
			}
		}
	}
}
