//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run . -out ../gemm_amd64.s -stubs ../stubs_amd64.go -pkg kernel"

// cpuPaths returns the paths that this CPU and its operating system can run, the best one last.
func cpuPaths() []*path {
	avx2, avx512 := features()
	var have []*path
	if avx2 {
		have = append(have, &path{
			name: "avx2",
			f32:  &impl[float32]{mr: 6, nr: 16, tile: tileAVX2F32, row: rowAVX2F32, turn: turnF32, side: 8},
			f64:  &impl[float64]{mr: 6, nr: 8, tile: tileAVX2F64, row: rowAVX2F64, turn: turnF64, side: 4},
		})
	}
	if avx512 {
		have = append(have, &path{
			name: "avx512",
			f32:  &impl[float32]{mr: 8, nr: 32, tile: tileAVX512F32, row: rowAVX512F32, turn: turnF32, side: 8},
			f64:  &impl[float64]{mr: 8, nr: 16, tile: tileAVX512F64, row: rowAVX512F64, turn: turnF64, side: 4},
		})
	}
	return have
}

// features asks the CPU for AVX2 with FMA and for AVX-512F, and the operating system, by way of
// XCR0, whether it keeps their registers (Intel SDM vol. 1, 14.3 and 15.2).
func features() (avx2, avx512 bool) {
	if leaves, _, _, _ := cpuid(0, 0); leaves < 7 {
		return false, false
	}
	const fma, osxsave, avx = 1 << 12, 1 << 27, 1 << 28
	if _, _, c, _ := cpuid(1, 0); c&fma == 0 || c&osxsave == 0 || c&avx == 0 {
		return false, false
	}
	const ymmState, zmmState = 0x06, 0xe6
	xcr0 := xgetbv()
	_, b, _, _ := cpuid(7, 0)
	avx2 = b&(1<<5) != 0 && xcr0&ymmState == ymmState
	avx512 = avx2 && b&(1<<16) != 0 && xcr0&zmmState == zmmState
	return avx2, avx512
}
