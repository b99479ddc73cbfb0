package kernel

import "sync"

// turnedFrom is the size of a B from which on its transpose costs more to gather than the transposes
// of a smaller A and C.
const turnedFrom = 1 << 16

// turnedRows is the rows of C of which a task reads whole lines of its transpose.
const turnedRows = 16

// turns reports whether C = A·B, B being the transpose of a matrix that lies in rows, is quicker
// computed as Cᵀ = Bᵀ·Aᵀ: then B is read as it lies, and A and C, a batch of a layer's inputs and
// outputs, are turned instead of the layer's weights.
func turns(m, n, k, acs, brs, bcs int) bool {
	return acs == 1 && brs == 1 && bcs > 1 && m >= 16 && n*k >= turnedFrom && 3*m*(k+n) <= 2*n*k
}

// gemmTurned is Gemm32 without add for what turns says, by way of the transpose. It gives the same bits.
func gemmTurned(p *Pool, m, n, k int, a []float32, ars int, b []float32, bcs int, c []float32, ldc int) {
	mustHold("C", len(c), m, n, ldc, 1)
	mustHold("A", len(a), m, k, ars, 1)
	mustHold("B", len(b), k, n, 1, bcs)
	j, _ := turnedJobs.Get().(*turnedJob)
	if j == nil {
		j = &turnedJob{}
		j.runFn = j.run
	}
	if len(j.t) < n*m {
		j.t = aligned[float32](n * m)
	}
	j.im, j.m, j.n, j.c, j.ldc = active.Load().f32, m, n, c, ldc
	gemm(j.im, p, n, m, k, b, bcs, 1, a, 1, ars, nil, j.t[:n*m], m, ends[float32]{})
	// By rows, which are pieces of memory of their own: hardware that fetches ahead would send the lines of
	// columns to and fro between the cores.
	p.For(m, max(turnedRows, minTask/32/n&^(turnedRows-1)), j.runFn)
	j.c = nil
	turnedJobs.Put(j)
}

// A turnedJob is one product in progress, kept for the next one.
type turnedJob struct {
	im        *impl[float32]
	m, n, ldc int
	t, c      []float32 // t is Cᵀ[n m]
	runFn     func(lo, hi int)
}

var turnedJobs sync.Pool // of *turnedJob

// run turns the rows lo … hi-1 of C. Rows of C are often a power of two apart and share a set of the
// nearest cache then, so that few of them are filled at a time: their lines are whole before they leave it.
func (j *turnedJob) run(lo, hi int) {
	const block = 8
	for i0 := lo; i0 < hi; i0 += block {
		i1 := min(hi, i0+block)
		col, whole := 0, i0
		if j.im.turn != nil {
			whole = i0 + (i1-i0)/j.im.side*j.im.side
			for ; whole > i0 && col+j.im.side <= j.n; col += j.im.side {
				j.im.turn(whole-i0, j.c[i0*j.ldc+col:], j.ldc, j.t[col*j.m+i0:], j.m)
			}
		}
		for i := i0; i < i1; i++ {
			from := col
			if i >= whole {
				from = 0
			}
			for l := from; l < j.n; l++ {
				j.c[i*j.ldc+l] = j.t[l*j.m+i]
			}
		}
	}
}
