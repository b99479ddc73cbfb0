package op

import (
	"errors"
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Facts is what inference found out about a model: a fact for every value of
// the main graph and of subgraphs, and the ops that it could parse.
type Facts struct {
	values map[*graph.Value]graph.Fact
	ops    map[*graph.Node]Op
	// Problems holds, for each node that inference could not pass, why: an
	// operator that is not implemented, or inputs that it refuses.
	Problems []Problem
	named    bool // see InferNamed
	names    int  // symbols made up so far
}

// A Problem is a node that cannot be understood or run.
type Problem struct {
	Node *graph.Node
	Err  error // names the node; wraps *Unsupported where nothing is wrong with the model
}

// Of is what is known of v; the declared type where no more is.
func (f *Facts) Of(v *graph.Value) graph.Fact {
	if v == nil {
		return graph.Fact{}
	}
	if fact, ok := f.values[v]; ok {
		return fact
	}
	return declared(v)
}

// Op is the parsed op of a node; nil where it has a problem.
func (f *Facts) Op(n *graph.Node) Op { return f.ops[n] }

// declared is the fact that a value's own type gives. A dimension of which the
// model says nothing gets a symbol of its own where v is a graph input, since
// all who read v see the same size.
func declared(v *graph.Value) graph.Fact {
	if t := v.Init(); t != nil {
		return graph.FactOf(t)
	}
	f := graph.Fact{Type: v.Type}
	if f.Kind == tensor.KindNone {
		f.Kind = tensor.KindTensor
	}
	if v.IsInput() {
		f.Shape = slices.Clone(f.Shape)
		for i, d := range f.Shape {
			if !d.IsKnown() {
				f.Shape[i] = graph.Symbol(fmt.Sprintf("%s.%d", v.Name(), i))
			}
		}
	}
	return f
}

// foldLimit bounds the elements of what inference computes by running nodes
// on constants: enough for any chain that computes a shape.
const foldLimit = 1024

// Infer finds out the types and, where it can, the contents of all values of
// m. known gives more than the model's own declaration says of some graph
// inputs, exact shapes say. A node that it cannot pass leaves what the model
// declares of its outputs, and is listed in Problems; the error is for graphs
// that no order of nodes can run.
func Infer(m *graph.Model, known map[*graph.Value]graph.Fact) (*Facts, error) {
	f := &Facts{values: map[*graph.Value]graph.Fact{}, ops: map[*graph.Node]Op{}}
	for v, fact := range known {
		f.values[v] = fact
	}
	return f, f.inferGraph(m, m.Graph)
}

// InferNamed is Infer with a symbol, beginning with a question mark, for each
// dimension of a node's output of which nothing is known: what has the same
// symbol has the same size in every run.
func InferNamed(m *graph.Model) (*Facts, error) {
	f := &Facts{values: map[*graph.Value]graph.Fact{}, ops: map[*graph.Node]Op{}, named: true}
	return f, f.inferGraph(m, m.Graph)
}

// withNames is fact with symbols for the dimensions that are not known.
func (f *Facts) withNames(fact graph.Fact) graph.Fact {
	for i, d := range fact.Shape {
		if !d.IsKnown() {
			fact.Shape = slices.Clone(fact.Shape)
			fact.Shape[i] = graph.Symbol(fmt.Sprintf("?%d", f.names))
			f.names++
		}
	}
	return fact
}

func (f *Facts) inferGraph(m *graph.Model, g *graph.Graph) error {
	order, err := g.Sorted()
	if err != nil {
		return err
	}
	for _, v := range g.Inputs {
		if _, ok := f.values[v]; !ok {
			f.values[v] = declared(v)
		}
	}
	for _, n := range order {
		for _, s := range n.Subgraphs() {
			if err := f.inferGraph(m, s); err != nil {
				return fmt.Errorf("%v: %w", n, err)
			}
		}
		if err := f.inferNode(n, m.Opset(n.Domain)); err != nil {
			f.Problems = append(f.Problems, Problem{n, err})
		}
	}
	return nil
}

// inferNode sets the facts of n's outputs.
func (f *Facts) inferNode(n *graph.Node, opset int64) error {
	o, err := Parse(n, opset)
	if err != nil {
		return err
	}
	in := make([]graph.Fact, len(n.Inputs()))
	for i, v := range n.Inputs() {
		in[i] = f.Of(v)
	}
	out, err := InferNode(o, in, len(n.Outputs()))
	if err != nil {
		return fmt.Errorf("%v: %w", n, err)
	}
	f.ops[n] = o
	for i, v := range n.Outputs() {
		if v != nil {
			f.values[v] = refine(out[i], v.Type)
			if f.named && f.values[v].Ranked {
				f.values[v] = f.withNames(f.values[v])
			}
		}
	}
	return nil
}

// InferNode is o's shape rule, with the node run on small inputs that are all
// constant, so that what computes a shape is known before the run.
func InferNode(o Op, in []graph.Fact, nOut int) ([]graph.Fact, error) {
	out, err := o.Infer(in, nOut)
	if err != nil {
		return nil, err
	}
	if _, random := o.(Random); random {
		return out, nil
	}
	if _, dynamic := o.(Dynamic); dynamic {
		return out, nil
	}
	values := make([]tensor.Value, len(in))
	for i, f := range in {
		if f.Kind == tensor.KindNone {
			continue
		}
		if f.Const == nil || f.Const.Len() > foldLimit {
			return out, nil
		}
		values[i] = tensor.ValueOf(f.Const)
	}
	results := make([]tensor.Value, len(out))
	for i, f := range out {
		shape, ok := graph.Ints(f.Shape)
		if f.Kind != tensor.KindTensor || !f.Ranked || !ok || !f.DType.Valid() {
			return out, nil
		}
		if size, err := tensor.Elements(shape); err != nil || size > foldLimit {
			return out, err
		}
		results[i] = tensor.ValueOf(tensor.New(f.DType, shape...))
	}
	if err := o.Forward(&Ctx{}, values, results); err != nil {
		var unsupported *Unsupported
		if errors.As(err, &unsupported) {
			return out, nil
		}
		return nil, err
	}
	for i, r := range results {
		out[i] = graph.FactOf(r.Tensor)
	}
	return out, nil
}

// refine fills what inference left open from the declared type of a value,
// which an exporter may have known better.
func refine(f graph.Fact, t graph.Type) graph.Fact {
	if f.Kind == tensor.KindNone {
		f.Type = t
		if f.Kind == tensor.KindNone {
			f.Kind = tensor.KindTensor
		}
		return f
	}
	if f.Kind != tensor.KindTensor || t.Kind != tensor.KindTensor {
		return f
	}
	if f.DType == tensor.Undefined {
		f.DType = t.DType
	}
	if !f.Ranked && t.Ranked {
		f.Shape, f.Ranked = t.Shape, true
	} else if f.Ranked && t.Ranked && len(f.Shape) == len(t.Shape) {
		for i, d := range f.Shape {
			if !d.IsKnown() && t.Shape[i].IsKnown() {
				f.Shape = slices.Clone(f.Shape)
				f.Shape[i] = t.Shape[i]
			}
		}
	}
	return f
}
