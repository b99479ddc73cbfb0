package factorize

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/kernel"
)

// pool is short for the workers that products run on; nil means the caller alone.
type pool = kernel.Pool

// view is a matrix on someone else's memory: element (i, j) is data[i·rs + j·cs].
type view struct {
	data       []float64
	rows, cols int
	rs, cs     int
}

func of(m *mat.Dense) view {
	r := m.RawMatrix()
	return view{r.Data, r.Rows, r.Cols, r.Stride, 1}
}

// t returns the transpose, on the same memory.
func (v view) t() view { return view{v.data, v.cols, v.rows, v.cs, v.rs} }

// block returns rows [r0, r1) and columns [c0, c1).
func (v view) block(r0, r1, c0, c1 int) view {
	return view{v.data[r0*v.rs+c0*v.cs:], r1 - r0, c1 - c0, v.rs, v.cs}
}

// cols returns the first k columns of m, on the same memory.
func cols(m *mat.Dense, k int) *mat.Dense {
	return m.Slice(0, m.RawMatrix().Rows, 0, k).(*mat.Dense)
}

// mul computes dst = a·b, or dst += a·b. The rows of dst must be contiguous.
func mul(p *pool, dst, a, b view, add bool) {
	if a.cols != b.rows || dst.rows != a.rows || dst.cols != b.cols || dst.cs != 1 {
		panic(fmt.Sprintf("factorize: product [%d %d]·[%d %d] into [%d %d]", a.rows, a.cols, b.rows, b.cols, dst.rows, dst.cols))
	}
	if dst.rows == 0 || dst.cols == 0 {
		return
	}
	kernel.Gemm64(p, a.rows, b.cols, a.cols, a.data, a.rs, a.cs, b.data, b.rs, b.cs, dst.data, dst.rs, add)
}

// product returns a·b as a new matrix.
func product(p *pool, a, b view) *mat.Dense {
	dst := mat.NewDense(a.rows, b.cols, nil)
	mul(p, of(dst), a, b, false)
	return dst
}

// dot is the inner product of two matrices of the same size, summed row by row.
func dot(a, b *mat.Dense) float64 {
	sum := 0.0
	for i := range a.RawMatrix().Rows {
		ra, rb := a.RawRowView(i), b.RawRowView(i)
		row := 0.0
		for j, v := range ra {
			row += v * rb[j]
		}
		sum += row
	}
	return sum
}

// addScaled adds s·x to dst.
func addScaled(dst *mat.Dense, s float64, x *mat.Dense) {
	for i := range dst.RawMatrix().Rows {
		rd, rx := dst.RawRowView(i), x.RawRowView(i)
		for j, v := range rx {
			rd[j] += s * v
		}
	}
}

// trace returns the sum of the diagonal of a square matrix.
func trace(m *mat.Dense) float64 {
	sum := 0.0
	for i := range m.RawMatrix().Rows {
		sum += m.At(i, i)
	}
	return sum
}

// checkFinite returns an error that names the first element of m that is NaN or infinite.
func checkFinite(name string, m *mat.Dense) error {
	for i := range m.RawMatrix().Rows {
		for j, v := range m.RawRowView(i) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				r, c := m.Dims()
				return fmt.Errorf("%s[%d %d]: element (%d, %d) is %v", name, r, c, i, j, v)
			}
		}
	}
	return nil
}

// maxAbs returns the largest absolute value in m.
func maxAbs(m *mat.Dense) float64 {
	most := 0.0
	for i := range m.RawMatrix().Rows {
		for _, v := range m.RawRowView(i) {
			most = max(most, math.Abs(v))
		}
	}
	return most
}

// symmetrise replaces the square matrix m by (m + mᵀ)/2.
func symmetrise(m *mat.Dense) {
	r := m.RawMatrix()
	for i0 := 0; i0 < r.Rows; i0 += turnBlock {
		for j0 := 0; j0 <= i0; j0 += turnBlock {
			for i := i0; i < min(i0+turnBlock, r.Rows); i++ {
				for j := j0; j < min(j0+turnBlock, i); j++ {
					v := (r.Data[i*r.Stride+j] + r.Data[j*r.Stride+i]) / 2
					r.Data[i*r.Stride+j], r.Data[j*r.Stride+i] = v, v
				}
			}
		}
	}
}

// symEigen returns the eigenvalues of a symmetric matrix, largest first, and the eigenvectors in the columns of z;
// z is nil unless vectors are wanted.
func symEigen(ctx context.Context, g *mat.Dense, vectors bool) (values []float64, z *mat.Dense, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	symmetrise(g)
	n := g.RawMatrix().Rows
	var e mat.EigenSym
	if !e.Factorize(mat.NewSymDense(n, g.RawMatrix().Data), vectors) {
		return nil, nil, fmt.Errorf("eigenvalues of a symmetric [%d %d] matrix: no convergence", n, n)
	}
	values = e.Values(nil)
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		values[i], values[j] = values[j], values[i]
	}
	if !vectors {
		return values, nil, nil
	}
	var asc mat.Dense
	e.VectorsTo(&asc)
	z = mat.NewDense(n, n, nil)
	for i := range n {
		from, to := asc.RawRowView(i), z.RawRowView(i)
		for j, v := range from {
			to[n-1-j] = v
		}
	}
	return values, z, nil
}
