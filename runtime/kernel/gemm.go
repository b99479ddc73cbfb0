package kernel

import (
	"fmt"
	"sync"
)

const (
	// blockK is how many terms of a sum are added up in registers before they go to C. It is part
	// of the result's bits, so it is one number for every size and path.
	blockK = 256
	// blockM is how many rows of A share a pass over a panel of B: a block of A (blockM×blockK)
	// stays in the second-level cache. A multiple of every tile's height.
	blockM = 120
	// rowPanels is the number of panels that go together when A has one row.
	rowPanels = 4
	// nearA is the bytes of an A that stays in the second-level cache beside panels of B.
	nearA = 512 << 10
	// fetchAhead is how far ahead of its use a B is fetched that is used once, in bytes: some 70 ns.
	fetchAhead = 4 << 10
	// rowAhead is the same where rowPanels panels go together, of all of them.
	rowAhead = 3 << 10
	// superN and superK bound the part of B that is packed at a time, superM that of A, together
	// with blockK (4 and 8 MB of float64).
	superM, superN, superK = 32 * blockM, 512, 4 * blockK
	// farApart is the distance in bytes from which on the columns of a transposed A are brought
	// together first: they would share too few sets of the caches.
	farApart = 1 << 10
	// farBytes is an A that lies in memory rather than in a cache.
	farBytes = 16 << 20
	// fewRows is the rows of A that are one block where B has to be packed, gatherPanels the panels that
	// are packed together then: a run of elements of each row of B.
	fewRows, gatherPanels = 2 * blockM, 4
	// shortSum is the terms from which on a block of C takes longer to compute than to write.
	shortSum = 24
	// fewPanels is the panels of B that every task has where A is larger, fewPanelsRows the rows of A
	// that it takes then.
	fewPanels, fewPanelsRows = 8, 48
	// nearBytes is a B, or nearRows rows of it, that needs no packing: its panels lie close together.
	nearBytes, nearRows = 32 << 10, 32
	// minSplit is the number of multiplications below which a product is not worth waking a helper for
	// (about 50 µs), minAwake the one below which it is not worth sharing out with one that is awake,
	// minTask the one below which a share is not. Small tasks let cores finish together, even if one is
	// slower than the others; maxTasks are enough for any CPU.
	minSplit, minAwake, minTask, maxTasks = 6 << 20, 1 << 20, 512 << 10, 64
	// strips is how often a block of A is read: so cores that begin at both ends of a product read
	// different panels of B, their own half of a B that would not fit one core's caches.
	strips = 2
)

// impl is one implementation of the products for one element type.
type impl[T float] struct {
	mr, nr int // the tile: rows in registers, columns of a panel
	// tile computes one block, at most one panel wide (cols ≤ nr), of any height:
	//
	//	for i := range m { for j := range cols {
	//		s := Σ_l a[i·ars+l·aks]·b[l·bks+j]    l = 0 … k-1, in this order
	//		if from != nil { s += from[i·ldf+j] }
	//		if relu { s = max(s, 0) }
	//		c[i·ldc+j] = s
	//	} }
	//
	// It reads and writes no other element. m, k and cols are at least 1. from may be c itself.
	tile func(m, k int, a []T, ars, aks int, b []T, bks int, c []T, ldc, cols int, from []T, ldf int, relu bool)

	// stream is tile for whole panels that are read from end to end, from far away. With every term of
	// every tile it asks for the two vectors at b plus ahead bytes, pace bytes after the last ones. It may
	// be missing.
	stream func(m, k int, a []T, ars, aks int, b []T, bks, ahead, pace int, c []T, ldc int, from []T, ldf int, relu bool)
	// few is tile for at most mr rows and packed panels, one after the other in B: of each the sums of at
	// most so many terms at a time, the first of which start from from, later ones from what is in C. It
	// asks for what lies ahead elements after what it reads. It may be missing.
	few func(m, k, most, panels int, a []T, ars, aks int, b []T, ahead int, c []T, ldc int, from []T, ldf int, relu bool)
	// row is tile for one row of rowPanels whole panels, a panel step elements after the other. It asks
	// for what lies ahead elements after what it reads. It may be missing.
	row func(k int, a []T, aks int, b []T, step, bks, ahead int, c, from []T, relu bool)
	// pair is two tiles, of which the first makes what the second multiplies, for each of the panels of b,
	// step elements apart, and for each sample:
	//
	//	for s := range samples {
	//		for q := range panels {
	//			for r := range terms { T[n1, r, nr] = x[n1 n2]·b[q·step + r·n2·nr:][n2 nr] }    rows of terms·nr
	//			y[m1, q·nr:] = a[m1 n1·terms]·T[n1·terms nr] + from[m1, q·nr:]    rows of y and from are m2 apart
	//		}
	//		x, y, from = x[ldx:], y[ldy:], from[ldf:]
	//	}
	//
	// with relu as in tile. from may be missing, with an ldf of 0, and so may pair.
	pair func(samples, panels int, x *T, ldx, n1, n2 int, b *T, step, terms int, t *T, a *T, m1 int, y *T, ldy, m2 int, from *T, ldf int, relu bool)
	// turn transposes: dst[l·ds+j] = src[j·ss+l], l < n, j < side; n is a positive multiple of side.
	// It may be missing.
	turn func(n int, dst []T, ds int, src []T, ss int)
	side int

	jobs   sync.Pool // of *job[T]
	panels sync.Pool // of *[]T, a block of a panel
}

