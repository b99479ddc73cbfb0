package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"bilinc/convert/dataset"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// compareRows is the random samples that models are compared on without data.
const compareRows = 16

// compareFlags are the flags of compare.
type compareFlags struct {
	data       dataFlags
	atol, rtol float64
	batch      int
}

func (a *app) compareCmd() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare A B [--data DATA]",
		Short: "Compare the outputs of two models",
		Long: `Compare runs two models on the same inputs (random ones without --data) and
compares their outputs by name. An output passes where |a−b| ≤ atol + rtol·max|b|
everywhere; relative errors are relative to max|b|. Outputs that depend on random
operators are left out. Where an output does not pass, the exit status is 5.
` + dataHelp,
		Example: "  bilinc compare model.onnx small.onnx --data x.npz --rtol 1e-2",
		Args:    cobra.ExactArgs(2),
	}
	f.data.add(cmd.Flags(), "data", "the inputs (default: random)")
	cmd.Flags().Float64Var(&f.atol, "atol", 1e-6, "absolute tolerance")
	cmd.Flags().Float64Var(&f.rtol, "rtol", 1e-4, "tolerance relative to the largest number of the output")
	cmd.Flags().IntVar(&f.batch, "batch", defaultBatch, "rows per run, where the models leave them free")
	return a.runs(cmd, func(ctx context.Context, args []string) error { return a.compare(ctx, args[0], args[1], &f) })
}

// comparison is the JSON of compare.
type comparison struct {
	Passed  bool                   `json:"passed"`
	Samples int                    `json:"samples"`
	Random  bool                   `json:"random_inputs"`
	Atol    float64                `json:"atol"`
	Rtol    float64                `json:"rtol"`
	Outputs map[string]*difference `json:"outputs"`
	order   []string
}

