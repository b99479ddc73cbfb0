package runtime

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A pass rewrites a graph into one that computes the same faster.
type pass struct {
	name string
	run  func(*lowerer) error
}

// passes is what lowering does, in this order. The numbers in the comments
// are those of Program.lower's errors, so that a bad rewrite can be bisected.
var passes = []pass{
	{"sweep", (*lowerer).sweep},         // 1: nodes that no output needs
	{"fold", (*lowerer).fold},           // 2: what does not depend on the inputs
	{"tidy", (*lowerer).tidy},           // 3: nodes that give out what they read
	{"affine", (*lowerer).affine},       // 4: scales and shifts of channels into convolutions
	{"norm", (*lowerer).norm},           // 5: layer-norms that are written out
	{"attention", (*lowerer).attention}, // 6: softmax between two products
	{"bilinear", (*lowerer).bilinear},   // 7: sums of Kronecker products
	{"linear", (*lowerer).linear},       // 8: products with constant weights
	{"pointwise", (*lowerer).pointwise}, // 9: element-wise nodes, behind products too
	{"movement", (*lowerer).movement},   // 10: what is left of Transpose and ReduceMean
}

// checkPasses makes lowering check the graph after each pass; tests set it.
var checkPasses bool

// lower runs the passes over the main graph and its subgraphs. What it makes
// is private to the program: no file ever holds it.
func (b *builder) lower() error {
	for i, p := range passes {
		if err := b.lowerGraph(b.model.Graph, p); err != nil {
			return fmt.Errorf("lowering %d (%s): %w", i+1, p.name, err)
		}
		if checkPasses {
			if err := b.model.Check(); err != nil {
				return fmt.Errorf("lowering %d (%s): %w", i+1, p.name, err)
			}
		}
	}
	return nil
}

