package factorize

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	// orthogonality is how far QᵀQ may be from the identity, per element.
	orthogonality = 1e-13
	// orthoPasses bounds the passes of orthonormalise; two are usual, four the most seen.
	orthoPasses = 8
)

// orthonormalise returns a matrix with orthonormal columns that span those of y and are orthogonal to the columns of
// every block in against. Columns of y that are zero are dropped, so the result may be narrower, or nil. It
// overwrites y.
//
// Each pass projects the earlier blocks out and multiplies y by the inverse square root of its Gram matrix, scaled
// to unit diagonal and with eigenvalues below the rounding level raised to it; all work is in matrix products. A badly
// conditioned y takes more passes. (A. Stathopoulos and K. Wu, "A block orthogonalization procedure with constant
// synchronization requirements", 2002.)
func orthonormalise(ctx context.Context, p *pool, y *mat.Dense, against []*mat.Dense) (*mat.Dense, error) {
	for pass := range orthoPasses {
		for range 1 + min(pass, 1) { // one projection is enough before the first scaling
			for _, v := range against {
				coef := product(p, of(v).t(), of(y))
				coef.Scale(-1, coef)
				mul(p, of(y), of(v), of(coef), true)
			}
		}
		if y = dropZeroColumns(y); y == nil {
			return nil, nil
		}
		g := product(p, of(y).t(), of(y))
		if pass > 0 && isIdentity(g) {
			return y, nil
		}
		b := g.RawMatrix().Rows
		scale := make([]float64, b)
		for i := range scale {
			scale[i] = 1 / math.Sqrt(g.At(i, i))
		}
		for i := range b {
			row := g.RawRowView(i)
			for j := range row {
				row[j] *= scale[i] * scale[j]
			}
		}
		values, z, err := symEigen(ctx, g, true)
		if err != nil {
			return nil, err
		}
		floor := values[0] * float64(b) * 0x1p-52
		for i := range b {
			row := z.RawRowView(i)
			for j := range row {
				row[j] *= scale[i] / math.Sqrt(max(values[j], floor))
			}
		}
		y = product(p, of(y), of(z))
	}
	return y, nil
}

// dropZeroColumns returns y without the columns that are zero or too small for their squares to be numbers.
func dropZeroColumns(y *mat.Dense) *mat.Dense {
	n, b := y.Dims()
	norm2 := make([]float64, b)
	for i := range n {
		for j, v := range y.RawRowView(i) {
			norm2[j] += v * v
		}
	}
	keep := make([]int, 0, b)
	for j, v := range norm2 {
		if v > 0x1p-1000 {
			keep = append(keep, j)
		}
	}
	switch len(keep) {
	case b:
		return y
	case 0:
		return nil
	}
	out := mat.NewDense(n, len(keep), nil)
	for i := range n {
		from, to := y.RawRowView(i), out.RawRowView(i)
		for k, j := range keep {
			to[k] = from[j]
		}
	}
	return out
}

func isIdentity(g *mat.Dense) bool {
	for i := range g.RawMatrix().Rows {
		for j, v := range g.RawRowView(i) {
			if i == j {
				v--
			}
			if math.Abs(v) > orthogonality {
				return false
			}
		}
	}
	return true
}
