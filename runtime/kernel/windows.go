package kernel

import (
	"math"
	"sync"
)

// Pools: the largest elements and the means of windows that slide over up to three axes. What lies outside does not
// count. A task reduces some rows of the output down their columns first, into rows that have room for what lies
// before and after them, and then along.

// A Window is how windows lie along an axis: the one of output o sees the elements o·Stride + t·Dilation − Before
// for t below Kernel, as far as there are In of them. All but Before and After are at least 1.
type Window struct{ In, Out, Kernel, Stride, Dilation, Before, After int }

// taps are those t that lie inside for output o.
func (w *Window) taps(o int) (lo, hi int) {
	first := o*w.Stride - w.Before
	if first < 0 {
		lo = (-first + w.Dilation - 1) / w.Dilation
	}
	if first < w.In {
		hi = min(w.Kernel, (w.In-1-first)/w.Dilation+1)
	}
	return min(lo, hi), hi
}

// extent is how many elements a window spans.
func (w *Window) extent() int { return (w.Kernel-1)*w.Dilation + 1 }

// whole are the outputs that see all of their taps: those from lo to before hi.
func (w *Window) whole() (lo, hi int) {
	lo = (w.Before + w.Stride - 1) / w.Stride
	if room := w.In + w.Before - w.extent(); room >= 0 {
		hi = min(w.Out, room/w.Stride+1)
	}
	return lo, max(lo, hi)
}

// count is how many elements the mean of output o is of: those inside, or with the padding those that lie within
// Before and After.
func (w *Window) count(o int, padded bool) int {
	if !padded {
		lo, hi := w.taps(o)
		return hi - lo
	}
	return min(w.Kernel, (w.In+w.Before+w.After-o*w.Stride+w.Dilation-1)/w.Dilation)
}

// windowKernels are the loops of pools. Those over rows of the input are asked for their columns, with a step of 1;
// those along rows for a step of 1 or 2 too.
type windowKernels struct {
	largest [2]func(m, n int, y []float32, ys int, x []float32, xs int, at []int)
	columns func(m, n int, y []float64, ys int, x []float32, xs int, at []int, scale float64)
	means   [2]func(m, n int, y []float32, ys int, x []float64, xs int, at []int, w []float64)
	row     func(m, n int, y []float32, x []float32, xs int)
}

var windowsGeneric = windowKernels{
	largest: [2]func(m, n int, y []float32, ys int, x []float32, xs int, at []int){
		func(m, n int, y []float32, ys int, x []float32, xs int, at []int) {
			largestGeneric(m, n, 1, y, ys, x, xs, at)
		},
		func(m, n int, y []float32, ys int, x []float32, xs int, at []int) {
			largestGeneric(m, n, 2, y, ys, x, xs, at)
		},
	},
	columns: columnsGeneric,
	means: [2]func(m, n int, y []float32, ys int, x []float64, xs int, at []int, w []float64){
		func(m, n int, y []float32, ys int, x []float64, xs int, at []int, w []float64) {
			meansGeneric(m, n, 1, y, ys, x, xs, at, w)
		},
		func(m, n int, y []float32, ys int, x []float64, xs int, at []int, w []float64) {
			meansGeneric(m, n, 2, y, ys, x, xs, at, w)
		},
	},
	row: largestOfRowGeneric,
}

// MaxWindows32 computes the largest element of every window of the planes of x, NaN where one of them is NaN, and
// -[math.MaxFloat32] where there are none. A plane has the axes' In elements in x, Out in y, the last axis first.
func MaxWindows32(p *Pool, planes int, axes *[3]Window, y, x []float32) {
	windows(p, planes, axes, true, false, y, x)
}

// MeanWindows32 computes the mean of every window likewise, in float64; 0 where there are no elements. With padded,
// elements outside count as zeros, as far as the axes' Before and After go.
func MeanWindows32(p *Pool, planes int, axes *[3]Window, padded bool, y, x []float32) {
	windows(p, planes, axes, false, padded, y, x)
}

// Max32 computes y[i] = max_j x[i·xs+j], i < m, j < n, NaN where one of them is; which zero is the larger is left
// open. n is at least 1.
func Max32(p *Pool, m, n int, y []float32, x []float32, xs int) {
	if m <= 0 {
		return
	}
	mustHold("y", len(y), m, 1, 1, 0)
	mustHold("X", len(x), m, n, xs, 1)
	j := getWindowJob()
	j.kernels, j.y, j.x, j.n, j.xs = &active.Load().windows, y, x, n, xs
	if n > rowMost {
		j.kernels = &windowsGeneric
	}
	if m*n <= windowLeast {
		p = nil
	}
	p.For(m, max(1, windowGrain/n), j.rowsFn)
	j.give()
}

// The taps of a task, and of the least that is shared out: some 10 and 20 µs with vectors.
const windowGrain, windowLeast = 1 << 16, 1 << 17

// windowTile is the number of elements that the rows of a task have between its two steps, if those are not too long.
const windowTile = 1 << 12

