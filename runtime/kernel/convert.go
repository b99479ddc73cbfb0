package kernel

import "math"

// The conversions between number types that operators spend their time in. Each gives the same bits on every
// path. They run on the caller: what has many elements shares them out by itself.

// Byte is the element type of quantised numbers.
type Byte interface{ int8 | uint8 }

// Dequantize8 computes, in float32 and for every i,
//
//	y[i] = (x[i] - zero[i])·scale[i]
//
// scale and zero have one number for each of x, or one for all. Zero points are integers below 2²³.
func Dequantize8[T Byte](y []float32, x []T, scale, zero []float32) {
	y = y[:len(x)]
	mustMatch(len(x), len(scale), len(zero))
	n := dequantizeBlocks(y, x, scale, zero)
	dequantizeGeneric(y[n:], x[n:], behind(scale, n), behind(zero, n))
}

// Quantize8 computes, in float32 and for every i,
//
//	y[i] = round(x[i]/scale[i]) + zero[i]
//
// rounded half to even and kept within the range of y; zero[i] where the quotient is NaN. scale and zero have one
// number for each of x, or one for all. Zero points are numbers that y can hold.
func Quantize8[T Byte](y []T, x, scale, zero []float32) {
	y = y[:len(x)]
	mustMatch(len(x), len(scale), len(zero))
	n := quantizeBlocks(y, x, scale, zero)
	quantizeGeneric(y[n:], x[n:], behind(scale, n), behind(zero, n))
}

// Requantize8 computes, in float64 and for every i,
//
//	y[i] = round(x[i]·scale[i]) + zero
//
// as [Quantize8] rounds and limits. scale has one number for each of x, or one for all.
func Requantize8[T Byte](y []T, x []int32, scale []float64, zero T) {
	y = y[:len(x)]
	mustMatch(len(x), len(scale), len(scale))
	n := requantizeBlocks(y, x, scale, float64(zero))
	requantizeGeneric(y[n:], x[n:], behind(scale, n), float64(zero))
}

// Truncate32 computes y[i] = x[i], or y[i] += x[i], for float32 that are integers within the range of int32.
func Truncate32(y []int32, x []float32, add bool) {
	y = y[:len(x)]
	n := truncateBlocks(y, x, add)
	if add {
		truncateAddGeneric(y[n:], x[n:])
	} else {
		truncateGeneric(y[n:], x[n:])
	}
}

// Halves converts the first elements of x to binary16, rounded to nearest, ties to even; infinite above its range,
// and a NaN is quiet and keeps the upper bits of its payload. It tells how many: none on a path without an
// instruction for it, all but fewer than 16 else.
func Halves(y []uint16, x []float32) int { return halvesBlocks(y[:len(x)], x) }

// FromHalves widens the first elements of x from binary16, as many as [Halves] would narrow. A NaN becomes quiet.
func FromHalves(y []float32, x []uint16) int { return fromHalvesBlocks(y[:len(x)], x) }

// Brains is [Halves] for bfloat16.
func Brains(y []uint16, x []float32) int { return brainsBlocks(y[:len(x)], x) }

// FromBrains is [FromHalves] for bfloat16.
func FromBrains(y []float32, x []uint16) int { return fromBrainsBlocks(y[:len(x)], x) }

// mustMatch panics unless two lists of factors have one element, or as many as there are numbers.
func mustMatch(n, scales, zeros int) {
	if scales != zeros || scales != 1 && scales != n {
		panic("kernel: scales and zero points do not match the numbers")
	}
}

// behind is what a list of factors has from the n-th number on.
func behind[T any](factors []T, n int) []T {
	if len(factors) == 1 {
		return factors
	}
	return factors[n:]
}

// steps is how far a list of factors goes on from one number to the next.
func steps[T any](factors []T) int { return min(1, len(factors)-1) }

// limits is the least and the largest of a type.
func limits[T Byte]() (lo, hi float64) {
	if none := T(0); none-1 > none {
		return 0, math.MaxUint8
	}
	return math.MinInt8, math.MaxInt8
}

func dequantizeGeneric[T Byte](y []float32, x []T, scale, zero []float32) {
	step := steps(scale)
	for i, v := range x {
		y[i] = (float32(v) - zero[i*step]) * scale[i*step]
	}
}

func quantizeGeneric[T Byte](y []T, x, scale, zero []float32) {
	step := steps(scale)
	lo, hi := limits[T]()
	for i, v := range x {
		y[i] = rounded[T](float64(v/scale[i*step]), float64(zero[i*step]), lo, hi)
	}
}

func requantizeGeneric[T Byte](y []T, x []int32, scale []float64, zero float64) {
	step := steps(scale)
	lo, hi := limits[T]()
	for i, v := range x {
		y[i] = rounded[T](float64(v)*scale[i*step], zero, lo, hi)
	}
}

// rounded is v, half to even, plus a zero point, within limits.
func rounded[T Byte](v, zero, lo, hi float64) T {
	switch q := math.RoundToEven(v) + zero; {
	case q >= hi:
		return T(int32(hi))
	case q > lo:
		return T(int32(q))
	case q <= lo:
		return T(int32(lo))
	}
	return T(int32(zero)) // NaN
}

func truncateGeneric(y []int32, x []float32) {
	for i, v := range x {
		y[i] = int32(v)
	}
}

func truncateAddGeneric(y []int32, x []float32) {
	for i, v := range x {
		y[i] += int32(v)
	}
}