// Gemm32 computes, for i < m and j < n,
//
//	C[i·ldc+j] (+)= Σ_l A[i·ars+l·acs]·B[l·brs+j·bcs]    l < k
//
// adding to C if add is set, else overwriting it; k = 0 gives zeros. Any strides from 0 up will do,
// so a transposed matrix is one with its strides swapped. C must not overlap A or B. Products with
// zero are never skipped: 0·NaN is NaN. p may be nil. Slices too short for their matrix panic.
func Gemm32(p *Pool, m, n, k int, a []float32, ars, acs int, b []float32, brs, bcs int, c []float32, ldc int, add bool) {
	if !add && turns(m, n, k, acs, brs, bcs) {
		gemmTurned(p, m, n, k, a, ars, b, bcs, c, ldc)
		return
	}
	gemm(active.Load().f32, p, m, n, k, a, ars, acs, b, brs, bcs, nil, c, ldc, start(c, ldc, add))
}

// Gemm64 is [Gemm32] in float64.
func Gemm64(p *Pool, m, n, k int, a []float64, ars, acs int, b []float64, brs, bcs int, c []float64, ldc int, add bool) {
	gemm(active.Load().f64, p, m, n, k, a, ars, acs, b, brs, bcs, nil, c, ldc, start(c, ldc, add))
}

// GemmPacked32 is [Gemm32] with a B[k n] that was packed before. It gives the same bits.
func GemmPacked32(p *Pool, m int, a []float32, ars, acs int, b *Packed32, c []float32, ldc int, add bool) {
	gemm(b.path.f32, p, m, b.n, b.k, a, ars, acs, nil, 0, 0, b.data, c, ldc, start(c, ldc, add))
}

// ends is where the sums of a product start and how they end: element (i, j) of the result is
//
//	act(from[i·ldf+j] + Σ + bias[j])
//
// Each part may be missing.
type ends[T float] struct {
	from []T
	ldf  int
	bias []T
	act  unary[T]
	relu bool // instead of act: the tile's own, which is at the end if bias is missing

	alpha, beta T
}

// start is ends of a product that adds to C, or overwrites it.
func start[T float](c []T, ldc int, add bool) ends[T] {
	if add {
		return ends[T]{from: c, ldf: ldc}
	}
	return ends[T]{}
}

// finish does what is left to do with m rows of sums when they are complete, from column col on.
func (e *ends[T]) finish(m, n int, c []T, ldc, col int) {
	if e.bias != nil {
		for i := range m {
			row := c[i*ldc : i*ldc+n]
			for j, b := range e.bias[col : col+n] {
				row[j] += b
			}
		}
	}
	if e.act != nil {
		e.act(m, n, c, ldc, c, ldc, e.alpha, e.beta)
	}
}

// job is one product in progress. It is kept for the next one, so that a call allocates nothing.
type job[T float] struct {
	im       *impl[T]
	a, b, c  []T
	ars, acs int
	brs, bcs int
	ldc      int
	ends     ends[T]
	k        int // where the sums end

	// The part of the product at hand: rows i0…i1-1, columns j0…j1-1, terms k0…k1-1.
	i0, i1, j0, j1, k0, k1 int
	// Its panels of B: element (l, j) of panel q is at panels[q·step + (l-base)·bks + j].
	panels          []T
	base, step, bks int
	// Its blocks of A, if packed: element (i, l) of block r is at packedA[(r·(k1-k0) + l-k0)·rows + i].
	packedA []T

	// One task is a block of rows by group panels; cuts tasks lie side by side. They go in strips, wide
	// of them for all blocks of rows before the next wide.
	rows, group, cuts, wide int

	gathers bool // each task packs a panel of B before it uses it

	scratchA, scratchB      []T
	runFn, packAFn, packBFn func(lo, hi int) // methods, bound once
}

