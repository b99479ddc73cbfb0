package match

import (
	"fmt"

	"bilinc/runtime/graph"
)

// orient settles which side the weight is on and which way it lies: sizes,
// rank and form of the layer. left says that the weight is the first operand.
// It returns why the node is no fully connected layer, "" where it is one.
func (s *search) orient(l *Layer, left bool) string {
	shape := l.operand.shape
	if len(shape) < 2 {
		return fmt.Sprintf("the weight is of rank %d, not a matrix", len(shape))
	}
	x := s.facts.Of(l.X)
	l.Rank = -1
	if x.Ranked {
		l.Rank = len(x.Shape)
	}
	if l.Op == "Gemm" {
		if len(shape) != 2 || x.Ranked && l.Rank != 2 {
			return "the operands of the Gemm are not matrices"
		}
		l.Rank = 2
		l.alpha, l.Beta = float64(floatAttr(l.Product, "alpha", 1)), float64(floatAttr(l.Product, "beta", 1))
		transA, transB := intAttr(l.Product, "transA") != 0, intAttr(l.Product, "transB") != 0
		// y = A·B: with B the weight, W is Bᵀ and the samples are A's rows;
		// with A the weight, W is A and the samples are B's columns.
		if left {
			l.Columns, l.flip, l.TransposeX = true, transA, transB
		} else {
			l.flip, l.TransposeX = !transB, transA
		}
		l.Addend = l.Product.Input(2)
	} else {
		if why := stacked(shape, l.Rank); why != "" {
			return why
		}
		switch {
		case l.Rank == 0:
			return "the input is a scalar"
		case left && l.Rank < 0:
			return "the weight is the left operand of an input of unknown rank"
		case left:
			l.Columns = l.Rank >= 2 // W·x of a vector is the same as x·Wᵀ
		default:
			l.flip = true
		}
	}
	l.flip = l.flip != l.operand.flip
	l.Out, l.In = l.operand.rows, l.operand.cols
	if l.flip {
		l.Out, l.In = l.In, l.Out
	}
	if !x.Ranked {
		return ""
	}
	axis := l.Rank - 1
	if l.Columns != l.TransposeX {
		axis = l.Rank - 2
	}
	if n, ok := x.Shape[axis].Const(); ok && n != l.In {
		return fmt.Sprintf("the input %s does not fit the weight's %d columns", graph.FormatShape(x.Shape, true), l.In)
	}
	return ""
}

// stacked says why a weight of rank 3 or more is not one matrix.
func stacked(shape []int, rank int) string {
	if len(shape) == 2 {
		return ""
	}
	for _, d := range shape[:len(shape)-2] {
		if d != 1 {
			return fmt.Sprintf("the weight %v is a stack of matrices, each for other inputs", shape)
		}
	}
	if rank < len(shape) {
		return fmt.Sprintf("the weight %v raises the rank of the output", shape)
	}
	return ""
}

// foldBias takes an Add of a constant behind the product into the layer where
// nothing else reads the product and the constant changes no shape.
func (s *search) foldBias(l *Layer) {
	add, c, shape := s.addedTo(l, l.Product.Outputs()[0])
	if add == nil || len(shape) > max(l.Rank, 1) {
		return
	}
	// Aligned at the end: the axis of the outputs is the last, or with the
	// samples in columns the last but one.
	axis := len(shape) - 1
	if l.Columns {
		axis--
	}
	for i, d := range shape {
		if d != 1 && (i != axis || d != l.Out) {
			return
		}
	}
	l.BiasAdd, l.Addend, l.Y = add, c, add.Outputs()[0]
}

func intAttr(n *graph.Node, name string) int64 {
	if a := n.Attr(name); a != nil {
		return a.I
	}
	return 0
}

func floatAttr(n *graph.Node, name string, def float32) float32 {
	if a := n.Attr(name); a != nil {
		return a.F
	}
	return def
}
