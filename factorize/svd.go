package factorize

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

const (
	// exactSide is the largest smaller side of a matrix that gets a dense SVD.
	exactSide = 128
	// krylovBlock is the widest block for which a Krylov space of several blocks is cheaper than filtering one.
	krylovBlock = 48
	// krylovSteps is the number of products with X Xᵀ per Krylov space.
	krylovSteps = 4
	// quickSteps is the number of products with XᵀX of a quick decomposition.
	quickSteps = 2
	// energyChange ends the iterations: the energy of the wanted triples, Σσ², grew by less than this part of
	// itself in the last step.
	energyChange = 1e-6
	// maxRounds bounds the restarts. A matrix without any decay of its singular values is the slow case, and its
	// error hardly depends on which vectors are chosen.
	maxRounds = 12
	// amplification bounds how much more a filter may enlarge the first direction than the last, so that rounding
	// in the first does not drown the last.
	amplification = 1e10
	// maxDegree bounds the degree of a filter.
	maxDegree = 12
)

// triples are leading singular triples: x ≈ left·rightᵀ with orthonormal columns in right, orthogonal ones in left,
// and the norms of left's columns, sigma, descending.
type triples struct {
	sigma       []float64
	left, right *mat.Dense
}

// topSVD returns the k leading singular triples of x, fewer if x has fewer rows or columns. It iterates on blocks a
// little wider than k (N. Halko, P. Martinsson and J. Tropp, "Finding structure with randomness", 2011; C. Musco and
// C. Musco, "Randomized block Krylov methods", 2015); small matrices get a dense SVD.
func topSVD(ctx context.Context, p *pool, x view, k int, seed uint64) (*triples, error) {
	if x.cols > x.rows {
		t, err := topSVD(ctx, p, x.t(), k, seed)
		if err != nil {
			return nil, err
		}
		return t.transposed(), nil
	}
	k = min(k, x.cols)
	block := k + min(16, max(8, k/2))
	switch {
	case x.cols <= exactSide && x.rows <= 4*exactSide:
		return denseSVD(ctx, x, k)
	case x.cols <= exactSide || 5*block >= 4*x.cols:
		// So nearly all directions are wanted that leaving some out saves nothing.
		return rayleighRitz(ctx, p, identity(x.cols), product(p, x, of(identity(x.cols))), k)
	case block <= krylovBlock && (krylovSteps+1)*block <= x.cols:
		return krylovSVD(ctx, p, x, k, block, seed)
	default:
		return filteredSVD(ctx, p, x, k, block, seed)
	}
}

// transposed turns the triples of x into those of xᵀ: the norms move from left to right and the sides change.
func (t *triples) transposed() *triples {
	out := &triples{t.sigma, mat.DenseCopyOf(t.right), mat.DenseCopyOf(t.left)}
	scaleColumns(out.left, t.sigma)
	inverse := make([]float64, len(t.sigma))
	for i, s := range t.sigma {
		if s > 0 {
			inverse[i] = 1 / s
		}
	}
	scaleColumns(out.right, inverse)
	return out
}

func scaleColumns(m *mat.Dense, s []float64) {
	for i := range m.RawMatrix().Rows {
		row := m.RawRowView(i)
		for j := range row {
			row[j] *= s[j]
		}
	}
}

func identity(n int) *mat.Dense {
	m := mat.NewDense(n, n, nil)
	for i := range n {
		m.Set(i, i, 1)
	}
	return m
}

// denseSVD is the exact decomposition, for small matrices.
func denseSVD(ctx context.Context, x view, k int) (*triples, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := mat.NewDense(x.rows, x.cols, nil)
	for i := range x.rows {
		row := m.RawRowView(i)
		for j := range row {
			row[j] = x.data[i*x.rs+j*x.cs]
		}
	}
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDThin) {
		return nil, fmt.Errorf("singular values of a [%d %d] matrix: no convergence", x.rows, x.cols)
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	t := &triples{svd.Values(nil)[:k], cols(&u, k), cols(&v, k)}
	scaleColumns(t.left, t.sigma)
	return t, nil
}

