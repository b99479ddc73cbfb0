package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// The operators of ai.onnx.ml, which classical learners are exported to, are
// those of its opsets 1 to 5. Where the document leaves something open, they do
// what ONNX Runtime does, which the tests compare them with.

// mlDomain is the domain of the ml*.go files.
const mlDomain = "ai.onnx.ml"

// unsupportedML is the error for what an operator of ai.onnx.ml is not
// implemented for.
func unsupportedML(opType, format string, args ...any) error {
	return &Unsupported{Domain: mlDomain, OpType: opType, Detail: fmt.Sprintf(format, args...)}
}

// rowsOf is the batch and the features of an input of numbers, [N F] or [F],
// which stands for [1 F]. f is Unknown where the rank is not known.
func rowsOf(name string, f graph.Fact) (n, features graph.Dim, err error) {
	switch f.DType {
	case tensor.Undefined, tensor.Float32, tensor.Float64, tensor.Int64, tensor.Int32:
	default:
		return n, features, unsupportedML(name, "for %v", f.DType)
	}
	switch {
	case !f.Ranked:
		return graph.Unknown, graph.Unknown, nil
	case len(f.Shape) == 1:
		return graph.Size(1), f.Shape[0], nil
	case len(f.Shape) == 2:
		return f.Shape[0], f.Shape[1], nil
	}
	return n, features, fmt.Errorf("input is %v, wanted [N F] or [F]", f.Type)
}

// matrixOf is rowsOf of a value.
func matrixOf(t *tensor.Tensor) (n, features int) {
	if t.Rank() == 1 {
		return 1, t.Shape()[0]
	}
	return t.Shape()[0], t.Shape()[1]
}

// floats32 is the elements of a tensor of numbers in float32: its own, or
// converted as C does.
func floats32(t *tensor.Tensor) []float32 {
	switch t.DType() {
	case tensor.Float32:
		return tensor.Data[float32](t)
	case tensor.Float64:
		return converted[float32](tensor.Data[float64](t))
	case tensor.Int64:
		return converted[float32](tensor.Data[int64](t))
	}
	return converted[float32](tensor.Data[int32](t))
}

// floats64 is floats32 in float64.
func floats64(t *tensor.Tensor) []float64 {
	switch t.DType() {
	case tensor.Float64:
		return tensor.Data[float64](t)
	case tensor.Float32:
		return converted[float64](tensor.Data[float32](t))
	case tensor.Int64:
		return converted[float64](tensor.Data[int64](t))
	}
	return converted[float64](tensor.Data[int32](t))
}

func converted[To, From number](v []From) []To {
	out := make([]To, len(v))
	convert(v, out)
	return out
}

// int64s is an attribute of integers; nil where it is absent.
func (a *attrs) int64s(name string) []int64 {
	if at := a.get(name, graph.AttrInts); at != nil {
		return at.Ints
	}
	return nil
}

// oneOf is the index of a string attribute among its values, the first of
// which is the default.
func (a *attrs) oneOf(name string, values ...string) int {
	s := a.string(name, values[0])
	for i, v := range values {
		if s == v {
			return i
		}
	}
	a.fail(fmt.Errorf("attribute %s is %q, wanted one of %q", name, s, values))
	return 0
}

// classLabels is what classes are called: int64 or strings.
type classLabels struct {
	ints  []int64
	words []string
}

// labels reads the two attributes of which one is there.
func (a *attrs) labels(ints, words string) classLabels {
	l := classLabels{a.int64s(ints), a.strings(words)}
	if (len(l.ints) == 0) == (len(l.words) == 0) {
		a.fail(fmt.Errorf("found %d %s and %d %s, wanted one of the two", len(l.ints), ints, len(l.words), words))
	}
	return l
}

func (l *classLabels) len() int { return max(len(l.ints), len(l.words)) }

func (l *classLabels) dtype() tensor.DType {
	if len(l.words) > 0 {
		return tensor.String
	}
	return tensor.Int64
}

