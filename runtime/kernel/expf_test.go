package kernel

import (
	"math"
	"testing"
)

// fastTol is how far the quick functions may be from those of math, relative
// to the value: 1/60 of float32's last bit.
const fastTol = 1e-9

// The quick functions agree with math's over all of float32's range: every
// 4099th number, and those that are special.
func TestFastFunctions(t *testing.T) {
	for _, f := range []struct {
		name        string
		fast, exact func(float64) float64
	}{
		{"exp", Exp64, math.Exp},
		{"tanh", tanhFast, math.Tanh},
		{"sigmoid", sigmoidFast, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
		{"erf", erfFast, math.Erf},
	} {
		check := func(x float32) {
			got, want := f.fast(float64(x)), f.exact(float64(x))
			if a, b := float32(got), float32(want); math.IsNaN(want) && math.IsNaN(got) || a == b && math.Signbit(got) == math.Signbit(want) {
				return
			}
			if e := math.Abs(got-want) / math.Abs(want); !(e <= fastTol) {
				t.Fatalf("%s(%g) is %g, wanted %g: off by %.3g", f.name, x, got, want, e)
			}
		}
		for _, x := range []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 88.72, 88.73, -87.3, -103.9, -104, 1e-3, 5, -5, 4.9999995} {
			check(float32(x))
		}
		for b := uint64(0); b < 1<<32; b += 4099 {
			check(math.Float32frombits(uint32(b)))
		}
	}
	for _, c := range []struct{ fast, exact func(float64) float64 }{
		{geluFast, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }},
		{geluTanhFast, func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) }},
	} {
		for x := -10.0; x < 10; x += 1e-3 {
			if got, want := c.fast(x), c.exact(x); !(math.Abs(got-want) <= fastTol*math.Abs(x)) {
				t.Fatalf("Gelu(%g) is %g, wanted %g", x, got, want)
			}
		}
	}
}
