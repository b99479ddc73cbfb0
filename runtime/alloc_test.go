//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package runtime_test

import (
	"context"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// The program itself allocates nothing; what operators do is their own affair.
func TestRunIntoAllocatesNothing(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 4)
	y := b.input("y", tensor.Float32, "N", 4)
	flat := b.node("Flatten", "flat", vals(x))
	b.outputs(b.node("Unsqueeze", "r", vals(flat, b.ints("axes", 0))), b.node("Flatten", "z", vals(y)))
	p := compile(t, b, runtime.Options{Threads: 1})
	ctx := context.Background()
	in, out := []tensor.Value{f32(2, 4), f32(2, 4)}, make([]tensor.Value, 2)
	if err := p.RunInto(ctx, in, out); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := p.RunInto(ctx, in, out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// Random numbers are drawn into memory that is kept, also where a node has a seed of its own.
func TestRandomNumbersAllocateNothing(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, 32, 20)
	seeded := graph.Attr{Name: "seed", Type: graph.AttrFloat, F: 3}
	b.outputs(b.node("RandomNormalLike", "normal", vals(x)), b.node("RandomUniformLike", "uniform", vals(x), &seeded),
		b.node("Bernoulli", "chance", vals(x)))
	p := compile(t, b, runtime.Options{Threads: 1})
	in, out := []tensor.Value{f32(32, 20)}, make([]tensor.Value, 3)
	if err := p.RunInto(context.Background(), in, out); err != nil {
		t.Fatal(err)
	}
	if n := allocations(t, p, in, out); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// Neither do Transpose and ReduceMean, also where they are shared out.
func TestMovementAllocatesNothing(t *testing.T) {
	for _, c := range largeMovement {
		p := compile(t, movementModel(t, c.shape, c.perm, c.axes), runtime.Options{Threads: 2})
		in := []tensor.Value{noise(4, c.shape...)}
		out, err := p.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if n := allocations(t, p, in, out); n != 0 {
			t.Errorf("%s: %v allocations a run", c.name, n)
		}
	}
}

// Recurrent layers keep their weights as they laid them out, and all else for the next run.
func TestRecurrentAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		op                               string
		gates, directions, hidden, batch int
	}{{"LSTM", 4, 1, 64, 1}, {"LSTM", 4, 1, 64, 16}, {"LSTM", 4, 2, 40, 3}, {"LSTM", 4, 1, 512, 2}, {"GRU", 3, 1, 64, 16}, {"GRU", 3, 2, 520, 1}, {"RNN", 1, 1, 100, 8}} {
		for _, threads := range []int{1, 2} {
			p := compile(t, recurrentModel(t, c.op, c.gates, c.directions, c.hidden), runtime.Options{Threads: threads})
			in := []tensor.Value{noise(5, 20, c.batch, 24)}
			out, err := p.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			if n := allocations(t, p, in, out); n != 0 {
				t.Errorf("%v on %d threads: %v allocations a run", c, threads, n)
			}
		}
	}
}
