package kernel

import (
	"math"
	"sync"
)

// Normalisations by statistics of one or more rows, and rows that are scaled and shifted.

// normKernels are their loops.
type normKernels struct {
	moments func(m, n int, stats []float64, x []float32, xs int)
	affine  func(m, n int, y []float32, ys int, x []float32, xs int, c []float32)
}

var normsGeneric = normKernels{momentsGeneric, affineGeneric}

const (
	// normChunk is the number of elements whose moments are computed at a time: they stay in the nearest cache.
	// It decides about bits.
	normChunk = 1 << 12
	// normGrain is the number of elements of a task, some 5 µs; normLeast of what is shared out.
	normGrain, normLeast = 1 << 15, 3 << 15
	// normNear is the number of elements of a group that is normalised at once, while it is in the caches.
	normNear = 1 << 16
)

// NormaliseGroups32 computes, for each of the groups of per rows of n elements,
//
//	y = (x − mean)/√(variance + epsilon)·scale[k] + bias[k]
//
// by the mean and the variance of the group, for its rows k modulo len(scale). Sums are in float64. y may be x.
func NormaliseGroups32(p *Pool, groups, per, n int, y, x, scale, bias []float32, epsilon float64) {
	if groups <= 0 || per <= 0 || n <= 0 {
		return
	}
	size := per * n
	mustHold("y", len(y), groups, size, size, 1)
	mustHold("x", len(x), groups, size, size, 1)
	j := getNormJob()
	j.y, j.x, j.scale, j.bias, j.epsilon, j.per, j.n = y, x, scale, bias[:len(scale)], epsilon, per, n
	j.chunks = (size + normChunk - 1) / normChunk
	j.stats = atLeast(j.stats, 2*groups*j.chunks)
	j.c = atLeast(j.c, 4*groups*per)
	if groups*size <= normLeast {
		p = nil
	}
	if size <= normNear && groups > 1 {
		p.For(groups, max(1, normGrain/size), j.groupsFn)
	} else {
		p.For(groups*j.chunks, normGrain/normChunk, j.momentsFn)
		for g := range groups {
			j.settle(g)
		}
		j.rows(p, groups*per)
	}
	j.give()
}

// AffineRows32 computes, for i < m and j < n, c = coefficients[4·(i mod len/4):],
//
//	y[i·n+j] = ((x[i·n+j] − c[0]) − c[1])·c[2] + c[3]
//
// y may be x.
func AffineRows32(p *Pool, m, n int, y, x, coefficients []float32) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("y", len(y), m, n, n, 1)
	mustHold("x", len(x), m, n, n, 1)
	j := getNormJob()
	j.y, j.x, j.n = y, x, n
	own := j.c
	j.c = coefficients
	if m*n <= normLeast {
		p = nil
	}
	j.rows(p, m)
	j.c = own
	j.give()
}

// atLeast is s with n elements or more, whatever they are.
func atLeast[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:cap(s)]
}

// normJob is one normalisation in progress, kept for the next one.
type normJob struct {
	kernels     *normKernels
	y, x        []float32
	scale, bias []float32
	epsilon     float64
	per, n      int       // rows of a group, elements of a row
	chunks      int       // of a group
	stats       []float64 // mean of each chunk and Σ(x − mean)²
	c           []float32 // four coefficients of each row
	count       int       // of the rows that have coefficients
	cut, cuts   int       // elements of a piece of a row, pieces

	groupsFn, momentsFn, affineFn func(lo, hi int)
}

var normJobs sync.Pool

func getNormJob() *normJob {
	j, _ := normJobs.Get().(*normJob)
	if j == nil {
		j = &normJob{}
		j.groupsFn, j.momentsFn, j.affineFn = j.groups, j.moments, j.affine
	}
	j.kernels = &active.Load().norms
	return j
}

func (j *normJob) give() {
	j.y, j.x, j.scale, j.bias = nil, nil, nil, nil
	normJobs.Put(j)
}

