package main

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A meter adds up how well an output meets the targets. The first batch
// decides which output that is and what the targets are.
type meter struct {
	model  *graph.Model
	output string // the output to take; "" until the first batch decides

	begun  bool
	index  int           // of the output
	axis   int           // of the classes
	onehot bool          // targets are rows of one 1
	class  bool          // targets are classes, not numbers
	exact  bool          // the output is classes too
	keys   map[int64]int // of maps: which score is a target's; nil: the one at its place
	form   form
	n      float64 // positions
	right  float64
	loss   float64
}

// form is what the scores of an output are.
type form uint8

const (
	logits form = iota
	probabilities
	logProbabilities
)

// add counts one batch. mask, where it is not nil, is of the targets' shape.
func (k *meter) add(out []tensor.Value, batch *dataset.Batch, mask *tensor.Tensor) error {
	labels := batch.Labels
	if !k.begun {
		if err := k.begin(out, batch, labels); err != nil {
			return err
		}
	}
	scores, err := k.scores(out[k.index], batch)
	if err != nil {
		return err
	}
	y, err := tensor.Float64s(scores)
	if err != nil {
		return err
	}
	target, err := tensor.Float64s(labels)
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	var weight []float64
	if mask != nil {
		if weight, err = tensor.Float64s(mask); err != nil {
			return fmt.Errorf("mask: %w", err)
		}
	}
	switch {
	case k.exact:
		return k.equal(y, target, weight)
	case !k.class:
		return k.squared(y, target, weight)
	}
	if k.keys != nil && !k.onehot {
		for i, v := range target {
			if at, ok := k.keys[int64(v)]; ok && v == math.Trunc(v) {
				target[i] = float64(at)
			} else {
				target[i] = -1
			}
		}
	}
	return k.entropy(y, target, weight, scores.Shape(), batch)
}

// begin decides how the targets are to be read, from the first batch.
func (k *meter) begin(out []tensor.Value, batch *dataset.Batch, labels *tensor.Tensor) error {
	shape := dataset.Squeezed(labels.Shape())
	var found []string
	for i, v := range out {
		name := k.model.Graph.Outputs[i].Name()
		if k.output != "" && k.output != name {
			continue
		}
		_, keys, err := v.Table()
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		if v = unmapped(v); v.Kind != tensor.KindTensor || !v.Tensor.DType().IsFloat() {
			if k.output == "" {
				continue
			}
			return k.beginExact(i, v, batch, labels)
		}
		scores, err := k.scores(v, batch)
		if err != nil {
			return err
		}
		s := scores.Shape()
		found = append(found, fmt.Sprintf("%q %v", name, scores))
		classes := labels.DType().IsInteger() || labels.DType() == tensor.Bool
		axis := dataset.ClassAxis(s, shape)
		switch {
		case classes && axis >= 0:
			k.class, k.axis = true, axis
		case slices.Equal(s, labels.Shape()) && len(s) > 0 && s[len(s)-1] > 1 && dataset.IsOneHot(labels):
			k.class, k.onehot, k.axis = true, true, len(s)-1
		case !classes && slices.Equal(dataset.Squeezed(s), shape):
		default:
			continue
		}
		k.begun, k.index, k.output = true, i, name
		if k.form = formOf(op.Numbers(k.model.Graph.Outputs[i])); k.class && k.form == logits && distributions(scores, k.axis) {
			k.form = probabilities
		}
		if keys != nil && keys.DType() == tensor.Int64 {
			k.keys = map[int64]int{}
			for at, key := range tensor.Data[int64](keys) {
				k.keys[key] = at
			}
		}
		return nil
	}
	if found == nil {
		return errors.New("the model has no floating-point output to measure")
	}
	return fmt.Errorf("the labels are %v: no output fits them (found %v)", labels, found)
}

// beginExact is begin for an output of classes that was asked for.
func (k *meter) beginExact(i int, v tensor.Value, batch *dataset.Batch, labels *tensor.Tensor) error {
	if v.Kind != tensor.KindTensor || !v.Tensor.DType().IsInteger() {
		return fmt.Errorf("output %q is %s: wanted floating-point scores, or classes as integers", k.output, described(v))
	}
	y, err := k.scores(v, batch)
	if err != nil {
		return err
	}
	if !labels.DType().IsInteger() || !slices.Equal(dataset.Squeezed(y.Shape()), dataset.Squeezed(labels.Shape())) {
		return fmt.Errorf("the labels are %v, output %q is %v: wanted as many integers", labels, k.output, y)
	}
	k.begun, k.index, k.class, k.exact, k.loss = true, i, true, true, math.NaN()
	return nil
}

// described is a value's type for an error.
func described(v tensor.Value) string {
	if v.Kind == tensor.KindTensor {
		return v.Tensor.String()
	}
	return "a " + v.Kind.String()
}

