package finetune

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A net builds a float32 model node by node; any error ends the test.
type net struct {
	t testing.TB
	m *graph.Model
	r *rand.Rand
}

// newNet begins a model of opset 17 with the input x of [rows, width...]; rows
// is free where it is 0.
func newNet(t testing.TB, rows int, width ...int) (*net, *graph.Value) {
	g := graph.New("net", nil)
	batch := graph.Symbol("N")
	if rows > 0 {
		batch = graph.Size(rows)
	}
	x, err := g.AddInput("x", graph.TensorType(tensor.Float32, append([]graph.Dim{batch}, graph.Sizes(width)...)...))
	if err != nil {
		t.Fatal(err)
	}
	return &net{t, &graph.Model{Graph: g, IRVersion: 9, Opsets: []graph.Opset{{Version: 17}}}, rand.New(rand.NewPCG(1, 2))}, x
}

// weight is a constant of normal numbers.
func (n *net) weight(name string, deviation float64, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float32, shape...)
	for i, v := 0, tensor.Data[float32](t); i < len(v); i++ {
		v[i] = float32(deviation * n.r.NormFloat64())
	}
	return n.m.Graph.NewConst(name, t)
}

func (n *net) scalar(name string, x float32) *graph.Value {
	return n.m.Graph.NewConst(name, tensor.Scalar(x))
}

func (n *net) node(op string, in []*graph.Value, attrs ...*graph.Attr) *graph.Value {
	n.t.Helper()
	g := n.m.Graph
	out, err := g.NewValue(g.FreshName(op), graph.Type{})
	if err != nil {
		n.t.Fatal(err)
	}
	k, err := g.NewNode("", op, op+"_"+out.Name(), in, []*graph.Value{out}, attrs...)
	if err != nil {
		n.t.Fatal(err)
	}
	g.Append(k)
	return out
}

// dense is x·Wᵀ + b.
func (n *net) dense(name string, x *graph.Value, in, out int) *graph.Value {
	return n.node("Gemm", values{x, n.weight(name+".weight", 1/math.Sqrt(float64(in)), out, in), n.weight(name+".bias", 0.1, out)}, attrInt("transB", 1))
}

// done makes values the outputs, of float32 and rank 2.
func (n *net) done(outputs ...*graph.Value) *graph.Model {
	n.t.Helper()
	for _, v := range outputs {
		v.Type = graph.Type{Kind: tensor.KindTensor, DType: tensor.Float32}
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

// mlp is in → hidden → classes with a ReLU.
func mlp(t *testing.T, rows, in, hidden, classes int) *graph.Model {
	n, x := newNet(t, rows, in)
	return n.done(n.dense("fc2", n.node("Relu", values{n.dense("fc1", x, in, hidden)}), hidden, classes))
}

// rows is data in memory for an input x.
type rows struct {
	x      *tensor.Tensor // [n, …]
	labels *tensor.Tensor // [n, …]; nil: none
	most   int
}

func (d *rows) Units() int      { return d.x.Shape()[0] }
func (d *rows) Most() int       { return d.most }
func (d *rows) HasLabels() bool { return d.labels != nil }

func (d *rows) Pick(units []int, b *dataset.Batch) error {
	if d.most > 0 && len(units) > d.most {
		return fmt.Errorf("%d units", len(units))
	}
	b.First, b.Rows, b.Padded = units[0], len(units), max(len(units), d.most)
	b.Inputs = []*tensor.Tensor{take(d.x, units, b.Padded)}
	if d.labels != nil {
		b.Labels = take(d.labels, units, len(units))
	}
	return nil
}

// take is rows of t, the last one repeated.
func take(t *tensor.Tensor, units []int, padded int) *tensor.Tensor {
	shape := append([]int{padded}, t.Shape()[1:]...)
	out := tensor.New(t.DType(), shape...)
	each := len(t.Bytes()) / t.Shape()[0]
	for k := range padded {
		u := units[min(k, len(units)-1)]
		copy(out.Bytes()[k*each:(k+1)*each], t.Bytes()[u*each:])
	}
	return out
}

// blobs is n rows around one centre per class.
func blobs(n, width, classes int, noise float64) *rows {
	r := rand.New(rand.NewPCG(7, 8))
	centres := make([]float64, classes*width)
	for i := range centres {
		centres[i] = r.NormFloat64()
	}
	x, labels := make([]float32, n*width), make([]int64, n)
	for i := range n {
		k := i % classes
		labels[i] = int64(k)
		for j := range width {
			x[i*width+j] = float32(centres[k*width+j] + noise*r.NormFloat64())
		}
	}
	return &rows{x: tensor.Of(x, n, width), labels: tensor.Of(labels, n)}
}

// constants is the bytes of all constants of a model.
func constants(m *graph.Model) string {
	s := ""
	for _, v := range m.Graph.Consts() {
		s += v.Name() + ":" + string(v.Init().Bytes())
	}
	return s
}
