package convert

import (
	"fmt"
	"slices"

	"bilinc/convert/match"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A widening is what changes where the output of a layer becomes wider: the
// values from it to the layers that read them, and the constants in between
// that have a number for each of its outputs.
type widening struct {
	layer   *match.Layer
	values  []*graph.Value // of which the last axis grows; the layer's output first
	tiled   []graph.Use    // constants that get numbers for the new outputs
	shapes  []graph.Use    // constant targets of Reshape whose last size grows
	readers []*match.Layer // what is fitted to the wide values
}

// perOutput is the operators that compute every element of their first output
// from the one in the same place of their first input; other inputs are numbers
// for all.
var perOutput = map[string]bool{
	"Abs": true, "Acos": true, "Acosh": true, "Asin": true, "Asinh": true, "Atan": true, "Atanh": true,
	"Cast": true, "Ceil": true, "Celu": true, "Clip": true, "Cos": true, "Cosh": true, "Dropout": true,
	"Elu": true, "Erf": true, "Exp": true, "Floor": true, "Gelu": true, "HardSigmoid": true,
	"HardSwish": true, "Identity": true, "LeakyRelu": true, "Log": true, "Mish": true, "Neg": true,
	"Reciprocal": true, "Relu": true, "Round": true, "Selu": true, "Shrink": true, "Sigmoid": true,
	"Sign": true, "Sin": true, "Sinh": true, "Softplus": true, "Softsign": true, "Sqrt": true,
	"Tan": true, "Tanh": true, "ThresholdedRelu": true,
}

// broadcasting is the operators that do so from all their inputs, the shapes
// of which are broadcast.
var broadcasting = map[string]bool{
	"Add": true, "Div": true, "Equal": true, "Greater": true, "GreaterOrEqual": true, "Less": true,
	"LessOrEqual": true, "Max": true, "Mean": true, "Min": true, "Mul": true, "Pow": true, "PRelu": true,
	"Sub": true, "Sum": true, "Where": true,
}

// reshaping is the operators that keep the order of the elements.
var reshaping = map[string]bool{"Flatten": true, "Reshape": true, "Squeeze": true, "Unsqueeze": true}

// widen says what changes where the output of a weight's layer becomes wider,
// or why that cannot be.
func (f *found) widen(w *match.Weight) (*widening, string) {
	l := w.Layers[0]
	switch {
	case len(w.Layers) > 1:
		return nil, fmt.Sprintf("its weight is shared with layer %q", w.Layers[1].Name)
	case l.Conv != nil && l.Conv.Taps() == 1:
		return nil, "a convolution has its outputs in another axis than the layers that may be widened"
	case l.Conv != nil:
		return nil, "it is a convolution"
	case l.Index != 0:
		return nil, "it looks rows up"
	case l.Columns || l.TransposeX:
		return nil, "its samples are columns"
	case l.Out < 2:
		return nil, "it has one output"
	}
	if why := numbersFor(f.facts, l.Addend, l.Out); why != "" {
		return nil, fmt.Sprintf("its bias %s", why)
	}
	s := &spread{facts: f.facts, layers: f.layers, out: l.Out, widening: &widening{layer: l}}
	if why := s.through(l.Y); why != "" {
		return nil, why
	}
	if len(s.readers) == 0 {
		return nil, "no layer reads its output"
	}
	return s.widening, ""
}

// numbersFor says why an operand does not follow when n outputs become more: it
// does where it is a constant of one number or of one for each, or has one for
// all. The reason continues a sentence.
func numbersFor(f *op.Facts, v *graph.Value, n int) string {
	if v == nil {
		return ""
	}
	shape := f.Of(v).Shape
	if t := v.Const(); t != nil {
		shape = graph.Sizes(t.Shape())
	} else if !f.Of(v).Ranked {
		return fmt.Sprintf("%q is computed, of unknown shape", v.Name())
	}
	if len(shape) == 0 || shape[len(shape)-1].Is(1) {
		return ""
	}
	last := shape[len(shape)-1]
	switch {
	case v.Const() == nil:
		return fmt.Sprintf("%q is computed, with a number for every output", v.Name())
	case !last.Is(n):
		return fmt.Sprintf("%q has %v numbers for %d outputs", v.Name(), last, n)
	}
	return ""
}

// spread follows the output of a layer.
type spread struct {
	*widening
	facts  *op.Facts
	layers []*match.Layer
	out    int
}

// through goes to what reads v and everything behind it, up to other layers. It
// returns why the last axis of v cannot become wider.
func (s *spread) through(first *graph.Value) string {
	s.values = []*graph.Value{first}
	seen := map[*graph.Node]bool{}
	var nodes []*graph.Node
	for i := 0; i < len(s.values); i++ {
		v := s.values[i]
		if why := s.grows(v); why != "" {
			return why
		}
		for _, u := range v.Uses() {
			if seen[u.Node] {
				continue
			}
			if u.Node.Graph() != v.Graph() {
				return fmt.Sprintf("its output is read inside a subgraph, by %v", u.Node)
			}
			reads, why := s.reader(u)
			if why != "" {
				return why
			}
			if reads {
				continue
			}
			seen[u.Node] = true
			nodes = append(nodes, u.Node)
			if why := s.node(u.Node, v); why != "" {
				return why
			}
		}
	}
	// What meets in one node must all have become wider.
	for _, n := range nodes {
		if why := s.meets(n); why != "" {
			return why
		}
	}
	return ""
}

// grows says why a value cannot become wider.
func (s *spread) grows(v *graph.Value) string {
	f := s.facts.Of(v)
	switch {
	case v.IsOutput():
		return fmt.Sprintf("%q is an output of the graph", v.Name())
	case !f.Ranked || len(f.Shape) == 0:
		return fmt.Sprintf("the shape of %q is not known", v.Name())
	case !f.Shape[len(f.Shape)-1].Is(s.out):
		return fmt.Sprintf("the last axis of %q is not the %d outputs", v.Name(), s.out)
	}
	return ""
}

// reader reports whether a use is that of a layer which can be fitted to wide
// inputs; why says that it is one of a layer which cannot.
func (s *spread) reader(u graph.Use) (reads bool, why string) {
	for _, l := range s.layers {
		if l.Product != u.Node {
			continue
		}
		switch {
		case u.Node.Input(u.Input) != l.X || u.Input == 2:
			return false, fmt.Sprintf("it is added in layer %q", l.Name)
		case len(l.Weight.Layers) > 1:
			return false, fmt.Sprintf("layer %q, which reads it, shares its weight", l.Name)
		case l.Conv != nil || l.Index != 0 || l.Columns || l.TransposeX:
			return false, fmt.Sprintf("layer %q, which reads it, has its inputs in another axis", l.Name)
		}
		if !slices.Contains(s.readers, l) {
			s.readers = append(s.readers, l)
		}
		return true, ""
	}
	return false, ""
}

// node takes a node behind v in, and its output.
func (s *spread) node(n *graph.Node, v *graph.Value) string {
	mixes := fmt.Sprintf("its output reaches %v, which does not go by element", n)
	if n.Domain != "" && n.Domain != "ai.onnx" || len(n.Outputs()) == 0 || n.Outputs()[0] == nil {
		return mixes
	}
	for _, out := range n.Outputs()[1:] {
		if out != nil && (len(out.Uses()) > 0 || out.IsOutput()) {
			return fmt.Sprintf("the output %q of %v is read", out.Name(), n)
		}
	}
	switch {
	case perOutput[n.OpType]:
		for i, in := range n.Inputs() {
			if i == 0 && in != v || i > 0 && in == v {
				return mixes
			}
		}
	case broadcasting[n.OpType]:
	case n.OpType == "BatchNormalization":
		if why := s.normalization(n, v); why != "" {
			return why
		}
	case reshaping[n.OpType]:
		if why := s.reshape(n, v); why != "" {
			return why
		}
	case n.OpType == "Shape" && otherSizes(n, len(s.facts.Of(v).Shape)):
		return "" // which stay
	case n.OpType == "Transpose":
		rank := len(s.facts.Of(v).Shape)
		if p := n.Attr("perm"); p == nil || len(p.Ints) != rank || int(p.Ints[rank-1]) != rank-1 {
			return mixes
		}
	default:
		return mixes
	}
	s.values = append(s.values, n.Outputs()[0])
	return ""
}

// meets says why an operand of an operator that broadcasts does not follow.
func (s *spread) meets(n *graph.Node) string {
	if !broadcasting[n.OpType] {
		return ""
	}
	for i, in := range n.Inputs() {
		if in == nil || slices.Contains(s.values, in) {
			continue
		}
		if why := numbersFor(s.facts, in, s.out); why != "" {
			return fmt.Sprintf("its output meets another in %v: %s", n, why)
		}
		if t := in.Const(); t != nil && t.Rank() > 0 && t.Shape()[t.Rank()-1] == s.out {
			s.tiled = append(s.tiled, graph.Use{Node: n, Input: i})
		}
	}
	return ""
}

// normalization is for a BatchNormalization with the outputs as channels, or
// with channels that have nothing to do with them.
func (s *spread) normalization(n *graph.Node, v *graph.Value) string {
	switch {
	case n.Input(0) != v:
		return fmt.Sprintf("its output is a parameter of %v", n)
	case attrOf(n, "training_mode", 0) != 0 || attrOf(n, "spatial", 1) != 1:
		return fmt.Sprintf("%v takes its statistics from the batch or from every place", n)
	case len(s.facts.Of(v).Shape) != 2:
		return "" // channels are axis 1, which is not the last one
	}
	for i := 1; i < len(n.Inputs()); i++ {
		t := n.Input(i).Const()
		if t == nil || t.Rank() != 1 || t.Len() != s.out {
			return fmt.Sprintf("the parameter %q of %v is no constant of a number for each output", n.Input(i).Name(), n)
		}
		s.tiled = append(s.tiled, graph.Use{Node: n, Input: i})
	}
	return ""
}

// reshape is for a node that keeps the order of the elements: what is one row
// of outputs before has to be one after, which grows sees to.
func (s *spread) reshape(n *graph.Node, v *graph.Value) string {
	if n.Input(0) != v {
		return fmt.Sprintf("its output is a shape for %v", n)
	}
	if n.OpType != "Reshape" {
		return ""
	}
	t := n.Input(1).Const()
	if t == nil {
		return fmt.Sprintf("the shape for %v is computed", n)
	}
	if to := tensor.Data[int64](t); len(to) > 0 && to[len(to)-1] > 0 {
		s.shapes = append(s.shapes, graph.Use{Node: n, Input: 1})
	}
	return ""
}

// otherSizes reports whether of the shape, of so many sizes, that n gives only
// others than the last are read.
func otherSizes(n *graph.Node, rank int) bool {
	if len(n.Attrs) > 0 || n.Outputs()[0].IsOutput() {
		return false
	}
	for _, u := range n.Outputs()[0].Uses() {
		if u.Node.OpType != "Gather" || u.Input != 0 {
			return false
		}
		at := u.Node.Input(1).Const()
		if at == nil {
			return false
		}
		v, err := tensor.Int64s(at)
		if err != nil {
			return false
		}
		for _, i := range v {
			if i == -1 || int(i) == rank-1 {
				return false
			}
		}
	}
	return true
}

func attrOf(n *graph.Node, name string, def int64) int64 {
	if a := n.Attr(name); a != nil {
		return a.I
	}
	return def
}

// grown is the elements that a widening by a factor adds to the model besides
// the layer's factors and what the readers need: numbers for each new output.
func (wd *widening) grown(factor int) int {
	n := 0
	seen := map[*graph.Value]bool{}
	add := func(v *graph.Value, users int) {
		t := v.Const()
		if seen[v] || t == nil || !t.DType().IsFloat() || t.Rank() == 0 || t.Shape()[t.Rank()-1] == 1 {
			return
		}
		seen[v] = true
		n += factor * t.Len()
		if len(v.Uses()) == users && !v.IsOutput() {
			n -= t.Len() // the old one goes
		}
	}
	uses := map[*graph.Value]int{}
	for _, u := range wd.tiled {
		uses[u.Node.Input(u.Input)]++
	}
	if a := wd.layer.Addend; a != nil && wd.layer.Beta != 0 {
		add(a, 1+uses[a])
	}
	for _, u := range wd.tiled {
		v := u.Node.Input(u.Input)
		add(v, uses[v])
	}
	return n
}
