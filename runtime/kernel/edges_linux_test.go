package kernel

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"
)

// edges is memory between two pages that nobody may touch.
type edges []byte

func newEdges(t *testing.T) edges {
	t.Helper()
	page := syscall.Getpagesize()
	size := 16 * page
	m, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	for _, guard := range [][]byte{m[:page], m[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return edges(m[page : page+size])
}

// at is n random elements at the end of the memory, or at its start.
func at[T float](e edges, r *rand.Rand, n int, end bool) []T {
	off := 0
	if end {
		off = len(e) - n*sizeOf[T]()
	}
	s := unsafe.Slice((*T)(unsafe.Pointer(&e[off])), n)
	copy(s, random[T](r, n))
	return s
}

// TestStaysWithinSlices puts every slice of every loop right before or behind memory whose touch ends the
// test: no vector may reach over, not even to read.
func TestStaysWithinSlices(t *testing.T) {
	v := [4]edges{newEdges(t), newEdges(t), newEdges(t), newEdges(t)}
	r := rand.New(rand.NewPCG(31, 32))
	do := func(t *testing.T, what string, f func()) {
		t.Helper()
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if e := recover(); e != nil {
				t.Fatalf("%s: %v", what, e)
			}
		}()
		f()
	}
	var past float32
	failed := false
	func() { // the guards guard
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() { failed = recover() != nil }()
		past = *(*float32)(unsafe.Add(unsafe.Pointer(&at[float32](v[0], r, 8, true)[7]), 4))
	}()
	if !failed {
		t.Fatalf("reading past the end gives %v", past)
	}
	inEveryPath(t, func(t *testing.T) {
		for _, end := range []bool{false, true} {
			s := func(i, n int) []float32 { return at[float32](v[i], r, n, end) }
			for _, n := range lengths() {
				for f := Relu; f < functions; f++ {
					do(t, fmt.Sprintf("%v of %d", f, n), func() { Unary32(nil, f, s(0, n), s(1, n), 0.3, 0.7) })
				}
				for op := range operations {
					for kind := range 4 {
						xe, ye := kind&1, kind>>1
						do(t, fmt.Sprintf("operation %d of %d, kind %d", op, n, kind), func() {
							Zip32(nil, op, 2, n, s(0, 2*n), n, s(1, n+(n-1)*xe+1), n, xe, s(2, n+(n-1)*ye+1), n, ye)
						})
					}
				}
				do(t, fmt.Sprintf("softmax of %d", n), func() { Softmax32(nil, 2, n, s(0, 2*n), n, s(1, 2*n), n) })
				for _, bias := range [][]float32{nil, s(3, n)} {
					do(t, fmt.Sprintf("layer norm of %d", n), func() { LayerNorm32(nil, 2, n, s(0, 2*n), n, s(1, 2*n), n, s(2, n), bias, 1e-5, nil) })
				}
				do(t, fmt.Sprintf("sum of %d", n), func() { Sum32(nil, 2, n, at[float64](v[0], r, 2, end), s(1, 2*n), n) })
				for _, l := range optimLoops {
					do(t, fmt.Sprintf("%s of %d", l.name, n), func() { l.run(nil, [][]float32{s(0, n), s(1, n), s(2, n), s(3, n)}[:l.n]) })
				}
				do(t, fmt.Sprintf("sum of %d squares", n), func() { SumSquares32(nil, s(0, n)) })
				for _, l := range biasLoops {
					var x [][]float32
					for i, whole := range l.whole {
						if whole {
							x = append(x, s(i, 2*n))
						} else {
							x = append(x, s(i, n))
						}
					}
					do(t, fmt.Sprintf("%s of %d", l.name, n), func() { l.run(nil, 2, n, x) })
				}
				do(t, fmt.Sprintf("interleaving %d", n), func() { Interleave32(s(0, 2*n), s(1, n), s(2, n)) })
				double, places := make([]int, 2*n), make([]uint32, 4*n)
				for i := range double {
					double[i] = i / 2
				}
				do(t, fmt.Sprintf("doubling %d", n), func() {
					NewPicking32(double).Run(1, 2, places, 2*n, unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(s(1, n)))), n), n)
				})
				do(t, fmt.Sprintf("halves of %d", n), func() { halves(s(0, n), s(1, n), s(2, 2*n)) })
			}
			for _, n := range []int{1, 3, 5, 8, 10, 15, 16, 17, 31, 33, 64, 70, 128, 130} {
				for _, k := range []int{1, 2, 3, 9, blockK + 1} {
					if k > 9 && n > 20 {
						continue // larger than the memory
					}
					for m := 1; m <= 9; m++ {
						for _, add := range []bool{false, true} {
							what := fmt.Sprintf("product of %d×%d×%d, %t", m, n, k, add)
							do(t, what, func() { Gemm32(nil, m, n, k, s(0, m*k), k, 1, s(1, k*n), n, 1, s(2, m*n), n, add) })
							do(t, what+" transposed", func() { Gemm32(nil, m, n, k, s(0, m*k), 1, m, s(1, k*n), 1, k, s(2, m*n), n, add) })
							a, b, c := at[float64](v[0], r, m*k, end), at[float64](v[1], r, k*n, end), at[float64](v[2], r, m*n, end)
							do(t, what+" in float64", func() { Gemm64(nil, m, n, k, a, k, 1, b, n, 1, c, n, add) })
						}
						e := Epilogue32{Bias: s(3, n), F: Relu}
						do(t, "with bias", func() { GemmEpilogue32(nil, m, n, k, s(0, m*k), k, 1, s(1, k*n), n, 1, s(2, m*n), n, e) })
					}
				}
			}
		}
	})
}
