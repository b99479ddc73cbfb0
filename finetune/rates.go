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
// ("Tensor Programs V", arXiv 2203.03466), beside a dense weight whose own rate
// stays as it is. That falls with the width, too: beyond usualWidth, that of the
// nets for which the default rate is meant, factors take so much less. (One pair
// for each layer of 784-4096-4096-10, from nothing, Fashion-MNIST, five epochs:
// .892 with 16 times the rate, .876 with 64 times.)
func rates(slots []*slot) {
	for _, s := range slots {
		s.rate = 1
		g := s.Group
		if g == nil || s.x.Len() == 0 {
			continue
		}
		dense := float64(g.In) * float64(g.M1) * float64(g.M2)
		by := math.Sqrt(dense / float64(s.x.Len()))
		by *= min(1, usualWidth/math.Sqrt(dense))
		s.rate = min(max(1, by), maxRate)
	}
}

// usualWidth is the width, √(elements) of a dense weight, from which on rates
// fall.
const usualWidth = 1024

// maxRate bounds the factor of a learning rate.
const maxRate = 100
