//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run . -norms -out ../norms_amd64.s -stubs ../norms_stubs_amd64.go -pkg kernel"

var (
	normsAVX2   = normKernels{momentsAVX2, affineAVX2}
	normsAVX512 = normKernels{momentsAVX512, affineAVX512}
)
