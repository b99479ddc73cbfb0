package main

import (
	"context"
	"fmt"

	"bilinc/convert"
	"bilinc/convert/dataset"
	"bilinc/finetune"
	"bilinc/runtime/graph"
)

// fitRows is the rows of training data that factors are fitted to: more change
// little, and training sees them all.
const fitRows = 5000

// trialShare is the part of the epochs that a trial of a plan takes, learnShare
// that of one which tells how well a plan learns.
const trialShare, learnShare = 5, 15

// trainingData opens the data of convert --finetune; nil without.
func (a *app) trainingData(ctx context.Context, d *dataFlags, m *graph.Model) (*dataset.Set, *dataset.Bound, error) {
	if len(d.specs) == 0 {
		return &dataset.Set{}, nil, nil
	}
	return a.openFinite(ctx, d, m)
}

// calibrateOn prepares fits to a sample of the training data, of the rows that
// are not held out: the fitted start is judged by those.
func (a *app) calibrateOn(ctx context.Context, data *dataset.Bound, m *graph.Model, o finetune.Options) (*convert.Calibration, error) {
	rows, _ := o.Split(data.Picker().Units())
	some := data.SampleOf(rows, fitRows, a.seed)
	if some.Rows() < data.Rows() {
		a.note("factors are fitted to %s of the %s rows to train on (--calib names others)", count(int64(some.Rows())), count(int64(data.Rows())))
	}
	c, err := convert.NewCalibration(ctx, m, some, a.pool, a.seed)
	return c, invalid(err)
}

// maskLosses has the training skip the positions that --mask names, where an
// output of m has the mask's positions.
func (f *convertFlags) maskLosses(m *graph.Model) {
	in := m.Graph.Value(f.eval.mask)
	if in == nil || len(in.Type.Shape) < 2 {
		return
	}
	for _, v := range m.Graph.Outputs {
		if s := v.Type.Shape; len(s) > 2 && s[0].Same(in.Type.Shape[0]) && s[1].Same(in.Type.Shape[1]) {
			f.lossMask = f.eval.mask
		}
	}
}

// longTraining is the samples, those of all epochs together, from which on a plan for training is worth it: fewer leave a
// random start behind the fitted one. Accuracy of fashion-mlp, fitted against random, means of two seeds:
//
//	64×:  9,000 samples .852 .822; 45,000 .865 .857; 54,000, all different, .865 .871
//	256×: 9,000 samples .802 .795; 22,500 .826 .831; 45,000 .836 .845
const longTraining = 40000

// trainsLong tells whether the training goes through as many.
func (f *convertFlags) trainsLong(data *dataset.Bound) bool {
	return float64(f.epochs)*float64(data.Rows()) >= longTraining
}

// trainOptions is how convert --finetune trains.
func (f *convertFlags) trainOptions(a *app) finetune.Options {
	return finetune.Options{Epochs: f.epochs, Holdout: f.holdout, Seen: true, Mask: f.lossMask, Seed: a.seed, Pool: a.pool}
}

// trial judges a plan by the given part of a training: what of picks of its
// history.
func (a *app) trial(path string, m *graph.Model, data *dataset.Bound, o finetune.Options, part int, of func(*finetune.History) float64) func(context.Context, *graph.Model) (float64, error) {
	o.Epochs = (o.Epochs + part - 1) / part
	return func(ctx context.Context, small *graph.Model) (float64, error) {
		o := o
		if err := groups(&o, small, false); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		t, err := finetune.New(small, m, data.Picker(), o)
		if err != nil {
			return 0, trainedBadly(ctx, fmt.Errorf("%s: %w", path, err))
		}
		_, h, err := t.Run(ctx)
		if err != nil {
			return 0, trainedBadly(ctx, fmt.Errorf("%s: %w", path, err))
		}
		return of(h), nil
	}
}

// held is the loss on the rows held out, of the state that comes out.
func held(h *finetune.History) float64 { return *h.BestLoss }

// learned is the loss of the last epoch on what it was trained on.
func learned(h *finetune.History) float64 { return h.Epochs[len(h.Epochs)-1].TrainLoss }
