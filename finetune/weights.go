package finetune

import (
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A Kind is what a weight is to the layers that read it.
type Kind int

// The kinds. Only matrices decay.
const (
	Matrix Kind = iota // an operand of products and convolutions, a table
	Vector             // a bias, a scale, anything else that is added or multiplied
)

// A Weight is a constant that can be trained.
type Weight struct {
	Value *graph.Value
	Kind  Kind
	Group *Group // the layer that it is a factor of; nil: none
	Side  byte   // 'A' or 'B', of a factor
}

// movers are operators whose output is their first input's elements, moved.
var movers = map[string]bool{"Transpose": true, "Reshape": true, "Identity": true, "Squeeze": true,
	"Unsqueeze": true, "Flatten": true, "Slice": true, "Expand": true, "Split": true, "Pad": true}

// products are operators that multiply by matrices, and the inputs that are
// these and those that are added or scale.
var products = map[string]struct{ matrices, vectors []int }{
	"Gemm":                             {[]int{0, 1}, []int{2}},
	"MatMul":                           {[]int{0, 1}, nil},
	"Einsum":                           {[]int{0, 1, 2, 3}, nil},
	"Conv":                             {[]int{1}, []int{2}},
	"ConvTranspose":                    {[]int{1}, []int{2}},
	"LSTM":                             {[]int{1, 2}, []int{3, 5, 6, 7}},
	"GRU":                              {[]int{1, 2}, []int{3, 5}},
	"RNN":                              {[]int{1, 2}, []int{3, 5}},
	"Gather":                           {[]int{0}, nil},
	"GatherND":                         {[]int{0}, nil},
	"LayerNormalization":               {nil, []int{1, 2}},
	"SimplifiedLayerNormalization":     {nil, []int{1}},
	"RMSNormalization":                 {nil, []int{1}},
	"GroupNormalization":               {nil, []int{1, 2}},
	"InstanceNormalization":            {nil, []int{1, 2}},
	"SkipLayerNormalization":           {nil, []int{2, 3, 4}},
	"BatchNormalization":               {nil, []int{1, 2}},
	"PRelu":                            {nil, []int{1}},
	"FusedMatMul":                      {[]int{0, 1}, nil},
	"SkipSimplifiedLayerNormalization": {nil, []int{2, 3}},
}

// elementwise are operators that add or scale element by element.
var elementwise = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Sum": true}

// joins are operators that put tensors beside each other.
var joins = map[string]bool{"Concat": true}

// roles finds the weights of a graph.
type roles struct {
	from    map[*graph.Value]bool // it depends on the graph's inputs
	after   map[*graph.Value]bool // it depends on inputs through some matrix
	product map[*graph.Value]bool // it is a product's output, perhaps moved
}

// Weights is the constants of m's main graph that can be trained, in the order
// in which nodes read them. Left out are integers, running statistics of batch
// norms, parameters that set an operator (the bounds of a Clip), single numbers
// that scale (the √2 in a GELU), what is done to inputs before the first layer
// (their normalisation), and constants that are not finite (attention masks).
func Weights(m *graph.Model, groups []Group) ([]*Weight, error) {
	order, err := m.Graph.Sorted()
	if err != nil {
		return nil, err
	}
	r := &roles{map[*graph.Value]bool{}, map[*graph.Value]bool{}, map[*graph.Value]bool{}}
	for _, v := range m.Graph.Inputs {
		r.from[v] = v.Init() == nil
	}
	for _, n := range order {
		r.pass(n)
	}
	factors := map[string]*Weight{}
	for i := range groups {
		g := &groups[i]
		for side, name := range map[byte]string{'A': g.A, 'B': g.B} {
			factors[name] = &Weight{Group: g, Side: side}
		}
	}
	var out []*Weight
	seen := map[*graph.Value]bool{}
	for _, n := range order {
		for _, v := range n.Inputs() {
			if v == nil || seen[v] || v.Graph() != m.Graph || !settable(v) || !trainable(v.Const()) {
				continue
			}
			seen[v] = true
			kind, ok := r.kind(v)
			if !ok {
				continue
			}
			w := &Weight{Value: v, Kind: kind}
			if f := factors[v.Name()]; f != nil {
				w.Group, w.Side = f.Group, f.Side
			}
			out = append(out, w)
		}
	}
	return out, nil
}

// settable reports whether v has elements that can be set in place: those of an
// initializer, or of a Constant node's tensor.
func settable(v *graph.Value) bool {
	if v.Init() != nil {
		return true
	}
	n := v.Producer()
	return v.Const() != nil && n != nil && len(n.Attrs) == 1 && n.Attrs[0].Type == graph.AttrTensor
}

// set gives v, which is settable, the elements t.
func set(v *graph.Value, t *tensor.Tensor) {
	if v.Init() != nil {
		v.SetConst(t)
		return
	}
	a := v.Producer().Attrs[0]
	a.T, a.Origin = t, nil
}

// trainable reports whether a constant has numbers that training may change.
func trainable(t *tensor.Tensor) bool {
	if t == nil || t.Len() == 0 {
		return false
	}
	switch t.DType() {
	case tensor.Float32:
		return !slices.ContainsFunc(tensor.Data[float32](t), func(v float32) bool { return v-v != 0 })
	case tensor.Float64:
		return !slices.ContainsFunc(tensor.Data[float64](t), func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	}
	return false
}

// pass carries what is known of a node's inputs to its outputs.
func (r *roles) pass(n *graph.Node) {
	from, after := false, false
	inputs := n.Inputs()
	if len(n.Subgraphs()) > 0 {
		inputs = append(slices.Clone(inputs), n.Captures()...)
	}
	for _, v := range inputs {
		from, after = from || r.from[v], after || r.after[v]
	}
	p, isProduct := products[n.OpType]
	isProduct = isProduct && len(p.matrices) > 0
	for _, v := range n.Outputs() {
		if v == nil {
			continue
		}
		r.from[v] = from
		r.after[v] = after || isProduct && (from || n.OpType == "Gather")
		r.product[v] = isProduct || movers[n.OpType] && r.product[n.Input(0)]
	}
}

// kind is what the uses of v, a constant or something that only constants make,
// tell of it; ok is false where no use is that of a weight.
func (r *roles) kind(v *graph.Value) (k Kind, ok bool) {
	k = Vector
	for _, u := range v.Uses() {
		if u.Node.Graph() != v.Graph() {
			continue
		}
		use, is := r.use(v, u)
		ok = ok || is
		if is && use == Matrix {
			k = Matrix
		}
	}
	return k, ok
}

func (r *roles) use(v *graph.Value, u graph.Use) (Kind, bool) {
	n := u.Node
	if p, ok := products[n.OpType]; ok {
		switch {
		case slices.Contains(p.matrices, u.Input):
			return Matrix, true
		case slices.Contains(p.vectors, u.Input):
			return Vector, true
		}
		return 0, false
	}
	single := v.Const() != nil && v.Const().Len() == 1
	switch out := n.Outputs()[0]; {
	case out == nil:
		return 0, false
	case movers[n.OpType] && u.Input == 0 && (n.OpType == "Expand" || !r.from[out]):
		if r.from[out] {
			return Vector, true // expanded to the batch, as a class token is
		}
		return r.kind(out)
	case elementwise[n.OpType] && !r.from[out]:
		if single {
			return 0, false
		}
		return r.kind(out)
	case elementwise[n.OpType]:
		return Vector, r.adds(n, u.Input, single)
	case joins[n.OpType]:
		return Vector, !single && r.after[out]
	}
	return 0, false
}

// adds reports whether the i-th input of an element-wise node is a weight.
func (r *roles) adds(n *graph.Node, i int, single bool) bool {
	for j, other := range n.Inputs() {
		if j == i || other == nil {
			continue
		}
		if single && !(r.product[other] && n.OpType == "Add") {
			return false
		}
		if r.after[other] {
			return true
		}
	}
	return false
}

// find is the value of m of that name that is a constant or computed.
func find(m *graph.Model, name string) (*graph.Value, error) {
	if v := m.Graph.Value(name); v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("%w: the model has no value %q", ErrOptions, name)
}
