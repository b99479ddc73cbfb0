package op

import (
	"math"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestMLPreparation(t *testing.T) {
	x := tensor.Of([]float32{1, 2, 3, 5}, 2, 2)
	long := tensor.Of([]int64{1, 2, 3, 5}, 2, 2)
	words := list("b", "x", "a")
	runOpTests(t, []opTest{
		{op: "ai.onnx.ml.Scaler", opset: 1, attrs: []*graph.Attr{attrFloats("offset", 1, 0), attrFloats("scale", 2, 0.5)}, in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 1, 4, 2.5}, 2, 2)}},
		{name: "integers", op: "ai.onnx.ml.Scaler", opset: 1, attrs: []*graph.Attr{attrFloats("offset", 1), attrFloats("scale", 0.5)}, in: []*tensor.Tensor{long},
			want: []*tensor.Tensor{tensor.Of([]float32{0, 0.5, 1, 2}, 2, 2)}},
		{name: "plain", op: "ai.onnx.ml.Scaler", opset: 1, in: []*tensor.Tensor{as(tensor.Float64, x)}, want: []*tensor.Tensor{x}},
		{name: "length", op: "ai.onnx.ml.Scaler", opset: 1, attrs: []*graph.Attr{attrFloats("offset", 1, 2, 3)}, in: []*tensor.Tensor{x}, err: "attribute offset has 3 elements"},
		{name: "strings", op: "ai.onnx.ml.Scaler", opset: 1, in: []*tensor.Tensor{words}, err: "operator ai.onnx.ml.Scaler is not implemented for string"},
		{op: "ai.onnx.ml.Binarizer", opset: 1, attrs: []*graph.Attr{attrFloat("threshold", 2)}, in: []*tensor.Tensor{long}, want: []*tensor.Tensor{tensor.Of([]int64{0, 0, 1, 1}, 2, 2)}},
		{name: "NaN", op: "ai.onnx.ml.Binarizer", opset: 1, in: []*tensor.Tensor{list(nan32, -1, 0.5)}, want: []*tensor.Tensor{list[float32](0, 0, 1)}},
		{op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrFloats("imputed_value_floats", 7, 8), attrFloat("replaced_value_float", nan32)},
			in: []*tensor.Tensor{tensor.Of([]float32{nan32, nan32, 1, nan32}, 2, 2)}, want: []*tensor.Tensor{tensor.Of([]float32{7, 8, 1, 8}, 2, 2)}},
		{name: "double", op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrFloats("imputed_value_floats", 7)}, in: []*tensor.Tensor{list(0., 1)}, want: []*tensor.Tensor{list(7., 1)}},
		{name: "int32", op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrInts("imputed_value_int64s", 7), attrInt("replaced_value_int64", 1)}, in: []*tensor.Tensor{list[int32](0, 1)}, want: []*tensor.Tensor{list[int32](0, 7)}},
		{name: "both", op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrInts("imputed_value_int64s", 7), attrFloats("imputed_value_floats", 1)}, in: []*tensor.Tensor{x}, err: "wanted one of the two"},
		{name: "type", op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrInts("imputed_value_int64s", 7)}, in: []*tensor.Tensor{x}, err: "the imputed values are not of float32"},
		{name: "range", op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrInts("imputed_value_int64s", 1<<40)}, in: []*tensor.Tensor{list[int32](0, 1)}, err: "outside int32"},
		{op: "ai.onnx.ml.Normalizer", opset: 1, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{0.5, 1, 0.6, 1}, 2, 2)}},
		{name: "L1", op: "ai.onnx.ml.Normalizer", opset: 1, attrs: []*graph.Attr{attrString("norm", "L1")}, in: []*tensor.Tensor{list[float32](-1, 3)}, want: []*tensor.Tensor{list[float32](-0.25, 0.75)}},
		{name: "L2", op: "ai.onnx.ml.Normalizer", opset: 1, attrs: []*graph.Attr{attrString("norm", "L2")}, in: []*tensor.Tensor{list[int32](3, -4)}, want: []*tensor.Tensor{list[float32](0.6, -0.8)}},
		{name: "zero", op: "ai.onnx.ml.Normalizer", opset: 1, attrs: []*graph.Attr{attrString("norm", "L2")}, in: []*tensor.Tensor{list(0., 0)}, want: []*tensor.Tensor{list[float32](0, 0)}},
		{name: "norm", op: "ai.onnx.ml.Normalizer", opset: 1, attrs: []*graph.Attr{attrString("norm", "L3")}, in: []*tensor.Tensor{x}, err: `attribute norm is "L3"`},
		{op: "ai.onnx.ml.FeatureVectorizer", opset: 1, attrs: []*graph.Attr{attrInts("inputdimensions", 1, 3)}, in: []*tensor.Tensor{long, long},
			want: []*tensor.Tensor{tensor.Of([]float32{1, 1, 2, 0, 3, 3, 5, 0}, 2, 4)}},
		{name: "as they are", op: "ai.onnx.ml.FeatureVectorizer", opset: 1, in: []*tensor.Tensor{list[float32](1, 2), list[float32](3)}, want: []*tensor.Tensor{tensor.Of([]float32{1, 2, 3}, 1, 3)}},
		{name: "rows", op: "ai.onnx.ml.FeatureVectorizer", opset: 1, in: []*tensor.Tensor{x, tensor.Of([]float32{1, 2, 3}, 3, 1)}, err: "others have 2 rows"},
		{op: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1, in: []*tensor.Tensor{as(tensor.Float64, x), list[int64](1, 1, 0)}, want: []*tensor.Tensor{tensor.Of([]float64{2, 2, 1, 5, 5, 3}, 2, 3)}},
		{name: "one axis", op: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1, in: []*tensor.Tensor{words, tensor.Of([]int64{2, 0}, 2, 1)}, want: []*tensor.Tensor{tensor.Of([]string{"a", "b"}, 1, 2)}},
		{name: "outside", op: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1, in: []*tensor.Tensor{x, list[int64](2)}, err: "index 0 is 2, outside the 2 elements"},
		{name: "none", op: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1, in: []*tensor.Tensor{x, list[int64]()}, want: []*tensor.Tensor{tensor.New(tensor.Float32, 2, 0)}},
	})
}

