package grad

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// gradients is what a program gives for the constants of m, and the output.
func gradients(t *testing.T, m *graph.Model, o Options, x, dout *tensor.Tensor) [][]float64 {
	t.Helper()
	for _, v := range m.Graph.Consts() {
		if v.Init().DType() == tensor.Float32 {
			o.Wrt = append(o.Wrt, v)
		}
	}
	o.Wrt = append(o.Wrt, m.Graph.Inputs[0])
	s := forward(t, program(t, m, o), x)
	if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{dout})); err != nil {
		t.Fatal(err)
	}
	all := []*tensor.Tensor{s.Outputs()[0].Tensor}
	for _, v := range o.Wrt {
		all = append(all, s.Grad(v))
	}
	var out [][]float64
	for _, g := range all {
		v, err := tensor.Float64s(g)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// A bilinear layer in one step gives what its five nodes give.
func TestBilinearStep(t *testing.T) {
	for _, terms := range []int{1, 3} {
		p := newPerceptron(t, 5*6)
		p.bilinear(5, 6, 4, 7, terms)
		p.relu()
		p.bilinear(4, 7, 3, 3, terms)
		m := p.model()
		for _, v := range m.Graph.Consts() { // biases that make ReLU bite
			if v.Init().Rank() == 1 && v.Init().DType() == tensor.Float32 {
				for i, b := 0, tensor.Data[float32](v.Init()); i < len(b); i++ {
					b[i] = float32(i%3) - 1
				}
			}
		}
		const layer, relu = "*op.BilinearStep{Relu:false} ", "*op.BilinearStep{Relu:true} "
		for node, want := range map[int]string{ // what is fused where the output of a node is asked for
			-1: relu + layer,
			1:  "*op.reshape op.matMul *op.reshape op.matMul *op.reshape *op.bias " + layer,
			4:  layer + "*op.bias " + layer,
			5:  layer + "*op.reluOp " + layer,
			6:  relu + layer,
		} {
			var o Options
			if node >= 0 {
				o.Keep = m.Graph.Nodes()[node].Outputs()
			}
			found := ""
			for _, s := range program(t, m, o).steps {
				if l, ok := s.op.(*op.BilinearStep); ok {
					found += fmt.Sprintf("%T{Relu:%v} ", s.op, l.Relu)
				} else {
					found += fmt.Sprintf("%T ", s.op)
				}
			}
			if found != want {
				t.Errorf("keeping node %d's output, found %s, wanted %s", node, found, want)
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		x, dout := narrow(normals(r, 9, 30)), narrow(normals(r, 9, 9))
		whole := gradients(t, m, Options{Pool: kernel.NewPool(2)}, x, dout)
		var between values
		for _, n := range m.Graph.Nodes() {
			between = append(between, n.Outputs()...)
		}
		parts := gradients(t, m, Options{Keep: between}, x, dout)
		for i := range parts {
			if err := near(whole[i], parts[i], 1e-5); err != nil {
				t.Errorf("%d terms, gradient %d: %v", terms, i, err)
			}
		}
	}
}

// A layer that is applied to positions of rank 3, and what looks like a layer
// and is none.
func TestBilinearShapes(t *testing.T) {
	build := func(rank3 bool, n1 int64) *graph.Model {
		p := &perceptron{graph.New("perceptron", nil), rand.New(rand.NewPCG(1, 2)), nil, t}
		shape := []graph.Dim{graph.Size(4), graph.Size(12)}
		if rank3 {
			shape = []graph.Dim{graph.Size(2), graph.Size(2), graph.Size(12)}
		}
		var err error
		if p.x, err = p.g.AddInput("x", graph.TensorType(tensor.Float32, shape...)); err != nil {
			t.Fatal(err)
		}
		var outer []int64
		if rank3 {
			outer = []int64{0, 0}
		} else {
			outer = []int64{-1}
		}
		p.node("Reshape", values{p.x, p.ints(append(outer, 3, 4)...)})
		p.node("MatMul", values{p.x, p.weight("Bcat", 1, 4, 2*5)})
		p.node("Reshape", values{p.x, p.ints(append(outer, 2*n1, 5)...)})
		p.node("MatMul", values{p.weight("Acat", 1, 2, int(2*n1)), p.x})
		if n1 == 3 {
			p.node("Reshape", values{p.x, p.ints(append(outer, 10)...)})
		} else { // samples are cut otherwise
			p.node("Reshape", values{p.x, p.ints(-1, 10)})
		}
		return p.model()
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		rank3 bool
		n1    int64
		want  int
	}{{true, 3, 1}, {false, 3, 1}, {false, 1, 0}} {
		m := build(c.rank3, c.n1)
		p := program(t, m, Options{})
		found := 0
		for _, s := range p.steps {
			if _, ok := s.op.(*op.BilinearStep); ok {
				found++
			}
		}
		if found != c.want {
			t.Errorf("%+v: found %d layers", c, found)
		}
		x := narrow(normals(r, 4, 12))
		if c.rank3 {
			x = narrow(normals(r, 2, 2, 12))
		}
		y := forward(t, p, x).Outputs()[0].Tensor
		dout := narrow(normals(r, y.Shape()...))
		whole := gradients(t, m, Options{}, x, dout)
		var between values
		for _, n := range m.Graph.Nodes() {
			between = append(between, n.Outputs()...)
		}
		for i, part := range gradients(t, m, Options{Keep: between}, x, dout) {
			if err := near(whole[i], part, 1e-5); err != nil {
				t.Errorf("%+v, gradient %d: %v", c, i, err)
			}
		}
	}
}

// Biases and ReLUs that have left their products give the same gradients, and
// none of them is fused where it is asked for.
func TestFuse(t *testing.T) {
	p := newPerceptron(t, 6)
	p.dense(6, 8)
	p.relu()
	p.node("MatMul", values{p.x, p.weight("w", 1, 8, 5)})
	p.node("Add", values{p.weight("bias", 1, 5), p.x})
	p.relu()
	p.dense(5, 3)
	m := p.model()
	for _, v := range m.Graph.Consts() { // biases that make ReLU bite
		if v.Init().Rank() == 1 {
			for i := range tensor.Data[float32](v.Init()) {
				tensor.Data[float32](v.Init())[i] = float32(i%3) - 1
			}
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	x, dout := narrow(normals(r, 7, 6)), narrow(normals(r, 7, 3))
	var between values
	for _, n := range m.Graph.Nodes() {
		between = append(between, n.Outputs()...)
	}
	whole := gradients(t, m, Options{}, x, dout)
	for i, part := range gradients(t, m, Options{Keep: between}, x, dout) {
		if err := near(whole[i], part, 1e-6); err != nil {
			t.Errorf("gradient %d: %v", i, err)
		}
	}
	names := ""
	for _, s := range program(t, m, Options{}).steps {
		names += fmt.Sprintf("%T ", s.op)
	}
	if want := "*op.gemm *op.bias op.matMul *op.bias *op.gemm *op.bias "; names != want {
		t.Errorf("found the steps %s, wanted %s", names, want)
	}
}
