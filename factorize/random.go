package factorize

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// Random returns a sum of terms of a shape for a rows×cols matrix whose elements are drawn so that those of the sum
// have mean 0 and the given variance: every product of a left and a right element has variance/terms, and left and
// right factors are of one size, so that none of them gets the larger gradients.
func Random(s Shape, terms, rows, cols int, variance float64, seed uint64) (*Kronecker, error) {
	if err := s.check(rows, cols); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0x72616e646f6d))
	each := math.Sqrt(variance / float64(max(1, terms)))
	ratio := math.Sqrt(float64(s.M2*s.N2) / float64(s.M1*s.N1))
	k := &Kronecker{Shape: s, Rows: rows, Cols: cols}
	for range max(1, terms) {
		k.A = append(k.A, normals(rng, s.M1, s.N1, math.Sqrt(each*ratio)))
		k.B = append(k.B, normals(rng, s.M2, s.N2, math.Sqrt(each/ratio)))
	}
	return k, nil
}

func normals(rng *rand.Rand, m, n int, deviation float64) *mat.Dense {
	out := make([]float64, m*n)
	for i := range out {
		out[i] = deviation * rng.NormFloat64()
	}
	return mat.NewDense(m, n, out)
}
