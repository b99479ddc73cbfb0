package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bilinc/convert"
	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/finetune"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
)

// finetuneFlags are the flags of finetune.
type finetuneFlags struct {
	data     dataFlags
	train    finetune.Options
	rule     string
	schedule string
	init     string
	weights  string
	match    bool
	teacher  string
	out      string
	history  string
	force    bool
	external bool
	set      *pflag.FlagSet
}

func (a *app) finetuneCmd() *cobra.Command {
	var f finetuneFlags
	cmd := &cobra.Command{
		Use:   "finetune MODEL -o OUT --data DATA",
		Short: "Train a model against targets, a teacher or both",
		Long: `Finetune trains the constants of a model, compressed or not, and writes the model
with them. It learns from the targets in DATA (--labels), from the outputs of
another model (--teacher, as a rule the original of a compressed one), or from
both; one of the two must be there. A teacher alone needs no targets.

A part of DATA's rows (--holdout) is not trained on; the state of the model that
does best on it is what is written, and the model as it came counts as one.
"Best" is the accuracy where there are targets that are classes, the loss where
there is a teacher alone. The rows are in an order that --seed decides. Where the
teacher has been trained on DATA, a start made of it does better on the hold-out
than on rows that are news to it; with --seen the start is kept only where it does
better there than the trained model does on the rows that it has been trained on,
or makes fewer than two thirds of the errors; and of the epochs' states the latest
is written whose accuracy is within a standard error of the highest.

The loss is a sum of ce (cross-entropy against targets), kl (divergence from the
teacher, at --temperature) and mse (squared differences from the teacher, or from
targets that are numbers, by their variance); auto takes what is there, of both
targets and a teacher 0.8*ce+0.2*kl for classes and half and half for numbers.
--loss 0.3*ce+0.7*kl says it in detail. --match-layers adds the difference
of each compressed layer's output from the original's. The factors of compressed
layers take larger steps than --lr says, the larger the fewer elements they have.

In training a BatchNormalization goes by the batch and carries its running
statistics on, unless --freeze-norms is set or a run has fewer than 16 rows; a
Dropout drops. The model is judged, and written, as it came: neither happens.

Without targets, where all is learned from the teacher and inputs are floating-
point numbers, rows are blended in pairs at random (--mix) and the teacher is
asked about the blends: few rows go further so.

With --checkpoint the run can be interrupted, by Ctrl-C too, and goes on with
--resume to the same result, bit for bit.
` + dataHelp,
		Example: "  bilinc finetune small.onnx -o better.onnx --data train.npz --teacher model.onnx\n" +
			"  bilinc finetune small.onnx -o better.onnx --data train.npz --epochs 15 --checkpoint run --resume",
		Args: cobra.ExactArgs(1),
	}
	f.add(cmd.Flags())
	return a.runs(cmd, func(ctx context.Context, args []string) error { return a.finetune(ctx, args[0], &f) })
}

func (f *finetuneFlags) add(s *pflag.FlagSet) {
	f.set = s
	f.data.add(s, "data", "inputs and, if there are any, targets to train on (required)")
	s.StringVarP(&f.out, "output", "o", "", "the model to write (required)")
	s.BoolVar(&f.force, "force", false, "replace an existing output")
	s.BoolVar(&f.external, "external-data", false, "write the weights into a file beside the model (always done over 2 GB)")
	s.StringVar(&f.teacher, "teacher", "", "the model whose outputs are to be met")
	f.addTraining(s)
	s.StringVar(&f.train.Mask, "mask", "", "the input that masks: positions where it is 0 do not count")
	s.StringVar(&f.history, "history", "", "write what happened in each epoch to this JSON file")
	s.StringVar(&f.train.Checkpoint.Dir, "checkpoint", "", "a folder to keep the run in after each epoch, so that it can go on")
	s.IntVar(&f.train.Checkpoint.Every, "checkpoint-every", 0, "keep it every N steps as well")
	s.BoolVar(&f.train.Checkpoint.Resume, "resume", false, "go on with the run in --checkpoint; start it where there is none")
}

