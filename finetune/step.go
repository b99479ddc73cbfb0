package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"bilinc/finetune/grad"
	"bilinc/runtime/tensor"
)

func tensorsOf(out []*tensor.Tensor, s *grad.State) []*tensor.Tensor {
	out = out[:0]
	for i := range s.Len() {
		out = append(out, s.Output(i).Tensor)
	}
	return out
}

// forward picks units and runs a program of the model, and the teacher, on
// them.
func (t *Trainer) forward(ctx context.Context, p *grad.Program, units []int) (s *grad.State, targets []*tensor.Tensor, mask *tensor.Tensor, err error) {
	if err := t.data.Pick(units, &t.batch); err != nil {
		return nil, nil, nil, err
	}
	switch {
	case t.mix && p == t.train:
		t.blend(&t.batch)
		targets, err = t.teach.run(ctx, t.inputs, &t.batch)
	case t.teach != nil:
		targets, err = t.teach.outputs(ctx, t.inputs, units, &t.batch)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if t.o.Mask != "" {
		for i, name := range t.inputs {
			if name == t.o.Mask {
				mask = t.batch.Inputs[i]
			}
		}
		if mask == nil {
			return nil, nil, nil, fmt.Errorf("%w: mask: the model has no input %q", ErrOptions, t.o.Mask)
		}
	}
	s, err = p.Forward(ctx, valuesOf(&t.args, t.batch.Inputs))
	return s, targets, mask, err
}

// epochOrder is the units in the order in which the present epoch takes them.
func (t *Trainer) epochOrder() []int {
	if t.ordered != t.Epoch {
		if t.order == nil {
			t.order = make([]int, len(t.rows))
		}
		copy(t.order, t.rows)
		r := rand.New(rand.NewPCG(t.o.Seed, orderStream+uint64(t.Epoch)))
		r.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
		t.ordered = t.Epoch
	}
	return t.order
}

// step makes one step: the gradients of its samples, perhaps in several runs,
// and the update.
func (t *Trainer) step(ctx context.Context) error {
	t.clock.lap()
	order := t.epochOrder()[:t.perEpochRows]
	size := t.o.Batch * t.o.Accumulate
	units := order[t.Pos*size : min(len(order), (t.Pos+1)*size)]
	t.update = update{rule: t.o.Rule, step: t.Step + 1, lr: t.lr(t.Step), momentum: t.o.Momentum, nesterov: t.o.Nesterov,
		decay: t.decay(), average: t.o.Average, scale: 1}
	move := t.together
	if t.o.Clip == 0 && len(units) <= t.chunk {
		move = t.directly
	}
	loss, sum, err := move(ctx, units)
	if err != nil {
		return err
	}
	t.Step++
	t.Pos++
	t.Sum += loss * sum.rows
	t.Rows += sum.rows
	t.Right += sum.right
	t.Of += sum.of
	t.Square += sum.square
	took := t.clock.lap()
	t.Seconds += took
	t.Trained += took
	t.Seen += sum.rows
	t.report(0, 0)
	return nil
}

// wild notes the loss of a step, and reports whether it is not finite or has
// grown without bound.
func (t *Trainer) wild(loss float64) bool {
	if t.Step == 0 {
		t.First = loss
	}
	t.Smooth = lossDecay*t.Smooth + (1-lossDecay)*loss
	return !finite(loss) || t.smoothed(t.Step+1) > growth*math.Max(1, t.First)
}

// directly makes the step of one run: each weight moves as soon as its gradient
// is whole and still in a cache.
func (t *Trainer) directly(ctx context.Context, units []int) (loss float64, sum tally, err error) {
	s, sum, err := t.measured(ctx, units, 1)
	if err != nil {
		return 0, sum, err
	}
	loss = sum.mean()
	if t.wild(loss) {
		return 0, sum, t.diverged(ctx, units, loss, 0)
	}
	switch err := s.BackwardEach(ctx, valuesOf(&t.args, t.dout), t.moveFn); {
	case errors.Is(err, errNotFinite):
		return 0, sum, t.diverged(ctx, units, loss, math.NaN())
	case err != nil:
		return 0, sum, err
	}
	err = t.keepStats(s)
	s.Release()
	return loss, sum, err
}

var errNotFinite = errors.New("a gradient is not finite")

// move makes the update of the elements of the i-th weight from the at-th on, with
// their gradient g.
func (t *Trainer) move(i, at int, g *tensor.Tensor) error {
	if !finite(sumOfSquares(t.o.Pool, g)) {
		return errNotFinite
	}
	return t.update.apply(t.o.Pool, t.slots[i], at, g)
}

// together makes a step that needs all gradients before the first weight moves.
func (t *Trainer) together(ctx context.Context, units []int) (loss float64, sum tally, err error) {
	loss, sum, err = t.gradients(ctx, units)
	if err != nil {
		return 0, sum, err
	}
	length := norm(t.o.Pool, t.grads)
	if t.wild(loss) || !finite(length) {
		return 0, sum, t.diverged(ctx, units[:min(len(units), t.chunk)], loss, length)
	}
	if t.o.Clip > 0 && length > t.o.Clip {
		t.update.scale = t.o.Clip / length
	}
	next := 0
	for _, s := range t.slots {
		if !s.reached {
			continue
		}
		if err := t.update.apply(t.o.Pool, s, 0, t.grads[next]); err != nil {
			return 0, sum, err
		}
		next++
	}
	for _, s := range t.states {
		s.Release()
	}
	t.states = t.states[:0]
	return loss, sum, nil
}

// lossDecay is that of the running mean of losses.
const lossDecay = 0.98

// smoothed is the running mean of the loss after so many steps.
func (t *Trainer) smoothed(steps int) float64 {
	return t.Smooth / (1 - math.Pow(lossDecay, float64(steps)))
}

// gradients computes the mean loss of units, and what else sum has of them, and
// leaves the loss's gradients by the slots that it reaches in t.grads.
func (t *Trainer) gradients(ctx context.Context, units []int) (loss float64, sum tally, err error) {
	// How many rows there are is known of picked units alone where units are
	// no rows; they count alike then.
	total := float64(len(units))
	runs := 0
	for lo := 0; lo < len(units); lo += t.chunk {
		part := units[lo:min(len(units), lo+t.chunk)]
		share := float64(len(part)) / total
		s, some, err := t.measured(ctx, part, share)
		if err != nil {
			return 0, sum, err
		}
		if err := errors.Join(s.Backward(ctx, valuesOf(&t.args, t.dout)), t.keepStats(s)); err != nil {
			return 0, sum, err
		}
		loss += some.mean() * share
		sum.add(some)
		several := len(units) > t.chunk
		t.collect(s, several, runs == 0)
		runs++
		if several {
			s.Release()
		} else {
			t.states = append(t.states, s)
		}
	}
	return loss, sum, nil
}

// measured runs the training form on units, and leaves the gradients of share
// times their mean loss by the outputs in t.dout.
func (t *Trainer) measured(ctx context.Context, units []int, share float64) (*grad.State, tally, error) {
	s, targets, mask, err := t.forward(ctx, t.train, units)
	if err != nil {
		return nil, tally{}, err
	}
	t.Runs++
	t.out = tensorsOf(t.out, s)
	t.room(t.out)
	sum, err := t.obj.measure(t.out, targets, &t.batch, mask, t.dout, share, true)
	return s, sum, err
}

// keepStats takes the running statistics that a run came to.
func (t *Trainer) keepStats(s *grad.State) error {
	for _, k := range t.stats {
		if err := k.x.CopyFrom(s.Value(k.out).Tensor); err != nil {
			return err
		}
	}
	return nil
}

// room makes gradients of the outputs' types.
func (t *Trainer) room(out []*tensor.Tensor) {
	if len(t.dout) != len(out) {
		t.dout = make([]*tensor.Tensor, len(out))
	}
	for i, x := range out {
		if d := t.dout[i]; d == nil || d.DType() != x.DType() || !slices.Equal(d.Shape(), x.Shape()) {
			t.dout[i] = tensor.New(x.DType(), x.Shape()...)
		}
	}
}

// collect takes the gradients of a run, or adds them up where a step has
// several.
func (t *Trainer) collect(s *grad.State, several, first bool) {
	if first {
		t.grads = t.grads[:0]
	}
	for i, k := range t.slots {
		g := s.Grad(k.form)
		if k.reached = g != nil; g == nil {
			continue
		}
		if !several {
			t.grads = append(t.grads, g)
			continue
		}
		if len(t.sums) < len(t.slots) {
			t.sums = make([]*tensor.Tensor, len(t.slots))
		}
		switch {
		case t.sums[i] == nil:
			t.sums[i] = g.Clone()
		case first:
			copy(t.sums[i].Bytes(), g.Bytes())
		default:
			addTo(t.o.Pool, t.sums[i], g)
		}
		if first {
			t.grads = append(t.grads, t.sums[i])
		}
	}
}
