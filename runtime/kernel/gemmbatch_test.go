package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// batchSizes are count, m, n, k: products of attention, of Kronecker factors on either side, odd ones, one
// too big for the quick way.
var batchSizes = [][4]int{
	{1, 1, 1, 1}, {3, 5, 7, 2}, {4, 49, 49, 32}, {4, 49, 32, 49}, {9, 32, 32, 128}, {9, 128, 32, 32}, {70, 32, 28, 28},
	{64, 32, 128, 32}, {2, 17, 33, 300}, {7, 1, 64, 9}, {2, 130, 260, 130}, {5, 8, 3, 0}, {0, 3, 3, 3},
}

// lists is how a test's matrices lie: gap elements apart, or all in one place.
func lists(r *rand.Rand, count, rows, cols int, l layout, one bool) Matrices32 {
	rs, cs, size := l.place(rows, cols)
	if one {
		return Matrices32{random[float32](r, size), 0, rs, cs}
	}
	return Matrices32{random[float32](r, count*(size+3)), size + 3, rs, cs}
}

func eachList(f func(name string, r *rand.Rand, size [4]int, a, b Matrices32, add bool)) {
	for i, size := range batchSizes {
		for li, la := range layouts {
			lb := layouts[(li+i)%len(layouts)]
			one := []string{"", "A", "B"}[(i+li)%3]
			r := rand.New(rand.NewPCG(uint64(i), uint64(li)))
			a := lists(r, size[0], size[1], size[3], la, one == "A")
			b := lists(r, size[0], size[3], size[2], lb, one == "B")
			add := (i+li)%2 == 1
			f(fmt.Sprintf("%v, A in %s, B in %s, one %s, add %v", size, la.name, lb.name, one, add), r, size, a, b, add)
		}
	}
}

// The bits are those of single products.
func TestGemmBatch(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		eachList(func(name string, r *rand.Rand, size [4]int, a, b Matrices32, add bool) {
			count, m, n, k := size[0], size[1], size[2], size[3]
			ldc := n + 2
			step := m*ldc + 5
			c := guardedRandom(r, count*step)
			start, want := slices.Clone(c.v), slices.Clone(c.v)
			for s := range count {
				Gemm32(nil, m, n, k, a.from(s), a.Row, a.Col, b.from(s), b.Row, b.Col, want[s*step:], ldc, add)
			}
			for threads := 1; threads <= 2; threads++ {
				copy(c.v, start)
				GemmBatch32(NewPool(threads), count, m, n, k, a, b, c.v, step, ldc, add)
				if err := same(c.v, want); err != nil {
					t.Fatalf("%s, %d threads: %v", name, threads, err)
				}
				c.check(t, name)
			}
		})
	})
}

// Against sums in float64; the bits do not depend on the number of threads.
func TestGemmSum(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		eachList(func(name string, r *rand.Rand, size [4]int, a, b Matrices32, add bool) {
			count, m, n, k := size[0], size[1], size[2], size[3]
			ldc := n + 2
			c := guardedRandom(r, m*ldc)
			start := slices.Clone(c.v)
			GemmSum32(nil, count, m, n, k, a, b, c.v, ldc, add)
			c.check(t, name)
			for i := range m {
				for j := range n {
					sum, abs := 0.0, 0.0
					if add {
						sum = float64(start[i*ldc+j])
						abs = math.Abs(sum)
					}
					for s := range count {
						x, y := a.from(s), b.from(s)
						for l := range k {
							v := float64(x[i*a.Row+l*a.Col]) * float64(y[l*b.Row+j*b.Col])
							sum += v
							abs += math.Abs(v)
						}
					}
					if got := float64(c.v[i*ldc+j]); !(math.Abs(got-sum) <= gemmTolerance*epsilon[float32]()*float64(count*k+2)*abs) {
						t.Fatalf("%s: element (%d, %d) is %v, wanted %v", name, i, j, got, sum)
					}
				}
				for j := n; j < ldc && i*ldc+j < len(c.v); j++ {
					if c.v[i*ldc+j] != start[i*ldc+j] {
						t.Fatalf("%s: wrote beside row %d", name, i)
					}
				}
			}
			once := slices.Clone(c.v)
			copy(c.v, start)
			GemmSum32(NewPool(2), count, m, n, k, a, b, c.v, ldc, add)
			if err := same(c.v, once); err != nil {
				t.Fatalf("%s: with two threads %v", name, err)
			}
		})
	})
}

func TestListsTooShort(t *testing.T) {
	short := Matrices32{make([]float32, 11), 6, 3, 1}
	long := Matrices32{make([]float32, 12), 6, 2, 1}
	for name, f := range map[string]func(){
		"A": func() { GemmBatch32(nil, 2, 2, 2, 3, short, long, make([]float32, 8), 4, 2, false) },
		"B": func() {
			GemmSum32(nil, 2, 3, 3, 2, long, short, make([]float32, 9), 3, false)
		},
		"C": func() {
			GemmBatch32(nil, 2, 2, 2, 3, Matrices32{make([]float32, 12), 6, 3, 1}, long, make([]float32, 7), 4, 2, false)
		},
	} {
		func() {
			defer func() {
				if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "kernel: "+name+"[") {
					t.Errorf("%s: panic is %v", name, v)
				}
			}()
			f()
		}()
	}
}

// BenchmarkLists is the products of a layer of four terms of 32×32 ⊗ 32×32 on 128 samples, and back.
func BenchmarkLists(b *testing.B) {
	const count, n, terms = 128, 32, 4
	r := rand.New(rand.NewPCG(1, 2))
	x, t, f := random[float32](r, count*n*n), random[float32](r, count*n*n*terms), random[float32](r, n*n*terms)
	for _, threads := range []int{1, 2} {
		p := NewPool(threads)
		for _, c := range []struct {
			name string
			run  func()
		}{
			{"left", func() {
				GemmBatch32(p, count, n, n, n*terms, Matrices32{f, 0, n * terms, 1}, Matrices32{t, n * n * terms, n, 1}, x, n*n, n, false)
			}},
			{"back to T", func() {
				GemmBatch32(p, count, n*terms, n, n, Matrices32{f, 0, 1, n * terms}, Matrices32{x, n * n, n, 1}, t, n*n*terms, n, false)
			}},
			{"back to A", func() {
				GemmSum32(p, count, n, n*terms, n, Matrices32{x, n * n, n, 1}, Matrices32{t, n * n * terms, 1, n}, f, n*terms, false)
			}},
		} {
			b.Run(fmt.Sprintf("%s/threads=%d", c.name, threads), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c.run()
				}
				reportRate(b, count*n, n*terms, n)
			})
		}
	}
}
