package match

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// lookup looks at a Gather node, which with a constant table of [In Out] is a
// layer of one sample per index: its inputs are the unit vectors.
func (s *search) lookup(n *graph.Node) {
	if len(n.Inputs()) != 2 || n.Input(0) == nil || n.Input(1) == nil || len(n.Outputs()) != 1 || n.Outputs()[0] == nil {
		return
	}
	w, why := s.resolve(n.Input(0))
	if w == nil {
		if why != "" {
			s.otherTable(n, why)
		}
		return
	}
	t := w.root.Const()
	if d := t.DType(); t.Rank() < 2 || !d.IsFloat() && !d.IsQuantized() {
		return
	}
	skip := func(format string, args ...any) { s.skip(n, t.Len(), fmt.Sprintf(format, args...)) }
	switch w.dtype {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
	default:
		skip("the table is one of %v", w.dtype)
		return
	}
	axis := intAttr(n, "axis")
	x := s.facts.Of(n.Input(1))
	switch {
	case s.model.Opset("") < oldest:
		skip("the model's operator set %d is older than %d", s.model.Opset(""), oldest)
		return
	case len(w.shape) != 2:
		skip("the table is of rank %d, not a matrix", len(w.shape))
		return
	case axis != 0 && axis != -2:
		skip("what is looked up lies in the columns of the table")
		return
	case s.isConstant(n.Input(1)):
		skip("what is looked up is constant")
		return
	case x.DType != tensor.Int32 && x.DType != tensor.Int64:
		skip("the type of the indices is not known")
		return
	}
	l := &Layer{Op: n.OpType, Product: n, X: n.Input(1), Y: n.Outputs()[0], Beta: 1, alpha: 1, operand: w, Rank: -1, Index: x.DType}
	if x.Ranked {
		l.Rank = len(x.Shape)
	}
	// A column of W is a row of the table.
	l.flip = !w.flip
	l.In, l.Out = w.shape[0], w.shape[1]
	if l.In == 0 || l.Out == 0 {
		skip("the table %v is empty", w.shape)
		return
	}
	l.Name = s.unique(n.Label())
	s.layers = append(s.layers, l)
}

// otherTable lists a lookup in a table that is computed from constants, if it
// holds numbers that count.
func (s *search) otherTable(n *graph.Node, why string) {
	f := s.facts.Of(n.Input(0))
	if size, ok := graph.Product(f.Shape).Const(); ok && f.Ranked && len(f.Shape) >= 2 && f.DType.IsFloat() {
		s.skip(n, size, why)
	}
}
