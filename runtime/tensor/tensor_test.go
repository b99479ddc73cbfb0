package tensor

import (
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func wantErr(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), what) {
		t.Errorf("error is %v, wanted %s", err, what)
	}
}

// wantPanic fails unless f panics with a message that has what in it.
func wantPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if v, _ := recover().(string); !strings.Contains(v, what) {
			t.Errorf("panic is %q, wanted %s", v, what)
		}
	}()
	f()
}

func TestElements(t *testing.T) {
	for _, c := range []struct {
		shape []int
		want  int
	}{{nil, 1}, {[]int{0}, 0}, {[]int{2, 3}, 6}, {[]int{2, 0, 3}, 0}, {[]int{MaxElements}, MaxElements}} {
		if n, err := Elements(c.shape); err != nil || n != c.want {
			t.Errorf("%v has %d elements (%v), wanted %d", c.shape, n, err, c.want)
		}
	}
	for _, shape := range [][]int{{MaxElements, 2}, {1 << 32, 1 << 32}, {1 << 32, 1 << 32, 0}, {0, 1 << 62, 1 << 62}} {
		_, err := Elements(shape)
		wantErr(t, err, "too many elements")
	}
	_, err := Elements([]int{2, -1})
	wantErr(t, err, "shape [2 -1] has the negative dimension -1")
	// The bytes of MaxElements of the widest type are still an int64.
	if n := Complex128.ByteLen(MaxElements); n <= 0 {
		t.Errorf("%d bytes", n)
	}
}

func TestNewIsAlignedAndZero(t *testing.T) {
	for d := Float32; d.Valid(); d++ {
		x := New(d, 3, 5)
		if x.Len() != 15 || x.DType() != d || x.Rank() != 2 {
			t.Errorf("%v has %d elements", x, x.Len())
		}
		if d == String {
			if s := Data[string](x); len(s) != 15 || s[14] != "" || x.Bytes() != nil {
				t.Errorf("strings are %q", s)
			}
			continue
		}
		if len(x.Bytes()) != d.ByteLen(15) || uintptr(unsafe.Pointer(&x.Bytes()[0]))%8 != 0 {
			t.Errorf("%v has %d bytes at %p", x, len(x.Bytes()), &x.Bytes()[0])
		}
		for _, b := range x.Bytes() {
			if b != 0 {
				t.Fatalf("%v is not zero", x)
			}
		}
	}
	if x := New(Float32, 0, 3); x.Len() != 0 || len(Data[float32](x)) != 0 {
		t.Error("an empty tensor has elements")
	}
	if x := New(Float32); x.Len() != 1 || x.String() != "float32[]" {
		t.Errorf("a scalar is %v", x)
	}
	wantPanic(t, "negative dimension", func() { New(Float32, -1) })
	wantPanic(t, "undefined", func() { New(Undefined, 1) })
	wantPanic(t, "DType(99)", func() { New(99, 1) })
}

func TestByteLen(t *testing.T) {
	for _, c := range []struct {
		d       DType
		n, want int
	}{{Int4, 0, 0}, {Int4, 1, 1}, {Int4, 2, 1}, {Uint4, 3, 2}, {Int2, 4, 1}, {Uint2, 5, 2}, {Float4E2M1, 3, 2},
		{Bool, 3, 3}, {Float16, 3, 6}, {Complex128, 2, 32}, {String, 5, 0}} {
		if got := c.d.ByteLen(c.n); got != c.want {
			t.Errorf("%d of %v take %d bytes, wanted %d", c.n, c.d, got, c.want)
		}
	}
}

func TestFromBytes(t *testing.T) {
	aligned := New(Uint8, 16).Bytes()
	for i := range aligned {
		aligned[i] = byte(i)
	}
	shared, err := FromBytes(Float32, []int{2}, aligned[:8])
	if err != nil {
		t.Fatal(err)
	}
	copied, err := FromBytes(Float32, []int{2}, aligned[1:9])
	if err != nil {
		t.Fatal(err)
	}
	aligned[4] = 0xff
	if shared.Bytes()[4] != 0xff {
		t.Error("aligned bytes were copied")
	}
	if copied.Bytes()[3] != 4 || uintptr(unsafe.Pointer(&copied.Bytes()[0]))%4 != 0 {
		t.Error("bytes that are not aligned were shared")
	}
	if x, err := FromBytes(Float32, []int{0}, nil); err != nil || len(Data[float32](x)) != 0 {
		t.Errorf("an empty tensor: %v", err)
	}
	_, err = FromBytes(Float32, []int{3}, aligned[:8])
	wantErr(t, err, "float32[3] takes 12 bytes, found 8")
	_, err = FromBytes(String, []int{1}, nil)
	wantErr(t, err, "string has no byte form")
	_, err = FromBytes(Undefined, nil, nil)
	wantErr(t, err, "undefined has no byte form")
	_, err = FromBytes(Float32, []int{-1}, nil)
	wantErr(t, err, "negative dimension")
}

