//go:build !noasm

package kernel

var rowsNEON = rowKernels{softmaxNEON, layerNormNEON}

// neonMask has the mask of the first n lanes of sixteen at 16-n.
//
//nolint:unused // the assembly reads it
var neonMask = [32]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

//go:noescape
func softmaxNEON(m, n int, y []float32, ys int, x []float32, xs int)

//go:noescape
func layerNormNEON(m, n int, y []float32, ys int, x []float32, xs int, scale, bias []float32, epsilon float64, stats []float64)
