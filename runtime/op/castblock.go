package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// castBlock is how many elements are converted at a time, by way of a block of the widest type that stays
// in the nearest cache: of n types there are 2n loops, not n².
const castBlock = 256

// isNumber tells whether elements of a type are read and written through a block.
func isNumber(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float64 || d == tensor.Float16 || d == tensor.BFloat16 || d == tensor.Bool || isWhole(d)
}

// isWhole tells whether a type is integers of whole bytes.
func isWhole(d tensor.DType) bool { return d.IsInteger() && d.Bits() >= 8 }

// castNumbers converts between two number types, which differ, over all cores: integers to one another by
// their low bits, all else by way of float64.
func castNumbers(p *kernel.Pool, x, y *tensor.Tensor) {
	whole := isWhole(x.DType()) && isWhole(y.DType())
	p.For(x.Len(), elementGrain, func(lo, hi int) {
		for lo < hi {
			if lo += castAtOnce(x, y, lo, hi); lo == hi {
				return
			}
			n := min(castBlock, hi-lo)
			if whole {
				castInts(x, y, lo, n)
			} else {
				castFloats(x, y, lo, n)
			}
			lo += n
		}
	})
}

// castInts and castFloats convert one block.
func castInts(x, y *tensor.Tensor, at, n int) {
	var block [castBlock]int64
	readInts(block[:n], x, at)
	writeInts(y, at, block[:n])
}

func castFloats(x, y *tensor.Tensor, at, n int) {
	var block [castBlock]float64
	readFloats(block[:n], x, at)
	writeFloats(y, at, block[:n])
}

// castAtOnce converts the first elements from lo to before hi where there is a loop for the pair, in package kernel or
// here, for those that models have most, and tells how many.
func castAtOnce(x, y *tensor.Tensor, lo, hi int) int {
	from, to := x.DType(), y.DType()
	switch from {
	case tensor.Bool: // a byte that is 0 or 1
		from = tensor.Uint8
	case tensor.Float16, tensor.BFloat16:
		if to != tensor.Float32 {
			return castHalves(x, y, lo, hi)
		}
	}
	switch {
	case to == tensor.Bool:
		return castToBool(x, y, lo, hi)
	case from == tensor.Float32 && to == tensor.Float16:
		return kernel.Halves(tensor.Data[uint16](y)[lo:hi], tensor.Data[float32](x)[lo:hi])
	case from == tensor.Float16 && to == tensor.Float32:
		return kernel.FromHalves(tensor.Data[float32](y)[lo:hi], tensor.Data[uint16](x)[lo:hi])
	case from == tensor.Float32 && to == tensor.BFloat16:
		return kernel.Brains(tensor.Data[uint16](y)[lo:hi], tensor.Data[float32](x)[lo:hi])
	case from == tensor.BFloat16 && to == tensor.Float32:
		return kernel.FromBrains(tensor.Data[float32](y)[lo:hi], tensor.Data[uint16](x)[lo:hi])
	case from == tensor.Float32 && to == tensor.Int64:
		return floatsToInts(tensor.Data[int64](y)[lo:hi], tensor.Data[float32](x)[lo:hi], to)
	case from == tensor.Float32 && to == tensor.Int32:
		return floatsToInts(tensor.Data[int32](y)[lo:hi], tensor.Data[float32](x)[lo:hi], to)
	case from == tensor.Float32 && to == tensor.Float64:
		return convert(tensor.Data[float32](x)[lo:hi], tensor.Data[float64](y)[lo:hi])
	case from == tensor.Float64 && to == tensor.Float32:
		return convert(tensor.Data[float64](x)[lo:hi], tensor.Data[float32](y)[lo:hi])
	case from == tensor.Int32 && to == tensor.Int64:
		return convert(tensor.Data[int32](x)[lo:hi], tensor.Data[int64](y)[lo:hi])
	case from == tensor.Int32 && to == tensor.Float32:
		return convert(tensor.Data[int32](x)[lo:hi], tensor.Data[float32](y)[lo:hi])
	case from == tensor.Int64 && to == tensor.Int32:
		return convert(tensor.Data[int64](x)[lo:hi], tensor.Data[int32](y)[lo:hi])
	case from == tensor.Int64 && to == tensor.Float32:
		return intsToFloats(tensor.Data[float32](y)[lo:hi], tensor.Data[int64](x)[lo:hi])
	case from == tensor.Uint8 && to == tensor.Int64:
		return convert(tensor.Data[uint8](x)[lo:hi], tensor.Data[int64](y)[lo:hi])
	case from == tensor.Uint8 && to == tensor.Int32:
		return convert(tensor.Data[uint8](x)[lo:hi], tensor.Data[int32](y)[lo:hi])
	case from == tensor.Uint8 && to == tensor.Uint8:
		return copy(tensor.Data[uint8](y)[lo:hi], tensor.Data[uint8](x)[lo:hi])
	case from == tensor.Uint8 && to == tensor.Float32:
		kernel.Dequantize8(tensor.Data[float32](y)[lo:hi], tensor.Data[uint8](x)[lo:hi], one32, zero32)
		return hi - lo
	case from == tensor.Int8 && to == tensor.Float32:
		kernel.Dequantize8(tensor.Data[float32](y)[lo:hi], tensor.Data[int8](x)[lo:hi], one32, zero32)
		return hi - lo
	case to == tensor.Float16 && (from == tensor.Int64 || from == tensor.Int32 || from == tensor.Uint8):
		return castToHalves(x, y, lo, hi)
	}
	return 0
}

