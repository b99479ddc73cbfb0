// Package match finds the layers of a model that are fully connected or can be
// seen as such, however an exporter spelled them, and says why other nodes with
// weights are none.
package match

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A Layer is a fully connected layer y = W x + b of Out×In weights, or one that
// is applied at many places of its input (Conv) or to unit vectors, which looks
// rows up (Gather). Its nodes are Product and, where
// the bias is added apart, BiasAdd.
type Layer struct {
	Name    string      // the product's, or its output's where that has none; unique in a model
	Op      string      // Gemm, MatMul, Conv or Gather
	Product *graph.Node // the product with the weight
	BiasAdd *graph.Node // the Add that is folded in; nil where there is none
	X       *graph.Value
	Y       *graph.Value // after the bias
	In, Out int
	Rank    int // of X; -1 where it is not known

	// Columns says that the samples are the columns of X, as in
	// MatMul(W, X): X is [… In S] and Y is [… Out S]. Otherwise they are the
	// rows: X is [… In] and Y is [… Out].
	Columns bool
	// TransposeX says that the product reads X, of rank 2, transposed; the
	// forms above hold of the transposed X.
	TransposeX bool

	// Conv is how samples are cut out of X, of a Conv node; nil of a product. Y
	// is [N Out D1 …] then, and Columns is set.
	Conv *Convolution

	// Index is the type of X, of a Gather node, which holds indices: every one
	// is a sample, a unit vector of In numbers. Undefined of all others.
	Index tensor.DType

	Weight *Weight // shared by tied layers
	// Transposed says that W is the transpose of Weight.Dense().
	Transposed bool

	// Addend is what is added to the product: the C of a Gemm, or the
	// constant operand of BiasAdd. nil where there is none.
	Addend *graph.Value
	Beta   float64 // the factor of Addend

	operand *chain // the weight as the product reads it
	flip    bool   // W is the transpose of what operand stores
	alpha   float64
}

// A Weight is the constant behind one layer or several tied ones.
type Weight struct {
	// Root is the initializer, or the output of the Constant node, that holds
	// the elements.
	Root *graph.Value
	// Rows and Cols are the size of Dense, which is W of the first of Layers.
	Rows, Cols int
	// DType is the element type at the product, hence that of factors.
	DType  tensor.DType
	Layers []*Layer

	goes []*graph.Value // the constants that leave the model with the layers
}

// A Skip is a node that reads a weight and is not taken as a layer, and why.
type Skip struct {
	Name   string
	Node   *graph.Node
	Params int    // elements of the weight
	Reason string // a clause for a person to read
}

// Dense is W of the first layer as a matrix of Rows×Cols, the scale of a Gemm
// (alpha) included. It is computed anew at each call.
func (w *Weight) Dense() (*mat.Dense, error) { return w.Layers[0].dense() }

// dense is the layer's own W.
func (l *Layer) dense() (*mat.Dense, error) {
	v, err := l.operand.values()
	if err != nil {
		return nil, fmt.Errorf("weight %q: %w", l.operand.root.Name(), err)
	}
	d := mat.NewDense(l.operand.rows, l.operand.cols, v)
	if l.flip {
		d = mat.DenseCopyOf(d.T())
	}
	if l.alpha != 1 {
		d.Scale(l.alpha, d)
	}
	return d, nil
}

// Params is the number of floating-point and quantised elements that leave
// the model when all layers of w are replaced.
func (w *Weight) Params() int {
	n := 0
	for _, v := range w.goes {
		if d := v.Const().DType(); d.IsFloat() || d.IsQuantized() {
			n += v.Const().Len()
		}
	}
	return n
}

// Bytes is the size of what leaves the model, as it is stored.
func (w *Weight) Bytes() int {
	n := 0
	for _, v := range w.goes {
		n += v.Const().DType().ByteLen(v.Const().Len())
	}
	return n
}

// Layers finds the layers of m, in the order of the nodes,
// subgraphs included, and the nodes with weights that are none. f is what
// inference knows of m.
func Layers(m *graph.Model, f *op.Facts) ([]*Layer, []Skip) {
	s := &search{model: m, facts: f, names: map[string]int{}, constant: map[*graph.Value]bool{}}
	m.Graph.Walk(s.node)
	for _, fn := range m.Functions {
		fn.Graph.Walk(s.functionNode)
	}
	return s.tie(), s.skips
}

// search is the state of one call of Layers.
type search struct {
	model    *graph.Model
	facts    *op.Facts
	names    map[string]int // how often a layer's name was given
	layers   []*Layer
	skips    []Skip
	constant map[*graph.Value]bool
}

// oldest is the operator set from which on the forms of Gemm, MatMul, Add and
// Reshape are the ones that this package and the export know.
const oldest = 7

// node looks at one node of the main graph or a subgraph.
func (s *search) node(n *graph.Node) {
	own := n.Domain == "" || n.Domain == "ai.onnx"
	switch {
	case own && (n.OpType == "Gemm" || n.OpType == "MatMul"):
	case own && n.OpType == "Conv":
		s.convolution(n)
		return
	case own && n.OpType == "Gather":
		s.lookup(n)
		return
	default:
		s.otherConsumer(n)
		return
	}
	if len(n.Inputs()) < 2 || n.Input(0) == nil || n.Input(1) == nil || len(n.Outputs()) != 1 || n.Outputs()[0] == nil {
		return
	}
	a, whyA := s.resolve(n.Input(0))
	b, whyB := s.resolve(n.Input(1))
	constA, constB := a != nil || whyA != "", b != nil || whyB != ""
	if !constA && !constB {
		return // a product of two activations has no weight
	}
	l := &Layer{Op: n.OpType, Product: n, Y: n.Outputs()[0], Beta: 1, alpha: 1}
	w, why, x := b, whyB, n.Input(0)
	if constA {
		w, why, x = a, whyA, n.Input(1)
	}
	params := 0
	if w != nil {
		params = w.root.Const().Len()
	}
	skip := func(format string, args ...any) { s.skip(n, params, fmt.Sprintf(format, args...)) }
	switch {
	case constA && constB:
		skip("both operands are constants, so that the product is one too")
		return
	case w == nil:
		skip("%s", why)
		return
	case s.model.Opset("") < oldest:
		skip("the model's operator set %d is older than %d", s.model.Opset(""), oldest)
		return
	}
	switch w.dtype {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
	default:
		skip("the product is one of %v", w.dtype)
		return
	}
	l.X, l.operand = x, w
	if why := s.orient(l, constA); why != "" {
		skip("%s", why)
		return
	}
	if l.In == 0 || l.Out == 0 {
		skip("the weight [%d %d] is empty", l.Out, l.In)
		return
	}
	s.foldBias(l)
	l.Name = s.unique(n.Label())
	s.layers = append(s.layers, l)
}

// unique makes a name that no layer or skip had before.
func (s *search) unique(name string) string {
	for {
		s.names[name]++
		if s.names[name] == 1 {
			return name
		}
		name = fmt.Sprintf("%s#%d", name, s.names[name])
	}
}

func (s *search) skip(n *graph.Node, params int, reason string) {
	s.skips = append(s.skips, Skip{Name: s.unique(n.Label()), Node: n, Params: params, Reason: reason})
}
