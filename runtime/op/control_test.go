package op

import (
	"fmt"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// subgraph has inputs and outputs of the given types and no nodes: what it
// computes, the tests' Ctx.Call says.
func subgraph(t *testing.T, name string, in, out []graph.Type) *graph.Graph {
	t.Helper()
	g := graph.New(name, nil)
	for i, typ := range in {
		if _, err := g.AddInput(fmt.Sprintf("%s_in%d", name, i), typ); err != nil {
			t.Fatal(err)
		}
	}
	for i, typ := range out {
		v, err := g.NewValue(fmt.Sprintf("%s_out%d", name, i), typ)
		if err != nil {
			t.Fatal(err)
		}
		g.AddOutput(v)
	}
	return g
}

// runControl parses a node with subgraphs and runs it.
func runControl(op string, attrs []*graph.Attr, nOut int, call func(*graph.Graph, []tensor.Value) ([]tensor.Value, error), in ...*tensor.Tensor) ([]tensor.Value, error) {
	o, err := parseOp(opTest{op: op, opset: 13, attrs: attrs, in: in}, nOut)
	if err != nil {
		return nil, err
	}
	values := make([]tensor.Value, len(in))
	for i, x := range in {
		values[i] = tensor.ValueOf(x)
	}
	return Eval(&Ctx{Call: call}, o, values, nOut)
}

// wantValues compares a run's outputs.
func wantValues(t *testing.T, got []tensor.Value, err error, want ...*tensor.Tensor) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("found %d outputs, wanted %d", len(got), len(want))
	}
	for i, w := range want {
		if err := sameTensor(got[i].Tensor, w, exact); err != nil {
			t.Errorf("output %d: %v", i, err)
		}
	}
}

func graphAttr(name string, g *graph.Graph) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrGraph, G: g}
}

var (
	scalarBool  = graph.TensorType(tensor.Bool)
	scalarInt   = graph.TensorType(tensor.Int64)
	scalarFloat = graph.TensorType(tensor.Float32)
	vectorFloat = graph.TensorType(tensor.Float32, graph.Size(2))
)

