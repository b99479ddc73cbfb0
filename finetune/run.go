package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"bilinc/runtime/graph"
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
// not finite or grows without bound is a *DivergedError. A trainer runs once: the
// next time it is an error.
func (t *Trainer) Run(ctx context.Context) (*graph.Model, *History, error) {
	if t.ran {
		return nil, nil, errors.New("this trainer has run: New makes another")
	}
	t.ran = true
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
	if err := t.o.Checkpoint.prepare(); err != nil {
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
// endEpoch evaluates the model and keeps it where it is the best so far.
func (t *Trainer) endEpoch(ctx context.Context) error {
	e := Epoch{Epoch: t.Epoch + 1, TrainLoss: t.Sum / t.Rows, LR: t.lr(t.Step - 1)}
	seen := tally{right: t.Right, of: t.Of, square: t.Square}
	if m := seen.metric(t.obj.classes()); finite(m) {
		e.TrainMetric = &m
	}
	h := &t.History
	keep := t.o.Holdout < 0
	best := keep
	if t.o.Holdout >= 0 {
		sum, err := t.evaluate(ctx)
		if err != nil {
			return err
		}
		loss, metric := sum.mean(), sum.metric(t.obj.classes())
		if finite(loss) {
			e.HoldoutLoss, e.Metric = &loss, &metric
			keep, best = t.better(&e)
		}
		if keep {
			h.BestLoss, h.BestMetric = &loss, &metric
			t.keepBest()
		}
	}
	t.Seconds += t.clock.lap()
	e.Seconds = t.Seconds
	t.Since++
	if best {
		t.Since = 0
	}
	if keep {
		h.BestEpoch = e.Epoch
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
// hold-out, is to be kept in place of the one that is, and whether the hold-out
// says that it is the best of those so far.
//
// Where the hold-out is no news to the start (Options.Seen), the two cannot be
// compared on it: the start's score is that of rows it has been made to know,
// the trained state's that of rows it never met. What compares with the former
// is the trained state's score on the rows of the epoch, which it has been
// trained on too. Where that is no less, a trained state is kept, unless it errs
// more on the hold-out than knowing rows by heart should explain.
//
// Of the trained states then the latest is kept that the hold-out does not tell
// from the best: whose accuracy is within a standard error of the highest (L.
// Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3).
// Early states have something left of what the start remembers of the hold-out,
// and late ones have the small rates that good states need.
func (t *Trainer) better(e *Epoch) (keep, best bool) {
	h := &t.History
	loss, metric := *e.HoldoutLoss, *e.Metric
	switch {
	case t.byLoss:
		keep = loss < *h.BestLoss && metric >= *h.StartMetric
	case !t.o.Seen:
		keep = metric > *h.BestMetric || metric == *h.BestMetric && loss < *h.BestLoss
	case h.BestEpoch == 0:
		keep = e.TrainMetric != nil && *e.TrainMetric >= *h.StartMetric && 1-metric <= byHeart*(1-*h.StartMetric)
	default:
		highest := *h.BestMetric
		for _, before := range h.Epochs[h.BestEpoch-1:] {
			if before.Metric != nil {
				highest = max(highest, *before.Metric)
			}
		}
		return metric >= highest-standardError(h, highest), metric > highest
	}
	return keep, keep
}

// standardError is that of an accuracy on the hold-out; 0 for other metrics.
func standardError(h *History, accuracy float64) float64 {
	if h.Metric != "accuracy" {
		return 0
	}
	return math.Sqrt(accuracy * (1 - accuracy) / float64(h.Holdout))
}

// lr is the learning rate of a step.
func (t *Trainer) lr(step int) float64 { return t.LR * t.o.Schedule.rate(step, t.steps, t.o.Warmup) }

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
