package tensor

import (
	"fmt"
	"math"
)

// Float16ToFloat32 widens an IEEE 754 binary16.
func Float16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	man := uint32(h & 0x3ff)
	switch {
	case exp == 0x1f: // infinity and NaN keep their payload
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
	}
	// Zero or subnormal: man · 2⁻²⁴ is exact in float32.
	f := float32(man) * (1.0 / (1 << 24))
	return math.Float32frombits(sign | math.Float32bits(f))
}

// Float32ToFloat16 rounds to the nearest binary16, ties to even; what is too
// large becomes infinity.
func Float32ToFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN stays a quiet NaN
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x477ff000: // 65520 and above round to infinity
		return sign | 0x7c00
	case b < 0x38800000: // below 2⁻¹⁴: subnormal or zero
		// Adding 0.5 puts the wanted bits at the end of the mantissa, where
		// the hardware rounds them.
		sum := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
	}
	b += 0xfff + (b>>13)&1
	return sign | uint16((b-0x38000000)>>13)
}

// BFloat16ToFloat32 widens a bfloat16.
func BFloat16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// Float32ToBFloat16 rounds to the nearest bfloat16, ties to even.
func Float32ToBFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b>>16)&1) >> 16)
}

// Float64ToFloat16 rounds to the nearest binary16, ties to even, once.
func Float64ToFloat16(v float64) uint16 { return Float32ToFloat16(oddRound(v)) }

// Float64ToBFloat16 rounds to the nearest bfloat16, ties to even, once.
func Float64ToBFloat16(v float64) uint16 { return Float32ToBFloat16(oddRound(v)) }

// Float64s is the elements of a real tensor (floating point of 16 bits or
// more, integer of 8 or more, bool) as float64, always a copy.
func Float64s(t *Tensor) ([]float64, error) { return Float64sInto(nil, t) }

// Float64sInto is [Float64s] in the memory of buf where that holds enough.
func Float64sInto(buf []float64, t *Tensor) ([]float64, error) {
	n := t.Len()
	if cap(buf) < n {
		buf = make([]float64, n)
	}
	out := buf[:n]
	switch t.dtype {
	case Float32:
		widen(out, Data[float32](t))
	case Float64:
		copy(out, Data[float64](t))
	case Float16:
		for i, h := range Data[uint16](t) {
			out[i] = float64(Float16ToFloat32(h))
		}
	case BFloat16:
		for i, h := range Data[uint16](t) {
			out[i] = float64(BFloat16ToFloat32(h))
		}
	case Int8:
		widen(out, Data[int8](t))
	case Int16:
		widen(out, Data[int16](t))
	case Int32:
		widen(out, Data[int32](t))
	case Int64:
		widen(out, Data[int64](t))
	case Uint8:
		widen(out, Data[uint8](t))
	case Uint16:
		widen(out, Data[uint16](t))
	case Uint32:
		widen(out, Data[uint32](t))
	case Uint64:
		widen(out, Data[uint64](t))
	case Bool:
		for i, b := range Data[bool](t) {
			out[i] = 0
			if b {
				out[i] = 1
			}
		}
	default:
		return nil, fmt.Errorf("%v cannot be read as numbers", t)
	}
	return out, nil
}

func widen[T float32 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](dst []float64, src []T) {
	for i, v := range src {
		dst[i] = float64(v)
	}
}

// FromFloat64s rounds v to a floating-point element type of 16, 32 or 64 bits.
func FromFloat64s(d DType, v []float64, shape ...int) (*Tensor, error) {
	if n, err := Elements(shape); err != nil {
		return nil, err
	} else if n != len(v) {
		return nil, fmt.Errorf("%d numbers for shape %v", len(v), shape)
	}
	switch d {
	case Float32, Float64, Float16, BFloat16:
	default:
		return nil, fmt.Errorf("cannot round float64 to %v", d)
	}
	t := New(d, shape...)
	switch d {
	case Float32:
		for i, o := 0, Data[float32](t); i < len(v); i++ {
			o[i] = float32(v[i])
		}
	case Float64:
		copy(Data[float64](t), v)
	case Float16:
		for i, o := 0, Data[uint16](t); i < len(v); i++ {
			o[i] = Float64ToFloat16(v[i])
		}
	case BFloat16:
		for i, o := 0, Data[uint16](t); i < len(v); i++ {
			o[i] = Float64ToBFloat16(v[i])
		}
	}
	return t, nil
}

// oddRound narrows a float64 to float32 rounding to odd, so that a further
// rounding to 16 bits gives the correctly rounded result of the float64.
func oddRound(v float64) float32 {
	f := float32(v)
	if float64(f) == v || math.IsNaN(v) || math.IsInf(v, 0) {
		return f
	}
	if math.IsInf(float64(f), 0) {
		return f
	}
	// Of the two neighbours of v take the one whose last bit is set.
	if math.Float32bits(f)&1 == 0 {
		if (float64(f) < v) == (v > 0) {
			f = math.Float32frombits(math.Float32bits(f) + 1)
		} else {
			f = math.Float32frombits(math.Float32bits(f) - 1)
		}
	}
	return f
}

// Int64s is the elements of an integer tensor as int64, always a copy.
func Int64s(t *Tensor) ([]int64, error) {
	switch t.dtype {
	case Int64:
		return append([]int64{}, Data[int64](t)...), nil
	case Int32:
		return toInt64s(Data[int32](t)), nil
	case Int16:
		return toInt64s(Data[int16](t)), nil
	case Int8:
		return toInt64s(Data[int8](t)), nil
	case Uint8:
		return toInt64s(Data[uint8](t)), nil
	case Uint16:
		return toInt64s(Data[uint16](t)), nil
	case Uint32:
		return toInt64s(Data[uint32](t)), nil
	case Uint64:
		return toInt64s(Data[uint64](t)), nil
	}
	return nil, fmt.Errorf("%v cannot be read as integers", t)
}

func toInt64s[T int8 | int16 | int32 | uint8 | uint16 | uint32 | uint64](src []T) []int64 {
	out := make([]int64, len(src))
	for i, v := range src {
		out[i] = int64(v)
	}
	return out
}

// Convert writes the elements of src into dst, of the same shape and a
// floating-point type of 16, 32 or 64 bits each, rounding to nearest.
func Convert(dst, src *Tensor) error {
	if dst.Len() != src.Len() {
		return fmt.Errorf("cannot convert %v to %v", src, dst)
	}
	if dst.dtype == src.dtype {
		return dst.CopyFrom(src)
	}
	v, err := Float64s(src)
	if err != nil {
		return err
	}
	c, err := FromFloat64s(dst.dtype, v, dst.shape...)
	if err != nil {
		return err
	}
	return dst.CopyFrom(c)
}
