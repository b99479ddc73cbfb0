package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

var (
	inf32 = float32(math.Inf(1))
	nan32 = float32(math.NaN())
)

func TestUnary(t *testing.T) {
	runOpTests(t, []opTest{
		{name: "NaN passes", op: "Relu", opset: 14, in: []*tensor.Tensor{list(-1, 0, 2, nan32, -inf32, inf32)},
			want: []*tensor.Tensor{list(0, 0, 2, nan32, 0, inf32)}, tol: closeTo},
		{name: "integers", op: "Relu", opset: 14, in: []*tensor.Tensor{list[int8](-128, 127)},
			want: []*tensor.Tensor{list[int8](0, 127)}},
		{name: "float16", op: "Relu", opset: 14, in: []*tensor.Tensor{as(tensor.Float16, list[float32](-1, 0.5))},
			want: []*tensor.Tensor{as(tensor.Float16, list[float32](0, 0.5))}},
		{name: "bool", op: "Relu", opset: 14, in: []*tensor.Tensor{list(true)}, err: "not implemented for bool"},
		{name: "large uint64", op: "Abs", opset: 13, in: []*tensor.Tensor{list[uint64](1<<63+1, 2)},
			want: []*tensor.Tensor{list[uint64](1<<63+1, 2)}},
		{name: "large uint64", op: "Sign", opset: 13, in: []*tensor.Tensor{list[uint64](1<<63+1, 0)},
			want: []*tensor.Tensor{list[uint64](1, 0)}},
		{name: "floats", op: "Sign", opset: 13, in: []*tensor.Tensor{list[float32](-3, 0, 0.1)},
			want: []*tensor.Tensor{list[float32](-1, 0, 1)}},
		{name: "integers", op: "Neg", opset: 13, in: []*tensor.Tensor{list[int32](-3, 0, 4)},
			want: []*tensor.Tensor{list[int32](3, 0, -4)}},
		{name: "half to even", op: "Round", opset: 11, in: []*tensor.Tensor{list[float32](0.5, 1.5, 2.5, -2.5)},
			want: []*tensor.Tensor{list[float32](0, 2, 2, -2)}},
		{name: "far out", op: "Softplus", opset: 1, tol: closeTo, in: []*tensor.Tensor{list[float64](-1000, 0, 1000)},
			want: []*tensor.Tensor{list(0, math.Ln2, 1000)}},
		{name: "far out", op: "Sigmoid", opset: 13, tol: closeTo, in: []*tensor.Tensor{list(-inf32, 0, inf32)},
			want: []*tensor.Tensor{list[float32](0, 0.5, 1)}},
		{name: "a scalar", op: "Erf", opset: 13, tol: closeTo, in: []*tensor.Tensor{tensor.Scalar[float32](0.5)},
			want: []*tensor.Tensor{tensor.Scalar[float32](0.5204999)}},
		{name: "no elements", op: "Exp", opset: 13, in: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 2)},
			want: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 2)}},
		{name: "integers", op: "Exp", opset: 13, in: []*tensor.Tensor{list[int32](1)}, err: "not implemented for int32"},
		{name: "slope", op: "LeakyRelu", opset: 16, attrs: []*graph.Attr{attrFloat("alpha", 0.5)},
			in: []*tensor.Tensor{list[float32](-2, 3)}, want: []*tensor.Tensor{list[float32](-1, 3)}},
		{name: "tanh", op: "Gelu", opset: 20, tol: approximate, attrs: []*graph.Attr{attrString("approximate", "tanh")},
			in: []*tensor.Tensor{list[float32](-1, 1)}, want: []*tensor.Tensor{list[float32](-0.158808, 0.841192)}},
		{name: "exact", op: "Gelu", opset: 20, tol: approximate,
			in: []*tensor.Tensor{list[float32](-1, 1)}, want: []*tensor.Tensor{list[float32](-0.158655, 0.841345)}},
		{name: "unknown form", op: "Gelu", opset: 20, attrs: []*graph.Attr{attrString("approximate", "erf")},
			in: []*tensor.Tensor{counting(1)}, err: `approximate is "erf"`},
		{name: "a slope for each column", op: "PRelu", opset: 16, in: []*tensor.Tensor{tensor.Of([]float32{-1, -2, 3, -4}, 2, 2), list[float32](2, 0.5)},
			want: []*tensor.Tensor{tensor.Of([]float32{-2, -1, 3, -2}, 2, 2)}},
		{name: "slope of more rows", op: "PRelu", opset: 16, in: []*tensor.Tensor{counting(1, 2), counting(3, 2)}, err: "does not broadcast to the input"},
		{name: "slope of higher rank", op: "PRelu", opset: 16, in: []*tensor.Tensor{counting(2), counting(1, 2)}, err: "does not broadcast to the input"},
	})
}

