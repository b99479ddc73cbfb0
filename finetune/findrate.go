package finetune

import (
	"context"
	"errors"
	"math"
)

// rateParts is the parts of the default learning rate that are tried before a
// fitted start is trained to do what a teacher does.
var rateParts = []float64{1, 0.3, 0.1, 0.03}

// trialSteps is the part of all steps that each trial takes; at most an epoch.
const trialSteps = 0.05

// findRate finds the learning rate by trials, where none was asked for, a start
// is kept and a teacher is all there is to learn from. A start that is fitted
// to the teacher's outputs may be so close to the best that can be had that
// steps of the usual length only lead away from it; how close it is, the
// hold-out tells. Where labels are learned the way is long in any case.
//
// Each trial trains the start for a few steps at its rate, down to 0; the rate
// after which the loss on the hold-out is least is taken. The trainer is left
// as it was.
func (t *Trainer) findRate(ctx context.Context) error {
	if !t.o.keptRate || !t.byLoss || len(t.held) == 0 {
		return nil
	}
	steps, before := t.steps, t.state
	least, rate := math.Inf(1), t.LR
	t.steps = max(1, min(t.perEpoch, int(trialSteps*float64(steps))))
	for _, p := range rateParts {
		t.LR = p * before.LR
		loss, err := t.tryRate(ctx)
		if err != nil {
			return err
		}
		if loss < least {
			least, rate = loss, t.LR
		}
		if err := t.restart(); err != nil {
			return err
		}
		t.state = before
	}
	t.LR, t.steps = rate, steps
	return nil
}

// tryRate trains for all of t.steps and measures the loss on the hold-out; it is
// +Inf where the training diverges.
func (t *Trainer) tryRate(ctx context.Context) (float64, error) {
	progress := t.o.Progress
	t.o.Progress = nil
	defer func() { t.o.Progress = progress }()
	for range t.steps {
		var diverged *DivergedError
		switch err := t.step(ctx); {
		case errors.As(err, &diverged):
			return math.Inf(1), nil
		case err != nil:
			return 0, err
		}
	}
	sum, err := t.evaluate(ctx)
	if loss := sum.mean(); err == nil && finite(loss) {
		return loss, nil
	}
	return math.Inf(1), err
}

// restart goes back to the best state, with nothing kept of the steps since.
func (t *Trainer) restart() error {
	for _, s := range t.slots {
		if err := s.x.CopyFrom(s.best); err != nil {
			return err
		}
		clear(s.mean.Bytes())
		if s.square != nil {
			clear(s.square.Bytes())
		}
		if s.average != nil {
			copy(s.average.Bytes(), s.best.Bytes())
		}
	}
	for _, s := range t.stats {
		if err := s.x.CopyFrom(s.best); err != nil {
			return err
		}
	}
	return nil
}
