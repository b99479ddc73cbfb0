package kernel

import "sync"

// The passes over activations that training needs beside its products: a bias with or without
// ReLU, and back. No multiplication is fused with an addition, sums go from the first row to the
// last: the bits depend neither on the path nor on the pool.

// Bias32 is y[i·n+j] = x[i·n+j] + b[j], i < rows, j < n; with relu what is below 0 becomes 0, NaN
// stays. y may be x.
func Bias32(p *Pool, rows, n int, y, x, b []float32, relu bool) {
	kind := biasPlain
	if relu {
		kind = biasRelu
	}
	biasLoop(p, kind, rows, n, [4][]float32{y[:rows*n], x[:rows*n], b[:n]})
}

// ReluBack32 is the way back through ReLU, of which y came out: dx[i] (+)= dy[i] where y[i] > 0; where it
// is not, dx[i] gets 0. dx may be dy.
func ReluBack32(p *Pool, dx, dy, y []float32, add bool) {
	kind := biasGate
	if add {
		kind = biasGateAdd
	}
	biasLoop(p, kind, 1, len(dx), [4][]float32{dx, dy[:len(dx)], y[:len(dx)]})
}

// BiasReluBack32 is the way back through Bias32 with relu, of which y came out: dx[i·n+j] becomes
// dy[i·n+j] where y[i·n+j] > 0, else 0, and db[j] += Σ_i dx[i·n+j]. dx may be dy.
func BiasReluBack32(p *Pool, rows, n int, dx, dy, y, db []float32) {
	biasLoop(p, biasGateSum, rows, n, [4][]float32{dx[:rows*n], dy[:rows*n], y[:rows*n], db[:n]})
}

// SumRows32 is y[j] += Σ_i x[i·n+j], i < rows, j < n.
func SumRows32(p *Pool, rows, n int, y, x []float32) {
	biasLoop(p, biasSum, rows, n, [4][]float32{y[:n], x[:rows*n]})
}

// The loops of a biasJob.
const (
	biasPlain = iota
	biasRelu
	biasGate
	biasGateAdd
	biasGateSum
	biasSum
)

const (
	// biasGrain is the number of columns of a task: its part of a row of sums stays in registers' reach.
	biasGrain = 1 << 9
	// minBias is the number of elements that take as long as minSplit multiplications.
	minBias = 1 << 18
)

// A biasJob is one loop in progress: over columns where a sum goes over the rows, else over rows, which
// are one piece of memory; between two cores that write to the same pages hardware that fetches ahead
// sends lines to and fro. It is kept for the next one, so that a call allocates nothing.
type biasJob struct {
	kind, rows, n int
	v             [4][]float32
	byRow         bool
	runFn         func(lo, hi int)
}

var biasJobs sync.Pool // of *biasJob

func biasLoop(p *Pool, kind, rows, n int, v [4][]float32) {
	j, _ := biasJobs.Get().(*biasJob)
	if j == nil {
		j = &biasJob{}
		j.runFn = j.run
	}
	j.kind, j.rows, j.n, j.v = kind, rows, n, v
	if !p.worth(rows * n * (minSplit / minBias)) {
		p = nil
	}
	if j.byRow = rows > 1 && kind != biasGateSum && kind != biasSum; j.byRow {
		p.For(rows, max(1, minBias/16/max(1, n)), j.runFn)
	} else {
		p.For(n, max(biasGrain, minBias/4/max(1, rows)&^15), j.runFn)
	}
	j.v = [4][]float32{}
	biasJobs.Put(j)
}

// run does the rows lo … hi-1, or the columns of all rows.
func (j *biasJob) run(lo, hi int) {
	i0, i1 := 0, j.rows
	if j.byRow {
		i0, i1, lo, hi = lo, hi, 0, j.n
	}
	for i := i0; i < i1; i++ {
		at := func(k int) []float32 { return j.v[k][i*j.n+lo : i*j.n+hi] }
		switch j.kind {
		case biasPlain, biasRelu:
			biasRow(j.kind, at(0), at(1), j.v[2][lo:hi], nil)
		case biasGateSum:
			biasRow(j.kind, at(0), at(1), at(2), j.v[3][lo:hi])
		case biasSum:
			biasRow(j.kind, j.v[0][lo:hi], at(1), nil, nil)
		default:
			biasRow(j.kind, at(0), at(1), at(2), nil)
		}
	}
}

// biasRow is a part of a row: whole blocks on the path in use, the rest in plain Go.
func biasRow(kind int, a, b, c, d []float32) {
	if n := biasBlocks(kind, a, b, c, d); n > 0 {
		a, b, c, d = a[n:], b[n:], after(c, n), after(d, n)
	}
	switch kind {
	case biasPlain:
		biasGeneric(a, b, c)
	case biasRelu:
		biasReluGeneric(a, b, c)
	case biasGate:
		gateGeneric(a, b, c)
	case biasGateAdd:
		gateAddGeneric(a, b, c)
	case biasGateSum:
		gateSumGeneric(a, b, c, d)
	case biasSum:
		axpyGeneric(a, b, &[10]float32{1})
	}
}

func biasGeneric(y, x, b []float32) {
	x, b = x[:len(y)], b[:len(y)]
	for i, v := range x {
		y[i] = v + b[i]
	}
}

func biasReluGeneric(y, x, b []float32) {
	x, b = x[:len(y)], b[:len(y)]
	for i, v := range x {
		if v += b[i]; v < 0 {
			v = 0
		}
		y[i] = v
	}
}

func gateGeneric(dx, dy, y []float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, g := range dy {
		if !(y[i] > 0) {
			g = 0
		}
		dx[i] = g
	}
}

func gateAddGeneric(dx, dy, y []float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, g := range dy {
		if !(y[i] > 0) {
			g = 0
		}
		dx[i] += g
	}
}

func gateSumGeneric(dx, dy, y, db []float32) {
	dy, y, db = dy[:len(dx)], y[:len(dx)], db[:len(dx)]
	for i, g := range dy {
		if !(y[i] > 0) {
			g = 0
		}
		dx[i] = g
		db[i] += g
	}
}
