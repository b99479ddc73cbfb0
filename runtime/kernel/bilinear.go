package kernel

import (
	"fmt"
	"sync"
)

// Factor32 is one side of a sum of Kronecker products, a matrix for each term: element (i, j) of
// term r is Data[r·Term + i·Row + j·Col].
type Factor32 struct {
	Data           []float32
	Term, Row, Col int
}

// PackedBilinear32 is the weight Σ_r A_r ⊗ B_r, A_r of m1×n1 and B_r of m2×n2, laid out for Mul. It
// is never changed: share it freely.
type PackedBilinear32 struct {
	path                  *path
	n1, n2, m1, m2, terms int

	// bFirst computes T_r = X·B_rᵀ, then Σ_r A_r·T_r; else T_r = A_r·X comes first, then Σ_r T_r·B_rᵀ.
	bFirst bool
	// group terms go together, so that the second product has sums long enough to be quick and the
	// T of a group stays in a near cache.
	group int

	// B first: a holds for each group [m1][n1·terms of the group], columns (i, r); b holds for each
	// panel of m2 and each term [n2][nr].
	//
	// A first: a holds for each group [m1·terms of the group][n1], rows (i, r); b holds for each panel
	// of m2 and each group [terms of the group·n2][nr].
	a, b []float32

	paired, whole bool // whole panels go to impl.pair; there are no others

	cuts  int // tasks of a block of samples: panels if B is first, else blocks of rows
	rows  int // of such a block
	block int // most samples of a block
	work  int // multiplications of a sample
	// between is the elements of T of a task with one sample.
	between int
}

const (
	// bilinearBytes is the T of a task: what stays in the near caches.
	bilinearBytes = 32 << 10
	// bilinearTasks are enough tasks for cores to finish together.
	bilinearTasks = 32
	// bilinearRows bounds one call of a tile.
	bilinearRows = 512
	// pairWork bounds one of a pair, in multiplications: some 70 µs with AVX2.
	pairWork = 4 << 20
)

// PackBilinear32 packs Σ_r A_r ⊗ B_r, r < terms. In the notation of files that have the two products
// written out with B first, Bcat[n2, terms·m2] and Acat[m1, n1·terms], the factors are
//
//	A: Factor32{Acat, 1, n1·terms, terms}    B: Factor32{Bcat, m2, 1, terms·m2}
//
// and with A first, A'[m1·terms, n1] and B'[terms·n2, m2],
//
//	A: Factor32{A', n1, terms·n1, 1}         B: Factor32{B', n2·m2, 1, m2}
//
// Mul takes whichever order is quicker, so both give the same.
func PackBilinear32(n1, n2, m1, m2, terms int, a, b Factor32) *PackedBilinear32 {
	if n1 <= 0 || n2 <= 0 || m1 <= 0 || m2 <= 0 || terms <= 0 {
		panic(fmt.Sprintf("kernel: %d terms of %d×%d ⊗ %d×%d: all must be at least 1", terms, m1, n1, m2, n2))
	}
	a.mustHold("A", terms, m1, n1)
	b.mustHold("B", terms, m2, n2)
	// A vector of at most 16 elements is computed whole. The order is part of the bits: the same for all paths.
	wide := func(n int) int { return (n + 15) / 16 * 16 }
	return packBilinear(n1, n2, m1, m2, terms, a, b, n1*wide(m2)*(n2+m1) <= m1*(n1*wide(n2)+n2*wide(m2)))
}

// packBilinear packs for one of the two orders.
func packBilinear(n1, n2, m1, m2, terms int, a, b Factor32, bFirst bool) *PackedBilinear32 {
	w := &PackedBilinear32{path: active.Load(), n1: n1, n2: n2, m1: m1, m2: m2, terms: terms, bFirst: bFirst}
	nr := w.path.f32.nr
	inner := n1
	if !w.bFirst {
		inner = n2
	}
	groups := (terms-1)/max(1, blockK/inner) + 1
	w.group = (terms-1)/groups + 1
	panels := (m2 + nr - 1) / nr
	w.a = aligned[float32](m1 * n1 * terms)
	w.b = aligned[float32](panels * nr * n2 * terms)
	w.plan()
	for r := range terms {
		first := r / w.group * w.group
		size, in := min(w.group, terms-first), r-first
		for i := range m1 {
			for l := range n1 {
				at := (i*n1 + l) * size
				if at += in; !w.bFirst {
					at = (i*size+in)*n1 + l
				}
				w.a[first*m1*n1+at] = a.Data[r*a.Term+i*a.Row+l*a.Col]
			}
		}
		for q := range panels {
			to := w.b[(q*terms+r)*n2*nr:]
			w.path.f32.packPanel(to, b.Data[r*b.Term+q*nr*b.Row:], b.Col, b.Row, n2, min(nr, m2-q*nr))
		}
	}
	return w
}

