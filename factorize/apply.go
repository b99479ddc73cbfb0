package factorize

import (
	"gonum.org/v1/gonum/mat"
)

// applyCost is the multiplications of (Σ A_r ⊗ B_r)·x for an x of n columns, without what building the sum takes, and
// how: whether factor by factor, and then whether with B first.
func (s Shape) applyCost(terms, m, rows, n int) (cost float64, factored, bFirst bool) {
	dense := float64(m) * float64(rows) * float64(n)
	if s.Pads(m, rows) {
		return dense, false, false
	}
	inner, macs := s.M1*s.N2, s.M1*s.N2*(s.N1+s.M2)
	if other := s.N1 * s.M2 * (s.N2 + s.M1); other < macs {
		inner, macs, bFirst = s.N1*s.M2, other, true
	}
	// The intermediate result, inner·terms rows, shall not be larger than the sum itself.
	if cost = float64(terms) * float64(macs) * float64(n); cost < dense && inner*terms <= m {
		return cost, true, bFirst
	}
	return dense, false, false
}

// addProduct computes out += sign·Ŵ·x, where Ŵ is the m×rows Kronecker sum of the stacked factors a and b and x is
// rows×n, in the cheapest order. out must be contiguous.
func addProduct(p *pool, out *mat.Dense, sign float64, s Shape, a, b, x *mat.Dense) {
	terms := a.RawMatrix().Rows
	m, n := out.Dims()
	rows := x.RawMatrix().Rows
	_, factored, bFirst := s.applyCost(terms, m, rows, n)
	switch {
	case !factored:
		w := unrearrange(p, product(p, of(a).t(), of(b)), s, m, rows)
		w.Scale(sign, w)
		mul(p, of(out), of(w), of(x), true)
	case bFirst:
		// (A ⊗ I)(I ⊗ B): T[(i, r, b), :] = Σ_j B_r[b, j]·x[(i, j), :], then out[(a, b), :] += Σ_{i,r} A_r[a, i]·T.
		t := mat.NewDense(s.N1*terms*s.M2, n, nil)
		tall := view{rowsOf(b), terms * s.M2, s.N2, s.N2, 1}
		for i := range s.N1 {
			mul(p, of(t).block(i*terms*s.M2, (i+1)*terms*s.M2, 0, n), tall, of(x).block(i*s.N2, (i+1)*s.N2, 0, n), false)
		}
		wide := mat.NewDense(s.M1, s.N1*terms, nil)
		for r := range terms {
			for i, v := range a.RawRowView(r) {
				wide.Set(i/s.N1, i%s.N1*terms+r, sign*v)
			}
		}
		o := out.RawMatrix()
		mul(p, view{o.Data, s.M1, s.M2 * n, s.M2 * n, 1}, of(wide), view{t.RawMatrix().Data, s.N1 * terms, s.M2 * n, s.M2 * n, 1}, true)
	default:
		// (I ⊗ B)(A ⊗ I): T[(a, r, j), :] = Σ_i A_r[a, i]·x[(i, j), :], then out[(a, b), :] += Σ_{r,j} B_r[b, j]·T.
		tall := mat.NewDense(s.M1*terms, s.N1, nil)
		for r := range terms {
			for i := range s.M1 {
				copy(tall.RawRowView(i*terms+r), a.RawRowView(r)[i*s.N1:])
			}
		}
		t := product(p, of(tall), view{rowsOf(x), s.N1, s.N2 * n, s.N2 * n, 1})
		t = mat.NewDense(s.M1*terms*s.N2, n, t.RawMatrix().Data)
		wide := mat.DenseCopyOf(abreast(b, s.N2)) // (b) × (r, j)
		wide.Scale(sign, wide)
		for i := range s.M1 {
			mul(p, of(out).block(i*s.M2, (i+1)*s.M2, 0, n), of(wide), of(t).block(i*terms*s.N2, (i+1)*terms*s.N2, 0, n), true)
		}
	}
}

// rowsOf returns the numbers of m in one slice; m must be contiguous or is copied.
func rowsOf(m *mat.Dense) []float64 {
	if r := m.RawMatrix(); r.Stride != r.Cols {
		m = mat.DenseCopyOf(m)
	}
	return m.RawMatrix().Data
}

// timesC returns Ŵ C.
func timesC(p *pool, k *Kronecker, mo *Moments) *mat.Dense {
	out := mat.NewDense(k.Rows, k.Cols, nil)
	addProduct(p, out, 1, k.Shape, k.stackA(), k.stackB(), mo.C)
	return out
}

// lossOf returns the undamped loss of a Kronecker sum on any moments of its size.
func lossOf(p *pool, mo *Moments, k *Kronecker) float64 {
	w := k.dense(p)
	return mo.Energy - 2*dot(w, mo.G) + dot(timesC(p, k, mo), w)
}
