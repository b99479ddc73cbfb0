package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"bilinc/convert/dataset"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// evalFlags are the flags of eval.
type evalFlags struct {
	data   dataFlags
	output string
	mask   string
	batch  int

	lenient bool // a mask that is not of the targets' shape is none of theirs
}

func (a *app) evalCmd() *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:   "eval MODEL --data DATA",
		Short: "Measure a model against the targets of data",
		Long: `Eval compares an output with the targets in DATA.

Integer targets are classes: it prints the accuracy (the share of rows whose
largest score is the target's) and the mean cross-entropy. The output is the
first floating-point one with an axis of classes beside the targets' axes, or
the one that --output names; scores that a Softmax or LogSoftmax made, or whose
rows are probabilities, are taken as what they are, all others as logits. Maps of
classes, as ZipMap makes them, are scores whose keys are the classes. An output of
integers is compared with the targets where --output names it, without a loss:
the labels of a classifier. Floating-point targets are compared with
an output of their shape: the loss is the mean squared error, there is no
accuracy. Rows of zeros and one 1 (one-hot) are classes.
` + dataHelp,
		Example: "  bilinc eval model.onnx --data test.npz --labels y",
		Args:    cobra.ExactArgs(1),
	}
	f.data.add(cmd.Flags(), "data", "inputs and targets (required)")
	cmd.Flags().StringVar(&f.output, "output", "", "the output to measure (default: the first that fits)")
	cmd.Flags().StringVar(&f.mask, "mask", "", "the input that masks: positions where it is 0 do not count")
	cmd.Flags().IntVar(&f.batch, "batch", defaultBatch, "rows per run, where the model leaves them free")
	return a.runs(cmd, func(ctx context.Context, args []string) error { return a.eval(ctx, args[0], &f) })
}

func (a *app) eval(ctx context.Context, path string, f *evalFlags) error {
	switch {
	case len(f.data.specs) == 0:
		return errNoData("data")
	case f.batch < 1:
		return usage(fmt.Errorf("--batch %d: wanted 1 or more", f.batch), "")
	}
	if err := f.data.check(); err != nil {
		return err
	}
	m, err := loadToRun(path)
	if err != nil {
		return err
	}
	if f.output != "" && outputIndex(m, f.output) < 0 {
		return usage(fmt.Errorf("--output %s: the model's outputs are %s", f.output, outputNames(m)), "")
	}
	a.checkDims(m, f.data.opts.Dims)
	p, err := a.compile(path, m)
	if err != nil {
		return err
	}
	set, data, err := a.open(&f.data, m)
	if err != nil {
		return err
	}
	defer set.Close()
	if !data.HasLabels() {
		return usage(fmt.Errorf("the data has no targets"), "--labels names their array in the data")
	}
	score, err := a.measure(ctx, path, m, p, data, f)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(score)
	}
	accuracy := "no accuracy (regression)"
	if score.Accuracy != nil {
		accuracy = fmt.Sprintf("accuracy %.4f", *score.Accuracy)
	}
	_, err = fmt.Fprintf(a.stdout, "%s, loss %s over %s samples in %s s (output %q)\n",
		accuracy, shortOr(score.Loss), count(int64(score.Samples)), short(score.Seconds), score.Output)
	return err
}

// A score is what eval measures.
type score struct {
	Samples  int      `json:"samples"`
	Accuracy *float64 `json:"accuracy"` // nil for regression targets
	Loss     *float64 `json:"loss"`     // mean cross-entropy, or mean squared error; nil where not finite
	Seconds  float64  `json:"seconds"`
	Output   string   `json:"output"`
}

// measure runs the model over data, which has labels.
func (a *app) measure(ctx context.Context, path string, m *graph.Model, p *runtime.Program, data *dataset.Bound, f *evalFlags) (*score, error) {
	meter := &meter{model: m, output: f.output}
	start := time.Now()
	err := a.eachBatch(ctx, m, data, f.batch, "eval", func(in []tensor.Value, batch *dataset.Batch) error {
		out, err := p.Run(ctx, in)
		if err != nil {
			return ranBadly(ctx, fmt.Errorf("%s: %w", path, err))
		}
		var mask *tensor.Tensor
		if f.mask != "" {
			if mask, err = maskOf(m, f.mask, in, batch); err != nil {
				return err
			}
			if f.lenient && mask.Len() != batch.Labels.Len() {
				mask = nil // of other positions than the targets': one class for a whole text, say
			}
		}
		return invalid(meter.add(out, batch, mask))
	})
	if err != nil {
		return nil, err
	}
	s := meter.score()
	switch {
	case meter.n == 0:
		a.warn("%s: no position of the data counts", path)
	case !meter.exact && s.Loss == nil:
		a.warn("%s: the loss is no finite number: output %q holds NaN or infinities", path, s.Output)
	}
	s.Samples, s.Seconds = data.Rows(), time.Since(start).Seconds()
	return s, nil
}

