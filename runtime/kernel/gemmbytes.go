package kernel

import "sync"

// Bytes is a matrix of bytes, row by row, less zero points: row i of a left operand, or column i of a right one,
// less Zeros[(First+i) mod their number].
type Bytes struct {
	Data   []byte
	Ld     int   // elements from one row to the next
	Rows   []int // where rows begin instead, of a right operand; nil: as Ld says
	Signed bool  // the elements are int8, not uint8
	Zeros  []int32
	First  int
}

func (b *Bytes) zero(i int) int32 { return b.Zeros[(b.First+i)%len(b.Zeros)] }

// The rows of a byteTile, and its columns.
const byteTileRows, byteTileCols = 6, 64

// byteTile computes rows of C, of the columns in mask, from quads of terms: of A's rows, which lda bytes are
// between, and of a panel of B, where the four terms of a quad of a column are followed by those of the next
// column. lines is two numbers for each row, and cols two rows of 64, whose product C begins with:
//
//	c[i, j] = lines[i, 0] · cols[0, j] + lines[i, 1] · cols[1, j] + Σ a[i, q] · b[q, j]
type byteTile func(quads int, a *uint8, lda int, b *int8, lines, cols, c *int32, ldc int, mask uint64)

// HasGemmBytes tells whether the path in use has a kernel for products of bytes.
func HasGemmBytes() bool { return byteKernels() != nil }

// GemmBytes computes C[m n] = A[m k] · B[k n], exactly but for sums that wrap around in int32, on the caller's
// thread. Where the path in use has no kernel for it, it does nothing and returns false.
func GemmBytes(m, n, k int, a, b Bytes, c []int32, ldc int) bool {
	tiles := byteKernels()
	if tiles == nil {
		return false
	}
	if m == 0 || n == 0 {
		return true
	}
	if k == 0 {
		for i := range m {
			clear(c[i*ldc : i*ldc+n])
		}
		return true
	}
	// Kernels multiply uint8 by int8: others are moved by 128, zero points with them.
	var flipA, flipB uint64
	var moveA, moveB int32
	if a.Signed {
		flipA, moveA = 0x80, 128
	}
	if !b.Signed {
		flipB, moveB = 0x80, -128
	}
	quads, lda := (k+3)/4, (k+63)&^63
	s, _ := byteScratches.Get().(*byteScratch)
	if s == nil {
		s = new(byteScratch)
	}
	s.grow(m*lda, m, quads*4)
	last := 0
	for i := range k {
		s.rows[i] = i * b.Ld
		if b.Rows != nil {
			s.rows[i] = b.Rows[i]
		}
		last = max(last, s.rows[i])
	}
	clear(s.rows[k : 4*quads])
	_, _, _ = a.Data[(m-1)*a.Ld+k-1], b.Data[last+n-1], c[(m-1)*ldc+n-1] // kernels do not check
	// Σ (a - za)·(b - zb) = Σ a·b - za·(Σ b - k·zb) - zb·Σ a
	for i := range m {
		byteRow(k, &a.Data[i*a.Ld], &s.a[i*lda], &s.sums[0], flipA)
		sum := int32(0)
		for _, v := range s.sums[:16] {
			sum += v
		}
		s.lines[2*i], s.lines[2*i+1] = a.zero(i)+moveA, -sum
	}
	for j := 0; j < n; j += byteTileCols {
		w := min(byteTileCols, n-j)
		mask := ^uint64(0) >> (byteTileCols - w)
		bytePanel(k, &b.Data[j], &s.rows[0], &s.b[0], &s.sums[0], flipB, mask)
		for i := range w {
			zero := b.zero(j+i) + moveB
			s.cols[i], s.cols[byteTileCols+i] = int32(k)*zero-s.sums[i], zero
		}
		for i := 0; i < m; i += byteTileRows {
			tiles[min(m-i, byteTileRows)-1](quads, &s.a[i*lda], lda, &s.b[0], &s.lines[2*i], &s.cols[0], &c[i*ldc+j], ldc, mask)
		}
	}
	byteScratches.Put(s)
	return true
}

// byteScratch is the memory of one product, kept for the next one.
type byteScratch struct {
	a     []uint8
	b     []int8
	lines []int32
	rows  []int
	cols  [2 * byteTileCols]int32
	sums  [byteTileCols]int32
}

var byteScratches sync.Pool

// grow makes room for so many bytes and rows of A and rows of B.
func (s *byteScratch) grow(a, lines, rows int) {
	if len(s.a) < a {
		s.a = make([]uint8, a)
	}
	if len(s.lines) < 2*lines {
		s.lines = make([]int32, 2*lines)
	}
	if len(s.rows) < rows {
		s.rows, s.b = make([]int, rows), make([]int8, rows*byteTileCols)
	}
}