func TestMLLabels(t *testing.T) {
	words := list("b", "x", "a")
	numbers := list[int64](1, 5, 0)
	one := func(a ...*graph.Attr) []*graph.Attr { return a }
	runOpTests(t, []opTest{
		{op: "ai.onnx.ml.OneHotEncoder", opset: 1, attrs: one(attrStrings("cats_strings", "a", "b")), in: []*tensor.Tensor{words}, want: []*tensor.Tensor{tensor.Of([]float32{0, 1, 0, 0, 1, 0}, 3, 2)}},
		{name: "floats", op: "ai.onnx.ml.OneHotEncoder", opset: 1, attrs: one(attrInts("cats_int64s", 0, 2)), in: []*tensor.Tensor{list(2.9, -0.5, math.Inf(1))}, want: []*tensor.Tensor{tensor.Of([]float32{0, 1, 1, 0, 0, 0}, 3, 2)}},
		{name: "unknown", op: "ai.onnx.ml.OneHotEncoder", opset: 1, attrs: one(attrInts("cats_int64s", 0, 1), attrInt("zeros", 0)), in: []*tensor.Tensor{numbers}, err: "element 1 is 5, which is no category"},
		{name: "none", op: "ai.onnx.ml.OneHotEncoder", opset: 1, in: []*tensor.Tensor{numbers}, err: "found 0 cats_int64s and 0 cats_strings"},
		{name: "type", op: "ai.onnx.ml.OneHotEncoder", opset: 1, attrs: one(attrInts("cats_int64s", 0)), in: []*tensor.Tensor{words}, err: "the categories are not of string"},
		{op: "ai.onnx.ml.CategoryMapper", opset: 1, attrs: one(attrStrings("cats_strings", "a", "b"), attrInts("cats_int64s", 1, 5)), in: []*tensor.Tensor{words}, want: []*tensor.Tensor{list[int64](5, -1, 1)}},
		{name: "back", op: "ai.onnx.ml.CategoryMapper", opset: 1, attrs: one(attrStrings("cats_strings", "a", "b"), attrInts("cats_int64s", 1, 5), attrString("default_string", "?")), in: []*tensor.Tensor{numbers}, want: []*tensor.Tensor{list("a", "b", "?")}},
		{name: "lengths", op: "ai.onnx.ml.CategoryMapper", opset: 1, attrs: one(attrStrings("cats_strings", "a", "b"), attrInts("cats_int64s", 1)), in: []*tensor.Tensor{words}, err: "found 2 cats_strings and 1 cats_int64s"},
		{op: "ai.onnx.ml.LabelEncoder", opset: 1, attrs: one(attrStrings("classes_strings", "a", "b")), in: []*tensor.Tensor{words}, want: []*tensor.Tensor{list[int64](1, -1, 0)}},
		{name: "numbers", op: "ai.onnx.ml.LabelEncoder", opset: 1, attrs: one(attrStrings("classes_strings", "a", "b")), in: []*tensor.Tensor{numbers}, want: []*tensor.Tensor{list("b", "_Unused", "a")}},
		{name: "floats", op: "ai.onnx.ml.LabelEncoder", opset: 1, attrs: one(attrStrings("classes_strings", "a")), in: []*tensor.Tensor{list[float32](1)}, err: "input is float32[1], wanted keys of string"},
		{name: "2", op: "ai.onnx.ml.LabelEncoder", opset: 2, attrs: one(attrInts("keys_int64s", 0, 1), attrFloats("values_floats", 0.5, 1.5)), in: []*tensor.Tensor{numbers}, want: []*tensor.Tensor{list(1.5, float32(math.Copysign(0, -1)), 0.5)}},
		{name: "first", op: "ai.onnx.ml.LabelEncoder", opset: 2, attrs: one(attrInts("keys_int64s", 0, 1, 1), attrInts("values_int64s", 7, 8, 9)), in: []*tensor.Tensor{numbers}, want: []*tensor.Tensor{list[int64](8, -1, 7)}},
		{name: "last", op: "ai.onnx.ml.LabelEncoder", opset: 4, attrs: one(attrInts("keys_int64s", 0, 1, 1), attrInts("values_int64s", 7, 8, 9)), in: []*tensor.Tensor{numbers}, want: []*tensor.Tensor{list[int64](9, -1, 7)}},
		{name: "NaN", op: "ai.onnx.ml.LabelEncoder", opset: 4, attrs: one(attrFloats("keys_floats", nan32), attrStrings("values_strings", "n")), in: []*tensor.Tensor{list(nan32, 1)}, want: []*tensor.Tensor{list("n", "_Unused")}},
		{name: "tensors", op: "ai.onnx.ml.LabelEncoder", opset: 4, attrs: one(attrTensor("keys_tensor", list("a", "b")), attrTensor("values_tensor", list[int16](3, 4))), in: []*tensor.Tensor{words}, want: []*tensor.Tensor{list[int16](4, -1, 3)}},
		{name: "default", op: "ai.onnx.ml.LabelEncoder", opset: 4, attrs: one(attrTensor("keys_tensor", list[int32](1)), attrTensor("values_tensor", list[int32](3)), attrTensor("default_tensor", list[int32](8))), in: []*tensor.Tensor{list[int32](2, 1)}, want: []*tensor.Tensor{list[int32](8, 3)}},
		{name: "default type", op: "ai.onnx.ml.LabelEncoder", opset: 4, attrs: one(attrTensor("keys_tensor", list[int32](1)), attrTensor("values_tensor", list[int32](3)), attrTensor("default_tensor", list[int64](8))), in: []*tensor.Tensor{list[int32](2)}, err: "attribute default_tensor is int64[1], wanted one int32"},
		{name: "tensors too early", op: "ai.onnx.ml.LabelEncoder", opset: 3, attrs: one(attrTensor("keys_tensor", list[int32](1)), attrTensor("values_tensor", list[int32](3))), in: []*tensor.Tensor{list[int32](2)}, err: "keys_* or values_* are missing"},
		{name: "lengths", op: "ai.onnx.ml.LabelEncoder", opset: 2, attrs: one(attrInts("keys_int64s", 0), attrFloats("values_floats", 0.5, 1.5)), in: []*tensor.Tensor{numbers}, err: "found 1 keys and 2 values"},
		{name: "twice", op: "ai.onnx.ml.LabelEncoder", opset: 2, attrs: one(attrInts("keys_int64s", 0), attrStrings("keys_strings", "a"), attrFloats("values_floats", 0.5)), in: []*tensor.Tensor{numbers}, err: "found 2 of the attributes keys_*"},
		{name: "bool", op: "ai.onnx.ml.LabelEncoder", opset: 4, attrs: one(attrTensor("keys_tensor", list(true)), attrTensor("values_tensor", list[int32](3))), in: []*tensor.Tensor{list(true)}, err: "not implemented with keys of bool"},
	})
}

