package finetune

import (
	"context"
	"fmt"
	"slices"

	"bilinc/finetune/grad"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// growth is how many times the first loss (1 where that is less) the
// running mean may become.
const growth = 100

// A DivergedError says that a loss is no longer finite, or has grown without
// bound.
type DivergedError struct {
	Step int // from 1
	Loss float64
	// Node is where it first shows: the first in the forward run to make what
	// is not finite from what is; else, Backward being set, in the backward
	// run; where everything is finite, the one with the largest output.
	Node     string
	Backward bool
	Finite   bool
}

func (e *DivergedError) Error() string {
	where := ""
	switch {
	case e.Node == "":
	case e.Finite:
		where = "; the largest numbers come out of " + e.Node
	case e.Backward:
		where = "; it first appears in the gradient of " + e.Node
	default:
		where = "; it first appears in the output of " + e.Node
	}
	what := fmt.Sprintf("the loss is %g", e.Loss)
	if e.Finite {
		what = fmt.Sprintf("the loss grows without bound: it is %g", e.Loss)
	} else if finite(e.Loss) {
		what = "the gradient is not finite"
	}
	return fmt.Sprintf("step %d: %s%s", e.Step, what, where)
}

// diverged looks for the node where the loss of units went wrong.
func (t *Trainer) diverged(ctx context.Context, units []int, loss, length float64) error {
	e := &DivergedError{Step: t.Step + 1, Loss: loss, Finite: finite(loss) && finite(length)}
	order, err := t.form.Graph.Sorted()
	if err != nil {
		return e
	}
	var values []*graph.Value
	for _, n := range order {
		for _, v := range n.Outputs() {
			if v != nil && v.Const() == nil {
				values = append(values, v)
			}
		}
	}
	var outputs []*graph.Value
	for _, v := range t.obj.values {
		outputs = append(outputs, t.form.Graph.Value(v.Name()))
	}
	p, err := grad.New(t.form, grad.Options{Pool: t.o.Pool, Seed: t.o.Seed, Wrt: values, Outputs: outputs, Keep: values})
	if err != nil {
		return e
	}
	s, targets, mask, err := t.forward(ctx, p, units)
	if err != nil {
		return e
	}
	defer s.Release()
	most := 0.0
	for _, v := range values {
		x := s.Value(v).Tensor
		if x == nil {
			continue
		}
		size := largest(x)
		if !finite(size) {
			e.Node = v.Producer().String()
			return e
		}
		if e.Finite && size > most {
			most, e.Node = size, v.Producer().String()
		}
	}
	if e.Finite {
		return e
	}
	out := tensorsOf(nil, s)
	t.room(out)
	if _, err := t.obj.measure(out, targets, &t.batch, mask, t.dout, 1, true); err != nil {
		return e
	}
	if err := s.Backward(ctx, valuesOf(&t.args, t.dout)); err != nil {
		return e
	}
	for _, v := range slices.Backward(values) {
		if g := s.Grad(v); g != nil && !finite(largest(g)) {
			e.Node, e.Backward = v.Producer().String(), true
			return e
		}
	}
	return e
}

// largest is the greatest absolute element; not finite where one is not.
func largest(t *tensor.Tensor) float64 {
	most := 0.0
	if !t.DType().IsFloat() {
		return 0
	}
	v, err := tensor.Float64s(t)
	if err != nil {
		return 0
	}
	for _, x := range v {
		if !finite(x) {
			return x
		}
		most = max(most, x, -x)
	}
	return most
}