// windowRatio is how many windows along a row are computed at most for one that is wanted: a longer stride than 2 is
// one of 1 or 2 of whose windows the others are left out, which takes less than to go by elements.
const windowRatio = 8

// windowSlack is how many elements after a row the loops along rows may read.
const windowSlack = 64

func windows(p *Pool, planes int, axes *[3]Window, largest, padded bool, y, x []float32) {
	in, out := 1, 1
	for i := range axes {
		in, out = in*axes[i].In, out*axes[i].Out
	}
	if planes <= 0 || out <= 0 {
		return
	}
	mustHold("y", len(y), planes, out, out, 1)
	mustHold("x", len(x), planes, in, in, 1)
	j := getWindowJob()
	j.kernels, j.axes, j.largest, j.padded, j.y, j.x, j.in, j.out = &active.Load().windows, *axes, largest, padded, y, x, in, out
	w := &j.axes[2]
	j.pitch = max(w.Before+w.In, (w.Out-1)*w.Stride+w.extent())
	j.at = j.at[:0]
	for t := range w.Kernel {
		j.at = append(j.at, t*w.Dilation)
	}
	j.step, j.ratio = w.Stride, 1
	if w.Stride > 2 && w.Stride <= 2*windowRatio {
		if j.step = 1; w.Stride%2 == 0 {
			j.step = 2
		}
		if j.ratio = w.Stride / j.step; j.ratio > windowRatio {
			j.step, j.ratio = w.Stride, 1
		}
	}
	j.w, j.bare = j.w[:0], j.bare[:0]
	if largest {
		for o := range w.Out {
			if lo, hi := w.taps(o); lo == hi {
				j.bare = append(j.bare, o)
			}
		}
	} else {
		for o := range w.Out {
			j.w = append(j.w, 1/float64(max(1, w.count(o, padded))))
			for k := 1; k < j.ratio; k++ {
				j.w = append(j.w, 0)
			}
		}
		for range windowSlack {
			j.w = append(j.w, 0)
		}
	}
	if j.pitch > rowMost {
		j.kernels = &windowsGeneric
	}
	rows := out / w.Out
	j.block = min(rows, max(1, windowTile/j.pitch))
	j.blocks = (rows + j.block - 1) / j.block
	taps := w.Kernel*w.Out + axes[0].Kernel*axes[1].Kernel*w.In // of a row
	if planes*rows*taps <= windowLeast {
		p = nil
	}
	p.For(planes*j.blocks, max(1, windowGrain/(j.block*taps)), j.runFn)
	j.give()
}

// windowJob is one pool in progress, kept for the next one.
type windowJob struct {
	kernels         *windowKernels
	axes            [3]Window
	largest, padded bool
	y, x            []float32
	in, out         int // elements of a plane
	pitch           int // of the rows between the steps
	block, blocks   int // rows of a task, tasks of a plane
	step, ratio     int // of windows along a row, how many of those to one that is wanted
	at              []int
	bare            []int     // outputs along the last axis that see nothing, where that is not 0
	w               []float64 // 1 over how many elements there are along the last axis
	n, xs           int       // of Max32

	runFn, rowsFn func(lo, hi int)
}

// windowScratch is what a task needs of its own.
type windowScratch struct {
	at     []int
	narrow []float32
	wide   []float64
	row    []float32 // of windows of which some are wanted
}

var windowJobs, windowScratches sync.Pool

func getWindowJob() *windowJob {
	j, _ := windowJobs.Get().(*windowJob)
	if j == nil {
		j = &windowJob{}
		j.runFn, j.rowsFn = j.run, j.rows
	}
	return j
}

func (j *windowJob) give() {
	j.y, j.x = nil, nil
	windowJobs.Put(j)
}

func (j *windowJob) rows(lo, hi int) { j.kernels.row(hi-lo, j.n, j.y[lo:], j.x[lo*j.xs:], j.xs) }

func (j *windowJob) run(lo, hi int) {
	s, _ := windowScratches.Get().(*windowScratch)
	if s == nil {
		s = &windowScratch{}
	}
	n := j.block*j.pitch + windowSlack
	// What the first step leaves alone lies outside.
	if j.largest {
		s.narrow = filled(s.narrow, n, float32(math.Inf(-1)))
	} else {
		s.wide = filled(s.wide, n, 0)
	}
	rows := j.out / j.axes[2].Out
	for t := lo; t < hi; t++ {
		plane, first := t/j.blocks, t%j.blocks*j.block
		m := min(j.block, rows-first)
		j.down(s, j.x[plane*j.in:(plane+1)*j.in], first, first+m)
		j.along(s, m, j.y[plane*j.out+first*j.axes[2].Out:])
	}
	windowScratches.Put(s)
}

// filled is s with n elements, all of them v.
func filled[T float](s []T, n int, v T) []T {
	if cap(s) < n {
		s = make([]T, n)
	}
	s = s[:n]
	for i := range s {
		s[i] = v
	}
	return s
}