func TestMLLinear(t *testing.T) {
	x := tensor.Of([]float32{1, 2, -1, 0}, 2, 2)
	one := func(a ...*graph.Attr) []*graph.Attr { return a }
	runOpTests(t, []opTest{
		{op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2, 3, -1), attrFloats("intercepts", 0.5, 1), attrInt("targets", 2)), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{tensor.Of([]float32{5.5, 2, -0.5, -2}, 2, 2)}},
		{name: "one row", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2)), in: []*tensor.Tensor{list[int64](3, 4)}, want: []*tensor.Tensor{tensor.Of([]float32{11}, 1, 1)}},
		{name: "one score", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2), attrString("post_transform", "LOGISTIC")), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{5, -1}, 2, 1)}},
		{name: "logistic", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 0, 0, 0), attrInt("targets", 2), attrString("post_transform", "LOGISTIC")), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{tensor.Of([]float32{0.7310586, 0.5, 0.26894143, 0.5}, 2, 2)}, tol: closeTo},
		{name: "features", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2, 3)), in: []*tensor.Tensor{x}, err: "wanted 3 features"},
		{name: "targets", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2, 3), attrInt("targets", 2)), in: []*tensor.Tensor{x}, err: "found 3 coefficients for 2 targets"},
		{name: "huge", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2), attrInt("targets", math.MaxInt64)), in: []*tensor.Tensor{x}, err: "found 2 coefficients"},
		{name: "intercepts", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2), attrFloats("intercepts", 1, 2)), in: []*tensor.Tensor{x}, err: "found 2 intercepts for 1 targets"},
		{name: "transform", op: "ai.onnx.ml.LinearRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, 2), attrString("post_transform", "SQUARE")), in: []*tensor.Tensor{x}, err: `attribute post_transform is "SQUARE"`},
		{op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrFloats("coefficients", 1, 0, 0, 1, 0, 0), attrFloats("intercepts", 0, 0, 0.5), attrStrings("classlabels_strings", "a", "b", "c")), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{list("b", "c"), tensor.Of([]float32{1, 2, 0.5, -1, 0, 0.5}, 2, 3)}},
		{name: "softmax", op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrFloats("coefficients", 0, 0, 0, 0), attrInts("classlabels_ints", 4, 2), attrString("post_transform", "SOFTMAX"), attrInt("multi_class", 1)), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{list[int64](4, 4), tensor.Of([]float32{0.5, 0.5, 0.5, 0.5}, 2, 2)}},
		{name: "one score", op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrFloats("coefficients", 0.5, 0), attrFloats("intercepts", 0.25), attrInts("classlabels_ints", 4, 2)), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{list[int64](2, 4), tensor.Of([]float32{0.25, 0.75, 1.25, -0.25}, 2, 2)}},
		{name: "one logistic", op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrFloats("coefficients", 1, 0), attrFloats("intercepts", 0), attrInts("classlabels_ints", 4, 2), attrString("post_transform", "LOGISTIC")), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{list[int64](2, 4), tensor.Of([]float32{0.26894143, 0.7310586, 0.7310586, 0.26894143}, 2, 2)}, tol: closeTo},
		{name: "one probit", op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrFloats("coefficients", 1, 0), attrFloats("intercepts", 0), attrInts("classlabels_ints", 4, 2), attrString("post_transform", "PROBIT")), in: []*tensor.Tensor{x}, err: "not implemented with PROBIT"},
		{name: "labels", op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrFloats("coefficients", 1, 0, 2, 2), attrFloats("intercepts", 0, 1), attrInts("classlabels_ints", 4, 2, 3)), in: []*tensor.Tensor{x}, err: "found 3 labels for 2 scores"},
		{name: "both labels", op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrFloats("coefficients", 1, 0), attrFloats("intercepts", 0), attrInts("classlabels_ints", 4, 2), attrStrings("classlabels_strings", "a", "b")), in: []*tensor.Tensor{x}, err: "wanted one of the two"},
		{name: "no coefficients", op: "ai.onnx.ml.LinearClassifier", opset: 1, attrs: one(attrInts("classlabels_ints", 4, 2)), in: []*tensor.Tensor{x}, err: "attribute coefficients is missing"},
	})
}