// agreement is the share of rows whose class, the largest score of the first
// floating-point output with classes, is the same in both programs of m. Positions
// that the input mask ("": none) has as 0 do not count. It is nil, with a
// warning, where no output has classes.
func (a *app) agreement(ctx context.Context, m *graph.Model, before, after *runtime.Program, data *dataset.Bound, mask string) (*float64, error) {
	same, n := 0, 0
	err := a.eachBatch(ctx, m, data, defaultBatch, "eval", func(in []tensor.Value, batch *dataset.Batch) error {
		x, err := before.Run(ctx, in)
		if err != nil {
			return ranBadly(ctx, err)
		}
		y, err := after.Run(ctx, in)
		if err != nil {
			return ranBadly(ctx, err)
		}
		var counting []float64
		if mask != "" {
			t, err := maskOf(m, mask, in, batch)
			if err != nil {
				return err
			}
			if counting, err = tensor.Float64s(t); err != nil {
				return invalid(fmt.Errorf("mask: %w", err))
			}
		}
		for i := range x {
			k, total, err := sameClasses(x[i], y[i], batch, counting)
			if err != nil {
				return err
			}
			if same, n = same+k, n+total; total > 0 {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		a.warn("no output has classes: there is no metric")
	}
	return number(float64(same) / float64(n)), nil
}

// sameClasses counts the rows of two outputs whose largest score stands at the
// same place; n is 0 where they have no classes. Where counting has a number for
// each, those with a 0 are left out.
func sameClasses(x, y tensor.Value, batch *dataset.Batch, counting []float64) (same, n int, err error) {
	x, y = unmapped(x), unmapped(y)
	if x.Kind != tensor.KindTensor || y.Kind != tensor.KindTensor || !x.Tensor.DType().IsFloat() ||
		x.Tensor.Rank() < 2 || x.Tensor.Shape()[x.Tensor.Rank()-1] < 2 || x.Tensor.Len() != y.Tensor.Len() {
		return 0, 0, nil
	}
	var v [2][]float64
	for i, t := range []*tensor.Tensor{x.Tensor, y.Tensor} {
		if t, err = cutRows(t, batch); err != nil {
			return 0, 0, err
		}
		if v[i], err = tensor.Float64s(t); err != nil {
			return 0, 0, err
		}
	}
	classes := x.Tensor.Shape()[x.Tensor.Rank()-1]
	for at := 0; at < len(v[0]); at += classes {
		if len(counting)*classes == len(v[0]) && counting[at/classes] == 0 {
			continue
		}
		if argmax(v[0][at:at+classes]) == argmax(v[1][at:at+classes]) {
			same++
		}
		n++
	}
	return same, n, nil
}

// unmapped is a sequence of maps as the matrix that it is; other values as they are.
func unmapped(v tensor.Value) tensor.Value {
	if t, keys, err := v.Table(); err == nil && keys != nil {
		return tensor.ValueOf(t)
	}
	return v
}

// maskOf is the rows of the input that masks.
func maskOf(m *graph.Model, name string, in []tensor.Value, batch *dataset.Batch) (*tensor.Tensor, error) {
	for i, v := range m.Graph.Inputs {
		if v.Name() == name && in[i].Tensor != nil {
			return cutRows(in[i].Tensor, batch)
		}
	}
	return nil, usage(fmt.Errorf("--mask %s: the model has no such input", name), "")
}

// outputIndex is the place of an output of m, −1 where there is none.
func outputIndex(m *graph.Model, name string) int {
	for i, v := range m.Graph.Outputs {
		if v.Name() == name {
			return i
		}
	}
	return -1
}

func outputNames(m *graph.Model) string {
	s := ""
	for i, v := range m.Graph.Outputs {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%q", v.Name())
	}
	return s
}
