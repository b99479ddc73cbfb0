package op

import (
	"math"
	"testing"

	"bilinc/runtime/tensor"
)

// plainLRN is the definition: x/(bias + α/size·Σ of near channels' squares)^β.
func plainLRN(o *lrn, shape []int, v []float64) []float64 {
	n, c, inner := around(shape, 1)
	result := make([]float64, len(v))
	for i := range n {
		for k := range c {
			lo, hi := max(0, k-(o.size-1)/2), min(c-1, k+o.size/2)
			for j := range inner {
				total := 0.0
				for q := lo; q <= hi; q++ {
					w := v[(i*c+q)*inner+j]
					total += w * w
				}
				at := (i*c+k)*inner + j
				result[at] = v[at] / math.Pow(o.bias+o.alpha/float64(o.size)*total, o.beta)
			}
		}
	}
	return result
}

func TestLRN(t *testing.T) {
	for _, o := range []*lrn{{1, 1e-4, 0.75, 1}, {5, 1e-4, 0.75, 1}, {4, 2, 0.75, 0.5}, {5, 1, 0.5, 2}, {3, 0.3, 1.7, 1}, {9, 1, 0.75, 1}, {3, -5, 0.75, 0}, {3, -5, 0.6, 0}} {
		for _, shape := range [][]int{{2, 3}, {1, 5, 7}, {2, 6, 3, lrnBlock}, {3, 4, lrnBlock + 1}, {2, 0, 3}, {2, 3, 0}, {1, 1, 1}} {
			wide := as(tensor.Float64, random(3, shape...))
			x := as(tensor.Float32, wide)
			want := plainLRN(o, shape, tensor.Data[float64](wide))
			y, z := tensor.New(tensor.Float64, shape...), tensor.New(tensor.Float32, shape...)
			for _, pair := range [][2]*tensor.Tensor{{wide, y}, {x, z}} {
				if err := o.Forward(&Ctx{}, []tensor.Value{tensor.ValueOf(pair[0])}, []tensor.Value{tensor.ValueOf(pair[1])}); err != nil {
					t.Fatal(err)
				}
			}
			for i, w := range want {
				got, near := tensor.Data[float64](y)[i], float64(tensor.Data[float32](z)[i])
				if math.IsNaN(w) != math.IsNaN(got) || math.IsNaN(w) != math.IsNaN(near) {
					t.Fatalf("%v of %v: element %d is %v and %v, wanted %v", *o, shape, i, got, near, w)
				}
				if math.Abs(got-w) > 1e-14*math.Abs(w) || math.Abs(near-w) > 1e-7*math.Abs(w) {
					t.Fatalf("%v of %v: element %d is %v and %v, wanted %v", *o, shape, i, got, near, w)
				}
			}
		}
	}
}
