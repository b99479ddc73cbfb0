package factorize

import (
	"fmt"

	"gonum.org/v1/gonum/mat"
)

// Kronecker is the sum Σ_r A[r] ⊗ B[r], cropped to the leading Rows×Cols block. Element (a·M2+b, i·N2+j) is
// Σ_r A[r](a,i)·B[r](b,j).
type Kronecker struct {
	Shape
	Rows, Cols int
	A          []*mat.Dense // M1×N1 each
	B          []*mat.Dense // M2×N2 each
}

// Terms returns the number of terms.
func (k *Kronecker) Terms() int { return len(k.A) }

// Params returns the numbers that the factors hold.
func (k *Kronecker) Params() int { return k.Shape.Params(len(k.A)) }

// Check returns an error unless all factors have the sizes of the shape, and the shape holds Rows×Cols.
func (k *Kronecker) Check() error {
	if err := k.check(k.Rows, k.Cols); err != nil {
		return err
	}
	if len(k.A) != len(k.B) || len(k.A) == 0 {
		return fmt.Errorf("kronecker sum: %d left and %d right factors, want as many and at least one", len(k.A), len(k.B))
	}
	for r := range k.A {
		if m, n := k.A[r].Dims(); m != k.M1 || n != k.N1 {
			return fmt.Errorf("kronecker sum: A[%d] is [%d %d], want [%d %d]", r, m, n, k.M1, k.N1)
		}
		if m, n := k.B[r].Dims(); m != k.M2 || n != k.N2 {
			return fmt.Errorf("kronecker sum: B[%d] is [%d %d], want [%d %d]", r, m, n, k.M2, k.N2)
		}
	}
	return nil
}

// Dense returns the sum as a Rows×Cols matrix.
func (k *Kronecker) Dense() *mat.Dense { return k.dense(nil) }

// dense is Dense with the product of the stacked factors on a worker pool.
func (k *Kronecker) dense(p *pool) *mat.Dense {
	re := mat.NewDense(k.M1*k.N1, k.M2*k.N2, nil)
	mul(p, of(re), of(k.stackA()).t(), of(k.stackB()), false)
	return unrearrange(p, re, k.Shape, k.Rows, k.Cols)
}

// stackA returns the R×(M1·N1) matrix whose row r is A[r] in row-major order.
func (k *Kronecker) stackA() *mat.Dense { return stack(k.A) }

// stackB returns the R×(M2·N2) matrix whose row r is B[r] in row-major order.
func (k *Kronecker) stackB() *mat.Dense { return stack(k.B) }

func stack(f []*mat.Dense) *mat.Dense {
	m, n := f[0].Dims()
	out := mat.NewDense(len(f), m*n, nil)
	for r, x := range f {
		mat.NewDense(m, n, out.RawRowView(r)).Copy(x)
	}
	return out
}

// unstack returns the rows of s, each as an m×n matrix that shares no memory with s.
func unstack(s *mat.Dense, m, n int) []*mat.Dense {
	out := make([]*mat.Dense, s.RawMatrix().Rows)
	for r := range out {
		out[r] = mat.NewDense(m, n, append([]float64(nil), s.RawRowView(r)...))
	}
	return out
}

// LowRank returns the factors of a sum of low-rank shape as one product U·V, U of Rows×R and V of R×Cols.
// It returns nil, nil for any other shape.
func (k *Kronecker) LowRank() (u, v *mat.Dense) {
	if !k.IsLowRank() {
		return nil, nil
	}
	u = mat.DenseCopyOf(k.stackA().T())
	return u, k.stackB()
}

// Mul returns the S×Rows matrix x·Ŵᵀ for samples in the rows of x, which is S×Cols. It is the plain definition,
// Y = Σ_r A_r X B_rᵀ for every sample, with the order of the loops left as it is written.
func (k *Kronecker) Mul(x *mat.Dense) (*mat.Dense, error) {
	samples, cols := x.Dims()
	if cols != k.Cols {
		return nil, fmt.Errorf("kronecker sum: input has %d columns, want %d", cols, k.Cols)
	}
	if err := k.Check(); err != nil {
		return nil, err
	}
	y := mat.NewDense(samples, k.Rows, nil)
	padded := make([]float64, k.N1*k.N2)
	var t, out mat.Dense
	for s := range samples {
		copy(padded, x.RawRowView(s))
		xs := mat.NewDense(k.N1, k.N2, padded)
		row := y.RawRowView(s)
		for r := range k.A {
			t.Reset()
			out.Reset()
			t.Mul(k.A[r], xs)
			out.Mul(&t, k.B[r].T())
			for i, v := range out.RawMatrix().Data[:k.Rows] {
				row[i] += v
			}
		}
	}
	return y, nil
}
