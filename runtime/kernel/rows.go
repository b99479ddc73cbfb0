package kernel

import (
	"math"
	"sync"
)

// rowKernels are the loops over rows that are not products.
type rowKernels struct {
	softmax   func(m, n int, y []float32, ys int, x []float32, xs int)
	layerNorm func(m, n int, y []float32, ys int, x []float32, xs int, scale, bias []float32, epsilon float64, stats []float64)
}

var rowsGeneric = rowKernels{softmaxGeneric, layerNormGeneric}

// rowMost is the longest row that goes to one assembly call, which cannot be interrupted (some 100 µs).
const rowMost = 1 << 17

// rowGrain is the number of elements of a task: some rows, or one.
const rowGrain = 1 << 14

// Softmax32 computes, for each of m rows of n elements,
//
//	y[i·ys+j] = exp(x[i·xs+j] − M) / Σ_l exp(x[i·xs+l] − M)    M = max_l x[i·xs+l]
//
// A row with NaN, or of -Inf alone, gives NaN. y may be x. The sums are in float64.
func Softmax32(p *Pool, m, n int, y []float32, ys int, x []float32, xs int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("Y", len(y), m, n, ys, 1)
	mustHold("X", len(x), m, n, xs, 1)
	j := getRowJob()
	j.n, j.y, j.ys, j.x, j.xs = n, y, ys, x, xs
	j.share(p, m, j.softmaxFn)
}

// LayerNorm32 computes, for each of m rows of n elements,
//
//	y[i·ys+j] = (x[i·xs+j] − mean)/√(variance + epsilon)·scale[j] + bias[j]
//
// and leaves the mean and 1/√(variance + epsilon) in stats[2i] and stats[2i+1]. bias and stats may be nil,
// and y may be x. Mean and variance are in float64.
func LayerNorm32(p *Pool, m, n int, y []float32, ys int, x []float32, xs int, scale, bias []float32, epsilon float64, stats []float64) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("Y", len(y), m, n, ys, 1)
	mustHold("X", len(x), m, n, xs, 1)
	if stats != nil {
		mustHold("stats", len(stats), m, 2, 2, 1)
	}
	mustHold("scale", len(scale), 1, n, 0, 1)
	if bias != nil {
		mustHold("bias", len(bias), 1, n, 0, 1)
	}
	j := getRowJob()
	j.n, j.y, j.ys, j.x, j.xs = n, y, ys, x, xs
	if stats == nil {
		if len(j.scratch) < 2*m {
			j.scratch = make([]float64, 2*m)
		}
		stats = j.scratch
	}
	j.scale, j.bias, j.epsilon, j.stats = scale, bias, epsilon, stats
	j.share(p, m, j.layerNormFn)
}

// Sum32 computes y[i] = Σ_j x[i·xs+j], i < m, j < n, in float64, as [FoldRows32] does.
func Sum32(p *Pool, m, n int, y []float64, x []float32, xs int) {
	if m <= 0 {
		return
	}
	if n <= 0 {
		clear(y[:m])
		return
	}
	mustHold("y", len(y), m, 1, 1, 0)
	mustHold("X", len(x), m, n, xs, 1)
	j := getRowJob()
	j.n, j.stats, j.x, j.xs = n, y, x, xs
	j.share(p, m, j.sumFn)
}

// rowJob is one loop over rows in progress, kept for the next one.
type rowJob struct {
	kernels     *rowKernels
	n           int
	y, x        []float32
	ys, xs      int
	scale, bias []float32
	epsilon     float64
	stats       []float64
	scratch     []float64

	softmaxFn, layerNormFn, sumFn func(lo, hi int) // methods, bound once
}

var rowJobs sync.Pool

func getRowJob() *rowJob {
	j, _ := rowJobs.Get().(*rowJob)
	if j == nil {
		j = &rowJob{}
		j.softmaxFn, j.layerNormFn, j.sumFn = j.softmax, j.layerNorm, j.sum
	}
	return j
}

// share runs f over m rows and gives the job back.
func (j *rowJob) share(p *Pool, m int, f func(lo, hi int)) {
	if j.kernels = &active.Load().rows; j.n > rowMost {
		j.kernels = &rowsGeneric
	}
	if m*j.n <= 6*rowGrain { // some 30 µs
		p = nil
	}
	p.For(m, max(1, rowGrain/j.n), f)
	j.y, j.x, j.scale, j.bias, j.stats = nil, nil, nil, nil, nil
	rowJobs.Put(j)
}

func (j *rowJob) softmax(lo, hi int) {
	j.kernels.softmax(hi-lo, j.n, j.y[lo*j.ys:], j.ys, j.x[lo*j.xs:], j.xs)
}

func (j *rowJob) layerNorm(lo, hi int) {
	j.kernels.layerNorm(hi-lo, j.n, j.y[lo*j.ys:], j.ys, j.x[lo*j.xs:], j.xs, j.scale, j.bias, j.epsilon, j.stats[2*lo:])
}

func (j *rowJob) sum(lo, hi int) {
	clear(j.stats[lo:hi])
	FoldRows32(FoldSum, hi-lo, j.n, j.stats[lo:], j.x[lo*j.xs:], j.xs)
}

// softmaxGeneric is Softmax32, m and n at least 1.
func softmaxGeneric(m, n int, y []float32, ys int, x []float32, xs int) {
	for i := range m {
		from, to := x[i*xs:i*xs+n], y[i*ys:i*ys+n]
		most := from[0]
		for _, v := range from {
			if v > most || most != most {
				most = v
			}
		}
		total := 0.0
		for j, v := range from {
			e := math.Exp(float64(v - most))
			to[j] = float32(e)
			total += e
		}
		scale := float32(1 / total)
		for j := range to {
			to[j] *= scale
		}
	}
}

// layerNormGeneric is LayerNorm32, m and n at least 1.
func layerNormGeneric(m, n int, y []float32, ys int, x []float32, xs int, scale, bias []float32, epsilon float64, stats []float64) {
	for i := range m {
		from, to := x[i*xs:i*xs+n], y[i*ys:i*ys+n]
		mean, variance := 0.0, 0.0
		for _, v := range from {
			mean += float64(v)
		}
		mean /= float64(n)
		for _, v := range from {
			d := float64(v) - mean
			variance += d * d
		}
		inverse := 1 / math.Sqrt(variance/float64(n)+epsilon)
		for j, v := range from {
			z := (float64(v) - mean) * inverse * float64(scale[j])
			if bias != nil {
				z += float64(bias[j])
			}
			to[j] = float32(z)
		}
		stats[2*i], stats[2*i+1] = mean, inverse
	}
}
