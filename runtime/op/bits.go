package op

import (
	"fmt"

	"bilinc/runtime/graph"
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

func (o *bitwise) Forward(_ *Ctx, in, out []tensor.Value) error {
	a, c := in[0].Tensor, out[0].Tensor
	b := a
	if len(in) > 1 {
		b = in[1].Tensor
	}
	// All but the shifts are the same for either sign.
	switch c.DType().Bits() {
	case 8:
		bitwiseInto[uint8](o.code, a, b, c)
	case 16:
		bitwiseInto[uint16](o.code, a, b, c)
	case 32:
		bitwiseInto[uint32](o.code, a, b, c)
	default:
		bitwiseInto[uint64](o.code, a, b, c)
	}
	return nil
}

func bitwiseInto[T uint8 | uint16 | uint32 | uint64](code bitCode, a, b, c *tensor.Tensor) {
	f := map[bitCode]func(x, y T) T{
		bitAnd:   func(x, y T) T { return x & y },
		bitOr:    func(x, y T) T { return x | y },
		bitXor:   func(x, y T) T { return x ^ y },
		bitNot:   func(x, _ T) T { return ^x },
		bitLeft:  func(x, y T) T { return x << y },
		bitRight: func(x, y T) T { return x >> y },
	}[code]
	zip(a, b, c, f)
}