// addTraining defines the flags of how to train.
func (f *finetuneFlags) addTraining(s *pflag.FlagSet) {
	o := &f.train
	s.IntVar(&o.Epochs, "epochs", finetune.DefaultEpochs, "passes over the data")
	s.IntVar(&o.Batch, "batch", finetune.DefaultBatch, "rows of a step")
	s.Float64Var(&o.LR, "lr", 0, "learning rate of dense weights (default 0.001, 0.05 for sgd; 0.3 times that unless weights or factors are drawn anew, and less where trying tells to)")
	s.StringVar(&f.rule, "optimizer", string(finetune.AdamW), "adamw, adam or sgd")
	s.Float64Var(&o.Momentum, "momentum", 0.9, "momentum of sgd, the decay of adam's mean")
	s.BoolVar(&o.Nesterov, "nesterov", false, "Nesterov's momentum for sgd")
	s.StringVar(&f.schedule, "schedule", string(finetune.Cosine), "cosine, step or constant")
	s.Float64Var(&o.Warmup, "warmup", 0, "the share of all steps in which the rate rises")
	s.Float64Var(&o.Decay, "weight-decay", 0, "of matrices; biases and norms have none (default: 6e-5 divided by the learning rate with adamw, targets and --seen, else none)")
	s.Float64Var(&o.Clip, "clip", 0, "the largest norm of a gradient (default: no limit)")
	s.IntVar(&o.Accumulate, "accumulate", 1, "batches whose gradients make one step")
	s.Float64Var(&o.Smoothing, "label-smoothing", finetune.DefaultSmoothing, "the share of a target that is spread over all classes")
	s.Float64Var(&o.Temperature, "temperature", 1, "of the teacher's distribution")
	s.Float64Var(&o.Average, "average", 0, "keep a running mean of the weights with this decay per step")
	s.Float64Var(&o.Mix, "mix", 0, "the share of rows that are blended with another one, for the teacher to judge (default: all without targets, else none; negative: none)")
	s.StringVar(&o.Loss, "loss", "auto", "auto, ce, kl, mse or a sum of them, as in 0.3*ce+0.7*kl")
	s.BoolVar(&f.match, "match-layers", false, "meet the teacher's outputs of compressed layers too")
	s.BoolVar(&o.Seen, "seen", false, "the teacher has been trained on DATA")
	s.Float64Var(&o.Holdout, "holdout", 0, "the share of the rows to choose the best state by (default 0.1, with --seen of at most 2000 rows)")
	s.StringVar(&f.weights, "train", "all", "all, factors (with all biases and norms), or a glob of constants' names")
	s.BoolVar(&o.Frozen, "freeze-norms", false, "a BatchNormalization goes by its running statistics in training too")
	s.StringVar(&f.init, "init", string(finetune.Keep), "keep, or random: draw every trained constant anew")
	s.IntVar(&o.Patience, "patience", 0, "end after N epochs without a better state")
}

// options checks the flags and makes options of them.
func (f *finetuneFlags) options(a *app) (finetune.Options, error) {
	o := f.train
	o.Rule, o.Schedule, o.Init = finetune.Rule(f.rule), finetune.Schedule(f.schedule), finetune.Init(f.init)
	o.Seed, o.Pool = a.seed, a.pool
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"epochs", o.Epochs > 0}, {"batch", o.Batch > 0}, {"accumulate", o.Accumulate > 0}, {"temperature", o.Temperature > 0},
		{"lr", o.LR > 0}, {"holdout", o.Holdout > 0}, {"checkpoint-every", o.Checkpoint.Every > 0}, {"patience", o.Patience > 0},
	} {
		if f.set.Changed(c.name) && !c.ok {
			return o, usage(fmt.Errorf("--%s %s: wanted more than 0", c.name, f.set.Lookup(c.name).Value), "")
		}
	}
	if o.Smoothing == 0 { // what options take for the default
		o.Smoothing = -1
	}
	if f.set.Changed("weight-decay") {
		if o.Decay < 0 {
			return o, usage(fmt.Errorf("--weight-decay %g: wanted 0 or more", o.Decay), "")
		}
		if o.Decay == 0 { // what options take for the default
			o.Decay = -1
		}
	}
	if o.Momentum == 0 { // what options take for the default
		o.Momentum = 1e-300
	}
	switch f.weights {
	case "all":
	case "factors":
		o.Train = func(w *finetune.Weight) bool { return w.Group != nil || w.Kind == finetune.Vector }
	default:
		re := globs(f.weights)
		o.Train = func(w *finetune.Weight) bool { return re.MatchString(w.Value.Name()) }
	}
	if (o.Checkpoint.Resume || o.Checkpoint.Every > 0) && o.Checkpoint.Dir == "" {
		return o, usage(errors.New("--resume and --checkpoint-every need --checkpoint DIR"), "")
	}
	return o, nil
}

