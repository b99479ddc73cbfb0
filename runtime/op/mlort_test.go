package op

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

var postTransforms = []string{"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}

// holed is random with some NaN and zeros.
func holed(seed uint64, shape ...int) *tensor.Tensor {
	t := random(seed, shape...)
	r := rand.New(rand.NewPCG(seed, 1))
	for i, v := 0, tensor.Data[float32](t); i < len(v); i++ {
		switch r.IntN(5) {
		case 0:
			v[i] = nan32
		case 1:
			v[i] = 0
		}
	}
	return t
}

// kinds is x as floats, doubles and integers.
func kinds(x *tensor.Tensor) []*tensor.Tensor {
	wide := as(tensor.Float64, x)
	long, short := tensor.New(tensor.Int64, x.Shape()...), tensor.New(tensor.Int32, x.Shape()...)
	for i, v := range tensor.Data[float32](x) {
		if v == v {
			tensor.Data[int64](long)[i], tensor.Data[int32](short)[i] = int64(3*v), int32(3*v)
		}
	}
	return []*tensor.Tensor{x, wide, long, short}
}

// TestPreparationAgainstONNXRuntime compares what prepares data and looks labels up.
func TestPreparationAgainstONNXRuntime(t *testing.T) {
	x := random(1, 5, 3)
	words := tensor.Of([]string{"a", "b", "zzz", "", "b", "c"}, 3, 2)
	numbers := tensor.Of([]int64{1, 2, 7, -1, 2, 3}, 3, 2)
	reals := tensor.Of([]float32{1, 2, nan32, -1, float32(math.Copysign(0, -1)), 3}, 3, 2)
	var tests []opTest
	for i, v := range kinds(x) {
		in := []*tensor.Tensor{v}
		for _, norm := range []string{"MAX", "L1", "L2"} {
			tests = append(tests, opTest{name: norm + v.DType().String(), op: "ai.onnx.ml.Normalizer", opset: 1, attrs: []*graph.Attr{attrString("norm", norm)}, in: in})
		}
		tests = append(tests,
			opTest{name: v.DType().String(), op: "ai.onnx.ml.Scaler", opset: 1, attrs: []*graph.Attr{attrFloats("offset", 1, -2, 0.5), attrFloats("scale", 2, 3, 0.1)}, in: in},
			opTest{name: "one" + v.DType().String(), op: "ai.onnx.ml.Scaler", opset: 1, attrs: []*graph.Attr{attrFloats("offset", 0.3), attrFloats("scale", 2)}, in: in},
			opTest{name: v.DType().String(), op: "ai.onnx.ml.FeatureVectorizer", opset: 1, attrs: []*graph.Attr{attrInts("inputdimensions", 2, 5)}, in: []*tensor.Tensor{v, kinds(random(2, 5, 4))[i]}},
			opTest{name: v.DType().String(), op: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1, in: []*tensor.Tensor{v, tensor.Of([]int64{2, 0, 2, 1}, 2, 2)}})
	}
	// ONNX Runtime has these for some element types only.
	tests = append(tests, opTest{op: "ai.onnx.ml.Binarizer", opset: 1, attrs: []*graph.Attr{attrFloat("threshold", 0.25)}, in: []*tensor.Tensor{x}})
	for _, v := range kinds(x)[:3] {
		tests = append(tests, opTest{name: v.DType().String(), op: "ai.onnx.ml.OneHotEncoder", opset: 1, attrs: []*graph.Attr{attrInts("cats_int64s", 0, 1, -1, 7)}, in: []*tensor.Tensor{v}})
	}
	for _, missing := range []float32{0, nan32} {
		tests = append(tests,
			opTest{name: fmt.Sprint(missing), op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrFloats("imputed_value_floats", 9, 8, 7), attrFloat("replaced_value_float", missing)}, in: []*tensor.Tensor{holed(3, 6, 3)}},
			opTest{name: fmt.Sprint(missing, 1), op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrFloats("imputed_value_floats", 9), attrFloat("replaced_value_float", missing)}, in: []*tensor.Tensor{holed(4, 6, 3)}})
	}
	tests = append(tests,
		opTest{name: "int64", op: "ai.onnx.ml.Imputer", opset: 1, attrs: []*graph.Attr{attrInts("imputed_value_int64s", 9, 8), attrInt("replaced_value_int64", 2)}, in: []*tensor.Tensor{numbers}},
		opTest{name: "one axis", op: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1, in: []*tensor.Tensor{list(1., 2, 3), tensor.Of([]int64{2, 0}, 2, 1)}},
		opTest{name: "strings", op: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1, in: []*tensor.Tensor{words, list[int64](1)}},
		opTest{name: "strings", op: "ai.onnx.ml.OneHotEncoder", opset: 1, attrs: []*graph.Attr{attrStrings("cats_strings", "b", "a", "")}, in: []*tensor.Tensor{words}},
		opTest{name: "words", op: "ai.onnx.ml.CategoryMapper", opset: 1, attrs: []*graph.Attr{attrStrings("cats_strings", "b", "a"), attrInts("cats_int64s", 5, 1), attrInt("default_int64", 77)}, in: []*tensor.Tensor{words}},
		opTest{name: "numbers", op: "ai.onnx.ml.CategoryMapper", opset: 1, attrs: []*graph.Attr{attrStrings("cats_strings", "b", "a"), attrInts("cats_int64s", 2, 1)}, in: []*tensor.Tensor{numbers}},
		opTest{name: "words", op: "ai.onnx.ml.LabelEncoder", opset: 1, attrs: []*graph.Attr{attrStrings("classes_strings", "b", "a"), attrInt("default_int64", 7)}, in: []*tensor.Tensor{words}},
		opTest{name: "numbers", op: "ai.onnx.ml.LabelEncoder", opset: 1, attrs: []*graph.Attr{attrStrings("classes_strings", "b", "a")}, in: []*tensor.Tensor{numbers}})
	for _, opset := range []int64{2, 4} {
		for keys, in := range map[*graph.Attr]*tensor.Tensor{
			attrStrings("keys_strings", "a", "b"): words, attrInts("keys_int64s", 1, 2): numbers, attrFloats("keys_floats", 0, nan32): reals} {
			for _, values := range [][]*graph.Attr{
				{attrStrings("values_strings", "x", "y")}, {attrInts("values_int64s", 10, 11)}, {attrFloats("values_floats", 1.5, 2.5)},
				{attrStrings("values_strings", "x", "y"), attrString("default_string", "none")}, {attrInts("values_int64s", 10, 11), attrInt("default_int64", 5)},
				{attrFloats("values_floats", 1.5, 2.5), attrFloat("default_float", 9)}} {
				tests = append(tests, opTest{name: in.DType().String() + values[0].Name, op: "ai.onnx.ml.LabelEncoder", opset: opset, attrs: append([]*graph.Attr{keys}, values...), in: []*tensor.Tensor{in}})
			}
		}
	}
	short := tensor.Of([]int16{4, 5}, 2)
	tests = append(tests,
		opTest{name: "tensors", op: "ai.onnx.ml.LabelEncoder", opset: 4, in: []*tensor.Tensor{words},
			attrs: []*graph.Attr{attrTensor("keys_tensor", list("b", "a")), attrTensor("values_tensor", short), attrTensor("default_tensor", list[int16](42))}},
		opTest{name: "double", op: "ai.onnx.ml.LabelEncoder", opset: 4, in: []*tensor.Tensor{as(tensor.Float64, reals)},
			attrs: []*graph.Attr{attrTensor("keys_tensor", list(3, math.NaN())), attrTensor("values_tensor", list(0.5, -0.5)), attrTensor("default_tensor", list(4.))}})
	compareWithORT(t, tests)
}

