package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// convPlain is Conv32 as its comment says, in float64.
func convPlain(s Conv, y, x, w, bias []float32) {
	at := 0
	for i := range s.Images {
		for gm := range s.Groups * s.M {
			for oy := range s.OH {
				for ox := range s.OW {
					sum := 0.0
					if bias != nil {
						sum = float64(bias[gm])
					}
					for c := range s.C {
						plane := ((i*s.Groups+gm/s.M)*s.C + c) * s.H * s.W
						for ty := range s.KH {
							for tx := range s.KW {
								iy, ix := oy*s.SY+ty*s.DY-s.Top, ox*s.SX+tx*s.DX-s.Left
								if iy >= 0 && iy < s.H && ix >= 0 && ix < s.W {
									sum += float64(x[plane+iy*s.W+ix]) * float64(w[((gm*s.C+c)*s.KH+ty)*s.KW+tx])
								}
							}
						}
					}
					y[at] = float32(sum)
					at++
				}
			}
		}
	}
}

// convCase is a convolution with the output's size from the padding after the last row and column.
func convCase(images, groups, c, m, h, w, kh, kw, sy, sx, dy, dx, top, left, bottom, right int) Conv {
	return Conv{Images: images, Groups: groups, C: c, M: m, H: h, W: w, KH: kh, KW: kw, SY: sy, SX: sx, DY: dy, DX: dx, Top: top, Left: left,
		OH: (h+top+bottom-(kh-1)*dy-1)/sy + 1, OW: (w+left+right-(kw-1)*dx-1)/sx + 1}
}

