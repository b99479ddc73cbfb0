package kernel

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
)

// bitsOf is a number for all bits of x, but that NaN is NaN and -0 is 0.
func bitsOf(x ...float32) uint64 {
	h := fnv.New64a()
	var b [4]byte
	for _, v := range x {
		switch v += 0; {
		case v != v:
			v = float32(math.NaN())
		case v == 0:
			v = 0
		}
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	return h.Sum64()
}

// uniform is n numbers from -4 to 4, the same on every machine: the package's normal ones are rounded
// by portable code, which compilers fuse where the machine can.
func uniform(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(int(r.Uint32()>>8)-1<<23) * 0x1p-21
	}
	return x
}

// wantBits are the bits of every vectorised path of every architecture.
var wantBits = map[string]uint64{
	"depthwise":             0x4ba3690a99695868,
	"Relu":                  0x9cfe420a2b1181d7,
	"LeakyRelu":             0x61e7cadfac7d208e,
	"Clip":                  0xf7b9e3f18a7b3392,
	"HardSigmoid":           0xa178cb340d6bdc78,
	"HardSwish":             0x2d0f8598b482378a,
	"Exp":                   0x441fb0e4248e322,
	"Sigmoid":               0xf4e491a90fbd4be6,
	"Silu":                  0xc0a436d70164be4e,
	"Tanh":                  0xc5edc081c7a729aa,
	"Erf":                   0x211a229f2b84cf05,
	"Gelu":                  0x73fc54409d5f4e0b,
	"GeluTanh":              0xfe39a968c23f09b2,
	"Abs":                   0x28dfe82ec789b703,
	"Neg":                   0x6ea93d448a756303,
	"Sign":                  0x64253ad167d0e365,
	"Floor":                 0x6a32fbcde753355,
	"Ceil":                  0x9f62d0753f1eeaee,
	"Round":                 0xb69f40dbdd616582,
	"Sqrt":                  0x42c7e855c075dc5,
	"Reciprocal":            0x6d7b40bd34e4d2c5,
	"Softsign":              0xd33a64a28d01b0d6,
	"Threshold":             0x6a9bcaed37bd6aa6,
	"Elu":                   0x78e9331bf73a0469,
	"Log":                   0x51a8e494a0cadde7,
	"Log1p":                 0x4b1c38a63d769818,
	"Softplus":              0xc43af697a0e4dace,
	"Mish":                  0xabf64843826f215d,
	"softmax":               0x1c6283a831f6168e,
	"logarithms of softmax": 0xd066b1d60ce18981,
	"softmax of columns":    0xa0ef9b0c91badda6,
	"layer normalisation":   0x98dbe6248aca974a,
	"sums":                  0xc1d631291192d8b0,
	"means":                 0x474d267aab7123cb,
	"folds":                 0xce3c4bb5f5c864d6,
	"product":               0x1ad8be05e0fb290,
	"fused product":         0x4ac49bce2f4a7520,
}

// Results do not depend on the machine: AVX2, AVX-512 and NEON give the same bits.
func TestSameBitsOnAllMachines(t *testing.T) {
	var every []float32
	for b := uint64(0); b < 1<<32; b += 20011 {
		every = append(every, math.Float32frombits(uint32(b)))
	}
	r := rand.New(rand.NewPCG(21, 22))
	every = append(every, uniform(r, 1<<16)...)
	inEveryPath(t, func(t *testing.T) {
		if Path() == "generic" {
			t.Skip("fuses multiplications with additions where the compiler does")
		}
		check := func(name string, x ...float32) {
			t.Helper()
			if got := bitsOf(x...); got != wantBits[name] {
				t.Errorf("%q: %#x,", name, got)
			}
		}
		y := make([]float32, len(every))
		for f := Relu; f < functions; f++ {
			Unary32(nil, f, y, every, 0.3, 0.7)
			check(f.String(), y...)
		}
		var softmax, logs, columns, norm, sums, folded []float32
		r := rand.New(rand.NewPCG(23, 24))
		for _, n := range append(lengths(), 1000) {
			x, scale, bias := uniform(r, 2*n), uniform(r, n), uniform(r, n)
			y, z := make([]float32, 2*n), make([]float64, 2)
			Softmax32(nil, 2, n, y, n, x, n)
			softmax = append(softmax, y...)
			LogSoftmax32(nil, 2, n, y, x)
			logs = append(logs, y...)
			for _, f := range []func(p *Pool, m, n, w int, y, x []float32){SoftmaxColumns32, LogSoftmaxColumns32} {
				f(nil, 1, 2, n, y, x)
				columns = append(columns, y...)
				f(nil, 1, n, 2, y, x)
				columns = append(columns, y...)
			}
			LayerNorm32(nil, 2, n, y, n, x, n, scale, bias, 1e-5, nil)
			norm = append(norm, y...)
			LayerNorm32(nil, 2, n, y, n, x, n, scale, nil, 1e-5, nil)
			norm = append(norm, y...)
			for i := range x {
				x[i] = 1 / x[i] // sums that are rounded
			}
			Sum32(nil, 2, n, z, x, n)
			for _, s := range z {
				hi := float32(s)
				sums = append(sums, hi, float32(s-float64(hi)))
			}
			for f := range folds {
				z := []float64{f.Neutral(), f.Neutral()}
				FoldRows32(f, 2, n, z, x, n)
				FoldColumns32(f, n, 2, z, x, 2)
				for _, s := range z {
					folded = append(folded, float32(s))
				}
			}
			z = []float64{0, 0}
			FoldExpRows32(2, n, z, scale, 0, []float64{4, 3})
			FoldExpColumns32(n, 1, z, bias, 1, []float64{4})
			folded = append(folded, float32(z[0]), float32(z[1]))
		}
		check("softmax", softmax...)
		check("logarithms of softmax", logs...)
		check("softmax of columns", columns...)
		check("layer normalisation", norm...)
		check("sums", sums...)
		check("folds", folded...)

		var convs []float32
		for kind := range 8 {
			k, sy, sx := 3+kind&1*2, 1+kind>>1&1, 1+kind>>2
			c := convCase(2, 5, 1, 1, 11, 37, k, k, sy, sx, 1, 1, 1, 2, 2, 1)
			y := make([]float32, 2*5*c.OH*c.OW)
			Conv32(nil, c, y, uniform(r, 2*5*11*37), uniform(r, 5*k*k), uniform(r, 5), HardSwish, 0, 0)
			convs = append(convs, y...)
		}
		check("depthwise", convs...)

		const m, n, k = 13, 150, 2*blockK + 3
		a, b, c := uniform(r, m*k), uniform(r, k*n), make([]float32, m*n)
		Gemm32(nil, m, n, k, a, k, 1, b, n, 1, c, n, false)
		check("product", c...)
		GemmFused32(nil, m, a, k, 1, Pack32(k, n, b, n, 1), c, n, Epilogue32{Bias: b[:n], F: Silu})
		check("fused product", c...)

		var means []float32
		for stride := 1; stride <= 3; stride++ {
			w := Window{In: 50, Out: (50+2-3)/stride + 1, Kernel: 3, Stride: stride, Dilation: 1, Before: 1, After: 1}
			axes := [3]Window{{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}, w, w}
			y := make([]float32, 2*w.Out*w.Out)
			MeanWindows32(nil, 2, &axes, false, y, uniform(r, 2*50*50))
			means = append(means, y...)
		}
		check("means", means...)
	})
}
