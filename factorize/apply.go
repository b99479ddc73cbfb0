package factorize

import (
	"gonum.org/v1/gonum/mat"
)

// factoredCost is how many times longer a multiplication takes in the thin products of factors than in a large one.
const factoredCost = 1.5

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
	// The intermediate result of a term, of inner rows, shall not be larger than the sum itself.
	if cost = factoredCost * float64(terms) * float64(macs) * float64(n); cost < dense && inner <= m {
		return cost, true, bFirst
	}
	return dense, false, false
}

// A workspace keeps the memory of intermediate results for the next call. nil keeps none.
type workspace struct{ first, second []float64 }

// matrix returns a matrix of any contents on memory of the workspace.
func (w *workspace) matrix(which func(*workspace) *[]float64, rows, cols int) *mat.Dense {
	if w == nil {
		return mat.NewDense(rows, cols, nil)
	}
	keep := which(w)
	if len(*keep) < rows*cols {
		*keep = make([]float64, rows*cols)
	}
	return mat.NewDense(rows, cols, (*keep)[:rows*cols])
}

func first(w *workspace) *[]float64  { return &w.first }
func second(w *workspace) *[]float64 { return &w.second }

// addProduct computes out += sign·Ŵ·x, where Ŵ is the m×rows Kronecker sum of the stacked factors a and b and x is
// rows×n, in the cheapest order. out must be contiguous. ws may be nil.
func addProduct(p *pool, out *mat.Dense, sign float64, s Shape, a, b, x *mat.Dense, ws *workspace) {
	terms := a.RawMatrix().Rows
	m, n := out.Dims()
	rows := x.RawMatrix().Rows
	_, factored, bFirst := s.applyCost(terms, m, rows, n)
	if !factored {
		re := ws.matrix(first, s.M1*s.N1, s.M2*s.N2)
		mul(p, of(re), of(a).t(), of(b), false)
		w := ws.matrix(second, m, rows)
		moveBlocks(p, w, re, s, func(inW, inRe []float64) {
			for i, v := range inRe {
				inW[i] = sign * v
			}
		})
		mul(p, of(out), of(w), of(x), true)
		return
	}
	inner := s.M1 * s.N2
	if bFirst {
		inner = s.N1 * s.M2
	}
	group := max(1, m/inner)
	for lo := 0; lo < terms; lo += group {
		hi := min(lo+group, terms)
		fa := a.Slice(lo, hi, 0, s.M1*s.N1).(*mat.Dense)
		fb := b.Slice(lo, hi, 0, s.M2*s.N2).(*mat.Dense)
		if bFirst {
			addBFirst(p, out, sign, s, fa, fb, x, ws)
		} else {
			addAFirst(p, out, sign, s, fa, fb, x, ws)
		}
	}
}

// addBFirst is addProduct as (A ⊗ I)(I ⊗ B): T[(i, r, b), :] = Σ_j B_r[b, j]·x[(i, j), :], then
// out[(a, b), :] += Σ_{i,r} A_r[a, i]·T.
func addBFirst(p *pool, out *mat.Dense, sign float64, s Shape, a, b, x *mat.Dense, ws *workspace) {
	terms := a.RawMatrix().Rows
	_, n := out.Dims()
	t := ws.matrix(first, s.N1*terms*s.M2, n)
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
}

// addAFirst is addProduct as (I ⊗ B)(A ⊗ I): T[(a, r, j), :] = Σ_i A_r[a, i]·x[(i, j), :], then
// out[(a, b), :] += Σ_{r,j} B_r[b, j]·T.
func addAFirst(p *pool, out *mat.Dense, sign float64, s Shape, a, b, x *mat.Dense, ws *workspace) {
	terms := a.RawMatrix().Rows
	_, n := out.Dims()
	tall := mat.NewDense(s.M1*terms, s.N1, nil)
	for r := range terms {
		for i := range s.M1 {
			copy(tall.RawRowView(i*terms+r), a.RawRowView(r)[i*s.N1:])
		}
	}
	t := ws.matrix(first, s.M1*terms*s.N2, n)
	mul(p, view{t.RawMatrix().Data, s.M1 * terms, s.N2 * n, s.N2 * n, 1}, of(tall), view{rowsOf(x), s.N1, s.N2 * n, s.N2 * n, 1}, false)
	wide := abreast(b, s.N2) // (b) × (r, j)
	wide.Scale(sign, wide)
	for i := range s.M1 {
		mul(p, of(out).block(i*s.M2, (i+1)*s.M2, 0, n), of(wide), of(t).block(i*terms*s.N2, (i+1)*terms*s.N2, 0, n), true)
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
	addProduct(p, out, 1, k.Shape, k.stackA(), k.stackB(), mo.C, nil)
	return out
}

// lossOf returns the undamped loss of a Kronecker sum on any moments of its size.
func lossOf(p *pool, mo *Moments, k *Kronecker) float64 {
	w := k.dense(p)
	return mo.Energy - 2*dot(w, mo.G) + dot(timesC(p, k, mo), w)
}
