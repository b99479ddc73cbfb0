//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run ./bytes -out ../bytes_amd64.s -stubs ../bytes_stubs_amd64.go -pkg kernel"

// byteTiles is by how many rows they have, less one; nil where the CPU has no instruction for them.
var byteTiles = func() []byteTile {
	const bw, vnni = 1 << 30, 1 << 11
	if _, avx512 := features(); !avx512 {
		return nil
	}
	if _, b, c, _ := cpuid(7, 0); b&bw == 0 || c&vnni == 0 {
		return nil
	}
	return []byteTile{byteTile1, byteTile2, byteTile3, byteTile4, byteTile5, byteTile6}
}()

// byteKernels is the byteTiles of the path in use.
func byteKernels() []byteTile {
	if active.Load().name != "avx512" {
		return nil
	}
	return byteTiles
}
