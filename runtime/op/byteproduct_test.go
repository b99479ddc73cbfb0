package op

import (
	"math/rand/v2"
	"slices"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// inEveryPath runs a test with all kernels that there are.
func inEveryPath(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	before := kernel.Path()
	defer func() { _ = kernel.Use(before) }()
	for _, path := range []string{"generic", "avx2", "avx512", "neon"} {
		if kernel.Use(path) == nil {
			t.Run(path, test)
		}
	}
}

// randomBytes is a tensor of a type of bytes; of the least and the largest alone where it is extreme.
func randomBytes(r *rand.Rand, d tensor.DType, extreme bool, shape ...int) *tensor.Tensor {
	t := tensor.New(d, shape...)
	for i := range t.Bytes() {
		if t.Bytes()[i] = byte(r.Uint32()); !extreme {
			continue
		}
		t.Bytes()[i] = 0x80 // of int8 the least
		if d == tensor.Uint8 {
			t.Bytes()[i] = 0xff
		}
	}
	return t
}

// plainCentred is the elements less their zero points, one by one.
func plainCentred(t *testing.T, x, zero *tensor.Tensor, columns bool) []int32 {
	t.Helper()
	v, err := tensor.Int64s(x)
	if err != nil {
		t.Fatal(err)
	}
	z, err := tensor.Int64s(zero)
	if err != nil {
		t.Fatal(err)
	}
	width := x.Shape()[x.Rank()-1]
	out := make([]int32, len(v))
	for i, n := range v {
		at := i / width
		if columns {
			at = i % width
		}
		out[i] = int32(n - z[at%len(z)])
	}
	return out
}

// Products of bytes less their zero points are exact: also of as many terms as float32 cannot add up.
func TestByteProduct(t *testing.T) { inEveryPath(t, testByteProduct) }

func testByteProduct(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	types := []tensor.DType{tensor.Uint8, tensor.Int8}
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 258}, {4, 7, 259}, {17, 33, 700}, {5, 40, 2100}, {2, 3, 0}, {300, 290, 60}, {260, 3, 1500}} {
		m, n, k := s[0], s[1], s[2]
		for c := range 16 {
			da, db, extreme, lines := types[c&1], types[c>>1&1], c&4 != 0, c&8 != 0
			a, b := randomBytes(r, da, extreme, 2, m, k), randomBytes(r, db, extreme, k, n)
			za, zb := randomBytes(r, da, false), randomBytes(r, db, false)
			switch {
			case lines:
				za, zb = randomBytes(r, da, false, m), randomBytes(r, db, false, n)
			case extreme: // as far apart as can be
				za.Bytes()[0], zb.Bytes()[0] = 0, 0x7f
			}
			got, want := make([]int32, 2*m*n), make([]int32, 2*m*n)
			gemmInt(nil, 2*m, n, k, plainCentred(t, reshaped(a, 2*m, k), za, false), k, 1, plainCentred(t, b, zb, true), n, 1, want, n, false)
			if err := byteProduct(&Ctx{Pool: kernel.NewPool(2)}, a, b, za, zb, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("m=%d n=%d k=%d, %v and %v, extreme %v, lines %v: other sums than of integers", m, n, k, da, db, extreme, lines)
			}
		}
	}
}

// A convolution of bytes is the one of float64, whose sums are exact, for few and for many channels.
func TestConvolveBytes(t *testing.T) { inEveryPath(t, testConvolveBytes) }

func testConvolveBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		x, w                    []int
		group                   int
		pads, strides, dilation []int
	}{
		{x: []int{2, 3, 9, 11}, w: []int{4, 3, 3, 3}, group: 1},
		{x: []int{2, 60, 6, 7}, w: []int{5, 60, 3, 3}, group: 1}, // more terms than are exact
		{x: []int{2, 80, 5, 5}, w: []int{6, 40, 3, 3}, group: 2},
		{x: []int{1, 300, 4, 4}, w: []int{3, 300, 1, 1}, group: 1},
		{x: []int{1, 2, 30, 30}, w: []int{2, 2, 17, 17}, group: 1}, // a channel alone has too many
		{x: []int{1, 8, 20}, w: []int{8, 1, 5}, group: 8},
		{x: []int{1, 2, 4, 5, 6}, w: []int{3, 2, 2, 2, 2}, group: 1},
		{x: []int{2, 8, 20, 20}, w: []int{10, 4, 3, 3}, group: 2, pads: []int{1, 1, 1, 1}},
		{x: []int{1, 8, 19, 23}, w: []int{6, 8, 3, 5}, group: 1, pads: []int{1, 4, 2, 0}, strides: []int{2, 3}, dilation: []int{2, 1}},
		{x: []int{1, 4, 5, 6}, w: []int{8, 4, 7, 9}, group: 1, pads: []int{6, 8, 6, 8}, strides: []int{1, 2}}, // also beyond X alone
		{x: []int{3, 40, 2, 2}, w: []int{33, 40, 1, 1}, group: 1, strides: []int{2, 2}},
		{x: []int{1, 16, 40}, w: []int{7, 16, 3}, group: 1, pads: []int{2, 0}},
	} {
		x, w := randomBytes(r, tensor.Uint8, false, c.x...), randomBytes(r, tensor.Int8, true, c.w...)
		xZero, wZero := tensor.Scalar[uint8](3), randomBytes(r, tensor.Int8, false, c.w[0])
		bias := tensor.New(tensor.Int32, c.w[0])
		for i := range c.w[0] {
			tensor.Data[int32](bias)[i] = int32(1000 * i)
		}
		o := &conv{group: c.group, window: window{pads: c.pads, strides: c.strides, dilations: c.dilation}}
		slides, err := o.slides(c.x[2:], c.w[2:])
		if err != nil {
			t.Fatal(err)
		}
		shape := []int{c.x[0], c.w[0]}
		for _, s := range slides[len(slides)-len(c.x[2:]):] {
			shape = append(shape, s.out)
		}
		got := tensor.New(tensor.Int32, shape...)
		if err := convolveBytes(&Ctx{Pool: kernel.NewPool(2)}, o, x, w, xZero, wZero, bias, got); err != nil {
			t.Fatal(err)
		}
		wide := make([]*tensor.Tensor, 2)
		for i, v := range [][]int32{plainCentred(t, x, xZero, false), plainCentred(t, reshaped(w, c.w[0], product(c.w[1:])), wZero, false)} {
			f := make([]float64, len(v))
			convert(v, f)
			wide[i] = tensor.Of(f, [][]int{c.x, c.w}[i]...)
		}
		sums := tensor.New(tensor.Float64, shape...)
		b := make([]float64, c.w[0])
		convert(tensor.Data[int32](bias), b)
		if err := convolve(&Ctx{}, o, wide[0], wide[1], tensor.Of(b, len(b)), sums, kernel.Gemm64); err != nil {
			t.Fatal(err)
		}
		for i, v := range tensor.Data[float64](sums) {
			if tensor.Data[int32](got)[i] != int32(v) {
				t.Fatalf("%v with %v in %d groups: element %d is %d, wanted %v", c.x, c.w, c.group, i, tensor.Data[int32](got)[i], v)
			}
		}
	}
}

// Sums are rounded with the scale of their row, their column, or both.
func TestRequantize(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct{ rows, width, scaleRows, scaleCols int }{
		{5, 7, 1, 1}, {6, 70, 1, 70}, {6, 70, 3, 1}, {6, 70, 2, 70}, {300, 100, 300, 1}, {40, 1, 20, 1}, {1, 50000, 1, 1}, {0, 3, 1, 3},
	} {
		acc, by := make([]int32, c.rows*c.width), make([]float64, c.scaleRows*c.scaleCols)
		for i := range acc {
			acc[i] = int32(r.IntN(2000) - 1000)
		}
		for i := range by {
			by[i] = 0.5 * r.Float64()
		}
		y := tensor.New(tensor.Int8, len(acc))
		if err := requantizeTo(&Ctx{Pool: kernel.NewPool(2)}, "QLinearMatMul", y, acc, c.width, c.scaleCols, by, -3); err != nil {
			t.Fatal(err)
		}
		for i, v := range acc {
			scale := by[i/c.width%c.scaleRows*c.scaleCols+i%c.width%c.scaleCols]
			one := make([]int8, 1)
			kernel.Requantize8(one, []int32{v}, []float64{scale}, -3)
			if got := tensor.Data[int8](y)[i]; got != one[0] {
				t.Fatalf("%v: element %d is %d, wanted %d", c, i, got, one[0])
			}
		}
	}
	if err := requantizeTo(&Ctx{}, "QLinearMatMul", tensor.New(tensor.Int32, 1), make([]int32, 1), 1, 1, []float64{1}, 0); err == nil {
		t.Error("int32 is taken for bytes")
	}
}