func TestMLVectorMachines(t *testing.T) {
	x := tensor.Of([]float32{1, 0, 0, 2}, 2, 2)
	one := func(a ...*graph.Attr) []*graph.Attr { return a }
	// Two vectors (1,0) and (0,1), one of each class: K = x₁ and x₂, score x₁ − x₂ + ½.
	svc := func(more ...*graph.Attr) []*graph.Attr {
		return append(more, attrFloats("support_vectors", 1, 0, 0, 1), attrFloats("coefficients", 1, -1), attrFloats("rho", 0.5), attrInts("vectors_per_class", 1, 1), attrInts("classlabels_ints", 8, 9))
	}
	e := float32(math.Exp(-0.5))
	runOpTests(t, []opTest{
		{op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrFloats("support_vectors", 1, 0, 0, 1), attrFloats("coefficients", 2, 3), attrFloats("rho", 0.5), attrInt("n_supports", 2)), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{2.5, 6.5}, 2, 1)}},
		{name: "radial", op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrString("kernel_type", "RBF"), attrFloats("kernel_params", 0.5, 0, 0), attrFloats("support_vectors", 1, 1), attrFloats("coefficients", 2), attrFloats("rho", 0), attrInt("n_supports", 1)), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{tensor.Of([]float32{2 * e, 2 * e * e}, 2, 1)}, tol: closeTo},
		{name: "power", op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrString("kernel_type", "POLY"), attrFloats("kernel_params", 2, 1, 3), attrFloats("support_vectors", 1, 1), attrFloats("coefficients", 1), attrFloats("rho", 0), attrInt("n_supports", 1)), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{27, 125}, 2, 1)}},
		{name: "tangent", op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrString("kernel_type", "SIGMOID"), attrFloats("kernel_params", 0.5, 0, 0), attrFloats("support_vectors", 1, 1), attrFloats("coefficients", 1), attrFloats("rho", 0), attrInt("n_supports", 1)), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{tensor.Of([]float32{float32(math.Tanh(0.5)), float32(math.Tanh(1))}, 2, 1)}, tol: closeTo},
		{name: "linear", op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, -1), attrFloats("rho", 0.5), attrInt("one_class", 1)), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{1, -1}, 2, 1)}},
		{name: "rho", op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, -1)), in: []*tensor.Tensor{x}, err: "attribute rho is empty"},
		{name: "vectors", op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, -1), attrFloats("rho", 0), attrFloats("support_vectors", 1, 2, 3), attrInt("n_supports", 2)), in: []*tensor.Tensor{x}, err: "found 3 support_vectors and 2 coefficients for n_supports 2"},
		{name: "params", op: "ai.onnx.ml.SVMRegressor", opset: 1, attrs: one(attrFloats("coefficients", 1, -1), attrFloats("rho", 0), attrFloats("kernel_params", 1)), in: []*tensor.Tensor{x}, err: "found 1 kernel_params"},
		{op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: svc(), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{list[int64](8, 9), tensor.Of([]float32{-1.5, 1.5, 1.5, -1.5}, 2, 2)}},
		{name: "even chances", op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: svc(attrFloats("prob_a", 0), attrFloats("prob_b", 0)), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{list[int64](8, 9), tensor.Of([]float32{0.5, 0.5, 0.5, 0.5}, 2, 2)}},
		{name: "linear", op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: one(attrFloats("coefficients", 1, 0, 0, 1, -1, 0), attrFloats("rho", 0.5), attrStrings("classlabels_strings", "a", "b", "c")), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{list("a", "b"), tensor.Of([]float32{1.5, 0.5, -0.5, 0.5, 2.5, 0.5}, 2, 3)}},
		{name: "features", op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: svc(), in: []*tensor.Tensor{list[float32](1, 2, 3)}, err: "wanted 2 features"},
		{name: "per class", op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: one(attrFloats("support_vectors", 1, 0), attrInts("vectors_per_class", math.MaxInt64, 1), attrInts("classlabels_ints", 1, 2)), in: []*tensor.Tensor{x}, err: "do not fit 2 support_vectors"},
		{name: "classes", op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: one(attrFloats("support_vectors", 1, 0), attrInts("vectors_per_class", 1), attrInts("classlabels_ints", 1, 2)), in: []*tensor.Tensor{x}, err: "vectors_per_class [1] and 2 labels"},
		{name: "coefficients", op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: one(attrFloats("support_vectors", 1, 0, 1, 1), attrInts("vectors_per_class", 1, 1), attrInts("classlabels_ints", 1, 2), attrFloats("coefficients", 1), attrFloats("rho", 0)), in: []*tensor.Tensor{x}, err: "wanted 2 and 1"},
		{name: "chances", op: "ai.onnx.ml.SVMClassifier", opset: 1, attrs: svc(attrFloats("prob_a", 1)), in: []*tensor.Tensor{x}, err: "found 1 of prob_a and 0 of prob_b"},
	})
}

