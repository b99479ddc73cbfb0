package runtime_test

import (
	"context"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// recurrentModel is a layer whose weights are constants.
func recurrentModel(t *testing.T, opType string, gates, directions, hidden int) *modelBuilder {
	b := newModel(t)
	attrs := []*graph.Attr{intAttr("hidden_size", int64(hidden))}
	if directions == 2 {
		attrs = append(attrs, &graph.Attr{Name: "direction", Type: graph.AttrString, S: []byte("bidirectional")})
	}
	const width = 24
	b.outputs(b.nodes(opType, []string{"y", "last"}, vals(b.input("x", tensor.Float32, "T", "N", width),
		b.floats("w", normal(directions*gates*hidden*width, .1), directions, gates*hidden, width),
		b.floats("r", normal(directions*gates*hidden*hidden, .1), directions, gates*hidden, hidden),
		b.floats("b", normal(directions*gates*hidden*2, .1), directions, gates*hidden*2)), attrs...)...)
	return b
}

// Weights that come from outside are read in every run, also where others are constants.
func TestRecurrentWeightsFromOutside(t *testing.T) {
	const gates, hidden, width = 3, 40, 24
	want := recurrentModel(t, "GRU", gates, 1, hidden)
	b := newModel(t)
	x, w := b.input("x", tensor.Float32, "T", "N", width), b.input("w", tensor.Float32, 1, gates*hidden, width)
	b.outputs(b.node("GRU", "y", vals(x, w, b.floats("r", normal(gates*hidden*hidden, .1), 1, gates*hidden, hidden),
		b.floats("b", normal(gates*hidden*2, .1), 1, gates*hidden*2)), intAttr("hidden_size", hidden)))
	in := noise(6, 5, 2, width)
	expected, err := compile(t, want, runtime.Options{}).Run(context.Background(), []tensor.Value{in})
	if err != nil {
		t.Fatal(err)
	}
	weights := floatsOf(normal(gates*hidden*width, .1), 1, gates*hidden, width)
	p := compile(t, b, runtime.Options{})
	for _, other := range []tensor.Value{noise(7, 1, gates*hidden, width), weights} {
		out, err := p.Run(context.Background(), []tensor.Value{in, other})
		if err != nil {
			t.Fatal(err)
		}
		if got := tensor.Equal(out[0].Tensor, expected[0].Tensor); got != (other.Tensor == weights.Tensor) {
			t.Errorf("the weights of the constant model: %v; its result: %v", other.Tensor == weights.Tensor, got)
		}
	}
}
