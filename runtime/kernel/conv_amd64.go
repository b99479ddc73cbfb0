//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run ./conv -out ../conv_amd64.s -stubs ../conv_stubs_amd64.go -pkg kernel"

// The kernels by window (3, 5), step along x and step along y, less one.
var (
	depthsAVX2 = [2][2][2]depth{
		{{depth3x11AVX2, depth3x12AVX2}, {depth3x21AVX2, depth3x22AVX2}},
		{{depth5x11AVX2, depth5x12AVX2}, {depth5x21AVX2, depth5x22AVX2}},
	}
	depthsAVX512 = [2][2][2]depth{
		{{depth3x11AVX512, depth3x12AVX512}, {depth3x21AVX512, depth3x22AVX512}},
		{{depth5x11AVX512, depth5x12AVX512}, {depth5x21AVX512, depth5x22AVX512}},
	}
)

// depthKernel is the kernel of a path for windows of k×k, 3 or 5, in steps of 1 or 2.
func depthKernel(p *path, k, sx, sy int) depth {
	switch p.name {
	case "avx2":
		return depthsAVX2[k/2-1][sx-1][sy-1]
	case "avx512":
		return depthsAVX512[k/2-1][sx-1][sy-1]
	}
	return nil
}

// halves parts the elements of src at even places from those at odd ones, with vectors as far as
// they reach, and returns how many pairs that was.
func halves(even, odd, src []float32) int {
	n := len(src) / 2 &^ 7
	if n == 0 || active.Load() == genericPath {
		return 0
	}
	halvesF32(n, even, odd, src)
	return n
}

// joined puts elements of even and odd in turn, with vectors as far as they reach, and returns how
// many pairs that was.
func joined(dst, even, odd []float32) int {
	n := len(even) &^ 7
	if n == 0 || active.Load() == genericPath {
		return 0
	}
	joinedF32(n, dst, even, odd)
	return n
}