func (f *Factor32) mustHold(name string, terms, rows, cols int) {
	want := (terms-1)*f.Term + (rows-1)*f.Row + (cols-1)*f.Col + 1
	if len(f.Data) < want || f.Term < 0 || f.Row < 0 || f.Col < 0 {
		panic(fmt.Sprintf("kernel: %d terms of %s[%d %d] with strides %d, %d and %d need %d elements, the slice has %d",
			terms, name, rows, cols, f.Term, f.Row, f.Col, want, len(f.Data)))
	}
}

// Dims returns the lengths of an input and of an output.
func (w *PackedBilinear32) Dims() (n, m int) { return w.n1 * w.n2, w.m1 * w.m2 }

// bilinearCall is one Mul.
type bilinearCall struct {
	w        *PackedBilinear32
	x, y     []float32
	ldx, ldy int
	ends     ends[float32]
	block    int // samples of a task
}

// bilinearJob is a Mul that is shared out, kept for the next one.
type bilinearJob struct {
	bilinearCall
	samples int
	runFn   func(lo, hi int)
}

var bilinearJobs sync.Pool

// Mul computes, for each of m samples x of n1·n2 elements, ldx apart, seen as X[n1 n2], the sample
//
//	Y[m1 m2] = F(Σ_r A_r·X·B_rᵀ + Add + Bias)
//
// of m1·m2 elements, ldy apart: both products, the sum and the end in one pass, with nothing in between
// leaving the near caches. Bias has m1·m2 elements. y must not overlap x. p may be nil.
func (w *PackedBilinear32) Mul(p *Pool, m int, x []float32, ldx int, y []float32, ldy int, e Epilogue32) {
	if m <= 0 {
		return
	}
	nx, ny := w.Dims()
	if len(x) < (m-1)*ldx+nx || len(y) < (m-1)*ldy+ny || ldx < 0 || ldy < 0 {
		mustHold("X", len(x), m, nx, ldx, 1)
		mustHold("Y", len(y), m, ny, ldy, 1)
	}
	switch {
	case p != nil && p.worth(m*w.work):
		w.share(p, m, x, ldx, y, ldy, &e)
	case w.whole && e.F <= Relu && e.Add == nil && (e.Bias == nil || len(e.Bias) >= ny):
		// The products of a small layer take less than a thousand instructions, so that all others count.
		var from *float32
		if e.Bias != nil {
			from = &e.Bias[0]
		}
		t := borrowed(w.between)
		for s := 0; s < m; s += w.block {
			w.pairs(min(m-s, w.block), 0, w.cuts, &x[s*ldx], ldx, &y[s*ldy], ldy, from, 0, e.F == Relu, &(*t)[0])
		}
		scratches.Put(t)
	default:
		w.alone(m, x, ldx, y, ldy, &e)
	}
}

// alone is Mul on the caller.
func (w *PackedBilinear32) alone(m int, x []float32, ldx int, y []float32, ldy int, e *Epilogue32) {
	// Field by field: a copy of the whole would read vectors of what was written in words, which waits for
	// all writes before it, those of the product before among them.
	var c bilinearCall
	c.w, c.x, c.y, c.ldx, c.ldy, c.block = w, x, y, ldx, ldy, min(m, w.block)
	e.ends(&c.ends, w.path, m, w.m1*w.m2)
	t := borrowed(c.block * w.between)
	for s := 0; s < m; s += c.block {
		c.tasks(s, min(m, s+c.block), 0, w.cuts, *t)
	}
	scratches.Put(t)
}

// share is Mul with all threads of p. The tasks depend on the shape alone.
func (w *PackedBilinear32) share(p *Pool, m int, x []float32, ldx int, y []float32, ldy int, e *Epilogue32) {
	j, _ := bilinearJobs.Get().(*bilinearJob)
	if j == nil {
		j = &bilinearJob{}
		j.runFn = j.run
	}
	j.bilinearCall = bilinearCall{w: w, x: x, y: y, ldx: ldx, ldy: ldy, block: min(m, w.block, max(1, m*w.cuts/bilinearTasks))}
	j.samples = m
	e.ends(&j.ends, w.path, m, w.m1*w.m2)
	p.For((m+j.block-1)/j.block*w.cuts, max(1, minTask/2/(w.work*j.block/w.cuts)), j.runFn)
	j.bilinearCall = bilinearCall{}
	bilinearJobs.Put(j)
}

