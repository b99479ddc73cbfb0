package op

import (
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func reduction(r string) []*graph.Attr { return []*graph.Attr{attrString("reduction", r)} }

func TestLosses(t *testing.T) {
	x := tensor.Of([]float32{-1, -2, -3, -4, -5, -6}, 2, 3)
	labels := list[int64](2, 0)
	weights := list[float32](1, 2, 3)
	ignore := append(reduction("mean"), attrInt("ignore_index", 2))
	// The logarithm of the softmax of three numbers that are each one below the last.
	log := -math.Log(1 + math.Exp(-1) + math.Exp(-2))
	runOpTests(t, []opTest{
		{op: "NegativeLogLikelihoodLoss", opset: 13, in: []*tensor.Tensor{x, labels}, want: []*tensor.Tensor{tensor.Scalar[float32](3.5)}},
		{name: "sum", op: "NegativeLogLikelihoodLoss", opset: 12, attrs: reduction("sum"), in: []*tensor.Tensor{x, labels, weights}, want: []*tensor.Tensor{tensor.Scalar[float32](13)}},
		{name: "weighted mean", op: "NegativeLogLikelihoodLoss", opset: 22, in: []*tensor.Tensor{x, labels, weights}, want: []*tensor.Tensor{tensor.Scalar[float32](13. / 4)}},
		{name: "none", op: "NegativeLogLikelihoodLoss", opset: 13, attrs: reduction("none"), in: []*tensor.Tensor{x, list[int32](2, 0), weights}, want: []*tensor.Tensor{list[float32](9, 4)}},
		{name: "ignored", op: "NegativeLogLikelihoodLoss", opset: 13, attrs: ignore, in: []*tensor.Tensor{x, labels}, want: []*tensor.Tensor{tensor.Scalar[float32](4)}},
		{name: "all ignored", op: "NegativeLogLikelihoodLoss", opset: 13, attrs: ignore, in: []*tensor.Tensor{x, list[int64](2, 2)}, want: []*tensor.Tensor{tensor.Scalar(nan32)}, tol: closeTo},
		{name: "axes", op: "NegativeLogLikelihoodLoss", opset: 13, attrs: reduction("none"), in: []*tensor.Tensor{counting(1, 2, 2), tensor.Of([]int64{1, 0}, 1, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{-2, -1}, 1, 2)}},
		{op: "SoftmaxCrossEntropyLoss", opset: 13, attrs: reduction("none"), tol: closeTo, in: []*tensor.Tensor{x, labels},
			want: []*tensor.Tensor{list(float32(2-log), float32(-log)), tensor.Of([]float32{float32(log), float32(log - 1), float32(log - 2), float32(log), float32(log - 1), float32(log - 2)}, 2, 3)}},
		{name: "class", op: "SoftmaxCrossEntropyLoss", opset: 13, in: []*tensor.Tensor{x, list[int64](0, 3)}, err: "label 1 is 3, wanted 0 to 2"},
		{name: "shape", op: "SoftmaxCrossEntropyLoss", opset: 13, in: []*tensor.Tensor{x, list[int64](0, 1, 2)}, err: "labels int64[3] do not fit float32[2 3]"},
		{name: "weights", op: "SoftmaxCrossEntropyLoss", opset: 13, in: []*tensor.Tensor{x, labels, list[float32](1)}, err: "weights float32[1] for float32[2 3]"},
		{name: "reduction", op: "SoftmaxCrossEntropyLoss", opset: 13, attrs: reduction("max"), in: []*tensor.Tensor{x, labels}, err: `reduction is "max"`},
		{name: "outputs", op: "NegativeLogLikelihoodLoss", opset: 13, in: []*tensor.Tensor{x, labels}, want: make([]*tensor.Tensor, 2), err: "found 2 outputs"},
	})
}

func TestLossGradients(t *testing.T) {
	labels, spread := list[int64](2, 0, 1, 2), tensor.Of([]int64{0, 1, 2, 1}, 2, 2)
	var tests []gradTest
	for _, r := range []string{"none", "sum", "mean"} {
		tests = append(tests,
			gradTest{name: r, op: "NegativeLogLikelihoodLoss", opset: 13, attrs: reduction(r), in: []*tensor.Tensor{random(1, 4, 3), labels, positive(random(2, 3))}},
			gradTest{name: r, op: "SoftmaxCrossEntropyLoss", opset: 13, outs: 2, attrs: reduction(r), in: []*tensor.Tensor{random(1, 4, 3), labels, positive(random(2, 3))}},
			gradTest{name: r + " ignored", op: "SoftmaxCrossEntropyLoss", opset: 13, attrs: append(reduction(r), attrInt("ignore_index", 1)), in: []*tensor.Tensor{random(1, 2, 3, 2), spread}})
	}
	runGradTests(t, tests)
}

func TestOptimizers(t *testing.T) {
	const domain = "ai.onnx.preview.training."
	rate, first, later := tensor.Scalar[float32](0.5), tensor.Scalar[int64](0), tensor.Scalar[int64](2)
	one := func(v float32) *tensor.Tensor { return list(v) }
	mode := attrString("mode", "standard")
	runOpTests(t, []opTest{
		{op: domain + "Adagrad", opset: 1, attrs: []*graph.Attr{attrFloat("decay_factor", 0.5)}, in: []*tensor.Tensor{rate, later, one(1), one(3), one(16)},
			want: []*tensor.Tensor{one(1 - 0.25*3./5), one(25)}, tol: closeTo},
		{op: domain + "Adam", opset: 1, attrs: []*graph.Attr{attrFloat("alpha", 0.5), attrFloat("beta", 0.75)}, in: []*tensor.Tensor{rate, later, one(1), one(2), one(0), one(4)},
			want: []*tensor.Tensor{one(float32(1 - 0.5*math.Sqrt(1-0.75*0.75)/(1-0.25)*1/2)), one(1), one(4)}, tol: closeTo},
		{op: domain + "Momentum", opset: 1, attrs: []*graph.Attr{attrFloat("alpha", 0.5), attrFloat("beta", 0.1), mode}, in: []*tensor.Tensor{rate, first, one(1), one(2), one(4)},
			want: []*tensor.Tensor{one(-1), one(4)}, tol: closeTo},
		{name: "damped", op: domain + "Momentum", opset: 1, attrs: []*graph.Attr{attrFloat("alpha", 0.5), attrFloat("beta", 0.5), mode}, in: []*tensor.Tensor{rate, later, one(1), one(2), one(4)},
			want: []*tensor.Tensor{one(-0.5), one(3)}, tol: closeTo},
		{name: "two", op: domain + "Momentum", opset: 1, attrs: []*graph.Attr{attrFloat("alpha", 0.5), mode}, in: []*tensor.Tensor{rate, first, one(1), list[float32](0, 1), one(2), list[float32](3, 4), one(4), list[float32](0, 2)},
			want: []*tensor.Tensor{one(-1), list[float32](-1.5, -1.5), one(4), list[float32](3, 5)}, tol: closeTo},
		{name: "inputs", op: domain + "Adam", opset: 1, in: []*tensor.Tensor{rate, first, one(1), one(2), one(3)}, err: "wanted 2 and 4 for each tensor"},
		{name: "shapes", op: domain + "Adagrad", opset: 1, in: []*tensor.Tensor{rate, first, one(1), list[float32](1, 2), one(3)}, err: "inputs 2 and 3 differ"},
		{name: "mode", op: domain + "Momentum", opset: 1, in: []*tensor.Tensor{rate, first, one(1), one(2), one(3)}, err: "wanted standard or nesterov"},
	})
}

func TestBatchTraining(t *testing.T) {
	train := []*graph.Attr{attrInt("training_mode", 1), attrFloat("momentum", 0.5), attrFloat("epsilon", 0)}
	x := tensor.Of([]float32{1, 10, 3, 30}, 2, 2, 1)
	runOpTests(t, []opTest{
		{op: "BatchNormalization", opset: 15, attrs: train, in: []*tensor.Tensor{x, list[float32](2, 1), list[float32](0, 5), list[float32](4, 0), list[float32](0, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{-2, 4, 2, 6}, 2, 2, 1), list[float32](3, 10), list[float32](0.5, 51)}, tol: closeTo},
		{name: "outputs", op: "BatchNormalization", opset: 15, attrs: train, in: []*tensor.Tensor{x, list[float32](2, 1), list[float32](0, 5), list[float32](4, 0), list[float32](0, 2)},
			want: make([]*tensor.Tensor, 4), err: "wanted at most 3"},
		{name: "opset 6", op: "BatchNormalization", opset: 6, in: []*tensor.Tensor{x, list[float32](2, 1), list[float32](0, 5), list[float32](4, 0), list[float32](0, 2)}, err: "is_test = 0"},
		{name: "opset 6", op: "BatchNormalization", opset: 6, attrs: []*graph.Attr{attrInt("is_test", 1), attrFloat("epsilon", 0)}, in: []*tensor.Tensor{x, list[float32](2, 1), list[float32](0, 5), list[float32](1, 0), list[float32](4, 1)},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 15, 2, 35}, 2, 2, 1)}, tol: closeTo},
	})
}
