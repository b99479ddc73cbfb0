package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// convertSizes reach from nothing over partial blocks to several blocks.
var convertSizes = []int{0, 1, 15, 16, 17, 31, 32, 33, 64, 100, 1000}

// hard are numbers that conversions get wrong first.
var hard = []float32{0, float32(math.Copysign(0, -1)), 0.5, 1.5, -0.5, -2.5, 127.5, -128.5, 255.5, 1 << 23, 1<<24 + 2, -1 << 31, 1e30, -1e30,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.SmallestNonzeroFloat32}

func byteRange[T Byte]() (lo, hi int) {
	if T(0)-1 > 0 {
		return 0, 255
	}
	return -128, 127
}

// factors is scales and zero points of bytes: one, or one for each of n elements.
func factors[T Byte](r *rand.Rand, n int) (scale, zero []float32) {
	lo, hi := byteRange[T]()
	for range n {
		scale, zero = append(scale, float32(math.Exp(4*r.NormFloat64()-2))), append(zero, float32(lo+r.IntN(hi-lo+1)))
	}
	return scale, zero
}

// limited is q as a byte by the documentation of Quantize8, in other words than the plain loop's.
func limited[T Byte](q float64, zero int) T {
	lo, hi := byteRange[T]()
	if math.IsNaN(q) {
		return T(zero)
	}
	q = math.Max(math.Min(q, 1e6), -1e6)
	whole := math.Floor(q)
	if d := q - whole; d > 0.5 || d == 0.5 && math.Mod(whole, 2) != 0 {
		whole++
	}
	return T(min(max(int(whole)+zero, lo), hi))
}

func testBytes[T Byte](t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lo, hi := byteRange[T]()
	for _, n := range convertSizes {
		for _, count := range []int{1, n} {
			if n == 0 {
				count = 1
			}
			scale, zero := factors[T](r, count)
			name := fmt.Sprintf("%T: %d elements, %d scales", T(0), n, count)
			x, wide := make([]T, n), guardedRandom(r, n)
			for i := range x {
				x[i] = T(lo + r.IntN(hi-lo+1))
			}
			Dequantize8(wide.v, x, scale, zero)
			wide.check(t, name)
			for i, v := range x {
				if want := (float32(v) - zero[i%count]) * scale[i%count]; wide.v[i] != want {
					t.Fatalf("%s: Dequantize8 gives %v for %v, wanted %v", name, wide.v[i], v, want)
				}
			}

			v := make([]float32, n)
			for i := range v {
				v[i] = scale[i%count] * 150 * float32(r.NormFloat64())
				switch {
				case i%3 == 0:
					v[i] = scale[i%count] * (float32(r.IntN(600)-300) + 0.5) // may be halfway
				case i%7 == 0:
					v[i] = hard[r.IntN(len(hard))]
				}
			}
			all := make([]T, n+20)
			y := all[10 : 10+n]
			Quantize8(y, v, scale, zero)
			for i, v := range v {
				if want := limited[T](float64(v/scale[i%count]), int(zero[i%count])); y[i] != want {
					t.Fatalf("%s: Quantize8 gives %v for %v/%v + %v, wanted %v", name, y[i], v, scale[i%count], zero[i%count], want)
				}
			}

			sums, by := make([]int32, n), make([]float64, count)
			for i := range by {
				by[i] = []float64{0.5, 0.001, 1e-7, 0, 0.25, math.Inf(1), math.NaN()}[r.IntN(7)]
			}
			for i := range sums {
				sums[i] = []int32{int32(r.Uint32()), int32(r.IntN(2000) - 1000), 0, math.MinInt32, math.MaxInt32}[r.IntN(5)]
			}
			Requantize8(y, sums, by, T(zero[0]))
			for i, v := range sums {
				if want := limited[T](float64(v)*by[i%count], int(zero[0])); y[i] != want {
					t.Fatalf("%s: Requantize8 gives %v for %v·%v + %v, wanted %v", name, y[i], v, by[i%count], zero[0], want)
				}
			}
			if clear(y); slices.ContainsFunc(all, func(b T) bool { return b != 0 }) {
				t.Fatalf("%s: a byte beside the slice changed", name)
			}
		}
	}
}

func TestBytes(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		testBytes[uint8](t)
		testBytes[int8](t)
	})
}

// A quotient may be any number, so every exponent and its neighbourhood is gone through.
func TestQuantizeEveryExponent(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for upper := uint32(0); upper < 1<<16; upper += 16 {
			var x [16]float32
			for i := range x {
				x[i] = math.Float32frombits((upper+uint32(i))<<16 | upper*40503&0xffff)
			}
			var y [16]int8
			Quantize8(y[:], x[:], []float32{1}, []float32{-3})
			for i, v := range x {
				if want := limited[int8](float64(v), -3); y[i] != want {
					t.Fatalf("Quantize8 gives %d for %v - 3, wanted %d", y[i], v, want)
				}
			}
		}
	})
}

