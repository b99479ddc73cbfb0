package op

import (
	"slices"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// pickRows copies what the tables say, for elements of any size, whatever axes stay as they are, whether places repeat
// evenly or not, on one thread and on more.
func TestPickRows(t *testing.T) {
	whole := func(n, times, step int) (at []int) { // each of n places so many times, as far as they go in steps
		for i := 0; i < n; i += step {
			at = append(at, slices.Repeat([]int{i}, times)...)
		}
		return at
	}
	for _, c := range []struct {
		shape  []int
		places [][]int
	}{
		{[]int{40}, [][]int{whole(40, 2, 1)}},
		{[]int{2, 3, 40, 37}, [][]int{whole(2, 1, 1), whole(3, 1, 1), whole(40, 2, 1), whole(37, 2, 1)}},
		{[]int{300, 20, 20}, [][]int{whole(300, 1, 1), whole(20, 3, 1), whole(20, 4, 1)}},
		{[]int{2, 5, 6, 7}, [][]int{whole(2, 1, 1), whole(5, 2, 1), whole(6, 2, 1), whole(7, 1, 1)}}, // channels last
		{[]int{4, 9}, [][]int{whole(4, 1, 1), whole(9, 1, 1)}},
		{[]int{3, 7, 64}, [][]int{{2, 0, 0}, {0, 1, 1, 2, 2, 2, 5, 6, 6}, whole(64, 1, 3)}},
		{[]int{3, 2}, [][]int{{0, 1, 1, 2, 2, 2}, {1}}},
		{[]int{1, 1}, [][]int{{0, 0, 0}, {0}}},
		{[]int{50, 2, 17}, [][]int{whole(50, 1, 2), {1, 1, 1, 0}, whole(17, 1, 1)}},
	} {
		var shape []int
		for _, at := range c.places {
			shape = append(shape, len(at))
		}
		strides := tensor.Strides(c.shape)
		tables := make([][]int, len(shape))
		for a, at := range c.places {
			for _, k := range at {
				tables[a] = append(tables[a], k*strides[a])
			}
		}
		pickRowsAs[uint8](t, tensor.Uint8, c.shape, shape, tables)
		pickRowsAs[uint32](t, tensor.Float32, c.shape, shape, tables)
		pickRowsAs[uint64](t, tensor.Float64, c.shape, shape, tables)
	}
}

func pickRowsAs[T uint8 | uint32 | uint64](t *testing.T, d tensor.DType, from, to []int, tables [][]int) {
	t.Helper()
	x, y := tensor.New(d, from...), tensor.New(d, to...)
	for i := range tensor.Data[T](x) {
		tensor.Data[T](x)[i] = T(i*40503 + 1)
	}
	want, idx := make([]T, y.Len()), make([]int, len(to))
	for k := range want {
		at := 0
		for a, i := range idx {
			at += tables[a][i]
		}
		want[k] = tensor.Data[T](x)[at]
		advance(idx, to)
	}
	for _, threads := range []int{1, 3} {
		clear(tensor.Data[T](y))
		pickRows[T](&Ctx{Pool: kernel.NewPool(threads)}, slices.Clone(tables), x, y)
		if !slices.Equal(tensor.Data[T](y), want) {
			t.Errorf("%v of %v to %v on %d threads: %v, wanted %v", d, from, to, threads, y, want)
		}
	}
}
