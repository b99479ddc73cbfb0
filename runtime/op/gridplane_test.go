package op

import (
	"fmt"
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Samples of planes in float32 are those by float64 and the definition, over all edges, and whatever the grid says.
func TestGridPlanes(t *testing.T) {
	for _, size := range [][4]int{{2, 3, 7, 9}, {1, 1, 1, 1}, {1, 2, 1, 6}, {1, 40, 16, 16}} {
		x := random(1, size[:]...)
		grid := random(2, size[0], 23, 31, 2)
		v := tensor.Data[float32](grid)
		for i := range 40 { // corners, centres of elements, and no positions at all
			v[i] = []float32{-1, 1, 0, float32(1 / float64(size[3])), float32(math.NaN()), float32(math.Inf(1)), 1e30, -1e30}[i*7%8]
		}
		for _, mode := range []string{"bilinear", "nearest"} {
			for _, padding := range []string{"zeros", "border", "reflection"} {
				for align := range int64(2) {
					c := opTest{op: "GridSample", opset: 16, attrs: []*graph.Attr{attrString("mode", mode), attrString("padding_mode", padding), attrInt("align_corners", align)},
						in: []*tensor.Tensor{x, grid}}
					narrow := evalOp(t, c)
					c.in = []*tensor.Tensor{as(tensor.Float64, x), as(tensor.Float64, grid)}
					if err := sameTensor(narrow, as(tensor.Float32, evalOp(t, c)), closeTo); err != nil {
						t.Error(fmt.Sprint(size, mode, padding, align), err)
					}
				}
			}
		}
	}
}

// What lies outside does not count, even beside an infinite element.
func TestGridPlanesBesideInfinity(t *testing.T) {
	inf := float32(math.Inf(1))
	x := tensor.Of([]float32{inf, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 1, 3, 3)
	grid := tensor.Of([]float32{-1, -1, -3, -3, 1, 1}, 1, 1, 3, 2)
	got := evalOp(t, opTest{op: "GridSample", opset: 16, in: []*tensor.Tensor{x, grid}})
	if err := sameTensor(got, tensor.Of([]float32{inf, 0, .25}, 1, 1, 1, 3), exact); err != nil {
		t.Error(err)
	}
}
