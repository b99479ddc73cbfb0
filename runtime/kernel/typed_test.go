package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// typedLengths are numbers of elements around those of turns.
var typedLengths = []int{0, 1, 7, 31, 32, 33, 63, 64, 65, 100, 321}

// awkward is n numbers of any size, many of them alike, least, largest, zero or, of floats, special.
func awkward[T Number](r *rand.Rand, n int) []T {
	x := make([]T, n)
	for i := range x {
		bits := r.Uint64() >> r.IntN(64)
		x[i] = *(*T)(unsafe.Pointer(&bits)) // little-endian
		switch r.IntN(6) {
		case 0:
			x[i] = T(r.IntN(3))
		case 1:
			x[i] = 0 - T(r.IntN(3))
		}
	}
	special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, math.SmallestNonzeroFloat64}
	switch x := any(x).(type) {
	case []float32:
		for i := 0; i < n; i += 5 {
			x[i] = float32(special[r.IntN(len(special))])
		}
	case []float64:
		for i := 0; i < n; i += 5 {
			x[i] = special[r.IntN(len(special))]
		}
	}
	return x
}

// room is n elements with a mark before and behind, which check finds again.
func room[T comparable](n int, mark T) (z []T, check func(t *testing.T, what string)) {
	all := make([]T, n+2)
	for i := range all {
		all[i] = mark
	}
	return all[1 : n+1 : n+1], func(t *testing.T, what string) {
		t.Helper()
		if all[0] != mark || all[n+1] != mark {
			t.Fatalf("%s of %d elements writes beside them", what, n)
		}
	}
}

// sameAs tells equal numbers, of which zeros have signs, or two NaNs.
func sameAs[T Number](a, b T) bool {
	return a != a && b != b || a == b && math.Signbit(float64(a)) == math.Signbit(float64(b))
}

func testTyped[T Number](t *testing.T) {
	t.Helper()
	r := rand.New(rand.NewPCG(41, 42))
	for _, n := range typedLengths {
		x, y := awkward[T](r, n), awkward[T](r, n)
		copy(y[n/2:], x[n/2:n/2+n/8])
		for _, op := range []Operation{Plus, Minus, Times, Over, Minimum, Maximum} {
			y := slices.Clone(y)
			if op == Over {
				for i := range y {
					if y[i] == 0 {
						y[i] = 1
					}
				}
			}
			what := fmt.Sprintf("%T: operation %d", x, op)
			z, check := room[T](n, 77)
			ZipNumbers(op, z, x, y)
			check(t, what)
			for i := range z {
				var want T
				switch op {
				case Plus:
					want = x[i] + y[i]
				case Minus:
					want = x[i] - y[i]
				case Times:
					want = x[i] * y[i]
				case Over:
					want = x[i] / y[i]
				case Minimum:
					want = min(x[i], y[i])
				case Maximum:
					want = max(x[i], y[i])
				}
				if !sameAs(z[i], want) {
					t.Fatalf("%s of %v and %v, element %d of %d, is %v, want %v", what, x[i], y[i], i, n, z[i], want)
				}
			}
			ZipNumbers(op, x, x, y) // in place
			if !slices.EqualFunc(x, z, sameAs[T]) {
				t.Fatalf("%s gives something else in place", what)
			}
			x = awkward[T](r, n)
		}
		for c := range comparisons {
			z, check := room[uint8](n, 77)
			CompareNumbers(c, z, x, y)
			check(t, "a comparison")
			for i, got := range z {
				want := [...]bool{x[i] == y[i], x[i] != y[i], x[i] > y[i], x[i] >= y[i]}[c]
				if got != asByte(want) {
					t.Fatalf("%T: comparison %d of %v and %v, element %d of %d, is %d", x, c, x[i], y[i], i, n, got)
				}
			}
		}
		cond := make([]bool, n)
		for i := range cond {
			cond[i] = r.IntN(2) > 0
		}
		z, check := room[T](n, 77)
		Choose(z, cond, x, y)
		check(t, "a choice")
		for i, got := range z {
			want := y[i]
			if cond[i] {
				want = x[i]
			}
			if !sameAs(got, want) {
				t.Fatalf("%T: element %d of %d is chosen to be %v, want %v", x, i, n, got, want)
			}
		}
	}
}