// mapOf is a map of int64 keys.
func mapOf(values *tensor.Tensor, keys ...int64) tensor.Value {
	return tensor.Value{Kind: tensor.KindMap, Keys: list(keys...), Tensor: values}
}

func TestMLMaps(t *testing.T) {
	one := func(a ...*graph.Attr) []*graph.Attr { return a }
	x := tensor.ValueOf(tensor.Of([]float32{1, 2, 3, 4}, 2, 2))
	numbers := mapOf(list[float32](1.5, 2.5), 1, 3)
	text := mapOf(list("7", "8"), 0, 2)
	for _, c := range []struct {
		name string
		test opTest
		in   tensor.Value
		keys *tensor.Tensor
		want []*tensor.Tensor // of an output, or of the maps in a sequence
		err  string
	}{
		{"ZipMap", opTest{op: "ai.onnx.ml.ZipMap", attrs: one(attrInts("classlabels_int64s", 5, -3))}, x, list[int64](-3, 5), []*tensor.Tensor{list[float32](2, 1), list[float32](4, 3)}, ""},
		{"strings", opTest{op: "ai.onnx.ml.ZipMap", attrs: one(attrStrings("classlabels_strings", "a", "b"))}, x, list("a", "b"), []*tensor.Tensor{list[float32](1, 2), list[float32](3, 4)}, ""},
		{"twice", opTest{op: "ai.onnx.ml.ZipMap", attrs: one(attrStrings("classlabels_strings", "a", "a"))}, x, list("a"), []*tensor.Tensor{list[float32](2), list[float32](4)}, ""},
		{"one row", opTest{op: "ai.onnx.ml.ZipMap", attrs: one(attrInts("classlabels_int64s", 0, 1))}, tensor.ValueOf(list[float32](1, 2)), list[int64](0, 1), []*tensor.Tensor{list[float32](1, 2)}, ""},
		{"columns", opTest{op: "ai.onnx.ml.ZipMap", attrs: one(attrInts("classlabels_int64s", 0, 1, 2))}, x, nil, nil, "input is float32[2 2], wanted [N 3] for 3 labels"},
		{"no labels", opTest{op: "ai.onnx.ml.ZipMap"}, x, nil, nil, "wanted one of the two"},
		{"dense", opTest{op: "ai.onnx.ml.CastMap"}, numbers, nil, []*tensor.Tensor{tensor.Of([]float32{1.5, 2.5}, 1, 2)}, ""},
		{"sparse", opTest{op: "ai.onnx.ml.CastMap", attrs: one(attrString("map_form", "SPARSE"), attrInt("max_map", 5), attrString("cast_to", "TO_INT64"))}, numbers, nil, []*tensor.Tensor{tensor.Of([]int64{0, 1, 0, 2, 0}, 1, 5)}, ""},
		{"to text", opTest{op: "ai.onnx.ml.CastMap", attrs: one(attrString("map_form", "SPARSE"), attrInt("max_map", 4), attrString("cast_to", "TO_STRING"))}, numbers, nil, []*tensor.Tensor{tensor.Of([]string{"0.f", "1.500000", "0.f", "2.500000"}, 1, 4)}, ""},
		{"of text", opTest{op: "ai.onnx.ml.CastMap"}, text, nil, []*tensor.Tensor{tensor.Of([]float32{7, 8}, 1, 2)}, ""},
		{"integers of text", opTest{op: "ai.onnx.ml.CastMap", attrs: one(attrString("cast_to", "TO_INT64"))}, text, nil, []*tensor.Tensor{tensor.Of([]int64{7, 8}, 1, 2)}, ""},
		{"no number", opTest{op: "ai.onnx.ml.CastMap"}, mapOf(list("x"), 4), nil, nil, "key 4: strconv.ParseFloat"},
		{"too large a key", opTest{op: "ai.onnx.ml.CastMap", attrs: one(attrString("map_form", "SPARSE"), attrInt("max_map", 3))}, numbers, nil, nil, "key 3 is outside the 3 of max_map"},
		{"no map", opTest{op: "ai.onnx.ml.CastMap"}, x, nil, nil, "input 0 is float32[2 2], wanted a map"},
		{"DictVectorizer", opTest{op: "ai.onnx.ml.DictVectorizer", attrs: one(attrInts("int64_vocabulary", 3, 9, 1))}, numbers, nil, []*tensor.Tensor{tensor.Of([]float32{2.5, 0, 1.5}, 1, 3)}, ""},
		{"words", opTest{op: "ai.onnx.ml.DictVectorizer", attrs: one(attrStrings("string_vocabulary", "a", "c", "b", "z"))},
			tensor.Value{Kind: tensor.KindMap, Keys: list("a", "c"), Tensor: list[int64](4, 8)}, nil, []*tensor.Tensor{tensor.Of([]int64{4, 8, 0, 0}, 1, 4)}, ""},
		{"text", opTest{op: "ai.onnx.ml.DictVectorizer", attrs: one(attrInts("int64_vocabulary", 2, 3))}, text, nil, []*tensor.Tensor{tensor.Of([]string{"8", ""}, 1, 2)}, ""},
		{"wrong keys", opTest{op: "ai.onnx.ml.DictVectorizer", attrs: one(attrStrings("string_vocabulary", "a"))}, numbers, nil, nil, "wanted keys of string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test.opset, c.test.in = 1, []*tensor.Tensor{list[int64](0)}
			o, err := parseOp(c.test, 1)
			var got []tensor.Value
			if err == nil {
				got, err = Eval(&Ctx{}, o, []tensor.Value{c.in}, 1)
			}
			if c.err != "" || err != nil {
				if err == nil || c.err == "" || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error is %v, wanted one with %q", err, c.err)
				}
				return
			}
			elems := got
			if c.keys != nil {
				elems = got[0].Elems
			}
			if len(elems) != len(c.want) {
				t.Fatalf("found %d values, wanted %d", len(elems), len(c.want))
			}
			for i, v := range elems {
				if err := sameTensor(v.Tensor, c.want[i], exact); err != nil {
					t.Errorf("value %d: %v", i, err)
				}
				if c.keys != nil && !tensor.Equal(v.Keys, c.keys) {
					t.Errorf("keys %v, wanted %v", elements(v.Keys), elements(c.keys))
				}
			}
			if c.in.Kind == tensor.KindTensor {
				checkInference(t, o, []tensor.Value{c.in}, got)
			}
		})
	}
}

// TestProbit checks the approximation against the function: Φ⁻¹(Φ(z)) = z.
func TestProbit(t *testing.T) {
	for z := -2.5; z <= 2.5; z += 0.25 {
		p := 0.5 * math.Erfc(-z/math.Sqrt2)
		if got := float64(probit(float32(p))); math.Abs(got-z) > 0.004 {
			t.Errorf("probit of %v is %v, wanted %v", p, got, z)
		}
	}
}