// gaussian returns an n×b matrix of independent standard normal numbers.
func gaussian(n, b int, seed uint64) *mat.Dense {
	rng := rand.New(rand.NewPCG(seed, uint64(n)<<32|uint64(b)))
	data := make([]float64, n*b)
	for i := range data {
		data[i] = rng.NormFloat64()
	}
	return mat.NewDense(n, b, data)
}

// rayleighRitz returns the best k triples within the span of the orthonormal columns of v, given y = x·v.
func rayleighRitz(ctx context.Context, p *pool, v, y *mat.Dense, k int) (*triples, error) {
	_, z, err := symEigen(ctx, product(p, of(y).t(), of(y)), true)
	if err != nil {
		return nil, err
	}
	zk := of(z).block(0, z.RawMatrix().Rows, 0, min(k, z.RawMatrix().Cols))
	t := &triples{left: product(p, of(y), zk), right: product(p, of(v), zk)}
	t.sigma = columnNorms(t.left)
	t.sort()
	return t, nil
}

// sort orders the triples by their norms. Eigenvalues come ordered, but those at the rounding level say little about
// the norms of the columns that belong to them.
func (t *triples) sort() {
	if slices.IsSortedFunc(t.sigma, descending) {
		return
	}
	order := make([]int, len(t.sigma))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return descending(t.sigma[a], t.sigma[b]) })
	out := &triples{make([]float64, len(order)), mat.DenseCopyOf(t.left), mat.DenseCopyOf(t.right)}
	for to, from := range order {
		out.sigma[to] = t.sigma[from]
		out.left.SetCol(to, mat.Col(nil, from, t.left))
		out.right.SetCol(to, mat.Col(nil, from, t.right))
	}
	*t = *out
}

func descending(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

func columnNorms(m *mat.Dense) []float64 {
	out := make([]float64, m.RawMatrix().Cols)
	for i := range m.RawMatrix().Rows {
		for j, v := range m.RawRowView(i) {
			out[j] += v * v
		}
	}
	for j, v := range out {
		out[j] = math.Sqrt(v)
	}
	return out
}

// krylovSVD finds the triples in the Krylov spaces of XᵀX, each started from the best block of the one before.
func krylovSVD(ctx context.Context, p *pool, x view, k, block int, seed uint64) (*triples, error) {
	v, err := orthonormalise(ctx, p, gaussian(x.cols, block, seed), nil)
	if err != nil {
		return nil, err
	}
	y := product(p, x, of(v))
	for round := 0; ; round++ {
		vs, ys := []*mat.Dense{v}, []*mat.Dense{y}
		for range krylovSteps {
			next, err := orthonormalise(ctx, p, product(p, x.t(), of(y)), vs)
			if err != nil {
				return nil, err
			}
			if next == nil { // the space holds all that x has
				break
			}
			v, y = next, product(p, x, of(next))
			vs, ys = append(vs, v), append(ys, y)
		}
		full, last := joinColumns(ys), y.RawMatrix().Cols
		g := product(p, of(full).t(), of(full))
		before, _, err := symEigen(ctx, mat.DenseCopyOf(g.Slice(0, g.RawMatrix().Rows-last, 0, g.RawMatrix().Rows-last)), false)
		if err != nil {
			return nil, err
		}
		t, err := rayleighRitz(ctx, p, joinColumns(vs), full, block)
		if err != nil {
			return nil, err
		}
		energy := sumSquares(t.sigma[:k])
		if len(vs) <= krylovSteps || round == maxRounds || energy-sum(before[:min(k, len(before))]) <= energyChange*energy {
			return t.leading(k), nil
		}
		v, y = t.right, t.left
	}
}

// leading returns the first k triples.
func (t *triples) leading(k int) *triples {
	k = min(k, len(t.sigma))
	return &triples{t.sigma[:k], cols(t.left, k), cols(t.right, k)}
}

// pad adds zero triples up to k: an iteration returns no more than the rank that it met.
func (t *triples) pad(k int) {
	if missing := k - len(t.sigma); missing > 0 {
		t.sigma = append(slices.Clone(t.sigma), make([]float64, missing)...)
		t.left = t.left.Grow(0, missing).(*mat.Dense)
		t.right = t.right.Grow(0, missing).(*mat.Dense)
	}
}

// joinColumns puts matrices of equal height side by side.
func joinColumns(ms []*mat.Dense) *mat.Dense {
	width := 0
	for _, m := range ms {
		width += m.RawMatrix().Cols
	}
	out := mat.NewDense(ms[0].RawMatrix().Rows, width, nil)
	for i := range out.RawMatrix().Rows {
		row := out.RawRowView(i)
		for _, m := range ms {
			row = row[copy(row, m.RawRowView(i)):]
		}
	}
	return out
}

func sum(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s
}

func sumSquares(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x * x
	}
	return s
}

