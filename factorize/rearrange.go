package factorize

import (
	"gonum.org/v1/gonum/mat"
)

// rearrange returns the (M1·N1)×(M2·N2) matrix whose row (a, i) is the block of w at block row a and block column
// i, so that A ⊗ B becomes the outer product of A and B as vectors. Elements outside w are zero.
func rearrange(p *pool, w *mat.Dense, s Shape) *mat.Dense {
	out := mat.NewDense(s.M1*s.N1, s.M2*s.N2, nil)
	moveBlocks(p, w, out, s, func(inW, inOut []float64) { copy(inOut, inW) })
	return out
}

// unrearrange is the inverse of rearrange, cropped to m rows and n columns.
func unrearrange(p *pool, re *mat.Dense, s Shape, m, n int) *mat.Dense {
	w := mat.NewDense(m, n, nil)
	moveBlocks(p, w, re, s, func(inW, inRe []float64) { copy(inW, inRe) })
	return w
}

// moveBlocks calls move for every run of elements that lies together both in w and in its rearrangement: the part
// of one row of w inside one block column.
func moveBlocks(p *pool, w, re *mat.Dense, s Shape, move func(inW, inRe []float64)) {
	m, n := w.Dims()
	p.For(m, 64, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			a, b := row/s.M2, row%s.M2
			from := w.RawRowView(row)
			for i := 0; i*s.N2 < n; i++ {
				end := min((i+1)*s.N2, n)
				to := re.RawRowView(a*s.N1 + i)[b*s.N2 : b*s.N2+end-i*s.N2]
				move(from[i*s.N2:end], to)
			}
		}
	})
}
