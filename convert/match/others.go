package match

import (
	"fmt"

	"bilinc/runtime/graph"
)

// reads is the reason why one of ONNX's own operators that read a weight forms no
// layer; "" for all others.
func reads(opType string) string {
	switch opType {
	case "ConvTranspose":
		return "transposed convolutions are not compressed"
	case "ConvInteger", "QLinearConv":
		return "convolutions of integers are not compressed"
	case "DeformConv":
		return "deformable convolutions are not compressed"
	case "LSTM", "GRU", "RNN":
		return "the weights of recurrent operators are not compressed"
	case "Einsum":
		return "an Einsum is not taken apart"
	case "MatMulInteger", "QLinearMatMul":
		return "products of integers are not compressed"
	}
	return ""
}

// otherConsumer lists a node that forms no layer where it reads a
// weight: a constant of floating-point or quantised elements and rank 2 or
// more, into an operator known to multiply by it or of another domain.
func (s *search) otherConsumer(n *graph.Node) {
	reason := fmt.Sprintf("what operator %s.%s computes is not known", n.Domain, n.OpType)
	if n.Domain == "" || n.Domain == "ai.onnx" {
		if reason = reads(n.OpType); reason == "" {
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
