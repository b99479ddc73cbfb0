package match

import (
	"fmt"

	"bilinc/runtime/graph"
)

// consumers are ONNX's own operators that read a weight and form no layer,
// with the reason.
var consumers = map[string]string{
	"ConvTranspose": "transposed convolutions are not compressed",
	"ConvInteger":   "convolutions of integers are not compressed",
	"QLinearConv":   "convolutions of integers are not compressed",
	"DeformConv":    "deformable convolutions are not compressed",
	"LSTM":          "the weights of recurrent operators are not compressed",
	"GRU":           "the weights of recurrent operators are not compressed",
	"RNN":           "the weights of recurrent operators are not compressed",
	"Einsum":        "an Einsum is not taken apart",
	"MatMulInteger": "products of integers are not compressed",
	"QLinearMatMul": "products of integers are not compressed",
}

// otherConsumer lists a node that forms no layer where it reads a
// weight: a constant of floating-point or quantised elements and rank 2 or
// more, into an operator known to multiply by it or of another domain.
func (s *search) otherConsumer(n *graph.Node) {
	reason := fmt.Sprintf("what operator %s.%s computes is not known", n.Domain, n.OpType)
	if n.Domain == "" || n.Domain == "ai.onnx" {
		if reason = consumers[n.OpType]; reason == "" {
			return
		}
	}
	if params := s.weightOf(n); params > 0 {
		s.skip(n, params, reason)
	}
}

// weightOf is the number of elements of the weights that n reads.
func (s *search) weightOf(n *graph.Node) int {
	params := 0
	for _, v := range n.Inputs() {
		if v == nil {
			continue
		}
		c, _ := s.resolve(v)
		if c == nil {
			continue
		}
		t := c.root.Const()
		if d := t.DType(); t.Rank() >= 2 && (d.IsFloat() || d.IsQuantized()) {
			params += t.Len()
		}
	}
	return params
}

// functionNode lists the products with weights inside a model's functions:
// one body serves every call, so it is left alone.
func (s *search) functionNode(n *graph.Node) {
	switch n.OpType {
	case "Gemm", "MatMul", "Conv", "ConvTranspose":
	default:
		return
	}
	if params := s.weightOf(n); params > 0 {
		s.skip(n, params, "it is part of a function of the model")
	}
}
