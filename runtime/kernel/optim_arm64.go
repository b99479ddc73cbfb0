//go:build !noasm

package kernel

// optimBlocks runs a loop over as many elements as whole blocks have, and returns their number.
func optimBlocks(kind int, v *[4][]float32, c *[10]float32) int {
	n := len(v[0]) &^ 15
	if n == 0 || active.Load() == genericPath {
		return 0
	}
	switch kind {
	case optimAdam:
		adamNEON(n, v[0], v[1], v[2], v[3], c)
	case optimSGD:
		sgdNEON(n, v[0], v[1], c)
	case optimMomentum:
		momentumNEON(n, v[0], v[1], v[2], c)
	case optimNesterov:
		nesterovNEON(n, v[0], v[1], v[2], c)
	case optimAxpy:
		axpyNEON(n, v[0], v[1], c)
	case optimBlend:
		blendNEON(n, v[0], v[1], c)
	default:
		return 0
	}
	return n
}

// squaresBlocks is optimBlocks for sums of squares.
func squaresBlocks(x []float32, sums *[16]float64) int {
	n := len(x) &^ 15
	if n == 0 || active.Load() == genericPath {
		return 0
	}
	squaresNEON(n, x, sums)
	return n
}

var one = [10]float32{1}

// biasBlocks is optimBlocks for the loops of biasRow.
func biasBlocks(kind int, a, b, c, d []float32) int {
	n := len(a) &^ 15
	if n == 0 || active.Load() == genericPath {
		return 0
	}
	switch kind {
	case biasPlain:
		biasNEON(n, a, b, c)
	case biasRelu:
		biasReluNEON(n, a, b, c)
	case biasGate:
		gateNEON(n, a, b, c)
	case biasGateAdd:
		gateAddNEON(n, a, b, c)
	case biasGateSum:
		gateSumNEON(n, a, b, c, d)
	case biasSum:
		axpyNEON(n, a, b, &one)
	default:
		return 0
	}
	return n
}

//go:noescape
func adamNEON(n int, w, dw, m, s []float32, c *[10]float32)

//go:noescape
func sgdNEON(n int, w, dw []float32, c *[10]float32)

//go:noescape
func momentumNEON(n int, w, dw, m []float32, c *[10]float32)

//go:noescape
func nesterovNEON(n int, w, dw, m []float32, c *[10]float32)

//go:noescape
func axpyNEON(n int, y, x []float32, c *[10]float32)

//go:noescape
func blendNEON(n int, y, x []float32, c *[10]float32)

//go:noescape
func squaresNEON(n int, x []float32, sums *[16]float64)

//go:noescape
func biasNEON(n int, y, x, b []float32)

//go:noescape
func biasReluNEON(n int, y, x, b []float32)

//go:noescape
func gateNEON(n int, dx, dy, y []float32)

//go:noescape
func gateAddNEON(n int, dx, dy, y []float32)

//go:noescape
func gateSumNEON(n int, dx, dy, y, db []float32)
