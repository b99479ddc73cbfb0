//go:build !noasm

package kernel

var zipsNEON = [operations]zips{
	Plus:  {addNEON, addRightNEON, nil},
	Minus: {subNEON, subRightNEON, subLeftNEON},
	Times: {mulNEON, mulRightNEON, nil},
	Over:  {divNEON, divRightNEON, divLeftNEON},

	Minimum: {minNEON, minRightNEON, nil},
	Maximum: {maxNEON, maxRightNEON, nil},
	Slope:   {slopeNEON, slopeRightNEON, zipsGeneric[Slope].left},
}

//go:noescape
func addNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func addRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func mulNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func mulRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func subNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func subRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func subLeftNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func divNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func divRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func divLeftNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func minNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func minRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func maxNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func maxRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func slopeNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

//go:noescape
func slopeRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
