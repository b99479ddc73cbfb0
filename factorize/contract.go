package factorize

import (
	"gonum.org/v1/gonum/mat"
)

// problem is the fit of one layer in one shape: its moments, rearranged so that every contraction with factors is a
// matrix product.
type problem struct {
	Shape
	m, n   int
	pool   *pool
	lambda float64
	cov    []float64 // C as it is, row by row
	// c is (N1·N1)×(N2·N2): row (i, k), column (j, l) holds C[i·N2+j, k·N2+l], damping included.
	c *mat.Dense
	// g is (M1·N1)×(M2·N2): row (a, i), column (b, j) holds G[a·M2+b, i·N2+j], damping included; nil in a fit in
	// groups and for losses.
	g *mat.Dense
}

// newProblem rearranges the moments with damping λ.
func newProblem(p *pool, mo *Moments, s Shape, lambda float64) *problem {
	pr := newLoss(p, mo, s, lambda)
	pr.g = rearrange(p, mo.G, s)
	if w := mo.pull(); w != nil && lambda != 0 {
		moveBlocks(p, w, pr.g, s, func(inW, inG []float64) {
			for i, v := range inW {
				inG[i] += lambda * v
			}
		})
	}
	return pr
}

// newLoss is newProblem without g, for losses only.
func newLoss(p *pool, mo *Moments, s Shape, lambda float64) *problem {
	m, n := mo.Dims()
	pr := &problem{Shape: s, m: m, n: n, pool: p, lambda: lambda, cov: rowsOf(mo.C)}
	pr.c = newCovariance(p, mo, s, lambda)
	return pr
}

// newCovariance rearranges C + λI for a shape, as problem.c holds it.
func newCovariance(p *pool, mo *Moments, s Shape, lambda float64) *mat.Dense {
	c := rearrange(p, mo.C, Shape{s.N1, s.N1, s.N2, s.N2})
	for x := range mo.C.RawMatrix().Rows {
		i, j := x/s.N2, x%s.N2
		c.RawRowView(i*s.N1 + i)[j*s.N2+j] += lambda
	}
	return c
}

// side is a problem seen from the factors that are being solved for, the others being fixed. X stands for a solved
// factor, rows×k, and F for a fixed one, fixedRows×fixedK.
type side struct {
	rows, k, fixedRows, fixedK int
	c                          view // (k·k)×(fixedK·fixedK)
	g                          view // (rows·k)×(fixedRows·fixedK)
	parts                      []part
	mirrored                   bool // X is the right factor, and c and g are transposed
}

// part is a range of rows of X whose outputs use the first fixed rows of F: a padded shape has outputs that do not
// exist, so that its last block row is a system of its own.
type part struct{ lo, hi, fixed int }

func (pr *problem) sideA() *side {
	s := &side{rows: pr.M1, k: pr.N1, fixedRows: pr.M2, fixedK: pr.N2, c: of(pr.c)}
	if pr.g != nil {
		s.g = of(pr.g)
	}
	s.parts = []part{{0, pr.M1, pr.M2}}
	if last := pr.m - (pr.M1-1)*pr.M2; last < pr.M2 {
		s.parts = []part{{0, pr.M1 - 1, pr.M2}, {pr.M1 - 1, pr.M1, last}}
	}
	return s
}

func (pr *problem) sideB() *side {
	s := &side{rows: pr.M2, k: pr.N2, fixedRows: pr.M1, fixedK: pr.N1, c: of(pr.c).t(), mirrored: true}
	if pr.g != nil {
		s.g = of(pr.g).t()
	}
	s.parts = []part{{0, pr.M2, pr.M1}}
	if last := pr.m - (pr.M1-1)*pr.M2; last < pr.M2 {
		s.parts = []part{{0, last, pr.M1}, {last, pr.M2, pr.M1 - 1}}
	}
	return s
}

// abreast lays stacked factors, one rows×k matrix per row of f, side by side as a rows×(R·k) matrix.
func abreast(f *mat.Dense, k int) *mat.Dense {
	terms, size := f.Dims()
	out := mat.NewDense(size/k, terms*k, nil)
	for r := range terms {
		row := f.RawRowView(r)
		for b := range size / k {
			copy(out.RawRowView(b)[r*k:(r+1)*k], row[b*k:(b+1)*k])
		}
	}
	return out
}