func TestData(t *testing.T) {
	x := Of([]float32{1, 2, 3}, 3)
	Data[float32](x)[1] = 5
	if Data[uint32](x)[1] != math.Float32bits(5) {
		t.Error("the views of one tensor differ")
	}
	half := New(Float16, 2)
	if len(Data[uint16](half)) != 2 {
		t.Error("float16 is not seen as its bits")
	}
	if len(Data[uint8](New(Int4, 3))) != 2 {
		t.Error("packed elements are not seen as bytes")
	}
	wantPanic(t, "float32 tensor seen as float64", func() { Data[float64](x) })
	wantPanic(t, "float32 tensor seen as string", func() { Data[string](x) })
	wantPanic(t, "string tensor seen as uint8", func() { Data[uint8](New(String, 1)) })
	wantPanic(t, "int4 tensor seen as uint16", func() { Data[uint16](New(Int4, 4)) })
}

func testOf[T Elem](t *testing.T, d DType, v T) {
	t.Helper()
	x := Of([]T{v, v}, 2, 1)
	if x.DType() != d || x.Len() != 2 || Data[T](x)[1] != v {
		t.Errorf("tensor of %T is %v", v, x)
	}
	if s := Scalar(v); s.Rank() != 0 || Data[T](s)[0] != v {
		t.Errorf("scalar of %T is %v", v, s)
	}
	if empty := Of([]T{}, 0); empty.Len() != 0 || len(Data[T](empty)) != 0 {
		t.Errorf("empty tensor of %T is %v", v, empty)
	}
}

func TestOf(t *testing.T) {
	testOf(t, Float32, float32(1))
	testOf(t, Float64, float64(1))
	testOf(t, Int8, int8(1))
	testOf(t, Int16, int16(1))
	testOf(t, Int32, int32(1))
	testOf(t, Int64, int64(1))
	testOf(t, Uint8, uint8(1))
	testOf(t, Uint16, uint16(1))
	testOf(t, Uint32, uint32(1))
	testOf(t, Uint64, uint64(1))
	testOf(t, Bool, true)
	testOf(t, Complex64, complex64(1))
	testOf(t, Complex128, complex128(1))
	testOf(t, String, "one")
	wantPanic(t, "2 elements for shape [3]", func() { Of([]int8{1, 2}, 3) })
}

