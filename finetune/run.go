package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"bilinc/finetune/grad"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// state is what a run has come to beside the weights: with them, all that
// decides what comes next.
type state struct {
	Step    int     `json:"step"`  // done, in all
	Epoch   int     `json:"epoch"` // done
	Pos     int     `json:"pos"`   // steps done in the epoch
	LR      float64 `json:"lr"`    // the learning rate before the schedule
	Runs    uint64  `json:"runs"`  // forward runs with draws of random operators
	Sum     float64 `json:"sum"`   // of losses over the samples of the epoch
	Rows    float64 `json:"rows"`
	Right   float64 `json:"right"` // as in tally, over the epoch
	Of      float64 `json:"of"`
	Square  float64 `json:"square"`
	Since   int     `json:"since"`   // epochs since the best
	Ended   bool    `json:"ended"`   // early
	Smooth  float64 `json:"smooth"`  // a running mean of the loss, biased
	First   float64 `json:"first"`   // the loss of the first step
	Seconds float64 `json:"seconds"` // of the epoch
	Trained float64 `json:"trained"` // seconds in steps
	Seen    float64 `json:"seen"`    // samples in steps
	History History `json:"history"`
}

// clock measures the time since it was last read.
type clock struct{ at time.Time }

func (c *clock) lap() float64 {
	now := time.Now()
	d := now.Sub(c.at).Seconds()
	c.at = now
	return d
}

// Run trains and returns the best state as a model, of the student's graph with
// other constants. Where ctx ends, the error is its cause; with a checkpoint
// folder the step is finished and a checkpoint written before. A loss that is
// not finite or grows without bound is a *DivergedError. A trainer runs once.
func (t *Trainer) Run(ctx context.Context) (*graph.Model, *History, error) {
	began, err := t.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	// A step is finished where a checkpoint can keep it.
	inside := ctx
	if t.o.Checkpoint.Dir != "" {
		inside = context.WithoutCancel(ctx)
	}
	for began && !t.Ended && (t.Epoch < t.o.Epochs) {
		if ctx.Err() != nil {
			return nil, nil, errors.Join(context.Cause(ctx), t.save())
		}
		if t.Pos == t.perEpoch {
			if err := t.endEpoch(ctx); err != nil {
				if ctx.Err() != nil {
					err = errors.Join(context.Cause(ctx), t.save())
				}
				return nil, nil, err
			}
			if err := t.save(); err != nil {
				return nil, nil, err
			}
			continue
		}
		if err := t.step(inside); err != nil {
			if inside.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, nil, err
		}
		if every := t.o.Checkpoint.Every; every > 0 && t.Step%every == 0 {
			if err := t.save(); err != nil {
				return nil, nil, err
			}
		}
	}
	if t.o.Holdout < 0 {
		t.swap()
	} else {
		for _, s := range t.slots {
			if err := s.x.CopyFrom(s.best); err != nil {
				return nil, nil, err
			}
		}
		for _, s := range t.stats {
			if err := s.x.CopyFrom(s.best); err != nil {
				return nil, nil, err
			}
		}
	}
	h := t.History
	return t.model, &h, nil
}

// begin brings the trainer to where the run is to go on: the last checkpoint,
// or the start.
func (t *Trainer) begin(ctx context.Context) (bool, error) {
	resumed, err := t.load()
	if err != nil {
		return false, err
	}
	if t.teach != nil {
		rows := 0
		done := func(n int) {
			rows += n
			t.report(0, rows)
		}
		if err := t.teach.fill(ctx, t.inputs, t.data, t.fillStep(), done); err != nil {
			return false, causeOf(ctx, err)
		}
	}
	if err := t.scales(ctx); err != nil {
		return false, causeOf(ctx, err)
	}
	t.clock.lap()
	if resumed {
		return true, nil
	}
	t.LR = t.o.LR
	h := &t.History
	h.Train, h.Holdout, h.Loss, h.Epochs = len(t.rows), len(t.held), t.obj.describe(), []Epoch{}
	h.Weights = len(t.slots)
	for _, s := range t.slots {
		h.Params += int64(s.x.Len())
	}
	switch {
	case !t.obj.classes():
		h.Metric = "r2"
	case t.byLoss:
		h.Metric = "agreement"
	default:
		h.Metric = "accuracy"
	}
	if t.o.Holdout < 0 {
		return true, nil
	}
	sum, err := t.evaluate(ctx)
	if err != nil {
		return false, causeOf(ctx, err)
	}
	loss, metric := sum.mean(), sum.metric(t.obj.classes())
	if !finite(loss) {
		err := t.diverged(ctx, t.held[:min(len(t.held), t.chunk)], loss, 0)
		return false, fmt.Errorf("before training: %w", err)
	}
	h.StartLoss, h.StartMetric, h.BestLoss, h.BestMetric = &loss, &metric, &loss, &metric
	t.keepBest()
	if err := t.findRate(ctx); err != nil {
		return false, causeOf(ctx, err)
	}
	return true, nil
}

// fillStep is the units of a run of the teacher over all of the data.
func (t *Trainer) fillStep() int {
	if most := t.data.Most(); most > 0 {
		return most
	}
	return max(t.chunk, 256)
}

// causeOf is why ctx ended, where it did, else err.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// keepBest makes the present state the best one.
func (t *Trainer) keepBest() {
	for _, s := range t.slots {
		from := s.x
		if s.average != nil {
			from = s.average
		}
		if s.best == nil {
			s.best = from.Clone()
			continue
		}
		copy(s.best.Bytes(), from.Bytes())
	}
	for _, s := range t.stats {
		if s.best == nil {
			s.best = s.x.Clone()
			continue
		}
		copy(s.best.Bytes(), s.x.Bytes())
	}
}