// plan sets how Mul cuts samples into tasks, by the shape alone.
func (w *PackedBilinear32) plan() {
	nr := w.path.f32.nr
	panels := (w.m2 + nr - 1) / nr
	if w.bFirst {
		w.work = w.terms * w.n1 * panels * nr * (w.n2 + w.m1)
		w.block = max(1, bilinearBytes/4/(w.n1*w.group*nr))
		w.cuts, w.rows, w.between = panels, w.m1, w.n1*w.group*nr
		w.paired = w.path.f32.pair != nil && max(w.n2, w.n1*w.group) <= blockK && w.block*w.work <= pairWork
		w.whole = w.paired && w.m2%nr == 0
		return
	}
	w.work = w.terms * w.m1 * (w.n1*w.n2 + w.n2*panels*nr)
	w.rows = min(w.m1, max(32, bilinearBytes/4/(w.group*w.n2)/8*8))
	w.cuts, w.between = (w.m1+w.rows-1)/w.rows, w.rows*w.group*w.n2
	w.block = max(1, bilinearBytes/4/(w.rows*w.group*w.n2))
}

var scratches sync.Pool // of *[]float32

// borrowed is memory for so many elements, to be given back to scratches.
func borrowed(size int) *[]float32 {
	t, _ := scratches.Get().(*[]float32)
	if t == nil {
		t = new([]float32)
	}
	if len(*t) < size {
		*t = aligned[float32](size)
	}
	return t
}

// run does the tasks lo … hi-1 with scratch memory of its own.
func (j *bilinearJob) run(lo, hi int) {
	s := borrowed(j.block * j.w.between)
	for t := lo; t < hi; t++ {
		from := t / j.w.cuts * j.block
		j.tasks(from, min(j.samples, from+j.block), t%j.w.cuts, t%j.w.cuts+1, *s)
	}
	scratches.Put(s)
}

// tasks is the parts cut … end-1 of the samples s0 … s1-1, with the memory t for what is between the
// products.
func (c *bilinearCall) tasks(s0, s1, cut, end int, t []float32) {
	w := c.w
	if w.paired {
		if whole := min(end, w.m2/w.path.f32.nr); cut < whole {
			c.pair(s0, s1, cut, whole, t)
			cut = whole
		}
	}
	for ; cut < end; cut++ {
		if w.bFirst {
			c.panel(s0, s1, cut, t)
		} else {
			c.strip(s0, s1, cut*w.rows, min(w.m1, (cut+1)*w.rows), t)
		}
	}
}

// pair computes the columns of the panels q0 … q1-1, which are whole, for the samples s0 … s1-1, B first.
func (c *bilinearCall) pair(s0, s1, q0, q1 int, t []float32) {
	w := c.w
	col, cols, together := q0*w.path.f32.nr, (q1-q0)*w.path.f32.nr, s1-s0
	ends := c.ends.bias != nil || c.ends.act != nil
	if ends {
		together = 1 // what follows finds Y in the nearest cache
	}
	for ; s0 < s1; s0 += together {
		var start *float32
		if from, _ := c.from(s0, 0, col, 0); from != nil {
			start = &from[0]
		}
		y := c.y[s0*c.ldy+col:]
		w.pairs(together, q0, q1, &c.x[s0*c.ldx], c.ldx, &y[0], c.ldy, start, c.ends.ldf, c.ends.relu, &t[0])
		if ends {
			c.finish(0, w.m1, cols, col, y)
		}
	}
}

// pairs is impl.pair for all groups of terms. y and from begin at the first of the panels q0 … q1-1.
func (w *PackedBilinear32) pairs(samples, q0, q1 int, x *float32, ldx int, y *float32, ldy int, from *float32, ldf int, relu bool, t *float32) {
	im := w.path.f32
	step := w.n2 * im.nr
	for g := 0; g < w.terms; g += w.group {
		size := min(w.group, w.terms-g)
		if g > 0 {
			from, ldf = y, ldy
		}
		im.pair(samples, q1-q0, x, ldx, w.n1, w.n2, &w.b[(q0*w.terms+g)*step], w.terms*step, size, t,
			&w.a[g*w.m1*w.n1], w.m1, y, ldy, w.m2, from, ldf, relu && g+size == w.terms)
	}
}

