package kernel

import "sync"

// LogSoftmax32 computes, for each of m rows of n elements that lie one after the other,
//
//	y[i·n+j] = x[i·n+j] − M − ln Σ_l exp(x[i·n+l] − M)    M = max_l x[i·n+l]
//
// to 3 units in the last place, or in that of a 64th. A row with NaN or +Inf, or of -Inf alone, gives NaN. y must
// not overlap x. The sums are in float64.
func LogSoftmax32(p *Pool, m, n int, y, x []float32) {
	softmaxLines(p, m, n, 1, y, x, (*softmaxJob).logRows)
}

// SoftmaxColumns32 is [Softmax32] along the middle one of three axes, x and y being [m n w]: for each i < m, k < w,
//
//	y[i, j, k] = exp(x[i, j, k] − M) / Σ_l exp(x[i, l, k] − M)    M = max_l x[i, l, k]
//
// y must not overlap x.
func SoftmaxColumns32(p *Pool, m, n, w int, y, x []float32) {
	if w == 1 {
		Softmax32(p, m, n, y, n, x, n)
		return
	}
	softmaxLines(p, m, n, w, y, x, (*softmaxJob).columns)
}

// LogSoftmaxColumns32 is [LogSoftmax32] along the middle one of three axes, as [SoftmaxColumns32].
func LogSoftmaxColumns32(p *Pool, m, n, w int, y, x []float32) {
	if w == 1 {
		LogSoftmax32(p, m, n, y, x)
		return
	}
	softmaxLines(p, m, n, w, y, x, (*softmaxJob).logColumns)
}

// softmaxMost is the elements of a part of a matrix that are done at a time, so that they stay in the nearer caches,
// and softmaxWide the most columns of one.
const softmaxMost, softmaxWide = 1 << 14, 1 << 10

// softmaxJob is one loop in progress, kept for the next one. A task is a part of a matrix: some rows, or a run of
// columns.
type softmaxJob struct {
	path    *path
	n, w    int
	y, x    []float32
	do      func(j *softmaxJob, s *softmaxScratch, task int)
	size    int // rows or columns of a part
	parts   int // of columns in a matrix
	rows    int
	runFn   func(lo, hi int) // run, bound once
	scratch sync.Pool        // of *softmaxScratch
}

// softmaxScratch is what a task needs for its lines: their maxima, what their logarithms are taken of, and their sums.
type softmaxScratch struct {
	most, logs [softmaxWide]float32
	sums       [softmaxWide]float64
}

var softmaxJobs sync.Pool

func softmaxLines(p *Pool, m, n, w int, y, x []float32, do func(j *softmaxJob, s *softmaxScratch, task int)) {
	if m <= 0 || n <= 0 || w <= 0 {
		return
	}
	x, y = x[:m*n*w], y[:m*n*w]
	j, _ := softmaxJobs.Get().(*softmaxJob)
	if j == nil {
		j = &softmaxJob{}
		j.runFn = j.run
	}
	j.path, j.n, j.w, j.y, j.x, j.do = active.Load(), n, w, y, x, do
	var tasks int
	if w == 1 {
		j.size, j.rows = min(max(1, softmaxMost/n), softmaxWide), m
		tasks = (m + j.size - 1) / j.size
	} else {
		// Whole vectors, and lines of a cache.
		j.size = min(max(16, softmaxMost/n&^15), softmaxWide)
		j.parts = (w + j.size - 1) / j.size
		tasks = m * j.parts
	}
	if m*n*w <= 2*rowGrain {
		p = nil
	}
	p.For(tasks, 1, j.runFn)
	j.path, j.y, j.x, j.do = nil, nil, nil, nil
	softmaxJobs.Put(j)
}

func (j *softmaxJob) run(lo, hi int) {
	s, _ := j.scratch.Get().(*softmaxScratch)
	if s == nil {
		s = &softmaxScratch{}
	}
	for t := lo; t < hi; t++ {
		j.do(j, s, t)
	}
	j.scratch.Put(s)
}

