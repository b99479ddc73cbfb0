package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// dataHelp explains DATA in the help of the commands that take it.
const dataHelp = `
DATA is one of
  file.npz           arrays named as the model's inputs, the first axis counting
                     samples; targets under the name that --labels says
  name=file.npy      one array; repeat the flag for more
  images=F-idx3-ubyte[.gz][,labels=F-idx1-ubyte[.gz]]
  a folder           with ONNX's test_data_set_N folders
Shapes are adapted only where samples have as many elements.`

// defaultBatch is the rows of a run where the model leaves them free.
const defaultBatch = 64

// dataFlags are the flags of a command that reads data.
type dataFlags struct {
	specs []string
	opts  dataset.Options
	set   *pflag.FlagSet
	mask  string // of fits: the input that says which positions count
}

// addMask defines the flag of fits.
func (d *dataFlags) addMask(f *pflag.FlagSet) {
	f.StringVar(&d.mask, "mask", "", "the input that is the attention mask: positions where it is 0 count neither in fits nor in losses and metrics")
}

// add defines the flags; name is that of DATA's own.
func (d *dataFlags) add(f *pflag.FlagSet, name, usage string) {
	d.set = f
	d.opts.Dims = map[string]int{}
	f.StringArrayVar(&d.specs, name, nil, usage)
	f.StringVar(&d.opts.Labels, "labels", "", "the array of targets in DATA (default \""+dataset.DefaultLabels+"\")")
	f.IntVar(&d.opts.Samples, "samples", 0, "take the first N rows of DATA (default: all)")
	f.Float64Var(&d.opts.Scale, "scale", 0, "multiply data for floating-point inputs (default: 1/255 for bytes, else 1)")
	f.Var(dimFlag(d.opts.Dims), "dim", "size of a symbolic dimension; repeatable")
}

// files is the paths that the data is read from, those in a folder of
// test_data_set_N among them.
func (d *dataFlags) files() []string {
	var out []string
	for _, spec := range d.specs {
		inside, err := filepath.Glob(filepath.Join(escapeGlob(spec), "test_data_set_*", "*"))
		if err == nil {
			out = append(out, inside...)
		}
		for _, part := range strings.Split(spec, ",") {
			_, path, ok := strings.Cut(part, "=")
			if ok {
				out = append(out, path)
			}
			out = append(out, part)
		}
	}
	return out
}

// escapeGlob is the pattern that matches a path alone.
func escapeGlob(path string) string {
	if filepath.Separator == '\\' {
		return path // where a backslash cannot escape
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// check reports values of the flags that no data can be read with.
func (d *dataFlags) check() error {
	if d.set.Changed("samples") && d.opts.Samples < 1 {
		return usage(fmt.Errorf("--samples %d: wanted 1 or more", d.opts.Samples), "")
	}
	if d.set.Changed("scale") && (d.opts.Scale == 0 || math.IsNaN(d.opts.Scale) || math.IsInf(d.opts.Scale, 0)) {
		return usage(fmt.Errorf("--scale %g: wanted a number other than 0", d.opts.Scale), "")
	}
	return nil
}

// without warns of flags that only DATA gives a meaning to, where there is none.
func (d *dataFlags) without(a *app, flag string) {
	a.unused(d.set, "there is no --"+flag, "labels", "samples", "scale")
}

// unused warns of flags that are given and change nothing.
func (a *app) unused(set *pflag.FlagSet, why string, names ...string) {
	for _, n := range names {
		if set.Changed(n) {
			a.warn("--%s has no effect: %s", n, why)
		}
	}
}

// checkDims warns of sizes for dimensions that m does not have.
func (a *app) checkDims(m *graph.Model, dims map[string]int) {
	if len(dims) == 0 {
		return
	}
	var known []string
	for _, v := range slices.Concat(m.Graph.Inputs, m.Graph.Outputs) {
		for _, d := range v.Type.Shape {
			if _, fixed := d.Const(); !fixed && d.IsKnown() {
				known = append(known, strings.Split(d.String(), "*")...)
			}
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		if !slices.Contains(known, name) {
			a.warn("--dim %s has no effect: the model's symbolic dimensions are %q", name, known)
		}
	}
}

// open reads the data and binds it to m; what was adapted is noted.
func (a *app) open(d *dataFlags, m *graph.Model) (*dataset.Set, *dataset.Bound, error) {
	s, err := dataset.Open(d.specs, d.opts)
	if err != nil {
		return nil, nil, invalid(err)
	}
	b, err := s.Bind(m.Graph)
	if err != nil {
		s.Close()
		return nil, nil, invalid(err)
	}
	for _, n := range b.Notes {
		a.note("%s", n)
	}
	return s, b, nil
}

// openFinite is open for data that models are made from, or judged by: every
// number has to be one.
func (a *app) openFinite(ctx context.Context, d *dataFlags, m *graph.Model) (*dataset.Set, *dataset.Bound, error) {
	s, b, err := a.open(d, m)
	if err != nil {
		return nil, nil, err
	}
	if err := b.Finite(ctx); err != nil {
		s.Close()
		if ctx.Err() != nil {
			return nil, nil, err
		}
		return nil, nil, invalid(err)
	}
	return s, b, nil
}

// openOrDraw is open, or random inputs where no data is named, which is noted.
func (a *app) openOrDraw(d *dataFlags, m *graph.Model, rows, batch int) (*dataset.Set, *dataset.Bound, error) {
	if len(d.specs) > 0 {
		return a.open(d, m)
	}
	b, err := dataset.Random(m, rows, batch, a.seed, d.opts.Dims)
	if err != nil {
		return nil, nil, invalid(err)
	}
	a.note("no data is given: the inputs are random")
	return &dataset.Set{}, b, nil
}

// eachBatch calls f for every batch, with the values that a program of model m
// takes, until ctx is done.
func (a *app) eachBatch(ctx context.Context, m *graph.Model, b *dataset.Bound, size int, what string,
	f func(in []tensor.Value, batch *dataset.Batch) error) error {
	bar := a.progress(what, b.Rows())
	defer bar.done()
	for batch, err := range b.Batches(size) {
		if err != nil {
			return invalid(err)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := f(inputValues(m, b, &batch), &batch); err != nil {
			return err
		}
		bar.add(batch.Rows)
	}
	return nil
}

// inputValues are the inputs of a batch in the order of m's: an input with an
// initializer keeps that.
func inputValues(m *graph.Model, b *dataset.Bound, batch *dataset.Batch) []tensor.Value {
	byName := make(map[string]*tensor.Tensor, len(b.Inputs))
	for i, name := range b.Inputs {
		byName[name] = batch.Inputs[i]
	}
	in := make([]tensor.Value, len(m.Graph.Inputs))
	for i, v := range m.Graph.Inputs {
		in[i] = tensor.ValueOf(byName[v.Name()])
	}
	return in
}

// cutRows is an output of a padded batch without the rows that pad it.
func cutRows(t *tensor.Tensor, batch *dataset.Batch) (*tensor.Tensor, error) {
	if batch.Rows == batch.Padded || t.Rank() == 0 || t.Shape()[0]%batch.Padded != 0 {
		return t, nil
	}
	return dataset.Rows(t, 0, t.Shape()[0]/batch.Padded*batch.Rows)
}

// errNoData is the error of a command whose DATA is missing.
func errNoData(flag string) error {
	return usage(errors.New("no data is given"), "--"+flag+" DATA names it")
}
