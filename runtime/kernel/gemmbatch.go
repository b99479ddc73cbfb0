package kernel

import "sync"

// Matrices32 is a list of matrices in one slice: element (i, j) of matrix k is
// Data[k·Step + i·Row + j·Col]. A Step of 0 makes them all one.
type Matrices32 struct {
	Data           []float32
	Step, Row, Col int
}

func (s *Matrices32) mustHold(name string, count, rows, cols int) {
	mustHold(name, len(s.Data)-(count-1)*s.Step, rows, cols, s.Row, s.Col)
}

// from is the k-th matrix on.
func (s *Matrices32) from(k int) []float32 { return s.Data[k*s.Step:] }

// turned is the transposes.
func (s *Matrices32) turned() Matrices32 {
	return Matrices32{Data: s.Data, Step: s.Step, Row: s.Col, Col: s.Row}
}

// bigProduct is the number of multiplications from which on a product of a list gains more by the
// blocks of [Gemm32] than by the lack of them.
const bigProduct = 4 << 20

// sumTask is the number of multiplications of a task of [GemmSum32], which makes part of the result's bits.
const sumTask = 2 << 20

// GemmBatch32 computes count products at once, C_s[i·ldc+j] (+)= Σ_l A_s[i l]·B_s[l j], l < k, i < m,
// j < n, where C_s is c[s·step:]. It gives the bits of as many calls of [Gemm32], at the speed of a
// large one where the matrices are small. Step of c must keep the results apart.
func GemmBatch32(p *Pool, count, m, n, k int, a, b Matrices32, c []float32, step, ldc int, add bool) {
	if count <= 0 || m <= 0 || n <= 0 {
		return
	}
	if k <= 0 || m*n*k >= bigProduct {
		for s := range count {
			Gemm32(p, m, n, k, a.from(s), a.Row, a.Col, b.from(s), b.Row, b.Col, c[s*step:], ldc, add)
		}
		return
	}
	a.mustHold("A", count, m, k)
	b.mustHold("B", count, k, n)
	mustHold("C", len(c)-(count-1)*step, m, n, ldc, 1)
	j := newBatchJob(count, m, n, k, a, b)
	j.c, j.step, j.ldc, j.add = c, step, ldc, add
	if !p.worth(count * m * n * k) {
		j.products(0, count)
	} else {
		p.For(count, max(1, minTask/(m*n*k)), j.productsFn)
	}
	j.done()
}

// GemmSum32 computes the sum of count products, C[i·ldc+j] (+)= Σ_s Σ_l A_s[i l]·B_s[l j], s < count,
// l < k, i < m, j < n: the gradient of a matrix that a whole batch was multiplied by. The order of
// the sum depends on the sizes alone.
func GemmSum32(p *Pool, count, m, n, k int, a, b Matrices32, c []float32, ldc int, add bool) {
	switch {
	case m <= 0 || n <= 0:
		return
	case count <= 0 || k <= 0:
		Gemm32(p, m, n, 0, nil, 0, 0, nil, 0, 0, c, ldc, add)
		return
	case a.Step == k*a.Col && b.Step == k*b.Row:
		// One product whose terms go on from matrix to matrix.
		Gemm32(p, m, n, count*k, a.Data, a.Row, a.Col, b.Data, b.Row, b.Col, c, ldc, add)
		return
	case m*n*k >= bigProduct:
		for s := range count {
			Gemm32(p, m, n, k, a.from(s), a.Row, a.Col, b.from(s), b.Row, b.Col, c, ldc, add || s > 0)
		}
		return
	}
	a.mustHold("A", count, m, k)
	b.mustHold("B", count, k, n)
	mustHold("C", len(c), m, n, ldc, 1)
	// A panel of B is read as it lies or has to be gathered. The transpose of the sum, Σ Bᵀ·Aᵀ, asks
	// the same of Aᵀ: take what costs less.
	turn := b.Col != 1 && (a.Row == 1 || m < n)
	if turn {
		m, n, a, b = n, m, b.turned(), a.turned()
	}
	j := newBatchJob(count, m, n, k, a, b)
	nr := j.im.nr
	j.ldt = (n + nr - 1) / nr * nr
	// Few tasks, each with a sum of its own.
	each := max(1, sumTask/(m*n*k))
	if count*m*n*k < minSplit {
		each = count
	}
	each = max(each, (count+7)/8)
	tasks := (count + each - 1) / each
	j.each = each
	if size := tasks * m * j.ldt; len(j.sums) < size {
		j.sums = aligned[float32](size)
	}
	p.For(count, each, j.sumsFn)
	total := j.sums[:m*j.ldt]
	for t := 1; t < tasks; t++ {
		Axpy32(nil, total, 1, j.sums[t*m*j.ldt:(t+1)*m*j.ldt])
	}
	for i := range m {
		row := total[i*j.ldt : i*j.ldt+n]
		if turn {
			for l, v := range row {
				if add {
					v += c[l*ldc+i]
				}
				c[l*ldc+i] = v
			}
			continue
		}
		to := c[i*ldc : i*ldc+n]
		for l, v := range row {
			if add {
				v += to[l]
			}
			to[l] = v
		}
	}
	j.done()
}

