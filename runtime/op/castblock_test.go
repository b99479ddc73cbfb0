package op

import (
	"bytes"
	"math"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// plainCast converts one type to another over copies of the whole tensor.
func plainCast(t *testing.T, x, y *tensor.Tensor) {
	t.Helper()
	to := y.DType()
	ints := make([]int64, x.Len())
	if isWhole(x.DType()) && isWhole(to) {
		v, err := tensor.Int64s(x)
		if err != nil {
			t.Fatal(err)
		}
		ints = v
	} else {
		v, err := tensor.Float64s(x)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case to == tensor.Bool:
			for i, f := range v {
				tensor.Data[bool](y)[i] = f != 0
			}
			return
		case !isWhole(to):
			c, err := tensor.FromFloat64s(to, v, y.Shape()...)
			if err != nil {
				t.Fatal(err)
			}
			copy(y.Bytes(), c.Bytes())
			return
		}
		for i, f := range v {
			ints[i] = integerOf(f, to)
		}
	}
	// Little-endian, as elements lie in memory: the low bytes of 64 bits.
	size := to.Bits() / 8
	for i, n := range ints {
		for k := range size {
			y.Bytes()[i*size+k] = byte(n >> (8 * k))
		}
	}
}

// Every pair of types is converted as element by element, whatever is in the tensor.
func TestCastPairs(t *testing.T) {
	types := []tensor.DType{
		tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Bool, tensor.Int8, tensor.Int16,
		tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64,
	}
	special := []float64{0, math.Copysign(0, -1), 0.5, -1.7, 255.9, 1e-7, -1e9, 3e10, 65519.99, 1 << 63, -1 << 63, 1.5 * (1 << 63), 1e300, math.Inf(1), math.Inf(-1), math.NaN()}
	for _, n := range []int{0, 1, castBlock, 3*castBlock + 5} {
		for _, from := range types {
			x := tensor.New(from, n)
			for i := range x.Bytes() {
				x.Bytes()[i] = byte(i*i*31 + i*7)
				if from == tensor.Bool {
					x.Bytes()[i] &= 1
				}
			}
			switch from {
			case tensor.Float64:
				copy(tensor.Data[float64](x), special)
			case tensor.Float32:
				for i := range min(n, len(special)) {
					tensor.Data[float32](x)[i] = float32(special[i])
				}
			}
			for _, to := range types {
				if from == to {
					continue
				}
				got, want := tensor.New(to, n), tensor.New(to, n)
				plainCast(t, x, want)
				if err := castTo(nil, x, got); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Errorf("%d elements of %v become others as %v", n, from, to)
				}
			}
		}
	}
	for _, pair := range [][2]tensor.DType{{tensor.Int4, tensor.Float32}, {tensor.Float32, tensor.Int4}, {tensor.Complex64, tensor.Int64}} {
		if err := castTo(nil, tensor.New(pair[0], 4), tensor.New(pair[1], 4)); err == nil {
			t.Errorf("%v becomes %v", pair[0], pair[1])
		}
	}
}

// A conversion needs no memory beside its result.
func TestCastAllocatesNothing(t *testing.T) {
	x, y := random(1, 40000), tensor.New(tensor.Float16, 40000)
	p := kernel.NewPool(1)
	if n := testing.AllocsPerRun(10, func() {
		if err := castTo(p, x, y); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // the loop's own closure
		t.Errorf("%v allocations", n)
	}
}

// Every number of 16 bits widens, and every float32 that begins like it narrows, as element by element.
func TestCastEveryHalf(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
		halves, wide := tensor.New(d, 1<<16), tensor.New(tensor.Float32, 1<<16)
		for i := range 1 << 16 {
			tensor.Data[uint16](halves)[i] = uint16(i)
			tensor.Data[float32](wide)[i] = math.Float32frombits(uint32(i)<<16 | uint32(i)*40503&0xffff)
		}
		for _, pair := range [][2]*tensor.Tensor{{halves, wide}, {wide, halves}} {
			got, want := tensor.New(pair[1].DType(), 1<<16), tensor.New(pair[1].DType(), 1<<16)
			plainCast(t, pair[0], want)
			if err := castTo(nil, pair[0], got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%v to %v: other bits than element by element", pair[0].DType(), pair[1].DType())
			}
		}
	}
}
