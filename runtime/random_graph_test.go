package runtime_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// drawGraph makes a graph of n nodes over values of 12 elements: arithmetic,
// views, movement, and reshapes whose shape the run finds out.
func drawGraph(b *modelBuilder, rng *rand.Rand, n int) {
	x := b.input("x", tensor.Float32, 3, 4)
	late := b.input("late", tensor.Int64, 2)
	c := b.floats("c", []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3, 4)
	shape, one := b.ints("shape", 3, 4), b.ints("one", 0)
	pool := []*graph.Value{x, c} // all of shape [3 4]
	for i := range n {
		v, w := pool[rng.IntN(len(pool))], pool[rng.IntN(len(pool))]
		name := fmt.Sprint("v", i)
		switch rng.IntN(7) {
		case 0, 1:
			v = b.node("Add", name, vals(v, w))
		case 2:
			v = b.node("Sub", name, vals(v, w))
		case 3: // a chain of views
			flat := b.node("Flatten", name+"flat", vals(v), intAttr("axis", 0))
			wide := b.node("Unsqueeze", name+"wide", vals(flat, one))
			v = b.node("Reshape", name, vals(wide, shape))
		case 4:
			t := b.node("Transpose", name+"t", vals(v))
			v = b.node("Reshape", name, vals(t, shape))
		case 5:
			r := b.node("Reshape", name+"late", vals(v, late))
			v = b.node("Reshape", name, vals(r, shape))
		case 6:
			parts := b.nodes("Split", []string{name + "a", name + "b"}, vals(v), intAttr("axis", 1))
			v = b.node("Concat", name, vals(parts[1], parts[0]), intAttr("axis", 1))
		}
		pool = append(pool, v)
	}
	for range 1 + rng.IntN(4) {
		b.outputs(pool[rng.IntN(len(pool))])
	}
}

// evaluate runs the nodes of a graph one by one, nothing shared or folded.
func evaluate(t *testing.T, m *graph.Model, in map[string]tensor.Value) []tensor.Value {
	t.Helper()
	values := map[*graph.Value]tensor.Value{}
	for _, v := range m.Graph.Inputs {
		values[v] = in[v.Name()]
	}
	for _, v := range m.Graph.Consts() {
		values[v] = tensor.ValueOf(v.Init())
	}
	for _, n := range m.Graph.Nodes() {
		o, err := op.Parse(n, m.Opset(n.Domain))
		if err != nil {
			t.Fatal(err)
		}
		var args []tensor.Value
		for _, v := range n.Inputs() {
			args = append(args, values[v])
		}
		out, err := op.Eval(&op.Ctx{}, o, args, len(n.Outputs()))
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range n.Outputs() {
			values[v] = out[i]
		}
	}
	var out []tensor.Value
	for _, v := range m.Graph.Outputs {
		out = append(out, values[v])
	}
	return out
}

// Whatever the graph, a program gives the bits that its nodes give one by one,
// in the first run of a shape and in later ones.
func TestRandomGraphs(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 7))
		b := newModel(t)
		drawGraph(b, rng, 1+rng.IntN(40))
		p := compile(t, b, runtime.Options{Threads: 1})
		for round := range 3 {
			x := make([]float32, 12)
			for i := range x {
				x[i] = float32(rng.IntN(1000))
			}
			shape := [][]int64{{2, 6}, {12, 1}, {2, 6}}[round]
			in := []tensor.Value{floatsOf(x, 3, 4), tensor.ValueOf(tensor.Of(shape, 2))}
			want := evaluate(t, b.Model, map[string]tensor.Value{"x": in[0], "late": in[1]})
			got, err := p.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if err := sameValue(got[i], want[i], 0, 0); err != nil {
					t.Fatalf("graph %d, round %d: output %d: %v", seed, round, i, err)
				}
			}
		}
	}
}
