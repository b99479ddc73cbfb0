package finetune

import (
	"math"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A float is an element type that is trained.
type float interface{ float32 | float64 }

// layout is where the scores of one position stand in an output: classes of
// them, inner apart. Positions count row by row.
type layout struct {
	positions, classes, inner int
}

// layoutOf is the layout of a shape with its classes along axis.
func layoutOf(shape []int, axis int) layout {
	l := layout{positions: 1, classes: shape[axis], inner: 1}
	for i, d := range shape {
		if i != axis {
			l.positions *= d
		}
		if i > axis {
			l.inner *= d
		}
	}
	return l
}

// first is the index of the first score of a position.
func (l layout) first(position int) int {
	return position/l.inner*l.classes*l.inner + position%l.inner
}

// entropies is the loss of scores by classes.
type entropies struct {
	layout
	ce, kl      float64 // the factors of the two terms
	smoothing   float64
	temperature float64
	factor      float64   // of the gradient
	weight      []float64 // by position: 0 does not count; nil: all do
	class       []int32   // by position, for ce and the metric; nil: none
	teacher     *tensor.Tensor
	loss        []float64 // by position: what was computed
	right       []bool    // by position: whether the largest score is the target's (the teacher's, where there is no class)

	s, d   *tensor.Tensor   // of the run at hand
	partFn func(lo, hi int) // part, bound once
}

// run computes loss and right of s, and writes the gradient of
// factor·Σ_position loss by s into d, where that is not nil:
//
//	p = softmax(s), q = smoothed one-hot of class
//	loss = ce·(−Σ q log p) + kl·T²·Σ pᵗ (log pᵗ − log pˢ),  pˢ = softmax(s/T), pᵗ = softmax(t/T)
//	d    = factor·(ce·(p − q) + kl·T·(pˢ − pᵗ))
func (e *entropies) run(pool *kernel.Pool, s, d *tensor.Tensor) {
	if e.partFn == nil {
		e.partFn = e.part
	}
	e.s, e.d = s, d
	pool.For(e.positions, max(1, lossGrain/max(1, e.classes)), e.partFn)
	e.s, e.d = nil, nil
}

// lossGrain is the scores that one call works on at least.
const lossGrain = 1 << 12

// part does the positions lo … hi-1.
func (e *entropies) part(lo, hi int) {
	if e.s.DType() == tensor.Float64 {
		entropiesOf[float64](e, lo, hi)
	} else {
		entropiesOf[float32](e, lo, hi)
	}
}

func entropiesOf[T float](e *entropies, lo, hi int) {
	x := tensor.Data[T](e.s)
	var t, g []T
	if e.teacher != nil {
		t = tensor.Data[T](e.teacher)
	}
	if e.d != nil {
		g = tensor.Data[T](e.d)
	}
	for p := lo; p < hi; p++ {
		e.loss[p], e.right[p] = 0, false
		if e.weight != nil && e.weight[p] == 0 {
			if g != nil {
				for c, at := 0, e.first(p); c < e.classes; c, at = c+1, at+e.inner {
					g[at] = 0
				}
			}
			continue
		}
		entropy(e, p, x, t, g)
	}
}

// entropy is the loss of one position.
func entropy[T float](e *entropies, p int, x, t, g []T) {
	first, step, n := e.first(p), e.inner, e.classes
	best := argmax(x, first, step, n)
	top := float64(x[first+best*step])
	if e.class != nil {
		e.right[p] = int(e.class[p]) == best && !math.IsNaN(top)
	} else if t != nil {
		e.right[p] = argmax(t, first, step, n) == best && !math.IsNaN(top)
	}
	loss := 0.0
	if g != nil {
		for c, at := 0, first; c < n; c, at = c+1, at+step {
			g[at] = 0
		}
	}
	if e.ce != 0 {
		sum, mean := 0.0, 0.0
		for c, at := 0, first; c < n; c, at = c+1, at+step {
			v := float64(x[at]) - top
			sum += math.Exp(v)
			mean += v
		}
		log := math.Log(sum)
		k := int(e.class[p])
		loss += e.ce * (log - (1-e.smoothing)*(float64(x[first+k*step])-top) - e.smoothing*mean/float64(n))
		if g != nil {
			f, spread := e.factor*e.ce, e.smoothing/float64(n)
			for c, at := 0, first; c < n; c, at = c+1, at+step {
				q := spread
				if c == k {
					q += 1 - e.smoothing
				}
				g[at] += T(f * (math.Exp(float64(x[at])-top)/sum - q))
			}
		}
	}
	if e.kl != 0 {
		loss += divergence(e, first, top, x, t, g)
	}
	e.loss[p] = loss
}

// divergence is the term against the teacher.
func divergence[T float](e *entropies, first int, top float64, x, t, g []T) float64 {
	step, n, temp := e.inner, e.classes, e.temperature
	most := float64(t[first+argmax(t, first, step, n)*step])
	sumX, sumT := 0.0, 0.0
	for c, at := 0, first; c < n; c, at = c+1, at+step {
		sumX += math.Exp((float64(x[at]) - top) / temp)
		sumT += math.Exp((float64(t[at]) - most) / temp)
	}
	logX, logT, loss := math.Log(sumX), math.Log(sumT), 0.0
	f := e.factor * e.kl * temp
	for c, at := 0, first; c < n; c, at = c+1, at+step {
		lx, lt := (float64(x[at])-top)/temp-logX, (float64(t[at])-most)/temp-logT
		pt := math.Exp(lt)
		if pt > 0 {
			loss += pt * (lt - lx)
		}
		if g != nil {
			g[at] += T(f * (math.Exp(lx) - pt))
		}
	}
	return e.kl * temp * temp * loss
}

// argmax is the place of the largest of n numbers; the first where none is
// larger.
func argmax[T float](v []T, first, step, n int) int {
	best, top := 0, v[first]
	for c, at := 1, first+step; c < n; c, at = c+1, at+step {
		if v[at] > top || top != top && v[at] == v[at] {
			best, top = c, v[at]
		}
	}
	return best
}

// squares is the loss of plain numbers.
type squares struct {
	scale  float64   // of the squared difference
	factor float64   // of the gradient
	weight []float64 // by position, of each·positions elements; 0 does not count; nil: all do
	each   int       // elements of a position
	loss   []float64 // by position: what was computed, Σ scale·(s−t)²

	s, t, d *tensor.Tensor   // of the run at hand
	partFn  func(lo, hi int) // part, bound once
}

// run computes loss by s and its targets t, and adds the gradient of
// factor·Σ_position loss by s to d, where that is not nil.
func (q *squares) run(pool *kernel.Pool, s, t, d *tensor.Tensor) {
	if q.partFn == nil {
		q.partFn = q.part
	}
	q.s, q.t, q.d = s, t, d
	pool.For(len(q.loss), max(1, lossGrain/max(1, q.each)), q.partFn)
	q.s, q.t, q.d = nil, nil, nil
}

// part does the positions lo … hi-1.
func (q *squares) part(lo, hi int) {
	if q.s.DType() == tensor.Float64 {
		squaresOf[float64](q, lo, hi)
	} else {
		squaresOf[float32](q, lo, hi)
	}
}

func squaresOf[T float](q *squares, lo, hi int) {
	x, y := tensor.Data[T](q.s), tensor.Data[T](q.t)
	var g []T
	if q.d != nil {
		g = tensor.Data[T](q.d)
	}
	for p := lo; p < hi; p++ {
		q.loss[p] = 0
		if q.weight != nil && q.weight[p] == 0 {
			continue
		}
		sum := 0.0
		for i := p * q.each; i < (p+1)*q.each; i++ {
			diff := float64(x[i]) - float64(y[i])
			sum += diff * diff
			if g != nil {
				g[i] += T(2 * q.factor * q.scale * diff)
			}
		}
		q.loss[p] = q.scale * sum
	}
}
