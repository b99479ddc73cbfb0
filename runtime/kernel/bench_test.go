package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchShapes are m, n, k.
var benchShapes = [][3]int{
	{64, 64, 64}, {128, 128, 128}, {256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}, {2048, 2048, 2048},
	{1, 1024, 1024}, {8, 1024, 1024}, {64, 1024, 1024},
}

// reportRate adds GFLOP/s of a product to a benchmark, which all of them are judged by.
func reportRate(b *testing.B, m, n, k int) {
	b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func benchGemm[T float](b *testing.B, gemm gemmFunc[T]) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, trans := range []string{"NN", "NT", "TN"} {
		for _, s := range benchShapes {
			m, n, k := s[0], s[1], s[2]
			x, y, z := random[T](r, m*k), random[T](r, k*n), make([]T, m*n)
			ars, acs, brs, bcs := k, 1, n, 1
			if trans[0] == 'T' {
				ars, acs = 1, m
			}
			if trans[1] == 'T' {
				brs, bcs = 1, k
			}
			for _, threads := range []int{1, 2} {
				p := NewPool(threads)
				b.Run(fmt.Sprintf("%s/%dx%dx%d/threads=%d", trans, m, n, k, threads), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						gemm(p, m, n, k, x, ars, acs, y, brs, bcs, z, n, false)
					}
					reportRate(b, m, n, k)
				})
			}
		}
	}
}

func BenchmarkGemm32(b *testing.B) { benchGemm(b, Gemm32) }
func BenchmarkGemm64(b *testing.B) { benchGemm(b, Gemm64) }

func BenchmarkGemmPacked32(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range benchShapes {
		m, n, k := s[0], s[1], s[2]
		x, y, z := random[float32](r, m*k), Pack32(k, n, random[float32](r, k*n), n, 1), make([]float32, m*n)
		for _, threads := range []int{1, 2} {
			p := NewPool(threads)
			b.Run(fmt.Sprintf("%dx%dx%d/threads=%d", m, n, k, threads), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					GemmPacked32(p, m, x, k, 1, y, z, n, false)
				}
				reportRate(b, m, n, k)
			})
		}
	}
}

// BenchmarkTile is the tile alone, on operands in the nearest caches: what the products can reach.
func BenchmarkTile(b *testing.B) {
	for _, p := range paths {
		b.Run(p.name+"/float32", func(b *testing.B) { benchTile(b, p.f32) })
		b.Run(p.name+"/float64", func(b *testing.B) { benchTile(b, p.f64) })
	}
}

func benchTile[T float](b *testing.B, im *impl[T]) {
	r := rand.New(rand.NewPCG(1, 2))
	m, n, k := 10*im.mr, im.nr, blockK
	x, y, z := random[T](r, m*k), aligned[T](k*n), make([]T, m*n)
	for b.Loop() {
		im.tile(m, k, x, k, 1, y, n, z, n, n, nil, 0, false)
	}
	reportRate(b, m, n, k)
}

// BenchmarkPeak is multiply-adds and nothing else: a tile whose operands never move.
func BenchmarkPeak(b *testing.B) {
	for _, p := range paths {
		b.Run(p.name, func(b *testing.B) {
			im, k := p.f32, 1<<14
			x, y, z := make([]float32, im.mr), aligned[float32](im.nr), make([]float32, im.mr*im.nr)
			for b.Loop() {
				im.tile(im.mr, k, x, 1, 0, y, 0, z, im.nr, im.nr, nil, 0, false)
			}
			reportRate(b, im.mr, im.nr, k)
		})
	}
}

// BenchmarkBilinear is sums of 1 to 16 pairs of factors, with bias and ReLU.
func BenchmarkBilinear(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][4]int{{32, 32, 32, 32}, {64, 64, 64, 64}, {24, 32, 48, 64}} {
		for _, terms := range []int{1, 2, 4, 8, 16} {
			f := newFiles(r, bilinearShape{s[0], s[1], s[2], s[3], terms})
			w := f.pack(true)
			n, m := w.Dims()
			bias := random[float32](r, m)
			for _, samples := range []int{1, 8, 64} {
				x, y := random[float32](r, samples*n), make([]float32, samples*m)
				for _, threads := range []int{1, 2} {
					p := NewPool(threads)
					b.Run(fmt.Sprintf("%dto%d/R=%d/M=%d/threads=%d", n, m, terms, samples, threads), func(b *testing.B) {
						for b.Loop() {
							w.Mul(p, samples, x, n, y, m, Epilogue32{Bias: bias, F: Relu})
						}
						reportRate(b, samples, terms, min(s[0]*s[3]*(s[1]+s[2]), s[2]*s[1]*(s[0]+s[3])))
					})
				}
			}
		}
	}
}

// BenchmarkFunction is each function on a block in the first-level cache.
func BenchmarkFunction(b *testing.B) {
	x, y := random[float32](rand.New(rand.NewPCG(1, 2)), 4096), make([]float32, 4096)
	for f := Relu; f < functions; f++ {
		b.Run(f.String(), func(b *testing.B) {
			b.SetBytes(4 * 4096)
			for b.Loop() {
				Unary32(nil, f, y, x, 0.25, 0.75)
			}
		})
	}
}
