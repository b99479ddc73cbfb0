package op

import (
	"math"
	goruntime "runtime"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Shared runs come to each element once, with the scale that its position says.
func TestGranularityShares(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	defer goruntime.GOMAXPROCS(before)
	p := kernel.NewPool(3)
	for _, c := range []struct {
		shape, scale []int
		granularity
	}{
		{shape: []int{70000}, scale: []int{}},
		{shape: []int{0, 3}, scale: []int{3}, granularity: granularity{axis: 1}},
		{shape: []int{200, 301}, scale: []int{301}, granularity: granularity{axis: 1}},
		{shape: []int{200, 301}, scale: []int{200}, granularity: granularity{axis: -2}},
		{shape: []int{3, 5, 40, 77}, scale: []int{5}, granularity: granularity{axis: 1}},
		{shape: []int{3, 20011}, scale: []int{3}, granularity: granularity{axis: 0}},
		{shape: []int{101, 7, 50}, scale: []int{101, 3, 50}, granularity: granularity{axis: 1, block: 3}},
		{shape: []int{101, 500}, scale: []int{101, 16}, granularity: granularity{axis: 1, block: 32}},
	} {
		got := make([]int, product(c.shape))
		c.share(p, c.shape, c.scale, func(lo, hi, at, step int) {
			for i := lo; i < hi; i++ {
				got[i] += 1 + at
				at += step
			}
		})
		axis, _ := normAxis(c.axis, len(c.shape))
		_, n, inner := around(c.shape, axis)
		for i, g := range got {
			want := 0
			switch k := i / inner % n; {
			case product(c.scale) == 1:
			case c.block == 0:
				want = k
			default:
				want = (i/inner/n*c.scale[axis]+k/c.block)*inner + i%inner
			}
			if g != 1+want {
				t.Fatalf("%v: element %d has scale %d, wanted %d", c, i, g-1, want)
			}
		}
	}
}

// A run of numbers is quantised as each of them.
func TestQuantizeRun(t *testing.T) {
	x := tensor.Data[float32](random(1, 4000))
	x = append(x, nan32, inf32, -inf32, 0, 0.5, 1.5, -0.5, -1.5, 2.5, 127.5, -128.5, 1e30, -1e30, float32(math.Copysign(0, -1)))
	for _, scale := range []float32{1, 0.01, 0.3, 1e-30} {
		for _, zero := range []int64{0, 1, -128, 127} {
			y, wide := make([]int8, len(x)), make([]int16, len(x))
			quantizeRun(x, y, scale, zero, math.MinInt8, math.MaxInt8)
			quantizeRun(x, wide, scale, zero, math.MinInt16, math.MaxInt16)
			for i, v := range x {
				if want := saturated(v/scale, zero, math.MinInt8, math.MaxInt8); int64(y[i]) != want {
					t.Fatalf("%v at scale %v and zero %d is %d, wanted %d", v, scale, zero, y[i], want)
				}
				if want := saturated(v/scale, zero, math.MinInt16, math.MaxInt16); int64(wide[i]) != want {
					t.Fatalf("%v at scale %v and zero %d is %d of 16 bits, wanted %d", v, scale, zero, wide[i], want)
				}
			}
		}
	}
}

// The extent of numbers is theirs in order, and NaN where one is.
func TestExtent(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 7, elementGrain, 3*elementGrain + 5} {
		x := tensor.Data[float32](random(uint64(n), n))
		var lo, hi float32
		for _, v := range x {
			lo, hi = min(lo, v), max(hi, v)
		}
		if a, b := extent(kernel.NewPool(2), x); a != lo || b != hi {
			t.Errorf("%d numbers are from %v to %v, wanted %v to %v", n, a, b, lo, hi)
		}
		if n > 0 {
			x[n-1] = nan32
			if a, b := extent(nil, x); a == a || b == b {
				t.Errorf("%d numbers, one of them NaN, are from %v to %v", n, a, b)
			}
		}
	}
}
