package finetune

import (
	"math"

	"bilinc/runtime/tensor"
)

// rates sets what the learning rate of each weight is multiplied by.
//
// Adam moves every element by about the rate, however large the gradient is. In
// a dense W that moves the layer by ΔW of that size. In Ŵ = Σ_r A_r ⊗ B_r, of R
// terms, a step of all elements of A moves each of Ŵ's by a sum of R products
// with elements of B: by rms(B)·√R times the rate. So the rate of A is divided
// by that, and that of B by rms(A)·√R: one rate moves all layers alike. A single
// balanced pair has large elements, rms(A)·rms(B) = rms(Ŵ), and with a rms(Ŵ) of
// 0.03 takes about 6 times the rate; low rank takes about 2 times.
func rates(slots []*slot) {
	rms := map[*Group]map[byte]float64{}
	for _, s := range slots {
		s.rate = 1
		if s.Group == nil {
			continue
		}
		if rms[s.Group] == nil {
			rms[s.Group] = map[byte]float64{}
		}
		rms[s.Group][s.Side] = rootMeanSquare(s.x)
	}
	for _, s := range slots {
		if s.Group == nil {
			continue
		}
		other, ok := rms[s.Group]['A'+'B'-s.Side]
		if r := other * math.Sqrt(float64(s.Group.Terms)); ok && r > 0 {
			s.rate = min(1/r, maxRate)
		}
	}
}

// maxRate bounds the factor of a learning rate.
const maxRate = 100

func rootMeanSquare(t *tensor.Tensor) float64 {
	return math.Sqrt(sumOfSquares(nil, t) / float64(max(1, t.Len())))
}