func gemm[T float](im *impl[T], p *Pool, m, n, k int, a []T, ars, acs int, b []T, brs, bcs int, packed []T, c []T, ldc int, e ends[T]) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("C", len(c), m, n, ldc, 1)
	if k <= 0 {
		for i := range m {
			row := c[i*ldc : i*ldc+n]
			clear(row[copy(row, after(e.from, i*e.ldf)):])
			for j := range row {
				if e.relu {
					row[j] = max(row[j], 0)
				}
			}
		}
		e.finish(m, n, c, ldc, 0)
		return
	}
	mustHold("A", len(a), m, k, ars, acs)
	if packed == nil {
		mustHold("B", len(b), k, n, brs, bcs)
	}

	j, _ := im.jobs.Get().(*job[T])
	if j == nil {
		j = im.newJob()
	}
	j.a, j.ars, j.acs = a, ars, acs
	j.b, j.brs, j.bcs = b, brs, bcs
	j.c, j.ldc, j.ends, j.k = c, ldc, e, k
	j.j0, j.j1, j.k0, j.k1, j.base = 0, n, 0, k, 0
	switch {
	case packed != nil:
		j.panels, j.step, j.bks = packed, k*im.nr, im.nr
		j.compute(p, m)
	case bcs == 1 && (m <= 2*im.mr || brs*min(k, nearRows)*sizeOf[T]() <= nearBytes):
		// Packing would not be earned back.
		j.panels, j.step, j.bks = b, im.nr, brs
		j.compute(p, m)
	case m <= fewRows && acs == 1:
		// All rows are one block: each part of a panel is used by one task alone, which packs it into
		// its nearest cache.
		j.gathers, j.i0, j.i1 = true, 0, m
		j.split(p, false)
		j.gathers = false
	default:
		wide := superN * max(1, superK/k) // few terms leave room for more columns
		for k0 := 0; k0 < k; k0 += superK {
			for j0 := 0; j0 < n; j0 += wide {
				j.j0, j.j1, j.k0, j.k1 = j0, min(n, j0+wide), k0, min(k, k0+superK)
				j.gatherB(p)
				j.compute(p, m)
			}
		}
	}
	j.a, j.b, j.c, j.panels, j.ends = nil, nil, nil, nil, ends[T]{}
	im.jobs.Put(j)
}

func (im *impl[T]) newJob() *job[T] {
	j := &job[T]{im: im}
	j.runFn, j.packAFn, j.packBFn = j.run, j.packA, j.packB
	return j
}

// mustHold panics unless a slice of length have holds a matrix of these strides.
func mustHold(name string, have, rows, cols, rs, cs int) {
	if want := (rows-1)*rs + (cols-1)*cs + 1; have < want || rs < 0 || cs < 0 {
		panic(fmt.Sprintf("kernel: %s[%d %d] with strides %d and %d needs %d elements, the slice has %d", name, rows, cols, rs, cs, want, have))
	}
}

// gatherB packs the part of B at hand.
func (j *job[T]) gatherB(p *Pool) {
	nr, k := j.im.nr, j.k1-j.k0
	n := (j.j1 - j.j0 + nr - 1) / nr
	if size := n * nr * k; len(j.scratchB) < size {
		j.scratchB = aligned[T](size)
	}
	j.panels, j.base, j.step, j.bks = j.scratchB, j.k0, k*nr, nr
	p.For(n, copyGrain(nr*k), j.packBFn)
}

// packB packs the panels lo … hi-1.
func (j *job[T]) packB(lo, hi int) {
	nr := j.im.nr
	for q := lo; q < hi; q++ {
		col := j.j0 + q*nr
		j.im.packPanel(j.panels[q*j.step:], j.b[j.k0*j.brs+col*j.bcs:], j.brs, j.bcs, j.k1-j.k0, min(nr, j.j1-col))
	}
}

// gatherA packs the rows at hand of a transposed A, in blocks of j.rows.
func (j *job[T]) gatherA(p *Pool, blocks int) {
	k := j.k1 - j.k0
	if size := blocks * j.rows * k; len(j.scratchA) < size {
		j.scratchA = aligned[T](size)
	}
	j.packedA = j.scratchA
	p.For(k, copyGrain(j.i1-j.i0), j.packAFn)
}

// packA packs the terms lo … hi-1: each is one run of elements of A, read from end to end.
func (j *job[T]) packA(lo, hi int) {
	k := j.k1 - j.k0
	for l := lo; l < hi; l++ {
		from := j.a[(j.k0+l)*j.acs:]
		for i, at := j.i0, l*j.rows; i < j.i1; i, at = i+j.rows, at+k*j.rows {
			copy(j.packedA[at:at+j.rows], from[i:j.i1])
		}
	}
}

