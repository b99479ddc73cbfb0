//go:build !noasm

package kernel

import "math"

// The constants of functions_arm64.s, highest powers first; _asm/functions.go says what they are.
//
//nolint:unused // the assembly reads them
var (
	// neonExp is log₂e, ln 2 in two parts and what rounds to an integer, the series of eʳ down to r², then
	// where e^x rounds to 0 and to +Inf, and where eˣ − 1 rounds to -1.
	neonExp = [12]float32{1.44269504088896340736, 0.693359375, -2.12194440e-4, 3 << 22,
		0.0013814467, 0.008368781, 0.041668393, 0.1666652,
		0.49999994, -104, 89, -30}
	// neonTanh is the series, where it ends, and -2.
	neonTanh = [8]float32{-0.005895158, 0.020795971, -0.05378383, 0.13331924, -0.333333, 0.6, -2}
	// neonErf is the series of erf, where erf is 1 and where the series ends, then that of ln(1 − erf).
	neonErf = [16]float32{-0.00059537392, 0.00498594, -0.02676172, 0.112816825, -0.3761248, 0.12837915, 4, 0.93,
		0.0001982200, -0.0030654934, 0.022315225, -0.104113698, -0.63697606, -1.1277972, -0.0001664448}
	// neonGelu is the series of ln Φ(−t) + t²/2, where Φ is 0 and where the series ends, and -½.
	neonGelu = [16]float32{-1.6469865749e-10, 5.3489612739e-09, -7.7909611207e-08, 6.6809451482e-07,
		-3.6251437905e-06, 1.088769659e-05, 1.1871389688e-05, -0.00040624375,
		0.0032988347, -0.0194886345, 0.099548891, -0.52513528, -1.34102166, 14.5, 6, -0.5}
	// neonGeluTanh is 2√(2/π) times 0.044715 and times 1.
	neonGeluTanh = [4]float32{2 * 0.79788456080286535588 * 0.044715, 2 * 0.79788456080286535588}
	neonSwish    = [4]float32{1. / 6, 0.5}
	// neonLog is the series of ln(1+f), √½, the least normal number, 2²⁴, 24, ½, -Inf and NaN.
	neonLog = [16]float32{7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
		1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1,
		3.3333331174e-1, 0.70710677, 0x1p-126, 1 << 24, 24, 0.5, float32(math.Inf(-1)), float32(math.NaN())}
	// neonMish is where the function is x, and 2.
	neonMish = [4]float32{20, 2}
)

// unaryNEON are the functions with NEON, of the same bits as those with AVX2.
var unaryNEON = [functions]unary[float32]{
	Relu:        reluNEON,
	LeakyRelu:   leakyReluNEON,
	Clip:        clipNEON,
	HardSigmoid: hardSigmoidNEON,
	HardSwish:   hardSwishNEON,
	Exp:         expNEON,
	Sigmoid:     sigmoidNEON,
	Silu:        siluNEON,
	Tanh:        tanhNEON,
	Erf:         erfNEON,
	Gelu:        geluNEON,
	GeluTanh:    geluTanhNEON,
	Abs:         absNEON,
	Neg:         negNEON,
	Sign:        signNEON,
	Floor:       floorNEON,
	Ceil:        ceilNEON,
	Round:       roundNEON,
	Sqrt:        sqrtNEON,
	Reciprocal:  reciprocalNEON,
	Softsign:    softsignNEON,
	Threshold:   thresholdNEON,
	Elu:         eluNEON,
	Log:         logNEON,
	Log1p:       log1pNEON,
	Softplus:    softplusNEON,
	Mish:        mishNEON,
}

//go:noescape
func reluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func leakyReluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func clipNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func hardSigmoidNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func hardSwishNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func expNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func sigmoidNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func siluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func geluTanhNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func tanhNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func erfNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func geluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func absNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func negNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func signNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func floorNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func ceilNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func roundNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func sqrtNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func reciprocalNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func softsignNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func thresholdNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func eluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func logNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func log1pNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func softplusNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)

//go:noescape
func mishNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
