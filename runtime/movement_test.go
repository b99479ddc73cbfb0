package runtime_test

import (
	"fmt"
	"testing"

	"bilinc/runtime/tensor"
)

func TestMovement(t *testing.T) {
	for _, perm := range [][]int64{{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 2, 1, 3}, {2, 0, 3, 1}, nil} {
		for _, axes := range [][]int64{{0}, {1}, {-2}, {0, 1}, {2, 1}, {0, 2}, {3}, {2, 3}, {0, 1, 2}} {
			for _, keep := range []int64{0, 1} {
				t.Run(fmt.Sprint(perm, axes, keep), func(t *testing.T) {
					b := newModel(t)
					x := b.input("x", tensor.Float32, "N", 3, 4, 5)
					v := b.node("Transpose", "p", vals(x))
					if perm != nil {
						v.Producer().Attrs = append(v.Producer().Attrs, intsAttr("perm", perm...))
					}
					b.outputs(v, b.node("ReduceMean", "m", vals(v), intsAttr("axes", axes...), intAttr("keepdims", keep)))
					for _, n := range []int{1, 6} {
						sameLowered(t, b.Model, exact, noise(4, n, 3, 4, 5))
					}
				})
			}
		}
	}
}