// copyGrain is the grain of a loop of which every step copies so many elements.
func copyGrain(elements int) int { return max(1, minTask/32/elements) }

// compute multiplies the part at hand of all m rows.
func (j *job[T]) compute(p *Pool, m int) {
	j.i0, j.i1 = 0, m
	far := j.ars == 1 && j.acs*sizeOf[T]() >= farApart && m > j.im.mr
	// Bringing columns together costs as much as multiplying them by a panel or two, less than
	// fetching them one by one from memory.
	if !far || j.j1-j.j0 <= 8*j.im.nr && j.acs*(j.k1-j.k0)*sizeOf[T]() < farBytes {
		j.split(p, false)
		return
	}
	first, last := j.k0, j.k1
	for k0 := first; k0 < last; k0 += blockK {
		j.k0, j.k1 = k0, min(last, k0+blockK)
		for i0 := 0; i0 < m; i0 += superM {
			j.i0, j.i1 = i0, min(m, i0+superM)
			j.split(p, true)
		}
	}
}

// split multiplies the part at hand, shared out if it is big enough. The shares depend on the shape
// alone.
func (j *job[T]) split(p *Pool, gather bool) {
	mr, nr, m, k := j.im.mr, j.im.nr, j.i1-j.i0, j.k1-j.k0
	panels := (j.j1 - j.j0 + nr - 1) / nr
	blocks := (m + blockM - 1) / blockM
	switch {
	case j.gathers:
		blocks = 1
	case !gather && m > blockM && panels <= fewPanels:
		// A task has all panels, so that A, which is the larger matrix, is fetched once.
		blocks = (m + fewPanelsRows - 1) / fewPanelsRows
	}
	j.rows = ((m+blocks-1)/blocks + mr - 1) / mr * mr
	blocks = (m + j.rows - 1) / j.rows
	j.group = panels
	each := max(mr/2, min(m, j.rows)) * nr * k // one row costs as much as four: it waits for memory
	work := each * blocks * panels
	if !p.worth(work) {
		p = nil
	}
	if p != nil || work >= minSplit {
		j.group = min(panels, max(minTask/each, blocks*panels/maxTasks, 1))
		if j.rows <= fewPanelsRows && panels <= fewPanels {
			j.group = panels
		}
		if j.gathers {
			j.group = (j.group + gatherPanels - 1) / gatherPanels * gatherPanels
		}
	}
	j.cuts = (panels + j.group - 1) / j.group
	j.wide = (j.cuts + strips - 1) / strips
	if j.packedA = nil; gather {
		j.gatherA(p, blocks)
	}
	p.For(blocks*j.cuts, 1, j.runFn)
}

// run does the tasks lo … hi-1.
func (j *job[T]) run(lo, hi int) {
	panels := (j.j1 - j.j0 + j.im.nr - 1) / j.im.nr
	if j.gathers {
		j.gathered(lo*j.group, min(panels, hi*j.group))
		return
	}
	blocks := (j.i1 - j.i0 + j.rows - 1) / j.rows
	for t := lo; t < hi; t++ {
		first := t / (blocks * j.wide) * j.wide // of the strip
		in, wide := t-first*blocks, min(j.wide, j.cuts-first)
		q := (first + in%wide) * j.group
		j.task(in/wide, q, min(panels, q+j.group))
	}
}

// gathered multiplies all rows by the panels q0 … q1-1, which it packs.
func (j *job[T]) gathered(q0, q1 int) {
	im, nr := j.im, j.im.nr
	panels, _ := im.panels.Get().(*[]T)
	if panels == nil {
		panels = new([]T)
		*panels = aligned[T](gatherPanels * nr * blockK)
	}
	for ; q0 < q1; q0 += gatherPanels {
		lo, hi := q0*nr, min(j.j1, min(q0+gatherPanels, q1)*nr)
		from, ldf := j.ends.from, j.ends.ldf
		for k0 := 0; k0 < j.k; k0 += blockK {
			k := min(blockK, j.k-k0)
			for col := lo; col < hi; col += nr {
				im.packPanel((*panels)[(col-lo)*k:], j.b[k0*j.brs+col*j.bcs:], j.brs, j.bcs, k, min(nr, hi-col))
			}
			last := k0+k == j.k
			// Where a sum is short, C is what takes time: rows a power of two apart share a set of the
			// nearest cache, so few of them go together.
			rows := j.i1
			if j.k < shortSum {
				rows = im.mr
			}
			for i := 0; i < j.i1; i += rows {
				m := min(rows, j.i1-i)
				for col := lo; col < hi; col += nr {
					n, c := min(nr, hi-col), j.c[i*j.ldc+col:]
					im.tile(m, k, j.a[i*j.ars+k0:], j.ars, 1, (*panels)[(col-lo)*k:], nr, c, j.ldc, n, after(from, i*ldf+col), ldf, last && j.ends.relu)
					if last {
						j.ends.finish(m, n, c, j.ldc, col)
					}
				}
			}
			from, ldf = j.c, j.ldc
		}
	}
	im.panels.Put(panels)
}