// distributions reports whether scores along an axis are probabilities: none
// negative, and their sum 1 to a thousandth.
func distributions(scores *tensor.Tensor, axis int) bool {
	y, err := tensor.Float64s(scores)
	if err != nil || len(y) == 0 {
		return false
	}
	classes, inner := scores.Shape()[axis], 1
	for _, d := range scores.Shape()[axis+1:] {
		inner *= d
	}
	for p := range len(y) / classes {
		at, sum := p/inner*classes*inner+p%inner, 0.0
		for c := range classes {
			if v := y[at+c*inner]; v >= 0 {
				sum += v
			} else {
				return false
			}
		}
		if math.Abs(sum-1) > 1e-3 {
			return false
		}
	}
	return true
}

// equal counts the classes that are the targets.
func (k *meter) equal(y, target, weight []float64) error {
	if len(y) != len(target) || weight != nil && len(weight) != len(y) {
		return fmt.Errorf("%d classes of the output, %d targets and %d of the mask do not agree", len(y), len(target), len(weight))
	}
	for i := range y {
		if weight != nil && weight[i] == 0 {
			continue
		}
		if k.n++; y[i] == target[i] {
			k.right++
		}
	}
	return nil
}

// scores is the rows of an output that count.
func (k *meter) scores(v tensor.Value, batch *dataset.Batch) (*tensor.Tensor, error) {
	v = unmapped(v)
	if v.Kind != tensor.KindTensor {
		return nil, fmt.Errorf("output %q is a %v", k.output, v.Kind)
	}
	return cutRows(v.Tensor, batch)
}

// formOf tells what makes an output.
func formOf(v *graph.Value) form {
	if n := v.Producer(); n != nil {
		switch n.OpType {
		case "Softmax":
			return probabilities
		case "LogSoftmax":
			return logProbabilities
		}
	}
	return logits
}

// squared adds squared errors.
func (k *meter) squared(y, target, weight []float64) error {
	if len(y) != len(target) || weight != nil && len(target)%max(1, len(weight)) != 0 {
		return fmt.Errorf("%d numbers of the output, %d targets and %d of the mask do not agree", len(y), len(target), len(weight))
	}
	for i := range y {
		if weight != nil && weight[i/(len(y)/len(weight))] == 0 {
			continue
		}
		d := y[i] - target[i]
		k.loss += d * d
		k.n++
	}
	return nil
}

// entropy adds −log p of the targets' classes.
func (k *meter) entropy(y, target, weight []float64, shape []int, batch *dataset.Batch) error {
	classes, inner := shape[k.axis], 1
	for _, d := range shape[k.axis+1:] {
		inner *= d
	}
	positions := len(y) / max(1, classes)
	want := positions
	if k.onehot {
		want = len(y)
	}
	if len(target) != want || weight != nil && len(weight) != positions {
		return fmt.Errorf("%d positions of the output, %d targets and %d of the mask do not agree", positions, len(target), len(weight))
	}
	row := make([]float64, classes)
	for p := range positions {
		if weight != nil && weight[p] == 0 {
			continue
		}
		at := p/inner*classes*inner + p%inner
		for c := range row {
			row[c] = y[at+c*inner]
		}
		class := -1
		if k.onehot {
			class = dataset.OneHot(target[p*classes : (p+1)*classes])
		} else if t := target[p]; t == math.Trunc(t) && t >= 0 && t < float64(classes) {
			class = int(t)
		}
		if class < 0 {
			first := batch.First + p/max(1, positions/max(1, batch.Rows))
			return fmt.Errorf("labels: row %d is no class of the %d that output %q has", first, classes, k.output)
		}
		if best := argmax(row); best == class && !math.IsNaN(row[best]) {
			k.right++
		}
		k.loss -= k.logProbability(row, class)
		k.n++
	}
	return nil
}

// logProbability is log p of a class, from the scores of all.
func (k *meter) logProbability(row []float64, class int) float64 {
	switch k.form {
	case probabilities:
		// A probability that rounded to 0 would make the whole loss infinite.
		return math.Log(math.Max(row[class], math.SmallestNonzeroFloat32))
	case logProbabilities:
		return row[class]
	}
	top := row[argmax(row)]
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(x - top)
	}
	return row[class] - top - math.Log(sum)
}

// argmax is the first place of the largest element; 0 where none is larger
// (all NaN).
func argmax(v []float64) int {
	best := 0
	for i, x := range v {
		if x > v[best] || math.IsNaN(v[best]) && !math.IsNaN(x) {
			best = i
		}
	}
	return best
}

// score is the means so far.
func (k *meter) score() *score {
	s := &score{Output: k.output, Loss: number(k.loss / k.n)}
	if k.class {
		s.Accuracy = number(k.right / k.n)
	}
	return s
}
