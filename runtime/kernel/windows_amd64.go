//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run . -windows -out ../windows_amd64.s -stubs ../windows_stubs_amd64.go -pkg kernel"

var windowsAVX2 = windowKernels{
	largest: [2]func(m, n int, y []float32, ys int, x []float32, xs int, at []int){largestAVX2, largestSecondAVX2},
	columns: columnsAVX2,
	means:   [2]func(m, n int, y []float32, ys int, x []float64, xs int, at []int, w []float64){meansAVX2, meansSecondAVX2},
	row:     largestOfRowAVX2,
}

var windowsAVX512 = windowKernels{
	largest: [2]func(m, n int, y []float32, ys int, x []float32, xs int, at []int){largestAVX512, largestSecondAVX512},
	columns: columnsAVX512,
	means:   [2]func(m, n int, y []float32, ys int, x []float64, xs int, at []int, w []float64){meansAVX512, meansSecondAVX512},
	row:     largestOfRowAVX512,
}
