package op

import "math"

// rows is the loops over float32 of those operators without attributes whose
// time counts.
var rows = map[string]func(y, x []float32){
	"Exp": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(expFast(float64(v)))
		}
	},
	"Sigmoid": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(sigmoidFast(float64(v)))
		}
	},
	"Tanh": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(tanhFast(float64(v)))
		}
	},
	"Erf": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(erfFast(float64(v)))
		}
	},
	"Sqrt": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(math.Sqrt(float64(v)))
		}
	},
	"Reciprocal": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = 1 / v
		}
	},
	"Neg": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = -v
		}
	},
	"Abs": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = float32(math.Abs(float64(v)))
		}
	},
	"HardSwish": func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = v * max(0, min(1, v/6+0.5))
		}
	},
}

func hardSigmoidRow(y, x []float32, alpha, beta float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = max(0, min(1, alpha*v+beta))
	}
}

func leakyRow(y, x []float32, alpha float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = v * [2]float32{1, alpha}[math.Float32bits(v)>>31] // by the sign, without a branch
	}
}

func geluRow(y, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		w := float64(v)
		y[i] = float32(0.5 * w * (1 + erfFast(w*(1/math.Sqrt2))))
	}
}

func geluTanhRow(y, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		w := float64(v)
		y[i] = float32(0.5 * w * (1 + tanhFast(math.Sqrt2/math.SqrtPi*(w+0.044715*w*w*w))))
	}
}