// A batchJob is one list of products in progress. It is kept for the next one, so that a call
// allocates nothing.
type batchJob struct {
	im      *impl[float32]
	count   int
	m, n, k int
	a, b    Matrices32
	// Of GemmBatch32.
	c         []float32
	step, ldc int
	add       bool
	// Of GemmSum32: task t sums each products in sums[t·m·ldt:], rows ldt apart.
	sums      []float32
	ldt, each int

	productsFn, sumsFn func(lo, hi int)
}

var batchJobs sync.Pool // of *batchJob

func newBatchJob(count, m, n, k int, a, b Matrices32) *batchJob {
	j, _ := batchJobs.Get().(*batchJob)
	if j == nil {
		j = &batchJob{}
		j.productsFn, j.sumsFn = j.products, j.sum
	}
	j.im, j.count, j.m, j.n, j.k, j.a, j.b = active.Load().f32, count, m, n, k, a, b
	return j
}

func (j *batchJob) done() {
	j.a.Data, j.b.Data, j.c = nil, nil, nil
	batchJobs.Put(j)
}

// products does the products lo … hi-1 of GemmBatch32.
func (j *batchJob) products(lo, hi int) {
	panels := j.newPanels()
	for s := lo; s < hi; s++ {
		c := j.c[s*j.step:]
		var from []float32
		if j.add {
			from = c
		}
		j.product(s, panels, c, j.ldc, from)
	}
	j.keep(panels)
}

// sum adds up the products lo … hi-1 of GemmSum32.
func (j *batchJob) sum(lo, hi int) {
	panels := j.newPanels()
	c := j.sums[lo/j.each*j.m*j.ldt:]
	var from []float32
	for s := lo; s < hi; s++ {
		j.product(s, panels, c, j.ldt, from)
		from = c
	}
	j.keep(panels)
}

// newPanels is memory for the gathered panels of one B, nil where they are read as they lie.
func (j *batchJob) newPanels() *[]float32 {
	if j.b.Col == 1 {
		return nil
	}
	p, _ := scratches.Get().(*[]float32)
	if p == nil {
		p = new([]float32)
	}
	if size := (j.n + j.im.nr - 1) / j.im.nr * j.im.nr * j.k; len(*p) < size {
		*p = aligned[float32](size)
	}
	return p
}

func (j *batchJob) keep(p *[]float32) {
	if p != nil {
		scratches.Put(p)
	}
}

// product computes C = A_s·B_s, from what from holds.
func (j *batchJob) product(s int, panels *[]float32, c []float32, ldc int, from []float32) {
	nr := j.im.nr
	a := j.a.from(s)
	for col := 0; col < j.n; col += nr {
		cols := min(nr, j.n-col)
		panel, bks := j.b.Data[s*j.b.Step+col*j.b.Col:], j.b.Row
		if panels != nil {
			j.im.packPanel((*panels)[col*j.k:], panel, j.b.Row, j.b.Col, j.k, cols)
			panel, bks = (*panels)[col*j.k:], nr
		}
		product(j.im, j.m, j.k, a, j.a.Row, j.a.Col, panel, bks, c[col:], ldc, cols, after(from, col), ldc, false)
	}
}
