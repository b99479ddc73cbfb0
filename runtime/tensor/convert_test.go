package tensor

import (
	"math"
	"testing"
)

// wideValue is the number that bits of a small float mean, from the definition:
// sign, exp bits of exponent, man bits of mantissa.
func wideValue(h uint16, exp, man int) float64 {
	e := int(h>>man) & (1<<exp - 1)
	m := float64(h & (1<<man - 1))
	bias := 1<<(exp-1) - 1
	var v float64
	switch {
	case e == 1<<exp-1 && m != 0:
		return math.NaN()
	case e == 1<<exp-1:
		v = math.Inf(1)
	case e == 0:
		v = math.Ldexp(m, 1-bias-man)
	default:
		v = math.Ldexp(1+m/float64(int(1)<<man), e-bias)
	}
	if h>>15 != 0 {
		v = -v
	}
	return v
}

// small is one of the two types of 16 bits.
type small struct {
	name     string
	exp, man int
	d        DType
	widen    func(uint16) float32
	narrow   func(float32) uint16
}

var smalls = []small{
	{"float16", 5, 10, Float16, Float16ToFloat32, Float32ToFloat16},
	{"bfloat16", 8, 7, BFloat16, BFloat16ToFloat32, Float32ToBFloat16},
}

// Every value widens to the number that its bits mean, and narrows back.
func TestSmallFloatsWidenAll(t *testing.T) {
	for _, s := range smalls {
		for i := range 1 << 16 {
			h := uint16(i)
			want, got := wideValue(h, s.exp, s.man), float64(s.widen(h))
			if math.IsNaN(want) {
				if !math.IsNaN(got) || !math.IsNaN(float64(s.widen(s.narrow(float32(got))))) {
					t.Fatalf("%s %#04x: a NaN became %v", s.name, h, got)
				}
				continue
			}
			if got != want || math.Signbit(got) != math.Signbit(want) {
				t.Fatalf("%s %#04x is %g, wanted %g", s.name, h, got, want)
			}
			if back := s.narrow(s.widen(h)); back != h {
				t.Fatalf("%s %#04x came back as %#04x", s.name, h, back)
			}
		}
	}
}

// Between each two neighbours, numbers go to the nearer one, and the middle to
// the one whose last bit is 0; float64 is rounded once, not twice.
func TestSmallFloatsRound(t *testing.T) {
	for _, s := range smalls {
		from64 := func(v float64) uint16 {
			x, err := FromFloat64s(s.d, []float64{v})
			if err != nil {
				t.Fatal(err)
			}
			return Data[uint16](x)[0]
		}
		inf := uint16(1<<s.exp-1) << s.man
		for h := uint16(0); h < inf; h++ {
			lo, hi := wideValue(h, s.exp, s.man), wideValue(h+1, s.exp, s.man)
			if h+1 == inf { // as if there were one more number
				hi = lo + (lo - wideValue(h-1, s.exp, s.man))
			}
			mid, even := (lo+hi)/2, h+h&1
			for _, sign := range []uint16{0, 1 << 15} {
				f := 1.0
				if sign != 0 {
					f = -1
				}
				for _, c := range []struct {
					v    float64
					want uint16
				}{{mid, even}, {math.Nextafter(mid, 0), h}, {math.Nextafter(mid, math.Inf(1)), h + 1}, {lo + (mid-lo)/2, h}, {mid + (hi-mid)/2, h + 1}} {
					if got := from64(f * c.v); got != c.want|sign {
						t.Fatalf("%s: %g rounds to %#04x, wanted %#04x (between %g and %g)", s.name, f*c.v, got, c.want|sign, lo, hi)
					}
				}
				if got := s.narrow(float32(f * mid)); got != even|sign {
					t.Fatalf("%s: %g rounds to %#04x, wanted %#04x", s.name, f*mid, got, even|sign)
				}
				lower := math.Nextafter32(float32(mid), 0)
				upper := math.Nextafter32(float32(mid), float32(math.Inf(1)))
				if float64(lower) >= lo && s.narrow(float32(f)*lower) != h|sign || s.narrow(float32(f)*upper) != (h+1)|sign {
					t.Fatalf("%s: the neighbours of %g round to %#04x and %#04x", s.name, f*mid, s.narrow(float32(f)*lower), s.narrow(float32(f)*upper))
				}
			}
		}
		for _, v := range []float64{math.Inf(1), 1e300, math.MaxFloat64} {
			if from64(v) != inf || from64(-v) != inf|1<<15 {
				t.Errorf("%s: %g is not infinite", s.name, v)
			}
		}
		if !math.IsNaN(float64(s.widen(from64(math.NaN())))) {
			t.Errorf("%s: NaN is a number", s.name)
		}
		if from64(5e-324) != 0 || from64(-5e-324) != 1<<15 {
			t.Errorf("%s: the least float64 is not 0", s.name)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, x := range []*Tensor{
		Of([]float32{1, 2}, 2), Of([]float64{1, 2}, 2), Of([]int8{1, 2}, 2), Of([]int16{1, 2}, 2), Of([]int32{1, 2}, 2),
		Of([]int64{1, 2}, 2), Of([]uint8{1, 2}, 2), Of([]uint16{1, 2}, 2), Of([]uint32{1, 2}, 2), Of([]uint64{1, 2}, 2),
	} {
		v, err := Float64s(x)
		if err != nil || v[0] != 1 || v[1] != 2 {
			t.Errorf("%v as float64 is %v (%v)", x, v, err)
		}
		n, err := Int64s(x)
		if x.DType().IsFloat() {
			wantErr(t, err, "cannot be read as integers")
		} else if err != nil || n[0] != 1 || n[1] != 2 {
			t.Errorf("%v as int64 is %v (%v)", x, n, err)
		}
	}
	if v, err := Float64s(Of([]bool{false, true}, 2)); err != nil || v[0] != 0 || v[1] != 1 {
		t.Errorf("bool as float64 is %v (%v)", v, err)
	}
	_, err := Float64s(Of([]string{"1"}, 1))
	wantErr(t, err, "string[1] cannot be read as numbers")
	_, err = Float64s(New(Int4, 2))
	wantErr(t, err, "int4[2] cannot be read as numbers")
	x := Of([]int64{7}, 1)
	n, err := Int64s(x)
	if err != nil {
		t.Fatal(err)
	}
	if n[0] = 8; Data[int64](x)[0] != 7 {
		t.Error("Int64s shares the tensor's memory")
	}
}

func TestConvert(t *testing.T) {
	floats := []DType{Float32, Float64, Float16, BFloat16}
	values := []float64{0, 1, -2.5, 0.125, math.Inf(-1)} // exact in all of them
	for _, from := range floats {
		src, err := FromFloat64s(from, values, 5)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range floats {
			dst := New(to, 5)
			if err := Convert(dst, src); err != nil {
				t.Fatal(err)
			}
			got, err := Float64s(dst)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				if got[i] != v {
					t.Errorf("%g of %v is %g of %v", v, from, got[i], to)
				}
			}
		}
	}
	wantErr(t, Convert(New(Float32, 2), New(Float64, 3)), "cannot convert float64[3] to float32[2]")
	wantErr(t, Convert(New(Int32, 2), New(Float32, 2)), "cannot round float64 to int32")
	wantErr(t, Convert(New(Float32, 2), New(String, 2)), "cannot be read as numbers")
	_, err := FromFloat64s(Float32, values, 2)
	wantErr(t, err, "5 numbers for shape [2]")
	_, err = FromFloat64s(Float32, nil, -1)
	wantErr(t, err, "negative")
}