// groups normalises some groups from first to last.
func (j *normJob) groups(lo, hi int) {
	size := j.per * j.n
	for g := lo; g < hi; g++ {
		j.moments(g*j.chunks, (g+1)*j.chunks)
		j.settle(g)
		at := g * size
		j.kernels.affine(j.per, j.n, j.y[at:], j.n, j.x[at:], j.n, j.c[4*g*j.per:])
	}
}

// moments computes those of some chunks; the last one of a group may be shorter.
func (j *normJob) moments(lo, hi int) {
	size := j.per * j.n
	for t := lo; t < hi; {
		g, k := t/j.chunks, t%j.chunks
		from, n, m := g*size+k*normChunk, normChunk, min(hi-t, j.chunks-1-k)
		if m == 0 {
			n, m = size-k*normChunk, 1
		}
		j.kernels.moments(m, n, j.stats[2*t:], j.x[from:], n)
		t += m
	}
}

// settle makes the coefficients of a group's rows of the moments of its chunks.
func (j *normJob) settle(g int) {
	size := j.per * j.n
	stats := j.stats[2*g*j.chunks : 2*(g+1)*j.chunks]
	count := func(i int) float64 { return float64(min(normChunk, size-i*normChunk)) }
	mean, squares := 0.0, 0.0
	for i := range j.chunks {
		mean += float64(stats[2*i] * count(i))
	}
	mean /= float64(size)
	for i := range j.chunks {
		d := stats[2*i] - mean
		squares += stats[2*i+1] + float64(float64(d*d)*count(i))
	}
	inverse := 1 / math.Sqrt(squares/float64(size)+j.epsilon)
	hi := float32(mean)
	lo := float32(mean - float64(hi))
	for i := g * j.per; i < (g+1)*j.per; i++ {
		k := i % len(j.scale)
		j.c[4*i], j.c[4*i+1], j.c[4*i+2], j.c[4*i+3] = hi, lo, float32(float64(j.scale[k])*inverse), j.bias[k]
	}
}

// rows scales and shifts m rows, in pieces.
func (j *normJob) rows(p *Pool, m int) {
	j.cut = min(j.n, normGrain)
	j.cuts = (j.n + j.cut - 1) / j.cut
	if j.count = len(j.c) / 4; j.count > m {
		j.count = m
	}
	p.For(m*j.cuts, max(1, normGrain/j.n), j.affineFn)
}

func (j *normJob) affine(lo, hi int) {
	for t := lo; t < hi; {
		i, k := t/j.cuts, t%j.cuts
		m, n := 1, min(j.cut, j.n-k*j.cut)
		if j.cuts == 1 {
			m = min(hi-t, j.count-i%j.count)
		}
		at := i*j.n + k*j.cut
		j.kernels.affine(m, n, j.y[at:], j.n, j.x[at:], j.n, j.c[4*(i%j.count):])
		t += m
	}
}

// momentsGeneric computes the mean of each of m rows of n elements and Σ(x − mean)², in stats[2i] and stats[2i+1].
func momentsGeneric(m, n int, stats []float64, x []float32, xs int) {
	for i := range m {
		row := x[i*xs : i*xs+n]
		mean, squares := 0.0, 0.0
		for _, v := range row {
			mean += float64(v)
		}
		mean /= float64(n)
		for _, v := range row {
			d := float64(v) - mean
			squares += float64(d * d)
		}
		stats[2*i], stats[2*i+1] = mean, squares
	}
}

// affineGeneric is AffineRows32 of m rows ys and xs apart, each with coefficients of its own.
func affineGeneric(m, n int, y []float32, ys int, x []float32, xs int, c []float32) {
	for i := range m {
		hi, lo, factor, addend := float64(c[4*i]), float64(c[4*i+1]), float64(c[4*i+2]), float64(c[4*i+3])
		to := y[i*ys : i*ys+n]
		for j, v := range x[i*xs : i*xs+n] {
			to[j] = float32((float64(v)-hi-lo)*factor + addend)
		}
	}
}
