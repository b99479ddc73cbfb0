package runtime

import (
	"math"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A compiler turns a group of element-wise nodes into a program. Until the end
// every instruction has a register of its own, numbered like the instruction.
type compiler struct {
	l      *lowerer
	code   []instr
	head   *graph.Node
	inputs []*graph.Value // the program's operands
	reg    map[*graph.Value]int
}

// node appends the instruction of n.
func (c *compiler) node(n *graph.Node) {
	in := instr{dst: len(c.code), a: c.operand(n.Input(0))}
	switch {
	case n.OpType == "Pow" && *c.l.scalar(n.Input(1)) == 2:
		in.op, in.b = opMul, in.a
	case n.OpType == "Pow":
		in.f, in.cube = cubes, true
	default:
		var ok bool
		if in.op, ok = binaries[n.OpType]; ok {
			in.b = c.operand(n.Input(1))
			break
		}
		if in.fn, in.alpha, in.beta, ok = c.l.function(n); !ok {
			in.f = op.RowFunc(c.l.op(n))
		}
	}
	c.reg[n.Outputs()[0]] = in.dst
	c.code = append(c.code, in)
}

// plainFunctions are operators without attributes that are functions of the kernel.
var plainFunctions = map[string]kernel.Function{
	"Relu": kernel.Relu, "HardSwish": kernel.HardSwish, "Exp": kernel.Exp, "Sigmoid": kernel.Sigmoid, "Tanh": kernel.Tanh, "Erf": kernel.Erf,
	"Abs": kernel.Abs, "Neg": kernel.Neg, "Sign": kernel.Sign, "Floor": kernel.Floor, "Ceil": kernel.Ceil, "Round": kernel.Round,
	"Sqrt": kernel.Sqrt, "Reciprocal": kernel.Reciprocal, "Softsign": kernel.Softsign, "Log": kernel.Log, "Softplus": kernel.Softplus, "Mish": kernel.Mish,
}

// function is the kernel's function that n applies.
func (l *lowerer) function(n *graph.Node) (f kernel.Function, alpha, beta float32, ok bool) {
	if f, ok := plainFunctions[n.OpType]; ok {
		return f, 0, 0, true
	}
	switch n.OpType {
	case "LeakyRelu":
		return kernel.LeakyRelu, number(n, "alpha", 0.01), 0, true
	case "Elu":
		return kernel.Elu, number(n, "alpha", 1), 1, true
	case "ThresholdedRelu":
		return kernel.Threshold, number(n, "alpha", 1), 0, true
	case "HardSigmoid":
		return kernel.HardSigmoid, number(n, "alpha", 0.2), number(n, "beta", 0.5), true
	case "Gelu":
		if a := n.Attr("approximate"); a != nil && string(a.S) == "tanh" {
			return kernel.GeluTanh, 0, 0, true
		}
		return kernel.Gelu, 0, 0, true
	case "Clip":
		lo, hi, _ := l.clipBounds(n)
		alpha, beta = float32(math.Inf(-1)), float32(math.Inf(1))
		if lo != nil {
			alpha = *lo
		}
		if hi != nil {
			beta = *hi
		}
		return kernel.Clip, alpha, beta, true
	}
	return 0, 0, 0, false
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

// uses is how often each register is read.
func (c *compiler) uses() []int {
	n := make([]int, len(c.code))
	for i := range c.code {
		for _, o := range c.code[i].operands() {
			if o.kind == fromReg {
				n[o.i]++
			}
		}
	}
	return n
}

// recognise replaces what exporters write out by the kernel's function:
//
//	x·Sigmoid(x)  x·HardSigmoid(x; 1/6, ½)  x·Clip(x+3, 0, 6)/6  ½·x·(1+Erf(x/√2))
//	½·x·(1+Tanh(√(2/π)·(x+0.044715·x³)))
func (c *compiler) recognise() {
	for i := range c.code {
		uses := c.uses()
		factors, k := c.factors(i, uses)
		if len(factors) != 2 {
			continue
		}
		for side := range 2 {
			x, g := factors[side], factors[1-side]
			f := c.definition(g)
			if f == nil || uses[g.i] != 1 || x == g {
				continue
			}
			is := func(fn kernel.Function, of operand) bool { return !f.binary() && f.f == nil && f.fn == fn && f.a == of }
			var fn kernel.Function
			switch {
			case is(kernel.Sigmoid, x) && k == 1:
				fn = kernel.Silu
			case is(kernel.HardSigmoid, x) && k == 1 && near(f.alpha, 1./6) && f.beta == 0.5:
				fn = kernel.HardSwish
			case f.fn == kernel.Clip && !f.binary() && f.alpha == 0 && f.beta == 6 && near(k, 1./6) && c.isSum(f.a, x, 3, uses):
				fn = kernel.HardSwish
			case near(k, 0.5) && c.isErf(g, x, uses):
				fn = kernel.Gelu
			case near(k, 0.5) && c.isTanh(g, x, uses):
				fn = kernel.GeluTanh
			default:
				continue
			}
			c.code[i] = instr{fn: fn, dst: i, a: x}
			break
		}
	}
	c.sweep()
}

func near(a, b float32) bool { return math.Abs(float64(a-b)) <= 1e-6*math.Abs(float64(b)) }

// definition is the instruction behind a register; nil for another operand.
func (c *compiler) definition(o operand) *instr {
	if o.kind != fromReg {
		return nil
	}
	return &c.code[o.i]
}

// factors takes the product that instruction i computes apart, through products
// that nothing else reads: its factors, and that of its constants.
func (c *compiler) factors(i int, uses []int) (rest []operand, k float32) {
	k = 1
	var walk func(in *instr)
	side := func(o operand) {
		d := c.definition(o)
		switch {
		case o.kind == fromConst:
			k *= o.c
		case d != nil && uses[o.i] == 1 && d.isProduct():
			walk(d)
		default:
			rest = append(rest, o)
		}
	}
	walk = func(in *instr) {
		side(in.a)
		if in.op == opDiv {
			k /= in.b.c
			return
		}
		side(in.b)
	}
	if c.code[i].isProduct() {
		walk(&c.code[i])
	}
	return rest, k
}

// isProduct reports whether in multiplies, or divides by a constant.
func (in *instr) isProduct() bool {
	return in.binary() && (in.op == opMul || in.op == opDiv && in.b.kind == fromConst)
}

// isSum reports whether o is x + k, read by nothing else.
func (c *compiler) isSum(o, x operand, k float32, uses []int) bool {
	d := c.definition(o)
	if d == nil || uses[o.i] != 1 || !d.binary() || d.op != opAdd {
		return false
	}
	constant := operand{kind: fromConst, c: k}
	return d.a == x && d.b == constant || d.b == x && d.a == constant
}

// beside is what is added to the constant k to give o; false where o is no such sum.
func (c *compiler) beside(o operand, k float32) (operand, bool) {
	d := c.definition(o)
	if d == nil || !d.binary() || d.op != opAdd {
		return o, false
	}
	switch constant := (operand{kind: fromConst, c: k}); constant {
	case d.a:
		return d.b, true
	case d.b:
		return d.a, true
	}
	return o, false
}

// onePlus is the product that o is f(product) + 1 of, as its factors and that of
// its constants; none where o is something else.
func (c *compiler) onePlus(o operand, f kernel.Function, uses []int) (rest []operand, k float32) {
	e, ok := c.beside(o, 1)
	in := c.definition(e)
	if !ok || in == nil || uses[e.i] != 1 || in.binary() || in.f != nil || in.fn != f {
		return nil, 0
	}
	u := c.definition(in.a)
	if u == nil || uses[in.a.i] != 1 || !u.isProduct() {
		return nil, 0
	}
	return c.factors(in.a.i, uses)
}

// isErf reports whether o is 1 + Erf(x/√2).
func (c *compiler) isErf(o, x operand, uses []int) bool {
	rest, k := c.onePlus(o, kernel.Erf, uses)
	return len(rest) == 1 && rest[0] == x && near(k, 1/math.Sqrt2)
}

// isTanh reports whether o is 1 + Tanh(√(2/π)·(x + 0.044715·x³)), or the same
// with x taken out of the sum.
func (c *compiler) isTanh(o, x operand, uses []int) bool {
	const cubic = 0.044715
	rest, k := c.onePlus(o, kernel.Tanh, uses)
	if !near(k, float32(math.Sqrt(2/math.Pi))) {
		return false
	}
	switch {
	case len(rest) == 1: // x + 0.044715·x³
		d := c.definition(rest[0])
		if d == nil || uses[rest[0].i] != 1 || !d.binary() || d.op != opAdd {
			return false
		}
		return d.a == x && c.isPower(d.b, x, 3, cubic, uses) || d.b == x && c.isPower(d.a, x, 3, cubic, uses)
	case len(rest) == 2 && rest[0] == x, len(rest) == 2 && rest[1] == x: // x, and 1 + 0.044715·x²
		s := rest[0]
		if s == x {
			s = rest[1]
		}
		square, ok := c.beside(s, 1)
		return ok && uses[s.i] == 1 && c.isPower(square, x, 2, cubic, uses)
	}
	return false
}

// isPower reports whether o is k·xⁿ, which nothing else reads.
func (c *compiler) isPower(o, x operand, n int, k float32, uses []int) bool {
	d := c.definition(o)
	if d == nil || uses[o.i] != 1 || !d.isProduct() {
		return false
	}
	rest, have := c.factors(o.i, uses)
	for _, r := range rest {
		if f := c.definition(r); r == x {
			n--
		} else if f != nil && f.cube && f.a == x && uses[r.i] == 1 {
			n -= 3
		} else {
			return false
		}
	}
	return n == 0 && near(have, k)
}

// cubes is Pow with the exponent 3.
func cubes(y, x []float32) {
	for i, v := range x {
		w := float64(v)
		y[i] = float32(w * w * w)
	}
}

// sweep drops instructions whose register nothing reads, the last one apart.
func (c *compiler) sweep() {
	for {
		uses := c.uses()
		i := slices.Index(uses[:len(uses)-1], 0)
		if i < 0 {
			return
		}
		c.drop(i)
	}
}

// drop removes instruction i, which nothing reads.
func (c *compiler) drop(i int) {
	c.code = slices.Delete(c.code, i, i+1)
	for k := range c.code {
		c.code[k].dst = k
		for _, o := range c.code[k].operands() {
			if o.kind == fromReg && o.i > i {
				o.i--
			}
		}
	}
}

// end takes from the front of the program what a product does by itself to its
// result: adding a bias and a tensor, and a function.
func (c *compiler) end(shape []graph.Dim, product productOp) ending {
	e := noEnding
	adds, functions := product.ends()
	for len(c.code) > 0 {
		in := c.code[0]
		switch other := in.other(); {
		case adds && in.binary() && in.op == opAdd && other != nil && other.kind == fromInput && e.f == kernel.Identity:
			t := c.l.facts.Of(c.inputs[other.i])
			switch {
			case e.bias < 0 && isRow(t.Shape, shape):
				e.bias = other.i
			case e.add < 0 && sameDims(t.Shape, shape):
				e.add = other.i
			default:
				return e
			}
		case functions && !in.binary() && in.f == nil && in.a.kind == fromStart && e.f == kernel.Identity:
			e.f, e.alpha, e.beta = in.fn, in.alpha, in.beta
		default:
			return e
		}
		// The result of the instruction is what the rest starts from; where
		// something also reads what was there before, it has to stay.
		for k := 1; k < len(c.code); k++ {
			for _, o := range c.code[k].operands() {
				if o.kind == fromStart {
					return c.undo(e, in)
				}
			}
		}
		for k := 1; k < len(c.code); k++ {
			for _, o := range c.code[k].operands() {
				if o.kind == fromReg && o.i == 0 {
					*o = operand{kind: fromStart}
				}
			}
		}
		c.drop(0)
	}
	return e
}

// undo is e without the instruction that was taken last.
func (c *compiler) undo(e ending, in instr) ending {
	switch other := in.other(); {
	case !in.binary():
		e.f, e.alpha, e.beta = kernel.Identity, 0, 0
	case other.i == e.add:
		e.add = -1
	default:
		e.bias = -1
	}
	return e
}

// other is the operand beside the start of a binary instruction; nil where it
// does not read the start once.
func (in *instr) other() *operand {
	switch {
	case in.a.kind == fromStart && in.b.kind != fromStart:
		return &in.b
	case in.b.kind == fromStart && in.a.kind != fromStart:
		return &in.a
	}
	return nil
}

// isRow reports whether a tensor of this shape adds one element to each column
// of a result.
func isRow(s, result []graph.Dim) bool {
	if len(s) == 0 || len(s) > len(result) || !s[len(s)-1].Same(result[len(result)-1]) {
		return false
	}
	for _, d := range s[:len(s)-1] {
		if !d.Is(1) {
			return false
		}
	}
	return true
}

// finish gives the instructions registers that they share; nil where none is
// left.
func (c *compiler) finish() *program {
	if len(c.code) == 0 {
		return nil
	}
	p := &program{code: c.code}
	last := make([]int, len(c.code)) // reader of each
	for i := range c.code {
		for _, o := range c.code[i].operands() {
			if o.kind == fromReg {
				last[o.i] = i
			}
		}
	}
	place := make([]int, len(c.code))
	var free []int
	for i := range c.code {
		in := &c.code[i]
		var done []int
		for _, o := range in.operands() {
			if o.kind == fromReg {
				if last[o.i] == i && !slices.Contains(done, place[o.i]) {
					done = append(done, place[o.i])
				}
				o.i = place[o.i]
			}
		}
		free = append(free, done...)
		switch {
		case i == len(c.code)-1:
			in.dst = resultReg
			continue
		case len(free) > 0:
			place[i] = free[len(free)-1]
			free = free[:len(free)-1]
		default:
			place[i] = p.regs
			p.regs++
		}
		in.dst = place[i]
	}
	return p
}

// swap makes the i-th operand the first.
func (c *compiler) swap(i int) {
	c.inputs[0], c.inputs[i] = c.inputs[i], c.inputs[0]
	for k := range c.code {
		for _, o := range c.code[k].operands() {
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

// An ending is what a product does to its result, by the places of the node's
// operands (−1: none).
type ending struct {
	bias, add   int
	f           kernel.Function
	alpha, beta float32
}

// noEnding does nothing.
var noEnding = ending{bias: -1, add: -1}

// epilogue is e for a run whose result has rows of n elements.
func (e *ending) epilogue(operands []tensor.Value, n int) kernel.Epilogue32 {
	k := kernel.Epilogue32{F: e.f, Alpha: e.alpha, Beta: e.beta}
	if e.bias >= 0 {
		k.Bias = tensor.Data[float32](operands[e.bias].Tensor)
	}
	if e.add >= 0 {
		k.Add, k.AddStride = tensor.Data[float32](operands[e.add].Tensor), n
	}
	return k
}