// panel computes the columns of panel q for the samples s0 … s1-1, B first.
func (c *bilinearCall) panel(s0, s1, q int, t []float32) {
	w := c.w
	im := w.path.f32
	nr, samples := im.nr, s1-s0
	col := q * nr
	cols := min(nr, w.m2-col)
	for g := 0; g < w.terms; g += w.group {
		size := min(w.group, w.terms-g)
		k := w.n1 * size
		for r := range size { // T[s, i, r, :] = Σ_j X[s, i, j]·B_r[:, j]
			b := w.b[(q*w.terms+g+r)*w.n2*nr:]
			if c.ldx == w.n1*w.n2 {
				product(im, samples*w.n1, w.n2, c.x[s0*c.ldx:], w.n2, 1, b, nr, t[r*nr:], size*nr, cols, nil, 0, false)
				continue
			}
			for s := range samples {
				product(im, w.n1, w.n2, c.x[(s0+s)*c.ldx:], w.n2, 1, b, nr, t[s*k*nr+r*nr:], size*nr, cols, nil, 0, false)
			}
		}
		a := w.a[g*w.m1*w.n1:]
		for s := s0; s < s1; s++ {
			y := c.y[s*c.ldy+col:]
			from, ldf := c.from(s, 0, col, g)
			product(im, w.m1, k, a, k, 1, t[(s-s0)*k*nr:], nr, y, w.m2, cols, from, ldf, c.ends.relu && g+size == w.terms)
			if g+size == w.terms {
				c.finish(0, w.m1, cols, col, y)
			}
		}
	}
}

// strip computes the rows r0 … r1-1 of the samples s0 … s1-1, A first.
func (c *bilinearCall) strip(s0, s1, r0, r1 int, t []float32) {
	w := c.w
	im := w.path.f32
	nr, samples, rows := im.nr, s1-s0, r1-r0
	for g := 0; g < w.terms; g += w.group {
		size := min(w.group, w.terms-g)
		k := size * w.n2
		a := w.a[(g*w.m1+r0*size)*w.n1:]
		for s := range samples { // T[s, i, r, :] = Σ_l A_r[i, l]·X[s, l, :]
			x := c.x[(s0+s)*c.ldx:]
			for l := 0; l < w.n2; l += nr {
				product(im, rows*size, w.n1, a, w.n1, 1, x[l:], w.n2, t[s*rows*k+l:], w.n2, min(nr, w.n2-l), nil, 0, false)
			}
		}
		for col := 0; col < w.m2; col += nr {
			cols := min(nr, w.m2-col)
			b := w.b[(col/nr*w.terms+g)*w.n2*nr:]
			for s := s0; s < s1; s++ {
				y := c.y[s*c.ldy+r0*w.m2+col:]
				from, ldf := c.from(s, r0, col, g)
				product(im, rows, k, t[(s-s0)*rows*k:], k, 1, b, nr, y, w.m2, cols, from, ldf, c.ends.relu && g+size == w.terms)
				if g+size == w.terms {
					c.finish(r0, rows, cols, col, y)
				}
			}
		}
	}
}

// from is where the sums of sample s start: for the first group of terms what the epilogue says, then
// what the groups before left in Y.
func (c *bilinearCall) from(s, row, col, group int) ([]float32, int) {
	at := row*c.w.m2 + col
	switch {
	case group > 0:
		return c.y[s*c.ldy+at:], c.w.m2
	case c.ends.from == nil:
		return nil, 0
	default:
		return c.ends.from[s*c.ends.ldf+at:], c.w.m2
	}
}

// finish is the end of one sample's rows from row on, whose sums are complete.
func (c *bilinearCall) finish(row, rows, cols, col int, y []float32) {
	m2 := c.w.m2
	if c.ends.bias != nil {
		for i := range rows {
			to := y[i*m2 : i*m2+cols]
			for l, v := range c.ends.bias[(row+i)*m2+col:][:cols] {
				to[l] += v
			}
		}
	}
	switch {
	case c.ends.act == nil:
	case cols == m2: // rows on end
		c.ends.act(1, rows*m2, y, 0, y, 0, c.ends.alpha, c.ends.beta)
	default:
		c.ends.act(rows, cols, y, m2, y, m2, c.ends.alpha, c.ends.beta)
	}
}

// product is im.tile in parts: sums of at most blockK terms, at most bilinearRows rows a call.
func product(im *impl[float32], m, k int, a []float32, ars, aks int, b []float32, bks int, c []float32, ldc, cols int, from []float32, ldf int, relu bool) {
	if m <= bilinearRows && k <= blockK {
		im.tile(m, k, a, ars, aks, b, bks, c, ldc, cols, from, ldf, relu)
		return
	}
	for k0 := 0; k0 < k; k0 += blockK {
		if k0 > 0 {
			from, ldf = c, ldc
		}
		for i := 0; i < m; i += bilinearRows {
			im.tile(min(bilinearRows, m-i), min(blockK, k-k0), a[i*ars+k0*aks:], ars, aks, b[k0*bks:], bks, c[i*ldc:], ldc, cols, after(from, i*ldf), ldf, relu && k-k0 <= blockK)
		}
	}
}
