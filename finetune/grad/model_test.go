package grad

import (
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A net builds a float64 model node by node; any error ends the test.
type net struct {
	t *testing.T
	m *graph.Model
	r *rand.Rand
}

func newNet(t *testing.T, input string, shape ...int) (*net, *graph.Value) {
	g := graph.New("net", nil)
	x, err := g.AddInput(input, graph.TensorType(tensor.Float64, graph.Sizes(shape)...))
	if err != nil {
		t.Fatal(err)
	}
	return &net{t, &graph.Model{Graph: g, IRVersion: 9, Opsets: []graph.Opset{{Version: 17}}}, rand.New(rand.NewPCG(1, 2))}, x
}

// weight is a constant of normal numbers of the given deviation around mean.
func (n *net) weight(name string, mean, deviation float64, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float64, shape...)
	for i, v := 0, tensor.Data[float64](t); i < len(v); i++ {
		v[i] = mean + deviation*n.r.NormFloat64()
	}
	return n.m.Graph.NewConst(name, t)
}

func (n *net) ints(v ...int64) *graph.Value { return n.m.Graph.NewConst("ints", tensor.Of(v, len(v))) }

// node appends a node; its one output is named after its operator.
func (n *net) node(op string, in []*graph.Value, attrs ...*graph.Attr) *graph.Value {
	n.t.Helper()
	g := n.m.Graph
	out, err := g.NewValue(g.FreshName(op), graph.Type{})
	if err != nil {
		n.t.Fatal(err)
	}
	k, err := g.NewNode("", op, "", in, []*graph.Value{out}, attrs...)
	if err != nil {
		n.t.Fatal(err)
	}
	g.Append(k)
	return out
}

func (n *net) done(outputs ...*graph.Value) *graph.Model {
	n.t.Helper()
	for _, v := range outputs {
		n.m.Graph.AddOutput(v)
	}
	if err := n.m.Check(); err != nil {
		n.t.Fatal(err)
	}
	return n.m
}

type values = []*graph.Value

func attrInt(name string, v int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInt, I: v}
}

func attrInts(name string, v ...int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInts, Ints: v}
}

func mlp(t *testing.T) *graph.Model {
	n, x := newNet(t, "x", 5, 4)
	h := n.node("Relu", values{n.node("Gemm", values{x, n.weight("w1", 0, 1, 7, 4), n.weight("b1", 0, 1, 7)}, attrInt("transB", 1))})
	h = n.node("Tanh", values{n.node("Add", values{n.node("MatMul", values{h, n.weight("w2", 0, 0.5, 7, 6)}), n.weight("b2", 0, 1, 6)})})
	return n.done(n.node("Gemm", values{h, n.weight("w3", 0, 1, 6, 3), n.weight("b3", 0, 1, 3)}))
}

