package op

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bilinc/runtime/tensor"
)

// numbered is a tensor whose elements all differ, as far as the type has room for it.
func numbered(d tensor.DType, shape ...int) *tensor.Tensor {
	x := tensor.New(tensor.Float64, shape...)
	for i := range tensor.Data[float64](x) {
		tensor.Data[float64](x)[i] = float64(i % 251)
	}
	y := tensor.New(d, shape...)
	if err := castTo(nil, x, y); err != nil {
		panic(err)
	}
	return y
}

// randomIndices are indices of an axis of d elements, some counted from its end.
func randomIndices(dtype tensor.DType, d int, shape ...int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(7, uint64(d)))
	x := tensor.New(tensor.Int64, shape...)
	for i := range tensor.Data[int64](x) {
		tensor.Data[int64](x)[i] = int64(r.IntN(2*d) - d)
	}
	y := tensor.New(dtype, shape...)
	if err := castTo(nil, x, y); err != nil {
		panic(err)
	}
	return y
}

// What is picked straight is what a list of places gives.
func TestPickAgainstLists(t *testing.T) {
	pools := poolsOfThree(t)
	types := []tensor.DType{tensor.Uint8, tensor.Float16, tensor.Float32, tensor.Int64}
	by := []tensor.DType{tensor.Int32, tensor.Int64}
	for i, c := range []struct {
		x, at []int
		axis  int
	}{
		{[]int{7}, []int{40000}, 0},
		{[]int{60, 9}, []int{60, 700}, 1},
		{[]int{11, 90}, []int{500, 80}, 0},
		{[]int{5, 4, 3, 70}, []int{4, 90, 2, 69}, 1},
		{[]int{5, 4, 3, 70}, []int{5, 3, 3, 300}, 3},
		{[]int{20000, 3}, []int{20000, 1}, 1},
		{[]int{4, 3}, []int{0, 3}, 0},
		{[]int{4, 3}, []int{4, 0}, 1},
	} {
		for k, d := range by {
			x, at := numbered(types[(i+k)%len(types)], c.x...), randomIndices(d, c.x[c.axis], c.at...)
			want, got := tensor.New(x.DType(), c.at...), tensor.New(x.DType(), c.at...)
			pos, err := elementPositions(nil, x, at, c.axis)
			if err == nil {
				err = takeRuns(nil, "GatherElements", want, x, 1, 0, pos, 1, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pools {
				clear(got.Bytes())
				if !pickElements(p, got, x, at, c.axis) || !slices.Equal(got.Bytes(), want.Bytes()) {
					t.Errorf("elements of %v by %v along %d on %d threads differ", x, at, c.axis, p.Threads())
				}
			}
		}
	}
	for i, c := range []struct {
		x, at []int
		batch int
	}{
		{[]int{9}, []int{20000, 1}, 0},
		{[]int{9, 9}, []int{200, 200, 2}, 0},
		{[]int{9, 9, 9}, []int{20000, 3}, 0},
		{[]int{40, 9, 9}, []int{40, 700, 2}, 1},
		{[]int{4, 5, 9}, []int{4, 5, 900, 1}, 2},
		{[]int{4, 9}, []int{0, 2}, 0},
	} {
		for k, d := range by {
			x, at := numbered(types[(i+k)%len(types)], c.x...), randomIndices(d, 9, c.at...)
			shape := c.at[:len(c.at)-1]
			want, got := tensor.New(x.DType(), shape...), tensor.New(x.DType(), shape...)
			pos, size, err := slicePositions(nil, x, at, c.batch)
			if err == nil {
				err = takeRuns(nil, "GatherND", want, x, 1, 0, pos, 1, size)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pools {
				clear(got.Bytes())
				if !pickPoints(p, got, x, at, c.batch) || !slices.Equal(got.Bytes(), want.Bytes()) {
					t.Errorf("points of %v by %v after %d on %d threads differ", x, at, c.batch, p.Threads())
				}
			}
		}
	}
	// Runs are not for it, nor are lists of texts.
	if x := numbered(tensor.Float32, 4, 5); pickPoints(nil, tensor.New(tensor.Float32, 3, 5), x, randomIndices(tensor.Int64, 4, 3, 1), 0) {
		t.Error("a run passed for an element")
	}
	if pickElements(nil, tensor.Of([]string{""}, 1), tensor.Of([]string{"a"}, 1), list[int64](0), 0) {
		t.Error("a text passed for an element")
	}
}

// The index that is outside is named, by whatever way it is met.
func TestPickOutside(t *testing.T) {
	for _, p := range poolsOfThree(t) {
		for _, v := range []int64{4, -5} {
			for _, axis := range []int{0, 1} {
				at := randomIndices(tensor.Int64, 4, 4, 4)
				tensor.Data[int64](at)[9] = v
				x, y := numbered(tensor.Float32, 4, 4), tensor.New(tensor.Float32, 4, 4)
				err := (&gatherElements{axis}).Forward(&Ctx{Pool: p}, []tensor.Value{tensor.ValueOf(x), tensor.ValueOf(at)}, []tensor.Value{tensor.ValueOf(y)})
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("index %d is outside", v)) {
					t.Errorf("axis %d: %v", axis, err)
				}
				points := reshaped(at, 8, 2)
				err = (&gatherND{}).Forward(&Ctx{Pool: p}, []tensor.Value{tensor.ValueOf(x), tensor.ValueOf(points)}, []tensor.Value{tensor.ValueOf(tensor.New(tensor.Float32, 8))})
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("index %d is outside axis 1", v)) {
					t.Errorf("%v", err)
				}
			}
		}
	}
}