func TestTyped(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		testTyped[int8](t)
		testTyped[int16](t)
		testTyped[int32](t)
		testTyped[int64](t)
		testTyped[uint8](t)
		testTyped[uint16](t)
		testTyped[uint32](t)
		testTyped[uint64](t)
		testTyped[float32](t)
		testTyped[float64](t)
		strings := make([]string, 70)
		c := make([]bool, 70)
		c[40] = true
		Choose(strings, c, slices.Repeat([]string{"x"}, 70), slices.Repeat([]string{"y"}, 70))
		if strings[39] != "y" || strings[40] != "x" || strings[69] != "y" {
			t.Errorf("strings are chosen as %q", strings)
		}
	})
}

func testBits[T uint8 | uint16 | uint32 | uint64](t *testing.T) {
	t.Helper()
	r := rand.New(rand.NewPCG(43, 44))
	for _, n := range typedLengths {
		x, y := awkward[T](r, n), awkward[T](r, n)
		for op := range logics {
			z, check := room[T](n, 77)
			ZipBits(op, z, x, y)
			check(t, "an operation on bits")
			for i, got := range z {
				if want := [...]T{x[i] & y[i], x[i] | y[i], x[i] ^ y[i]}[op]; got != want {
					t.Fatalf("%T: operation %d of %#x and %#x, element %d of %d, is %#x", x, op, x[i], y[i], i, n, got)
				}
			}
		}
	}
}

func TestZipBits(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		testBits[uint8](t)
		testBits[uint16](t)
		testBits[uint32](t)
		testBits[uint64](t)
	})
}

// testConvert converts numbers that fit, then some with one that may not fit in the fourth block.
func testConvert[D, S Number](t *testing.T, odd ...S) {
	t.Helper()
	r := rand.New(rand.NewPCG(45, 46))
	for _, n := range typedLengths {
		x := make([]S, n)
		for i := range x {
			x[i] = S(r.IntN(200)) * S(r.IntN(2)*2-1) / S(1+r.IntN(3))
		}
		for _, v := range append([]S{0}, odd...) {
			if n > 110 {
				x[110] = v
			}
			y, check := room[D](n, 77)
			done := Convert(y, x)
			check(t, "a conversion")
			switch whole := n &^ 31; {
			case Path() != "avx2" && Path() != "avx512" && done == 0, v == 0 && done == whole, v != 0 && (done == whole || done == 96):
			default:
				t.Fatalf("%T to %T: %d of %d elements converted where %v is one", x, y, done, n, v)
			}
			for i, got := range y[:done] {
				if want := D(x[i]); got != want {
					t.Fatalf("%T to %T: element %d of %d is %v of %v, want %v", x, y, i, n, got, x[i], want)
				}
			}
		}
	}
}

func TestConvert(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	inEveryPath(t, func(t *testing.T) {
		testConvert[int32, uint8](t)
		testConvert[int32, int64](t, 1<<40+3, -1<<40-3, 1<<31, math.MinInt64)
		testConvert[int32](t, float32(1<<31), -1<<31, nan, inf, 1e9)
		testConvert[int64, uint8](t)
		testConvert[int64](t, int32(math.MinInt32), math.MaxInt32)
		testConvert[int64](t, float32(1<<31), -1<<31, nan, -inf, 1e9, 1e18)
		testConvert[float32](t, int32(math.MinInt32), math.MaxInt32, 1<<24+1, 1<<25+3)
		testConvert[float32](t, int64(math.MinInt32), math.MaxInt32, 1<<24+1, 1<<31, -1<<31-1, 1<<62+1, math.MinInt64)
		testConvert[float32](t, 1e300, -1e300, 1e-300, 1+0x1p-24, 1+0x3p-24, math.Inf(1))
		testConvert[float64](t, inf, math.SmallestNonzeroFloat32)
		if y := make([]int8, 64); Convert(y, make([]float32, 64)) != 0 {
			t.Error("float32 become int8")
		}
	})
}
