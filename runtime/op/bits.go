package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// bitwise is an operator on the bits of integers: BitwiseAnd, BitwiseOr and
// BitwiseXor of two inputs, BitwiseNot of one, and BitShift of unsigned ones.
type bitwise struct {
	name string
	code bitCode
}

type bitCode uint8

const (
	bitAnd bitCode = iota
	bitOr
	bitXor
	bitNot
	bitLeft
	bitRight
)

func parseBitwise(name string, code bitCode) parser {
	return func(*attrs) Op { return &bitwise{name, code} }
}

func parseBitShift(a *attrs) Op {
	a.require("direction")
	switch d := a.string("direction", ""); d {
	case "LEFT":
		return &bitwise{"BitShift", bitLeft}
	case "RIGHT":
	default:
		a.fail(fmt.Errorf("attribute direction is %q, wanted LEFT or RIGHT", d))
	}
	return &bitwise{"BitShift", bitRight}
}

func (o *bitwise) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	n := 2
	if o.code == bitNot {
		n = 1
	}
	out, err := inferBroadcast(in, n, n)
	if err != nil {
		return nil, err
	}
	if d := out.DType; d != tensor.Undefined && (!d.IsInteger() || d.Bits() < 8 || o.name == "BitShift" && !unsigned(d)) {
		return nil, unsupportedType(o.name, d)
	}
	return []graph.Fact{out}, nil
}

func unsigned(d tensor.DType) bool {
	return d == tensor.Uint8 || d == tensor.Uint16 || d == tensor.Uint32 || d == tensor.Uint64
}

func (o *bitwise) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, c := in[0].Tensor, out[0].Tensor
	b := a
	if len(in) > 1 {
		b = in[1].Tensor
	}
	// All but the shifts are the same for either sign.
	switch c.DType().Bits() {
	case 8:
		bitwiseInto[uint8](ctx, o.code, a, b, c)
	case 16:
		bitwiseInto[uint16](ctx, o.code, a, b, c)
	case 32:
		bitwiseInto[uint32](ctx, o.code, a, b, c)
	default:
		bitwiseInto[uint64](ctx, o.code, a, b, c)
	}
	return nil
}

type bits interface {
	uint8 | uint16 | uint32 | uint64
}

// zipBits is zipRows of an operation on bits.
func zipBits[T bits](p *kernel.Pool, op kernel.Logic, a, b, c *tensor.Tensor) {
	zipRows(p, a, b, c, func(z, x, y []T) { kernel.ZipBits(op, z, x, y) })
}

func bitwiseInto[T bits](ctx *Ctx, code bitCode, a, b, c *tensor.Tensor) {
	switch code {
	case bitAnd:
		zipBits[T](ctx.Pool, kernel.And, a, b, c)
	case bitOr:
		zipBits[T](ctx.Pool, kernel.Or, a, b, c)
	case bitXor:
		zipBits[T](ctx.Pool, kernel.Xor, a, b, c)
	case bitNot:
		zipBits[T](ctx.Pool, kernel.Xor, a, tensor.Scalar(^T(0)), c)
	case bitLeft:
		zipShared(ctx.Pool, a, b, c, func(x, y T) T { return x << y })
	case bitRight:
		zipShared(ctx.Pool, a, b, c, func(x, y T) T { return x >> y })
	}
}
