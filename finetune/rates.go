package finetune

import "math"

// rates sets what the learning rate of each weight is multiplied by: √(n/k) for
// a factor of k elements that stands, with the other one, for n elements of a
// dense weight.
//
// Adam moves every element by about the rate, however large the gradient is, so
// a weight of n elements by √n times the rate in all. Factors have far fewer
// elements, each of them shared by many of the dense weight's: with the same
// rate they would get nowhere in the same number of steps. This rule lets every
// factor move as far in all as the dense weight would. A balanced pair for
// 1024×1024 takes 32 times the rate, four of them 16 times, rank 27 about 6.
// For a pair of square factors that is the rate by fan-in of G. Yang et al.
// ("Tensor Programs V", arXiv 2203.03466).
func rates(slots []*slot) {
	for _, s := range slots {
		s.rate = 1
		g := s.Group
		if g == nil || s.x.Len() == 0 {
			continue
		}
		dense := float64(g.In) * float64(g.M1) * float64(g.M2)
		s.rate = min(max(1, math.Sqrt(dense/float64(s.x.Len()))), maxRate)
	}
}

// maxRate bounds the factor of a learning rate.
const maxRate = 100
