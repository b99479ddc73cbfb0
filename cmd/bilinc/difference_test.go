package main

import (
	"math"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/tensor"
)

func TestDifference(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		a, b       *tensor.Tensor
		atol, rtol float64
		passed     bool
		leastR     float64 // −1: none
	}{
		"equal":          {tensor.Of([]float32{1, 2}, 2), tensor.Of([]float32{1, 2}, 2), 0, 0, true, 0},
		"within rtol":    {tensor.Of([]float32{1, 2}, 2), tensor.Of([]float32{1.5, 4}, 2), 0, 0.5, true, 0.5},
		"beyond rtol":    {tensor.Of([]float32{1, 2}, 2), tensor.Of([]float32{1.5, 4}, 2), 0, 0.4, false, 0.5},
		"within atol":    {tensor.Of([]float32{1, 2}, 2), tensor.Of([]float32{1.5, 4}, 2), 2, 0, true, 0},
		"both":           {tensor.Of([]float32{1, 2}, 2), tensor.Of([]float32{1.5, 4}, 2), 1, 0.25, true, 0.25},
		"b all 0":        {tensor.Of([]float32{1}, 1), tensor.Of([]float32{0}, 1), 0, 1, false, -1},
		"NaN in both":    {tensor.Of([]float32{nan, 1}, 2), tensor.Of([]float32{nan, 1}, 2), 0, 0, true, 0},
		"NaN in one":     {tensor.Of([]float32{nan, 1}, 2), tensor.Of([]float32{1, 1}, 2), 9, 9, false, -1},
		"infinity":       {tensor.Of([]float32{inf, 1}, 2), tensor.Of([]float32{inf, 1}, 2), 0, 0, true, 0},
		"other infinity": {tensor.Of([]float32{inf, 1}, 2), tensor.Of([]float32{-inf, 1}, 2), 9, 9, false, -1},
		"shapes":         {tensor.Of([]float32{1, 1}, 2), tensor.Of([]float32{1, 1}, 1, 2), 9, 9, false, -1},
		"types":          {tensor.Of([]int64{1}, 1), tensor.Of([]float32{1}, 1), 9, 9, false, -1},
		"integers":       {tensor.Of([]int64{4, 5}, 2), tensor.Of([]int64{4, 5}, 2), 0, 0, true, 0},
		"strings":        {tensor.Of([]string{"a"}, 1), tensor.Of([]string{"a"}, 1), 0, 0, true, -1},
		"other strings":  {tensor.Of([]string{"a"}, 1), tensor.Of([]string{"b"}, 1), 9, 9, false, -1},
		"nothing":        {tensor.Of([]float32{}, 0), tensor.Of([]float32{}, 0), 0, 0, true, -1},
	} {
		d := newDifference(false)
		rows := c.a.Shape()[0]
		if err := d.add(tensor.ValueOf(c.a), tensor.ValueOf(c.b), &dataset.Batch{Rows: rows, Padded: rows}); err != nil {
			t.Fatal(err)
		}
		d.finish(c.atol, c.rtol)
		if *d.Passed != c.passed {
			t.Errorf("%s: passed %v (%s)", name, *d.Passed, d.Problem)
		}
		if (d.LeastRtol == nil) != (c.leastR < 0) || d.LeastRtol != nil && math.Abs(*d.LeastRtol-c.leastR) > 1e-12 {
			t.Errorf("%s: least rtol %s, wanted %g", name, shortOr(d.LeastRtol), c.leastR)
		}
	}
}

// The quantile is within a bin of the true one, over many scales.
func TestP99(t *testing.T) {
	d := newDifference(false)
	n := 10000
	a, b := make([]float64, n), make([]float64, n)
	for i := range a {
		a[i] = math.Exp2(float64(i)/float64(n)*40 - 30)
	}
	if err := d.numbers(tensor.Of(a, n), tensor.Of(b, n)); err != nil {
		t.Fatal(err)
	}
	if want := a[n*99/100-1]; d.p99() < want || d.p99() > want*1.011 {
		t.Errorf("p99 %g, the true one is %g", d.p99(), want)
	}
	for _, x := range []float64{0, 5e-324, 1e-300, 1, 1e300} {
		if k := bin(x); k < 0 || k >= len(d.bins) {
			t.Errorf("%g falls into bin %d of %d", x, k, len(d.bins))
		}
	}
}