// transformer is one block with two heads of width 4, then a pooled
// classifier; the heads are cut out as exporters do, by Reshape and Transpose.
func transformer(t *testing.T) *graph.Model {
	n, x := newNet(t, "x", 2, 5, 8)
	norm := func(name string, x *graph.Value) *graph.Value {
		return n.node("LayerNormalization", values{x, n.weight(name+".weight", 1, 0.2, 8), n.weight(name+".bias", 0, 0.2, 8)}, attrInt("axis", -1))
	}
	linear := func(name string, x *graph.Value, in, out int) *graph.Value {
		return n.node("Add", values{n.weight(name+".bias", 0, 0.3, out), n.node("MatMul", values{x, n.weight(name+".weight", 0, 0.5, in, out)})})
	}
	qkv := linear("qkv", norm("n1", x), 8, 24)
	head := func(i int64, perm ...int64) *graph.Value {
		part := n.node("Slice", values{qkv, n.ints(8 * i), n.ints(8 * (i + 1)), n.ints(-1)})
		return n.node("Transpose", values{n.node("Reshape", values{part, n.ints(0, 0, 2, 4)})}, attrInts("perm", perm...))
	}
	q, k, v := head(0, 0, 2, 1, 3), head(1, 0, 2, 3, 1), head(2, 0, 2, 1, 3)
	scores := n.node("Div", values{n.node("MatMul", values{q, k}), n.m.Graph.NewConst("root", tensor.Scalar(2.0))})
	mixed := n.node("MatMul", values{n.node("Softmax", values{scores}, attrInt("axis", -1)), v})
	mixed = n.node("Reshape", values{n.node("Transpose", values{mixed}, attrInts("perm", 0, 2, 1, 3)), n.ints(0, 0, 8)})
	x = n.node("Add", values{x, linear("o", mixed, 8, 8)})
	h := linear("f1", norm("n2", x), 8, 16)
	erf := n.node("Erf", values{n.node("Div", values{h, n.m.Graph.NewConst("sqrt2", tensor.Scalar(math.Sqrt2))})})
	gelu := n.node("Mul", values{n.node("Mul", values{h, n.node("Add", values{erf, n.m.Graph.NewConst("one", tensor.Scalar(1.0))})}), n.m.Graph.NewConst("half", tensor.Scalar(0.5))})
	x = n.node("Add", values{x, linear("f2", gelu, 16, 8)})
	pooled := n.node("ReduceMean", values{x}, attrInts("axes", 1), attrInt("keepdims", 0))
	return n.done(n.node("Gemm", values{pooled, n.weight("head.weight", 0, 1, 8, 3), n.weight("head.bias", 0, 1, 3)}))
}

func cnn(t *testing.T) *graph.Model {
	n, x := newNet(t, "x", 2, 2, 9, 8)
	h := n.node("Conv", values{x, n.weight("c1", 0, 0.5, 4, 2, 3, 3), n.weight("c1.bias", 0, 0.5, 4)}, attrInts("pads", 1, 1, 1, 1))
	h = n.node("BatchNormalization", values{h, n.weight("scale", 1, 0.2, 4), n.weight("shift", 0, 0.2, 4), n.weight("mean", 0, 0.2, 4), n.weight("var", 2, 0.1, 4)})
	h = n.node("MaxPool", values{n.node("LeakyRelu", values{h})}, attrInts("kernel_shape", 2, 2), attrInts("strides", 2, 2))
	h = n.node("Sigmoid", values{n.node("Conv", values{h, n.weight("c2", 0, 0.5, 6, 2, 3, 3)}, attrInt("group", 2), attrInts("strides", 1, 2))})
	h = n.node("Concat", values{n.node("GlobalAveragePool", values{h}), n.node("AveragePool", values{h}, attrInts("kernel_shape", 2, 1))}, attrInt("axis", 2))
	return n.done(n.node("Gemm", values{n.node("Flatten", values{h}), n.weight("fc", 0, 1, 12, 3)}))
}

// shipped reads one of the models that come with the source.
func shipped(t testing.TB, name string) *graph.Model {
	m, err := onnx.Read("../../testdata/models/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// widened is m in float64: its inputs, constants and casts.
func widened(t *testing.T, m *graph.Model) *graph.Model {
	m = m.Clone()
	wide := func(x *tensor.Tensor) *tensor.Tensor {
		if x.DType() != tensor.Float32 {
			return x
		}
		v, err := tensor.Float64s(x)
		if err != nil {
			t.Fatal(err)
		}
		return tensor.Of(v, x.Shape()...)
	}
	g := m.Graph
	for _, v := range g.Inputs {
		if v.Type.DType == tensor.Float32 {
			v.Type.DType = tensor.Float64
		}
	}
	for _, v := range g.Consts() {
		v.SetConst(wide(v.Init()))
	}
	for _, n := range g.Nodes() {
		for _, v := range n.Outputs() {
			v.Type = graph.Type{}
		}
		for _, a := range n.Attrs {
			switch {
			case a.T != nil:
				a.T, a.Origin = wide(a.T), nil
			case n.OpType == "Cast" && a.I == int64(tensor.Float32):
				a.I = int64(tensor.Float64)
			}
		}
	}
	return m
}
