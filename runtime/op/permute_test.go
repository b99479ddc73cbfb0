package op

import (
	"slices"
	"testing"

	"bilinc/runtime/tensor"
)

// A kept Permutation copies what its strides say, whatever it copied before.
func TestPermutationAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	var kept Permutation
	for _, c := range []struct{ shape, perm []int }{
		{[]int{7}, []int{0}},
		{[]int{300, 200}, []int{1, 0}},
		{[]int{3, 130, 1, 70}, []int{2, 3, 1, 0}},
		{[]int{4, 50, 6, 64}, []int{0, 2, 1, 3}},
		{[]int{2, 2, 40000}, []int{1, 0, 2}},
		{[]int{5, 3, 40000}, []int{2, 0, 1}},
		{[]int{2, 3, 2, 3, 2, 3, 2, 3}, []int{7, 5, 3, 1, 6, 4, 2, 0}},
		{[]int{1, 1}, []int{1, 0}},
		{nil, nil},
	} {
		x := random(3, c.shape...)
		own := tensor.Strides(c.shape)
		dims, strides := make([]int, len(c.perm)), make([]int, len(c.perm))
		for i, p := range c.perm {
			dims[i], strides[i] = c.shape[p], own[p]
		}
		src := tensor.Data[float32](x)
		want := make([]float32, len(src))
		idx := make([]int, len(dims))
		for k := range want {
			at := 0
			for i, n := range idx {
				at += n * strides[i]
			}
			want[k] = src[at]
			advance(idx, dims)
		}
		for _, p := range pools {
			got := make([]float32, len(src))
			kept.Copy(p, got, src, dims, strides)
			if !slices.Equal(got, want) {
				t.Errorf("%v by %v on %d threads: other elements", c.shape, c.perm, p.Threads())
			}
		}
	}
}
