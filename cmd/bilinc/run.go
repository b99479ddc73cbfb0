package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/runtime/file"
	"bilinc/runtime/tensor"
)

// runFlags are the flags of run.
type runFlags struct {
	data  dataFlags
	out   string
	batch int
	force bool
}

func (a *app) runCmd() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run MODEL --input DATA [-o OUT.npz]",
		Short: "Run a model on data",
		Long: `Run computes a model's outputs for all rows of DATA and writes them as an .npz
file (or as .npy, where the model has one output and OUT ends so), joined along
the first axis. Without -o it prints what the outputs are. Maps, as the ZipMap of
a classifier makes them, become a matrix with a row for each, and their keys an
array NAME.keys of its own.
` + dataHelp,
		Example: "  bilinc run model.onnx --input x.npz -o y.npz\n  bilinc run model.onnx --input x=x.npy --samples 3",
		Args:    cobra.ExactArgs(1),
	}
	f.data.add(cmd.Flags(), "input", "the inputs (required)")
	cmd.Flags().StringVarP(&f.out, "output", "o", "", "the file to write: .npz or .npy")
	cmd.Flags().IntVar(&f.batch, "batch", defaultBatch, "rows per run, where the model leaves them free")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace an existing output")
	return a.runsBriefly(cmd, func(ctx context.Context, args []string) error { return a.run(ctx, args[0], &f) })
}

// outputInfo describes one output in the JSON of run.
type outputInfo struct {
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	stats
}

func (a *app) run(ctx context.Context, path string, f *runFlags) error {
	switch {
	case len(f.data.specs) == 0:
		return errNoData("input")
	case f.batch < 1:
		return usage(fmt.Errorf("--batch %d: wanted 1 or more", f.batch), "")
	case f.out != "" && !strings.HasSuffix(f.out, ".npz") && !strings.HasSuffix(f.out, ".npy"):
		return usage(fmt.Errorf("-o %s: wanted a name that ends in .npz or .npy", f.out), "")
	}
	if err := f.data.check(); err != nil {
		return err
	}
	if f.out != "" {
		if err := checkOutput(f.out, f.force, append(f.data.files(), path)...); err != nil {
			return err
		}
	}
	m, err := loadToRun(path)
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := checkOutput(f.out, f.force, onnx.Files(m)...); err != nil {
			return err
		}
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
	names := make([]string, len(p.Outputs()))
	for i, o := range p.Outputs() {
		names[i] = o.Name
	}
	all := newCollector(names)
	start := time.Now()
	err = a.eachBatch(ctx, m, data, f.batch, "run", func(in []tensor.Value, batch *dataset.Batch) error {
		out, err := p.Run(ctx, in)
		if err != nil {
			return ranBadly(ctx, fmt.Errorf("%s: %w", path, err))
		}
		return all.add(out, batch)
	})
	if err != nil {
		return err
	}
	arrays, err := all.arrays()
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	if f.out != "" {
		if err := writeArrays(ctx, f.out, f.force, arrays); err != nil {
			return err
		}
	}
	if a.json {
		infos := map[string]outputInfo{}
		for _, x := range arrays {
			infos[x.Name] = outputInfo{x.Tensor.DType().String(), x.Tensor.Shape(), statsOf(x.Tensor)}
		}
		return a.printJSON(map[string]any{"samples": data.Rows(), "outputs": infos, "seconds": seconds})
	}
	t := newTable("OUTPUT", "TYPE", ">MIN", ">MEAN", ">MAX", "VALUES")
	for _, x := range arrays {
		s := statsOf(x.Tensor)
		t.add(x.Name, x.Tensor.String(), shortOr(s.Min), shortOr(s.Mean), shortOr(s.Max), preview(x.Tensor))
	}
	return t.print(a.stdout)
}

// writeArrays writes an .npz or .npy file, as path ends.
func writeArrays(ctx context.Context, path string, force bool, arrays []dataset.Array) error {
	npy := strings.HasSuffix(path, ".npy")
	if npy && len(arrays) != 1 {
		return usage(fmt.Errorf("-o %s: the model has %d outputs, an .npy file holds one", path, len(arrays)), "an .npz file holds any number")
	}
	return file.WriteAtomic(path, force, func(w io.Writer) error {
		w = file.Writer(ctx, w)
		if npy {
			return dataset.WriteNPY(w, arrays[0].Tensor)
		}
		return dataset.WriteNPZ(w, arrays)
	})
}

// preview is the first elements of t.
func preview(t *tensor.Tensor) string {
	const most = 6
	var parts []string
	if t.DType() == tensor.String {
		for _, s := range tensor.Data[string](t)[:min(most, t.Len())] {
			parts = append(parts, fmt.Sprintf("%q", s))
		}
	} else if first, err := t.Reshaped(t.Len()); err == nil {
		if first, err = dataset.Rows(first, 0, min(most, t.Len())); err == nil {
			if v, err := tensor.Float64s(first); err == nil {
				for _, x := range v {
					parts = append(parts, short(x))
				}
			}
		}
	}
	if t.Len() > most {
		parts = append(parts, "…")
	}
	return strings.Join(parts, " ")
}
