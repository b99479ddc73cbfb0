package main

import (
	"math"
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// scored is a model with one output, made by an operator.
func scored(t *testing.T, opType string) *graph.Model {
	t.Helper()
	g := graph.New("g", nil)
	v, err := g.NewValue("y", graph.Type{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := g.NewNode("", opType, "", nil, []*graph.Value{v})
	if err != nil {
		t.Fatal(err)
	}
	g.Append(n)
	g.AddOutput(v)
	return &graph.Model{Graph: g}
}

func TestMeter(t *testing.T) {
	// Two rows of three scores. log(e^1+e^2+e^3) = 3.4076059644.
	scores := tensor.Of([]float32{1, 2, 3, 3, 2, 1}, 2, 3)
	shares := tensor.Of([]float32{0.2, 0.3, 0.5, 0.25, 0.25, 0.5}, 2, 3)
	const lse = 3.40760596444438
	for name, c := range map[string]struct {
		op             string
		y, labels      *tensor.Tensor
		mask           *tensor.Tensor
		accuracy, loss float64 // accuracy < 0: none
		fails          string
	}{
		"classes":          {"Gemm", scores, tensor.Of([]int64{2, 2}, 2), nil, 0.5, lse - 2, ""},
		"classes [N 1]":    {"Gemm", scores, tensor.Of([]int32{2, 0}, 2, 1), nil, 1, lse - 3, ""},
		"bytes":            {"Gemm", scores, tensor.Of([]uint8{1, 1}, 2), nil, 0, lse - 2, ""},
		"one-hot":          {"Gemm", scores, tensor.Of([]float32{0, 0, 1, 0, 0, 1}, 2, 3), nil, 0.5, lse - 2, ""},
		"one-hot integers": {"Gemm", scores, tensor.Of([]int64{0, 0, 1, 0, 0, 1}, 2, 3), nil, 0.5, lse - 2, ""},
		"softmax":          {"Softmax", shares, tensor.Of([]int64{2, 1}, 2), nil, 0.5, -(math.Log(0.5) + math.Log(0.25)) / 2, ""},
		"log-softmax":      {"LogSoftmax", scores, tensor.Of([]int64{0, 0}, 2), nil, 0.5, -2, ""},
		"mask":             {"Gemm", scores, tensor.Of([]int64{2, 2}, 2), tensor.Of([]int64{0, 1}, 2), 0, lse - 1, ""},
		"numbers":          {"Gemm", scores, tensor.Of([]float32{1, 2, 3, 3, 2, 7}, 2, 3), nil, -1, 6, ""},
		"numbers, masked":  {"Gemm", scores, tensor.Of([]float32{1, 2, 5, 3, 2, 7}, 2, 3), tensor.Of([]float32{1, 0}, 2), -1, 4.0 / 3, ""},
		"[N C L], classes": {"Gemm", tensor.Of([]float32{1, 4, 0, 9, 5, 0}, 1, 2, 3), tensor.Of([]int64{1, 0, 0}, 1, 3), nil, 2.0 / 3, 0.66892, ""},
		"class beyond":     {"Gemm", scores, tensor.Of([]int64{2, 3}, 2), nil, 0, 0, "row 11 is no class of the 3"},
		"negative class":   {"Gemm", scores, tensor.Of([]int64{-1, 0}, 2), nil, 0, 0, "row 10 is no class of the 3"},
		"other shape":      {"Gemm", scores, tensor.Of([]int64{1, 1, 1, 1}, 2, 2), nil, 0, 0, "no output fits"},
		"numbers per row":  {"Gemm", scores, tensor.Of([]float32{1, 1}, 2), nil, 0, 0, "no output fits"},
		"mask elsewhere":   {"Gemm", scores, tensor.Of([]int64{2, 2}, 2), tensor.Of([]int64{0, 1, 1}, 3), 0, 0, "3 of the mask"},
		"NaN is never right": {"Gemm", tensor.Of([]float32{float32(math.NaN()), float32(math.NaN())}, 1, 2),
			tensor.Of([]int64{0}, 1), nil, 0, math.NaN(), ""},
	} {
		k := &meter{model: scored(t, c.op)}
		rows := c.labels.Shape()[0]
		batch := &dataset.Batch{Labels: c.labels, First: 10, Rows: rows, Padded: rows}
		err := k.add([]tensor.Value{tensor.ValueOf(c.y)}, batch, c.mask)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v, wanted %q", name, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := k.score()
		if (s.Accuracy == nil) != (c.accuracy < 0) || s.Accuracy != nil && *s.Accuracy != c.accuracy {
			t.Errorf("%s: accuracy %s, wanted %g", name, shortOr(s.Accuracy), c.accuracy)
		}
		if (s.Loss == nil) != math.IsNaN(c.loss) || s.Loss != nil && math.Abs(*s.Loss-c.loss) > 1e-4 {
			t.Errorf("%s: loss %s, wanted %g", name, shortOr(s.Loss), c.loss)
		}
	}
}

// Rows that pad a fixed batch do not count.
func TestMeterPadding(t *testing.T) {
	k := &meter{model: scored(t, "Gemm")}
	y := tensor.ValueOf(tensor.Of([]float32{0, 1, 9, 0, 9, 0}, 3, 2))
	batch := &dataset.Batch{Labels: tensor.Of([]int64{1}, 1), Rows: 1, Padded: 3}
	if err := k.add([]tensor.Value{y}, batch, nil); err != nil {
		t.Fatal(err)
	}
	if s := k.score(); *s.Accuracy != 1 || k.n != 1 {
		t.Errorf("accuracy %g over %g rows", *s.Accuracy, k.n)
	}
}

// What a classifier of scikit-learn gives out: labels, and maps of probabilities by
// class, which need not count from 0.
func TestMeterClassifier(t *testing.T) {
	keys := tensor.Of([]int64{3, 8}, 2)
	row := func(v ...float32) tensor.Value {
		return tensor.Value{Kind: tensor.KindMap, Keys: keys, Tensor: tensor.Of(v, 2)}
	}
	maps := tensor.Value{Kind: tensor.KindSequence, Elems: []tensor.Value{row(0.25, 0.75), row(0.5, 0.5), row(1, 0)}}
	labels := tensor.ValueOf(tensor.Of([]int64{8, 3, 3}, 3))
	g := graph.New("g", nil)
	for _, name := range []string{"label", "maps"} {
		v, err := g.NewValue(name, graph.Type{})
		if err != nil {
			t.Fatal(err)
		}
		g.AddOutput(v)
	}
	batch := &dataset.Batch{Labels: tensor.Of([]int64{8, 8, 3}, 3), Rows: 3, Padded: 3}
	third := 2.0 / 3
	for _, c := range []struct {
		output   string
		accuracy *float64
		loss     *float64
		err      string
	}{
		{"", &third, number(-(math.Log(0.75) + math.Log(0.5)) / 3), ""},
		{"label", &third, nil, ""},
	} {
		k := &meter{model: &graph.Model{Graph: g}, output: c.output}
		if err := k.add([]tensor.Value{labels, maps}, batch, nil); err != nil {
			t.Errorf("output %q: %v", c.output, err)
			continue
		}
		s := k.score()
		if *s.Accuracy != *c.accuracy || (s.Loss == nil) != (c.loss == nil) || s.Loss != nil && math.Abs(*s.Loss-*c.loss) > 1e-6 {
			t.Errorf("output %q: accuracy %s and loss %s, wanted %g and %s", c.output, shortOr(s.Accuracy), shortOr(s.Loss), *c.accuracy, shortOr(c.loss))
		}
	}
	k := &meter{model: &graph.Model{Graph: g}}
	batch.Labels = tensor.Of([]int64{8, 8, 0}, 3)
	if err := k.add([]tensor.Value{labels, maps}, batch, nil); err == nil || !strings.Contains(err.Error(), "row 2 is no class of the 2") {
		t.Errorf("a label that is no key: error is %v", err)
	}
	k = &meter{model: &graph.Model{Graph: g}, output: "label"}
	if err := k.add([]tensor.Value{tensor.ValueOf(tensor.Of([]string{"a", "b", "c"}, 3)), maps}, batch, nil); err == nil || !strings.Contains(err.Error(), "wanted floating-point scores") {
		t.Errorf("words: error is %v", err)
	}
}

func TestDistributions(t *testing.T) {
	for _, c := range []struct {
		v    *tensor.Tensor
		axis int
		want bool
	}{
		{tensor.Of([]float32{0.25, 0.75, 1, 0}, 2, 2), 1, true},
		{tensor.Of([]float32{0.25, 1, 0.75, 0}, 1, 2, 2), 1, true},
		{tensor.Of([]float32{0.25, 0.5}, 1, 2), 1, false},
		{tensor.Of([]float32{-0.25, 1.25}, 1, 2), 1, false},
		{tensor.Of([]float32{float32(math.NaN()), 1}, 1, 2), 1, false},
		{tensor.New(tensor.Float32, 0, 2), 1, false},
	} {
		if got := distributions(c.v, c.axis); got != c.want {
			t.Errorf("%v %v: found %v", c.v, tensor.Data[float32](c.v), got)
		}
	}
}