func TestMinMax(t *testing.T) {
	runOpTests(t, []opTest{
		{name: "NaN wins", op: "Max", opset: 13, tol: closeTo, in: []*tensor.Tensor{list(nan32, 1, 3), list(5, nan32, 2)},
			want: []*tensor.Tensor{list(nan32, nan32, 3)}},
		{name: "integers broadcast", op: "Min", opset: 13, in: []*tensor.Tensor{list[int64](1, 1<<60+1), tensor.Scalar[int64](1 << 60)},
			want: []*tensor.Tensor{list[int64](1, 1<<60)}},
		{name: "one input", op: "Sum", opset: 13, in: []*tensor.Tensor{counting(2)}, want: []*tensor.Tensor{counting(2)}},
		{name: "three inputs", op: "Mean", opset: 13, in: []*tensor.Tensor{list[float32](1, 2), list[float32](2, 3), list[float32](6, 1)},
			want: []*tensor.Tensor{list[float32](3, 2)}},
		{name: "attributes", op: "Clip", opset: 6, attrs: []*graph.Attr{attrFloat("min", -1), attrFloat("max", 1)},
			in: []*tensor.Tensor{list[float32](-3, 0, 3)}, want: []*tensor.Tensor{list[float32](-1, 0, 1)}},
		{name: "integers before opset 11", op: "Clip", opset: 6, in: []*tensor.Tensor{list[int32](1)}, err: "not implemented for int32"},
		{name: "upper bound only", op: "Clip", opset: 13, in: []*tensor.Tensor{list[int32](-3, 0, 3), nil, tensor.Scalar[int32](1)},
			want: []*tensor.Tensor{list[int32](-3, 0, 1)}},
		{name: "lower bound, NaN passes", op: "Clip", opset: 13, tol: closeTo, in: []*tensor.Tensor{list(-3, nan32, inf32), tensor.Scalar[float32](-1)},
			want: []*tensor.Tensor{list(-1, nan32, inf32)}},
		{name: "bounds cross", op: "Clip", opset: 13, in: []*tensor.Tensor{list[float32](0, 5), tensor.Scalar[float32](3), tensor.Scalar[float32](2)},
			want: []*tensor.Tensor{list[float32](2, 2)}},
		{name: "empty bound", op: "Clip", opset: 13, in: []*tensor.Tensor{counting(2), tensor.New(tensor.Float32, 0)}, err: "wanted a scalar"},
		{name: "types", op: "Clip", opset: 13, in: []*tensor.Tensor{counting(2), tensor.Scalar[int32](1)}, err: "input 1 is int32"},
		{name: "an integer's power", op: "Pow", opset: 15, in: []*tensor.Tensor{list[int32](2, 3), list[float32](3, 2)},
			want: []*tensor.Tensor{list[int32](8, 9)}},
		{name: "sign of the divisor", op: "Mod", opset: 13, in: []*tensor.Tensor{list[int32](-4, 7, 5), list[int32](3, -3, 8)},
			want: []*tensor.Tensor{list[int32](2, -2, 5)}},
		{name: "sign of the dividend", op: "Mod", opset: 13, tol: closeTo, attrs: []*graph.Attr{attrInt("fmod", 1)},
			in: []*tensor.Tensor{list[float32](-4.5, 7), list[float32](3, -3)}, want: []*tensor.Tensor{list[float32](-1.5, 1)}},
		{name: "floats without fmod", op: "Mod", opset: 13, in: []*tensor.Tensor{counting(1), counting(1)}, err: "fmod = 1"},
		{name: "by zero", op: "Mod", opset: 13, in: []*tensor.Tensor{list[int8](1), list[int8](0)}, err: "division by zero"},
	})
}

