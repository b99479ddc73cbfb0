//go:build !noasm

package kernel

// The kernels by window (3, 5), step along x and step along y, less one.
var depthsNEON = [2][2][2]depth{
	{{depth3x11NEON, depth3x12NEON}, {depth3x21NEON, depth3x22NEON}},
	{{depth5x11NEON, depth5x12NEON}, {depth5x21NEON, depth5x22NEON}},
}

// depthKernel is the kernel of a path for windows of k×k, 3 or 5, in steps of 1 or 2.
func depthKernel(p *path, k, sx, sy int) depth {
	if p == genericPath {
		return nil
	}
	return depthsNEON[k/2-1][sx-1][sy-1]
}

// halves parts the elements of src at even places from those at odd ones, with vectors as far as
// they reach, and returns how many pairs that was.
func halves(even, odd, src []float32) int {
	n := len(src) / 2 &^ 7
	if n == 0 || active.Load() == genericPath {
		return 0
	}
	halvesNEON(n, even, odd, src)
	return n
}

// joined puts elements of even and odd in turn, with vectors as far as they reach, and returns how
// many pairs that was.
func joined(dst, even, odd []float32) int {
	n := len(even) &^ 7
	if n == 0 || active.Load() == genericPath {
		return 0
	}
	joinedNEON(n, dst, even, odd)
	return n
}

//go:noescape
func depth3x11NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

//go:noescape
func depth3x12NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

//go:noescape
func depth3x21NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

//go:noescape
func depth3x22NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

//go:noescape
func depth5x11NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

//go:noescape
func depth5x12NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

//go:noescape
func depth5x21NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

//go:noescape
func depth5x22NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)

// halvesNEON computes even[i] = src[2i] and odd[i] = src[2i+1], i < n, a positive multiple of 8.
//
//go:noescape
func halvesNEON(n int, even, odd, src []float32)

// joinedNEON computes dst[2i] = even[i] and dst[2i+1] = odd[i], i < n, a positive multiple of 8.
//
//go:noescape
func joinedNEON(n int, dst, even, odd []float32)