// swap exchanges the weights with their running means, where these are kept.
func (t *Trainer) swap() {
	for _, s := range t.slots {
		if s.average == nil {
			continue
		}
		a, b := s.x.Bytes(), s.average.Bytes()
		for i := range a {
			a[i], b[i] = b[i], a[i]
		}
	}
}

// evaluate measures the model on the hold-out.
func (t *Trainer) evaluate(ctx context.Context) (tally, error) {
	t.swap()
	defer t.swap()
	var sum tally
	step := t.fillStep()
	for lo := 0; lo < len(t.held); lo += step {
		units := t.held[lo:min(len(t.held), lo+step)]
		s, targets, mask, err := t.forward(ctx, t.eval, units)
		if err != nil {
			return tally{}, err
		}
		t.out = tensorsOf(t.out, s)
		part, err := t.obj.measure(t.out, targets, &t.batch, mask, nil, 1, false)
		s.Release()
		if err != nil {
			return tally{}, err
		}
		sum.add(part)
	}
	return sum, nil
}

// tensorsOf is the outputs of s, in the memory of out.
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

// endEpoch evaluates the model and keeps it where it is the best so far.
func (t *Trainer) endEpoch(ctx context.Context) error {
	e := Epoch{Epoch: t.Epoch + 1, TrainLoss: t.Sum / t.Rows, LR: t.lr(t.Step - 1)}
	seen := tally{right: t.Right, of: t.Of, square: t.Square}
	if m := seen.metric(t.obj.classes()); finite(m) {
		e.TrainMetric = &m
	}
	h := &t.History
	better := t.o.Holdout < 0
	if t.o.Holdout >= 0 {
		sum, err := t.evaluate(ctx)
		if err != nil {
			return err
		}
		loss, metric := sum.mean(), sum.metric(t.obj.classes())
		if finite(loss) {
			e.HoldoutLoss, e.Metric = &loss, &metric
			better = t.better(&e)
		}
		if better {
			h.BestLoss, h.BestMetric = &loss, &metric
			t.keepBest()
		}
	}
	t.Seconds += t.clock.lap()
	e.Seconds = t.Seconds
	t.Since++
	if better {
		h.BestEpoch, t.Since = e.Epoch, 0
	}
	h.Epochs = append(h.Epochs, e)
	if t.Trained > 0 {
		h.SamplesPerSecond = t.Seen / t.Trained
	}
	t.Ended = t.o.Patience > 0 && t.Since >= t.o.Patience
	t.Epoch++
	t.Pos, t.Sum, t.Rows, t.Right, t.Of, t.Square, t.Seconds = 0, 0, 0, 0, 0, 0, 0
	t.report(e.Epoch, 0)
	return nil
}

// byHeart is how many times the errors that the start makes on rows it knows a
// trained state may make on them as news. A net of 784-1024-1024-10 for
// Fashion-MNIST makes 1.6 to 1.9 times the errors on new rows.
const byHeart = 1.5

// better reports whether the state after an epoch, which was measured on the
// hold-out, is to be kept in place of the best so far.
//
// Where the hold-out is no news to the start (Options.Seen), the two cannot be
// compared on it: the start's score is that of rows it has been made to know,
// the trained state's that of rows it never met. What compares with the former
// is the trained state's score on the rows of the epoch, which it has been
// trained on too. Where that is no less, the best of the trained states is kept,
// unless it errs more on the hold-out than knowing rows by heart should explain.
func (t *Trainer) better(e *Epoch) bool {
	h := &t.History
	loss, metric := *e.HoldoutLoss, *e.Metric
	switch {
	case t.byLoss:
		return loss < *h.BestLoss && metric >= *h.StartMetric
	case t.o.Seen && h.BestEpoch == 0:
		return e.TrainMetric != nil && *e.TrainMetric >= *h.StartMetric && 1-metric <= byHeart*(1-*h.StartMetric)
	}
	return metric > *h.BestMetric || metric == *h.BestMetric && loss < *h.BestLoss
}

// lr is the learning rate of a step.
func (t *Trainer) lr(step int) float64 { return t.LR * t.o.Schedule.rate(step, t.steps, t.o.Warmup) }

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
		decay: t.o.Decay, average: t.o.Average, scale: 1}
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

// move makes the update of the i-th weight with the gradient g.
func (t *Trainer) move(i int, g *tensor.Tensor) error {
	if !finite(sumOfSquares(t.o.Pool, g)) {
		return errNotFinite
	}
	return t.update.apply(t.o.Pool, t.slots[i], g)
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
		if err := t.update.apply(t.o.Pool, s, t.grads[next]); err != nil {
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

// report tells the caller how far the run is; ended is the epoch that has just
// been evaluated, prepared the samples that the teacher has seen.
func (t *Trainer) report(ended, prepared int) {
	if t.o.Progress == nil {
		return
	}
	p := Progress{Step: t.Step, Steps: t.steps, Epoch: min(t.Epoch+1, t.o.Epochs), Epochs: t.o.Epochs,
		Ended: ended, Prepared: prepared, Samples: t.data.Units()}
	if t.Step > 0 {
		p.Loss = t.smoothed(t.Step)
	}
	if t.Trained > 0 {
		p.SamplesPerSecond = t.Seen / t.Trained
	}
	if n := len(t.History.Epochs); n > 0 {
		p.Metric = t.History.Epochs[n-1].Metric
	}
	t.o.Progress(p)
}
