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
	// superK and superN bound the part of B that is packed at a time (16 MB of float64).
	superK, superN = 8 * blockK, 1024
	// minSplit is the number of multiplications below which a product is not worth sharing out
	// (about 50 µs), minTask the one below which a share is not.
	minSplit, minTask = 6 << 20, 2 << 20
)

// impl is one implementation of the products for one element type.
type impl[T float] struct {
	mr, nr int // the tile: rows in registers, columns of a panel
	// tile computes one block, at most one panel wide (cols ≤ nr), of any height:
	//
	//	for i := range m { for j := range cols {
	//		s := Σ_l a[i·ars+l·aks]·b[l·bks+j]    l = 0 … k-1, in this order
	//		if add { c[i·ldc+j] += s } else { c[i·ldc+j] = s }
	//	} }
	//
	// It reads and writes no other element. m, k and cols are at least 1.
	tile func(m, k int, a []T, ars, aks int, b []T, bks int, c []T, ldc, cols int, add bool)

	jobs, blocks sync.Pool // of *job[T], *[]T
}

// Gemm32 computes, for i < m and j < n,
//
//	C[i·ldc+j] (+)= Σ_l A[i·ars+l·acs]·B[l·brs+j·bcs]    l < k
//
// adding to C if add is set, else overwriting it; k = 0 gives zeros. Any strides from 0 up will do,
// so a transposed matrix is one with its strides swapped. C must not overlap A or B. Products with
// zero are never skipped: 0·NaN is NaN. p may be nil. Slices too short for their matrix panic.
func Gemm32(p *Pool, m, n, k int, a []float32, ars, acs int, b []float32, brs, bcs int, c []float32, ldc int, add bool) {
	gemm(active.Load().f32, p, m, n, k, a, ars, acs, b, brs, bcs, nil, c, ldc, add)
}

// Gemm64 is [Gemm32] in float64.
func Gemm64(p *Pool, m, n, k int, a []float64, ars, acs int, b []float64, brs, bcs int, c []float64, ldc int, add bool) {
	gemm(active.Load().f64, p, m, n, k, a, ars, acs, b, brs, bcs, nil, c, ldc, add)
}

// GemmPacked32 is [Gemm32] with a B[k n] that was packed before. It gives the same bits.
func GemmPacked32(p *Pool, m int, a []float32, ars, acs int, b *Packed32, c []float32, ldc int, add bool) {
	gemm(b.im, p, m, b.n, b.k, a, ars, acs, nil, 0, 0, b.data, c, ldc, add)
}

// job is one product in progress. It is kept for the next one, so that a call allocates nothing.
type job[T float] struct {
	im       *impl[T]
	a, b, c  []T
	ars, acs int
	brs, bcs int
	ldc      int
	add      bool

	// The part of the product at hand: rows 0…m-1, columns j0…j1-1, terms k0…k1-1.
	m, j0, j1, k0, k1 int
	// Its panels of B: element (l, j) of panel q is at panels[q·step + (l-k0)·bks + j].
	panels    []T
	step, bks int
	packA     bool

	// One task is rows × group panels, cuts tasks side by side.
	rows, group, cuts int

	scratch       []T
	runFn, packFn func(lo, hi int) // j.run and j.pack, bound once
}

func gemm[T float](im *impl[T], p *Pool, m, n, k int, a []T, ars, acs int, b []T, brs, bcs int, packed []T, c []T, ldc int, add bool) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("C", len(c), m, n, ldc, 1)
	if k <= 0 {
		for i := 0; i < m && !add; i++ {
			clear(c[i*ldc : i*ldc+n])
		}
		return
	}
	mustHold("A", len(a), m, k, ars, acs)
	if packed == nil {
		mustHold("B", len(b), k, n, brs, bcs)
	}

	j, _ := im.jobs.Get().(*job[T])
	if j == nil {
		j = &job[T]{im: im}
		j.runFn, j.packFn = j.run, j.pack
	}
	j.a, j.ars, j.acs = a, ars, acs
	j.b, j.brs, j.bcs = b, brs, bcs
	j.c, j.ldc, j.m = c, ldc, m
	switch {
	case packed != nil:
		j.j0, j.j1, j.k0, j.k1, j.add = 0, n, 0, k, add
		j.panels, j.step, j.bks = packed, k*im.nr, im.nr
		j.compute(p)
	case bcs == 1 && m <= 2*im.mr:
		// Too few rows to earn the packing back.
		j.j0, j.j1, j.k0, j.k1, j.add = 0, n, 0, k, add
		j.panels, j.step, j.bks = b, im.nr, brs
		j.compute(p)
	default:
		for k0 := 0; k0 < k; k0 += superK {
			for j0 := 0; j0 < n; j0 += superN {
				j.j0, j.j1, j.k0, j.k1 = j0, min(n, j0+superN), k0, min(k, k0+superK)
				j.add = add || k0 > 0
				j.packB(p)
				j.compute(p)
			}
		}
	}
	j.a, j.b, j.c, j.panels = nil, nil, nil, nil
	im.jobs.Put(j)
}

