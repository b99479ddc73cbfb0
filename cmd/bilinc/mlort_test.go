package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// TestPipelineAgainstONNXRuntime runs the exported classifier, as it is and after
// a read and a write, in ONNX Runtime and here. Its maps are no tensors, which is
// all that ONNX Runtime's binding passes on, so that it gives out the matrix.
func TestPipelineAgainstONNXRuntime(t *testing.T) {
	s := ortest.Start(t)
	for name, words := range map[string][]string{"numbers": nil, "words": {"d", "c", "b", "a"}} {
		t.Run(name, func(t *testing.T) {
			data, err := proto.Marshal(pipeline(words, false))
			if err != nil {
				t.Fatal(err)
			}
			path, again := filepath.Join(t.TempDir(), "m.onnx"), filepath.Join(t.TempDir(), "again.onnx")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			m, err := onnx.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := onnx.Write(m, again, onnx.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			x := tensor.Of(ramp(37*16), 37, 16)
			for i, v := 0, tensor.Data[float32](x); i < len(v); i += 5 {
				v[i] = -9 // which stands for a missing value
			}
			for _, o := range []runtime.Options{{}, {NoLowering: true}} {
				p, err := runtime.Compile(m, o)
				if err != nil {
					t.Fatal(err)
				}
				got, err := p.Run(context.Background(), []tensor.Value{tensor.ValueOf(x)})
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range []string{path, again} {
					want, err := s.Run(path, []ortest.Named{{Name: "x", Tensor: x}})
					if err != nil {
						t.Fatal(err)
					}
					for i, w := range want {
						if err := ortest.Compare(got[i].Tensor, w.Tensor, ortest.Tolerance); err != nil {
							t.Errorf("%s: %v", w.Name, err)
						}
					}
				}
			}
		})
	}
}
