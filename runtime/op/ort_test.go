package op

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// TestAgainstONNXRuntime runs single nodes of the opsets that the official
// data does not reach, and forms of older ones that it leaves out, here and in
// ONNX Runtime.
func TestAgainstONNXRuntime(t *testing.T) {
	x := random(1, 2, 4, 3, 5)
	above := positive(random(1, 2, 4, 3, 5))
	square := positive(random(2, 2, 3))
	empty := tensor.New(tensor.Int64, 0)
	ints := func(name string, v ...int64) []*graph.Attr { return []*graph.Attr{attrInts(name, v...)} }
	one := func(name string, v int64) []*graph.Attr { return []*graph.Attr{attrInt(name, v)} }
	var tests []opTest
	for name := range foldings {
		for opset := int64(13); opset <= 20; opset += 5 {
			if opset < 18 && name != "ReduceSum" {
				tests = append(tests, opTest{op: name, opset: opset, attrs: ints("axes", 0, -2), in: []*tensor.Tensor{above}})
				continue
			}
			tests = append(tests, opTest{op: name, opset: opset, in: []*tensor.Tensor{above, list[int64](-1, 1)}},
				opTest{op: name, opset: opset, attrs: one("keepdims", 0), in: []*tensor.Tensor{above}})
		}
		tests = append(tests,
			opTest{name: "no axes", op: name, opset: 18, attrs: one("noop_with_empty_axes", 1), in: []*tensor.Tensor{square}},
			opTest{name: "empty axes", op: name, opset: 18, attrs: one("noop_with_empty_axes", 1), in: []*tensor.Tensor{square, empty}},
			opTest{name: "integers", op: name, opset: 18, in: []*tensor.Tensor{tensor.Of([]int32{7, 4, 2, 9, 1, 6}, 2, 3), list[int64](1)}})
	}
	tests = append(tests,
		opTest{op: "Gelu", opset: 20, in: []*tensor.Tensor{x}},
		opTest{op: "Gelu", opset: 20, attrs: []*graph.Attr{attrString("approximate", "tanh")}, in: []*tensor.Tensor{x}},
		opTest{op: "Mish", opset: 18, in: []*tensor.Tensor{x}},
		opTest{op: "HardSwish", opset: 14, in: []*tensor.Tensor{x}},
		opTest{op: "PRelu", opset: 16, in: []*tensor.Tensor{x, random(3, 4, 1, 1)}},
		opTest{op: "GroupNormalization", opset: 21, attrs: one("num_groups", 2), in: []*tensor.Tensor{x, random(2, 4), random(3, 4)}},
		opTest{op: "LayerNormalization", opset: 17, attrs: one("axis", 2), in: []*tensor.Tensor{x, random(2, 3, 5), random(3, 3, 5)}},
		opTest{op: "InstanceNormalization", opset: 6, in: []*tensor.Tensor{x, random(2, 4), random(3, 4)}},
		opTest{op: "LpNormalization", opset: 22, attrs: []*graph.Attr{attrInt("axis", 1), attrInt("p", 1)}, in: []*tensor.Tensor{x}},
		opTest{op: "LRN", opset: 13, attrs: []*graph.Attr{attrInt("size", 3), attrFloat("alpha", 0.5)}, in: []*tensor.Tensor{x}},
		opTest{op: "Softmax", opset: 11, attrs: one("axis", 2), in: []*tensor.Tensor{x}},
		opTest{op: "Softmax", opset: 13, attrs: one("axis", 1), in: []*tensor.Tensor{x}},
		opTest{op: "LogSoftmax", opset: 9, in: []*tensor.Tensor{x}},
		opTest{op: "Hardmax", opset: 13, attrs: one("axis", -2), in: []*tensor.Tensor{x}},
		opTest{op: "ArgMin", opset: 13, attrs: []*graph.Attr{attrInt("axis", 2), attrInt("select_last_index", 1)}, in: []*tensor.Tensor{tensor.Of([]int32{1, 0, 0, 3, 3, 2}, 1, 2, 3)}},
		opTest{op: "Pow", opset: 15, in: []*tensor.Tensor{square, list[int32](2, 0, -1)}},
		opTest{op: "Pow", opset: 15, in: []*tensor.Tensor{list[int64](-3, 2, 7), list[int64](3, 10, 0)}},
		opTest{op: "Mod", opset: 13, in: []*tensor.Tensor{list[int32](-7, 7, -6), list[int32](3, -3, 3)}},
		opTest{op: "Mod", opset: 13, attrs: one("fmod", 1), in: []*tensor.Tensor{list(-7.5, 7.25), list(2., -3)}},
		opTest{op: "Clip", opset: 6, attrs: []*graph.Attr{attrFloat("max", 0.5)}, in: []*tensor.Tensor{x}},
		opTest{op: "Clip", opset: 13, in: []*tensor.Tensor{x, tensor.Scalar[float32](1), tensor.Scalar[float32](-1)}},
		opTest{op: "Clip", opset: 12, in: []*tensor.Tensor{list[int8](-100, 5, 100), nil, tensor.Scalar[int8](6)}},
		opTest{op: "BitwiseXor", opset: 18, in: []*tensor.Tensor{list[int32](-1, 12), list[int32](10, 10)}},
		opTest{op: "CumSum", opset: 14, attrs: one("reverse", 1), in: []*tensor.Tensor{x, tensor.Scalar[int64](2)}},
		opTest{op: "Max", opset: 13, in: []*tensor.Tensor{list(1, nan32, 3), list(nan32, 2, 2)}},
		opTest{op: "Where", opset: 16, in: []*tensor.Tensor{tensor.Of([]bool{true, false}, 2, 1), random(1, 3), random(2, 2, 3)}},
	)
	for _, to := range []tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Bool, tensor.Float64, tensor.String} {
		tests = append(tests, opTest{op: "Cast", opset: 19, attrs: one("to", int64(to)), in: []*tensor.Tensor{list[float32](0, 2.7, 3.25, 100)}})
	}
	compareWithORT(t, tests)
}

