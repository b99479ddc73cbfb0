package kernel

import (
	"math"
	"sync"
)

// The functions here are the portable ones of float32: they compute in
// float64, by tables that are filled when the program starts, to better than
// 1e-9 of the value, so that after rounding they hardly ever differ from the
// exact ones of math and take a quarter of their time.

// expSteps is the number of table entries to a factor of 2.
const expSteps = 32

// expTable[j] is 2^(j/expSteps).
var expTable = func() (t [expSteps]float64) {
	for j := range t {
		t[j] = math.Exp2(float64(j) / expSteps)
	}
	return t
}()

// Exp64 is eˣ, to 1e-11 of the value, for results that float32 can hold, 0 or +Inf (after rounding)
// for others: x = k·ln2/expSteps + r, eˣ = 2^(k/expSteps)·(1 + r + … + r⁴/24).
// The first term left out is below r⁵/120 = 1.3e-12.
func Exp64(x float64) float64 {
	const limit = 300 // far beyond float32, far within float64
	if x != x {
		return x
	}
	x = min(max(x, -limit), limit)
	const shift = 3 << 51 // adding it rounds to an integer, in the low bits
	kd := x*(expSteps/math.Ln2) + shift
	k := int64(math.Float64bits(kd)) << 13 >> 13
	r := x - (kd-shift)*(math.Ln2/expSteps)
	p := 1 + r*(1+r*(1./2+r*(1./6+r*(1./24))))
	return p * expTable[k&(expSteps-1)] * math.Float64frombits(uint64(k>>5+1023)<<52)
}

// tanhFast is 1 − 2/(e²ˣ+1); near 0, where that cancels, the series of tanh.
func tanhFast(x float64) float64 {
	if q := x * x; q < 1e-3 {
		return x * (1 - q*(1./3-q*(2./15-q*(17./315)))) // next: 0.022·q⁴
	}
	return 1 - 2/(Exp64(2*x)+1)
}

func sigmoidFast(x float64) float64 { return 1 / (1 + Exp64(-x)) }

// erfStep is the width of a cell of erfTable; it covers [0, erfEnd), above
// which erf is 1 but for 2e-12.
const (
	erfStep = 1. / 128
	erfEnd  = 5
)

// erfTable holds for each cell the cubic that has erf's values and slopes at
// both ends, by powers of the distance from the left end. It is within
// h⁴/384·max|erf⁗| = 5e-11 of erf, and exact at 0.
var erfTable = sync.OnceValue(func() *[erfEnd / erfStep][4]float64 {
	t := new([erfEnd / erfStep][4]float64)
	const h = erfStep
	slope := func(x float64) float64 { return 2 / math.SqrtPi * math.Exp(-x*x) }
	for i := range t {
		a, b := float64(i)*h, float64(i+1)*h
		rise, d0, d1 := math.Erf(b)-math.Erf(a), slope(a), slope(b)
		t[i] = [4]float64{math.Erf(a), d0, (3*rise/h - 2*d0 - d1) / h, (d0 + d1 - 2*rise/h) / (h * h)}
	}
	return t
})

func erfFast(x float64) float64 {
	a := math.Abs(x)
	if !(a < erfEnd) {
		if x != x {
			return x
		}
		return math.Copysign(1, x)
	}
	i := int(a * (1 / erfStep))
	c, d := &erfTable()[i], a-float64(i)*erfStep
	return math.Copysign(c[0]+d*(c[1]+d*(c[2]+d*c[3])), x)
}

// siluFast is x/(1+e⁻ˣ), -0 where that is below float32 and NaN of -Inf.
func siluFast(x float64) float64 { return logisticOf(x, x) }

// logisticOf is x/(1+e⁻ᵘ).
func logisticOf(x, u float64) float64 {
	if u < -300 { // where Exp64 ends
		return x * 0
	}
	return x / (1 + Exp64(-u))
}

// geluFast is x·½(1+erf(x/√2)); below -1, where that cancels, math's own erfc.
func geluFast(x float64) float64 {
	if x < -1 {
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	}
	return 0.5 * x * (1 + erfFast(x*(1/math.Sqrt2)))
}

// geluTanhFast is x·½(1+tanh u) = x/(1+e⁻²ᵘ), which does not cancel.
func geluTanhFast(x float64) float64 {
	return logisticOf(x, 2*math.Sqrt2/math.SqrtPi*(x+0.044715*x*x*x))
}
