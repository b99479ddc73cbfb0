package factorize

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// choleskyBlock is the size up to which triangles are worked on element by element.
const choleskyBlock = 64

// triangle is a lower triangular Cholesky factor, and the inverses of its diagonal blocks, which turn the solves into
// matrix products.
type triangle struct {
	l   *mat.Dense // zero above the diagonal
	inv []*mat.Dense
}

// notPositive is the error of cholesky for a matrix that is not positive definite.
type notPositive struct {
	size, row int
	pivot     float64
}

func (e *notPositive) Error() string {
	return fmt.Sprintf("cholesky of a [%d %d] matrix: pivot %d is %g, the matrix is not positive definite",
		e.size, e.size, e.row, e.pivot)
}

// cholesky computes l·lᵀ = a, overwriting a; only a's lower triangle is read. The error is ctx's or *notPositive.
func cholesky(ctx context.Context, p *pool, a *mat.Dense) (*triangle, error) {
	n := a.RawMatrix().Rows
	t := &triangle{l: a}
	for j := 0; j < n; j += choleskyBlock {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		end := min(j+choleskyBlock, n)
		if j > 0 {
			subMul(p, of(a).block(j, n, j, end), of(a).block(j, n, 0, j), of(a).block(j, end, 0, j).t())
		}
		for r := j; r < end; r++ {
			row := a.RawRowView(r)
			for c := j; c <= r; c++ {
				other := a.RawRowView(c)
				s := row[c]
				for k := j; k < c; k++ {
					s -= row[k] * other[k]
				}
				if c < r {
					row[c] = s / other[c]
					continue
				}
				if !(s > 0) || math.IsInf(s, 1) {
					return nil, &notPositive{n, r, s}
				}
				row[c] = math.Sqrt(s)
			}
			clear(row[r+1:])
		}
		inv := invertLower(of(a).block(j, end, j, end))
		t.inv = append(t.inv, inv)
		if end < n {
			below := of(a).block(end, n, j, end)
			mul(p, below, of(copyOf(below)), of(inv).t(), false)
		}
	}
	return t, nil
}

// turnBlock is the side of the squares in which a transpose is copied, so that both sides stay in the cache.
const turnBlock = 32

// copyOf returns the matrix behind a view on memory of its own.
func copyOf(v view) *mat.Dense {
	m := mat.NewDense(v.rows, v.cols, nil)
	if v.cs == 1 {
		for i := range v.rows {
			copy(m.RawRowView(i), v.data[i*v.rs:])
		}
		return m
	}
	for i0 := 0; i0 < v.rows; i0 += turnBlock {
		for j0 := 0; j0 < v.cols; j0 += turnBlock {
			j1 := min(j0+turnBlock, v.cols)
			for i := i0; i < min(i0+turnBlock, v.rows); i++ {
				row := m.RawRowView(i)[j0:j1]
				for j := range row {
					row[j] = v.data[i*v.rs+(j0+j)*v.cs]
				}
			}
		}
	}
	return m
}

// subMul computes dst -= a·b.
func subMul(p *pool, dst, a, b view) {
	if a.rows < b.cols {
		m := copyOf(a)
		m.Scale(-1, m)
		a = of(m)
	} else {
		m := copyOf(b)
		m.Scale(-1, m)
		b = of(m)
	}
	mul(p, dst, a, b, true)
}

// invertLower returns the inverse of a small lower triangular matrix.
func invertLower(l view) *mat.Dense {
	inv := mat.NewDense(l.rows, l.rows, nil)
	for c := range l.rows {
		inv.Set(c, c, 1/l.data[c*l.rs+c])
		for r := c + 1; r < l.rows; r++ {
			s := 0.0
			for k := c; k < r; k++ {
				s += l.data[r*l.rs+k] * inv.At(k, c)
			}
			inv.Set(r, c, -s/l.data[r*l.rs+r])
		}
	}
	return inv
}

// solve overwrites b with l⁻¹·b.
func (t *triangle) solve(p *pool, b *mat.Dense) { t.forward(p, of(b), 0, len(t.inv)) }

// solveT overwrites b with l⁻ᵀ·b.
func (t *triangle) solveT(p *pool, b *mat.Dense) { t.backward(p, of(b), 0, len(t.inv)) }

// forward solves with the diagonal blocks [lo, hi), halving so that most of the work is in large products.
func (t *triangle) forward(p *pool, b view, lo, hi int) {
	if hi-lo == 1 {
		x := t.rows(b, lo, hi)
		mul(p, x, of(t.inv[lo]), of(copyOf(x)), false)
		return
	}
	mid := (lo + hi) / 2
	t.forward(p, b, lo, mid)
	subMul(p, t.rows(b, mid, hi), t.below(lo, mid, hi), t.rows(b, lo, mid))
	t.forward(p, b, mid, hi)
}

func (t *triangle) backward(p *pool, b view, lo, hi int) {
	if hi-lo == 1 {
		x := t.rows(b, lo, hi)
		mul(p, x, of(t.inv[lo]).t(), of(copyOf(x)), false)
		return
	}
	mid := (lo + hi) / 2
	t.backward(p, b, mid, hi)
	subMul(p, t.rows(b, lo, mid), t.below(lo, mid, hi).t(), t.rows(b, mid, hi))
	t.backward(p, b, lo, mid)
}

// rows returns the rows of b that belong to the diagonal blocks [lo, hi).
func (t *triangle) rows(b view, lo, hi int) view {
	return b.block(lo*choleskyBlock, min(hi*choleskyBlock, b.rows), 0, b.cols)
}

// below returns the part of l in the rows of blocks [mid, hi) and the columns of blocks [lo, mid).
func (t *triangle) below(lo, mid, hi int) view {
	n := t.l.RawMatrix().Rows
	return of(t.l).block(mid*choleskyBlock, min(hi*choleskyBlock, n), lo*choleskyBlock, mid*choleskyBlock)
}