// mustHold panics unless a slice of length have holds a matrix of these strides.
func mustHold(name string, have, rows, cols, rs, cs int) {
	if want := (rows-1)*rs + (cols-1)*cs + 1; have < want || rs < 0 || cs < 0 {
		panic(fmt.Sprintf("kernel: %s[%d %d] with strides %d and %d needs %d elements, the slice has %d", name, rows, cols, rs, cs, want, have))
	}
}

// packB packs the part of B at hand into scratch.
func (j *job[T]) packB(p *Pool) {
	nr, k := j.im.nr, j.k1-j.k0
	n := (j.j1 - j.j0 + nr - 1) / nr
	if size := n * nr * k; len(j.scratch) < size {
		j.scratch = aligned[T](size)
	}
	j.panels, j.step, j.bks = j.scratch, k*nr, nr
	if n*nr*k < minSplit/32 {
		p = nil
	}
	p.For(n, max(1, minTask/32/(nr*k)), j.packFn)
}

// pack packs the panels lo … hi-1.
func (j *job[T]) pack(lo, hi int) {
	nr := j.im.nr
	for q := lo; q < hi; q++ {
		col := j.j0 + q*nr
		packPanel(j.panels[q*j.step:], nr, j.b[j.k0*j.brs+col*j.bcs:], j.brs, j.bcs, j.k1-j.k0, min(nr, j.j1-col))
	}
}

// compute multiplies the part at hand, sharing it out if it is big enough. Splits depend on the
// shape alone.
func (j *job[T]) compute(p *Pool) {
	mr, nr, k := j.im.mr, j.im.nr, j.k1-j.k0
	panels := (j.j1 - j.j0 + nr - 1) / nr
	blocks := (j.m + blockM - 1) / blockM
	j.rows = ((j.m+blocks-1)/blocks + mr - 1) / mr * mr
	blocks = (j.m + j.rows - 1) / j.rows
	j.group = panels
	work := max(j.m, mr) * panels * nr * k // few rows cost as much: they wait for memory
	if work >= minSplit {
		j.group = min(panels, max(1, minTask/(min(max(j.m, mr), j.rows)*nr*k)))
	} else {
		p = nil
	}
	j.cuts = (panels + j.group - 1) / j.group
	p.For(blocks*j.cuts, 1, j.runFn)
}

// run does the tasks lo … hi-1.
func (j *job[T]) run(lo, hi int) {
	for t := lo; t < hi; t++ {
		i0, q0 := t/j.cuts*j.rows, t%j.cuts*j.group
		j.task(i0, min(j.m, i0+j.rows), q0, min((j.j1-j.j0+j.im.nr-1)/j.im.nr, q0+j.group))
	}
}

// task multiplies the rows i0 … i1-1 by the panels q0 … q1-1.
func (j *job[T]) task(i0, i1, q0, q1 int) {
	nr := j.im.nr
	for k0 := j.k0; k0 < j.k1; k0 += blockK {
		kc := min(blockK, j.k1-k0)
		a := j.a[i0*j.ars+k0*j.acs:]
		for q := q0; q < q1; q++ {
			col := j.j0 + q*nr
			j.im.tile(i1-i0, kc, a, j.ars, j.acs, j.panels[q*j.step+(k0-j.k0)*j.bks:], j.bks,
				j.c[i0*j.ldc+col:], j.ldc, min(nr, j.j1-col), j.add || k0 > j.k0)
		}
	}
}
