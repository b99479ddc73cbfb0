package runtime

import (
	"slices"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
)

// maxFused bounds the nodes of one program, so that its registers stay in the
// first-level cache.
const maxFused = 16

// pointwise gathers element-wise nodes into programs. From the last node of
// each group it grows towards the inputs, over nodes whose result nobody
// outside reads and whose shape is the result's; where it ends at a product,
// the program becomes the product's tail.
func (l *lowerer) pointwise() error {
	taken := map[*graph.Node]bool{}
	for i := len(l.order) - 1; i >= 0; i-- {
		n := l.order[i]
		if taken[n] || l.gone[n] || !l.isPointwise(n) {
			continue
		}
		if err := l.fuse(l.grow(n, i, taken), taken); err != nil {
			return err
		}
	}
	return nil
}

// A group is nodes that become one program.
type group struct {
	nodes []*graph.Node // in order
	shape []graph.Dim   // of the result, and of what each node makes
	head  *graph.Node   // the product before them; nil where there is none
}

// A binary is an element-wise operator of two inputs.
var binaries = map[string]binaryOp{"Add": opAdd, "Sub": opSub, "Mul": opMul, "Div": opDiv, "Min": opMin, "Max": opMax, "Sum": opAdd, "PRelu": opSlope}

// isPointwise reports whether n alone can be a program.
func (l *lowerer) isPointwise(n *graph.Node) bool {
	if len(n.Outputs()) != 1 || n.Outputs()[0] == nil || l.isConstant(n) || !l.isFloats(n.Outputs()[0]) || !l.plain(n) || op.IsAligned(l.op(n)) {
		return false
	}
	shape := l.facts.Of(n.Outputs()[0]).Shape
	for _, v := range n.Inputs() {
		if v != nil && (!l.isFloats(v) || !spreads(l.facts.Of(v).Shape, shape)) {
			return false
		}
	}
	switch {
	case n.OpType == "Clip":
		_, _, ok := l.clipBounds(n)
		return ok
	case n.OpType == "Pow":
		e := l.scalar(n.Input(1))
		return e != nil && (*e == 2 || *e == 3)
	}
	if _, ok := binaries[n.OpType]; ok {
		return len(n.Inputs()) == 2 && n.Input(0) != nil && n.Input(1) != nil
	}
	return op.RowFunc(l.op(n)) != nil
}

// clipBounds is the constant bounds of a Clip of either form.
func (l *lowerer) clipBounds(n *graph.Node) (lo, hi *float32, ok bool) {
	for i, name := range []string{"min", "max"} {
		var c *float32
		switch v := n.Input(i + 1); {
		case v != nil:
			if c = l.scalar(v); c == nil {
				return nil, nil, false
			}
		case n.Attr(name) != nil:
			f := n.Attr(name).F
			c = &f
		}
		if i == 0 {
			lo = c
		} else {
			hi = c
		}
	}
	return lo, hi, true
}

// grow makes the group that ends with last, the i-th node.
func (l *lowerer) grow(last *graph.Node, i int, taken map[*graph.Node]bool) *group {
	g := &group{shape: l.facts.Of(last.Outputs()[0]).Shape}
	in := map[*graph.Node]bool{last: true}
	found := []*graph.Node{last}
	for k := i - 1; k >= 0 && len(found) < maxFused; k-- {
		n := l.order[k]
		if taken[n] || l.gone[n] || len(n.Outputs()) != 1 || n.Outputs()[0] == nil {
			continue
		}
		v := n.Outputs()[0]
		if v.IsOutput() || len(v.Uses()) == 0 || !sameDims(l.facts.Of(v).Shape, g.shape) || !l.isFloats(v) {
			continue
		}
		inside := true
		for _, u := range v.Uses() {
			inside = inside && in[u.Node]
		}
		if !inside {
			continue
		}
		if l.isPointwise(n) {
			in[n] = true
			found = append(found, n)
		} else if _, ok := l.ops[n].(productOp); ok && g.head == nil {
			g.head = n
		}
	}
	for k := len(found) - 1; k >= 0; k-- {
		g.nodes = append(g.nodes, found[k])
	}
	return g
}

func sameDims(a, b []graph.Dim) bool {
	if len(a) != len(b) {
		return false
	}
	for i, d := range a {
		if !d.Same(b[i]) {
			return false
		}
	}
	return true
}

// A productOp is a product that element-wise nodes behind it are fused with:
// it gets an ending and a program over its result, whose operands are inputs
// behind its own.
type productOp interface {
	op.Op
	withTail(e ending, tail *program) op.Op
	// ends says what an ending may do: add a row and a tensor, apply a function.
	ends() (adds, functions bool)
}

// fuse replaces the nodes of a group.
func (l *lowerer) fuse(g *group, taken map[*graph.Node]bool) error {
	c := &compiler{l: l, head: g.head, reg: map[*graph.Value]int{}}
	var labels []string
	if g.head != nil {
		taken[g.head] = true
		labels = append(labels, g.head.OpType)
	}
	for _, n := range g.nodes {
		taken[n] = true
		labels = l.appendLabel(labels, n)
		c.node(n)
	}
	c.recognise()
	label, last := strings.Join(labels, "+"), g.nodes[len(g.nodes)-1]
	if g.head != nil {
		product := l.ops[g.head].(productOp)
		e := c.end(g.shape, product)
		inputs := append(slices.Clone(g.head.Inputs()), c.inputs...)
		_, err := l.replace(last, label, product.withTail(e, c.finish()), inputs)
		return err
	}
	for i, v := range c.inputs {
		if sameDims(l.facts.Of(v).Shape, g.shape) {
			c.swap(i)
			_, err := l.replace(last, label, pointwise{c.finish()}, c.inputs)
			return err
		}
	}
	return nil // each operand is spread: the nodes stay
}