func TestCompare(t *testing.T) {
	runOpTests(t, []opTest{
		{name: "NaN", op: "GreaterOrEqual", opset: 16, in: []*tensor.Tensor{list(nan32, 1, 2), list(nan32, 1, 3)},
			want: []*tensor.Tensor{list(false, true, false)}},
		{name: "strings", op: "Equal", opset: 19, in: []*tensor.Tensor{list("a", "b"), list("a", "c")},
			want: []*tensor.Tensor{list(true, false)}},
		{name: "large integers", op: "Less", opset: 13, in: []*tensor.Tensor{list[int64](1 << 60), list[int64](1<<60 + 1)},
			want: []*tensor.Tensor{list(true)}},
		{name: "of numbers", op: "And", opset: 7, in: []*tensor.Tensor{counting(1), counting(1)}, err: "not implemented for float32"},
		{name: "broadcast", op: "Xor", opset: 7, in: []*tensor.Tensor{tensor.Of([]bool{true, false}, 2, 1), list(true, false)},
			want: []*tensor.Tensor{tensor.Of([]bool{false, true, true, false}, 2, 2)}},
		{name: "one sign", op: "IsInf", opset: 10, attrs: []*graph.Attr{attrInt("detect_negative", 0)},
			in: []*tensor.Tensor{list(-inf32, inf32, nan32)}, want: []*tensor.Tensor{list(false, true, false)}},
		{name: "strings broadcast", op: "Where", opset: 16,
			in:   []*tensor.Tensor{tensor.Of([]bool{true, false}, 2, 1), list("a", "b"), tensor.Scalar("c")},
			want: []*tensor.Tensor{tensor.Of([]string{"a", "b", "c", "c"}, 2, 2)}},
		{name: "condition is no bool", op: "Where", opset: 16, in: []*tensor.Tensor{counting(2), counting(2), counting(2)},
			err: "condition is float32[2], wanted bool"},
		{name: "types", op: "Where", opset: 16, in: []*tensor.Tensor{list(true), counting(1), list[int32](1)}, err: "is int32, but"},
	})
}

