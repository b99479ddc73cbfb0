//go:build !race

package runtime_test

import (
	"context"
	"path/filepath"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/tensor"
)

// Real models, those that are shipped among them, allocate nothing for shapes
// seen before.
func TestModelsAllocateNothing(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "models", "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no models in testdata", err)
	}
	for _, path := range paths {
		m, err := onnx.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 2} {
			p, err := runtime.Compile(m, runtime.Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			for _, batch := range []int{1, 8} {
				in, err := randomInputs(filepath.Base(path), p, batch)
				if err != nil {
					t.Fatal(err)
				}
				out, err := p.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				if n := allocations(t, p, in, out); n != 0 {
					t.Errorf("%s, %d threads, batch %d: %v allocations a run", filepath.Base(path), threads, batch, n)
				}
			}
		}
	}
}

// allocations is how often a run that writes to out allocates.
func allocations(t *testing.T, p *runtime.Program, in, out []tensor.Value) float64 {
	t.Helper()
	ctx := context.Background()
	return testing.AllocsPerRun(20, func() {
		if err := p.RunInto(ctx, in, out); err != nil {
			t.Fatal(err)
		}
	})
}
