package kernel

import "unsafe"

// The loops over elements of any number type that operators spend their time in. Each gives the same bits on every
// path. They run on the caller: what has many elements shares them out by itself.

// Number is the types of elements.
type Number interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// kind is a Number, as tables of loops are indexed.
type kind uint8

const (
	kindInt8 kind = iota
	kindInt16
	kindInt32
	kindInt64
	kindUint8
	kindUint16
	kindUint32
	kindUint64
	kindFloat32
	kindFloat64
)

func kindOf[T Number]() kind {
	switch any(T(0)).(type) {
	case int8:
		return kindInt8
	case int16:
		return kindInt16
	case int32:
		return kindInt32
	case int64:
		return kindInt64
	case uint8:
		return kindUint8
	case uint16:
		return kindUint16
	case uint32:
		return kindUint32
	case uint64:
		return kindUint64
	case float32:
		return kindFloat32
	}
	return kindFloat64
}

// first is the address of a slice's elements.
func first[T any](s []T) *byte { return (*byte)(unsafe.Pointer(unsafe.SliceData(s))) }

// typedBlock is the elements of a turn of the loops in assembly; plain loops do the rest.
const typedBlock = 32

// ZipNumbers computes z[i] = x[i] op y[i] for each i of z, for Plus, Minus, Times, Over, Minimum and Maximum. Integers
// keep their low bits; one that is divided by 0 panics. z may be x or y.
func ZipNumbers[T Number](op Operation, z, x, y []T) {
	x, y = x[:len(z)], y[:len(z)]
	if n := len(z) &^ (typedBlock - 1); n > 0 && zipLoop(op, kindOf[T](), n, first(z), first(x), first(y)) {
		z, x, y = z[n:], x[n:], y[n:]
	}
	zipNumbersGeneric(op, z, x, y)
}

func zipNumbersGeneric[T Number](op Operation, z, x, y []T) {
	x, y = x[:len(z)], y[:len(z)]
	switch op {
	case Plus:
		for i, v := range x {
			z[i] = v + y[i]
		}
	case Minus:
		for i, v := range x {
			z[i] = v - y[i]
		}
	case Times:
		for i, v := range x {
			z[i] = v * y[i]
		}
	case Over:
		for i, v := range x {
			z[i] = v / y[i]
		}
	case Minimum:
		for i, v := range x {
			z[i] = min(v, y[i])
		}
	case Maximum:
		for i, v := range x {
			z[i] = max(v, y[i])
		}
	default:
		panic("kernel: no operation of numbers")
	}
}

// Logic is what [ZipBits] does to two elements.
type Logic uint8

// The operations on bits.
const (
	And Logic = iota
	Or
	Xor
	logics
)

// ZipBits computes z[i] = x[i] op y[i], bit by bit, for each i of z. z may be x or y.
func ZipBits[T uint8 | uint16 | uint32 | uint64](op Logic, z, x, y []T) {
	x, y = x[:len(z)], y[:len(z)]
	size := int(unsafe.Sizeof(T(0)))
	if n := len(z) * size &^ (typedBlock - 1); n > 0 && logicLoop(op, n, first(z), first(x), first(y)) {
		z, x, y = z[n/size:], x[n/size:], y[n/size:]
	}
	zipBitsGeneric(op, z, x, y)
}

func zipBitsGeneric[T uint8 | uint16 | uint32 | uint64](op Logic, z, x, y []T) {
	y = y[:len(x)]
	switch op {
	case And:
		for i, v := range x {
			z[i] = v & y[i]
		}
	case Or:
		for i, v := range x {
			z[i] = v | y[i]
		}
	case Xor:
		for i, v := range x {
			z[i] = v ^ y[i]
		}
	}
}

// Comparison is what [CompareNumbers] asks.
type Comparison uint8

// The comparisons, all but Unlike false where an element is NaN.
const (
	Equal Comparison = iota
	Unlike
	Greater
	GreaterOrEqual
	comparisons
)

// CompareNumbers computes z[i] = 1 where x[i] and y[i] compare so, else 0, for each i of z.
func CompareNumbers[T Number](c Comparison, z []uint8, x, y []T) {
	x, y = x[:len(z)], y[:len(z)]
	if n := len(z) &^ (typedBlock - 1); n > 0 && compareLoop(c, kindOf[T](), n, first(z), first(x), first(y)) {
		z, x, y = z[n:], x[n:], y[n:]
	}
	compareGeneric(c, z, x, y)
}

func compareGeneric[T Number](c Comparison, z []uint8, x, y []T) {
	z, y = z[:len(x)], y[:len(x)]
	switch c {
	case Equal:
		for i, v := range x {
			z[i] = asByte(v == y[i])
		}
	case Unlike:
		for i, v := range x {
			z[i] = asByte(v != y[i])
		}
	case Greater:
		for i, v := range x {
			z[i] = asByte(v > y[i])
		}
	case GreaterOrEqual:
		for i, v := range x {
			z[i] = asByte(v >= y[i])
		}
	}
}

// asByte is a bool as it lies in memory, without a branch.
func asByte(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

// Choose computes z[i] = x[i] where c[i], else y[i], for each i of z. z may be x or y.
func Choose[T any](z []T, c []bool, x, y []T) {
	c, x, y = c[:len(z)], x[:len(z)], y[:len(z)]
	if n := len(z) &^ (typedBlock - 1); n > 0 && chooseLoop(unsafe.Sizeof(*new(T)), n, first(z), first(c), first(x), first(y)) {
		z, c, x, y = z[n:], c[n:], x[n:], y[n:]
	}
	chooseGeneric(z, c, x, y)
}

// chooseGeneric reads both elements, so that the processor need not guess which one it is.
func chooseGeneric[T any](z []T, c []bool, x, y []T) {
	z, x, y = z[:len(c)], x[:len(c)], y[:len(c)]
	for i, c := range c {
		v, w := y[i], x[i]
		if c {
			v = w
		}
		z[i] = v
	}
}

// Convert converts the first elements of x to y's type as Go does, and tells how many: all those before a block of
// some that do not fit 32 bits where one of the types is float32 and the other is integers, and none of types or on a
// path without a loop for it.
func Convert[D, S Number](y []D, x []S) int {
	n := len(x) &^ (typedBlock - 1)
	if n == 0 {
		return 0
	}
	y = y[:len(x)]
	return convertLoop(kindOf[D](), kindOf[S](), n, first(y), first(x))
}
