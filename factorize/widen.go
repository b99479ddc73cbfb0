package factorize

import (
	"fmt"

	"gonum.org/v1/gonum/mat"
)

// Widen returns one pair for a layer of s1·s2 times as many outputs, and its bias, as a start for a layer whose width
// may grow: the left factors of the first s1 terms of k stacked, and the right factors of the first s2 terms. Output
// (p·M1+a)·(s2·M2) + q·M2+b of the wide layer is then made by A_p and B_q and descends from output a·M2+b of the layer
// itself; those with p = q = 0 are the first term of k. The factors of all terms are scaled to the norms of the
// first's, so that all outputs are of one size, and the bias (the original one is bias, or nil) gives every output the
// mean of its ancestor. The layer after a widened one is fitted to moments of its own, with the wide activations as x̃.
//
// k must be a fit to these moments, with max(s1, s2) terms at least and without padded rows.
func (mo *Moments) Widen(k *Kronecker, bias []float64, s1, s2 int) (*Kronecker, []float64, error) {
	if err := k.Check(); err != nil {
		return nil, nil, err
	}
	m, n := mo.Dims()
	switch {
	case s1 < 1 || s2 < 1:
		return nil, nil, fmt.Errorf("widening by %d and %d: at least 1 is needed", s1, s2)
	case k.Terms() < max(s1, s2):
		return nil, nil, fmt.Errorf("widening by %d and %d takes %d terms, the sum has %d", s1, s2, max(s1, s2), k.Terms())
	case k.Rows != m || k.Cols != n || k.M1*k.M2 != m:
		return nil, nil, fmt.Errorf("widening a sum of shape %v for [%d %d], want [%d %d] without padded rows", k.Shape, k.Rows, k.Cols, m, n)
	case bias != nil && len(bias) != m:
		return nil, nil, fmt.Errorf("widening: bias has %d elements, want %d", len(bias), m)
	}
	s := Shape{s1 * k.M1, k.N1, s2 * k.M2, k.N2}
	wide := &Kronecker{
		Shape: s, Rows: s.M1 * s.M2, Cols: n,
		A: []*mat.Dense{stackScaled(k.A[:s1])}, B: []*mat.Dense{stackScaled(k.B[:s2])},
	}
	out := &Moments{Mean: mo.Mean, OutMean: make([]float64, wide.Rows)}
	tiled := make([]float64, wide.Rows)
	for row := range tiled {
		from := row/s.M2%k.M1*k.M2 + row%s.M2%k.M2
		out.OutMean[row] = mo.OutMean[from]
		if bias != nil {
			tiled[row] = bias[from]
		}
	}
	return wide, out.Bias(tiled, wide.Dense()), nil
}

// stackScaled puts matrices of one size below each other, all scaled to the norm of the first; zero ones stay zero.
func stackScaled(f []*mat.Dense) *mat.Dense {
	m, n := f[0].Dims()
	out := mat.NewDense(len(f)*m, n, nil)
	for p, x := range f {
		to := out.Slice(p*m, (p+1)*m, 0, n).(*mat.Dense)
		to.Copy(x)
		if norm := mat.Norm(x, 2); p > 0 && norm > 0 {
			to.Scale(mat.Norm(f[0], 2)/norm, to)
		}
	}
	return out
}
