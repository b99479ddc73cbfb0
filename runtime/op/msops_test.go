package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestFusedOperators(t *testing.T) {
	x := tensor.Of([]float32{0, 1, -1, 2}, 2, 2)
	gelu := func(v float64) float32 { return float32(v / 2 * (1 + math.Erf(v/math.Sqrt2))) }
	one := func(a ...*graph.Attr) []*graph.Attr { return a }
	runOpTests(t, []opTest{
		{op: "com.microsoft.Gelu", opset: 1, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{0, gelu(1), gelu(-1), gelu(2)}, 2, 2)}, tol: closeTo},
		{op: "com.microsoft.BiasGelu", opset: 1, in: []*tensor.Tensor{x, list[float32](1, -1)}, want: []*tensor.Tensor{tensor.Of([]float32{gelu(1), 0, 0, gelu(1)}, 2, 2)}, tol: closeTo},
		{name: "no bias", op: "com.microsoft.BiasGelu", opset: 1, in: []*tensor.Tensor{x}, err: "found 1 inputs, wanted 2"},
		{name: "length", op: "com.microsoft.BiasGelu", opset: 1, in: []*tensor.Tensor{x, list[float32](1, 2, 3)}, err: "wanted a row of float32[2 2]"},
		{name: "double", op: "com.microsoft.BiasGelu", opset: 1, in: []*tensor.Tensor{list(1.), list(1.)}, err: "operator com.microsoft.BiasGelu is not implemented for float64"},
		{op: "com.microsoft.FastGelu", opset: 1, in: []*tensor.Tensor{list[float32](1)}, want: []*tensor.Tensor{list[float32](0.841192)}, tol: closeTo},
		{op: "com.microsoft.QuickGelu", opset: 1, attrs: one(attrFloat("alpha", 1)), in: []*tensor.Tensor{list[float32](0, 1)}, want: []*tensor.Tensor{list[float32](0, 0.7310586)}, tol: closeTo},
		{op: "com.microsoft.FusedMatMul", opset: 1, attrs: one(attrFloat("alpha", 0.5), attrInt("transA", 1)), in: []*tensor.Tensor{tensor.Of([]float32{1, 2, 3, 4}, 2, 2), tensor.Of([]float32{1, 0, 0, 2}, 2, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{0.5, 3, 1, 4}, 2, 2)}},
		{name: "double", op: "com.microsoft.FusedMatMul", opset: 1, attrs: one(attrInt("transB", 1)), in: []*tensor.Tensor{tensor.Of([]float64{1, 2}, 1, 2), tensor.Of([]float64{1, 0, 0, 2, 3, 3}, 3, 2)}, want: []*tensor.Tensor{tensor.Of([]float64{1, 4, 9}, 1, 3)}},
		{name: "do not multiply", op: "com.microsoft.FusedMatMul", opset: 1, attrs: one(attrInt("transB", 1)), in: []*tensor.Tensor{x, tensor.Of([]float32{1, 2, 3}, 1, 3)}, err: "do not multiply"},
		{name: "batch", op: "com.microsoft.FusedMatMul", opset: 1, attrs: one(attrInt("transBatchA", 1)), in: []*tensor.Tensor{x, x}, err: "not implemented with transBatchA"},
		{op: "com.microsoft.SkipLayerNormalization", opset: 1, attrs: one(attrFloat("epsilon", 0)), in: []*tensor.Tensor{x, tensor.Of([]float32{1, 2, 1, 2}, 2, 2), list[float32](2, 3), list[float32](1, 0), list[float32](1, 0)},
			want: []*tensor.Tensor{tensor.Of([]float32{-1, 3, -1, 3}, 2, 2), tensor.Of([]float32{2.5, 2.5}, 2, 1), tensor.Of([]float32{2, 1. / 1.5}, 2, 1), tensor.Of([]float32{2, 3, 1, 4}, 2, 2)}, tol: closeTo},
		{name: "skip", op: "com.microsoft.SkipLayerNormalization", opset: 1, in: []*tensor.Tensor{x, tensor.New(tensor.Float32, 3, 2, 2), list[float32](2, 3)}, err: "skip is float32[3 2 2]"},
		{name: "gamma", op: "com.microsoft.SkipLayerNormalization", opset: 1, in: []*tensor.Tensor{x, x, list[float32](2)}, err: "gamma is float32[1]"},
	})
}

// TestFusedAgainstONNXRuntime compares them on more than one axis of batches.
func TestFusedAgainstONNXRuntime(t *testing.T) {
	x := random(1, 2, 3, 8)
	row := func(seed uint64) *tensor.Tensor { return random(seed, 8) }
	tests := []opTest{
		{op: "com.microsoft.Gelu", opset: 1, in: []*tensor.Tensor{x}},
		{op: "com.microsoft.BiasGelu", opset: 1, in: []*tensor.Tensor{x, row(2)}},
		{op: "com.microsoft.FastGelu", opset: 1, in: []*tensor.Tensor{x}},
		{name: "bias", op: "com.microsoft.FastGelu", opset: 1, in: []*tensor.Tensor{x, row(3)}},
		{op: "com.microsoft.QuickGelu", opset: 1, in: []*tensor.Tensor{x}},
		{op: "com.microsoft.SkipLayerNormalization", opset: 1, in: []*tensor.Tensor{x, random(4, 2, 3, 8), row(5)}},
		{name: "all", op: "com.microsoft.SkipLayerNormalization", opset: 1, attrs: []*graph.Attr{attrFloat("epsilon", 0.01)}, in: []*tensor.Tensor{x, random(4, 2, 3, 8), row(5), row(6), row(7)}},
		{name: "broadcast", op: "com.microsoft.SkipLayerNormalization", opset: 1, in: []*tensor.Tensor{x, random(4, 1, 3, 8), row(5), row(6)}},
	}
	for _, ta := range []int64{0, 1} {
		for _, tb := range []int64{0, 1} {
			a, b := random(1, 2, 3, 8), random(2, 2, 8, 4)
			if ta == 1 {
				a = random(1, 2, 8, 3)
			}
			if tb == 1 {
				b = random(2, 2, 4, 8)
			}
			tests = append(tests, opTest{name: string(rune('0' + 2*ta + tb)), op: "com.microsoft.FusedMatMul", opset: 1, attrs: []*graph.Attr{attrInt("transA", ta), attrInt("transB", tb), attrFloat("alpha", 0.25)}, in: []*tensor.Tensor{a, b}})
		}
	}
	compareWithORT(t, tests)
}