func TestTruncate32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, n := range convertSizes {
			x, all := make([]float32, n), make([]int32, n+4)
			for i := range x {
				x[i] = float32(r.IntN(1<<25) - 1<<24)
			}
			y := all[2 : 2+n]
			Truncate32(y, x, false)
			Truncate32(y, x, true)
			for i, v := range x {
				if y[i] != 2*int32(v) {
					t.Fatalf("%d elements: %v twice is %d", n, v, y[i])
				}
			}
			if all[0]|all[1]|all[n+2]|all[n+3] != 0 {
				t.Fatalf("%d elements: a cell beside the slice changed", n)
			}
		}
	})
}

// halfValue is the number that a binary16 stands for, by its definition.
func halfValue(h int) float64 {
	exp, fraction, sign := h>>10&31, float64(h&1023)/1024, 1-float64(h>>15)*2
	switch exp {
	case 0:
		return sign * math.Ldexp(fraction, -14)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1+fraction, exp-15)
}

// brainValue likewise.
func brainValue(h int) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }

// Every number of 16 bits widens to what it stands for; it, and what lies halfway to the next and to either side
// of that, narrows to the nearest, or to the even one of two.
func TestHalves(t *testing.T) {
	for _, c := range []struct {
		name   string
		value  func(h int) float64
		widen  func([]float32, []uint16) int
		narrow func([]uint16, []float32) int
		top    int     // the infinite one
		over   float64 // what rounds to it
	}{
		{"binary16", halfValue, FromHalves, Halves, 0x7c00, 65536},
		{"bfloat16", brainValue, FromBrains, Brains, 0x7f80, 0x1p128},
	} {
		inEveryPath(t, func(t *testing.T) {
			all, wide := make([]uint16, 1<<16), make([]float32, 1<<16)
			for i := range all {
				all[i] = uint16(i)
			}
			n := c.widen(wide, all)
			if n == 0 {
				if Path() == "avx512" {
					t.Fatalf("%s: nothing is converted", c.name)
				}
				return
			}
			var x []float32
			var want []uint16
			for h := range 1 << 16 {
				v := c.value(h)
				if got := float64(wide[h]); got != v && !(got != got && v != v) {
					t.Fatalf("%s: %#04x widens to %v, wanted %v", c.name, h, got, v)
				}
				if h&0x7fff >= c.top {
					continue
				}
				next := c.value(h + 1)
				if h&0x7fff == c.top-1 {
					next = math.Copysign(c.over, v)
				}
				middle := float32((v + next) / 2)
				even := h + h&1
				x = append(x, float32(v), middle, math.Nextafter32(middle, float32(v)), math.Nextafter32(middle, float32(math.Inf(1))*middle))
				want = append(want, uint16(h), uint16(even), uint16(h), uint16(h+1))
			}
			for _, payload := range []uint32{0x7f800001, 0x7fc00000, 0xff812345, 0xffffffff} {
				x = append(x, math.Float32frombits(payload))
				want = append(want, 0)
			}
			x = append(x, float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, -math.MaxFloat32)
			top := uint16(c.top)
			want = append(want, top, top|0x8000, top, top|0x8000)
			for len(x)%16 != 0 {
				x, want = append(x, 0), append(want, 0)
			}
			y := make([]uint16, len(x))
			if n := c.narrow(y, x); n != len(x) {
				t.Fatalf("%s: %d of %d numbers are converted", c.name, n, len(x))
			}
			for i, v := range x {
				switch {
				case v != v:
					if quiet := top & -top >> 1; !math.IsNaN(c.value(int(y[i]))) || y[i]&quiet == 0 {
						t.Fatalf("%s: NaN %#x narrows to %#04x", c.name, math.Float32bits(v), y[i])
					}
				case y[i] != want[i]:
					t.Fatalf("%s: %v narrows to %#04x, wanted %#04x", c.name, v, y[i], want[i])
				}
			}
		})
	}
}

// Fewer than a block are left to the caller, and nothing beside is written.
func TestHalvesOfFew(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, n := range convertSizes {
			x, y := make([]float32, n), make([]uint16, n+1)
			for i := range x {
				x[i] = 1
			}
			done := Halves(y[:n], x)
			if done > n || done != 0 && done != n&^15 {
				t.Errorf("%d of %d elements are converted", done, n)
			}
			for i, h := range y {
				if want := 0x3c00; i < done && h != uint16(want) || i >= done && h != 0 {
					t.Errorf("%d elements: the %d-th is %#04x", n, i, h)
				}
			}
		}
	})
}

func TestFactorsMustMatch(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two scales for three numbers are taken")
		}
	}()
	Dequantize8(make([]float32, 3), make([]uint8, 3), make([]float32, 2), make([]float32, 2))
}
