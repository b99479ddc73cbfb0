package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bilinc/convert"
	"bilinc/convert/onnx"
)

func (a *app) inspectCmd() *cobra.Command {
	dims := map[string]int{}
	cmd := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "Say what a model is made of and which layers can be compressed",
		Long: `Inspect lists a model's inputs, outputs, operators and layers.

Parameters are the elements of floating-point and quantised constants, once per
shared tensor; multiply-accumulates (macs) are per sample.`,
		Example: "  bilinc inspect model.onnx",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().Var(dimFlag(dims), "dim", "size of a symbolic dimension; repeatable")
	return a.runs(cmd, func(_ context.Context, args []string) error {
		if err := checkFile(args[0]); err != nil {
			return err
		}
		m, err := load(args[0])
		if err != nil {
			return err
		}
		a.checkDims(m, dims)
		info, err := convert.Inspect(m, convert.InspectOptions{Dims: dims})
		if err != nil {
			return invalid(fmt.Errorf("inspect %s: %w", args[0], err))
		}
		if info.Bytes, err = fileSize(onnx.Files(m)); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(info)
		}
		return printInspection(a.stdout, info)
	})
}

func printInspection(w io.Writer, info *convert.Inspection) error {
	var opsets []string
	for _, d := range slices.Sorted(maps.Keys(info.Opsets)) {
		name := d
		if name == "" {
			name = "ai.onnx"
		}
		opsets = append(opsets, fmt.Sprintf("%s %d", name, info.Opsets[d]))
	}
	fmt.Fprintf(w, "ONNX IR version %d, opset %s\n", info.IRVersion, strings.Join(opsets, ", "))
	fmt.Fprintf(w, "%s parameters, %s, %s macs per sample\n\n", count(info.Params), size(info.Bytes), countOr(info.MACs))

	values := newTable("", "NAME", "TYPE", "SHAPE")
	for _, v := range info.Inputs {
		values.add("input", v.Name, v.DType, shapeText(v.Shape))
	}
	for _, v := range info.Outputs {
		values.add("output", v.Name, v.DType, shapeText(v.Shape))
	}
	if err := values.print(w); err != nil {
		return err
	}
	ops := make([]string, 0, len(info.Operators))
	for _, name := range slices.Sorted(maps.Keys(info.Operators)) {
		ops = append(ops, fmt.Sprintf("%s×%d", name, info.Operators[name]))
	}
	fmt.Fprintf(w, "\noperators: %s\n\n", strings.Join(ops, " "))

	layers := newTable("LAYER", "OP", ">IN", ">OUT", ">PARAMS", "COMPRESSIBLE", "NOTE")
	for _, l := range info.Layers {
		in, out, yes := "", "", "no"
		if l.In > 0 {
			in, out = fmt.Sprint(l.In), fmt.Sprint(l.Out)
		}
		if l.Compressible {
			yes = "yes"
		}
		layers.add(l.Name, l.Op, in, out, count(l.Params), yes, layerNote(l.Reason, l.TiedTo, 0))
	}
	return layers.print(w)
}

// shapeText prints the dimensions of an input or output.
func shapeText(shape []string) string {
	if shape == nil {
		return "[...]"
	}
	return "[" + strings.Join(shape, " ") + "]"
}