// lowerGraph runs one pass over g, then over the subgraphs of its nodes.
func (b *builder) lowerGraph(g *graph.Graph, p pass) error {
	l := &lowerer{builder: b, g: g, gone: map[*graph.Node]bool{}}
	var err error
	if l.order, err = g.Sorted(); err != nil {
		return invalid(err)
	}
	if err := p.run(l); err != nil {
		return err
	}
	for _, n := range g.Nodes() {
		for _, s := range n.Subgraphs() {
			if err := b.lowerGraph(s, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// A lowerer is one pass at work on one graph.
type lowerer struct {
	*builder
	g     *graph.Graph
	order []*graph.Node        // the graph's nodes as they stood when the pass began
	gone  map[*graph.Node]bool // those of them that the pass has removed
}

// sweep removes the nodes that no output depends on, whose reading would keep
// others from being fused.
func (l *lowerer) sweep() error {
	for i := len(l.order) - 1; i >= 0; i-- {
		if !l.isRead(l.order[i]) {
			if err := l.g.Remove(l.order[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// isRead reports whether some output of n is read or given out.
func (l *lowerer) isRead(n *graph.Node) bool {
	for _, v := range n.Outputs() {
		if v != nil && (len(v.Uses()) > 0 || v.IsOutput()) {
			return true
		}
	}
	return false
}

// fold computes what does not depend on the inputs, within the budget. Large
// weights that are only turned around for products stay as they are: the
// product packs them anyway.
func (l *lowerer) fold() error {
	for _, n := range l.order {
		if !l.turnsWeight(n) {
			l.builder.fold(n)
		}
	}
	return nil
}

// tidy bypasses nodes that give out their first input as it is.
func (l *lowerer) tidy() error {
	for _, n := range l.order {
		if l.isConstant(n) || !l.passesOn(n) {
			continue
		}
		in, out := n.Input(0), n.Outputs()[0]
		if out == nil || out.IsOutput() || in == nil {
			continue
		}
		for _, v := range n.Outputs()[1:] {
			if v != nil && (len(v.Uses()) > 0 || v.IsOutput()) {
				in = nil
			}
		}
		if in == nil {
			continue
		}
		if err := l.g.ReplaceUses(out, in); err != nil {
			return err
		}
		if err := l.g.Remove(n); err != nil {
			return err
		}
	}
	return nil
}

// passesOn reports whether n's first output is its first input in every run.
func (l *lowerer) passesOn(n *graph.Node) bool {
	if !l.plain(n) {
		return false
	}
	x := l.facts.Of(n.Input(0))
	switch n.OpType {
	case "Identity":
		return true
	case "Dropout":
		// Training mode is an input from opset 12 on.
		return n.Input(2) == nil
	case "Cast":
		a := n.Attr("to")
		return a != nil && x.Kind == tensor.KindTensor && x.DType != tensor.Undefined && tensor.DType(a.I) == x.DType
	case "Mul", "Div", "Add", "Sub":
		y := l.facts.Of(n.Input(1))
		neutral := float32(0)
		if n.OpType == "Mul" || n.OpType == "Div" {
			neutral = 1
		}
		c := l.scalar(n.Input(1))
		// x − 0 and x·1 are x; x + 0 too, but for the sign of zero.
		return c != nil && *c == neutral && x.DType == tensor.Float32 && x.Ranked && len(y.Shape) <= len(x.Shape)
	}
	return false
}

// scalar is the float32 constant of one element that v is; nil where v is
// something else.
func (b *builder) scalar(v *graph.Value) *float32 {
	if v == nil {
		return nil
	}
	t := b.constant(v)
	if t == nil || t.DType() != tensor.Float32 || t.Len() != 1 {
		return nil
	}
	return &tensor.Data[float32](t)[0]
}

// plain reports whether n is of ONNX's own domain and can be run.
func (l *lowerer) plain(n *graph.Node) bool {
	return (n.Domain == "" || n.Domain == "ai.onnx") && l.op(n) != nil
}

// is reports whether n is an operator of ONNX's own domain.
func (l *lowerer) is(n *graph.Node, opType string) bool {
	return n != nil && n.OpType == opType && l.plain(n)
}

// isFloats reports whether v is a float32 tensor of known rank.
func (l *lowerer) isFloats(v *graph.Value) bool {
	f := l.facts.Of(v)
	return f.Kind == tensor.KindTensor && f.DType == tensor.Float32 && f.Ranked
}

// fusedDomain is the domain of the nodes that lowering makes.
const fusedDomain = "bilinc"

// replace makes a node that computes o from inputs in place of old's first
// output, and removes old and what only it read. label is what a profile says
// that the node is.
func (l *lowerer) replace(old *graph.Node, label string, o op.Op, inputs []*graph.Value) (*graph.Node, error) {
	n, err := l.g.NewNode(fusedDomain, label, old.Label(), inputs, []*graph.Value{nil})
	if err != nil {
		return nil, err
	}
	if err := n.TakeOutput(0, old, 0); err != nil {
		return nil, err
	}
	l.g.InsertBefore(old, n)
	l.ops[n] = o
	return n, l.prune(old)
}

// prune removes n, if nothing reads its outputs, and then what made its inputs
// alike.
func (l *lowerer) prune(n *graph.Node) error {
	stack := []*graph.Node{n}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if n.Graph() != l.g || l.isRead(n) || l.gone[n] {
			continue
		}
		for _, v := range n.Inputs() {
			if v != nil && v.Producer() != nil {
				stack = append(stack, v.Producer())
			}
		}
		if err := l.g.Remove(n); err != nil {
			return err
		}
		l.gone[n] = true
	}
	return nil
}

// insert makes a node that computes o before at, whose result is a new value.
func (l *lowerer) insert(at *graph.Node, label string, o op.Op, inputs []*graph.Value, t graph.Type) (*graph.Value, error) {
	v, err := l.g.NewValue(l.g.FreshName(at.Label()+"/"+label), t)
	if err != nil {
		return nil, err
	}
	n, err := l.g.NewNode(fusedDomain, label, at.Label(), inputs, []*graph.Value{v})
	if err != nil {
		return nil, err
	}
	l.g.InsertBefore(at, n)
	l.ops[n] = o
	return v, nil
}

// between makes a node of ONNX's own without attributes before at; its name is
// part of another node's.
func (l *lowerer) between(at *graph.Node, opType string, inputs []*graph.Value, t graph.Type) (*graph.Value, error) {
	v, err := l.insert(at, opType, nil, inputs, t)
	if err != nil {
		return nil, err
	}
	return v, l.made(v.Producer(), "")
}

// instead is between in place of old's first output; a profile calls it label,
// "" where it is part of another node.
func (l *lowerer) instead(old *graph.Node, label, opType string, inputs []*graph.Value) error {
	n, err := l.replace(old, opType, nil, inputs)
	if err != nil {
		return err
	}
	return l.made(n, label)
}

// made parses a node as one of ONNX's own.
func (l *lowerer) made(n *graph.Node, label string) (err error) {
	n.Domain, l.labels[n] = "", label
	l.ops[n], err = op.Parse(n, madeOpset)
	return err
}

// appendLabel appends what a profile calls n.
func (l *lowerer) appendLabel(labels []string, n *graph.Node) []string {
	label, made := l.labels[n]
	if !made {
		label = n.OpType
	}
	if label == "" {
		return labels
	}
	return append(labels, label)
}

// madeOpset is the operator set that nodes made by lowering are of.
const madeOpset = 13
