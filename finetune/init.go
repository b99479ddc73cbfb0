package finetune

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// redraw draws every weight anew so that a layer's outputs have the variance
// of its inputs, twice it where a ReLU reads them (He et al., arXiv
// 1502.01852): elements of a matrix are normal with variance gain/fan-in; those
// of factors, both alike, so that Σ_r A_r ⊗ B_r has that variance:
//
//	var(A) = var(B) = √(gain/(R·n))
//
// Scales of norms become 1, biases 0, tables and the like normal with variance
// 1/width. Each weight has a random source of its own, by its name.
func redraw(slots []*slot, seed uint64) {
	for _, s := range slots {
		h := fnv.New64a()
		h.Write([]byte(s.Value.Name()))
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		mean, deviation := s.start()
		fill(s.x, func() float64 {
			if deviation == 0 {
				return mean
			}
			return mean + deviation*r.NormFloat64()
		})
	}
}

func fill(t *tensor.Tensor, next func() float64) {
	if t.DType() == tensor.Float64 {
		for i, v := 0, tensor.Data[float64](t); i < len(v); i++ {
			v[i] = next()
		}
		return
	}
	for i, v := 0, tensor.Data[float32](t); i < len(v); i++ {
		v[i] = float32(next())
	}
}

// start is the mean and the deviation that a weight is drawn with.
func (s *slot) start() (mean, deviation float64) {
	if g := s.Group; g != nil {
		gain := gainOf(s.Value.Graph().Value(g.Output))
		return 0, math.Pow(gain/float64(g.Terms*max(1, g.In)), 0.25)
	}
	shape := s.x.Shape()
	n, i, turned := reader(s.Value)
	if n == nil {
		return 0, 0
	}
	size := func(axis int) float64 {
		if axis < 0 {
			axis += len(shape)
		}
		if axis < 0 || axis >= len(shape) {
			return 1
		}
		return float64(shape[axis])
	}
	each := func(from int) float64 { // elements of one output channel
		out := 1.0
		for k := from; k < len(shape); k++ {
			out *= float64(shape[k])
		}
		return out
	}
	normal := func(fan float64) (float64, float64) {
		return 0, math.Sqrt(gainOf(n.Outputs()[0]) / fan)
	}
	p := products[n.OpType]
	switch {
	case s.Kind == Vector && len(p.matrices) == 0 && i == 1 && n.OpType != "PRelu" && p.vectors != nil:
		return 1, 0 // the scale of a norm
	case n.OpType == "PRelu":
		return 0.25, 0
	case s.Kind == Vector && (n.OpType == "Mul" || n.OpType == "Div"):
		return 1, 0
	case s.Kind == Vector && (n.OpType == "Concat" || n.OpType == "Expand"):
		return 0, 0.02
	case s.Kind == Vector && len(shape) > 1 && size(-2) > 1: // positions
		return 0, 0.02
	case s.Kind == Vector:
		return 0, 0
	case n.OpType == "Gather" || n.OpType == "GatherND":
		return 0, 1 / math.Sqrt(size(-1))
	case n.OpType == "Conv":
		return normal(each(1))
	case n.OpType == "ConvTranspose":
		return normal(size(0))
	case n.OpType == "LSTM" || n.OpType == "GRU" || n.OpType == "RNN":
		return 0, 1 / math.Sqrt(size(-1))
	}
	// A matrix from the right is read along its rows, W of n×m in y = x·W, one
	// from the left, or a transposed one, along its columns.
	across := i == 0
	if n.OpType == "Gemm" {
		across = across != transposed(n, i)
	}
	if across != turned {
		return normal(size(-1))
	}
	return normal(size(-2))
}

// transposed reports whether a Gemm reads its i-th operand transposed.
func transposed(n *graph.Node, i int) bool {
	a := n.Attr([]string{"transA", "transB"}[i])
	return a != nil && a.I != 0
}

// reader is the first node, and its input, that takes v as a weight, whatever
// moves it in between; turned says whether that transposes it.
func reader(v *graph.Value) (n *graph.Node, i int, turned bool) {
	for _, u := range v.Uses() {
		if movers[u.Node.OpType] && u.Input == 0 && len(u.Node.Outputs()) > 0 && u.Node.Outputs()[0] != nil && u.Node.OpType != "Expand" {
			if n, i, turned := reader(u.Node.Outputs()[0]); n != nil {
				return n, i, turned != (u.Node.OpType == "Transpose")
			}
			continue
		}
		return u.Node, u.Input, false
	}
	return nil, 0, false
}

// gainOf is 2 where a ReLU or its like reads v, past biases and norms, else 1.
func gainOf(v *graph.Value) float64 {
	for range 16 {
		if v == nil {
			return 1
		}
		next := (*graph.Value)(nil)
		for _, u := range v.Uses() {
			switch u.Node.OpType {
			case "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Erf", "HardSwish", "Mish", "Swish", "Clip", "ThresholdedRelu":
				return 2
			case "Add", "Reshape", "BatchNormalization", "Identity", "Transpose", "Squeeze", "Unsqueeze", "Dropout":
				if next == nil {
					next = u.Node.Outputs()[0]
				}
			}
		}
		v = next
	}
	return 1
}