// TestLinearAgainstONNXRuntime compares linear models and support vector machines.
func TestLinearAgainstONNXRuntime(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	floats := func(name string, n int, positive bool) *graph.Attr {
		v := make([]float32, n)
		for i := range v {
			if v[i] = float32(r.NormFloat64()); positive {
				v[i] = float32(math.Abs(float64(v[i])))
			}
		}
		return attrFloats(name, v...)
	}
	labels := func(n int, words bool, ints string) *graph.Attr {
		if words {
			return attrStrings("classlabels_strings", []string{"no", "yes", "perhaps", "maybe"}[:n]...)
		}
		return attrInts(ints, []int64{7, 9, -3, 4}[:n]...)
	}
	var tests []opTest
	for k, post := range postTransforms {
		p := attrString("post_transform", post)
		for _, in := range kinds(random(uint64(k), 9, 4)) {
			for scores := 1; scores <= 4; scores++ {
				if scores > 1 || post != "PROBIT" {
					tests = append(tests, opTest{name: fmt.Sprint(post, scores, in.DType()), op: "ai.onnx.ml.LinearClassifier", opset: 1, outs: 2, in: []*tensor.Tensor{in},
						attrs: []*graph.Attr{p, floats("coefficients", 4*scores, false), floats("intercepts", scores, false), labels(max(2, scores), k%2 == 1, "classlabels_ints")}})
				}
				if in.DType() == tensor.Float32 {
					tests = append(tests, opTest{name: fmt.Sprint(post, scores), op: "ai.onnx.ml.LinearRegressor", opset: 1, in: []*tensor.Tensor{in},
						attrs: []*graph.Attr{p, floats("coefficients", 4*scores, false), floats("intercepts", scores, false), attrInt("targets", int64(scores))}})
				}
			}
		}
		for _, kernel := range []string{"LINEAR", "POLY", "RBF", "SIGMOID"} {
			params := []*graph.Attr{attrString("kernel_type", kernel), attrFloats("kernel_params", 0.3, 0.1, float32(2+k%3))}
			in := random(uint64(k), 9, 4)
			tests = append(tests, opTest{name: fmt.Sprint(post, kernel), op: "ai.onnx.ml.SVMRegressor", opset: 1, in: []*tensor.Tensor{in},
				attrs: append(params, p, floats("support_vectors", 5*4, false), floats("coefficients", 5, false), attrFloats("rho", 0.2), attrInt("n_supports", 5), attrInt("one_class", int64(k%2)))})
			for classes := 2; classes <= 4; classes++ {
				per := []int64{2, 3, 1, 4}[:classes]
				m := 0
				for _, n := range per {
					m += int(n)
				}
				pairs := classes * (classes - 1) / 2
				svm := append(params, p, floats("support_vectors", m*4, false), floats("coefficients", (classes-1)*m, k == 2), floats("rho", pairs, false),
					attrInts("vectors_per_class", per...), labels(classes, k%2 == 1, "classlabels_ints"))
				in := kinds(in)[classes-2]
				if classes > 2 || post != "PROBIT" {
					tests = append(tests, opTest{name: fmt.Sprint(post, kernel, classes), op: "ai.onnx.ml.SVMClassifier", opset: 1, outs: 2, in: []*tensor.Tensor{in}, attrs: svm})
				}
				tests = append(tests, opTest{name: fmt.Sprint(post, kernel, classes, " probabilities"), op: "ai.onnx.ml.SVMClassifier", opset: 1, outs: 2, in: []*tensor.Tensor{in},
					attrs: append(svm[:len(svm):len(svm)], floats("prob_a", pairs, false), floats("prob_b", pairs, false))})
				for _, positive := range []bool{false, true} {
					tests = append(tests, opTest{name: fmt.Sprint(post, kernel, classes, " linear"), op: "ai.onnx.ml.SVMClassifier", opset: 1, outs: 2, in: []*tensor.Tensor{in},
						attrs: append(params, p, floats("coefficients", classes*4, positive), attrFloats("rho", 0.3), labels(classes, k%2 == 1, "classlabels_ints"))})
				}
			}
		}
		tests = append(tests, opTest{name: post + " linear", op: "ai.onnx.ml.SVMRegressor", opset: 1, in: []*tensor.Tensor{random(3, 7, 4)},
			attrs: []*graph.Attr{p, attrFloats("kernel_params", 0, 0, 0), floats("coefficients", 4, false), attrFloats("rho", 0.2)}})
	}
	for i := range tests {
		// PROBIT is the inverse of the normal distribution, steep without bound at probabilities
		// of 0 and 1: there it makes much of the last bit of a score. Scores are compared.
		if strings.HasPrefix(tests[i].name, "PROBIT") {
			tests[i].through = func(v float64) float64 { return 0.5 * math.Erfc(-v/math.Sqrt2) }
		}
	}
	compareWithORT(t, tests)
}
