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
		lo += castAtOnce(x, y, lo, hi)
		if whole {
			var block [castBlock]int64
			for ; lo < hi; lo += castBlock {
				b := block[:min(castBlock, hi-lo)]
				readInts(b, x, lo)
				writeInts(y, lo, b)
			}
			return
		}
		var block [castBlock]float64
		for ; lo < hi; lo += castBlock {
			b := block[:min(castBlock, hi-lo)]
			readFloats(b, x, lo)
			writeFloats(y, lo, b)
		}
	})
}

// castAtOnce converts the first elements from lo to before hi where there is a loop for the pair, in package kernel or
// here, for those that models have most, and tells how many.
func castAtOnce(x, y *tensor.Tensor, lo, hi int) int {
	switch from, to := x.DType(), y.DType(); {
	case from == tensor.Float32 && to == tensor.Float16:
		return kernel.Halves(tensor.Data[uint16](y)[lo:hi], tensor.Data[float32](x)[lo:hi])
	case from == tensor.Float16 && to == tensor.Float32:
		return kernel.FromHalves(tensor.Data[float32](y)[lo:hi], tensor.Data[uint16](x)[lo:hi])
	case from == tensor.Float32 && to == tensor.BFloat16:
		return kernel.Brains(tensor.Data[uint16](y)[lo:hi], tensor.Data[float32](x)[lo:hi])
	case from == tensor.BFloat16 && to == tensor.Float32:
		return kernel.FromBrains(tensor.Data[float32](y)[lo:hi], tensor.Data[uint16](x)[lo:hi])
	case from == tensor.Float32 && to == tensor.Bool:
		dst := tensor.Data[bool](y)[lo:hi]
		for i, v := range tensor.Data[float32](x)[lo:hi] {
			dst[i] = v != 0
		}
		return hi - lo
	case from == tensor.Float32 && to == tensor.Int64:
		dst := tensor.Data[int64](y)[lo:hi]
		for i, v := range tensor.Data[float32](x)[lo:hi] {
			if v >= -1<<63 && v < 1<<63 {
				dst[i] = int64(v)
			} else {
				dst[i] = integerOf(float64(v), to)
			}
		}
		return hi - lo
	case from == tensor.Uint8 && to == tensor.Int64:
		convert(tensor.Data[uint8](x)[lo:hi], tensor.Data[int64](y)[lo:hi])
		return hi - lo
	case from == tensor.Int32 && to == tensor.Int64:
		convert(tensor.Data[int32](x)[lo:hi], tensor.Data[int64](y)[lo:hi])
		return hi - lo
	case from == tensor.Int64 && to == tensor.Int32:
		convert(tensor.Data[int64](x)[lo:hi], tensor.Data[int32](y)[lo:hi])
		return hi - lo
	case from == tensor.Uint8 && to == tensor.Float32:
		kernel.Dequantize8(tensor.Data[float32](y)[lo:hi], tensor.Data[uint8](x)[lo:hi], one32, zero32)
		return hi - lo
	case from == tensor.Int8 && to == tensor.Float32:
		kernel.Dequantize8(tensor.Data[float32](y)[lo:hi], tensor.Data[int8](x)[lo:hi], one32, zero32)
		return hi - lo
	}
	return 0
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

// convert is dst[i] = src[i] as Go converts numbers.
func convert[S, D number](src []S, dst []D) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = D(v)
	}
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