// pairs returns the number of pairs (s, r) with r ≤ s for s in [lo, hi).
func pairs(lo, hi int) int { return (hi*(hi+1) - lo*(lo+1)) / 2 }

// pairGrams returns F_sᵀF_r over the rows [r0, r1) for all pairs r ≤ s of s in [lo, hi): one row of k·k numbers per
// pair, ordered by s, then r. wide is from abreast.
func pairGrams(p *pool, wide *mat.Dense, k, r0, r1, lo, hi int) *mat.Dense {
	out := mat.NewDense(pairs(lo, hi), k*k, nil)
	next := 0
	for s := lo; s < hi; s++ {
		fs := of(wide).block(r0, r1, s*k, (s+1)*k)
		gram := product(p, fs.t(), of(wide).block(r0, r1, 0, (s+1)*k))
		for r := range s + 1 {
			row := out.RawRowView(next)
			for j := range k {
				copy(row[j*k:(j+1)*k], gram.RawRowView(j)[r*k:(r+1)*k])
			}
			next++
		}
	}
	return out
}

// chunkNumbers bounds the numbers that a chunk of pairs holds at a time (32 MB).
const chunkNumbers = 4 << 20

// chunk returns the end of the chunk of terms that starts at lo: as many as chunkNumbers allows for pairs of the given
// size, and at least one.
func chunk(lo, terms, pairSize int) int {
	hi := lo + 1
	for hi < terms && pairs(lo, hi+1)*pairSize <= chunkNumbers {
		hi++
	}
	return hi
}

// system returns the matrix of the normal equations of the solved factors for one part, of which the lower triangle
// holds: P[(s,i),(r,k)] = Σ_{j,l} (F_sᵀF_r)[j,l]·C4[i,j,k,l], of size R·k.
func (pr *problem) system(sd *side, wide *mat.Dense, fixed int) *mat.Dense {
	if pr.rowsPay(wide.RawMatrix().Cols/sd.fixedK, sd.k, fixed) {
		return pr.systemByRows(sd, wide, fixed)
	}
	return sd.systemByPairs(pr.pool, wide, fixed)
}

// systemByRows adds up the system over the rows of the fixed factors: with F the R×fixedK matrix of one row of all of
// them, it is (F ⊗ I) C (F ⊗ I)ᵀ, or with the identity on the left. That pays where the fixed factors have few rows.
func (pr *problem) systemByRows(sd *side, wide *mat.Dense, fixed int) *mat.Dense {
	terms, n := wide.RawMatrix().Cols/sd.fixedK, pr.n
	out := mat.NewDense(terms*sd.k, terms*sd.k, nil)
	sum := mat.NewDense(terms*sd.k, terms*sd.k, nil) // of a left side: row (i, r), column (k, s)
	for b := range fixed {
		f := view{wide.RawRowView(b), terms, sd.fixedK, sd.fixedK, 1}
		if sd.mirrored {
			// F over i and then over k: rows (r, j), columns (k, l) between the two.
			t := product(pr.pool, f, view{pr.cov, pr.N1, pr.N2 * n, pr.N2 * n, 1}).RawMatrix().Data
			pr.pool.For(terms*sd.k, 1, func(lo, hi int) {
				for row := lo; row < hi; row++ {
					to := view{out.RawRowView(row), terms, sd.k, sd.k, 1}
					mul(nil, to, f, view{t[row*n : (row+1)*n], pr.N1, pr.N2, pr.N2, 1}, b > 0)
				}
			})
		} else {
			// F over l and then over j: rows (i, j), columns (k, s) between the two.
			t := product(pr.pool, view{pr.cov, n * pr.N1, pr.N2, pr.N2, 1}, f.t()).RawMatrix().Data
			size := terms * sd.k
			for i := range sd.k {
				to := of(sum).block(i*terms, (i+1)*terms, 0, size)
				mul(pr.pool, to, f, view{t[i*pr.N2*size:], pr.N2, size, size, 1}, b > 0)
			}
		}
		norms := product(nil, f, f.t())
		norms.Scale(pr.lambda, norms)
		for r := range terms {
			for s := range terms {
				for i := range sd.k {
					out.Set(r*sd.k+i, s*sd.k+i, out.At(r*sd.k+i, s*sd.k+i)+norms.At(r, s))
				}
			}
		}
	}
	if !sd.mirrored {
		for i := range sd.k {
			for r := range terms {
				to := out.RawRowView(r*sd.k + i)
				for x, v := range sum.RawRowView(i*terms + r) {
					to[x%terms*sd.k+x/terms] += v
				}
			}
		}
	}
	return out
}

