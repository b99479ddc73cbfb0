package runtime

import (
	"math"
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
var binaries = map[string]binaryOp{"Add": opAdd, "Sub": opSub, "Mul": opMul, "Div": opDiv, "Min": opMin, "Max": opMax, "Sum": opAdd}

// isPointwise reports whether n alone can be a program.
func (l *lowerer) isPointwise(n *graph.Node) bool {
	if len(n.Outputs()) != 1 || n.Outputs()[0] == nil || l.isConstant(n) || !l.isFloats(n.Outputs()[0]) || !l.plain(n) {
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
		return e != nil && *e == 2
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
		} else if _, ok := l.ops[n].(*linear); ok && g.head == nil {
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

// fuse replaces the nodes of a group.
func (l *lowerer) fuse(g *group, taken map[*graph.Node]bool) error {
	c := &compiler{l: l, p: &program{}, head: g.head, reg: map[*graph.Value]int{}, last: map[*graph.Value]*graph.Node{}}
	var labels []string
	if g.head != nil {
		taken[g.head] = true
		labels = append(labels, g.head.OpType)
	}
	for _, n := range g.nodes {
		taken[n] = true
		if !l.silent[n] {
			labels = append(labels, n.OpType)
		}
		for _, v := range n.Inputs() {
			c.last[v] = n
		}
	}
	last := g.nodes[len(g.nodes)-1]
	for _, n := range g.nodes {
		c.node(n, n == last)
	}
	label := strings.Join(labels, "+")
	if g.head != nil {
		o := *l.ops[g.head].(*linear)
		o.tail = c.p
		_, err := l.replace(last, label, &o, append([]*graph.Value{g.head.Input(0)}, c.inputs...))
		return err
	}
	for i, v := range c.inputs {
		if sameDims(l.facts.Of(v).Shape, g.shape) {
			c.swap(i)
			_, err := l.replace(last, label, pointwise{c.p}, c.inputs)
			return err
		}
	}
	return nil // each operand is spread: the nodes stay
}

// A compiler turns a group into a program.
type compiler struct {
	l      *lowerer
	p      *program
	head   *graph.Node
	inputs []*graph.Value // the program's operands
	reg    map[*graph.Value]int
	free   []int
	last   map[*graph.Value]*graph.Node // the last node that reads a value
}

// node appends the instruction of n; the last one's result is the program's.
func (c *compiler) node(n *graph.Node, last bool) {
	in := instr{a: c.operand(n.Input(0))}
	switch {
	case n.OpType == "Clip":
		lo, hi, _ := c.l.clipBounds(n)
		in.f = clipRow(lo, hi)
	case n.OpType == "Pow": // squares alone
		in.op, in.b = opMul, in.a
	default:
		var ok bool
		if in.op, ok = binaries[n.OpType]; ok {
			in.b = c.operand(n.Input(1))
		} else {
			in.f = op.RowFunc(c.l.op(n))
		}
	}
	for i, v := range n.Inputs() {
		if r, ok := c.reg[v]; ok && c.last[v] == n && !slices.Contains(n.Inputs()[:i], v) {
			c.free = append(c.free, r)
		}
	}
	switch {
	case last:
		in.dst = resultReg
	case len(c.free) > 0:
		in.dst = c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
	default:
		in.dst = c.p.regs
		c.p.regs++
	}
	c.reg[n.Outputs()[0]] = in.dst
	c.p.code = append(c.p.code, in)
}

// operand is where the program finds v.
func (c *compiler) operand(v *graph.Value) operand {
	if r, ok := c.reg[v]; ok {
		return operand{kind: fromReg, i: r}
	}
	if k := c.l.scalar(v); k != nil {
		return operand{kind: fromConst, c: *k}
	}
	if c.head != nil && v.Producer() == c.head {
		return operand{kind: fromStart}
	}
	i := slices.Index(c.inputs, v)
	if i < 0 {
		i = len(c.inputs)
		c.inputs = append(c.inputs, v)
	}
	return operand{kind: fromInput, i: i}
}

// swap makes the i-th operand the first.
func (c *compiler) swap(i int) {
	c.inputs[0], c.inputs[i] = c.inputs[i], c.inputs[0]
	for k := range c.p.code {
		for _, o := range []*operand{&c.p.code[k].a, &c.p.code[k].b} {
			switch {
			case o.kind != fromInput:
			case o.i == 0:
				o.i = i
			case o.i == i:
				o.i = 0
			}
		}
	}
}

// clipRow is Clip between bounds that may be missing; NaN passes.
func clipRow(lo, hi *float32) func(y, x []float32) {
	least, most := float32(math.Inf(-1)), float32(math.Inf(1))
	if lo != nil {
		least = *lo
	}
	if hi != nil {
		most = *hi
	}
	return func(y, x []float32) {
		y = y[:len(x)]
		for i, v := range x {
			y[i] = min(max(v, least), most)
		}
	}
}