// compareWithORT runs single nodes in ONNX Runtime and here.
func compareWithORT(t *testing.T, tests []opTest) {
	t.Helper()
	s := ortest.Start(t)
	for _, c := range tests {
		name := fmt.Sprintf("%s/%d", c.op, c.opset)
		if c.name != "" {
			name += "/" + c.name
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.onnx")
			outs := max(1, c.outs)
			in := writeNode(t, path, c, outs)
			want, err := s.Run(path, in)
			if refused := (*ortest.RefusedError)(nil); errors.As(err, &refused) {
				t.Skipf("%v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			o, err := parseOp(c, outs)
			if err != nil {
				t.Fatal(err)
			}
			values := make([]tensor.Value, len(c.in))
			for i, x := range c.in {
				values[i] = tensor.ValueOf(x)
			}
			got, err := Eval(&Ctx{Rand: rand.New(rand.NewPCG(1, 2))}, o, values, outs)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if err := ortest.Compare(mapped(got[i].Tensor, c.through), mapped(want[i].Tensor, c.through), approximate); err != nil {
					t.Errorf("output %d: %v", i, err)
				}
			}
		})
	}
}

// mapped is f of the elements of x, where that is float32.
func mapped(x *tensor.Tensor, f func(float64) float64) *tensor.Tensor {
	if f == nil || x.DType() != tensor.Float32 {
		return x
	}
	y := x.Clone()
	for i, v := range tensor.Data[float32](x) {
		tensor.Data[float32](y)[i] = float32(f(float64(v)))
	}
	return y
}

// writeNode writes a model of one node of so many outputs and returns the inputs
// that it takes.
func writeNode(t *testing.T, path string, c opTest, outs int) []ortest.Named {
	t.Helper()
	return writeNodeOf(t, path, c, outs, func(int) bool { return false })
}

// writeNodeOf is writeNode with some of the inputs as the model's own constants.
func writeNodeOf(t *testing.T, path string, c opTest, outs int, constant func(i int) bool) []ortest.Named {
	t.Helper()
	g := graph.New("test", nil)
	in := make([]*graph.Value, len(c.in))
	var named []ortest.Named
	for i, x := range c.in {
		switch {
		case x == nil:
			continue
		case constant(i):
			in[i] = g.NewConst(fmt.Sprintf("c%d", i), x)
			continue
		}
		var err error
		if in[i], err = g.AddInput(fmt.Sprintf("in%d", i), graph.TypeOf(x)); err != nil {
			t.Fatal(err)
		}
		named = append(named, ortest.Named{Name: in[i].Name(), Tensor: x})
	}
	o, err := parseOp(c, outs)
	if err != nil {
		t.Fatal(err)
	}
	facts := make([]graph.Fact, len(c.in))
	for i, x := range c.in {
		if x != nil {
			facts[i] = graph.FactOf(x)
		}
	}
	inferred, err := InferNode(o, facts, outs)
	if err != nil {
		t.Fatal(err)
	}
	ys := make([]*graph.Value, outs)
	for i := range ys {
		if ys[i], err = g.NewValue(fmt.Sprintf("y%d", i), graph.Type{Kind: tensor.KindTensor, DType: inferred[i].DType}); err != nil {
			t.Fatal(err)
		}
	}
	domain, name := domainOf(c.op)
	n, err := g.NewNode(domain, name, "", in, ys, c.attrs...)
	if err != nil {
		t.Fatal(err)
	}
	g.Append(n)
	for _, y := range ys {
		g.AddOutput(y)
	}
	m := &graph.Model{Graph: g, IRVersion: 8, Opsets: []graph.Opset{{Version: c.opset}}}
	if domain != "" {
		m.Opsets = []graph.Opset{{Version: 15}, {Domain: domain, Version: c.opset}}
	}
	data, err := onnx.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return named
}
