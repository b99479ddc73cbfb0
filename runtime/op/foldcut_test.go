package op

import (
	"fmt"
	"math"
	"testing"

	"bilinc/runtime/tensor"
)

// Reductions that are shared out, over results and over blocks, agree with the definition, and on all numbers of
// threads with each other.
func TestReduceCutAgainstDefinition(t *testing.T) {
	pools := poolsOfThree(t)
	blocks, results := 0, 0
	for _, c := range []struct {
		shape []int
		mask  string // r: reduced
	}{
		{[]int{200000}, "r"}, {[]int{70001}, "r"}, {[]int{300, 400}, "rr"}, {[]int{300, 400}, "r."}, {[]int{300, 400}, ".r"},
		{[]int{3, 50000}, ".r"}, {[]int{50000, 3}, "r."}, {[]int{2, 300, 150}, ".r."}, {[]int{5, 3, 7001}, "r.r"},
		{[]int{5, 700, 31}, "r.r"}, {[]int{2, 3, 100, 200}, ".r.r"}, {[]int{2, 90, 3, 200}, "r.r."}, {[]int{100, 1000}, ".."},
		{[]int{1, 1}, "rr"}, {[]int{40, 3}, "r."}, {[]int{70000, 1, 2}, "r.."},
	} {
		mask := make([]bool, len(c.shape))
		for i := range mask {
			mask[i] = c.mask[i] == 'r'
		}
		kept, _ := keptShape(c.shape, mask)
		cut := cutReduction(c.shape, kept, product(kept))
		blocks += cut.blocks - 1
		results += stepsOf(cut)
		x := random(7, c.shape...)
		for i, v := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = 1 + v/float32(64*x.Len()) // products stay in range
		}
		for name := range foldings {
			want := reference(name, x, mask)
			var bits []float32
			for _, p := range pools {
				y := tensor.New(tensor.Float32, kept...)
				got := tensor.Data[float32](y)
				reduceAs(p, name, x, y, mask, math.Inf(-1), math.Inf(1), tensor.Data[float32](x), got)
				for j, w := range want {
					if math.Abs(float64(got[j])-w) > 1e-6*math.Abs(w) {
						t.Fatalf("%s %v %s: result %d is %v, wanted %v", name, c.shape, c.mask, j, got[j], w)
					}
				}
				if bits == nil {
					bits = got
				} else if fmt.Sprint(bits) != fmt.Sprint(got) {
					t.Errorf("%s %v %s: other bits on %d threads", name, c.shape, c.mask, p.Threads())
				}
			}
		}
	}
	if blocks < 20 || results < 20 {
		t.Errorf("only %d blocks and %d parts of results were cut", blocks, results)
	}
}

// stepsOf is the number of parts that the results are cut into, less one.
func stepsOf(c reductionCut) int {
	n := 1
	if c.high > 0 {
		n = (c.b.shape[c.first]-1)/c.high + 1
	}
	return n*((c.b.shape[len(c.b.shape)-1]-1)/c.wide+1) - 1
}

// Of integers every cut gives the very same.
func TestReduceCutIntegers(t *testing.T) {
	for _, p := range poolsOfThree(t) {
		x, y := tensor.New(tensor.Int32, 3, 60000), tensor.New(tensor.Int32, 1, 1)
		sum := int32(0)
		for i := range tensor.Data[int32](x) {
			v := int32(i*2654435 - 7)
			tensor.Data[int32](x)[i] = v
			sum += v
		}
		reduceAs[int32, int64](p, "ReduceSum", x, y, []bool{true, true}, math.MinInt32, math.MaxInt32, tensor.Data[int32](x), tensor.Data[int32](y))
		if got := tensor.Data[int32](y)[0]; got != sum {
			t.Errorf("%d on %d threads, wanted %d", got, p.Threads(), sum)
		}
	}
}