// globs compiles a pattern in which * stands for any characters and ? for one.
func globs(pattern string) *regexp.Regexp {
	q := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`(?s)^` + q + `$`)
}

// finetune is the whole command.
func (a *app) finetune(ctx context.Context, path string, f *finetuneFlags) error {
	switch {
	case f.out == "":
		return usage(errors.New("no output is given"), "-o OUT names it")
	case len(f.data.specs) == 0:
		return errNoData("data")
	}
	o, err := f.options(a)
	if err != nil {
		return err
	}
	if err := f.data.check(); err != nil {
		return err
	}
	inputs := append(f.data.files(), path)
	if f.teacher != "" {
		inputs = append(inputs, f.teacher)
	}
	if err := f.checkOutputs(inputs); err != nil {
		return err
	}
	m, err := load(path)
	if err != nil {
		return err
	}
	var teacher *graph.Model
	if f.teacher != "" {
		if teacher, err = load(f.teacher); err != nil {
			return err
		}
		if err := f.checkOutputs(onnx.Files(teacher)); err != nil {
			return err
		}
	}
	if err := f.checkOutputs(onnx.Files(m)); err != nil {
		return err
	}
	a.checkDims(m, f.data.opts.Dims)
	set, data, err := a.openFinite(ctx, &f.data, m)
	if err != nil {
		return err
	}
	defer set.Close()
	if teacher == nil && !data.HasLabels() {
		return usage(errors.New("there are neither targets nor a teacher to learn from"),
			"--labels names the targets in DATA, --teacher the model whose outputs are to be met")
	}
	out, h, err := a.train(ctx, path, m, teacher, data, o, f.match)
	if err != nil {
		return err
	}
	write := func() error {
		return onnx.WriteContext(ctx, out, f.out, onnx.WriteOptions{Force: f.force, ExternalData: f.external})
	}
	if f.history == "" {
		err = write()
	} else { // the history of a model that cannot be written is not left behind
		err = file.WriteAtomic(f.history, f.force, func(w io.Writer) error { return errors.Join(writeHistory(w, h), write()) })
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(h)
	}
	return printHistory(a.stdout, h)
}