func (a *app) compare(ctx context.Context, pathA, pathB string, f *compareFlags) error {
	switch {
	case !(f.atol >= 0) || !(f.rtol >= 0):
		return usage(fmt.Errorf("--atol %g --rtol %g: wanted numbers of 0 or more", f.atol, f.rtol), "")
	case f.batch < 1:
		return usage(fmt.Errorf("--batch %d: wanted 1 or more", f.batch), "")
	}
	if err := f.data.check(); err != nil {
		return err
	}
	modelA, err := loadToRun(pathA)
	if err != nil {
		return err
	}
	modelB, err := loadToRun(pathB)
	if err != nil {
		return err
	}
	if len(f.data.specs) == 0 {
		f.data.without(a, "data")
	}
	a.checkDims(modelA, f.data.opts.Dims)
	progA, errA := a.compile(pathA, modelA)
	progB, errB := a.compile(pathB, modelB)
	if pathA == pathB {
		errB = nil // the same again
	}
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if err := sameInputs(pathA, pathB, modelA, modelB); err != nil {
		return err
	}
	set, data, err := a.openOrDraw(&f.data, modelA, compareRows, f.batch)
	if err != nil {
		return err
	}
	defer set.Close()
	res := &comparison{Samples: data.Rows(), Random: data.Random, Atol: f.atol, Rtol: f.rtol, Outputs: map[string]*difference{}}
	pairs, err := res.pair(pathA, pathB, progA, progB)
	if err != nil {
		return err
	}
	err = a.eachBatch(ctx, modelA, data, f.batch, "compare", func(in []tensor.Value, batch *dataset.Batch) error {
		x, err := progA.Run(ctx, in)
		if err != nil {
			return drawnBadly(ctx, data.Random, fmt.Errorf("%s: %w", pathA, err))
		}
		y, err := progB.Run(ctx, reorder(in, modelA, modelB))
		if err != nil {
			return drawnBadly(ctx, data.Random, fmt.Errorf("%s: %w", pathB, err))
		}
		for i, name := range res.order {
			if d := res.Outputs[name]; !d.Random {
				if err := d.add(x[i], y[pairs[i]], batch); err != nil {
					return fmt.Errorf("output %q: %w", name, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.finishCompare(res, f)
}

// finishCompare prints the result; an output out of tolerance is an error.
func (a *app) finishCompare(res *comparison, f *compareFlags) error {
	res.Passed = true
	var failed []string
	compared := 0
	for _, name := range res.order {
		d := res.Outputs[name]
		if d.Random {
			a.warn("output %q depends on random operators: it is left out", name)
			continue
		}
		compared++
		d.finish(f.atol, f.rtol)
		if !*d.Passed {
			res.Passed = false
			failed = append(failed, name)
		}
	}
	if compared == 0 {
		a.warn("no output was compared")
	}
	var err error
	if a.json {
		err = a.printJSON(res)
	} else {
		err = res.print(a.stdout)
	}
	if err != nil || res.Passed {
		return err
	}
	return &exitError{exitTolerance, fmt.Errorf("%d of %d outputs are out of tolerance: %q", len(failed), compared, failed),
		"the least --rtol that passes stands in the table"}
}

// sameInputs fails unless both models must be given the same inputs.
func sameInputs(pathA, pathB string, a, b *graph.Model) error {
	names := func(m *graph.Model) []string {
		var out []string
		for _, v := range dataset.Inputs(m.Graph) {
			out = append(out, v.Name())
		}
		slices.Sort(out)
		return out
	}
	if x, y := names(a), names(b); !slices.Equal(x, y) {
		return &exitError{code: exitInvalid, err: fmt.Errorf("the inputs of %s are %q, those of %s are %q", pathA, x, pathB, y)}
	}
	return nil
}

// reorder is in, the inputs of model a, in the order of model b's.
func reorder(in []tensor.Value, a, b *graph.Model) []tensor.Value {
	byName := map[string]tensor.Value{}
	for i, v := range a.Graph.Inputs {
		byName[v.Name()] = in[i]
	}
	out := make([]tensor.Value, len(b.Graph.Inputs))
	for i, v := range b.Graph.Inputs {
		out[i] = byName[v.Name()]
	}
	return out
}

// pair finds B's output for each of A's, by name.
func (res *comparison) pair(pathA, pathB string, a, b *runtime.Program) ([]int, error) {
	var pairs []int
	for _, x := range a.Outputs() {
		at := slices.IndexFunc(b.Outputs(), func(y runtime.Port) bool { return y.Name == x.Name })
		if at < 0 || len(a.Outputs()) != len(b.Outputs()) {
			return nil, &exitError{code: exitInvalid, err: fmt.Errorf("the outputs of %s are %q, those of %s are %q",
				pathA, portNames(a.Outputs()), pathB, portNames(b.Outputs()))}
		}
		pairs = append(pairs, at)
		res.order = append(res.order, x.Name)
		res.Outputs[x.Name] = newDifference(x.Random || b.Outputs()[at].Random)
	}
	return pairs, nil
}

func portNames(ports []runtime.Port) []string {
	var out []string
	for _, p := range ports {
		out = append(out, p.Name)
	}
	return out
}

func (res *comparison) print(w io.Writer) error {
	t := newTable("OUTPUT", "SHAPE", ">MEAN A", ">MEAN B", ">MAX|A−B|", ">MEAN", ">P99", ">RELATIVE", ">LEAST RTOL", "RESULT")
	for _, name := range res.order {
		d := res.Outputs[name]
		if d.Random {
			t.add(name, "", "", "", "", "", "", "", "", "random, left out")
			continue
		}
		result := "passed"
		if !*d.Passed {
			result = "FAILED"
		}
		if d.Problem != "" {
			result += ": " + d.Problem
		}
		t.add(name, d.shapes(), shortOr(d.A.Mean), shortOr(d.B.Mean), shortOr(d.Abs.Max), shortOr(d.Abs.Mean), shortOr(d.Abs.P99),
			shortOr(d.Rel.Max), shortOr(d.LeastRtol), result)
	}
	if err := t.print(w); err != nil {
		return err
	}
	inputs := ""
	if res.Random {
		inputs = " (random inputs)"
	}
	_, err := fmt.Fprintf(w, "\n%s samples%s, atol %s, rtol %s\n", count(int64(res.Samples)), inputs, short(res.Atol), short(res.Rtol))
	return err
}
