package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func putTensor(t *testing.T, dir, file, name string, x *tensor.Tensor) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, dir, file, onnx.EncodeTensor(name, x))
}

func TestTestData(t *testing.T) {
	dir := t.TempDir()
	// Twelve sets: they come in the order of their numbers, not names.
	for i := range 12 {
		set := filepath.Join(dir, fmt.Sprintf("test_data_set_%d", i))
		putTensor(t, set, "input_0.pb", "", tensor.Of([]float32{float32(i), 0}, 2, 1))
		putTensor(t, set, "input_1.pb", "", tensor.Of([]float32{1, 2, 3}, 3))
		putTensor(t, set, "output_0.pb", "", tensor.Of([]float32{5}, 1))
	}
	g := model(t, "x", typ("float32 N 1"), "w", typ("float32 3"), "y", typ("float32 1"))
	y := g.Value("y")
	g.Inputs = g.Inputs[:2]
	g.AddOutput(y)
	for key, labelled := range map[string]bool{"": false, "y": true, "output_0": true} {
		s, err := Open([]string{dir}, Options{Labels: key})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bind(g)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for batch, err := range b.Batches(1) {
			if err != nil {
				t.Fatal(err)
			}
			if x := batch.Inputs[0]; x.String() != "float32[2 1]" || tensor.Data[float32](x)[0] != float32(i) {
				t.Errorf("set %d has %v", i, x)
			}
			if w := batch.Inputs[1]; w.String() != "float32[3]" {
				t.Errorf("set %d has %v", i, w)
			}
			if (batch.Labels != nil) != labelled {
				t.Errorf("labels %q: %v", key, batch.Labels)
			}
			i++
		}
		if i != 12 || b.Rows() != 12 {
			t.Errorf("%d sets, %d rows", i, b.Rows())
		}
		s.Close()
	}
	// One set alone, whose inputs share their first dimension.
	s, err := Open([]string{filepath.Join(dir, "test_data_set_3")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Bind(&graph.Graph{Inputs: g.Inputs[:1]})
	if err != nil || b.Rows() != 2 {
		t.Fatal(b, err)
	}
}

func TestTestDataByName(t *testing.T) {
	dir := t.TempDir()
	set := filepath.Join(dir, "test_data_set_0")
	putTensor(t, set, "input_0.pb", "b", tensor.Of([]int64{1}, 1))
	putTensor(t, set, "input_1.pb", "a", tensor.Of([]float32{2}, 1))
	s, err := Open([]string{dir}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Bind(model(t, "a", typ("float32 N"), "b", typ("int64 N")))
	if err != nil {
		t.Fatal(err)
	}
	if got := shapes(t, b, 1); got != "float32[1] int64[1] 1" {
		t.Error(got)
	}
	put(t, set, "input_1.pb", []byte("no tensor at all"))
	if _, err := Open([]string{dir}, Options{}); err == nil {
		t.Error("text was read as a tensor")
	}
}
