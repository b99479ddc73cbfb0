//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package runtime_test

import (
	"context"
	"testing"

	"bilinc/runtime"
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