// quickSVD is topSVD with a fixed, small number of iterations, for a start that is improved anyhow: some per cent of
// the last triples' energy may be missing.
func quickSVD(ctx context.Context, p *pool, x view, k int, seed uint64) (*triples, error) {
	if x.cols > x.rows {
		t, err := quickSVD(ctx, p, x.t(), k, seed)
		if err != nil {
			return nil, err
		}
		return t.transposed(), nil
	}
	block := k + 8
	if x.cols <= exactSide || 2*block >= x.cols {
		return topSVD(ctx, p, x, k, seed)
	}
	v := gaussian(x.cols, block, seed)
	for range quickSteps {
		var err error
		if v, err = orthonormalise(ctx, p, product(p, x.t(), of(product(p, x, of(v)))), nil); err != nil {
			return nil, err
		}
		if v == nil {
			return topSVD(ctx, p, x, k, seed)
		}
	}
	return rayleighRitz(ctx, p, v, product(p, x, of(v)), k)
}

// filteredSVD improves one block by Chebyshev polynomials in XᵀX, which enlarge the directions above the smallest
// Ritz value of the block and no others. (Y. Zhou, Y. Saad, M. Tiago and J. Chelikowsky, "Self-consistent-field
// calculations using Chebyshev-filtered subspace iteration", 2006.)
func filteredSVD(ctx context.Context, p *pool, x view, k, block int, seed uint64) (*triples, error) {
	// With the Gram matrix a step is one product instead of two; it costs as much as half a step of full width.
	apply := func(v *mat.Dense) *mat.Dense { return product(p, x.t(), of(product(p, x, of(v)))) }
	if 8*block >= x.cols {
		g := product(p, x.t(), x)
		apply = func(v *mat.Dense) *mat.Dense { return product(p, of(g), of(v)) }
	}
	v, err := orthonormalise(ctx, p, apply(gaussian(x.cols, block, seed)), nil)
	if err != nil {
		return nil, err
	}
	if v == nil {
		v = identity(x.cols)
	}
	for round, energy := 0, 0.0; ; round++ {
		t, err := rayleighRitz(ctx, p, v, product(p, x, of(v)), block)
		if err != nil {
			return nil, err
		}
		before := energy
		energy = sumSquares(t.sigma[:min(k, len(t.sigma))])
		if round == maxRounds || energy-before <= energyChange*energy {
			return t.leading(k), nil
		}
		if v, err = orthonormalise(ctx, p, chebyshev(apply, t), nil); err != nil {
			return nil, err
		}
	}
}

// chebyshev returns T_d((2/c)·XᵀX − I) applied to the right vectors of t, where c is the smallest σ² of t and the
// degree d as high as amplification allows. Columns are scaled on the way, so that nothing overflows.
func chebyshev(apply func(*mat.Dense) *mat.Dense, t *triples) *mat.Dense {
	first, last := t.sigma[0], t.sigma[len(t.sigma)-1]
	c := last * last
	if c <= first*first*1e-14 {
		return apply(t.right) // the rest is rounding, and one product brings it there
	}
	top := 2*first*first/c - 1
	degree := min(maxDegree, max(2, int(math.Acosh(amplification)/math.Acosh(max(top, 1+1e-9)))))
	step := func(v *mat.Dense) *mat.Dense {
		out := apply(v)
		out.Scale(2/c, out)
		addScaled(out, -1, v)
		return out
	}
	old, now := mat.DenseCopyOf(t.right), step(t.right)
	for range degree - 1 {
		next := step(now)
		next.Scale(2, next)
		addScaled(next, -1, old)
		old, now = now, next
	}
	return now
}