// A labelWriter gives out labels, one a row.
type labelWriter struct {
	ints  []int64
	words []string
	of    *classLabels
}

// writer is where labels go; nowhere for an output that is not wanted.
func (l *classLabels) writer(out []tensor.Value) labelWriter {
	w := labelWriter{of: l}
	switch {
	case !present(out, 0):
	case len(l.words) > 0:
		w.words = tensor.Data[string](out[0].Tensor)
	default:
		w.ints = tensor.Data[int64](out[0].Tensor)
	}
	return w
}

// set gives row the label of a class.
func (w *labelWriter) set(row, class int) {
	switch {
	case w.words != nil:
		w.words[row] = w.of.words[class]
	case w.ints != nil:
		w.ints[row] = w.of.ints[class]
	}
}

// classFacts is the facts of a classifier's outputs: labels [N] and scores [N E].
func classFacts(l *classLabels, n graph.Dim, scores int, nOut int) ([]graph.Fact, error) {
	if nOut > 2 {
		return nil, fmt.Errorf("found %d outputs, wanted labels and scores", nOut)
	}
	out := append(tensorFact(l.dtype(), n), tensorFact(tensor.Float32, n, graph.Size(scores))...)
	return out[:nOut], nil
}

// scoresOf is where a classifier writes its scores: its second output, or
// memory of its own.
func scoresOf(out []tensor.Value, n int) []float32 {
	if present(out, 1) {
		return tensor.Data[float32](out[1].Tensor)
	}
	return make([]float32, n)
}

// A transform is what becomes of a row of scores.
type transform uint8

const (
	transformNone transform = iota
	transformSoftmax
	transformLogistic
	transformSoftmaxZero
	transformProbit
)

// transformNames are the values of post_transform, those of TreeEnsemble by
// their number.
var transformNames = []string{"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}

func (a *attrs) transform() transform { return transform(a.oneOf("post_transform", transformNames...)) }

// apply transforms a row of scores. A single score has no other transform than
// PROBIT in ONNX Runtime.
func (t transform) apply(row []float32) {
	if len(row) == 1 && t != transformProbit {
		return
	}
	switch t {
	case transformSoftmax:
		softmaxRow(row, false)
	case transformSoftmaxZero:
		softmaxRow(row, true)
	case transformLogistic:
		for i, x := range row {
			row[i] = logistic(x)
		}
	case transformProbit:
		for i, x := range row {
			row[i] = probit(x)
		}
	}
}

// softmaxRow is Softmax. With zeros, the scores within 1e-7 of 0 are left out
// of the sum and become nothing but that again, scaled like the rest.
func softmaxRow(row []float32, zeros bool) {
	top := row[0]
	for _, x := range row {
		top = max(top, x)
	}
	least := float32(0.0000001)
	sum := 0.0
	for i, x := range row {
		if zeros && x >= -least && x <= least {
			row[i] = x * float32(math.Exp(-float64(top)))
			continue
		}
		row[i] = float32(math.Exp(float64(x - top)))
		sum += float64(row[i])
	}
	for i := range row {
		row[i] = float32(float64(row[i]) / sum)
	}
}

func logistic(x float32) float32 { return float32(sigmoid(float64(x))) }

// probit is √2·erf⁻¹(2x−1), by the approximation of S. Winitzki (2008) with
// a = 0.147 that ONNX Runtime has: some 0.002 off, and more near x = ½, where it
// takes the difference of two like numbers. The steps are rounded as they are there.
func probit(x float32) float32 {
	const a = 0.147
	z := 2*x - 1
	log := float32(math.Log(float64(float32((1 - z) * (1 + z)))))
	v := float32(2/(float32(math.Pi)*float32(a))) + float32(0.5*log)
	w := float32(1/float32(a)) * log
	r := float32(math.Sqrt(float64(float32(v*v)-w))) - v
	r = float32(math.Sqrt(float64(r)))
	if z < 0 {
		r = -r
	}
	return float32(math.Sqrt2) * r
}