// down reduces the columns of the rows from first to before end of the output, of a plane x.
func (j *windowJob) down(s *windowScratch, x []float32, first, end int) {
	z, y, w := &j.axes[0], &j.axes[1], &j.axes[2]
	from, to := y.whole()
	for row := first; row < end; {
		oz, oy := row/y.Out, row%y.Out
		zlo, zhi := z.taps(oz)
		ylo, yhi := 0, y.Kernel
		n := 1 // rows that see as much, a stride on
		if oy >= from && oy < to && zlo < zhi {
			n = min(to-oy, end-row)
		} else {
			ylo, yhi = y.taps(oy)
		}
		s.at = s.at[:0]
		for tz := zlo; tz < zhi; tz++ {
			for ty := ylo; ty < yhi; ty++ {
				s.at = append(s.at, ((oz*z.Stride+tz*z.Dilation-z.Before)*y.In+oy*y.Stride+ty*y.Dilation-y.Before)*w.In)
			}
		}
		to := (row-first)*j.pitch + w.Before
		switch {
		case j.largest && len(s.at) == 0:
			for i := range s.narrow[to : to+w.In] {
				s.narrow[to+i] = -math.MaxFloat32
			}
		case j.largest:
			j.kernels.largest[0](n, w.In, s.narrow[to:], j.pitch, x, y.Stride*w.In, s.at)
		case len(s.at) == 0:
			clear(s.wide[to : to+w.In])
		default:
			count := z.count(oz, j.padded) * y.count(oy, j.padded)
			j.kernels.columns(n, w.In, s.wide[to:], j.pitch, x, y.Stride*w.In, s.at, 1/float64(count))
		}
		row += n
	}
}

// along reduces m rows that down has made.
func (j *windowJob) along(s *windowScratch, m int, y []float32) {
	w := &j.axes[2]
	if j.ratio == 1 {
		j.reduce(s, 0, m, w.Out, y)
	} else {
		n := (w.Out-1)*j.ratio + 1
		s.row = atLeast(s.row, n)
		for i := range m {
			j.reduce(s, i, 1, n, s.row)
			for o := range w.Out {
				y[i*w.Out+o] = s.row[o*j.ratio]
			}
		}
	}
	for _, o := range j.bare {
		for i := range m {
			y[i*w.Out+o] = -math.MaxFloat32
		}
	}
}

// reduce computes n windows along each of m rows from the i-th on.
func (j *windowJob) reduce(s *windowScratch, i, m, n int, y []float32) {
	switch from := i * j.pitch; {
	case j.largest && j.step <= 2:
		j.kernels.largest[j.step-1](m, n, y, n, s.narrow[from:], j.pitch, j.at)
	case j.largest:
		largestGeneric(m, n, j.step, y, n, s.narrow[from:], j.pitch, j.at)
	case j.step <= 2:
		j.kernels.means[j.step-1](m, n, y, n, s.wide[from:], j.pitch, j.at, j.w)
	default:
		meansGeneric(m, n, j.step, y, n, s.wide[from:], j.pitch, j.at, j.w)
	}
}

// largestGeneric computes y[i·ys+j] = max_k x[i·xs+at[k]+j·step], i < m, j < n: the last NaN where there is one, the
// first of equal numbers. All are at least 1.
func largestGeneric(m, n, step int, y []float32, ys int, x []float32, xs int, at []int) {
	for i := range m {
		to := y[i*ys : i*ys+n]
		for j := range to {
			to[j] = float32(math.Inf(-1))
		}
		for _, a := range at {
			from := x[i*xs+a:]
			for j, best := range to {
				if v := from[j*step]; v > best || v != v {
					to[j] = v
				}
			}
		}
	}
}

// columnsGeneric computes y[i·ys+j] = scale·Σ_k x[i·xs+at[k]+j], i < m, j < n.
func columnsGeneric(m, n int, y []float64, ys int, x []float32, xs int, at []int, scale float64) {
	for i := range m {
		to := y[i*ys : i*ys+n]
		clear(to)
		for _, a := range at {
			for j, v := range x[i*xs+a : i*xs+a+n] {
				to[j] += float64(v)
			}
		}
		for j := range to {
			to[j] *= scale
		}
	}
}

// meansGeneric computes y[i·ys+j] = w[j]·Σ_k x[i·xs+at[k]+j·step], i < m, j < n.
func meansGeneric(m, n, step int, y []float32, ys int, x []float64, xs int, at []int, w []float64) {
	for i := range m {
		to, from := y[i*ys:i*ys+n], x[i*xs:]
		for j := range to {
			sum := 0.0
			for _, a := range at {
				sum += from[a+j*step]
			}
			to[j] = float32(sum * w[j])
		}
	}
}

// largestOfRowGeneric is Max32, m and n at least 1.
func largestOfRowGeneric(m, n int, y []float32, x []float32, xs int) {
	for i := range m {
		best := x[i*xs]
		for _, v := range x[i*xs : i*xs+n] {
			if v > best || v != v {
				best = v
			}
		}
		y[i] = best
	}
}
