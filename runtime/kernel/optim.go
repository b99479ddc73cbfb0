package kernel

import (
	"fmt"
	"math"
	"sync"
)

// The loops of optimisers, each of one pass over its slices. No multiplication is fused with an
// addition, so that the bits depend neither on the path nor on the pool.

// AdamStep is one step of Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019), as PyTorch
// computes it.
type AdamStep struct {
	Rate         float64 // learning rate
	Beta1, Beta2 float64 // of the running means of the gradient and of its square
	Epsilon      float64
	WeightDecay  float64
	// Decoupled shrinks the weights by Rate·WeightDecay (AdamW); otherwise WeightDecay·w is added to
	// the gradient (Adam).
	Decoupled bool
	Step      int     // from 1 on: how many steps m and s have seen, this one included
	Scale     float64 // what the gradient is multiplied by first, 1 for nothing
}

// Adam32 does a step on the weights w with the gradient dw. The running means m, of the gradient,
// and s, of its square, start at 0. With every operation rounded to float32, for each element,
//
//	g = scale·dw + l2·w
//	m = β1·m + (1-β1)·g
//	s = β2·s + (1-β2)·g²
//	w = keep·w - rate·m/(√s·root + ε)
//
// where root = 1/√(1-β2^step), rate has been divided by 1-β1^step, and one of l2 = 0 and keep = 1
// holds. All slices have one length.
func Adam32(p *Pool, w, dw, m, s []float32, o AdamStep) {
	l2, keep := o.WeightDecay, 1.0
	if o.Decoupled {
		l2, keep = 0, 1-o.Rate*o.WeightDecay
	}
	t := float64(o.Step)
	optimise(p, optimAdam, [4][]float32{w, dw, m, s}, 4, [10]float32{
		float32(o.Scale), float32(l2), float32(o.Beta1), float32(1 - o.Beta1), float32(o.Beta2), float32(1 - o.Beta2),
		float32(1 / math.Sqrt(1-math.Pow(o.Beta2, t))), float32(o.Epsilon), float32(o.Rate / (1 - math.Pow(o.Beta1, t))), float32(keep)})
}

// SGDStep is one step of stochastic gradient descent, as PyTorch computes it.
type SGDStep struct {
	Rate        float64 // learning rate
	Momentum    float64
	Nesterov    bool
	WeightDecay float64 // times w is added to the gradient
	Scale       float64 // what the gradient is multiplied by first, 1 for nothing
}

// SGD32 does a step on the weights w with the gradient dw: with every operation rounded to float32,
// for each element,
//
//	g = scale·dw + decay·w
//	m = momentum·m + g
//	w = w - rate·m            with Nesterov w = w - rate·(g + momentum·m)
//
// The momentum m starts at 0. It may be nil where o.Momentum is 0: then w = w - rate·g. All slices
// have one length.
func SGD32(p *Pool, w, dw, m []float32, o SGDStep) {
	c := [10]float32{float32(o.Scale), float32(o.WeightDecay), float32(o.Rate), float32(o.Momentum)}
	switch {
	case o.Momentum == 0:
		optimise(p, optimSGD, [4][]float32{w, dw}, 2, c)
	case o.Nesterov:
		optimise(p, optimNesterov, [4][]float32{w, dw, m}, 3, c)
	default:
		optimise(p, optimMomentum, [4][]float32{w, dw, m}, 3, c)
	}
}

// Axpy32 is y += a·x, product and sum each rounded.
func Axpy32(p *Pool, y []float32, a float32, x []float32) {
	optimise(p, optimAxpy, [4][]float32{y, x}, 2, [10]float32{a})
}

// Blend32 moves y towards x: y += a·(x - y), the step of a running mean.
func Blend32(p *Pool, y []float32, a float32, x []float32) {
	optimise(p, optimBlend, [4][]float32{y, x}, 2, [10]float32{a})
}

// SumSquares32 is Σ x² in float64.
func SumSquares32(p *Pool, x []float32) float64 {
	j := newOptimJob()
	j.kind, j.v[0] = optimSquares, x
	tasks := (len(x) + optimGrain - 1) / optimGrain
	if len(j.sums) < tasks {
		j.sums = make([][16]float64, tasks)
	}
	p.For(len(x), optimGrain, j.runFn)
	total := 0.0
	for i := range j.sums[:tasks] {
		for l := 8; l > 0; l /= 2 {
			for k := range l {
				j.sums[i][k] += j.sums[i][k+l]
			}
		}
		total += j.sums[i][0]
	}
	j.done()
	return total
}

// optimGrain is the number of elements of one task: a quarter of a second-level cache of each slice.
const optimGrain = 1 << 15