// checkOutputs refuses outputs that exist or are inputs, and those that are one
// and the same.
func (f *finetuneFlags) checkOutputs(inputs []string) error {
	kept := ""
	if f.train.Checkpoint.Dir != "" {
		kept = filepath.Join(f.train.Checkpoint.Dir, finetune.CheckpointFile)
	}
	outs := []struct{ flag, path string }{{"-o", f.out}, {"--history", f.history}, {"--checkpoint", f.train.Checkpoint.Dir}, {"--checkpoint", kept}}
	for i, o := range outs {
		if o.path == "" {
			continue
		}
		for _, other := range outs[:i] {
			if sameTarget(o.path, other.path) {
				return usage(fmt.Errorf("%s %s and %s %s are the same file", other.flag, other.path, o.flag, o.path), "choose another output")
			}
		}
	}
	if kept != "" { // replaced from run to run
		if info, err := os.Stat(f.train.Checkpoint.Dir); err == nil && !info.IsDir() {
			return usage(fmt.Errorf("--checkpoint %s: it is a file, wanted a folder", f.train.Checkpoint.Dir), "")
		}
		if err := checkOutput(kept, true, inputs...); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, o := range outs[:2] {
		if o.path != "" {
			if err := checkOutput(o.path, f.force, inputs...); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameTarget reports whether two paths, of which neither need exist, lead to one
// file.
func sameTarget(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, err := filepath.Abs(a)
	y, err2 := filepath.Abs(b)
	return err == nil && err2 == nil && x == y || file.SameFile(a, b)
}

// train trains m on data, with what its metadata says of compressed layers.
func (a *app) train(ctx context.Context, path string, m, teacher *graph.Model, data *dataset.Bound, o finetune.Options, match bool) (*graph.Model, *finetune.History, error) {
	if err := groups(&o, m, match); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	bar := a.trainingBar()
	defer bar.done()
	o.Progress = bar.show
	if o.Checkpoint.Dir != "" {
		a.patient.Store(true) // the step is finished and kept
		defer a.patient.Store(false)
	}
	t, err := finetune.New(m, teacher, data.Picker(), o)
	if err != nil {
		return nil, nil, trainedBadly(ctx, fmt.Errorf("%s: %w", path, err))
	}
	out, h, err := t.Run(ctx)
	if err != nil {
		bar.done()
		a.kept(ctx, t, o.Checkpoint.Dir, err)
		return nil, nil, trainedBadly(ctx, fmt.Errorf("%s: %w", path, err))
	}
	return out, h, convert.Trained(out)
}

// kept says what became of a run that a signal ended: the error has a second
// part where its checkpoint could not be written.
func (a *app) kept(ctx context.Context, t *finetune.Trainer, dir string, err error) {
	if ctx.Err() == nil || dir == "" {
		return
	}
	var parts interface{ Unwrap() []error }
	if errors.As(err, &parts) && len(parts.Unwrap()) > 1 {
		a.warn("the run is not kept: %v", parts.Unwrap()[1])
		return
	}
	if !t.Kept() {
		return // it had not begun
	}
	a.note("the run is kept in %s; the same command with --resume goes on", dir)
}

// groups puts what the model's metadata says of compressed layers into o.
func groups(o *finetune.Options, m *graph.Model, match bool) error {
	layers, err := convert.ReadLayers(m)
	if err != nil {
		return invalid(err)
	}
	for _, l := range layers {
		o.Groups = append(o.Groups, groupOf(l))
		if match && l.Widen < 2 { // a wide layer has other outputs than the teacher's
			o.Matches = append(o.Matches, finetune.Match{Student: l.Value, Teacher: l.Value})
		}
	}
	if match && len(layers) == 0 {
		return usage(errors.New("--match-layers: the model has no compressed layers"), "")
	}
	return nil
}

// groupOf is a compressed layer as the trainer sees it.
func groupOf(l convert.Compressed) finetune.Group {
	return finetune.Group{Layer: l.Name, A: l.A, B: l.B, Terms: l.Terms,
		M1: l.Shape.A[0], N1: l.Shape.A[1], M2: l.Shape.B[0], N2: l.Shape.B[1], In: l.In, Output: l.Value,
		Fresh: l.Start == convert.Random}
}

func writeHistory(w io.Writer, h *finetune.History) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(h); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func printHistory(w io.Writer, h *finetune.History) error {
	t := newTable(">EPOCH", ">TRAIN LOSS", ">HOLDOUT LOSS", ">"+strings.ToUpper(h.Metric), ">SECONDS", "")
	mark := func(epoch int) string {
		if epoch == h.BestEpoch {
			return "best"
		}
		return ""
	}
	if h.StartMetric != nil {
		t.add("start", "", shortOr(h.StartLoss), fixedOr(h.StartMetric), "", mark(0))
	}
	for _, e := range h.Epochs {
		t.add(e.Epoch, short(e.TrainLoss), shortOr(e.HoldoutLoss), fixedOr(e.Metric), short(e.Seconds), mark(e.Epoch))
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "loss %s; trained %s parameters on %s samples, chosen on %s; %s samples/s\n",
		h.Loss, count(h.Params), count(int64(h.Train)), count(int64(h.Holdout)), short(h.SamplesPerSecond))
	return err
}

func fixedOr(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.4f", *x)
}