// part is where the columns of a task begin, and how many there are.
func (j *softmaxJob) part(task int) (at, columns int) {
	from := task % j.parts * j.size
	return task/j.parts*j.n*j.w + from, min(j.size, j.w-from)
}

// rowsAtOnce is how many rows of so many columns go to one call, so that they stay in the nearest cache.
func rowsAtOnce(columns int) int { return max(1, 1<<12/columns) }

// powers leaves e^(x−M) of a task's columns in y, M and the sums in scratch.
func (j *softmaxJob) powers(s *softmaxScratch, task int) (y, x []float32, columns int) {
	at, columns := j.part(task)
	x, y = j.x[at:], j.y[at:]
	most, step := s.most[:columns], rowsAtOnce(columns)
	copy(most, x)
	for i := 0; i < j.n; i += step {
		j.path.zips[Maximum].rows(min(step, j.n-i), columns, most, 0, x[i*j.w:], j.w, most, 0)
	}
	sums := s.sums[:columns]
	clear(sums)
	for i := 0; i < j.n; i += step {
		m, x, y := min(step, j.n-i), x[i*j.w:], y[i*j.w:]
		j.path.zips[Minus].rows(m, columns, y, j.w, x, j.w, most, 0)
		j.path.unary[Exp](m, columns, y, j.w, y, j.w, 0, 0)
		FoldColumns32(FoldSum, m, columns, sums, y, j.w)
	}
	return y, x, columns
}

func (j *softmaxJob) columns(s *softmaxScratch, task int) {
	y, _, columns := j.powers(s, task)
	for k, sum := range s.sums[:columns] {
		s.logs[k] = float32(1 / sum)
	}
	step := rowsAtOnce(columns)
	for i := 0; i < j.n; i += step {
		y := y[i*j.w:]
		j.path.zips[Times].rows(min(step, j.n-i), columns, y, j.w, y, j.w, s.logs[:], 0)
	}
}

func (j *softmaxJob) logColumns(s *softmaxScratch, task int) {
	y, x, columns := j.powers(s, task)
	logs, minus, step := j.logarithms(s, columns), j.path.zips[Minus].rows, rowsAtOnce(columns)
	for i := 0; i < j.n; i += step {
		m, x, y := min(step, j.n-i), x[i*j.w:], y[i*j.w:]
		minus(m, columns, y, j.w, x, j.w, s.most[:], 0)
		minus(m, columns, y, j.w, y, j.w, logs, 0)
	}
}

// logarithms is those of n sums: of the largest term, which is 1, and the others.
func (j *softmaxJob) logarithms(s *softmaxScratch, n int) []float32 {
	logs := s.logs[:n]
	for k, sum := range s.sums[:n] {
		logs[k] = float32(sum - 1)
	}
	j.path.unary[Log1p](1, n, logs, 0, logs, 0, 0, 0)
	return logs
}

func (j *softmaxJob) logRows(s *softmaxScratch, task int) {
	n, from := j.n, task*j.size
	m := min(j.size, j.rows-from)
	x, y := j.x[from*n:(from+m)*n], j.y[from*n:(from+m)*n]
	minus, sums := j.path.zips[Minus].right, s.sums[:m]
	for i := range sums {
		sums[i] = FoldMax.Neutral()
	}
	FoldRows32(FoldMax, m, n, sums, x, n)
	for i, most := range sums {
		s.most[i] = float32(most)
	}
	clear(sums)
	for from := 0; from < n; from += softmaxMost { // one piece, unless the row is long and alone
		x, y, columns := x[from:], y[from:], min(softmaxMost, n-from)
		minus(m, columns, y, n, x, n, s.most[:], 1)
		j.path.unary[Exp](m, columns, y, n, y, n, 0, 0)
		FoldRows32(FoldSum, m, columns, sums, y, n)
	}
	logs := j.logarithms(s, m)
	for from := 0; from < n; from += softmaxMost {
		x, y, columns := x[from:], y[from:], min(softmaxMost, n-from)
		minus(m, columns, y, n, x, n, s.most[:], 1)
		minus(m, columns, y, n, y, n, logs, 1)
	}
}