func TestViewsAndCopies(t *testing.T) {
	x := Of([]int32{1, 2, 3, 4, 5, 6}, 2, 3)
	v, err := x.Reshaped(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	c := x.Clone()
	Data[int32](x)[0] = 9
	if Data[int32](v)[0] != 9 || Data[int32](c)[0] != 1 {
		t.Error("a view does not share, or a clone does")
	}
	if v.String() != "int32[3 2]" || x.String() != "int32[2 3]" {
		t.Errorf("shapes are %v and %v", v, x)
	}
	_, err = x.Reshaped(4, 2)
	wantErr(t, err, "cannot see shape [2 3] (6 elements) as [4 2] (8)")
	_, err = x.Reshaped(-1)
	wantErr(t, err, "negative")

	y := New(Int32, 6)
	if err := y.CopyFrom(x); err != nil || Data[int32](y)[0] != 9 {
		t.Errorf("copy of %v is %v (%v)", x, Data[int32](y), err)
	}
	wantErr(t, New(Int64, 6).CopyFrom(x), "cannot copy int32[2 3] into int64[6]")
	wantErr(t, New(Int32, 5).CopyFrom(x), "cannot copy int32[2 3] into int32[5]")

	if err := y.See(c); err != nil || &y.Bytes()[0] != &c.Bytes()[0] || y.Rank() != 1 {
		t.Errorf("%v does not see %v (%v)", y, c, err)
	}
	wantErr(t, New(Int32, 5).See(x), "cannot see int32[2 3] as int32[5]")

	s := Of([]string{"a", "b"}, 2)
	k := s.Clone()
	Data[string](s)[0] = "z"
	if Data[string](k)[0] != "a" {
		t.Error("a clone shares its strings")
	}
	if err := k.CopyFrom(s); err != nil || !Equal(k, s) {
		t.Errorf("strings were not copied: %v", err)
	}
}

// Parts of a tensor, seen in shapes of their own.
func TestSeeFrom(t *testing.T) {
	x := Of([]int32{1, 2, 3, 4, 5, 6}, 3, 2)
	y := New(Int32, 2, 1)
	if err := y.SeeFrom(x, 3); err != nil || Data[int32](y)[0] != 4 || Data[int32](y)[1] != 5 {
		t.Errorf("found %v, error %v", Data[int32](y), err)
	}
	Data[int32](y)[0] = 9
	if Data[int32](x)[3] != 9 {
		t.Error("the elements are not shared")
	}
	words := New(String, 1)
	if err := words.SeeFrom(Of([]string{"a", "b"}, 2), 1); err != nil || Data[string](words)[0] != "b" {
		t.Errorf("found %v, error %v", words, err)
	}
	wantErr(t, y.SeeFrom(x, 5), "from element 5 on")
	wantErr(t, y.SeeFrom(x, -1), "from element -1 on")
	wantErr(t, New(Float32, 1).SeeFrom(x, 0), "cannot see")
	wantErr(t, New(Int4, 2).SeeFrom(New(Int4, 4), 1), "from element 1 on")
	if err := New(Int4, 2).SeeFrom(New(Int4, 4), 2); err != nil {
		t.Error(err)
	}
}

func TestSeeData(t *testing.T) {
	x, v := New(Float32, 2), []float32{1, 2}
	if err := x.SeeData(v); err != nil || Data[float32](x)[1] != 2 {
		t.Errorf("found %v, error %v", Data[float32](x), err)
	}
	v[0] = 3
	if Data[float32](x)[0] != 3 {
		t.Error("the elements are not shared")
	}
	wantErr(t, x.SeeData(v[:1]), "cannot see 1 float32")
	wantErr(t, New(Float64, 2).SeeData(v), "cannot see 2 float32")
}

func TestEqual(t *testing.T) {
	x := Of([]float32{1, 0}, 2)
	for _, c := range []struct {
		y    *Tensor
		want bool
	}{
		{Of([]float32{1, 0}, 2), true},
		{Of([]float32{1, float32(math.Copysign(0, -1))}, 2), false},
		{Of([]float32{1, 0}, 2, 1), false},
		{Of([]float32{1, 0}, 1, 2), false},
		{Of([]uint32{math.Float32bits(1), 0}, 2), false},
		{Of([]float32{1}, 1), false},
	} {
		if Equal(x, c.y) != c.want {
			t.Errorf("Equal(%v, %v %v) is %v", x, c.y, c.y.Bytes(), !c.want)
		}
	}
	if !Equal(Of([]string{"a"}, 1), Of([]string{"a"}, 1)) || Equal(Of([]string{"a"}, 1), Of([]string{"b"}, 1)) {
		t.Error("strings are compared wrongly")
	}
	if Equal(New(Float32, 0, 2), New(Float32, 0, 3)) {
		t.Error("empty tensors of unlike shapes are equal")
	}
}

func TestStrides(t *testing.T) {
	if s := Strides([]int{2, 3, 4}); s[0] != 12 || s[1] != 4 || s[2] != 1 {
		t.Errorf("strides are %v", s)
	}
	if s := Strides(nil); len(s) != 0 {
		t.Errorf("strides of a scalar are %v", s)
	}
}

func TestValueOf(t *testing.T) {
	if v := ValueOf(nil); v.Kind != KindNone {
		t.Errorf("the value of nothing is a %v", v.Kind)
	}
	x := Scalar(true)
	if v := ValueOf(x); v.Kind != KindTensor || v.Tensor != x {
		t.Errorf("the value of a tensor is a %v", v.Kind)
	}
}

// Float64sInto gives what Float64s does, also in memory that held other numbers.
func TestFloat64sInto(t *testing.T) {
	for _, x := range []*Tensor{Of([]bool{true, false, true}, 3), Of([]int8{-1, 0, 2}, 3), Of([]float32{1, 0, -2}, 3), Of([]float64{1, 0, -2}, 3)} {
		want, err := Float64s(x)
		if err != nil {
			t.Fatal(err)
		}
		buf := []float64{7, 8, 9, 10}
		got, err := Float64sInto(buf, x)
		if err != nil || !slices.Equal(got, want) || &got[0] != &buf[0] {
			t.Errorf("%v: %v, %v, wanted %v in the same memory", x, got, err, want)
		}
		if got, err = Float64sInto(buf[:0:2], x); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %v, %v, wanted %v", x, got, err, want)
		}
	}
	if _, err := Float64sInto(nil, Of([]string{"a"}, 1)); err == nil {
		t.Error("strings became numbers")
	}
}