// task multiplies block r of the rows by the panels q0 … q1-1.
func (j *job[T]) task(r, q0, q1 int) {
	nr := j.im.nr
	i := j.i0 + r*j.rows
	m := min(j.rows, j.i1-i)
	if m == 1 && j.im.row != nil {
		for ; q0+rowPanels <= q1 && j.j0+(q0+rowPanels)*nr <= j.j1; q0 += rowPanels {
			for k0 := j.k0; k0 < j.k1; k0 += blockK {
				j.multiply(r, i, 1, q0, rowPanels, k0, 0)
			}
		}
	}
	if whole := min(q1, (j.j1-j.j0)/nr) - q0; m <= j.im.mr && j.im.few != nil && whole > 0 && j.packedAll() {
		col := j.j0 + q0*nr
		from, c := after(j.ends.from, i*j.ends.ldf+col), j.c[i*j.ldc+col:]
		j.im.few(m, j.k, blockK, whole, j.a[i*j.ars:], j.ars, j.acs, j.panels[q0*j.step:], fetchAhead/sizeOf[T](), c, j.ldc, from, j.ends.ldf, j.ends.relu)
		j.ends.finish(m, whole*nr, c, j.ldc, col)
		q0 += whole
	}
	if m*(j.k1-j.k0)*sizeOf[T]() <= nearA {
		// A panel from end to end is one stream.
		for q := q0; q < q1; q++ {
			for k0 := j.k0; k0 < j.k1; k0 += blockK {
				j.multiply(r, i, m, q, 1, k0, min(blockK, j.k1-k0)*j.bks)
			}
		}
		return
	}
	for k0 := j.k0; k0 < j.k1; k0 += blockK {
		for q := q0; q < q1; q++ {
			j.multiply(r, i, m, q, 1, k0, j.step)
		}
	}
}

// packedAll tells whether panels of all terms are at hand, packed one after the other, and A as it came.
func (j *job[T]) packedAll() bool {
	return j.packedA == nil && j.k0 == 0 && j.k1 == j.k && j.bks == j.im.nr && j.step == j.k*j.im.nr
}

// multiply adds up the terms from k0 on, blockK of them, of m rows from i on, which are of block r, and
// of panels from q on. The part of B that comes next lies next elements after this one.
func (j *job[T]) multiply(r, i, m, q, panels, k0, next int) {
	im, k, col := j.im, min(blockK, j.k1-k0), j.j0+q*j.im.nr
	var a []T
	ars, acs := j.ars, j.acs
	if j.packedA != nil {
		a, ars, acs = j.packedA[(r*(j.k1-j.k0)+k0-j.k0)*j.rows:], 1, j.rows
	} else {
		a = j.a[i*ars+k0*acs:]
	}
	// Later terms are added to what is in C.
	from, ldf := j.ends.from, j.ends.ldf
	if k0 > 0 {
		from, ldf = j.c, j.ldc
	}
	from = after(from, i*ldf+col)
	n, c := min(panels*im.nr, j.j1-col), j.c[i*j.ldc+col:]
	b := j.panels[q*j.step+(k0-j.base)*j.bks:]
	last := k0+k == j.k
	relu := last && j.ends.relu
	packed := j.bks == im.nr
	switch {
	case panels > 1 && packed:
		im.row(k, a, acs, b, j.step, j.bks, rowAhead/rowPanels/sizeOf[T](), c, from, relu)
	case panels > 1:
		im.row(k, a, acs, b, j.step, j.bks, 0, c, from, relu)
	case im.stream == nil || n < im.nr || !packed:
		im.tile(m, k, a, ars, acs, b, j.bks, c, j.ldc, n, from, ldf, relu)
	default:
		pace := (im.nr*sizeOf[T]()*im.mr + m - 1) / m
		im.stream(m, k, a, ars, acs, b, j.bks, next*sizeOf[T](), pace, c, j.ldc, from, ldf, relu)
	}
	if last {
		j.ends.finish(m, n, c, j.ldc, col)
	}
}
