package kernel

import "sync"

// eachElements is the elements of C that GemmEach32 hands out at a time: with as many of what they are
// used with, an optimiser's weight and means, they stay in a second-level cache. One task of an optimiser
// has no more.
const eachElements = optimGrain

// eachB is the elements that a B has at most for GemmEach32: it is packed as a whole.
const eachB = 1 << 20

// SuitsEach32 reports whether [GemmEach32] is the better way to a C[m n] that is used once: it is large,
// and its B[k n] is not too large.
func SuitsEach32(m, n, k int) bool {
	return n > 0 && k > 0 && m*n >= 4*eachElements && 8*n <= eachElements && n*k <= eachB
}

// GemmEach32 is [Gemm32] for whoever needs each element of C[m n] once. It hands out blocks of whole rows
// as soon as they are computed, c being the elements from the at-th on, row after row, and takes their
// memory back when use returns: C is never in memory as a whole. use is called in any order, several at a time
// perhaps from as many goroutines. The elements are the same bits as Gemm32's. No size may be 0.
func GemmEach32(p *Pool, m, n, k int, a []float32, ars, acs int, b []float32, brs, bcs int, use func(at int, c []float32)) {
	mustHold("A", len(a), m, k, ars, acs)
	mustHold("B", len(b), k, n, brs, bcs)
	j, _ := eachJobs.Get().(*eachJob)
	if j == nil {
		j = &eachJob{}
		j.packFn, j.runFn = j.pack, j.run
	}
	j.im = active.Load().f32
	nr := j.im.nr
	panels := (n + nr - 1) / nr
	j.packed = grown(j.packed, panels*nr*k)
	j.m, j.n, j.k, j.a, j.ars, j.acs, j.b, j.brs, j.bcs, j.use = m, n, k, a, ars, acs, b, brs, bcs, use
	p.For(panels, copyGrain(nr*k), j.packFn)
	j.rows = max(1, eachElements/n/j.im.mr) * j.im.mr
	p.For((m+j.rows-1)/j.rows, 1, j.runFn)
	j.a, j.b, j.use = nil, nil, nil
	eachJobs.Put(j)
}

// An eachJob is one product in progress, kept for the next one.
type eachJob struct {
	im            *impl[float32]
	m, n, k       int
	a, b, packed  []float32
	ars, acs      int
	brs, bcs      int
	rows          int // of a block
	use           func(at int, c []float32)
	packFn, runFn func(lo, hi int) // methods, bound once
}

var eachJobs, eachBlocks sync.Pool // of *eachJob, of *[]float32

// pack packs the panels lo … hi-1.
func (j *eachJob) pack(lo, hi int) {
	nr := j.im.nr
	for q := lo; q < hi; q++ {
		j.im.packPanel(j.packed[q*nr*j.k:], j.b[q*nr*j.bcs:], j.brs, j.bcs, j.k, min(nr, j.n-q*nr))
	}
}

// run computes and hands out the blocks lo … hi-1.
func (j *eachJob) run(lo, hi int) {
	c, _ := eachBlocks.Get().(*[]float32)
	if c == nil {
		c = new([]float32)
	}
	*c = grown(*c, j.rows*j.n)
	for q := lo; q < hi; q++ {
		i := q * j.rows
		rows := min(j.rows, j.m-i)
		gemm(j.im, nil, rows, j.n, j.k, j.a[i*j.ars:], j.ars, j.acs, nil, 0, 0, j.packed, *c, j.n, ends[float32]{})
		j.use(i*j.n, (*c)[:rows*j.n])
	}
	eachBlocks.Put(c)
}
