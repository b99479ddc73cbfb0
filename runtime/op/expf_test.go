package op

import (
	"math"
	"testing"

	"bilinc/runtime/tensor"
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
		{"exp", expFast, math.Exp},
		{"tanh", tanhFast, math.Tanh},
		{"sigmoid", sigmoidFast, sigmoid},
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

// Blocks and rows give what the functions of float64 give, whatever the length.
func TestRowsOfFloat32(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 300} {
		x := tensor.Data[float32](random(4, n))
		for _, name := range []string{"Exp", "Sigmoid", "Tanh", "Erf", "Sqrt", "Reciprocal", "Neg", "Abs", "HardSwish", "Ceil", "Softplus"} {
			o, err := parseOp(opTest{op: name, opset: 20, in: []*tensor.Tensor{counting(n)}}, 1)
			if err != nil {
				t.Fatal(err)
			}
			narrow, wide := list(x...), as(tensor.Float64, list(x...))
			got, err := Eval(&Ctx{}, o, []tensor.Value{tensor.ValueOf(narrow)}, 1)
			if err != nil {
				t.Fatal(err)
			}
			want, err := Eval(&Ctx{}, o, []tensor.Value{tensor.ValueOf(wide)}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := sameTensor(got[0].Tensor, as(tensor.Float32, want[0].Tensor), closeTo); err != nil {
				t.Errorf("%s of %d elements: %v", name, n, err)
			}
		}
	}
}
