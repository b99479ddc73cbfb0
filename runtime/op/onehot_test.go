package op

import (
	"slices"
	"testing"

	"bilinc/runtime/tensor"
)

// Rows that cores fill and mark by themselves are those of the definition, for any axis and type.
func TestOneHotAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	for _, c := range []struct {
		shape       []int
		axis, depth int
	}{{[]int{700}, -1, 90}, {[]int{700}, 0, 90}, {[]int{3}, 1, 50000}, {[]int{20, 60}, 1, 31}, {[]int{20, 60}, 2, 31}, {[]int{4, 5}, 0, 3}, {[]int{0, 5}, 1, 3}, {[]int{4}, 1, 0}, {nil, 0, 5}} {
		for _, values := range []*tensor.Tensor{list[float32](-1, 2), list[uint8](3, 4), list("off", "on")} {
			at := randomIndices(tensor.Int64, max(1, c.depth)+2, c.shape...) // some are outside
			x := tensor.Data[int64](at)
			axis := c.axis
			if axis < 0 {
				axis = len(c.shape)
			}
			shape := slices.Insert(slices.Clone(c.shape), axis, c.depth)
			inner := product(shape[axis+1:])
			for _, p := range pools {
				y := tensor.New(values.DType(), shape...)
				in := []tensor.Value{tensor.ValueOf(at), tensor.ValueOf(tensor.Scalar(int64(c.depth))), tensor.ValueOf(values)}
				if err := (&oneHot{c.axis}).Forward(&Ctx{Pool: p}, in, []tensor.Value{tensor.ValueOf(y)}); err != nil {
					t.Fatal(err)
				}
				got, from, err := cellsPair("OneHot", y, values)
				if err != nil {
					t.Fatal(err)
				}
				for k := range y.Len() {
					v := x[k/(inner*c.depth)*inner+k%inner]
					if v < 0 {
						v += int64(c.depth)
					}
					which := 0
					if v == int64(k/inner%c.depth) {
						which = 1
					}
					if got.strs != nil && got.strs[k] != from.strs[which] || got.strs == nil && !slices.Equal(got.bytes[k*got.size:(k+1)*got.size], from.bytes[which*got.size:(which+1)*got.size]) {
						t.Fatalf("%v along %d of %d, %v, on %d threads: element %d is wrong", c.shape, axis, c.depth, values.DType(), p.Threads(), k)
					}
				}
			}
		}
	}
}