// The loops of an optimJob.
const (
	optimAdam = iota
	optimSGD
	optimMomentum
	optimNesterov
	optimAxpy
	optimBlend
	optimSquares
)

// An optimJob is one loop in progress. It is kept for the next one, so that a call allocates nothing.
type optimJob struct {
	kind  int
	v     [4][]float32
	c     [10]float32
	sums  [][16]float64 // by task
	runFn func(lo, hi int)
}

var optimJobs sync.Pool // of *optimJob

func newOptimJob() *optimJob {
	j, _ := optimJobs.Get().(*optimJob)
	if j == nil {
		j = &optimJob{}
		j.runFn = j.run
	}
	return j
}

func (j *optimJob) done() {
	j.v = [4][]float32{}
	optimJobs.Put(j)
}

// optimise runs a loop over the first n of v.
func optimise(p *Pool, kind int, v [4][]float32, n int, c [10]float32) {
	for i := range n {
		if len(v[i]) != len(v[0]) {
			panic(fmt.Sprintf("kernel: slice %d of an optimiser's step has %d elements, the weights have %d", i, len(v[i]), len(v[0])))
		}
	}
	j := newOptimJob()
	j.kind, j.v, j.c = kind, v, c
	p.For(len(v[0]), optimGrain, j.runFn)
	j.done()
}

// run does the elements lo … hi-1: whole blocks on the path in use, the rest in plain Go.
func (j *optimJob) run(lo, hi int) {
	if j.kind == optimSquares {
		sums := &j.sums[lo/optimGrain]
		*sums = [16]float64{}
		x := j.v[0][lo:hi]
		n := squaresBlocks(x, sums)
		squaresGeneric(x[n:], sums)
		return
	}
	var v [4][]float32
	for i, s := range j.v {
		if s != nil {
			v[i] = s[lo:hi]
		}
	}
	if n := optimBlocks(j.kind, &v, &j.c); n > 0 {
		for i, s := range v {
			if s != nil {
				v[i] = s[n:]
			}
		}
	}
	w, x, c := v[0], v[1], &j.c
	switch j.kind {
	case optimAdam:
		adamGeneric(w, x, v[2], v[3], c)
	case optimSGD:
		sgdGeneric(w, x, c)
	case optimMomentum:
		momentumGeneric(w, x, v[2], c)
	case optimNesterov:
		nesterovGeneric(w, x, v[2], c)
	case optimAxpy:
		axpyGeneric(w, x, c)
	case optimBlend:
		blendGeneric(w, x, c)
	}
}

// The conversions below keep compilers from fusing.

func adamGeneric(w, dw, m, s []float32, c *[10]float32) {
	scale, l2, beta1, rest1, beta2, rest2, root, eps, rate, keep := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9]
	dw, m, s = dw[:len(w)], m[:len(w)], s[:len(w)]
	for i, x := range w {
		g := float32(scale*dw[i]) + float32(l2*x)
		m[i] = float32(beta1*m[i]) + float32(rest1*g)
		s[i] = float32(beta2*s[i]) + float32(rest2*float32(g*g))
		deviation := float32(float32(math.Sqrt(float64(s[i]))) * root)
		w[i] = float32(keep*x) - float32(rate*m[i])/(deviation+eps)
	}
}

func sgdGeneric(w, dw []float32, c *[10]float32) {
	dw = dw[:len(w)]
	for i, x := range w {
		g := float32(c[0]*dw[i]) + float32(c[1]*x)
		w[i] = x - float32(c[2]*g)
	}
}

func momentumGeneric(w, dw, m []float32, c *[10]float32) {
	dw, m = dw[:len(w)], m[:len(w)]
	for i, x := range w {
		g := float32(c[0]*dw[i]) + float32(c[1]*x)
		m[i] = float32(c[3]*m[i]) + g
		w[i] = x - float32(c[2]*m[i])
	}
}

func nesterovGeneric(w, dw, m []float32, c *[10]float32) {
	dw, m = dw[:len(w)], m[:len(w)]
	for i, x := range w {
		g := float32(c[0]*dw[i]) + float32(c[1]*x)
		m[i] = float32(c[3]*m[i]) + g
		u := g + float32(c[3]*m[i])
		w[i] = x - float32(c[2]*u)
	}
}

func axpyGeneric(y, x []float32, c *[10]float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] += float32(c[0] * v)
	}
}

func blendGeneric(y, x []float32, c *[10]float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] += float32(c[0] * (v - y[i]))
	}
}

// squaresGeneric adds the square of element i to sums[i mod 16].
func squaresGeneric(x []float32, sums *[16]float64) {
	for i, v := range x {
		sums[i%16] += float64(float64(v) * float64(v))
	}
}
