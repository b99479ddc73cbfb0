package grad

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// BenchmarkStep is one Forward and one Backward on the caller's goroutine: by
// the outputs of all products with constants (as a plan's sensitivities are
// measured), and by all constants (as training needs).
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		model string
		rows  int
	}{{"fashion-mlp.onnx", 128}, {"fashion-mlp.onnx", 512}, {"fashion-vit.onnx", 32}} {
		m := shipped(b, c.model)
		var consts, products values
		macs := 0 // per row of a product's operand
		for _, v := range m.Graph.Consts() {
			if v.Init().DType() == tensor.Float32 {
				consts = append(consts, v)
			}
		}
		for _, n := range m.Graph.Nodes() {
			if (n.OpType == "Gemm" || n.OpType == "MatMul") && n.Input(1).Init() != nil {
				products = append(products, n.Outputs()[0])
				macs += n.Input(1).Init().Len()
			}
		}
		r := rand.New(rand.NewPCG(1, 1))
		x, dout := narrow(normals(r, c.rows, 784)), narrow(normals(r, c.rows, 10))
		for _, w := range []struct {
			name string
			wrt  []*graph.Value
		}{{"activations", products}, {"constants", consts}} {
			b.Run(fmt.Sprintf("%s/%d/%s", c.model, c.rows, w.name), func(b *testing.B) {
				p := program(b, m, Options{Wrt: w.wrt, Pool: kernel.NewPool(1)})
				b.ReportAllocs()
				for b.Loop() {
					s, err := p.Forward(context.Background(), []tensor.Value{tensor.ValueOf(x)})
					if err != nil {
						b.Fatal(err)
					}
					if err := s.Backward(context.Background(), []tensor.Value{tensor.ValueOf(dout)}); err != nil {
						b.Fatal(err)
					}
					s.Release()
				}
				if c.model == "fashion-mlp.onnx" {
					passes := 3.0 // forward, by x (not by the graph's input), by W
					if w.name == "activations" {
						passes = 2
					}
					first := float64(784 * 1024)
					b.ReportMetric(2*float64(c.rows)*(passes*float64(macs)-first)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				}
			})
		}
	}
}
