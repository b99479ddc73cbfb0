package dataset

import (
	"slices"
	"testing"

	"bilinc/runtime/tensor"
)

func TestClassAxis(t *testing.T) {
	for _, c := range []struct {
		scores, labels []int
		want           int
	}{
		{[]int{8, 10}, []int{8}, 1},
		{[]int{8, 5, 10}, []int{8, 5}, 2},
		{[]int{8, 10, 4, 6}, []int{8, 4, 6}, 1},
		{[]int{8, 1, 10}, []int{8}, 2}, // a dimension of 1 that labels leave out
		{[]int{8, 10}, []int{8, 10}, -1},
		{[]int{8}, []int{8}, -1},
		{nil, nil, -1},
	} {
		if got := ClassAxis(c.scores, c.labels); got != c.want {
			t.Errorf("ClassAxis(%v, %v) = %d, want %d", c.scores, c.labels, got, c.want)
		}
	}
}

func TestSqueezed(t *testing.T) {
	if got := Squeezed([]int{1, 3, 1, 4, 1}); !slices.Equal(got, []int{1, 3, 4}) {
		t.Errorf("found %v", got)
	}
	if got := Squeezed(nil); len(got) != 0 {
		t.Errorf("found %v", got)
	}
}

func TestOneHot(t *testing.T) {
	for _, c := range []struct {
		row  []float64
		want int
	}{{[]float64{0, 1, 0}, 1}, {[]float64{1}, 0}, {[]float64{0, 0}, -1}, {[]float64{1, 1}, -1}, {[]float64{0, 0.5}, -1}} {
		if got := OneHot(c.row); got != c.want {
			t.Errorf("OneHot(%v) = %d, want %d", c.row, got, c.want)
		}
	}
	matrix := func(x ...float32) *tensor.Tensor {
		m := tensor.New(tensor.Float32, 2, len(x)/2)
		copy(tensor.Data[float32](m), x)
		return m
	}
	if !IsOneHot(matrix(0, 1, 1, 0)) || IsOneHot(matrix(0, 1, 0, 0)) {
		t.Error("rows of one 1 are not told from others")
	}
}
