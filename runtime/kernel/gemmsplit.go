package kernel

import "sync"

// splitB is the elements of a B from which on a product with few rows is split by GemmSplit32, splitColumns
// the columns that one task has.
const splitB, splitColumns = 1 << 19, 256

// GemmSplit32 is [Gemm32] for a large B[k n] in rows, of a layer's weights, and an A of few rows. Its sums
// have two halves, one for each half of B's rows, which is added up by itself: so two cores read rows each,
// as they do on the way forward and when the rows are updated, and do not send B to and fro. Other sizes
// and strides are Gemm32's.
func GemmSplit32(p *Pool, m, n, k int, a []float32, ars, acs int, b []float32, brs, bcs int, c []float32, ldc int, add bool) {
	if bcs != 1 || acs != 1 || m > fewRows || m <= 2*active.Load().f32.mr || n*k < splitB || k < 2*blockK || ldc != n {
		Gemm32(p, m, n, k, a, ars, acs, b, brs, bcs, c, ldc, add)
		return
	}
	mustHold("A", len(a), m, k, ars, acs)
	mustHold("B", len(b), k, n, brs, bcs)
	mustHold("C", len(c), m, n, ldc, 1)
	j, _ := splitJobs.Get().(*splitJob)
	if j == nil {
		j = &splitJob{}
		j.runFn = j.run
	}
	j.second = grown(j.second, m*n)
	j.im, j.m, j.n, j.k, j.a, j.ars, j.b, j.brs, j.c, j.add = active.Load().f32, m, n, k, a, ars, b, brs, c, add
	j.groups = (n + splitColumns - 1) / splitColumns
	p.For(2*j.groups, 1, j.runFn)
	Axpy32(p, c[:m*n], 1, j.second[:m*n])
	j.a, j.b, j.c = nil, nil, nil
	splitJobs.Put(j)
}

// A splitJob is one product in progress, kept for the next one.
type splitJob struct {
	im       *impl[float32]
	m, n, k  int
	ars, brs int
	groups   int       // of columns
	second   []float32 // the sums of the second half, [m n]
	a, b, c  []float32
	add      bool
	runFn    func(lo, hi int)
}

var splitJobs sync.Pool // of *splitJob

// run does the tasks lo … hi-1: a half of the sums of a group of columns each, the first halves first.
func (j *splitJob) run(lo, hi int) {
	half := (j.k + blockK) / (2 * blockK) * blockK
	for q := lo; q < hi; q++ {
		col := q % j.groups * splitColumns
		cols := min(splitColumns, j.n-col)
		if q < j.groups {
			c := j.c[col:]
			gemm(j.im, nil, j.m, cols, half, j.a, j.ars, 1, j.b[col:], j.brs, 1, nil, c, j.n, start(c, j.n, j.add))
		} else {
			gemm(j.im, nil, j.m, cols, j.k-half, j.a[half:], j.ars, 1, j.b[half*j.brs+col:], j.brs, 1, nil, j.second[col:], j.n, ends[float32]{})
		}
	}
}
