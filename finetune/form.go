package finetune

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A stat is the running statistics of a BatchNormalization: weights that follow
// the batches in place of a gradient.
type stat struct {
	value *graph.Value   // of the model
	x     *tensor.Tensor // its elements, those of the model that is trained
	best  *tensor.Tensor // of the best state; nil before there is one
	out   *graph.Value   // what the training form makes of x
	start float32        // what a random start begins with
}

// leastBatch is the rows that statistics of a batch are taken of at least.
const leastBatch = 16

// trainingForm is a copy of m, over the same constants, as it is run in
// training: a BatchNormalization normalises by the statistics of the batch and
// carries its running ones on, where batches is set; a Dropout drops. m itself
// is what is evaluated and written. Running statistics that are carried on get
// elements of their own in m.
func trainingForm(m *graph.Model, batches bool) (*graph.Model, []*stat, error) {
	var stats []*stat
	own := map[*graph.Value]bool{}
	for _, n := range m.Graph.Nodes() {
		if !batches || !isNorm(n) {
			continue
		}
		for i, start := range []float32{0, 1} {
			v := n.Input(3 + i)
			if !own[v] {
				own[v] = true
				set(v, v.Const().Clone())
			}
			stats = append(stats, &stat{value: v, x: v.Const(), start: start})
		}
	}
	f := m.Clone()
	k := 0
	for _, n := range append([]*graph.Node(nil), f.Graph.Nodes()...) {
		switch {
		case batches && isNorm(n):
			if err := trainNorm(f, n, stats[k:k+2]); err != nil {
				return nil, nil, err
			}
			k += 2
		case isDropout(n):
			if err := trainDropout(f, n); err != nil {
				return nil, nil, err
			}
		}
	}
	return f, stats, f.Check()
}

// isNorm reports whether a node is a BatchNormalization whose running
// statistics are constants that can be set.
func isNorm(n *graph.Node) bool {
	if n.OpType != "BatchNormalization" || !onnxOwn(n) || len(n.Inputs()) != 5 || n.Outputs()[0] == nil {
		return false
	}
	for i, v := range n.Outputs() {
		if i > 0 && v != nil {
			return false
		}
	}
	for _, v := range n.Inputs()[3:] {
		if v == nil || v.Graph() != n.Graph() || !settable(v) || !trainable(v.Const()) {
			return false
		}
	}
	return true
}

func onnxOwn(n *graph.Node) bool { return n.Domain == "" || n.Domain == "ai.onnx" }

// trainNorm makes a BatchNormalization of f one in training mode, whose running
// statistics are outputs: with the attribute training_mode from opset 14 on,
// by the outputs alone before.
func trainNorm(f *graph.Model, n *graph.Node, stats []*stat) error {
	g := n.Graph()
	outputs := []*graph.Value{nil}
	for i, s := range stats {
		v, err := g.NewValue(g.FreshName(fmt.Sprintf("%s.running%d", n.Label(), i)), graph.Type{})
		if err != nil {
			return err
		}
		s.out = v
		outputs = append(outputs, v)
	}
	var attrs []*graph.Attr
	for _, a := range n.Attrs {
		if a.Name != "training_mode" {
			attrs = append(attrs, a)
		}
	}
	if f.Opset("") >= 14 {
		attrs = append(attrs, &graph.Attr{Name: "training_mode", Type: graph.AttrInt, I: 1})
	}
	return replace(g, n, n.Inputs(), outputs, attrs)
}

// replace puts a node of the same operator and name in the place of n, whose
// first output it takes.
func replace(g *graph.Graph, n *graph.Node, inputs, outputs []*graph.Value, attrs []*graph.Attr) error {
	k, err := g.NewNode(n.Domain, n.OpType, n.Name, inputs, outputs, attrs...)
	if err != nil {
		return err
	}
	g.InsertBefore(n, k)
	if err := k.TakeOutput(0, n, 0); err != nil {
		return err
	}
	return g.Remove(n)
}

// isDropout reports whether a node drops in training: a Dropout with a constant
// ratio, whose mask nobody reads.
func isDropout(n *graph.Node) bool {
	if n.OpType != "Dropout" || !onnxOwn(n) || n.Input(0) == nil || n.Outputs()[0] == nil {
		return false
	}
	if len(n.Outputs()) > 1 && n.Outputs()[1] != nil && (len(n.Outputs()[1].Uses()) > 0 || n.Outputs()[1].IsOutput()) {
		return false
	}
	r, ok := ratioOf(n)
	return ok && r > 0 && r < 1
}

// ratioOf is the share of elements that a Dropout drops: an attribute before
// opset 12, an input from then on, ½ where neither is there.
func ratioOf(n *graph.Node) (float64, bool) {
	if a := n.Attr("ratio"); a != nil {
		return float64(a.F), true
	}
	v := n.Input(1)
	if v == nil {
		return 0.5, true
	}
	if v.Const() == nil {
		return 0, false
	}
	x, err := tensor.Float64s(v.Const())
	if err != nil || len(x) != 1 {
		return 0, false
	}
	return x[0], true
}

// trainDropout puts y = x·(u < 1−ratio)/(1−ratio), u uniform in [0, 1), in the
// place of a Dropout: standard operators of any opset, and a gradient by x.
func trainDropout(f *graph.Model, n *graph.Node) error {
	g := n.Graph()
	ratio, _ := ratioOf(n)
	like := tensor.Float32
	if t := n.Outputs()[0].Type; t.DType == tensor.Float64 {
		like = t.DType
	}
	constant := func(x float64) *graph.Value {
		t, _ := tensor.FromFloat64s(like, []float64{x})
		return g.NewConst(n.Label()+".keep", t)
	}
	node := func(op string, in []*graph.Value, attrs ...*graph.Attr) (*graph.Value, error) {
		v, err := g.NewValue(g.FreshName(n.Label()+"."+op), graph.Type{})
		if err != nil {
			return nil, err
		}
		k, err := g.NewNode("", op, n.Label()+"."+op, in, []*graph.Value{v}, attrs...)
		if err != nil {
			return nil, err
		}
		g.InsertBefore(n, k)
		return v, nil
	}
	u, err := node("RandomUniformLike", []*graph.Value{n.Input(0)}, &graph.Attr{Name: "dtype", Type: graph.AttrInt, I: int64(like)})
	if err != nil {
		return err
	}
	kept, err := node("Less", []*graph.Value{u, constant(1 - ratio)})
	if err != nil {
		return err
	}
	if kept, err = node("Cast", []*graph.Value{kept}, &graph.Attr{Name: "to", Type: graph.AttrInt, I: int64(like)}); err != nil {
		return err
	}
	if kept, err = node("Div", []*graph.Value{kept, constant(1 - ratio)}); err != nil {
		return err
	}
	k, err := g.NewNode("", "Mul", n.Name, []*graph.Value{n.Input(0), kept}, []*graph.Value{nil})
	if err != nil {
		return err
	}
	g.InsertBefore(n, k)
	if err := k.TakeOutput(0, n, 0); err != nil {
		return err
	}
	return g.Remove(n)
}