func TestIf(t *testing.T) {
	then := subgraph(t, "then", nil, []graph.Type{scalarFloat})
	otherwise := subgraph(t, "else", nil, []graph.Type{vectorFloat})
	attrs := []*graph.Attr{graphAttr("then_branch", then), graphAttr("else_branch", otherwise)}
	call := func(g *graph.Graph, _ []tensor.Value) ([]tensor.Value, error) {
		if g == then {
			return []tensor.Value{tensor.ValueOf(tensor.Scalar[float32](1))}, nil
		}
		return []tensor.Value{tensor.ValueOf(list[float32](2, 3))}, nil
	}
	got, err := runControl("If", attrs, 1, call, tensor.Scalar(true))
	wantValues(t, got, err, tensor.Scalar[float32](1))
	got, err = runControl("If", attrs, 1, call, tensor.Scalar(false))
	wantValues(t, got, err, list[float32](2, 3))
	o, err := parseOp(opTest{op: "If", opset: 13, attrs: attrs, in: []*tensor.Tensor{tensor.Scalar(true)}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := o.Infer([]graph.Fact{{Type: scalarBool}}, 1)
	if err != nil || facts[0].String() != "float32[...]" {
		t.Errorf("of a scalar and a vector inference says %v (%v)", facts, err)
	}
	for want, run := range map[string]func() ([]tensor.Value, error){
		"wanted one bool":             func() ([]tensor.Value, error) { return runControl("If", attrs, 1, call, tensor.Scalar[int64](1)) },
		"has 1 outputs, wanted 2":     func() ([]tensor.Value, error) { return runControl("If", attrs, 2, call, tensor.Scalar(true)) },
		"cannot be run on its own":    func() ([]tensor.Value, error) { return runControl("If", attrs, 1, nil, tensor.Scalar(true)) },
		"attribute else_branch is mi": func() ([]tensor.Value, error) { return runControl("If", attrs[:1], 1, call, tensor.Scalar(true)) },
	} {
		if _, err := run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, wanted one with %q", err, want)
		}
	}
}

// TestLoop adds the iteration to a carried value until it passes 5, and gives
// out each sum.
func TestLoop(t *testing.T) {
	body := subgraph(t, "body", []graph.Type{scalarInt, scalarBool, scalarInt}, []graph.Type{scalarBool, scalarInt, scalarInt})
	attrs := []*graph.Attr{graphAttr("body", body)}
	call := func(_ *graph.Graph, in []tensor.Value) ([]tensor.Value, error) {
		sum := tensor.Data[int64](in[2].Tensor)[0] + tensor.Data[int64](in[0].Tensor)[0]
		v := tensor.ValueOf(tensor.Scalar(sum))
		return []tensor.Value{tensor.ValueOf(tensor.Scalar(sum <= 5)), v, v}, nil
	}
	zero, yes := tensor.Scalar[int64](0), tensor.Scalar(true)
	got, err := runControl("Loop", attrs, 2, call, nil, yes, zero)
	wantValues(t, got, err, tensor.Scalar[int64](6), list[int64](0, 1, 3, 6))
	got, err = runControl("Loop", attrs, 2, call, tensor.Scalar[int64](3), nil, zero)
	wantValues(t, got, err, tensor.Scalar[int64](3), list[int64](0, 1, 3))
	got, err = runControl("Loop", attrs, 2, call, zero, yes, zero)
	wantValues(t, got, err, zero, list[int64]())
	got, err = runControl("Loop", attrs, 2, call, nil, tensor.Scalar(false), zero)
	wantValues(t, got, err, zero, list[int64]())
	if _, err = runControl("Loop", attrs, 2, call, nil, yes); err == nil || !strings.Contains(err.Error(), "has 3 inputs, wanted 2") {
		t.Errorf("error is %v", err)
	}
}

// TestScan carries a running sum over the slices along either axis, forwards
// and backwards, and stacks the sums.
func TestScan(t *testing.T) {
	body := subgraph(t, "body", []graph.Type{vectorFloat, vectorFloat}, []graph.Type{vectorFloat, vectorFloat})
	call := func(_ *graph.Graph, in []tensor.Value) ([]tensor.Value, error) {
		a, b := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](in[1].Tensor)
		v := tensor.ValueOf(list(a[0]+b[0], a[1]+b[1]))
		return []tensor.Value{v, v}, nil
	}
	zero := list[float32](0, 0)
	attrs := []*graph.Attr{graphAttr("body", body), attrInt("num_scan_inputs", 1)}
	rows := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	got, err := runControl("Scan", attrs, 2, call, zero, rows)
	wantValues(t, got, err, list[float32](9, 12), tensor.Of([]float32{1, 2, 4, 6, 9, 12}, 3, 2))

	turned := append(attrs, attrInts("scan_input_axes", -1), attrInts("scan_input_directions", 1),
		attrInts("scan_output_axes", 1), attrInts("scan_output_directions", 1))
	cols := tensor.Of([]float32{1, 3, 5, 2, 4, 6}, 2, 3)
	got, err = runControl("Scan", turned, 2, call, zero, cols)
	wantValues(t, got, err, list[float32](9, 12), tensor.Of([]float32{9, 8, 5, 12, 10, 6}, 2, 3))

	got, err = runControl("Scan", attrs, 2, call, zero, counting(0, 2))
	wantValues(t, got, err, zero, counting(0, 2))
	if _, err = runControl("Scan", attrs, 2, call, zero, nil); err == nil || !strings.Contains(err.Error(), "input 1 is left out") {
		t.Errorf("error is %v", err)
	}
	if _, err = runControl("Scan", turned, 3, call, zero, cols); err == nil || !strings.Contains(err.Error(), "has 2 outputs, wanted 3") {
		t.Errorf("error is %v", err)
	}
}