func TestCast(t *testing.T) {
	to := func(d tensor.DType) []*graph.Attr { return []*graph.Attr{attrInt("to", int64(d))} }
	runOpTests(t, []opTest{
		{name: "towards zero", op: "Cast", opset: 13, attrs: to(tensor.Int32), in: []*tensor.Tensor{list[float32](-1.7, 1.7)},
			want: []*tensor.Tensor{list[int32](-1, 1)}},
		{name: "to text", op: "Cast", opset: 13, attrs: to(tensor.String), in: []*tensor.Tensor{list(0.9767611, 1, nan32, inf32, -inf32)},
			want: []*tensor.Tensor{list("0.9767611", "1", "NaN", "INF", "-INF")}},
		{name: "from text", op: "Cast", opset: 13, attrs: to(tensor.Float32), in: []*tensor.Tensor{list("1e-3", "-INF", "7")},
			want: []*tensor.Tensor{list(1e-3, -inf32, 7)}},
		{name: "no number", op: "Cast", opset: 13, attrs: to(tensor.Float32), in: []*tensor.Tensor{list("one")}, err: `no number: "one"`},
		{name: "large from text", op: "Cast", opset: 13, attrs: to(tensor.Int64), in: []*tensor.Tensor{list("9007199254740993", "-9223372036854775808", "1e3", "-2.9")},
			want: []*tensor.Tensor{list[int64](9007199254740993, -9223372036854775808, 1000, -2)}},
		{name: "large unsigned from text", op: "Cast", opset: 13, attrs: to(tensor.Uint64), in: []*tensor.Tensor{list("18446744073709551615", "9007199254740993")},
			want: []*tensor.Tensor{list[uint64](18446744073709551615, 9007199254740993)}},
		{name: "large unsigned to text", op: "Cast", opset: 13, attrs: to(tensor.String), in: []*tensor.Tensor{list[uint64](18446744073709551615)},
			want: []*tensor.Tensor{list("18446744073709551615")}},
		{name: "NaN is true", op: "Cast", opset: 13, attrs: to(tensor.Bool), in: []*tensor.Tensor{list(0, nan32, 0.5)},
			want: []*tensor.Tensor{list(false, true, true)}},
		{name: "large unsigned", op: "Cast", opset: 13, attrs: to(tensor.Float64), in: []*tensor.Tensor{list[uint64](1 << 63)},
			want: []*tensor.Tensor{list(math.Ldexp(1, 63))}},
		{name: "no type", op: "Cast", opset: 13, in: []*tensor.Tensor{counting(1)}, err: "attribute to is missing"},
		{name: "like", op: "CastLike", opset: 15, in: []*tensor.Tensor{list[int64](3), tensor.New(tensor.Float32, 0)},
			want: []*tensor.Tensor{list[float32](3)}},
	})
}

func TestSoftmax(t *testing.T) {
	uniform := func(v float32) *tensor.Tensor {
		x := tensor.New(tensor.Float32, 2, 3, 4)
		for i, d := 0, tensor.Data[float32](x); i < len(d); i++ {
			d[i] = v
		}
		return x
	}
	x := tensor.New(tensor.Float32, 2, 3, 4)
	runOpTests(t, []opTest{
		{name: "rows of 12 before opset 13", op: "Softmax", opset: 11, tol: closeTo, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{uniform(1. / 12)}},
		{name: "last axis", op: "Softmax", opset: 13, tol: closeTo, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{uniform(0.25)}},
		{name: "inner axis", op: "Softmax", opset: 13, tol: closeTo, attrs: []*graph.Attr{attrInt("axis", -2)}, in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{uniform(1. / 3)}},
		{name: "large", op: "Softmax", opset: 13, tol: closeTo, in: []*tensor.Tensor{list[float32](1000, 1000, -1000)},
			want: []*tensor.Tensor{list[float32](0.5, 0.5, 0)}},
		{name: "NaN", op: "Softmax", opset: 13, tol: closeTo, in: []*tensor.Tensor{list(1, nan32)}, want: []*tensor.Tensor{list(nan32, nan32)}},
		{name: "large", op: "LogSoftmax", opset: 13, tol: closeTo, in: []*tensor.Tensor{list[float32](1000, 0)},
			want: []*tensor.Tensor{list[float32](0, -1000)}},
		{name: "first of equals", op: "Hardmax", opset: 13, in: []*tensor.Tensor{list[float32](1, 3, 3)}, want: []*tensor.Tensor{list[float32](0, 1, 0)}},
		{name: "no elements", op: "Softmax", opset: 13, in: []*tensor.Tensor{tensor.New(tensor.Float32, 2, 0)},
			want: []*tensor.Tensor{tensor.New(tensor.Float32, 2, 0)}},
		{name: "axis", op: "Softmax", opset: 13, attrs: []*graph.Attr{attrInt("axis", 3)}, in: []*tensor.Tensor{x}, err: "axis 3 is outside rank 3"},
	})
}
