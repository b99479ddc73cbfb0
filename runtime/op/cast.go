package op

import (
	"fmt"
	"math"
	"strconv"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// cast changes the element type: floating point rounds to nearest and becomes
// an integer towards zero, numbers and strings become each other as text.
type cast struct{ to tensor.DType }

func parseCast(a *attrs) Op {
	a.require("to")
	a.bool("saturate", true) // concerns 8-bit floats alone
	a.string("round_mode", "up")
	return &cast{a.dtype("to", tensor.Undefined)}
}

func (o *cast) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	f := graph.Fact{Type: in[0].Type}
	f.DType = o.to
	if (o.to == tensor.Int64 || o.to == tensor.Int32) && (in[0].DType.IsInteger() || in[0].DType == tensor.Undefined) {
		f.Ints = in[0].Ints
	}
	return []graph.Fact{f}, nil
}

func (o *cast) Forward(ctx *Ctx, in, out []tensor.Value) error {
	return castTo(ctx.Pool, in[0].Tensor, out[0].Tensor)
}

// Backward casts the gradient back, between floating-point types.
func (o *cast) Backward(_ *Ctx, _, _, dout, din []tensor.Value) error { return castBack(dout, din) }

func castBack(dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	g, err := tensor.Float64s(dout[0].Tensor)
	if err != nil {
		return unsupportedType("Cast", dout[0].Tensor.DType())
	}
	return addWide("Cast", din[0], g)
}

// castLike is cast to the element type of the second input.
type castLike struct{}

func parseCastLike(a *attrs) Op {
	a.bool("saturate", true)
	a.string("round_mode", "up")
	return castLike{}
}

func (castLike) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	f := graph.Fact{Type: in[0].Type}
	f.DType = in[1].DType
	return []graph.Fact{f}, nil
}

func (castLike) Forward(ctx *Ctx, in, out []tensor.Value) error {
	return castTo(ctx.Pool, in[0].Tensor, out[0].Tensor)
}

func (castLike) Backward(_ *Ctx, _, _, dout, din []tensor.Value) error { return castBack(dout, din) }

func castTo(p *kernel.Pool, x, y *tensor.Tensor) error {
	from, to := x.DType(), y.DType()
	switch {
	case from == to:
		return y.CopyFrom(x)
	case from == tensor.String:
		return castFromString(x, y)
	case to == tensor.String:
		return castToString(x, y)
	}
	if !isNumber(from) {
		return unsupportedType("Cast", from)
	}
	if !isNumber(to) {
		return unsupportedType("Cast", to)
	}
	castNumbers(p, x, y)
	return nil
}

// storeInts is integers into a tensor of them.
func storeInts(v []int64, y *tensor.Tensor) error {
	if !isWhole(y.DType()) {
		return unsupportedType("Cast", y.DType())
	}
	writeInts(y, 0, v)
	return nil
}

// storeFloats is numbers into a tensor of any number type.
func storeFloats(v []float64, y *tensor.Tensor) error {
	if !isNumber(y.DType()) {
		return unsupportedType("Cast", y.DType())
	}
	writeFloats(y, 0, v)
	return nil
}

// integerOf is x towards zero: of 64 bits that mean what they mean in d.
func integerOf(x float64, d tensor.DType) int64 {
	switch {
	case math.IsNaN(x):
		return 0
	case x >= 1<<63:
		if d == tensor.Uint64 && x < 1<<64 {
			return int64(uint64(x))
		}
		return math.MaxInt64
	case x < -1<<63:
		return math.MinInt64
	}
	return int64(x)
}

// castFromString reads integers as such where y holds them: those above 2⁵³ have no float64.
func castFromString(x, y *tensor.Tensor) error {
	d := y.DType()
	whole := d.IsInteger() && d.Bits() >= 8
	v, ints := make([]float64, x.Len()), make([]int64, x.Len())
	for i, s := range tensor.Data[string](x) {
		if n, ok := parseInteger(s, d); whole && ok {
			ints[i] = n
			continue
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("element %d is no number: %q", i, s)
		}
		v[i], ints[i] = f, integerOf(f, d)
	}
	if whole {
		return storeInts(ints, y)
	}
	return storeFloats(v, y)
}

// parseInteger is the integer that s is, of 64 bits that mean what they mean in d.
func parseInteger(s string, d tensor.DType) (n int64, ok bool) {
	if d == tensor.Uint64 {
		if u, err := strconv.ParseUint(s, 10, 64); err == nil {
			return int64(u), true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func castToString(x, y *tensor.Tensor) error {
	dst := tensor.Data[string](y)
	if x.DType().IsInteger() {
		v, err := tensor.Int64s(x)
		if err != nil {
			return unsupportedType("Cast", x.DType())
		}
		for i, n := range v {
			if dst[i] = strconv.FormatInt(n, 10); x.DType() == tensor.Uint64 {
				dst[i] = strconv.FormatUint(uint64(n), 10)
			}
		}
		return nil
	}
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType("Cast", x.DType())
	}
	bits := 32
	if x.DType() == tensor.Float64 {
		bits = 64
	}
	for i, f := range v {
		switch {
		case x.DType() == tensor.Bool:
			dst[i] = strconv.Itoa(int(f))
		case math.IsInf(f, 1):
			dst[i] = "INF"
		case math.IsInf(f, -1):
			dst[i] = "-INF"
		default:
			dst[i] = strconv.FormatFloat(f, 'g', -1, bits)
		}
	}
	return nil
}
