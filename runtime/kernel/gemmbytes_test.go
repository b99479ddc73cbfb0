package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainBytes is C = A·B of matrices less their zero points, element by element.
func plainBytes(m, n, k int, a, b Bytes, c []int32, ldc int) {
	start := func(i int) int {
		if b.Rows != nil {
			return b.Rows[i]
		}
		return i * b.Ld
	}
	at := func(x *Bytes, i int) int32 {
		if x.Signed {
			return int32(int8(x.Data[i]))
		}
		return int32(x.Data[i])
	}
	for i := range m {
		for j := range n {
			sum := int32(0)
			for t := range k {
				sum += (at(&a, i*a.Ld+t) - a.zero(i)) * (at(&b, start(t)+j) - b.zero(j))
			}
			c[i*ldc+j] = sum
		}
	}
}

// Products of bytes are those of integers: of all types, with zero points of each kind, at all edges, extreme
// elements, and nothing is written beside them.
func TestGemmBytes(t *testing.T) {
	if byteKernels() == nil {
		t.Skip("no kernel for products of bytes here")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{1, 1, 1}, {6, 64, 4}, {7, 65, 5}, {5, 63, 3}, {13, 130, 70}, {2, 200, 64}, {3, 1, 1000}, {4, 10, 129}, {12, 128, 2}, {1, 64, 0}, {0, 3, 3}} {
		m, n, k := s[0], s[1], s[2]
		for c := range 32 {
			name := fmt.Sprintf("m=%d n=%d k=%d signed %v %v zeros %v %v extreme %v", m, n, k, c&1 > 0, c&2 > 0, c&4 > 0, c&8 > 0, c&16 > 0)
			make1 := func(rows, cols int, signed, each bool, lines int) Bytes {
				b := Bytes{Ld: cols + 3, Signed: signed, Zeros: []int32{int32(r.IntN(256)) - 128}, First: r.IntN(1000)}
				b.Data = make([]byte, rows*b.Ld)
				for i := range b.Data {
					b.Data[i] = byte(r.Uint32())
					if c&16 > 0 {
						b.Data[i] = []byte{0, 0x7f, 0x80, 0xff}[r.IntN(4)]
					}
				}
				if each {
					b.Zeros = make([]int32, lines)
					for i := range b.Zeros {
						b.Zeros[i] = int32(r.IntN(256)) - 128
					}
				}
				return b
			}
			a, b := make1(m, k, c&1 > 0, c&4 > 0 && m > 0, m), make1(k, n, c&2 > 0, c&8 > 0, n)
			if k > 2 && m%2 == 1 { // rows in another order, some of them twice
				for range k {
					b.Rows = append(b.Rows, r.IntN(k)*b.Ld+r.IntN(3))
				}
			}
			ldc := n + 2
			want, got := make([]int32, m*ldc), make([]int32, m*ldc)
			for i := range want {
				want[i], got[i] = -77, -77
			}
			plainBytes(m, n, k, a, b, want, ldc)
			if !GemmBytes(m, n, k, a, b, got, ldc) {
				t.Fatal(name, "not done")
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: other sums than one by one", name)
			}
		}
	}
}

// Sums that are too large for int32 wrap around.
func TestGemmBytesWraps(t *testing.T) {
	if byteKernels() == nil {
		t.Skip("no kernel for products of bytes here")
	}
	k := 1 << 16
	a, b := Bytes{Data: make([]byte, k), Ld: k, Zeros: []int32{0}}, Bytes{Data: make([]byte, k), Ld: 1, Zeros: []int32{0}}
	for i := range k {
		a.Data[i], b.Data[i] = 255, 255
	}
	want, got := make([]int32, 1), make([]int32, 1)
	plainBytes(1, 1, k, a, b, want, 1)
	if GemmBytes(1, 1, k, a, b, got, 1); got[0] != want[0] || got[0] > 0 {
		t.Errorf("%d, want %d", got[0], want[0])
	}
}

func BenchmarkGemmBytes(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{1, 768, 768}, {128, 768, 768}, {512, 512, 512}} {
		m, n, k := s[0], s[1], s[2]
		x, y := Bytes{Data: make([]byte, m*k), Ld: k, Zeros: []int32{128}}, Bytes{Data: make([]byte, k*n), Ld: n, Signed: true, Zeros: []int32{0}}
		for i := range x.Data {
			x.Data[i] = byte(r.Uint32())
		}
		for i := range y.Data {
			y.Data[i] = byte(r.Uint32())
		}
		c := make([]int32, m*n)
		b.Run(fmt.Sprintf("%dx%dx%d", m, n, k), func(b *testing.B) {
			for b.Loop() {
				if !GemmBytes(m, n, k, x, y, c, n) {
					b.Skip("no kernel")
				}
			}
			b.ReportMetric(float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
	}
}
