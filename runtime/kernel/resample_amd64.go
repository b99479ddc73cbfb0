//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run ./resample -out ../resample_amd64.s -stubs ../resample_stubs_amd64.go -pkg kernel"

// combineBlocks computes as many elements of Combine32 as whole blocks have, and returns their number. The last block
// ends where y does, if it has one.
func combineBlocks(y, x []float32, at []int, w []float32) int {
	n, rest := len(y), len(y)%16
	if n < 16 {
		return 0
	}
	switch active.Load().name {
	case "avx512":
		combineAVX512(n-rest, y, x, at, w)
		if rest != 0 {
			combineAVX512(16, y[n-16:], x[n-16:], at, w)
		}
	case "avx2":
		combineAVX2(n-rest, y, x, at, w)
		if rest != 0 {
			combineAVX2(16, y[n-16:], x[n-16:], at, w)
		}
	default:
		return 0
	}
	return n
}

// blocks likewise of Run.
func (s *Sampling32) blocks(y, x []float32) int {
	if len(s.base) == 0 || active.Load().name != "avx512" {
		return 0
	}
	sampleAVX512(len(s.base), s.taps, y, x, s.base, s.pick, s.weights)
	return 16 * len(s.base)
}

// pickLanes is how many elements pickRows picks at a time; 0: there is none.
func pickLanes() int {
	switch active.Load().name {
	case "avx512":
		return 16
	case "avx2":
		return 8
	}
	return 0
}

// pickRows is Picking32.Run for rows of a vector or more whose source has one.
func (s *Picking32) pickRows(rows, copies int, y []uint32, ys int, x []uint32, xs int) {
	if s.lanes == 16 {
		pickAVX512(len(s.at), rows, copies, y, ys, x, xs, s.base, s.pick)
	} else {
		pickAVX2(len(s.at), rows, copies, y, ys, x, xs, s.base, s.pick)
	}
}

// copyShort is CopyRows for rows of leastCopy bytes and more, and reports whether it has copied them.
func copyShort(rows, n int, dst []byte, ds int, src []byte, ss int) bool {
	if active.Load() == genericPath {
		return false
	}
	copyRowsAVX(rows, n, dst, ds, src, ss)
	return true
}