func convCases() []Conv {
	cases := []Conv{
		convCase(2, 1, 5, 7, 6, 9, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0),
		convCase(1, 2, 3, 20, 30, 40, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0),
		convCase(1, 1, 40, 24, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0),
		convCase(1, 1, 300, 17, 5, 37, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0),  // sums in two parts
		convCase(1, 2, 256, 250, 5, 20, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0), // tasks for parts of the channels
		convCase(2, 1, 3, 8, 11, 13, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1),
		convCase(1, 1, 3, 8, 12, 14, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1),
		convCase(1, 1, 96, 24, 9, 35, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
		convCase(1, 1, 300, 10, 1, 33, 1, 3, 1, 1, 1, 1, 0, 1, 0, 1),
		convCase(2, 2, 4, 3, 8, 9, 3, 2, 1, 3, 2, 1, 2, 1, 0, 2),
		convCase(1, 3, 2, 1, 7, 20, 5, 5, 2, 1, 1, 2, 2, 4, 2, 4),
		convCase(1, 4, 1, 1, 9, 9, 7, 7, 1, 1, 1, 1, 3, 3, 3, 3),
		convCase(1, 4, 1, 1, 9, 9, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2),
		convCase(1, 2, 1, 3, 6, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
		convCase(1, 1, 2, 2, 1, 1, 3, 3, 1, 1, 1, 1, 5, 6, 7, 4), // more padding than input
		convCase(1, 1, 40, 2, 6, 6, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0),
		convCase(1, 1, 32, 5, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1), // rows of Y in one product, from here on
		convCase(2, 1, 300, 33, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
		convCase(1, 2, 40, 90, 13, 14, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
		convCase(1, 1, 200, 70, 21, 10, 3, 5, 1, 1, 2, 2, 1, 3, 2, 4), // in strips
		convCase(1, 1, 70, 3, 9, 36, 1, 3, 1, 1, 1, 1, 0, 0, 0, 0),
		convCase(1, 1, 33, 8, 4, 5, 1, 1, 1, 1, 1, 1, 1, 2, 2, 1),
	}
	for _, k := range []int{3, 5} {
		for sy := 1; sy <= 2; sy++ {
			for sx := 1; sx <= 2; sx++ {
				for _, size := range [][2]int{{1, 1}, {3, 20}, {4, 16}, {7, 33}, {10, 64}} {
					for pad := range 3 {
						h, w := max(size[0], k-pad), max(size[1], k-pad)
						cases = append(cases, convCase(2, 3, 1, 1, h, w, k, k, sy, sx, 1, 1, pad, 2-pad, 2, k))
					}
				}
			}
		}
	}
	return cases
}

func TestConv32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, s := range convCases() {
			for _, withBias := range []bool{false, true} {
				if err := checkConv(s, withBias); err != nil {
					t.Errorf("%+v, bias %t: %v", s, withBias, err)
				}
			}
		}
	})
}

func checkConv(s Conv, withBias bool) error {
	rng := rand.New(rand.NewPCG(uint64(s.H*s.W), uint64(s.C)))
	draw := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	x, w := draw(s.Images*s.Groups*s.C*s.H*s.W), draw(s.Groups*s.M*s.C*s.KH*s.KW)
	var bias []float32
	if withBias {
		bias = draw(s.Groups * s.M)
	}
	n := s.Images * s.Groups * s.M * s.OH * s.OW
	want := make([]float32, n)
	convPlain(s, want, x, w, bias)
	const guard = 40
	var first []float32
	for threads := 1; threads <= 3; threads++ {
		got := make([]float32, n+2*guard)
		for i := range got {
			got[i] = 12345
		}
		Conv32(NewPool(threads), s, got[guard:guard+n:guard+n], x, w, bias, Relu, 0, 0)
		for i, v := range got {
			switch {
			case i < guard || i >= guard+n:
				if v != 12345 {
					return fmt.Errorf("wrote outside of Y, at %d", i-guard)
				}
			case math.Abs(float64(v-max(want[i-guard], 0))) > 1e-5*math.Sqrt(float64(s.C*s.KH*s.KW))*4:
				return fmt.Errorf("element %d is %g, wanted %g", i-guard, v, max(want[i-guard], 0))
			case first != nil && first[i] != v:
				return fmt.Errorf("element %d depends on the number of threads", i-guard)
			}
		}
		first = got
	}
	return nil
}

// TestConv32Special has values that no sum may lose, and memory that holds what was there before.
func TestConv32Special(t *testing.T) {
	nan := float32(math.NaN())
	inEveryPath(t, func(t *testing.T) {
		s := convCase(1, 2, 1, 1, 5, 18, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)
		x, w, y := make([]float32, 2*5*18), make([]float32, 2*9), make([]float32, 2*5*18)
		for i := range x {
			x[i] = nan
		}
		Conv32(nil, s, y, x, w, nil, Identity, 0, 0)
		for i, v := range y {
			if v == v {
				t.Fatalf("element %d of a convolution of NaN is %g", i, v)
			}
		}
		clear(x)
		Conv32(nil, s, y, x, w, []float32{1, 2}, Identity, 0, 0) // the scratch memory is full of NaN
		for i, v := range y {
			if v != float32(1+i/90) {
				t.Fatalf("element %d of a convolution of zeros is %g", i, v)
			}
		}
		s.C = 0
		Conv32(nil, s, y, nil, nil, []float32{-1, 3}, Relu, 0, 0)
		if y[0] != 0 || y[90] != 3 {
			t.Errorf("a convolution of no channels is %g and %g", y[0], y[90])
		}
	})
	defer func() {
		if recover() == nil {
			t.Error("slices that are too short do not panic")
		}
	}()
	Conv32(nil, convCase(1, 1, 1, 1, 3, 3, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0), make([]float32, 1), make([]float32, 8), make([]float32, 9), nil, Identity, 0, 0)
}

func TestInterleave32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for n := range 35 {
			even, odd, dst := make([]float32, n), make([]float32, n), make([]float32, 2*n+1)
			for i := range n {
				even[i], odd[i] = float32(2*i), float32(2*i+1)
			}
			dst[2*n] = -1
			Interleave32(dst, even, odd)
			for i, v := range dst[:2*n] {
				if v != float32(i) {
					t.Fatalf("element %d of %d is %g", i, 2*n, v)
				}
			}
			if dst[2*n] != -1 {
				t.Fatalf("wrote past %d elements", 2*n)
			}
			k := halves(even, odd, dst[:2*n])
			for i := range k {
				if even[i] != float32(2*i) || odd[i] != float32(2*i+1) {
					t.Fatalf("pair %d of %d is %g, %g", i, n, even[i], odd[i])
				}
			}
		}
	})
	y := make([]float32, 2*37)
	Fill32(2, 37, y, []float32{3, 4})
	if y[0] != 3 || y[36] != 3 || y[37] != 4 || y[73] != 4 {
		t.Errorf("rows are %v", y)
	}
}

func BenchmarkConv32(b *testing.B) {
	for _, c := range []struct {
		name string
		Conv
	}{
		{"point32x64x24x80", convCase(1, 1, 32, 64, 24, 80, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)},
		{"point480x480x3x40", convCase(1, 1, 480, 480, 3, 40, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)},
		{"point48x48x160x160", convCase(1, 1, 48, 48, 160, 160, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)},
		{"depth3x3x48x160x160", convCase(1, 48, 1, 1, 160, 160, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)},
		{"depth3x3s2x48x160x160", convCase(1, 48, 1, 1, 160, 160, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1)},
		{"depth5x5x240x6x80", convCase(1, 240, 1, 1, 6, 80, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2)},
		{"dense3x3x96x24x80x80", convCase(1, 1, 96, 24, 80, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)},
		{"dense3x3s2x3x16x640x640", convCase(1, 1, 3, 16, 640, 640, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := c.Conv
			x, w := make([]float32, s.Groups*s.C*s.H*s.W), make([]float32, s.Groups*s.M*s.C*s.KH*s.KW)
			y := make([]float32, s.Groups*s.M*s.OH*s.OW)
			for b.Loop() {
				Conv32(nil, s, y, x, w, nil, Identity, 0, 0)
			}
			b.ReportMetric(2*float64(len(y)*s.C*s.KH*s.KW*b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
		})
	}
}
