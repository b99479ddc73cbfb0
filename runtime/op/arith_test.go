package op

import (
	"slices"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

func TestArith(t *testing.T) {
	x := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	runOpTests(t, []opTest{
		{name: "row", op: "Add", opset: 14, in: []*tensor.Tensor{x, list[float32](10, 20, 30)},
			want: []*tensor.Tensor{tensor.Of([]float32{11, 22, 33, 14, 25, 36}, 2, 3)}},
		{name: "column", op: "Mul", opset: 7, in: []*tensor.Tensor{x, tensor.Of([]float32{2, -1}, 2, 1)},
			want: []*tensor.Tensor{tensor.Of([]float32{2, 4, 6, -4, -5, -6}, 2, 3)}},
		{name: "both broadcast", op: "Sub", opset: 13, in: []*tensor.Tensor{tensor.Of([]int32{1, 2}, 2, 1), list[int32](5, 7)},
			want: []*tensor.Tensor{tensor.Of([]int32{-4, -6, -3, -5}, 2, 2)}},
		{name: "integers truncate", op: "Div", opset: 13, in: []*tensor.Tensor{list[int64](7, -7), tensor.Scalar[int64](2)},
			want: []*tensor.Tensor{list[int64](3, -3)}},
		{name: "float16", op: "Div", opset: 14, tol: half,
			in:   []*tensor.Tensor{as(tensor.Float16, list[float32](1, 2)), as(tensor.Float16, list[float32](3, 7))},
			want: []*tensor.Tensor{as(tensor.Float16, list[float32](1./3, 2./7))}},
		{name: "by zero", op: "Div", opset: 14, in: []*tensor.Tensor{list[int32](1), list[int32](0)}, err: "division by zero"},
		{name: "shapes", op: "Add", opset: 14, in: []*tensor.Tensor{counting(2, 3), counting(2)}, err: "[2 3] and [2] do not broadcast"},
		{name: "types", op: "Add", opset: 14, in: []*tensor.Tensor{counting(2), list[int32](1, 2)}, err: "input 1 is int32, but input 0 is float32"},
	})
}

// Every way to be a row, a column, an element or none of these gives what a call for each element gives.
func TestArithKernelShapes(t *testing.T) {
	shapes := [][]int{{}, {1}, {3}, {3, 1}, {1, 3}, {3, 3}, {1, 1, 3}, {1, 3, 1}, {3, 1, 1}, {2, 1, 3}, {2, 3, 1}, {2, 3, 3}, {0, 3}, {2, 1, 1}, {4, 2, 3, 3},
		{20, 1, 30, 1}, {20, 40, 1, 50}, {40, 30, 1}, {2, 1, 300, 1}, {300, 1000}, {7, 1, 1, 1, 3}, {7, 2, 900, 1, 3}}
	p := kernel.NewPool(3)
	for _, s := range shapes {
		for _, u := range shapes {
			rank := max(len(s), len(u))
			shape := make([]int, rank)
			fits := true
			for i := range shape {
				x, y := 1, 1
				if at := i - rank + len(s); at >= 0 {
					x = s[at]
				}
				if at := i - rank + len(u); at >= 0 {
					y = u[at]
				}
				shape[i] = x
				if x == 1 {
					shape[i] = y
				}
				fits = fits && (x == y || x == 1 || y == 1)
			}
			if !fits {
				continue
			}
			a, b := random(1, s...), random(2, u...)
			got, want := tensor.New(tensor.Float32, shape...), tensor.New(tensor.Float32, shape...)
			zip32(p, kernel.Minus, a, b, got)
			zip(a, b, want, func(x, y float32) float32 { return x - y })
			if !slices.Equal(tensor.Data[float32](got), tensor.Data[float32](want)) {
				t.Errorf("%v - %v: not what a call for each element gives", s, u)
			}
		}
	}
}