// systemByPairs takes the products of all pairs of fixed factors through C.
func (sd *side) systemByPairs(p *pool, wide *mat.Dense, fixed int) *mat.Dense {
	terms, k := wide.RawMatrix().Cols/sd.fixedK, sd.k
	out := mat.NewDense(terms*k, terms*k, nil)
	for lo := 0; lo < terms; {
		hi := chunk(lo, terms, k*k+sd.fixedK*sd.fixedK)
		grams := pairGrams(p, wide, sd.fixedK, 0, fixed, lo, hi)
		blocks := product(p, sd.c, of(grams).t()) // row (i, k), a column per pair
		p.For(k, 1, func(i0, i1 int) {
			for i := i0; i < i1; i++ {
				from := blocks.RawMatrix().Data[i*k*blocks.RawMatrix().Stride:]
				pair := 0
				for s := lo; s < hi; s++ {
					row := out.RawRowView(s*k + i)
					for r := range s + 1 {
						to := row[r*k : (r+1)*k]
						for x := range to {
							to[x] = from[x*blocks.RawMatrix().Stride+pair]
						}
						pair++
					}
				}
			}
		})
		lo = hi
	}
	return out
}

// target returns the right-hand sides of the normal equations: row (r, i), column a, is
// Σ_{b,j} F_r[b,j]·g[(a,i),(b,j)], for the fixed factors stacked in f.
func (sd *side) target(p *pool, g view, f *mat.Dense) *mat.Dense {
	q := product(p, g, of(f).t()) // row (a, i), column r
	return sd.toSystem(of(q))
}

// toSystem reorders a (rows·k)×R matrix, or the transpose of stacked factors, to the (R·k)×rows unknowns of the
// normal equations.
func (sd *side) toSystem(x view) *mat.Dense {
	terms := x.cols
	out := mat.NewDense(terms*sd.k, sd.rows, nil)
	for r := range terms {
		for i := range sd.k {
			row := out.RawRowView(r*sd.k + i)
			for a := range row {
				row[a] = x.data[(a*sd.k+i)*x.rs+r*x.cs]
			}
		}
	}
	return out
}

// fromSystem is the inverse of toSystem, into stacked factors.
func (sd *side) fromSystem(x, stacked *mat.Dense) {
	for r := range stacked.RawMatrix().Rows {
		to := stacked.RawRowView(r)
		for i := range sd.k {
			for a, v := range x.RawRowView(r*sd.k + i) {
				to[a*sd.k+i] = v
			}
		}
	}
}

// loss returns energy − 2 tr(Ŵ Gᵀ) + tr(Ŵ C Ŵᵀ) for stacked factors, without building Ŵ.
func (pr *problem) loss(energy float64, g *mat.Dense, a, b *mat.Dense) float64 {
	cross := dot(product(pr.pool, of(a), of(rearrange(pr.pool, g, pr.Shape))), b)
	wideA, wideB := abreast(a, pr.N1), abreast(b, pr.N2)
	terms, square := a.RawMatrix().Rows, 0.0
	for _, part := range pr.sideA().parts {
		for lo := 0; lo < terms; {
			hi := chunk(lo, terms, 2*pr.N1*pr.N1+pr.N2*pr.N2)
			left := pairGrams(pr.pool, wideA, pr.N1, part.lo, part.hi, lo, hi)
			right := pairGrams(pr.pool, wideB, pr.N2, 0, part.fixed, lo, hi)
			cr := product(pr.pool, of(right), of(pr.c).t()) // a row per pair, column (i, k)
			pair := 0
			for s := lo; s < hi; s++ {
				for r := range s + 1 {
					x := 0.0
					cro := cr.RawRowView(pair)
					for y, v := range left.RawRowView(pair) {
						x += v * cro[y]
					}
					if r < s {
						x *= 2 // the pair (r, s) gives the same
					}
					square += x
					pair++
				}
			}
			lo = hi
		}
	}
	return energy - 2*cross + square
}
