package runtime

import (
	"fmt"
	"sync"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A program computes several element-wise float32 nodes in one pass: it goes
// over the result in blocks that stay in the first-level cache, all its
// instructions on one block after the other. Every instruction is the loop of
// its node, so the bits are those of the nodes run one by one.
type program struct {
	code []instr
	regs int // scratch blocks
	jobs sync.Pool
}

// An instr is dst = a op b, or dst = fn(a) where op is 0, or f(a) where f is
// set.
type instr struct {
	op          binaryOp
	fn          kernel.Function
	alpha, beta float32 // the parameters of fn
	f           func(y, x []float32)
	cube        bool // f is cubes
	dst         int  // a register, or resultReg
	a, b        operand
}

func (in *instr) binary() bool { return in.op != 0 }

// operands is what the instruction reads.
func (in *instr) operands() []*operand {
	if in.binary() {
		return []*operand{&in.a, &in.b}
	}
	return []*operand{&in.a}
}

// resultReg is the destination of the last instruction: the result itself.
const resultReg = -1

type binaryOp uint8

const (
	opAdd binaryOp = iota + 1
	opSub
	opMul
	opDiv
	opMin
	opMax
	opSlope
)

// An operand is what an instruction reads.
type operand struct {
	kind operandKind
	i    int     // of the register or the node's operand
	c    float32 // the constant
}

type operandKind uint8

const (
	fromReg   operandKind = iota
	fromInput             // one of the node's operands
	fromStart             // what the program is run over: a product's result
	fromConst
)

// blockLen is the elements of a block: a handful of registers fit in the
// first-level cache.
const blockLen = 1024

const (
	// pointwiseGrain is the elements that are worth a task of their own.
	pointwiseGrain = 16 * blockLen
	// pointwiseAlone is those that are not worth sharing out: what another core has in its caches costs
	// more to fetch than to compute.
	pointwiseAlone = 6 * pointwiseGrain
)

// spread says how an operand of fewer elements meets a result: element i of
// the result meets element (i/inner) mod period of the operand.
type spread struct{ inner, period int }

// spreadOf finds the spread of an operand in a result of the given shapes.
// It is false where the operand's ones do not all stand before or behind its
// other dimensions, or where it does not broadcast to the result.
func spreadOf(operand, result []int) (spread, bool) {
	s := spread{1, 1}
	if len(operand) > len(result) {
		return s, false
	}
	const before, inside, behind = 0, 1, 2
	phase := before
	lead := len(result) - len(operand)
	for i, d := range operand {
		r := result[lead+i]
		switch {
		case d == r && d == 1:
		case d == r:
			if phase == behind {
				return s, false
			}
			phase = inside
			s.period *= d
		case d == 1:
			if phase != before {
				phase = behind
				s.inner *= r
			}
		default:
			return s, false
		}
	}
	return s, true
}

// spreads is spreadOf for dimensions, some perhaps symbolic: whether the
// operand meets the result in every run.
func spreads(operand, result []graph.Dim) bool {
	if len(operand) > len(result) {
		return false
	}
	behind, inside := false, false
	for i, d := range operand {
		r := result[len(result)-len(operand)+i]
		switch {
		case d.Is(1) && r.Is(1):
		case d.Is(1):
			behind = inside
		case d.Same(r):
			if behind {
				return false
			}
			inside = true
		default:
			return false
		}
	}
	return true
}

// checkOperands fails where an operand does not meet the result.
func checkOperands(result graph.Type, operands []graph.Fact) error {
	shape, ok := graph.Ints(result.Shape)
	if !ok {
		return nil
	}
	for i, f := range operands {
		if f.DType != tensor.Float32 {
			return fmt.Errorf("operand %d is %v, wanted float32", i, f.Type)
		}
		s, ok := graph.Ints(f.Shape)
		if !ok || !f.Ranked {
			continue
		}
		if _, ok := spreadOf(s, shape); !ok {
			return fmt.Errorf("operand %d is %v, which does not spread over %v", i, f.Type, result)
		}
	}
	return nil
}

// A pointwiseJob is one program at work, kept for the next run.
type pointwiseJob struct {
	p        *program
	x, y     []float32
	at       int // the first element
	operands [][]float32
	spreads  []spread
	blocks   sync.Pool // of *[]float32: the registers of one goroutine
	fn       func(lo, hi int)
}

// run sets y[lo:hi], reading x at the same places; x may be y. shape is that of
// the whole result.
func (p *program) run(ctx *op.Ctx, x, y []float32, lo, hi int, shape []int, operands []tensor.Value) {
	j, _ := p.jobs.Get().(*pointwiseJob)
	if j == nil {
		j = &pointwiseJob{p: p, operands: make([][]float32, len(operands)), spreads: make([]spread, len(operands))}
		j.fn = j.part
		j.blocks.New = func() any {
			s := make([]float32, p.regs*blockLen+2)
			return &s
		}
	}
	j.x, j.y, j.at = x, y, lo
	for i, v := range operands {
		j.operands[i] = tensor.Data[float32](v.Tensor)
		j.spreads[i], _ = spreadOf(v.Tensor.Shape(), shape)
	}
	if ctx.Pool.Threads() == 1 || hi-lo <= pointwiseAlone {
		j.part(0, hi-lo)
	} else {
		ctx.Pool.For(hi-lo, pointwiseGrain, j.fn)
	}
	j.x, j.y = nil, nil
	clear(j.operands)
	p.jobs.Put(j)
}

// part runs the program over the elements lo … hi-1 past the first.
func (j *pointwiseJob) part(lo, hi int) {
	scratch := j.blocks.Get().(*[]float32) // the registers, then two elements for constants
	for at := j.at + lo; at < j.at+hi; at += blockLen {
		n := min(blockLen, j.at+hi-at)
		for i := range j.p.code {
			j.step(&j.p.code[i], *scratch, at, n)
		}
	}
	j.blocks.Put(scratch)
}

// step is one instruction on the elements at … at+n-1.
func (j *pointwiseJob) step(c *instr, scratch []float32, at, n int) {
	dst := j.y[at : at+n]
	if c.dst != resultReg {
		dst = scratch[c.dst*blockLen : c.dst*blockLen+n]
	}
	if !c.binary() {
		for o := 0; o < n; {
			a, v, run := j.read(c.a, scratch, at, o, n)
			if a == nil {
				for i := o; i < o+run; i++ {
					dst[i] = v
				}
				a = dst[o : o+run]
			}
			if c.f != nil {
				c.f(dst[o:o+run], a[:run])
			} else {
				kernel.Unary32(nil, c.fn, dst[o:o+run], a[:run], c.alpha, c.beta)
			}
			o += run
		}
		return
	}
	for o := 0; o < n; {
		a, x, runA := j.read(c.a, scratch, at, o, n)
		b, y, run := j.read(c.b, scratch, at, o, n)
		run = min(run, runA)
		d := dst[o : o+run]
		switch {
		case run >= zipLeast:
			j.zip(c.op, scratch, d, a, x, b, y)
		case a != nil && b != nil:
			c.op.vectors(d, a[:run], b[:run])
		case a != nil:
			c.op.right(d, a[:run], y)
		case b != nil:
			c.op.left(d, x, b[:run])
		default:
			c.op.right(d[:1], []float32{x}, y)
			for i := range d {
				d[i] = d[0]
			}
		}
		o += run
	}
}

// read is an operand from element at+o on: a run of elements, or one element
// for a whole run, and how many there are.
func (j *pointwiseJob) read(r operand, scratch []float32, at, o, n int) (s []float32, c float32, run int) {
	switch r.kind {
	case fromReg:
		return scratch[r.i*blockLen+o : r.i*blockLen+n], 0, n - o
	case fromStart:
		return j.x[at+o : at+n], 0, n - o
	case fromConst:
		return nil, r.c, n - o
	}
	p := j.spreads[r.i]
	v := j.operands[r.i]
	switch {
	case p.period == 1:
		return nil, v[0], n - o
	case p.inner == 1:
		k := (at + o) % p.period
		run = min(n-o, p.period-k)
		return v[k : k+run], 0, run
	}
	k, past := (at+o)/p.inner, (at+o)%p.inner
	return nil, v[k%p.period], min(n-o, p.inner-past)
}

// zipLeast is the elements from which on a vector kernel pays for its call.
const zipLeast = 32

// zip is dst = a op b by the kernel; where a or b is nil, x or y stands for it.
func (j *pointwiseJob) zip(o binaryOp, scratch, dst, a []float32, x float32, b []float32, y float32) {
	ones := scratch[j.p.regs*blockLen:]
	n, xe, ye := len(dst), 1, 1
	if a == nil {
		ones[0], xe = x, 0
		a = ones[0:1]
	}
	if b == nil {
		ones[1], ye = y, 0
		b = ones[1:2]
	}
	kernel.Zip32(nil, kernel.Operation(o-opAdd), 1, n, dst, n, a, n, xe, b, n, ye)
}

// slope is PRelu.
func slope(x, s float32) float32 {
	if x < 0 {
		return x * s
	}
	return x
}

// vectors is dst = a op b.
func (o binaryOp) vectors(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	switch o {
	case opAdd:
		for i := range dst {
			dst[i] = a[i] + b[i]
		}
	case opSub:
		for i := range dst {
			dst[i] = a[i] - b[i]
		}
	case opMul:
		for i := range dst {
			dst[i] = a[i] * b[i]
		}
	case opDiv:
		for i := range dst {
			dst[i] = a[i] / b[i]
		}
	case opMin:
		for i := range dst {
			dst[i] = min(a[i], b[i])
		}
	case opMax:
		for i := range dst {
			dst[i] = max(a[i], b[i])
		}
	case opSlope:
		for i := range dst {
			dst[i] = slope(a[i], b[i])
		}
	}
}

// right is dst = a op c.
func (o binaryOp) right(dst, a []float32, c float32) {
	a = a[:len(dst)]
	switch o {
	case opAdd:
		for i := range dst {
			dst[i] = a[i] + c
		}
	case opSub:
		for i := range dst {
			dst[i] = a[i] - c
		}
	case opMul:
		for i := range dst {
			dst[i] = a[i] * c
		}
	case opDiv:
		for i := range dst {
			dst[i] = a[i] / c
		}
	case opMin:
		for i := range dst {
			dst[i] = min(a[i], c)
		}
	case opMax:
		for i := range dst {
			dst[i] = max(a[i], c)
		}
	case opSlope:
		for i := range dst {
			dst[i] = slope(a[i], c)
		}
	}
}

// left is dst = c op b.
func (o binaryOp) left(dst []float32, c float32, b []float32) {
	b = b[:len(dst)]
	switch o {
	case opSub:
		for i := range dst {
			dst[i] = c - b[i]
		}
	case opDiv:
		for i := range dst {
			dst[i] = c / b[i]
		}
	case opSlope:
		for i := range dst {
			dst[i] = slope(c, b[i])
		}
	default:
		o.right(dst, b, c)
	}
}

// pointwise is a program whose result has the shape of its first operand.
type pointwise struct{ *program }

func (o pointwise) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	return []graph.Fact{{Type: in[0].Type}}, checkOperands(in[0].Type, in)
}

func (o pointwise) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	y := tensor.Data[float32](out[0].Tensor)
	o.run(ctx, nil, y, 0, len(y), out[0].Tensor.Shape(), in)
	return nil
}