// castToBool is what is not 0, of types that compare at once.
func castToBool(x, y *tensor.Tensor, lo, hi int) int {
	z := tensor.Data[uint8](y)[lo:hi]
	switch x.DType() {
	case tensor.Float32:
		unlikeZero(z, tensor.Data[float32](x)[lo:hi])
	case tensor.Float64:
		unlikeZero(z, tensor.Data[float64](x)[lo:hi])
	case tensor.Int64:
		unlikeZero(z, tensor.Data[int64](x)[lo:hi])
	case tensor.Int32:
		unlikeZero(z, tensor.Data[int32](x)[lo:hi])
	case tensor.Uint8, tensor.Int8:
		unlikeZero(z, tensor.Data[uint8](x)[lo:hi])
	default:
		return 0
	}
	return hi - lo
}

func unlikeZero[T number](z []uint8, x []T) {
	var zeros [castBlock]T
	for len(x) > 0 {
		n := min(castBlock, len(x))
		kernel.CompareNumbers(kernel.Unlike, z[:n], x, zeros[:])
		z, x = z[n:], x[n:]
	}
}

// castHalves widens floats of 16 bits to a block of float32 that is converted then, which loses nothing. It does as
// many as a block has.
func castHalves(x, y *tensor.Tensor, lo, hi int) int {
	block := floatScratches.get(castBlock)
	defer floatScratches.Put(block)
	n := min(castBlock, hi-lo)
	b, half := (*block)[:n], tensor.Data[uint16](x)[lo:lo+n]
	switch x.DType() {
	case tensor.Float16:
		for i := kernel.FromHalves(b, half); i < n; i++ {
			b[i] = tensor.Float16ToFloat32(half[i])
		}
	default:
		for i := kernel.FromBrains(b, half); i < n; i++ {
			b[i] = tensor.BFloat16ToFloat32(half[i])
		}
	}
	switch to := y.DType(); to {
	case tensor.Bool:
		unlikeZero(tensor.Data[uint8](y)[lo:lo+n], b)
	case tensor.Int64:
		return floatsToInts(tensor.Data[int64](y)[lo:lo+n], b, to)
	case tensor.Int32:
		return floatsToInts(tensor.Data[int32](y)[lo:lo+n], b, to)
	case tensor.Float64:
		return convert(b, tensor.Data[float64](y)[lo:lo+n])
	default:
		return 0
	}
	return n
}

// castToHalves converts integers to float32 first: what that rounds is infinite as float16.
func castToHalves(x, y *tensor.Tensor, lo, hi int) int {
	block := floatScratches.get(castBlock)
	defer floatScratches.Put(block)
	n := min(castBlock, hi-lo)
	b, half := (*block)[:n], tensor.Data[uint16](y)[lo:lo+n]
	switch x.DType() {
	case tensor.Int64:
		intsToFloats(b, tensor.Data[int64](x)[lo:lo+n])
	case tensor.Int32:
		convert(tensor.Data[int32](x)[lo:lo+n], b)
	default:
		convert(tensor.Data[uint8](x)[lo:lo+n], b)
	}
	for i := kernel.Halves(half, b); i < n; i++ {
		half[i] = tensor.Float64ToFloat16(float64(b[i]))
	}
	return n
}

// floatsToInts converts towards zero, whatever the kernel does not take one by one.
func floatsToInts[D int32 | int64](dst []D, src []float32, to tensor.DType) int {
	for from := 0; from < len(src); {
		from += kernel.Convert(dst[from:], src[from:])
		for end := min(len(src), from+castBlock/8); from < end; from++ {
			if v := src[from]; v >= -1<<63 && v < 1<<63 {
				dst[from] = D(int64(v))
			} else {
				dst[from] = D(integerOf(float64(v), to))
			}
		}
	}
	return len(src)
}

// intsToFloats rounds twice what has more than 53 bits, as castFloats does.
func intsToFloats(dst []float32, src []int64) int {
	for from := 0; from < len(src); {
		from += kernel.Convert(dst[from:], src[from:])
		for end := min(len(src), from+castBlock/8); from < end; from++ {
			dst[from] = float32(float64(src[from]))
		}
	}
	return len(src)
}

// one32 and zero32 leave bytes as they are.
var one32, zero32 = []float32{1}, []float32{0}

