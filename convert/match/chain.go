package match

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A chain is how a constant comes to an operand: the root's elements, then
// steps. A transposition of the matrix at the end is not a step but flip, so
// that layers that differ in nothing else are seen to share one weight.
type chain struct {
	root   *graph.Value
	steps  []step
	nodes  []*graph.Node
	others []*graph.Value // scales and zero points
	dtype  tensor.DType   // of the operand
	shape  []int          // of the operand

	flip       bool // the operand is the transpose of the rows×cols matrix
	rows, cols int  // 0 where the operand is no matrix
}

// A step is one node between a constant and its reader.
type step struct {
	kind  stepKind
	shape []int // after the step
	perm  []int
	dtype tensor.DType // after a cast
	quant *quantization
}

type stepKind uint8

const (
	reshape stepKind = iota
	transpose
	cast
	dequantize
)

// resolve follows v back to a constant. Where v is none, it returns nil and
// ""; where v is one that this package does not compute, nil and why.
func (s *search) resolve(v *graph.Value) (*chain, string) {
	end := v
	var nodes []*graph.Node
	for v.Const() == nil {
		n := v.Producer()
		if n == nil || n.Domain != "" && n.Domain != "ai.onnx" {
			return nil, s.whyConstant(end)
		}
		switch n.OpType {
		case "Identity", "Transpose", "Cast", "Reshape", "DequantizeLinear":
		default:
			return nil, s.whyConstant(end)
		}
		if n.Input(0) == nil {
			return nil, ""
		}
		nodes = append(nodes, n)
		v = n.Input(0)
	}
	slices.Reverse(nodes)
	t := v.Const()
	c := &chain{root: v, nodes: nodes, dtype: t.DType(), shape: t.Shape()}
	for _, n := range nodes {
		if why := s.addStep(c, n); why != "" {
			return nil, why
		}
	}
	if why := c.readable(); why != "" {
		return nil, why
	}
	if len(c.shape) >= 2 {
		c.rows, c.cols = c.shape[len(c.shape)-2], c.shape[len(c.shape)-1]
	}
	for len(c.steps) > 0 && len(c.shape) == 2 {
		last := c.steps[len(c.steps)-1]
		if last.kind != transpose || last.perm[0] != 1 {
			break
		}
		c.steps = c.steps[:len(c.steps)-1]
		c.flip = !c.flip
	}
	if c.flip {
		c.rows, c.cols = c.cols, c.rows
	}
	return c, ""
}

// whyConstant is the reason for a constant operand that resolve cannot
// compute; "" where v is no constant.
func (s *search) whyConstant(v *graph.Value) string {
	if !s.isConstant(v) {
		return ""
	}
	for n := v.Producer(); n != nil; n = v.Producer() {
		switch n.OpType {
		case "Identity", "Transpose", "Cast", "Reshape", "DequantizeLinear":
			v = n.Input(0)
			continue
		}
		return fmt.Sprintf("the weight is computed by %v", n)
	}
	return ""
}

// isConstant reports whether v depends on constants alone.
func (s *search) isConstant(v *graph.Value) bool {
	if v.Const() != nil {
		return true
	}
	if known, ok := s.constant[v]; ok {
		return known
	}
	s.constant[v] = false // also what a cycle would find
	n := v.Producer()
	if n == nil || len(n.Subgraphs()) > 0 {
		return false
	}
	found := false
	for _, in := range n.Inputs() {
		if in == nil {
			continue
		}
		if !s.isConstant(in) {
			return false
		}
		found = true
	}
	// What has no input at all, as RandomNormal, may differ from run to run;
	// what draws numbers of the shape of a constant does.
	found = found && n.OpType != "RandomNormalLike" && n.OpType != "RandomUniformLike" &&
		n.OpType != "Bernoulli" && n.OpType != "Multinomial"
	s.constant[v] = found
	return found
}

