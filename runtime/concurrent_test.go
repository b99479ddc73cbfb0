package runtime_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// 64 runs of one program at the same time, from its first on, when weights are packed and plans made:
// all give the bits that a program of its own gives. What the race detector sees is the other half.
func TestManyConcurrentRuns(t *testing.T) {
	models := map[string]*graph.Model{}
	for _, name := range []string{"fashion-mlp", "fashion-vit"} {
		m, err := onnx.Read(filepath.Join("..", "testdata", "models", name+".onnx"))
		if err != nil {
			t.Fatal(err)
		}
		models[name] = m
	}
	b := newModel(t)
	x := b.pairs("first", b.input("x", tensor.Float32, "N", 1024), [4]int{32, 32, 32, 32}, 4)
	x = b.pairs("second", b.node("Relu", "relu", []*graph.Value{x}), [4]int{32, 32, 32, 32}, 4)
	b.outputs(b.node("Softmax", "y", []*graph.Value{x}))
	models["pairs"] = b.Model
	models["recurrent"] = recurrentModel(t, "LSTM", 4, 2, 70).Model
	for name, m := range models {
		// Each batch is a plan of its own; the larger ones are shared out.
		batches := []int{1, 3, 9, 40}
		if name == "fashion-vit" {
			batches = batches[:2] // which takes seconds with the race detector
		}
		t.Run(name, func(t *testing.T) { testConcurrentRuns(t, name, m, batches) })
	}
}

func testConcurrentRuns(t *testing.T, name string, m *graph.Model, batches []int) {
	compile := func(threads int) *runtime.Program {
		p, err := runtime.Compile(m, runtime.Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	alone := compile(1)
	in, want := make([][]tensor.Value, len(batches)), make([][]tensor.Value, len(batches))
	for i, n := range batches {
		var err error
		if in[i], err = randomInputs(name, alone, n); err != nil {
			t.Fatal(err)
		}
		if want[i], err = alone.Run(context.Background(), in[i]); err != nil {
			t.Fatal(err)
		}
	}
	p := compile(2)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for k := range 64 {
		wg.Go(func() {
			<-start
			for _, i := range []int{k % len(batches), (k + 1) % len(batches)} {
				got, err := p.Run(context.Background(), in[i])
				if err != nil {
					t.Error(err)
					return
				}
				for j, v := range got {
					if at := firstDifference(v.Tensor, want[i][j].Tensor); at >= 0 {
						t.Errorf("run %d, batch %d: element %d of output %d differs from a run alone", k, batches[i], at, j)
					}
				}
			}
		})
	}
	close(start)
	wg.Wait()
}

// firstDifference is the first byte where the tensors differ, or -1.
func firstDifference(x, y *tensor.Tensor) int {
	a, b := x.Bytes(), y.Bytes()
	if len(a) != len(b) {
		return 0
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// The first product of few rows takes a weight as it lies, later ones a packed one: the same bits, in
// both layouts that files have and for widths that leave a panel unfilled.
func TestFirstRunGivesTheSameBits(t *testing.T) {
	for _, turned := range []int64{0, 1} {
		for _, s := range [][3]int{{1, 784, 68}, {1, 300, 1000}, {8, 515, 97}, {7, 64, 2048}} {
			m, k, n := s[0], s[1], s[2]
			b := newModel(t)
			w := b.noisy("w", k, n)
			if turned == 1 {
				w = b.noisy("turned", n, k)
			}
			inputs := []*graph.Value{b.input("x", tensor.Float32, m, k), w, b.noisy("bias", n)}
			b.outputs(b.node("Relu", "y", []*graph.Value{b.node("Gemm", "h", inputs, intAttr("transB", turned))}))
			p, err := runtime.Compile(b.Model, runtime.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			in, err := randomInputs("first", p, m)
			if err != nil {
				t.Fatal(err)
			}
			first, err := p.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				again, err := p.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				if at := firstDifference(again[0].Tensor, first[0].Tensor); at >= 0 {
					t.Errorf("%v, transB=%d: byte %d differs from the first run's", s, turned, at)
				}
			}
		}
	}
}
