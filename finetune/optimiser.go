package finetune

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// The constants of Adam that nobody changes.
const (
	adamSquares = 0.999 // decay of the mean square
	adamEpsilon = 1e-8
)

// A slot is a weight with what the rule keeps of it.
type slot struct {
	*Weight
	form    *graph.Value   // the weight in the training form
	x       *tensor.Tensor // the elements, those of the model that is trained
	mean    *tensor.Tensor // Adam: the running mean of gradients; SGD: the momentum
	square  *tensor.Tensor // Adam: the running mean of their squares
	average *tensor.Tensor // of x over the steps; nil: not wanted
	best    *tensor.Tensor // x, or average, of the best state; nil before there is one
	rate    float64        // what the learning rate is multiplied by
	reached bool           // a path leads to the loss
}

// An update is one step of a rule.
type update struct {
	rule     Rule
	step     int     // from 1
	lr       float64 // after the schedule, before the slot's own rate
	momentum float64
	nesterov bool
	decay    float64
	average  float64
	scale    float64 // what gradients are multiplied by
}

// shrinking is the default decay times the learning rate: matrices that no gradient
// reaches would lose so much of themselves in a step at the full rate. The
// product is held, not the decay, as it says how many steps AdamW's weights, which
// are a running mean of its steps, reach back over (X. Wang and L. Aitchison, "How
// to set AdamW's weight decay as you scale model and dataset size", arXiv
// 2405.13698).
const shrinking = 6e-5

// decay is the weight decay. The default is one for AdamW, whose decay stays apart
// from gradients, where targets are learned of rows that the start knows by heart
// already. Nets that start from nothing gain nothing by it in as many epochs as
// people give them, and small ones lose; see RATIONALE.md.
func (t *Trainer) decay() float64 {
	switch {
	case t.o.Decay != 0:
		return max(0, t.o.Decay)
	case t.o.Rule != AdamW || !t.o.Seen || t.byLoss:
		return 0
	}
	return shrinking / t.LR
}

// apply makes the step of a weight's elements from the at-th on, with their gradient g.
func (u *update) apply(pool *kernel.Pool, s *slot, at int, g *tensor.Tensor) error {
	if g.DType() != s.x.DType() || at+g.Len() > s.x.Len() {
		return fmt.Errorf("weight %q is %v, its gradient from element %d on %v", s.Value.Name(), s.x, at, g)
	}
	lr, decay := u.lr*s.rate, 0.0
	if s.Kind == Matrix {
		decay = u.decay
	}
	a := kernel.AdamStep{Rate: lr, Beta1: u.momentum, Beta2: adamSquares, Epsilon: adamEpsilon, WeightDecay: decay,
		Decoupled: u.rule == AdamW, Step: u.step, Scale: u.scale}
	b := kernel.SGDStep{Rate: lr, Momentum: u.momentum, Nesterov: u.nesterov, WeightDecay: decay, Scale: u.scale}
	if s.x.DType() == tensor.Float64 {
		x, dx, m := piece[float64](s.x, at, g), tensor.Data[float64](g), piece[float64](s.mean, at, g)
		if u.rule == SGD {
			sgd64(x, dx, m, b)
		} else {
			adam64(x, dx, m, piece[float64](s.square, at, g), a)
		}
		if s.average != nil {
			y, keep := piece[float64](s.average, at, g), u.averaging()
			for i, w := range x {
				y[i] += (1 - keep) * (w - y[i])
			}
		}
		return nil
	}
	x, dx, m := piece[float32](s.x, at, g), tensor.Data[float32](g), piece[float32](s.mean, at, g)
	if u.rule == SGD {
		kernel.SGD32(pool, x, dx, m, b)
	} else {
		kernel.Adam32(pool, x, dx, m, piece[float32](s.square, at, g), a)
	}
	if s.average != nil {
		kernel.Blend32(pool, piece[float32](s.average, at, g), float32(1-u.averaging()), x)
	}
	return nil
}

// piece is as many elements of t as g has, from the at-th on.
func piece[T float](t *tensor.Tensor, at int, g *tensor.Tensor) []T {
	return tensor.Data[T](t)[at : at+g.Len()]
}

// averaging is the decay of the running mean of the weights in this step:
// early steps count less, or the start would stay in it for long.
func (u *update) averaging() float64 {
	return math.Min(u.average, float64(u.step)/float64(u.step+9))
}

// adam64 is kernel.Adam32 in float64.
func adam64(w, dw, m, v []float64, o kernel.AdamStep) {
	l2, keep := o.WeightDecay, 1.0
	if o.Decoupled {
		l2, keep = 0, 1-o.Rate*o.WeightDecay
	}
	t := float64(o.Step)
	rate, root := o.Rate/(1-math.Pow(o.Beta1, t)), 1/math.Sqrt(1-math.Pow(o.Beta2, t))
	for i, x := range w {
		g := o.Scale*dw[i] + l2*x
		m[i] = o.Beta1*m[i] + (1-o.Beta1)*g
		v[i] = o.Beta2*v[i] + (1-o.Beta2)*g*g
		w[i] = keep*x - rate*m[i]/(math.Sqrt(v[i])*root+o.Epsilon)
	}
}

// sgd64 is kernel.SGD32 in float64.
func sgd64(w, dw, m []float64, o kernel.SGDStep) {
	for i, x := range w {
		g := o.Scale*dw[i] + o.WeightDecay*x
		m[i] = o.Momentum*m[i] + g
		if o.Nesterov {
			g += o.Momentum * m[i]
		} else {
			g = m[i]
		}
		w[i] = x - o.Rate*g
	}
}

// norm is the 2-norm of gradients. It is not finite where one of them is not.
func norm(pool *kernel.Pool, grads []*tensor.Tensor) float64 {
	sum := 0.0
	for _, g := range grads {
		sum += sumOfSquares(pool, g)
	}
	return math.Sqrt(sum)
}

func sumOfSquares(pool *kernel.Pool, t *tensor.Tensor) float64 {
	if t.DType() == tensor.Float32 {
		return kernel.SumSquares32(pool, tensor.Data[float32](t))
	}
	sum := 0.0
	for _, v := range tensor.Data[float64](t) {
		sum += v * v
	}
	return sum
}

// addTo is y += x.
func addTo(pool *kernel.Pool, y, x *tensor.Tensor) {
	if y.DType() == tensor.Float32 {
		kernel.Axpy32(pool, tensor.Data[float32](y), 1, tensor.Data[float32](x))
		return
	}
	to := tensor.Data[float64](y)
	for i, v := range tensor.Data[float64](x) {
		to[i] += v
	}
}
