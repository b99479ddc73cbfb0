package op

import (
	"math"
	"testing"

	"bilinc/runtime/tensor"
)

// Rows and lanes that are shared out are divided by their norms, each by its own; those of zeros stay.
func TestLpNormAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	for _, shape := range [][]int{{7}, {300, 200}, {5, 70, 131}, {2, 3, 40000}, {40000, 3}, {3, 0, 2}} {
		x := random(4, shape...)
		v := tensor.Data[float32](x)
		for axis := range shape {
			outer, n, inner := around(shape, axis)
			for k := 0; k < n && len(v) > 0; k++ { // the first lane
				v[k*inner] = 0
			}
			for _, o := range []*lpNorm{{axis, 1}, {axis, 2}} {
				want := make([]float64, len(v))
				for i := range outer * inner {
					first, total := i/inner*n*inner+i%inner, 0.0
					for k := range n {
						total += math.Pow(math.Abs(float64(v[first+k*inner])), float64(o.p))
					}
					total = math.Pow(total, 1/float64(o.p))
					for k := 0; k < n && total > 0; k++ {
						want[first+k*inner] = float64(v[first+k*inner]) / total
					}
				}
				for _, p := range pools {
					y := tensor.New(tensor.Float32, shape...)
					if err := o.Forward(&Ctx{Pool: p}, []tensor.Value{tensor.ValueOf(x)}, []tensor.Value{tensor.ValueOf(y)}); err != nil {
						t.Fatal(err)
					}
					for k, got := range tensor.Data[float32](y) {
						if math.Abs(float64(got)-want[k]) > 1e-7*(1+math.Abs(want[k])) {
							t.Fatalf("%v along %d by L%d on %d threads: %v at %d, wanted %v", shape, axis, o.p, p.Threads(), got, k, want[k])
						}
					}
				}
			}
		}
	}
}

// Norms whose inverse float32 does not hold, or not with all its bits, divide as they are.
func TestLpNormOfExtremes(t *testing.T) {
	x := tensor.Of([]float32{3e-42, 4e-42, 0, 0, 3e38, 0, 3, 4, 0}, 3, 3)
	y := tensor.New(tensor.Float32, 3, 3)
	if err := (&lpNorm{1, 2}).Forward(&Ctx{}, []tensor.Value{tensor.ValueOf(x)}, []tensor.Value{tensor.ValueOf(y)}); err != nil {
		t.Fatal(err)
	}
	// Denormal numbers are not exactly those written.
	a, b := float64(float32(3e-42)), float64(float32(4e-42))
	want := tensor.Of([]float32{float32(a / math.Hypot(a, b)), float32(b / math.Hypot(a, b)), 0, 0, 1, 0, .6, .8, 0}, 3, 3)
	if err := sameTensor(y, want, 1e-7); err != nil {
		t.Error(err)
	}
}
