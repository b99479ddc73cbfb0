//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run ./optim -out ../optim_amd64.s -stubs ../optim_stubs_amd64.go -pkg kernel"

// optimBlocks runs a loop over as many elements as whole blocks have, and returns their number.
func optimBlocks(kind int, v *[4][]float32, c *[10]float32) int {
	n := len(v[0]) &^ 15
	if n == 0 {
		return 0
	}
	path := active.Load().name
	switch {
	case path == "avx512" && kind == optimAdam:
		adamAVX512(n, v[0], v[1], v[2], v[3], c)
	case path == "avx512" && kind == optimSGD:
		sgdAVX512(n, v[0], v[1], c)
	case path == "avx512" && kind == optimMomentum:
		momentumAVX512(n, v[0], v[1], v[2], c)
	case path == "avx512" && kind == optimNesterov:
		nesterovAVX512(n, v[0], v[1], v[2], c)
	case path == "avx512" && kind == optimAxpy:
		axpyAVX512(n, v[0], v[1], c)
	case path == "avx512" && kind == optimBlend:
		blendAVX512(n, v[0], v[1], c)
	case path == "avx2" && kind == optimAdam:
		adamAVX2(n, v[0], v[1], v[2], v[3], c)
	case path == "avx2" && kind == optimSGD:
		sgdAVX2(n, v[0], v[1], c)
	case path == "avx2" && kind == optimMomentum:
		momentumAVX2(n, v[0], v[1], v[2], c)
	case path == "avx2" && kind == optimNesterov:
		nesterovAVX2(n, v[0], v[1], v[2], c)
	case path == "avx2" && kind == optimAxpy:
		axpyAVX2(n, v[0], v[1], c)
	case path == "avx2" && kind == optimBlend:
		blendAVX2(n, v[0], v[1], c)
	default:
		return 0
	}
	return n
}

// squaresBlocks is optimBlocks for sums of squares.
func squaresBlocks(x []float32, sums *[16]float64) int {
	n := len(x) &^ 15
	if n == 0 {
		return 0
	}
	switch active.Load().name {
	case "avx512":
		squaresAVX512(n, x, sums)
	case "avx2":
		squaresAVX2(n, x, sums)
	default:
		return 0
	}
	return n
}

var one = [10]float32{1}

// biasBlocks is optimBlocks for the loops of biasRow.
func biasBlocks(kind int, a, b, c, d []float32) int {
	n := len(a) &^ 15
	if n == 0 {
		return 0
	}
	path := active.Load().name
	switch {
	case path == "avx512" && kind == biasPlain:
		biasAVX512(n, a, b, c)
	case path == "avx512" && kind == biasRelu:
		biasReluAVX512(n, a, b, c)
	case path == "avx512" && kind == biasGate:
		gateAVX512(n, a, b, c)
	case path == "avx512" && kind == biasGateAdd:
		gateAddAVX512(n, a, b, c)
	case path == "avx512" && kind == biasGateSum:
		gateSumAVX512(n, a, b, c, d)
	case path == "avx512" && kind == biasSum:
		axpyAVX512(n, a, b, &one)
	case path == "avx2" && kind == biasPlain:
		biasAVX2(n, a, b, c)
	case path == "avx2" && kind == biasRelu:
		biasReluAVX2(n, a, b, c)
	case path == "avx2" && kind == biasGate:
		gateAVX2(n, a, b, c)
	case path == "avx2" && kind == biasGateAdd:
		gateAddAVX2(n, a, b, c)
	case path == "avx2" && kind == biasGateSum:
		gateSumAVX2(n, a, b, c, d)
	case path == "avx2" && kind == biasSum:
		axpyAVX2(n, a, b, &one)
	default:
		return 0
	}
	return n
}
