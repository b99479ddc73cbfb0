package runtime

import (
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// turnBytes is the size from which on a weight is not turned around at compile
// time for products that can read it as it stands.
const turnBytes = 1 << 16

// turnsWeight reports whether n transposes a large constant matrix that only
// products read, as their second factor.
func (l *lowerer) turnsWeight(n *graph.Node) bool {
	if !l.is(n, "Transpose") || len(n.Inputs()) != 1 {
		return false
	}
	t := l.constant(n.Input(0))
	if t == nil || t.Rank() != 2 || t.DType() != tensor.Float32 || len(t.Bytes()) < turnBytes || n.Outputs()[0].IsOutput() {
		return false
	}
	for _, u := range n.Outputs()[0].Uses() {
		if u.Input != 1 || u.Node.Graph() != l.g || !l.is(u.Node, "MatMul") || !l.isFloats(u.Node.Input(0)) || len(l.facts.Of(u.Node.Input(0)).Shape) == 0 {
			return false
		}
	}
	return turned(n)
}

// turned reports whether a Transpose of a matrix swaps its axes.
func turned(n *graph.Node) bool {
	a := n.Attr("perm")
	return a == nil || len(a.Ints) == 2 && a.Ints[0] == 1 && a.Ints[1] == 0
}

// linear replaces products with constant weights, however they are spelled:
//
//	MatMul(x, W)  MatMul(x, Transpose(W))  Gemm(x, W, C, transB, alpha, beta)
//
// A Gemm's C becomes an addition of its own, which is fused again later.
func (l *lowerer) linear() error {
	shared := map[weightKey]*weight{}
	for _, n := range l.order {
		if l.gone[n] {
			continue
		}
		if k, ok := l.op(n).(op.Keeper); ok {
			l.keep(n, k)
		}
		if !l.isFloats(n.Input(0)) {
			continue
		}
		var err error
		switch {
		case l.is(n, "MatMul"):
			err = l.linearMatMul(n, shared)
		case l.is(n, "Gemm"):
			err = l.linearGemm(n, shared)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keep has an operator of its own kind keep what it lays out of its constants.
func (l *lowerer) keep(n *graph.Node, k op.Keeper) {
	same := make([]bool, len(n.Inputs()))
	for i, v := range n.Inputs() {
		same[i] = v == nil || l.constant(v) != nil
	}
	if o := k.Keeping(same); o != nil {
		l.ops[n] = o
	}
}

// A weightKey tells weights apart: nodes that share one share its packing.
type weightKey struct {
	t     *tensor.Tensor
	turns bool
}

// weightOf is the weight of a float32 matrix, or of its transpose; nil where t
// is none.
func weightOf(shared map[weightKey]*weight, t *tensor.Tensor, turns bool) *weight {
	if t == nil || t.DType() != tensor.Float32 || t.Rank() != 2 || t.Len() == 0 {
		return nil
	}
	key := weightKey{t, turns}
	if w := shared[key]; w != nil {
		return w
	}
	s := t.Shape()
	w := &weight{t: t, k: s[0], n: s[1], rs: s[1], cs: 1}
	if turns {
		w.k, w.n, w.rs, w.cs = s[1], s[0], 1, s[1]
	}
	shared[key] = w
	return w
}

func (l *lowerer) linearMatMul(n *graph.Node, shared map[weightKey]*weight) error {
	if len(l.facts.Of(n.Input(0)).Shape) == 0 {
		return nil
	}
	b := n.Input(1)
	t, turns := l.constant(b), false
	if p := b.Producer(); t == nil && p != nil && l.is(p, "Transpose") && turned(p) {
		if t = l.constant(p.Input(0)); t != nil && t.Rank() == 2 {
			turns = true
		}
	}
	w := weightOf(shared, t, turns)
	if w == nil {
		return nil
	}
	_, err := l.replace(n, "MatMul", &linear{w: w, end: noEnding}, []*graph.Value{n.Input(0)})
	return err
}

func (l *lowerer) linearGemm(n *graph.Node, shared map[weightKey]*weight) error {
	if flag(n, "transA") || len(l.facts.Of(n.Input(0)).Shape) != 2 {
		return nil
	}
	w := weightOf(shared, l.constant(n.Input(1)), flag(n, "transB"))
	if w == nil {
		return nil
	}
	alpha, beta, c := number(n, "alpha", 1), number(n, "beta", 1), n.Input(2)
	if beta == 0 {
		c = nil
	}
	o := &linear{w: w, end: noEnding}
	if c == nil && alpha == 1 {
		_, err := l.replace(n, "Gemm", o, []*graph.Value{n.Input(0)})
		return err
	}
	t := l.facts.Of(n.Outputs()[0]).Type
	y, err := l.insert(n, "Gemm", o, []*graph.Value{n.Input(0)}, t)
	if err != nil {
		return err
	}
	if alpha != 1 {
		factor := l.g.NewConst("alpha", tensor.Scalar(alpha))
		if c == nil {
			return l.instead(n, "", "Mul", []*graph.Value{y, factor})
		}
		if y, err = l.between(n, "Mul", []*graph.Value{y, factor}, t); err != nil {
			return err
		}
	}
	if beta != 1 {
		factor := l.g.NewConst("beta", tensor.Scalar(beta))
		if c, err = l.between(n, "Mul", []*graph.Value{c, factor}, l.facts.Of(c).Type); err != nil {
			return err
		}
		l.builder.fold(c.Producer())
	}
	return l.instead(n, "", "Add", []*graph.Value{y, c})
}

// flag is an integer attribute seen as a truth value; false where it is missing.
func flag(n *graph.Node, name string) bool {
	a := n.Attr(name)
	return a != nil && a.I != 0
}

// number is a float attribute, or what stands for it where it is missing.
func number(n *graph.Node, name string, missing float32) float32 {
	if a := n.Attr(name); a != nil {
		return a.F
	}
	return missing
}