// readInts reads the integers of a tensor from an element on.
func readInts(b []int64, x *tensor.Tensor, at int) {
	switch x.DType() {
	case tensor.Int64:
		copy(b, tensor.Data[int64](x)[at:])
	case tensor.Int32:
		convert(tensor.Data[int32](x)[at:at+len(b)], b)
	case tensor.Int16:
		convert(tensor.Data[int16](x)[at:at+len(b)], b)
	case tensor.Int8:
		convert(tensor.Data[int8](x)[at:at+len(b)], b)
	case tensor.Uint64:
		convert(tensor.Data[uint64](x)[at:at+len(b)], b)
	case tensor.Uint32:
		convert(tensor.Data[uint32](x)[at:at+len(b)], b)
	case tensor.Uint16:
		convert(tensor.Data[uint16](x)[at:at+len(b)], b)
	case tensor.Uint8:
		convert(tensor.Data[uint8](x)[at:at+len(b)], b)
	}
}

// writeInts writes integers into a tensor of them from an element on.
func writeInts(y *tensor.Tensor, at int, b []int64) {
	switch y.DType() {
	case tensor.Int64:
		copy(tensor.Data[int64](y)[at:], b)
	case tensor.Int32:
		convert(b, tensor.Data[int32](y)[at:at+len(b)])
	case tensor.Int16:
		convert(b, tensor.Data[int16](y)[at:at+len(b)])
	case tensor.Int8:
		convert(b, tensor.Data[int8](y)[at:at+len(b)])
	case tensor.Uint64:
		convert(b, tensor.Data[uint64](y)[at:at+len(b)])
	case tensor.Uint32:
		convert(b, tensor.Data[uint32](y)[at:at+len(b)])
	case tensor.Uint16:
		convert(b, tensor.Data[uint16](y)[at:at+len(b)])
	case tensor.Uint8:
		convert(b, tensor.Data[uint8](y)[at:at+len(b)])
	}
}

// convert is dst[i] = src[i] as Go converts numbers; it returns how many. Pairs of types that fit differently are not
// for it: see kernel.Convert.
func convert[S, D number](src []S, dst []D) int {
	dst = dst[:len(src)]
	done := kernel.Convert(dst, src)
	for i, v := range src[done:] {
		dst[done+i] = D(v)
	}
	return len(src)
}

// readFloats is tensor.Float64s of the elements from one on.
func readFloats(b []float64, x *tensor.Tensor, at int) {
	switch x.DType() {
	case tensor.Float32:
		convert(tensor.Data[float32](x)[at:at+len(b)], b)
	case tensor.Float64:
		copy(b, tensor.Data[float64](x)[at:])
	case tensor.Float16:
		for i, h := range tensor.Data[uint16](x)[at : at+len(b)] {
			b[i] = float64(tensor.Float16ToFloat32(h))
		}
	case tensor.BFloat16:
		for i, h := range tensor.Data[uint16](x)[at : at+len(b)] {
			b[i] = float64(tensor.BFloat16ToFloat32(h))
		}
	case tensor.Bool:
		for i, v := range tensor.Data[bool](x)[at : at+len(b)] {
			b[i] = 0
			if v {
				b[i] = 1
			}
		}
	case tensor.Int64:
		convert(tensor.Data[int64](x)[at:at+len(b)], b)
	case tensor.Int32:
		convert(tensor.Data[int32](x)[at:at+len(b)], b)
	case tensor.Int16:
		convert(tensor.Data[int16](x)[at:at+len(b)], b)
	case tensor.Int8:
		convert(tensor.Data[int8](x)[at:at+len(b)], b)
	case tensor.Uint64:
		convert(tensor.Data[uint64](x)[at:at+len(b)], b)
	case tensor.Uint32:
		convert(tensor.Data[uint32](x)[at:at+len(b)], b)
	case tensor.Uint16:
		convert(tensor.Data[uint16](x)[at:at+len(b)], b)
	case tensor.Uint8:
		convert(tensor.Data[uint8](x)[at:at+len(b)], b)
	}
}

// writeFloats converts as ONNX does: out of an integer's range is undefined
// there; here it takes the low bits of what fits 64 of them.
func writeFloats(y *tensor.Tensor, at int, b []float64) {
	switch d := y.DType(); d {
	case tensor.Float32:
		convert(b, tensor.Data[float32](y)[at:at+len(b)])
	case tensor.Float64:
		copy(tensor.Data[float64](y)[at:], b)
	case tensor.Float16:
		dst := tensor.Data[uint16](y)[at : at+len(b)]
		for i, v := range b {
			dst[i] = tensor.Float64ToFloat16(v)
		}
	case tensor.BFloat16:
		dst := tensor.Data[uint16](y)[at : at+len(b)]
		for i, v := range b {
			dst[i] = tensor.Float64ToBFloat16(v)
		}
	case tensor.Bool:
		dst := tensor.Data[bool](y)[at : at+len(b)]
		for i, v := range b {
			dst[i] = v != 0
		}
	default:
		var ints [castBlock]int64
		for ; len(b) > 0; at += castBlock {
			n := min(castBlock, len(b))
			for i, v := range b[:n] {
				if v >= -1<<63 && v < 1<<63 {
					ints[i] = int64(v)
				} else {
					ints[i] = integerOf(v, d)
				}
			}
			writeInts(y, at, ints[:n])
			b = b[n:]
		}
	}
}