// addStep appends what n does to the constant of c.
func (s *search) addStep(c *chain, n *graph.Node) string {
	switch n.OpType {
	case "Transpose":
		perm := make([]int, len(c.shape))
		for i := range perm {
			perm[i] = len(perm) - 1 - i
		}
		if a := n.Attr("perm"); a != nil {
			if len(a.Ints) != len(perm) {
				return fmt.Sprintf("%v: perm %v for rank %d", n, a.Ints, len(perm))
			}
			seen := make([]bool, len(perm))
			for i, p := range a.Ints {
				if p < 0 || int(p) >= len(perm) || seen[p] {
					return fmt.Sprintf("%v: perm %v is no permutation", n, a.Ints)
				}
				seen[p] = true
				perm[i] = int(p)
			}
		}
		shape := make([]int, len(perm))
		for i, p := range perm {
			shape[i] = c.shape[p]
		}
		c.add(step{kind: transpose, perm: perm, shape: shape})
	case "Reshape":
		shape, why := s.reshaped(c, n)
		if why != "" {
			return why
		}
		c.add(step{kind: reshape, shape: shape})
	case "Cast":
		c.dtype = tensor.DType(intAttr(n, "to"))
		switch c.dtype {
		case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
		default:
			return fmt.Sprintf("the weight is cast to %v", c.dtype)
		}
		c.add(step{kind: cast, dtype: c.dtype, shape: c.shape})
	case "DequantizeLinear":
		q, why := newQuantization(n, s.model.Opset(""), c.shape)
		if why != "" {
			return why
		}
		c.dtype = q.scale.DType()
		c.others = append(c.others, q.constants...)
		c.add(step{kind: dequantize, quant: q, shape: c.shape})
	}
	return ""
}

func (c *chain) add(st step) {
	c.steps = append(c.steps, st)
	c.shape = st.shape
}

// reshaped is the shape that a Reshape of c's constant gives.
func (s *search) reshaped(c *chain, n *graph.Node) ([]int, string) {
	v := n.Input(1)
	t := s.facts.Of(v).Const
	if v != nil && v.Const() != nil {
		t = v.Const()
	}
	if t == nil || t.DType() != tensor.Int64 || t.Rank() != 1 {
		return nil, fmt.Sprintf("the weight is reshaped by %v to a shape that is not constant", n)
	}
	dims := tensor.Data[int64](t)
	total, err := tensor.Elements(c.shape)
	if err != nil {
		return nil, err.Error()
	}
	shape, known, open := make([]int, len(dims)), 1, -1
	for i, d := range dims {
		switch {
		case d == 0 && intAttr(n, "allowzero") == 0 && i < len(c.shape):
			shape[i] = c.shape[i]
		case d == -1 && open < 0:
			open = i
			continue
		case d < 0 || d > int64(total):
			return nil, fmt.Sprintf("%v: shape %v for %v", n, dims, c.shape)
		default:
			shape[i] = int(d)
		}
		known *= shape[i]
		if known > total {
			return nil, fmt.Sprintf("%v: shape %v for %v", n, dims, c.shape)
		}
	}
	if open >= 0 && known > 0 {
		shape[open] = total / known
		known *= shape[open]
	}
	if known != total {
		return nil, fmt.Sprintf("%v: shape %v for %v", n, dims, c.shape)
	}
	return shape, ""
}

// readable says why the root's elements cannot be read as numbers.
func (c *chain) readable() string {
	d := c.root.Const().DType()
	switch d {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Bool,
		tensor.Int8, tensor.Uint8, tensor.Int16, tensor.Uint16, tensor.Int32, tensor.Int4, tensor.Uint4:
		return ""
	}
	return fmt.Sprintf("the weight's elements are %v", d)
}

// values is the rows×cols matrix, row by row.
func (c *chain) values() ([]float64, error) {
	v, err := numbers(c.root.Const())
	if err != nil {
		return nil, err
	}
	shape := c.root.Const().Shape()
	for _, st := range c.steps {
		switch st.kind {
		case transpose:
			v = permuted(v, shape, st.perm)
		case cast:
			t, err := tensor.FromFloat64s(st.dtype, v, len(v))
			if err != nil {
				return nil, err
			}
			if v, err = tensor.Float64s(t); err != nil {
				return nil, err
			}
		case dequantize:
			if err := st.quant.apply(v, shape); err != nil {
				return nil, err
			}
		}
		shape = st.shape
	}
	return v, nil
}

// permuted is v, of the given shape, with its axes in the order of perm.
func permuted(v []float64, shape, perm []int) []float64 {
	strides := tensor.Strides(shape)
	out := make([]float64, 0, len(v))
	if len(v) == 0 {
		return out
	}
	idx := make([]int, len(perm))
	at := 0
	for range v {
		out = append(out, v[at])
		for i := len(perm) - 1; i >= 0; i-- {
			idx[i]++
			at += strides[perm[i]]
			if idx[i] < shape[perm[i]] {
				break
			}
			at -= idx[i] * strides[perm[i]]
			idx[i] = 0
		}
	}
	return out
}

// same reports whether two chains of one root store the same matrix by the
// same steps.
func (c *chain) same(d *chain) bool {
	return c.root == d.root && slices.EqualFunc(c.steps, d.steps, func(a, b step) bool {
		return a.kind == b.kind && slices.Equal(a.shape, b.shape) && slices.Equal(a.perm, b.perm) &&
			a.dtype == b.dtype && a.quant.same(b.quant)
	})
}
